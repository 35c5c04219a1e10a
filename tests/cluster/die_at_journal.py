"""Runs tarsrelease and ends it (SIGKILL) at one boundary of the journal on the cluster.

python die_at_journal.py NUMBER before|after ARGUMENT...: the process dies when it appends its
NUMBERth entry, before or after the write. Every boundary that it reaches is a line on standard
error: ``boundary NUMBER WHEN: STEP ACTION PHASE``. A number that is never reached changes nothing.
Instead of a number, the words STEP-ACTION-PHASE name the entry. Its Lease expires after 3 s, so
that a matrix of kills does not wait 20 s for each.
"""

from __future__ import annotations

import os
import signal
import sys
from itertools import count

from tarsrelease.adapters.kubernetes import lock
from tarsrelease.adapters.kubernetes.journal import ConfigMapJournal
from tarsrelease.cli import main
from tarsrelease.model.journal import Entry

_append = ConfigMapJournal.append
_entries = count(1)


def _reach(number: int, when: str, entry: Entry) -> None:
    line = f"boundary {number} {when}: {entry.step} {entry.action} {entry.phase}"
    print(line, file=sys.stderr, flush=True)
    named = f"{entry.step} {entry.action} {entry.phase}".replace(" ", "-")
    if [str(number), when] == _CHOSEN or [named, when] == _CHOSEN:
        os.kill(os.getpid(), signal.SIGKILL)


def _dying(journal: ConfigMapJournal, entry: Entry) -> None:
    number = next(_entries)
    _reach(number, "before", entry)
    _append(journal, entry)
    _reach(number, "after", entry)


if __name__ == "__main__":
    _CHOSEN = sys.argv[1:3]
    lock._DURATION, lock._RENEWAL = 3, 1.0
    setattr(ConfigMapJournal, "append", _dying)  # noqa: B010 - assigning is no type
    sys.argv = ["tarsrelease", *sys.argv[3:]]
    main()
