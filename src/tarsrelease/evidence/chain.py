"""Check that the evidence is complete and unchanged. Pure: segments' bytes in, results out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tarsrelease.model.evidence import Record
from tarsrelease.model.outcome import Check, Observed, Status


@dataclass(frozen=True)
class Segment:
    """One parsed segment: its records, its faults and its head (SHA-256 of the last line).

    `lines` are the SHA-256 of all lines, in order.
    """

    path: str
    records: tuple[Record, ...]
    faults: tuple[str, ...]
    head: str | None
    lines: tuple[str, ...]


def read_segment(path: str, content: bytes) -> Segment:
    """Check one segment's chain line by line; a fault names its line and its meaning."""
    if not content:
        return Segment(path, (), ("is empty: its records are missing",), None, ())
    torn_end = not content.endswith(b"\n")
    lines = content.split(b"\n") if torn_end else content.split(b"\n")[:-1]
    faults, records, hashes = [], [], []
    previous: str | None = None
    for number, line in enumerate(lines, start=1):
        digest = hashlib.sha256(line).hexdigest()
        hashes.append(digest)
        try:
            record = Record.model_validate_json(line)
        except ValueError:
            if torn_end and number == len(lines):
                what = "is torn: its process was killed while writing"
            else:
                what = "is not a record: torn when its process was killed, or changed"
            faults.append(f"line {number} {what}; its outcome is lost")
            previous = digest
            continue
        if record.previous != previous:
            faults.append(
                f"line {number} does not follow the line before it, which was changed or removed"
                if number > 1
                else "the first record follows one that is missing: the beginning was removed"
            )
        if record.number != number:
            faults.append(f"line {number} is numbered {record.number}: lines are missing or added")
        records.append(record)
        previous = digest
    if torn_end and len(records) == len(lines):
        faults.append(f"line {len(lines)} has no end: its process was killed while writing")
    return Segment(path, tuple(records), tuple(faults), previous, tuple(hashes))


def read_all(segments: Mapping[str, bytes]) -> list[Segment]:
    """All segments, parsed."""
    return [read_segment(path, content) for path, content in segments.items()]


def prove(
    segments: Mapping[str, bytes], heads: Iterable[str] = (), journal: Iterable[str] = ()
) -> tuple[Check, ...]:
    """One check a segment, and one each for what segments and heads say must exist.

    `heads` are SHA-256 of records kept elsewhere and given by a person, `journal` those in the
    cluster's journal: without one, lines cut off at the end of a last segment cannot be noticed.
    """
    read = read_all(segments)
    checks = [_chain_check(segment) for segment in read]
    known = frozenset(line for segment in read for line in segment.lines)
    ends = {segment.head for segment in read}
    for segment in read:
        follows = segment.records[0].follows if segment.records else ()
        why = f"{segment.path} follows it"
        checks += [_head_check(head, known, ends, why) for head in follows]
    checks += [_head_check(head, known, ends, "given with --head") for head in heads]
    checks += [_head_check(head, known, ends, "in the journal") for head in journal]
    return tuple(checks)


def _chain_check(segment: Segment) -> Check:
    count = len(segment.records)
    return Check(
        id="evidence.chain",
        status=Status.FAIL if segment.faults else Status.PASS,
        observed=Observed(value=count, unit="records"),
        expected="every record follows the one before it",
        reason="; ".join(segment.faults) or f"{count} records, head {segment.head}",
        source=segment.path,
        samples=count,
    )


def _head_check(head: str, known: frozenset[str], ends: set[str | None], why: str) -> Check:
    if head in ends:
        status, reason = Status.PASS, f"found the segment that ends in it ({why})"
    elif head in known:
        status, reason = (
            Status.PASS,
            f"found the record; later ones have no head ({why})",
        )
    else:
        status, reason = Status.FAIL, f"a segment or its end is missing ({why})"
    return Check(
        id="evidence.head",
        status=status,
        observed=Observed(value=head, unit="sha256"),
        expected="a record with this SHA-256",
        reason=reason,
    )
