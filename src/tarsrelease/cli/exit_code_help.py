"""The table of exit codes in the help. Does not import the model, to be fast."""

EXIT_CODES = """\
\b
Exit codes:
    0  done, or proceed; also a requested rollback that succeeded
    1  the answer is no (a check failed, no-go, postpone); nothing was changed
    2  usage or configuration error; nothing was changed
   10  hold
   11  rollback: a gate decided it, or the release ended rolled back
   12  stopped after something was changed; tarsrelease status says what
   69  an outside system did not answer in time; nothing was changed
   70  a bug in tarsrelease
   75  another run holds the lock
  130  interrupted
"""
