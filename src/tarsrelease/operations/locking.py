"""Taking the lock from another run, for what must not wait."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tarsrelease.context import Context
from tarsrelease.model.errors import ReleaseError


@contextmanager
def taking_over(context: Context) -> Iterator[None]:
    """Hold the lock for the length of the block, also if another run holds it.

    A lock that can be neither taken nor released is only reported: a rollback goes on without it.
    """
    lock = context.cluster.lock
    try:
        lock.acquire(preempt=True)
    except ReleaseError as error:
        context.say(f"lock: could not be taken ({error}); going on without it")
    try:
        yield
    finally:
        try:
            lock.release()
        except ReleaseError as error:
            context.say(f"lock: could not be released ({error}); it expires by itself")
