"""What must hold in every release whatever goes wrong, as functions over its record."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import pairwise

from conductor import Call, Process
from random_release import CONTRACT_AFTER, GUARD_AFTER, HOT_FIX, End, Moment, Story
from world import NEW, deployment

from tarsrelease.model.errors import LostError, ReleaseError
from tarsrelease.model.journal import Entry, Phase, ShiftFacts
from tarsrelease.model.measurement import Track
from tarsrelease.model.outcome import Outcome, Status, Verdict
from tarsrelease.model.step_details import GateDetails
from tarsrelease.rollout import release_journal

IN_FLIGHT = 6.0
"""Seconds that a request which was sent may still take to arrive."""
SAFE_WITHIN = 45.0
"""Seconds within which a canary that only fails loses its traffic, while it is evaluated."""
WITHOUT_PODS = 20.0
"""Seconds within which a canary without a ready pod loses its traffic, while it is evaluated."""
DEPLOY = 60.0
"""`limits.deploy` of these releases."""
_SCRAPE = 7.0
_PEOPLE = ("hold", "resume", "abort", "rollback", "other-run", "contract")
GUARDED_WITHIN = 60.0 + 2 * 60.0 + GUARD_AFTER + 20.0
"""The longest lease, which a promotion takes for Helm, and the guard's patience."""
_CHANGES = frozenset({"shift", "retire", "scale", "upgrade", "rollback", "uninstall"})
_HELM = frozenset({"upgrade", "rollback", "uninstall"})
_SAFE = frozenset({"off", "kept-on-canary", "rolled-back"})


def violations(story: Story) -> list[str]:
    """Everything that does not hold, one line each."""
    return [f"{name}: {found}" for name, check in INVARIANTS.items() for found in check(story)]


def _at(story: Story, at: float) -> str:
    return f"at {at - story.started:.2f} s"


def _writes(story: Story) -> Iterator[tuple[int, Call, list[Entry]]]:
    """Number, call and the journal then, of each call that changed something."""
    for number, call in enumerate(story.calls):
        if number in story.truths:
            yield number, call, story.ledger[: story.truths[number].entries]


def _shifts(story: Story) -> Iterator[tuple[int, Call, str, str, int, int]]:
    """Number, call, service, stage, weight before and after, of each write of a weight."""
    weights: dict[str, int] = {}
    for number, call in enumerate(story.calls):
        if call.name == "edit":
            weights[call.what[0]] = call.what[1]
        elif call.name == "delete-route":
            weights[call.what[0]] = 0
        elif call.name in ("shift", "retire") and number in story.truths:
            service = call.what[0][0].name
            weight = call.what[1] if call.name == "shift" else 0
            yield number, call, service, call.what[-1]["stage"], weights.get(service, 0), weight
            weights[service] = weight


def _recently(story: Story, number: int, names: set[str], seconds: float) -> bool:
    at = story.calls[number].at
    return any(c.name in names and at - seconds <= c.at <= at for c in story.calls[:number])


def traffic_rises_only_after_a_pass(story: Story) -> Iterator[str]:
    """... of the stage before, or a person's recorded lift; never after a rollback."""
    stages = story.plan.stages
    for number, call, service, stage, before, after in _shifts(story):
        if after <= before:
            continue
        entries = story.ledger[: story.truths[number].entries]
        earlier = [e for e in entries if e.at.timestamp() < call.at - IN_FLIGHT]
        where = f"{_at(story, call.at)} {call.process} raised {service} to {after} % ({stage})"
        promoting = release_journal.has(entries, NEW, release_journal.PROMOTE, Phase.INTENT)
        if stage == "kept-on-canary":
            ready = story.truths[number].ready
            stable = min(ready[deployment(s, Track.STABLE)] for s in story.truths[number].weights)
            if not promoting and stable and not _recently(story, number, {"evict", "scale"}, 20.0):
                yield f"{where} although the promotion has not begun and stable is ready"
            continue
        if release_journal.rolled_back(earlier, NEW) and release_journal.rolled_back(entries, NEW):
            yield f"{where} after the release was rolled back"
        elif stage.startswith("promote-"):
            if not promoting:
                yield f"{where} without a promotion"
        else:
            own = next((each for each in stages if each.name == stage), None)
            previous = story.plan.stage_before(own) if own else None
            allowed = own is not None and (
                previous is None
                or release_journal.passed(entries, NEW, previous.weight)
                or release_journal.skipped(entries, NEW, own.weight)
            )
            if not allowed and not story.journal_lost:
                yield f"{where} without a pass of {previous.name if previous else 'any stage'}"


