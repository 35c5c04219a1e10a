"""The session of one command: loads release and environment when needed, runs the step."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from difflib import get_close_matches
from enum import Enum
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from tarsrelease.adapters.clock import SystemClock
from tarsrelease.adapters.files.configuration import (
    BundleFiles,
    load_environment,
    load_release,
    newest_release,
    read_bundle,
)
from tarsrelease.adapters.files.evidence_file import EvidenceFile
from tarsrelease.adapters.terminal.progress import progress_on
from tarsrelease.cli.outcomes import failed, print_outcome
from tarsrelease.cli.redaction import (
    NamedProgress,
    RedactedProgress,
    Redaction,
    log_to_stderr,
    redaction,
)
from tarsrelease.cli.settings import Settings
from tarsrelease.model.environment import Environment
from tarsrelease.model.errors import ReleaseError, UsageError
from tarsrelease.model.outcome import ExitCode, Outcome
from tarsrelease.model.overrides import describe_overrides
from tarsrelease.model.release import AS_WRITTEN, Release, Run, RunOptions
from tarsrelease.rollout.fleet import some

if TYPE_CHECKING:
    from tarsrelease.adapters.files.private_bundle import PrivateBundle
    from tarsrelease.adapters.terminal.progress import ClosingProgress
    from tarsrelease.context import Assignment, Context
    from tarsrelease.ports.clock import Clock
    from tarsrelease.ports.metrics import OtherTargets
    from tarsrelease.ports.people import Outbox, Person

DEFAULT_EVIDENCE = Path("evidence")


class Session:
    """One command's settings, and its environment, release and context, loaded when needed.

    `changes`: the command changes something, so --release is required. `fleet` is the session on
    all targets, of which this is one target's: both use the same files, which are read once.
    """

    def __init__(
        self, settings: Settings, *, changes: bool = True, fleet: Session | None = None
    ) -> None:
        self.settings = settings
        self._fleet = fleet
        self.redaction: Redaction = fleet.redaction if fleet else redaction(settings.environment)
        self.progress: ClosingProgress = RedactedProgress(
            progress_on(
                sys.stderr,
                quiet=settings.quiet,
                verbose=settings.verbose or settings.debug,
                live=settings.target is None,
            ),
            self.redaction,
        )
        self.run = this_run()
        self.clock: Clock = SystemClock()
        self.changes = changes
        self._listed = changes
        self._choice = AS_WRITTEN
        self._open = ExitStack()
        self._reading = Lock()
        self._copies: dict[Path, PrivateBundle] = {}
        self._bundles: dict[Path, BundleFiles] = {}
        self._others: OtherTargets | None = None

    @cached_property
    def environment(self) -> Environment:
        """The environment that --environment names, as it is at the target of --target."""
        if self.settings.environment is None:
            known = ", ".join(sorted(path.stem for path in Path("environments").glob("*.yaml")))
            raise UsageError(
                doing="choosing the environment",
                found="no --environment",
                expected="the environment" + (f", one of {known}" if known else ""),
                next_step="add --environment NAME (or set TARSRELEASE_ENVIRONMENT)",
            )
        found, name = self.whole_environment, self.settings.target
        if name is None:
            return _whole(found) if self.settings.on_one_target else found
        return _at_target(found, name)

    @cached_property
    def whole_environment(self) -> Environment:
        """The environment with all its targets, also in a session at one of them."""
        if self._fleet is not None:
            return self._fleet.whole_environment
        return load_environment(self.settings.environment or "")

    def at(self, target: str, clock: Clock, person: Person, others: OtherTargets) -> Session:
        """A session of the same run at one of the environment's targets."""
        there = Session(replace(self.settings, target=target), changes=self.changes, fleet=self)
        there._others = others
        there.run, there.clock, there.person = self.run, clock, person
        there.environment = _at_target(self.whole_environment, target)
        there.progress = NamedProgress(there.progress, target)
        return there

    @property
    def has_targets(self) -> bool:
        """Whether the command acts on several targets.

        Raises UsageError for --wave with a target, or in an environment without targets.
        """
        settings = self.settings
        if settings.wave is not None and self._fleet is None:
            self._refuse_wave(settings.wave)
        one = settings.target is not None or not settings.on_targets
        return not one and bool(self.environment.targets)

    def _refuse_wave(self, wave: int) -> None:
        target, environment = self.settings.target, self.environment
        if target is not None:
            raise UsageError(
                doing="choosing the targets",
                found=f"both --wave {wave} and the target {target}",
                expected="a wave, or one target",
                next_step="leave one of the two options out",
            )
        if not environment.targets:
            raise UsageError(
                doing="choosing the targets",
                found=f"--wave {wave}, but the environment {environment.name} has no targets",
                expected="--wave with an environment that has targets and waves",
                next_step="leave --wave out, or choose another environment",
            )

    @property
    def release_folder(self) -> Path:
        """The bundle of --release; by default the newest for commands that only read."""
        if self.settings.release is not None:
            return self.settings.release
        if self.changes:
            raise UsageError(
                doing="choosing the release",
                found="no --release",
                expected="--release, which commands that change something require",
                next_step=f"add --release {_newest_or('DIR')}",
            )
        return newest_release()

    def use_listed_bytes(self) -> None:
        """Work on a private copy of the bytes in SHA256SUMS; call it before reading `release`."""
        if self._known is not None and not self._listed:
            raise RuntimeError("the release was read before its bytes were compared")
        self._listed = True

    def choose(self, choice: RunOptions) -> None:
        """Set the options of this run; call it before reading `release`."""
        self._choice = choice

    @cached_property
    def release(self) -> Release:
        """The bundle with the environment's overrides."""
        folder, files = self.release_folder, self._fleet or self
        if not self._listed:
            return load_release(files._bundle(folder), self.environment, self._choice)
        try:
            copy = files._copy(folder)
            bundle = files._bundle(copy.folder)
            found = load_release(bundle, self.environment, self._choice)
        except ReleaseError:
            # its own mistakes, with the names of its own files
            load_release(folder, self.environment, self._choice)
            raise
        return found.model_copy(
            update={
                "directory": str(folder),
                "checked": str(copy.folder),
                "identity": copy.identity,
            }
        )

    def _copy(self, folder: Path) -> PrivateBundle:
        """The private copy of the bundle, which all targets of a fleet share."""
        from tarsrelease.adapters.files.private_bundle import private_copy

        with self._reading:
            if folder not in self._copies:
                self._copies[folder] = self._open.enter_context(private_copy(folder))
            return self._copies[folder]

    def _bundle(self, folder: Path) -> BundleFiles:
        """The bundle's files, which are read once for all targets of a fleet."""
        with self._reading:
            if folder not in self._bundles:
                self._bundles[folder] = read_bundle(folder)
            return self._bundles[folder]

    def close(self) -> None:
        """Remove the private copy, and give the terminal back."""
        self.progress.close()
        self._open.close()

    @cached_property
    def person(self) -> Person:
        """Who answers the questions of the command."""
        from tarsrelease.cli.prompt import who_answers

        return who_answers(self.settings, self.progress)

    @cached_property
    def assignment(self) -> Assignment:
        """The assignment of a step without a cluster."""
        from tarsrelease.context import Assignment, People

        people = People(self.person, self.progress, self.outbox)
        return Assignment(self.release, self.environment, self.run, people, self.clock)

    @cached_property
    def context(self) -> Context:
        """The context of a step, connected to the cluster."""
        from tarsrelease.wiring.context import connect, no_heads

        _whole(self.environment)
        evidence = self.evidence()
        heads = evidence.heads if evidence else no_heads
        found = connect(self.assignment, heads)
        if self._others is None:
            return found
        return replace(found, metrics=replace(found.metrics, others=self._others))

    def own_file(self, path: Path) -> Path:
        """The path; at one of several targets, with the target's name: plot.svg, plot-eu-1.svg."""
        target = self.settings.target
        if self._others is None or target is None:
            return path
        return path.with_stem(f"{path.stem}-{target}")

    @property
    def evidence_folder(self) -> Path:
        """Where the files of a step go: the folder of --evidence, by default ./evidence."""
        return self.settings.evidence or DEFAULT_EVIDENCE

    @cached_property
    def outbox(self) -> Outbox:
        """The messages to people of a command that changes something; else none are sent."""
        from tarsrelease.ports.people import NoOutbox
        from tarsrelease.wiring.outbox import outbox_of

        if not self.changes:
            return NoOutbox()
        return outbox_of(self.environment, self.release)

    def undelivered(self, outcome: Outcome) -> tuple[Outcome, Outcome | None]:
        """Close the outbox: the outcome with its warnings, and one that lists all messages."""
        outbox = self.__dict__.get("outbox")
        if outbox is None or not hasattr(outbox, "close"):
            return outcome, None
        from tarsrelease.adapters.clock import SystemClock
        from tarsrelease.steps.notify import messages_outcome

        told, warnings = outbox.close()
        if not told and not warnings:
            return outcome, None
        environment = self.known_environment
        listed = messages_outcome(
            told,
            warnings,
            release=self.known_release,
            environment=environment.name if environment else None,
            clock=SystemClock(),
        )
        said = (*outcome.details.warnings, *(f"NOT SENT: {warning}" for warning in warnings))
        details = outcome.details.model_copy(update={"warnings": said})
        return outcome.model_copy(update={"details": details}), listed

    def evidence(self, default: Path | None = DEFAULT_EVIDENCE) -> EvidenceFile | None:
        """The evidence; None if nothing is recorded."""
        folder = self.settings.evidence or default
        if folder is None:
            return None
        job = os.environ.get("GITHUB_JOB")
        segment = "/".join(filter(None, (self.run.id, job, self.settings.target)))
        return EvidenceFile(
            folder,
            self.run.id,
            segment,
            redact=self.redaction.outcome,
            identity=lambda: self._known.identity if self._known else None,
        )

    @property
    def _known(self) -> Release | None:
        found: Release | None = self.__dict__.get("release")
        return found

    @property
    def known_release(self) -> str | None:
        """The version, if it was read already."""
        return self._known.version if self._known else None

    @property
    def known_environment(self) -> Environment | None:
        """The environment, if it was read already."""
        environment: Environment | None = self.__dict__.get("environment")
        return environment


