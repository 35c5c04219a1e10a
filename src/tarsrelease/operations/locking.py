"""Take the lock from another run, for steps that must not wait."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tarsrelease.context import Context
from tarsrelease.model.errors import ReleaseError


@contextmanager
def taking_over(context: Context) -> Iterator[None]:
    """Hold the lock during the block, also if another run holds it.

    Failures are only reported: a rollback continues without the lock.
    """
    lock = context.cluster.lock
    try:
        lock.acquire(preempt=True)
    except ReleaseError as error:
        context.say(f"lock: cannot be acquired ({error}); continuing without it")
    try:
        yield
    finally:
        try:
            lock.release()
        except ReleaseError as error:
            context.say(f"lock: cannot be released ({error}); it will expire")