def a_failing_canary_loses_its_traffic(story: Story) -> Iterator[str]:
    """... in time, while a process evaluates it and the API server answers."""
    began: float | None = None
    for moment in story.moments:
        exposed = _exposed(moment)
        if not exposed:
            began = None
        elif began is None:
            began = moment.at
        elif moment.at - began > SAFE_WITHIN:
            yield f"{_at(story, began)} the canary failed, and {moment.at - began:.0f} s later " + (
                f"it has {max(moment.weights)} %"
            )
            return


def _exposed(moment: Moment) -> bool:
    return moment.bad and max(moment.weights) > 0 and moment.observed and moment.stable_ready


def a_canary_without_pods_loses_its_traffic(story: Story) -> Iterator[str]:
    """... in time, while stable has pods and a process evaluates the canary."""
    began: dict[str, float] = {}
    for moment in story.moments:
        without = () if _edited_after_the_end(story, moment.at) else moment.without_pods
        began = {s: began.get(s, moment.at) for s in without}
        for service, since in began.items():
            if moment.at - since > WITHOUT_PODS:
                left = f"{WITHOUT_PODS:.0f} s later it has {max(moment.weights)} %"
                yield f"{_at(story, since)} the canary of {service} has no ready pod; {left}"
                return


def an_outage_ends_no_stage(story: Story) -> Iterator[str]:
    """A gate waits for an API server that comes back within `limits.deploy`."""
    for end in story.ends:
        process = end.process
        if not process.name.startswith("gate") or not isinstance(process.error, LostError):
            continue
        ended = process.ended_at or 0.0
        if not any(began + DEPLOY <= ended <= back for began, back in _outages(story)):
            yield f"{_at(story, ended)} {process.name} did not wait: {process.error}"


def _outages(story: Story) -> Iterator[tuple[float, float]]:
    """When the API server went away, and when it was back."""
    began = 0.0
    for call in story.calls:
        if call.port == "cluster" and call.name == "away":
            began = call.at
        elif call.port == "cluster" and call.name == "back":
            yield began, call.at


def a_guard_ends_traffic_that_nobody_evaluates(story: Story) -> Iterator[str]:
    """... when its lease has run out."""
    began: float | None = None
    for moment in story.moments:
        exposed = moment.guarded and max(moment.weights) > 0 and moment.stable_ready
        if not exposed or _by_hand(story, moment.at):
            began = None
        elif began is None:
            began = moment.at
        elif moment.at - began > GUARDED_WITHIN:
            yield f"{_at(story, began)} nobody evaluates the canary, and the guard leaves it " + (
                f"{max(moment.weights)} %"
            )
            return


def _by_hand(story: Story, at: float) -> bool:
    """Whether a person wrote the weights last, so that they have no lease."""
    last = [c.name for c in story.calls if c.at <= at and c.name in ("edit", "shift", "retire")]
    return last[-1:] == ["edit"]


def _edited_after_the_end(story: Story, at: float) -> bool:
    """Whether a person gave traffic to a canary that was removed, which nobody evaluates."""
    last = [c.name for c in story.calls if c.at <= at and c.name in ("shift", "retire")]
    return last[-1:] == ["retire"] and _by_hand(story, at)


def traffic_has_ready_pods(story: Story) -> Iterator[str]:
    """No traffic is moved to a side without ready pods while the other side has them all.

    A release moves it to pods that their Service leads to. From a side that fails it is moved at
    once, whatever the Services lead to.
    """
    for number, call, service, stage, before, after in _shifts(story):
        truth = story.truths[number]
        able = truth.ready if stage in ("off", "kept-on-canary") else truth.reached
        sides = {t: able[deployment(service, t)] for t in Track}
        gains = Track.CANARY if after > before else Track.STABLE
        if before == after or sides[gains] or not sides[gains.other]:
            continue
        if _recently(story, number, {"evict", "hot-fix"}, 30.0):
            continue
        yield (
            f"{_at(story, call.at)} {call.process} moved {service} from {before} % to {after} % "
            f"({stage}), and {gains} has no ready pod"
        )


