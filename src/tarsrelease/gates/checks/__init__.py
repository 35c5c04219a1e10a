"""A stage's checks: measurements in, results out. One file per kind of check.

`fail` means that the judged side is bad, `error` that it could not be measured, `inconclusive`
that there is not enough data yet. A check never passes without data.

A new kind is a model in model/checks.py, a file here with its `judge`, a line in `JUDGES`, and a
heading in docs/checks.md.
"""

from tarsrelease.gates.checks.evaluate import JUDGES, evaluate, judged
from tarsrelease.gates.checks.inputs import ClusterState, Inputs, Patience, Subject
from tarsrelease.gates.checks.ready import HOPELESS

__all__ = [
    "HOPELESS",
    "JUDGES",
    "ClusterState",
    "Inputs",
    "Patience",
    "Subject",
    "evaluate",
    "judged",
]
