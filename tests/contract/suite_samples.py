"""A bundle that is nothing but its suite."""

from __future__ import annotations

import hashlib
from pathlib import Path

CONFTEST = """
def pytest_addoption(parser):
    parser.addoption("--environment")
    parser.addoption("--deployment")
    parser.addoption("--ga_mode", action="store_true")

def pytest_configure(config):
    config.addinivalue_line("markers", "canary: x")
    config.addinivalue_line("markers", "hotfix: x")
    config.addinivalue_line("markers", "health: x")
"""


def bundle(folder: Path, suite: str) -> Path:
    for name, text in (("production_validation_suite.py", suite), ("conftest.py", CONFTEST)):
        (folder / name).write_text(text)
    (folder / "SHA256SUMS").write_text(
        "".join(
            f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n"
            for name in ("production_validation_suite.py", "conftest.py")
        )
    )
    return folder
