"""Turn other tools' canary objects into stages, SLIs and checks. Pure."""
