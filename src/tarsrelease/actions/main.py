"""Run one action.

(1) Read and check the inputs, (2) mask secrets, (3) run the command with the runner's workflow
commands stopped, (4) write outputs, summary and annotations.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, MutableMapping
from datetime import UTC, datetime
from pathlib import Path

from tarsrelease.actions.command_lines import ACTIONS, Action
from tarsrelease.actions.inputs import Given, read
from tarsrelease.actions.kubeconfig import kubeconfig_file
from tarsrelease.actions.runner import Silence, annotation, annotation_lines, masks, outputs
from tarsrelease.adapters.files.evidence_file import FILE, head_of_file
from tarsrelease.cli.secret_values import (
    environment_file,
    secrets_of_environment,
    secrets_of_kubeconfig,
)
from tarsrelease.model.details import Details
from tarsrelease.model.outcome import ErrorDetail, ExitCode, Outcome, Verdict


def main(name: str, variables: MutableMapping[str, str] | None = None) -> int:
    """Run the action `name`; returns the exit code of its step."""
    variables = os.environ if variables is None else variables
    action = ACTIONS[name]
    # Taken out, so that a kubeconfig in it is not handed on to whatever the command starts.
    inputs = read(variables.pop("INPUTS", None), action.inputs)
    refusal = None if inputs.problems else action.refusal(inputs.given)
    problems = inputs.problems or ((refusal,) if refusal else ())
    _print(annotation_lines(("warning", f"{name}: corrected", text) for text in inputs.corrections))
    if problems:
        return _refused(name, problems, variables)
    given = inputs.given
    _print(masks(_secrets(given, variables)))
    outcome = _setup() if name == "setup" else _carried_out(action, given, variables)
    _tell(name, action, given, outcome, variables)
    return ends_with(outcome, given)


def ends_with(outcome: Outcome, given: Given) -> int:
    """The step's exit code: the outcome's, or 0 for a hold that must not fail the job."""
    if outcome.verdict is Verdict.HOLD and given.get("on-hold") == "continue":
        return int(ExitCode.DONE)
    return int(outcome.exit_code)


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        print(line, flush=True)


def _refused(name: str, problems: Iterable[str], variables: MutableMapping[str, str]) -> int:
    """Report wrong inputs one by one, without running the command."""
    lines = list(problems)
    _print(annotation_lines(("error", f"{name}: input", line) for line in lines))
    summary = f"wrong input: {lines[0]}" + (f" (and {len(lines) - 1} more)" if lines[1:] else "")
    _append(variables, "GITHUB_OUTPUT", outputs(_outputs("", ExitCode.USAGE, "", summary)))
    from tarsrelease.report.page import refusal_page

    _append(variables, "GITHUB_STEP_SUMMARY", refusal_page(name, lines))
    return int(ExitCode.USAGE)


def _secrets(given: Given, variables: MutableMapping[str, str]) -> list[str]:
    found = []
    if "environment" in given:
        found += secrets_of_environment(environment_file(given["environment"]), variables)
    if "kubeconfig" in given:
        found += secrets_of_kubeconfig(given["kubeconfig"])
    return found


def _setup() -> Outcome:
    from tarsrelease import __version__

    now = datetime.now(UTC)
    summary = f"tarsrelease {__version__} on Python {sys.version.split()[0]}"
    print(summary, flush=True)
    return Outcome(
        step="setup",
        release=None,
        environment=None,
        verdict=Verdict.PROCEED,
        exit_code=ExitCode.DONE,
        summary=summary,
        details=Details(outputs={"tarsrelease": str(Path(sys.argv[0]).with_name("tarsrelease"))}),
        started_at=now,
        finished_at=now,
    )


def _carried_out(action: Action, given: Given, variables: MutableMapping[str, str]) -> Outcome:
    """Run the command in this process, and return its Outcome."""
    from tarsrelease.cli.app import run
    from tarsrelease.cli.outcomes import collected
    from tarsrelease.report.text import outcome_text

    arguments = [*action.arguments(given), "--format=json"]
    started_at = datetime.now(UTC)
    silence = Silence()
    _print([silence.begin])
    try:
        with kubeconfig_file(given.get("kubeconfig"), variables), collected() as found:
            code = run(arguments)
        outcome = found[-1] if found else _none(arguments, code, started_at)
        print(outcome_text(outcome), flush=True)
    finally:
        _print([silence.end])
    return outcome


def _none(arguments: list[str], code: int, started_at: datetime) -> Outcome:
    """The Outcome of a command that printed none: interrupted, or a bug."""
    code = code if code in (ExitCode.USAGE, ExitCode.INTERRUPTED) else ExitCode.BUG
    detail = ErrorDetail(
        doing=f"running tarsrelease {arguments[0]}",
        found="interrupted" if code == ExitCode.INTERRUPTED else "it gave no Outcome",
        expected="one Outcome",
        next="see `tarsrelease status`; this step can be run again",
    )
    return Outcome(
        step=arguments[0],
        release=None,
        environment=None,
        verdict=None,
        exit_code=ExitCode(code),
        summary=detail.found,
        error=detail,
        started_at=started_at,
        finished_at=datetime.now(UTC),
        next=detail.next,
    )


def _tell(
    name: str,
    action: Action,
    given: Given,
    outcome: Outcome,
    variables: MutableMapping[str, str],
) -> None:
    """Write outputs, summary page and annotations; a failure to write is only a warning."""
    from tarsrelease.report.page import outcome_page, remarks

    evidence = given.get("evidence", "")
    verdict = outcome.verdict.value if outcome.verdict else ""
    values = _outputs(verdict, outcome.exit_code, evidence, outcome.summary)
    values |= {key: outcome.details.outputs.get(key, "") for key in action.outputs}
    _append(variables, "GITHUB_OUTPUT", outputs(values))
    _append(variables, "GITHUB_STEP_SUMMARY", outcome_page(outcome, evidence=_with_head(evidence)))
    _print(annotation_lines((level, title, text) for level, title, text in remarks(name, outcome)))


def _with_head(evidence: str) -> str | None:
    """The evidence's folder, and its head: the run's page keeps it where no later job writes."""
    path = Path(evidence, FILE)
    head = head_of_file(path) if evidence and path.is_file() else None
    return f"{evidence} (head {head})" if head else evidence or None


def _outputs(verdict: str, code: int, evidence: str, summary: str) -> dict[str, str]:
    line = " ".join(summary.split())
    return {
        "verdict": verdict,
        "exit-code": str(int(code)),
        "evidence": evidence,
        "summary": line if len(line) <= 1000 else line[:999] + "…",
    }


def _append(variables: MutableMapping[str, str], variable: str, text: str) -> None:
    """Append to the runner's file; without a runner, do nothing."""
    path = variables.get(variable)
    if not path:
        return
    try:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as problem:
        _print([annotation("warning", variable, f"could not be written: {problem.strerror}")])
