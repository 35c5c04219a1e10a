"""What a chain of evidence is compared with, and which records that proves. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tarsrelease.evidence.chain import Segment
from tarsrelease.model.format import count, names
from tarsrelease.model.journal import Entry
from tarsrelease.model.outcome import Check, Observed, Status
from tarsrelease.rollout import release_journal

ANCHOR = "evidence.anchor"
COVERED = "evidence.covered"
JOURNAL = "evidence.journal"
ATTESTATION = "evidence.attestation"


@dataclass(frozen=True)
class Anchors:
    """Heads that were kept where the evidence is not.

    `given` by a person; `journal` those in the cluster's journal, None if it was not read;
    `attested` the signer by the path of each segment whose bytes are attested, None if there are
    no attestations.
    """

    given: tuple[str, ...] = ()
    journal: tuple[str, ...] | None = None
    attested: Mapping[str, str] | None = None

    @property
    def said(self) -> tuple[str, ...]:
        """What the chain was compared with, in words; empty if with nothing."""
        parts = []
        if self.given:
            parts.append(f"{count(len(self.given), 'given head')}")
        if self.journal:
            parts.append(f"{count(len(self.journal), 'head')} in the cluster's journal")
        if self.attested:
            parts.append(f"the attestation by {names(sorted(set(self.attested.values())))}")
        return tuple(parts)


def journal_heads(
    entries: Sequence[Entry], release: str, runs: Iterable[str]
) -> tuple[tuple[str, ...], Check]:
    """The heads that these runs wrote into the journal of the release, and the check of the runs.

    The check fails if the release's last deploy is by a run of which there is no record: the
    evidence is that of another attempt.
    """
    known = set(runs)
    own = [entry for entry in entries if entry.release == release]
    heads = dict.fromkeys(head for e in own if e.run in known for head in e.evidence)
    attempt = release_journal.of_this_attempt(entries, release)
    other = attempt[0].run if attempt and attempt[0].run not in known else None
    if other is not None:
        status = Status.FAIL
        reason = f"run {other} deployed {release}, and the evidence has no record of it"
    elif not heads:
        status = Status.SKIPPED
        reason = f"the journal has no head of the runs {names(sorted(known), 3)}"
    else:
        status, reason = Status.PASS, f"{count(len(heads), 'head')} of {names(sorted(known), 3)}"
    return tuple(heads), Check(
        id=JOURNAL,
        status=status,
        expected=f"records of the run that deployed {release}",
        reason=reason,
        source="journal",
    )


def attestation_checks(
    digests: Mapping[str, str], signers: Mapping[str, str], refusals: Mapping[str, str]
) -> tuple[Check, ...]:
    """One check a segment: `digests`, `signers` and `refusals` (why not) by path."""
    return tuple(
        Check(
            id=ATTESTATION,
            status=Status.PASS if path in signers else Status.FAIL,
            observed=Observed(value=digest, unit="sha256"),
            expected="an attestation of these bytes",
            reason=f"signed by {signers[path]}" if path in signers else refusals.get(path, ""),
            source=path,
        )
        for path, digest in digests.items()
    )


def missing_check(attested: Iterable[str], digests: Iterable[str]) -> Check:
    """Whether every segment that was attested together with these is here."""
    missing = sorted(set(attested) - set(digests))
    return Check(
        id=ATTESTATION,
        status=Status.FAIL if missing else Status.PASS,
        expected="every segment that was attested",
        reason=f"missing: {names([f'sha256:{each[:16]}…' for each in missing], 3)}"
        if missing
        else "no attested segment is missing",
    )


def anchor_check(anchors: Anchors) -> Check:
    """What the chain was compared with."""
    said = anchors.said
    return Check(
        id=ANCHOR,
        status=Status.PASS if said else Status.SKIPPED,
        observed=Observed(value=len(said), unit="count"),
        expected="a head that was kept elsewhere",
        reason=f"compared with {' and '.join(said)}"
        if said
        else "NOT CHECKED: no head was given, so a chain that was rewritten, cut or extended as a "
        "whole is not noticed",
    )


def covered_check(segments: Sequence[Segment], anchors: Anchors) -> Check | None:
    """How many records the anchors prove; None without an anchor.

    Records after the last head that was kept elsewhere may have been edited, dropped or appended.
    """
    if not anchors.said:
        return None
    covered = covered_records(segments, anchors)
    total = sum(len(segment.lines) for segment in segments)
    proven = sum(covered.values())
    open_ = [
        f"{segment.path} after record {covered[segment.path]}"
        for segment in segments
        if covered[segment.path] < len(segment.lines)
    ]
    return Check(
        id=COVERED,
        status=Status.SKIPPED if open_ else Status.PASS,
        observed=Observed(value=proven, unit="records"),
        expected=f"{total} records",
        reason=f"NOT CHECKED: {total - proven} of {count(total, 'record')} come after the last "
        f"head that was kept elsewhere ({names(open_, 3)})"
        if open_
        else f"{count(total, 'record')} are proven",
        samples=total,
    )


@dataclass
class _Walk:
    """Positions of all records, and how far each segment is covered."""

    at: dict[str, tuple[Segment, int]]
    covered: dict[str, int] = field(default_factory=dict)

    def cover(self, head: str) -> None:
        """A head covers its record, those before it, and what the segment follows."""
        found = self.at.get(head)
        if found is None:
            return
        segment, number = found
        already = self.covered.get(segment.path, 0)
        self.covered[segment.path] = max(already, number)
        if not already and segment.records:
            for before in segment.records[0].follows:
                self.cover(before)


def covered_records(segments: Sequence[Segment], anchors: Anchors) -> dict[str, int]:
    """How many records of each segment the anchors prove, by path."""
    walk = _Walk(
        {
            digest: (segment, number)
            for segment in segments
            for number, digest in enumerate(segment.lines, start=1)
        }
    )
    for head in (*anchors.given, *(anchors.journal or ())):
        walk.cover(head)
    for segment in segments:
        if segment.head and segment.path in (anchors.attested or {}):
            walk.cover(segment.head)
    return {segment.path: walk.covered.get(segment.path, 0) for segment in segments}
