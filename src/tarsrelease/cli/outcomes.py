"""Turn exceptions into Outcomes, and print an Outcome."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TextIO

import click

from tarsrelease.cli.redaction import Redaction
from tarsrelease.model.errors import ReleaseError
from tarsrelease.model.outcome import ErrorDetail, ExitCode, Outcome, Verdict
from tarsrelease.report.markdown import outcome_markdown
from tarsrelease.report.results import headline
from tarsrelease.report.text import outcome_text, verdict_line

_COLOURS = {
    Verdict.PROCEED: "green",
    Verdict.HOLD: "yellow",
    Verdict.ROLLBACK: "red",
    Verdict.NO_GO: "red",
    Verdict.POSTPONE: "yellow",
}


_COLLECTED: ContextVar[list[Outcome] | None] = ContextVar("collected", default=None)


@contextmanager
def collected() -> Iterator[list[Outcome]]:
    """Collect the outcomes of the commands in the block instead of printing them."""
    found: list[Outcome] = []
    token = _COLLECTED.set(found)
    try:
        yield found
    finally:
        _COLLECTED.reset(token)


def failed(
    step: str,
    problem: BaseException,
    *,
    started_at: datetime,
    release: str | None = None,
    environment: str | None = None,
    debug: Redaction | None = None,
) -> Outcome:
    """The outcome of a step that raised: a ReleaseError, an interrupt, or a bug.

    `debug`: print the traceback of a bug, redacted.
    """
    match problem:
        case ReleaseError():
            code, detail = problem.exit_code, problem.detail
        case KeyboardInterrupt():
            code, detail = ExitCode.INTERRUPTED, _interrupted(step)
        case _:
            code, detail = ExitCode.BUG, _bug(step, problem)
            if debug is not None:
                sys.stderr.write(debug.text("".join(traceback.format_exception(problem))))
    return Outcome(
        step=step,
        release=release,
        environment=environment,
        verdict=None,
        exit_code=code,
        summary=detail.found.splitlines()[0],
        error=detail,
        started_at=started_at,
        finished_at=datetime.now(UTC),
        next=detail.next,
    )


def _interrupted(step: str) -> ErrorDetail:
    return ErrorDetail(
        doing=step,
        found="interrupted",
        expected="that the step ends by itself",
        next="see `tarsrelease status`; run this command again to continue, or "
        "`tarsrelease rollback`",
    )


def _bug(step: str, problem: BaseException) -> ErrorDetail:
    frames = traceback.extract_tb(problem.__traceback__)
    where = f" ({os.path.basename(frames[-1].filename)}:{frames[-1].lineno})" if frames else ""  # noqa: PTH119
    return ErrorDetail(
        doing=step,
        found=f"{type(problem).__name__}: {problem}{where}",
        expected="an error that says what to do; this is a bug in tarsrelease",
        next="run it again with --debug and report the traceback; see `tarsrelease status` for "
        "what was changed, and `tarsrelease rollback`",
    )


def print_outcome(
    outcome: Outcome,
    form: str,
    *,
    evidence: str | None = None,
    verbose: bool = False,
    stream: TextIO | None = None,
) -> None:
    """Print it on standard output in the form ``text``, ``json`` or ``markdown``.

    `verbose`: the text lists the results that passed, too.
    Inside `collected` it is kept for the caller instead.
    """
    if (kept := _COLLECTED.get()) is not None:
        kept.append(outcome)
        return
    stream = stream or sys.stdout
    try:
        if form == "json":
            stream.write(outcome.model_dump_json(by_alias=True, indent=2))
            stream.write("\n")
        elif form == "markdown":
            stream.write(outcome_markdown(outcome, evidence=evidence))
        else:
            text = outcome_text(outcome, evidence=evidence, verbose=verbose)
            stream.write(_coloured(outcome, text, stream))
        stream.flush()
    except BrokenPipeError:  # the reader has closed the pipe; the exit code remains
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _coloured(outcome: Outcome, text: str, stream: TextIO) -> str:
    if not stream.isatty() or os.environ.get("NO_COLOR"):
        return text
    word = headline(outcome)
    colour = _COLOURS.get(outcome.verdict, "red") if outcome.verdict else "red"
    before, line, after = text.rpartition(verdict_line(outcome))
    return before + click.style(word, fg=colour, bold=True) + line.removeprefix(word) + after


def print_usage_error(command: str, message: str) -> int:
    """Print wrong options as an Outcome in JSON. Returns its exit code."""
    now = datetime.now(UTC)
    error = ErrorDetail(
        doing=f"reading the arguments of {command}",
        found=message,
        expected=f"the options that `{command} --help` lists",
        next=f"{command} --help",
    )
    outcome = Outcome(
        step=command.removeprefix("tarsrelease").strip() or "tarsrelease",
        release=None,
        environment=None,
        verdict=None,
        exit_code=ExitCode.USAGE,
        summary=message,
        error=error,
        started_at=now,
        finished_at=now,
        next=error.next,
    )
    print_outcome(outcome, "json")
    return int(outcome.exit_code)
