"""The table of exit codes as help shows it; without the model, so that help stays fast."""

EXIT_CODES = """\
\b
Exit codes:
    0  done, or proceed (also a rollback that was asked for and succeeded)
    1  the answer is no (a check failed, no-go, postpone); nothing was changed
    2  wrong usage or configuration; nothing was touched
   10  hold
   11  rollback: the gate decided it, or the day ended rolled back
   12  stopped after something was changed: tarsrelease status says what
   69  an outside system was not reachable in time; nothing was changed
   70  a bug in tarsrelease
   75  another run holds the lock
  130  interrupted
"""
