"""`tarsrelease init`: from a chart and what runs to the files of a first release. Pure."""