def a_release_ends_all_new_or_all_old(story: Story) -> Iterator[str]:
    """... when a command says so, and after a last rollback in calm weather."""
    for end in story.ends:
        kind, code = end.process.name.rsplit("-", 1)[0], end.process.code
        stable = {
            version for name, version in end.versions.items() if not name.startswith("tars-canary")
        }
        canary = {name for name in end.versions if name.startswith("tars-canary")}
        where = f"{_at(story, end.process.ended_at or 0)} {end.process.name} (exit {code})"
        if code == 0 and kind in ("run", "promote", "other-run"):
            # Another process may have rolled it back between the last write and the end.
            if stable != {NEW} and not _others_since(story, end):
                yield f"{where}: promoted, and stable runs {sorted(stable)}"
            if canary and not _others_since(story, end):
                yield f"{where}: promoted, and the canary is still there"
        elif kind == "last-rollback" or (code == 0 and kind == "rollback"):
            weights = end.truth.weights
            if code == 0 and any(weights.values()) and not _others_since(story, end, within=15.0):
                yield f"{where}: proven, and the weights are {weights}"
            if _others_since(story, end):
                continue
            if NEW in stable:
                yield f"{where}: rolled back, and stable runs {sorted(stable)}"
            elif any(c.name == "hot-fix" for c in story.calls[: end.calls]) and stable != {HOT_FIX}:
                yield f"{where}: rolled back, and the hot fix is lost"
            if canary:
                yield f"{where}: rolled back, and the canary is still there"
            if any(end.truth.weights.values()):
                yield f"{where}: rolled back, and the weights are {end.truth.weights}"
            if kind == "last-rollback" and code != 0 and story.healthy_stable:
                yield f"{where}: the last rollback in calm weather failed"


def _others_since(story: Story, end: End, within: float = 90.0) -> bool:
    """Whether another process changed something while this one came to its end."""
    since = (end.process.ended_at or 0.0) - within
    return any(
        c.process != end.process.name
        and (c.name in _CHANGES or c.name in ("edit", "delete-route", "hot-fix", "delete-journal"))
        and c.effect
        and c.at >= max(since, end.process.started_at)
        for c in story.calls[: end.calls]
    )


def _journal_lost(story: Story, end: End) -> bool:
    """Whether somebody deleted the journal after the deployment.

    Nothing says then whether the promotion has begun, and so which side can serve.
    """
    calls = [c for c in story.calls[: end.calls] if c.effect]
    return [c.name for c in calls if c.name in ("upgrade", "delete-journal")][-1:] == [
        "delete-journal"
    ]


def an_undisturbed_release_is_promoted(story: Story) -> Iterator[str]:
    """If nothing goes wrong and nobody steps in, the release serves at the end."""
    disturbed = [c for c in story.calls if c.port in ("cluster", "server", "hands", "process")]
    by_people = [e for e in story.ends if e.process.name.startswith(_PEOPLE)]
    if disturbed or by_people or not story.healthy:
        return
    for end in story.ends:
        if end.process.code != 0:
            yield (
                f"{_at(story, end.process.ended_at or 0)} {end.process.name} ended with exit "
                f"{end.process.code}"
            )


def contract_migrations_wait(story: Story) -> Iterator[str]:
    """... until the release was promoted and watched, and no pod of the old version runs."""
    for call in story.calls:
        if call.name != "contracted":
            continue
        entries = [e for e in story.ledger if e.at.timestamp() <= call.at]
        promoted = [
            e.at.timestamp()
            for e in release_journal.of_this_attempt(entries, NEW)
            if e.action == release_journal.PROMOTE and e.phase is Phase.RESULT
        ]
        where = f"{_at(story, call.at)} a contract migration was applied"
        if not promoted or release_journal.rolled_back(entries, NEW):
            yield f"{where}, and the release is not promoted"
        elif call.at - promoted[-1] < CONTRACT_AFTER:
            yield f"{where} {call.at - promoted[-1]:.0f} s after the promotion"
        elif set(call.what) != {NEW}:
            yield f"{where}, and {sorted(call.what)} run"


