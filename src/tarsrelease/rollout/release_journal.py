"""What the journal says about one release. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from tarsrelease.model.base import Value
from tarsrelease.model.journal import (
    Cause,
    DeployFacts,
    Entry,
    GateFacts,
    MigrateFacts,
    PersonFacts,
    Phase,
    ProtectFacts,
    TakeOffFacts,
)
from tarsrelease.model.measurement import Track

MIGRATE = "migrate"
DEPLOY = "deploy"
SHIFT = "shift"
GATE = "gate"
PROMOTE = "promote"
ROLLBACK = "rollback"
MOVE_ALL = "take-off"
LIFT = "lift"
WAIT = "wait"
HOLD = "hold"
RESUME = "resume"
SKIP = "skip"
RESTORE = "restore"
ABORT = "abort"
INCIDENT = "incident"
INCIDENT_CLOSED = "incident-closed"
PROTECT = "protect"
VALIDATE = "validate"


class Pins(Value):
    """The values pinned when the canary was deployed; they are restored after the release.

    `version` and `revision` are stable's at that time; `replicas` by Deployment; `minimums` the
    autoscalers' minimums as they were.
    """

    version: str
    revision: int
    replicas: dict[str, int]
    minimums: dict[str, int]


def of_this_attempt(entries: Sequence[Entry], release: str) -> list[Entry]:
    """The release's entries since its last deploy, including that deploy's intent.

    A release that is deployed again after a rollback is a new attempt: nothing of the earlier
    attempt counts. Empty if it was never deployed.
    """
    own = [entry for entry in entries if entry.release == release]
    starts = [
        number
        for number, entry in enumerate(own)
        if entry.action == DEPLOY and entry.phase is Phase.INTENT
    ]
    return own[starts[-1] :] if starts else []


def identity(entries: Sequence[Entry], release: str) -> str | None:
    """The identity of the bundle that was deployed in this attempt; None if not recorded."""
    return next((e.identity for e in of_this_attempt(entries, release) if e.identity), None)


def migrated_identity(entries: Sequence[Entry], release: str) -> str | None:
    """The identity of the bundle whose expand migrations were applied last.

    None if that is not recorded, or the release was rolled back since.
    """
    found = None
    for entry in entries:
        if entry.release != release:
            continue
        if entry.action in (ROLLBACK, ABORT):
            found = None
        facts = MigrateFacts.of(entry.facts)
        if entry.action == MIGRATE and facts is not None and facts.direction == "expand":
            found = entry.identity
    return found


def pins(entries: Sequence[Entry], release: str) -> Pins | None:
    """What this attempt pinned; None if the journal does not say."""
    deployed = _deployed(entries, release)
    if (
        deployed is None
        or deployed.version is None
        or deployed.revision is None
        or deployed.replicas is None
        or deployed.minimums is None
    ):
        return None
    return Pins(
        version=deployed.version,
        revision=deployed.revision,
        replicas=deployed.replicas,
        minimums=deployed.minimums,
    )


def feature_flags(entries: Sequence[Entry], release: str) -> bool:
    """Whether this attempt's canary was deployed with the release's feature flags on."""
    deployed = _deployed(entries, release)
    return deployed is not None and deployed.feature_flags


def installed(entries: Sequence[Entry], release: str) -> DeployFacts:
    """Images and settings of the canary's Deployments as this attempt installed them; without
    them if they are unknown."""
    found = DeployFacts()
    for entry in of_this_attempt(entries, release):
        facts = DeployFacts.of(entry.facts)
        if facts is not None and facts.images is not None:
            found = facts
    return found


def _deployed(entries: Sequence[Entry], release: str) -> DeployFacts | None:
    attempt = of_this_attempt(entries, release)
    return DeployFacts.of(attempt[0].facts) if attempt else None


def has(entries: Sequence[Entry], release: str, action: str, phase: Phase) -> bool:
    """Whether this attempt has an entry of that action and phase."""
    return any(
        entry.action == action and entry.phase is phase
        for entry in of_this_attempt(entries, release)
    )


def promotion_begun(entries: Sequence[Entry], release: str) -> bool:
    """Whether this attempt's promotion has begun and was not rolled back."""
    return has(entries, release, PROMOTE, Phase.INTENT) and not rolled_back(entries, release)


def deploy_cut_off(entries: Sequence[Entry], release: str) -> bool:
    """Whether this attempt's deploy began, never ended, and was not rolled back."""
    phases = [e.phase for e in of_this_attempt(entries, release) if e.action == DEPLOY]
    return phases[-1:] == [Phase.INTENT] and not rolled_back(entries, release)


def deployed(entries: Sequence[Entry], release: str) -> bool:
    """Whether this attempt's canary passed its smoke test, and was not rolled back."""
    verdicts = [
        entry.facts.verdict
        for entry in of_this_attempt(entries, release)
        if entry.action == DEPLOY and entry.phase is Phase.RESULT
    ]
    return verdicts[-1:] == ["proceed"] and not rolled_back(entries, release)


def passed(entries: Sequence[Entry], release: str, weight: int) -> bool:
    """Whether this attempt's last gate at `weight` ended in proceed."""
    return verdict(entries, release, weight) == "proceed"


def verdict(entries: Sequence[Entry], release: str, weight: int) -> str | None:
    """This attempt's last verdict at `weight`; None if its gate has not ended."""
    verdicts = [
        entry.facts.verdict
        for entry in of_this_attempt(entries, release)
        if entry.action == GATE and entry.phase is Phase.RESULT and entry.facts.weight == weight
    ]
    return verdicts[-1] if verdicts else None