def _whole(environment: Environment) -> Environment:
    """The environment, if it is one cluster. Raises `UsageError` if it has targets."""
    if environment.targets:
        raise UsageError(
            doing="choosing the target",
            found=f"the environment {environment.name} has targets",
            expected="one of them, because this command works on one cluster",
            next_step=f"name one, such as --target {environment.targets[0].name}",
        )
    return environment


def _at_target(environment: Environment, name: str) -> Environment:
    target = next((each for each in environment.targets if each.name == name), None)
    if target is None:
        known = [each.name for each in environment.targets]
        alike = get_close_matches(name, known, n=1)
        raise UsageError(
            doing="choosing the target",
            found=f"--target {name}",
            expected=f"one of: {some(known, 20)}"
            if known
            else f"none: {environment.name} has no targets",
            next_step=f"--target {alike[0]}"
            if alike
            else "name one of the environment's targets, or leave --target out",
        )
    return environment.at(target)


def _newest_or(word: str) -> str:
    try:
        return str(newest_release())
    except ReleaseError:
        return word


def this_run() -> Run:
    """The run: that of CI with its attempt, or a generated id.

    TARSRELEASE_RUN sets it, so that several commands of one release by hand are one run.
    """
    variables = os.environ
    if given := variables.get("TARSRELEASE_RUN"):
        return Run(id=given, owner=_person())
    if number := variables.get("GITHUB_RUN_ID"):
        server, repository = variables.get("GITHUB_SERVER_URL"), variables.get("GITHUB_REPOSITORY")
        attempt = variables.get("GITHUB_RUN_ATTEMPT", "1")
        return Run(id=f"{number}-{attempt}", owner=f"{server}/{repository}/actions/runs/{number}")
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ").lower()
    return Run(id=f"local-{stamp}-{secrets.token_hex(3)}", owner=_person())