def every_change_is_announced(story: Story) -> Iterator[str]:
    """Every change has its intent in the journal before, except moving traffic to safety."""
    failed = {c.process for c in story.calls if c.name == "append" and not c.effect}
    before = {number: weight for number, _, _, _, weight, _ in _shifts(story)}
    for number, call, entries in _writes(story):
        if call.name not in _CHANGES or call.process in failed:
            continue
        own = [e for e in entries if e.release == NEW]
        where = f"{_at(story, call.at)} {call.process}: {call.port}.{call.name}"
        if call.name == "shift":
            stage, weight = call.what[-1]["stage"], call.what[1]
            if stage in _SAFE or weight <= before[number]:
                continue
            shifts = [e for e in own if e.action == release_journal.SHIFT]
            if not shifts or weight not in _announced(shifts[-1]):
                yield f"{where} to {weight} % ({stage}) is not announced"
        elif call.name in _HELM | {"scale"}:
            intents = {e.action for e in own if e.phase is Phase.INTENT}
            canary = call.what[0].startswith("tars-canary")
            needed = {"deploy", "rollback", "promote"} if canary else {"promote", "rollback"}
            if not intents & needed:
                yield f"{where} {call.what[0]} is not announced"


def _announced(entry: Entry) -> set[int | None]:
    """The weight of a shift, and those that it restores if the gateway does not accept it."""
    shift = ShiftFacts.of(entry.facts)
    return {entry.facts.weight, *((shift.before or {}).values() if shift else ())}


def two_processes_never_both_change_things(story: Story) -> Iterator[str]:
    """What is changed is changed by the holder of the lock, except traffic to safety.

    Two rollbacks may both change things: they do the same, and neither waits for the other.
    """
    taken: dict[str, float] = {}
    without: set[str] = set()
    for number, call in enumerate(story.calls):
        if call.port == "lock" and call.name in ("acquired", "preempted"):
            taken[call.process] = call.at
        if call.port == "says" and call.name.startswith("lock: cannot be acquired"):
            without.add(call.process)
        truth = story.truths.get(number)
        if truth is None or call.name not in _CHANGES or call.process in without:
            continue
        if call.name in ("shift", "retire") and call.what[-1]["stage"] in _SAFE:
            continue
        other = truth.holder
        if other in (None, call.process) or call.at - taken.get(other or "", 0.0) < IN_FLIGHT:
            continue
        if "rollback" in call.process and "rollback" in (other or ""):
            continue
        yield (
            f"{_at(story, call.at)} {call.process} did {call.port}.{call.name} while {other} "
            "had the lock"
        )


def nobody_is_told_of_what_did_not_happen(story: Story) -> Iterator[str]:
    """Exit codes and messages are true."""
    for end in story.ends:
        process = end.process
        code, kind = process.code, process.name.rsplit("-", 1)[0]
        where = f"{_at(story, process.ended_at or 0)} {process.name} (exit {code})"
        changed = [
            c for c in story.calls if c.process == process.name and c.name in _CHANGES and c.effect
        ]
        if isinstance(process.error, ReleaseError) and code in (1, 2, 69) and changed:
            yield f"{where} says that nothing was changed, after {changed[-1].name}"
        if kind == "rollback" and code == 0:
            bad = end.stable_bad_since
            if bad is not None and bad < process.started_at - 10.0:
                yield f"{where}: proven, and stable answers with errors since before"
        outcome = process.outcome
        if outcome is not None and outcome.verdict is Verdict.PROCEED:
            yield from (f"{where}: {found}" for found in _unproven(story, process, outcome))


def _unproven(story: Story, process: Process, outcome: Outcome) -> Iterator[str]:
    gate = GateDetails.of(outcome.details)
    if gate is None or gate.lifted_by is not None or gate.mode == "wait":
        return
    open_ = [c for c in outcome.checks if c.status in (Status.ERROR, Status.INCONCLUSIVE)]
    if open_:
        yield f"proceeds, and {open_[0].id} is {open_[0].status}"


def a_pass_counts_requests_since_the_shift(story: Story) -> Iterator[str]:
    """A recorded pass rests on requests that the canary has answered since the shift."""
    for end in story.ends:
        if end.process.outcome is not None and end.process.name.startswith("gate"):
            yield from _more_requests_than_there_were(story, end.process, end.process.outcome)