def cause(entries: Sequence[Entry], release: str) -> Cause | None:
    """The cause of this attempt's last gate or smoke test verdict; None if it passed."""
    verdicts = [
        entry.facts
        for entry in of_this_attempt(entries, release)
        if entry.action in (DEPLOY, GATE)
        and entry.phase is Phase.RESULT
        and entry.facts.verdict is not None
    ]
    return verdicts[-1].cause if verdicts else None


def kept_on_canary_because(entries: Sequence[Entry], release: str) -> str | None:
    """Why the promotion moved all traffic back to the canary; None if it did not."""
    reasons = [
        facts.reason
        for entry in of_this_attempt(entries, release)
        if (facts := TakeOffFacts.of(entry.facts)) and facts.to == Track.CANARY
    ]
    return reasons[-1] if reasons else None


def restarts_at_shift(
    entries: Sequence[Entry], release: str, since: datetime | None
) -> dict[str, int] | None:
    """Restart counts recorded before the shift in force `since` then; None without a record."""
    noted = [
        gate.restarts
        for entry in of_this_attempt(entries, release)
        if (gate := GateFacts.of(entry.facts)) and gate.restarts is not None
        if entry.phase is Phase.INTENT and since is not None and entry.at <= since
    ]
    return noted[-1] if noted else None


def promotion(entries: Sequence[Entry]) -> Entry | None:
    """The result of the last promotion; None if there is none or it was rolled back."""
    for number, entry in reversed(list(enumerate(entries))):
        if entry.action == PROMOTE and entry.phase is Phase.RESULT:
            after = entries[number + 1 :]
            undone = any(e.action == ROLLBACK and e.release == entry.release for e in after)
            return None if undone else entry
    return None


def rolled_back(entries: Sequence[Entry], release: str) -> bool:
    """Whether this attempt was rolled back or aborted, or a gate decided that it must be."""
    for entry in of_this_attempt(entries, release):
        if entry.action in (ROLLBACK, ABORT):
            return True
        if entry.action == GATE and entry.facts.verdict == "rollback":
            return True
    return False


def ended_by_person(entries: Sequence[Entry], release: str) -> Entry | None:
    """The first rollback or abort of this attempt; None if there is none."""
    return next(
        (e for e in of_this_attempt(entries, release) if e.action in (ROLLBACK, ABORT)), None
    )


def ended_since(entries: Sequence[Entry], release: str, since: datetime, run: str) -> Entry | None:
    """The first rollback, abort or failed gate of another run after `since`; None without any."""
    return next(
        (
            e
            for e in entries
            if e.release == release and e.run != run and e.at > since
            if e.action in (ROLLBACK, ABORT) or (e.action == GATE and e.facts.verdict == "rollback")
        ),
        None,
    )


def aborted(entries: Sequence[Entry], release: str) -> Entry | None:
    """This attempt's abort by a person; None if there is none."""
    return next((e for e in of_this_attempt(entries, release) if e.action == ABORT), None)


def failed_side(entries: Sequence[Entry], release: str) -> Track | None:
    """The canary if a gate or the promotion proved in this attempt that it fails; else None."""
    failed = any(
        e.action == GATE and e.facts.verdict == "rollback"
        for e in of_this_attempt(entries, release)
    )
    return Track.CANARY if failed else None


def accepted_revision(entries: Sequence[Entry], release: str) -> int | None:
    """The revision of stable that a person accepted last with a resume."""
    found = [
        facts.revision
        for entry in of_this_attempt(entries, release)
        if entry.action == RESUME and (facts := PersonFacts.of(entry.facts))
    ]
    return found[-1] if found else None


def held(entries: Sequence[Entry], release: str) -> Entry | None:
    """A person's hold that no resume has ended; None if there is none."""
    steps = [e for e in of_this_attempt(entries, release) if e.action in (HOLD, RESUME)]
    return steps[-1] if steps and steps[-1].action == HOLD else None


def incident(entries: Sequence[Entry], release: str) -> Entry | None:
    """The release's newest incident if it is open; None if there is none."""
    found = [
        entry
        for entry in entries
        if entry.release == release and entry.action in (INCIDENT, INCIDENT_CLOSED)
    ]
    return found[-1] if found and found[-1].action == INCIDENT else None


def skipped(entries: Sequence[Entry], release: str, weight: int) -> bool:
    """Whether a person let this attempt enter the stage without the one before."""
    return any(
        e.action == SKIP and e.facts.weight == weight for e in of_this_attempt(entries, release)
    )


def protected_at(entries: Sequence[Entry], release: str, weight: int) -> bool:
    """Whether a protection moved all traffic to stable in this attempt's stage of `weight`."""
    return any(
        e.action == PROTECT and e.facts.weight == weight for e in of_this_attempt(entries, release)
    )


def protection(entries: Sequence[Entry], release: str) -> tuple[Entry, ProtectFacts] | None:
    """The protection after which this attempt's traffic was not shifted again; None without one."""
    steps = [
        e
        for e in of_this_attempt(entries, release)
        if e.action == PROTECT or (e.action == SHIFT and e.phase is Phase.INTENT)
    ]
    facts = ProtectFacts.of(steps[-1].facts) if steps else None
    return None if facts is None else (steps[-1], facts)
