"""Keeps finished rows of a long table in a folder: a run that was stopped goes on there."""

from __future__ import annotations

import ast
import pickle
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cache, partial
from hashlib import sha256
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
CODE = ("src/tarsrelease/**/*.py", "tests/simulation/*.py", "benchmarks/gates_*.py")


@dataclass(frozen=True)
class Rows:
    """Maps a function over rows by a pool of processes; without a folder, nothing is kept."""

    pool: Executor
    folder: Path | None

    def map(self, function: Callable[[Any], Any], rows: Iterable[Any]) -> Iterator[Any]:
        """As the built-in `map`, in order."""
        if self.folder is None:
            return self.pool.map(function, rows)
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.pool.map(partial(_kept, self.folder, function), rows)


def _kept(folder: Path, function: Callable[[Any], Any], row: Any) -> Any:
    plain = function.func if isinstance(function, partial) else function
    settings = function.keywords if isinstance(function, partial) else {}
    said = repr((plain.__module__, plain.__qualname__, settings, row, _code()))
    file = folder / sha256(said.encode()).hexdigest()
    if file.exists():
        return pickle.loads(file.read_bytes())
    found = function(row)
    fresh = file.with_suffix(".new")
    fresh.write_bytes(pickle.dumps(found))
    fresh.replace(file)
    return found


@cache
def _code() -> str:
    """The SHA-256 of the code without comments and texts of several lines."""
    found = sha256()
    for pattern in CODE:
        for file in sorted(ROOT.glob(pattern)):
            tree = ast.parse(file.read_bytes())
            for node in ast.walk(tree):
                if isinstance(node, ast.Constant) and "\n" in str(node.value):
                    node.value = ""
            found.update(ast.dump(tree).encode())
    return found.hexdigest()
