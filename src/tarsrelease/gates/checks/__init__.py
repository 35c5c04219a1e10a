"""A stage's checks: measurements in, results out. One file per kind of check.

`fail` says that the side under judgement is bad; `error` that it could not be measured;
`inconclusive` that it cannot be told yet. Nothing passes because there was nothing to see.

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
