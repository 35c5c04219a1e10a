"""Whether this command runs in a Job of `--as-job`."""

from __future__ import annotations

import os

IN_A_JOB = "TARSRELEASE_JOB"
"""The variable that marks a command in a Job: the Job's creator checks the cluster and keeps the
journal."""


def inside_a_job() -> bool:
    """Whether another process has created a Job for this command.

    That process checks the cluster and keeps its journal, so that the pod needs no rights in it.
    """
    return bool(os.environ.get(IN_A_JOB))
