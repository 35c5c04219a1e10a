"""What an API server answers in another shape than its API's is an outage, and no bug of ours.

A proxy, an aggregated API server or a webhook may answer anything.
"""

from __future__ import annotations

from tarsrelease.adapters.kubernetes.client import Conflict
from tarsrelease.adapters.other_shapes import UNREADABLE, excerpt, explained_by
from tarsrelease.model.errors import UnreachableError


def _no_answer(error: Exception) -> UnreachableError:
    found = f"a conflict: {error}" if isinstance(error, Conflict) else excerpt(error)
    return UnreachableError(
        doing="reading an answer of the API server",
        found=f"it has another shape ({found})",
        expected="an object as the Kubernetes API describes it",
        next_step="check what stands between this machine and the API server, then run this "
        "command again",
    )


reads_answers = explained_by(_no_answer, (*UNREADABLE, Conflict))
"""A class decorator: public methods raise UnreachableError for an answer that has no sense."""
