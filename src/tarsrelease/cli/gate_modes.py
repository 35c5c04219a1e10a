"""The four modes of `canary gate`: run the step that the options select."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import ValidationError

from tarsrelease.model.errors import UsageError
from tarsrelease.model.lifting import Lifting

if TYPE_CHECKING:
    from tarsrelease.cli.session import Session
    from tarsrelease.model.outcome import Outcome
    from tarsrelease.model.rollout import Stage

_ALL = "all"
_USAGE = "see `tarsrelease canary gate --help` for the options that can be combined"


@dataclass(frozen=True, slots=True)
class GateOptions:
    """The given options; None if an option was not given."""

    weight: int | None
    wait: bool
    observe: bool
    duration: float | None
    lifted_by: str | None
    reason: str | None
    answers: tuple[str, ...] = ()
    skip_stages: str | None = None


def play(session: Session, options: GateOptions) -> Outcome:
    """Run the step that the options select. Raises UsageError if they cannot be combined."""
    lifting, seconds, weight = _lifting(options), options.duration, options.weight
    if options.wait and options.observe:
        raise _wrong("--wait together with --observe", "one of them")
    if lifting is not None and (options.wait or options.observe):
        raise _wrong(
            "--lifted-by together with --wait or --observe", "--lifted-by with --stage only"
        )
    if seconds is not None and not (options.wait or options.observe):
        raise _wrong("--for alone", "--for with --wait or --observe")
    if options.skip_stages is not None and (options.wait or options.observe):
        raise _wrong("--skip-stages together with --wait or --observe", "a stage to be entered")
    if options.wait:
        # Accept any weight: the journal has the stages that were chosen for this release.
        return _wait(session, weight, seconds)
    rollout = session.release.rollout
    known = [stage.weight for stage in rollout.stages]
    if weight is not None and weight not in known:
        stages = ", ".join(map(str, known))
        raise _wrong(f"--stage {weight}", f"one of the stages of this release: {stages}")
    if options.observe:
        return _observe(session, weight, seconds)
    if weight is None:
        raise _wrong("no --stage", "the stage, such as --stage 10")
    for check, yes in _answers(options, rollout.stage(weight)).items():
        session.context.metrics.external.answered(check, yes)
    return _stage(session, weight, lifting, _skipping(session, options))


def _stage(
    session: Session, weight: int, lifting: Lifting | None, skipping: Lifting | None
) -> Outcome:
    from tarsrelease.steps.canary_gate import gate

    if skipping is not None:
        return gate(session.context, weight, lifting, skipping)
    return gate(session.context, weight, lifting)


def _wait(session: Session, weight: int | None, limit: float | None) -> Outcome:
    from tarsrelease.steps.canary_gate_wait import wait

    return wait(session.context, weight, limit)


def _observe(session: Session, weight: int | None, seconds: float | None) -> Outcome:
    from tarsrelease.steps.canary_gate_observe import judge_external

    return judge_external(session.context, weight, seconds)


def _answers(options: GateOptions, stage: Stage) -> dict[str, bool]:
    """Answers to the stage's manual checks, from ``ID=yes``, ``ID=no``, ``all=yes``.

    A stage without manual checks accepts ``all``, too.
    """
    answers: dict[str, bool] = {}
    for text in options.answers:
        check, _, answer = text.partition("=")
        if (check != _ALL and check not in stage.questions) or answer not in ("yes", "no"):
            known = ", ".join(stage.questions) or "none"
            raise _wrong(
                f"--answer {text}",
                f"ID=yes, ID=no or {_ALL}=yes; manual checks of this stage: {known}",
            )
        asked = stage.questions if check == _ALL else [check]
        answers |= dict.fromkeys(asked, answer == "yes")
    return answers


def _lifting(options: GateOptions) -> Lifting | None:
    if options.lifted_by is None and options.reason is None:
        return None
    if options.lifted_by is None or options.reason is None:
        given = "--reason alone" if options.lifted_by is None else "--lifted-by alone"
        raise _wrong(given, "--lifted-by NAME with --reason TEXT")
    return who_and_why(options.lifted_by, options.reason, "--lifted-by", "--reason")


def _skipping(session: Session, options: GateOptions) -> Lifting | None:
    reason = options.skip_stages
    if reason is None:
        return None
    return who_and_why(session.run.owner, reason, "the run's owner", "--skip-stages")


def who_and_why(by: str, reason: str, by_field: str, reason_field: str) -> Lifting:
    """A person's name and reason. Raises UsageError that names the flag at fault."""
    try:
        return Lifting(by=by, reason=reason)
    except ValidationError as error:
        field = by_field if error.errors()[0]["loc"] == ("by",) else reason_field
        raise _wrong(
            f"{field} is empty, longer than 300 characters, or more than one line",
            "one line of text",
        ) from error


def _wrong(found: str, expected: str) -> UsageError:
    return UsageError(
        doing="reading the options of canary gate", found=found, expected=expected, next_step=_USAGE
    )