def _more_requests_than_there_were(
    story: Story, process: Process, outcome: Outcome
) -> Iterator[str]:
    gate = GateDetails.of(outcome.details)
    if gate is None or gate.shifted_at is None:
        return
    since = datetime.fromisoformat(gate.shifted_at)
    if any(c.port == "server" and c.at <= since.timestamp() for c in story.calls):
        return  # the newest sample before the shift may be old
    for check in outcome.checks:
        if check.id != "canary.errors" or check.samples is None or check.service is None:
            continue
        known = story.answered.get(check.service, [])
        # The count begins with the last scrape before the shift.
        then = [number for at, number in known if at <= since.timestamp() - _SCRAPE]
        now = [number for at, number in known if at >= outcome.finished_at.timestamp()]
        answered = (now[0] if now else known[-1][1]) - (then[-1] if then else 0)
        if check.samples > answered + 1:
            yield (
                f"{_at(story, process.ended_at or 0)} {process.name}: {check.id} of "
                f"{check.service} counts {check.samples} requests, there were {answered}"
            )


def nothing_ends_in_a_traceback(story: Story) -> Iterator[str]:
    """Every process ends with an outcome, a documented error, a signal."""
    for end in story.ends:
        error = end.process.error
        if error is None or end.process.killed or isinstance(error, ReleaseError):
            continue
        if not isinstance(error, KeyboardInterrupt):
            yield f"{_at(story, end.process.ended_at or 0)} {end.process.name}: {error!r}"


def a_rollback_moves_traffic_first(story: Story) -> Iterator[str]:
    """Helm is asked when all routes lead to one side, written by this rollback."""
    for end in story.ends:
        name = end.process.name
        if not name.startswith(("rollback", "last-rollback")):
            continue
        own = [c for c in story.calls if c.process == name and c.effect]
        helm = next((n for n, c in enumerate(own) if c.name in _HELM), None)
        if helm is None:
            continue
        moved = {c.what[0][0].name for c in own[:helm] if c.name == "shift"}
        if len(moved) < len(story.answered):
            yield f"{_at(story, own[helm].at)} {name} asked Helm before it moved the traffic"


def after_an_interruption_the_traffic_is_safe(story: Story) -> Iterator[str]:
    """Ctrl-C during `run` leaves no traffic on a canary that nobody evaluates."""
    for end in story.ends:
        process = end.process
        if process.code != 130 or process.killed or not process.name.startswith("run"):
            continue
        begun = release_journal.has(
            story.ledger[: end.truth.entries], NEW, release_journal.PROMOTE, Phase.INTENT
        )
        known = not (begun or _journal_lost(story, end) or _others_since(story, end))
        if max(end.truth.weights.values()) > 0 and known:
            yield f"{_at(story, process.ended_at or 0)} {process.name}: interrupted, and the " + (
                f"weights are {end.truth.weights}"
            )


def _ordered(story: Story) -> Iterator[str]:
    """The record itself: time never runs backwards."""
    for one, other in pairwise(story.calls):
        if other.at < one.at:
            yield f"{_at(story, one.at)}: {one.name} before {other.name}"


INVARIANTS: dict[str, Callable[[Story], Iterator[str]]] = {
    each.__name__.strip("_").replace("_", " "): each
    for each in (
        traffic_rises_only_after_a_pass,
        a_failing_canary_loses_its_traffic,
        a_canary_without_pods_loses_its_traffic,
        an_outage_ends_no_stage,
        a_guard_ends_traffic_that_nobody_evaluates,
        traffic_has_ready_pods,
        a_release_ends_all_new_or_all_old,
        an_undisturbed_release_is_promoted,
        contract_migrations_wait,
        every_change_is_announced,
        two_processes_never_both_change_things,
        nobody_is_told_of_what_did_not_happen,
        a_pass_counts_requests_since_the_shift,
        nothing_ends_in_a_traceback,
        a_rollback_moves_traffic_first,
        after_an_interruption_the_traffic_is_safe,
        _ordered,
    )
}


def report(stories: Sequence[Story]) -> str:
    """The violations of several releases."""
    return "\n".join(f"seed {s.seed}: {v}" for s in stories for v in violations(s))
