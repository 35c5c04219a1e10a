"""Compare a folder of evidence with what was kept elsewhere."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from tarsrelease.evidence import anchors as elsewhere
from tarsrelease.evidence.anchors import Anchors
from tarsrelease.evidence.chain import prove, read_all
from tarsrelease.model.outcome import Check, Outcome, Status, Verdict, exit_code_of, worst

if TYPE_CHECKING:
    from tarsrelease.cli.session import Session


@dataclass(frozen=True)
class Where:
    """The options that say what to compare with."""

    heads: tuple[str, ...] = ()
    attestations: tuple[Path, ...] = ()
    repository: str | None = None
    signer_workflow: str | None = None
    trusted_root: Path | None = None


def compared(session: Session, folder: Path, where: Where, started_at: datetime) -> Outcome:
    """The outcome of `report evidence`: no-go if a record is missing or altered."""
    from datetime import UTC

    from tarsrelease.adapters.files.evidence_file import read_segments

    segments = read_segments(folder)
    read = read_all(segments)
    journal, found = _journal(session, segments) if session.settings.environment else (None, [])
    attested, more = _attested(where, segments) if where.attestations else (None, [])
    known = Anchors(where.heads, journal, attested)
    covered = elsewhere.covered_check(read, known)
    checks = (
        *prove(segments, where.heads, journal or ()),
        *found,
        *more,
        *([covered] if covered else []),
        elsewhere.anchor_check(known),
    )
    made = [check.status for check in checks if check.status is not Status.SKIPPED]
    whole = worst(made) is Status.PASS
    verdict = Verdict.PROCEED if whole else Verdict.NO_GO
    return Outcome(
        step="report evidence",
        release=None,
        environment=None,
        verdict=verdict,
        exit_code=exit_code_of(verdict),
        summary=f"the evidence in {folder} is {_good(known, covered) if whole else 'NOT whole'}",
        checks=checks,
        started_at=started_at,
        finished_at=datetime.now(UTC),
        next="" if whole else "compare with the runs' artifacts and the cluster's journal",
    )


def _good(known: Anchors, covered: Check | None) -> str:
    if covered is None:
        return "consistent with itself; it was compared with nothing else"
    if known.journal is None and known.attested is None:
        return f"whole up to {known.said[0]}"
    said = " and ".join(known.said)
    if covered.status is Status.PASS:
        return f"whole, compared with {said}"
    return f"whole as far as it is proven, compared with {said}; {covered.reason}"


def _journal(
    session: Session, segments: Mapping[str, bytes]
) -> tuple[tuple[str, ...], list[Check]]:
    """The heads in the journal of the release that the evidence is about."""
    from tarsrelease.wiring.context import journal_of

    records = [record for segment in read_all(segments) for record in segment.records]
    versions = [each.outcome.release for each in records if each.outcome.release]
    release = versions[-1] if versions else session.release.version
    entries = journal_of(session.environment, session.release).entries()
    heads, check = elsewhere.journal_heads(entries, release, {each.run for each in records})
    return heads, [check]


def _attested(
    where: Where, segments: Mapping[str, bytes]
) -> tuple[Mapping[str, str], Sequence[Check]]:
    """The signer of each attested segment, and the checks."""
    from tarsrelease.model.verification import Signed
    from tarsrelease.wiring.verification import signatures

    signed = signatures(
        where.attestations, where.repository, where.signer_workflow, where.trusted_root
    )
    digests = {path: hashlib.sha256(content).hexdigest() for path, content in segments.items()}
    answers = {path: signed.check(digest) for path, digest in digests.items()}
    signers = {path: each.signer for path, each in answers.items() if isinstance(each, Signed)}
    refusals = {path: each for path, each in answers.items() if isinstance(each, str)}
    together = {each for path in signers for each in signed.attested_with(digests[path])}
    return signers, [
        *elsewhere.attestation_checks(digests, signers, refusals),
        elsewhere.missing_check(together, digests.values()),
    ]