def _person() -> str:
    import getpass
    import socket

    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


class Recording(Enum):
    """Which of a command's outcomes go into the evidence."""

    ALWAYS = "always"
    """Its outcome, into ./evidence/ unless --evidence says otherwise."""
    WHEN_ASKED = "when asked"
    """Its outcome, if --evidence is given."""
    IF_POSSIBLE = "if possible"
    """Its outcome, but a folder that cannot be written stops nothing: it is reported afterwards."""
    BY_STEP = "by the step"
    """The step records its outcomes; only an error before that is added here."""


def carry_out(
    settings: Settings,
    step: str,
    act: Callable[[Session], Outcome],
    *,
    changes: bool = True,
    recording: Recording = Recording.ALWAYS,
    together: Together | None = None,
) -> int:
    """Run one step, record and print its outcome, and return its exit code.

    `changes`: see `Session`; `together`: see `Work`.
    """
    session = Session(settings, changes=changes)
    log_to_stderr(session.redaction, verbose=settings.verbose or settings.debug)
    outcome, where = Work(step, act, recording, together).done(session)
    print_outcome(
        outcome,
        settings.format,
        evidence=where,
        verbose=settings.verbose or settings.debug,
    )
    return int(outcome.exit_code)


Together = Callable[["Session", Mapping[str, Outcome], Outcome], Outcome]
"""From the session on all targets, their outcomes by name and the fleet's outcome: the latter with
what only all targets together tell."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a command does in a session, and which of its outcomes are recorded."""

    step: str
    act: Callable[[Session], Outcome]
    recording: Recording
    together: Together | None = None

    def done(self, session: Session) -> tuple[Outcome, str | None]:
        """The outcome, redacted and recorded, and where the evidence is. Errors are outcomes."""
        started_at = datetime.now(UTC)
        asked = self.recording is Recording.WHEN_ASKED
        evidence = session.evidence(None if asked else DEFAULT_EVIDENCE)
        by_step = self.recording is Recording.BY_STEP
        try:
            if evidence is not None and self.recording is not Recording.IF_POSSIBLE:
                evidence.check_writable()
            outcome = self._on_targets(session) if session.has_targets else self.act(session)
        except (Exception, KeyboardInterrupt) as problem:  # noqa: BLE001 - the process's last line
            by_step = False
            known = session.known_environment
            outcome = failed(
                self.step,
                problem,
                started_at=started_at,
                release=session.known_release,
                environment=known.name if known else None,
                debug=session.redaction if session.settings.debug else None,
            )
        finally:
            session.close()
        outcome, messages = session.undelivered(outcome)
        outcome = session.redaction.outcome(_with_overrides(outcome, session.known_environment))
        where = _head(evidence) if evidence and by_step else _record(evidence, outcome)
        if messages is not None:
            where = _record(evidence, session.redaction.outcome(messages)) or where
        return outcome, where

    def _on_targets(self, session: Session) -> Outcome:
        from tarsrelease.cli.fleet import everywhere

        return everywhere(session, self)


def _with_overrides(outcome: Outcome, environment: Environment | None) -> Outcome:
    """The outcome with the environment's overrides, for every report."""
    lines = describe_overrides(environment.overrides) if environment else ()
    if not lines or outcome.verdict is None or outcome.details.overrides:
        return outcome
    details = outcome.details.model_copy(update={"overrides": lines})
    return outcome.model_copy(update={"details": details})


def _record(evidence: EvidenceFile | None, outcome: Outcome) -> str | None:
    """Append the outcome to the evidence; a failure is only reported."""
    if evidence is None or outcome.exit_code is ExitCode.USAGE:
        return None  # usage errors are not recorded
    try:
        record = evidence.append(outcome)
    except ReleaseError as problem:
        sys.stderr.write(f"NOT RECORDED: {problem}\n")
        return None
    return _head(evidence, f" (record {record.number})")


def _head(evidence: EvidenceFile, which: str = "") -> str:
    """Where the evidence is, and its head, which `report evidence --head` compares it with."""
    head = evidence.head()
    return f"{evidence.path}{which}, head {head}" if head else f"{evidence.path}{which}"
