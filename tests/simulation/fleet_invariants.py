"""What must hold in every release to several targets, as functions over its record."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import invariants
from invariants import IN_FLIGHT
from random_fleet import Event, FleetStory
from world import NEW

from tarsrelease.model.journal import Phase
from tarsrelease.model.outcome import ExitCode
from tarsrelease.rollout import release_journal

_DONE, _LOCKED = int(ExitCode.DONE), int(ExitCode.LOCKED)
_AT_EACH_TARGET = (
    invariants.traffic_rises_only_after_a_pass,
    invariants.traffic_has_ready_pods,
    invariants.a_release_ends_all_new_or_all_old,
    invariants.contract_migrations_wait,
    invariants.every_change_is_announced,
    invariants.two_processes_never_both_change_things,
    invariants.nothing_ends_in_a_traceback,
    invariants.a_rollback_moves_traffic_first,
)
_NOTICED = 3.0
"""Seconds until a run has noticed how one of its targets ended, and interrupted the others."""


def violations(story: FleetStory) -> list[str]:
    """Everything that does not hold, one line each."""
    found = [
        f"{target.name}: {check.__name__}: {each}"
        for target in story.targets.values()
        for check in _AT_EACH_TARGET
        for each in check(target.story)
    ]
    return found + [f"{check.__name__}: {each}" for check in INVARIANTS for each in check(story)]


def _runs(story: FleetStory) -> dict[str, list[Event]]:
    found: dict[str, list[Event]] = {}
    for event in story.events:
        if event.fleet.startswith("run"):
            found.setdefault(event.fleet, []).append(event)
    return found


def no_wave_begins_before_the_wave_before_passed_and_baked(story: FleetStory) -> Iterator[str]:
    """... and is still promoted when the next one begins."""
    waves = story.environment.waves
    number = {wave.targets: n for n, wave in enumerate(waves)}
    for name, events in _runs(story).items():
        for at, event in enumerate(events):
            if event.what != "run":
                continue
            where = f"{name} began wave {number[event.names] + 1}"
            for wave in waves[: number[event.names]]:
                before = [e for e in events[:at] if e.names == wave.targets]
                ended = [e for e in before if e.what == "run ended"]
                if not ended or set(ended[-1].codes) != {_DONE}:
                    yield f"{where}, and a wave before it has not passed: {ended[-1:]}"
                    continue
                baked = [e for e in before if e.what == "watch ended"]
                if wave.bake and (not baked or set(baked[-1].codes) != {_DONE}):
                    yield f"{where} without a bake that passed"
                if event.at - ended[-1].at < wave.bake:
                    yield f"{where} after {event.at - ended[-1].at:.0f} s of {wave.bake:.0f} s"
                for target in wave.targets:
                    if not _promoted(story, target, event.at - IN_FLIGHT):
                        yield f"{where}, and {target} is not promoted any more"


def _promoted(story: FleetStory, target: str, at: float) -> bool:
    entries = [e for e in story.targets[target].story.ledger if e.at.timestamp() <= at]
    return not release_journal.rolled_back(entries, NEW)


def a_rolled_back_target_is_never_raised_by_another_run(story: FleetStory) -> Iterator[str]:
    """... that began before the rollback."""
    for target in story.targets.values():
        own = target.story
        runs = {end.process.name: end.process.run for end in own.ends}
        for number, call, service, stage, before, after in invariants._shifts(own):
            run = runs.get(call.process, "")
            if after <= before or run not in story.began or stage == "kept-on-canary":
                continue
            entries = own.ledger[: own.truths[number].entries]
            for entry in entries:
                ended = entry.action in (release_journal.ROLLBACK, release_journal.ABORT) or (
                    entry.action == release_journal.GATE and entry.facts.verdict == "rollback"
                )
                at = entry.at.timestamp()
                if ended and entry.run != run and story.began[run] < at < call.at - IN_FLIGHT:
                    yield (
                        f"{run} raised {service} at {target.name} to {after} % "
                        f"{call.at - at:.0f} s after {entry.run} had rolled it back"
                    )
                    break


def two_fleets_never_both_act(story: FleetStory) -> Iterator[str]:
    """A run that lost one of its targets to another raises no other target, and starts none."""
    for name in _runs(story):
        lost = [
            end.process.ended_at or 0.0
            for target in story.targets.values()
            for end in target.story.ends
            if end.process.run == name
            and end.process.name.startswith("run")
            and end.process.code == _LOCKED
        ]
        if not lost:
            continue
        yield from _goes_on(story, name, min(lost) + _NOTICED, "lost a target")


def the_others_stop_at_a_failure(story: FleetStory) -> Iterator[str]:
    """Once a run rolls a target back, it starts no other target and raises none."""
    for name in _runs(story):
        failed = [
            entry.at.timestamp()
            for target in story.targets.values()
            for entry in target.story.ledger
            if entry.run == name
            and (entry.action, entry.phase) == (release_journal.ROLLBACK, Phase.INTENT)
        ]
        if failed:
            yield from _goes_on(story, name, min(failed) + _NOTICED, "rolled a target back")


def _goes_on(story: FleetStory, name: str, since: float, because: str) -> Iterator[str]:
    """Targets that this run started or raised since then."""
    for target in story.targets.values():
        for process in [end.process for end in target.story.ends if end.process.run == name]:
            if not process.name.startswith("run"):
                continue
            if process.started_at > since:
                yield f"{name} {because} and started {target.name}"
            for _, call, service, stage, before, after in invariants._shifts(target.story):
                late = call.process == process.name and call.at > since + IN_FLIGHT
                if late and after > before and stage != "kept-on-canary":
                    yield f"{name} {because} and raised {service} at {target.name}"


def a_shared_database_is_migrated_once_and_first(story: FleetStory) -> Iterator[str]:
    """Before the first canary of any target that uses it."""
    if len(story.migrated) > 1:
        yield f"it was migrated {len(story.migrated)} times"
    if story.environment.database is None:
        return
    for target in story.targets.values():
        for entry in target.story.ledger:
            deploys = entry.action == release_journal.DEPLOY and entry.phase is Phase.INTENT
            if deploys and not any(at <= entry.at.timestamp() for at in story.migrated):
                yield f"{target.name} deployed its canary before the database was migrated"


def an_undisturbed_release_reaches_every_target(story: FleetStory) -> Iterator[str]:
    """If nothing goes wrong and nobody steps in."""
    if story.undisturbed and story.released[:1] != [0]:
        yield f"it ended with {story.released}"


INVARIANTS: tuple[Callable[[FleetStory], Iterator[str]], ...] = (
    no_wave_begins_before_the_wave_before_passed_and_baked,
    a_rolled_back_target_is_never_raised_by_another_run,
    two_fleets_never_both_act,
    the_others_stop_at_a_failure,
    a_shared_database_is_migrated_once_and_first,
    an_undisturbed_release_reaches_every_target,
)
