"""No YAML stands for more than fits, whoever reads it: the line is told, and memory stays small."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from tarsrelease.adapters.files.configuration import (
    load_bundle_input,
    load_environment,
    load_rollout,
)
from tarsrelease.adapters.files.yaml_source import BoundedLoader, read_values, read_yaml
from tarsrelease.model.errors import UsageError

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)
)
MERGES = "a0: &a0 {b: 1, c: 2, d: 3, e: 4, f: 5, g: 6, h: 7, i: 8, j: 9}\n" + "".join(
    f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 9)
)
STAIRS = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 400))
BOMBS = {
    "aliases": (LAUGHS, "5: more than 50000 values"),
    "merges": (MERGES, "5: more than 50000 values"),
    "nesting by aliases": (STAIRS, "49: nested deeper than 50"),
    "brackets": ("a:\n  b: " + "[" * 100_000, "2: nested deeper than 50"),
    "dashes": ("a:\n  " + "- " * 100_000 + "x\n", "2: nested deeper than 50"),
    "keys": ("? " * 100_000 + "x\n", "1: nested deeper than 50"),
    "itself": ("b: 1\na: &a\n  - *a\n", "3: an alias that contains itself"),
}


@pytest.mark.parametrize(("text", "said"), BOMBS.values(), ids=BOMBS)
def test_it_is_refused_with_its_line(text: str, said: str) -> None:
    tracemalloc.start()
    document = read_yaml(text)
    values = read_values("values.yaml", text.encode())
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert document.data is None
    assert str(document.findings[0]).startswith(said)
    assert isinstance(values, tuple)
    assert values[0].startswith(f"values.yaml:{said}")
    assert most < 20 * 2**20


@pytest.mark.parametrize(
    "load",
    [load_rollout, load_bundle_input, lambda path: load_environment(str(path))],
    ids=["rollout", "bundle.yaml", "environment"],
)
def test_every_file_of_ours_is_read_so(tmp_path: Path, load: Callable[[Path], object]) -> None:
    path = tmp_path / "file.yaml"
    path.write_text(LAUGHS)
    with pytest.raises(UsageError) as caught:
        load(path)
    assert f"{path}:5: more than 50000 values" in caught.value.detail.found


def test_what_people_write_is_read_as_before() -> None:
    text = "base: &base {a: 1, b: [x, y]}\nother: {<<: *base, a: 2}\nagain: *base\n"
    data = {
        "base": {"a": 1, "b": ["x", "y"]},
        "other": {"a": 2, "b": ["x", "y"]},
        "again": {"a": 1, "b": ["x", "y"]},
    }
    assert read_yaml(text, free=[()]).data == data
    assert read_values("values.yaml", text.encode()) == data
    times = "a: 12:30\nb: 2026-01-01\nc: 2026-13-01\n"
    assert read_values("values.yaml", times.encode()) == {
        "a": "12:30",
        "b": "2026-01-01",
        "c": "2026-13-01",
    }
    many = "".join(f"key{n}: {n}\n" for n in range(20_000))
    assert len(read_yaml(many).data) == 20_000
    assert BoundedLoader("a: 1").get_single_data() == {"a": 1}
