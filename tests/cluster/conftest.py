"""One rehearsal cluster for all cluster tests of a run, whatever process a test runs in."""

from __future__ import annotations

import os
import re
import sys
import uuid
from collections.abc import Callable, Iterator

import pytest

from tarsrelease.rehearsal import commands


def say(text: str) -> None:
    """Progress, for whoever runs the tests with -s."""
    print(f"cluster: {text}", file=sys.stderr, flush=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What looks at a cluster without T.A.R.S. comes first; nothing else takes it away again."""
    first = ["test_rehearsal_cluster.py", "test_migrate_in_cluster.py"]
    items.sort(
        key=lambda item: first.index(item.path.name) if item.path.name in first else len(first)
    )


@pytest.fixture(scope="session")
def cluster() -> Iterator[commands.Cluster]:
    """A running cluster, without T.A.R.S.

    It belongs to the whole run (its name comes from the run's id, which the workers share) and
    ends with the last process that uses it, also when that is killed.
    """
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID") or uuid.uuid4().hex
    running = commands.up(f"test-{run[:16]}", say, tied=True)
    try:
        yield running
    finally:
        running.close(keep_logs=False)


@pytest.fixture
def own_name(request: pytest.FixtureRequest) -> Iterator[str]:
    """A name for a cluster of the test's own, which is down when the test is over."""
    words = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")
    name = f"{words[:24].strip('-')}-{uuid.uuid4().hex[:8]}"
    try:
        yield name
    finally:
        commands.down(name, say, keep_logs=False)


@pytest.fixture
def kubectl(cluster: commands.Cluster) -> Callable[..., str]:
    """kubectl inside the cluster: its output, or an AssertionError with what it said."""

    def run(*arguments: str, stdin: str | None = None) -> str:
        done = cluster.run(["kubectl", *arguments], input=stdin, timeout=120)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout

    return run
