"""What a schema promises to its users, as facts, and what a statement takes from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum


class Promise(StrEnum):
    """How a fact may change without breaking its users.

    `HAS`: it must remain, under the same name (its value). `IS`: it must keep its value; `SAME`:
    this, too, but the value is not shown. `GROWS`: its value, a list, may only get longer. `NOT`:
    it must not appear on what existed before. `NOTED`: nothing breaks without it, but it is
    reported.
    """

    HAS = "has"
    IS = "is"
    SAME = "same"
    GROWS = "grows"
    NOT = "not"
    NOTED = "noted"


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact of a catalog; `parent` is the key of the object it belongs to ("" for none).

    `text` describes it: ``column public.t.a``; for `NOT`, what happens: ``forbids NULL in ...``.
    """

    promise: Promise
    parent: str
    text: str
    value: str


Facts = Mapping[str, Mapping[str, Fact]]
"""The facts of a catalog by group, in each by keys that survive a rename.

Groups that did not change are the same object in the next reading.
"""


def broken_promises(base: Facts, before: Facts, after: Facts) -> list[str]:
    """What the step from `before` to `after` removes, renames or weakens of `base`.

    `base` is the catalog that the running version uses: nobody relies yet on what the migration
    itself created. Of a removed object only the object itself is listed, without its parts.
    """
    return [
        line
        for group in before
        if before[group] is not after[group]
        for line in _of_group(group, base, before, after)
    ]


def _of_group(group: str, base: Facts, before: Facts, after: Facts) -> Iterator[str]:
    for key, fact in before[group].items():
        if key not in base[group] or fact.promise in {Promise.NOT, Promise.NOTED}:
            continue
        now = after[group].get(key)
        if now is None:
            if not (_exists(fact.parent, before) and not _exists(fact.parent, after)):
                yield f"removes {fact.text}"
        elif now.value != fact.value:
            match fact.promise:
                case Promise.HAS:
                    yield f"renames {fact.text} to {now.value}"
                case Promise.IS:
                    yield f"changes {fact.text} from {fact.value} to {now.value}"
                case Promise.GROWS if now.value.startswith(f"{fact.value},"):
                    pass
                case _:
                    yield f"changes {fact.text}"
    for key, fact in after[group].items():
        if (
            fact.promise is Promise.NOT
            and key not in before[group]
            and (not fact.parent or _exists(fact.parent, base))
        ):
            yield fact.text


def _exists(key: str, facts: Facts) -> bool:
    return any(key in group for group in facts.values())


def removed_comments(base: Facts, before: Facts, after: Facts) -> list[str]:
    """Comments of `base` that a step removes without removing their object."""
    if before["comments"] is after["comments"]:
        return []
    return [
        f"removes {fact.text}"
        for key, fact in before["comments"].items()
        if key in base["comments"]
        and key not in after["comments"]
        and not (_exists(fact.parent, before) and not _exists(fact.parent, after))
    ]


@dataclass(frozen=True, slots=True)
class Removed:
    """A table, a column of one, or a sequence that is gone; names as in the catalog before."""

    table: str
    column: str | None = None
    is_sequence: bool = False


def removed_data(base: Facts, before: Facts, after: Facts) -> list[Removed]:
    """Tables, columns and sequences of `base` that exist before a step and not after it.

    A column of a removed table is not listed, and neither is a partition of one.
    """
    known = {key: base["relations"][key] for key in before["relations"] if key in base["relations"]}
    tables = {
        key: fact
        for key, fact in known.items()
        if fact.text.startswith(("table ", "materialized view "))
    }
    missing = known.keys() - after["relations"].keys()
    parts = {
        fact.parent
        for key, fact in before["partitions"].items()
        if f"r{key.rpartition('.')[2]}" in missing
    }
    gone = [Removed(tables[key].value) for key in tables if key in missing - parts]
    gone += [
        Removed(fact.value, is_sequence=True)
        for key, fact in known.items()
        if key in missing and fact.text.startswith("sequence ")
    ]
    gone += [
        Removed(tables[fact.parent].value, base["columns"][key].value)
        for key, fact in before["columns"].items()
        if fact.text.startswith("column ")
        and key in base["columns"]
        and fact.parent in tables
        and fact.parent in after["relations"]
        and key not in after["columns"]
    ]
    return gone


def changed_types(base: Facts, before: Facts, after: Facts) -> list[str]:
    """Columns whose values a step converts to another type."""
    return [
        f"{fact.text.removeprefix('the type of ')} is converted from {fact.value} to "
        f"{after['columns'][key].value}"
        for key, fact in before["columns"].items()
        if key.endswith(".type")
        and key in base["columns"]
        and key in after["columns"]
        and after["columns"][key].value != fact.value
    ]
