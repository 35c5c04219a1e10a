"""A kubeconfig from a secret, as a file while one command runs."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def kubeconfig_file(text: str | None, variables: MutableMapping[str, str]) -> Iterator[None]:
    """Write `text` where only this user may read it, and point KUBECONFIG there meanwhile.

    A composite action has no step that runs afterwards, so the file goes before the action ends;
    a process that is killed outright leaves it in RUNNER_TEMP, which the runner empties itself.
    """
    if text is None:
        yield
        return
    before = variables.get("KUBECONFIG")
    folder = Path(tempfile.mkdtemp(prefix="kubeconfig-", dir=variables.get("RUNNER_TEMP")))
    try:
        file = folder / "config"
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:  # noqa: PTH123
            stream.write(text)
        variables["KUBECONFIG"] = str(file)
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if before is None:
            variables.pop("KUBECONFIG", None)
        else:
            variables["KUBECONFIG"] = before
