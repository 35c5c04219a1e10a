"""tarsrelease incident classify, open and close"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from tarsrelease.cli.lazy import Entry, LazyGroup
from tarsrelease.cli.options import SOME_TIME, Written
from tarsrelease.cli.settings import Settings, command
from tarsrelease.model.quantities import parse_percentage, parse_share

if TYPE_CHECKING:
    from tarsrelease.cli.session import Session
    from tarsrelease.model.incident import Symptoms
    from tarsrelease.model.outcome import Outcome

incident = LazyGroup(
    "incident",
    help="Classify an incident, and tell people about it.",
    entries={
        "classify": Entry(f"{__name__}:classify", "Show the severity and what to do."),
        "open": Entry(f"{__name__}:open_", "Record the incident, start its deadline, tell people."),
        "close": Entry(f"{__name__}:close", "Record the end of the incident."),
    },
)

_REPORTS = ("data-corruption", "exploited-vulnerability", "critical-feature", "feature", "minor")
_SHARE = Written("percentage", parse_share)

_SYMPTOMS = (
    click.option("--availability", type=_SHARE, metavar="PERCENT", help="Such as 99.2%."),
    click.option("--error-rate", type=_SHARE, metavar="PERCENT", help="Such as 1.5%."),
    click.option(
        "--degradation",
        type=Written("percentage", parse_percentage),
        metavar="PERCENT",
        help="How much slower requests are than the baseline, such as 30%.",
    ),
    click.option(
        "--p95", type=SOME_TIME, metavar="DURATION", help="Latency now, with --baseline-p95."
    ),
    click.option(
        "--baseline-p95", type=SOME_TIME, metavar="DURATION", help="Latency before the release."
    ),
    click.option(
        "--reported",
        "reports",
        type=click.Choice(_REPORTS),
        multiple=True,
        help="What people report: corrupt data, an exploited vulnerability, a broken critical or "
        "other feature, or a minor problem. Repeatable.",
    ),
)


def _symptom_options(function: Callable[..., int]) -> Callable[..., int]:
    """Add the options that say what is known of the incident."""
    for option in reversed(_SYMPTOMS):
        function = option(function)
    return function


def _symptoms(given: Mapping[str, Any]) -> Symptoms:
    from tarsrelease.model.incident import Report, Symptoms

    availability, error_rate = given["availability"], given["error_rate"]
    degradation, now, before = given["degradation"], given["p95"], given["baseline_p95"]
    if (now is None) != (before is None):
        raise click.UsageError("Give --p95 and --baseline-p95 together, or --degradation.")
    if now is not None and before is not None:
        if degradation is not None:
            raise click.UsageError("Give --degradation, or --p95 with --baseline-p95; not both.")
        # 114 ms after 95 ms is 20 %, not 19.999999999999996 %, which is another severity.
        degradation = max(0.0, round(now / before - 1, 9))
    reported = frozenset(map(Report, given["reports"]))
    if not reported and availability is None and error_rate is None and degradation is None:
        raise click.UsageError("Give at least one number or report, such as --error-rate 3%.")
    return Symptoms(
        availability=availability,
        error_rate=error_rate,
        degradation=degradation,
        reported=reported,
    )


@_symptom_options
@click.option(
    "--escalated-to",
    "reached",
    type=click.IntRange(0, 9),
    default=0,
    show_default=True,
    help="Last escalation level that was asked: 1 for L1. 0: nobody yet.",
)
def _classify(settings: Settings, reached: int, **known: Any) -> int:
    """Show how severe an incident is, what to do, and who is next on the escalation path.

    The limits and the path are under `incidents` in rollout.yaml. The exit code is 11 for P0 (roll
    back at once), 10 for P1 (prepare the rollback and investigate) and for an unknown severity,
    and 0 for P2, P3 and no incident. A missing number never leads to a rollback.
    """
    from tarsrelease.cli.session import Recording, carry_out

    symptoms = _symptoms(known)

    def act(session: Session) -> Outcome:
        from tarsrelease.steps.incident_classify import incident_classify

        return incident_classify(session.assignment, symptoms, reached=reached)

    return carry_out(
        settings, "incident classify", act, changes=False, recording=Recording.WHEN_ASKED
    )


classify = command(
    "release:newest",
    "environment",
    "target",
    "evidence:none",
    name="classify",
    example="tarsrelease incident classify --environment production --availability 99.4% "
    "--error-rate 1.2%\n"
    "tarsrelease incident classify --environment production --p95 160ms --baseline-p95 95ms "
    "--reported critical-feature --escalated-to 1",
)(_classify)


_REASON = click.option("--reason", required=True, metavar="TEXT", help="Reason. It is recorded.")
_BY = click.option("--by", metavar="NAME", help="Your name; by default user@host.")


@_symptom_options
@_REASON
@_BY
def _open(settings: Settings, reason: str, by: str | None, **known: Any) -> int:
    """Classify the incident, record it in the journal, start its deadline, and tell people.

    `tarsrelease status` shows it until `incident close`. Nothing is rolled back by this command.
    The exit codes are those of `incident classify`.
    """
    from tarsrelease.cli.gate_modes import who_and_why
    from tarsrelease.cli.session import Recording, carry_out

    symptoms = _symptoms(known)

    def act(session: Session) -> Outcome:
        from tarsrelease.steps.incident_open import incident_open

        person = who_and_why(by or session.run.owner, reason, "--by", "--reason")
        return incident_open(session.context, symptoms, person)

    return carry_out(settings, "incident open", act, recording=Recording.IF_POSSIBLE)


@_REASON
@_BY
def _close(settings: Settings, reason: str, by: str | None) -> int:
    """Record the end of the incident in the journal."""
    from tarsrelease.cli.gate_modes import who_and_why
    from tarsrelease.cli.session import Recording, carry_out

    def act(session: Session) -> Outcome:
        from tarsrelease.steps.incident_close import incident_close

        person = who_and_why(by or session.run.owner, reason, "--by", "--reason")
        return incident_close(session.context, person)

    return carry_out(settings, "incident close", act, recording=Recording.IF_POSSIBLE)


_command = partial(command, "release", "environment", "target", "evidence")
open_ = _command(
    name="open",
    example="tarsrelease incident open --release release/v1_0_1 --environment production "
    '--error-rate 3% --reason "checkout fails"',
)(_open)
close = _command(
    name="close",
    example="tarsrelease incident close --release release/v1_0_1 --environment production "
    '--reason "rolled back, all well"',
)(_close)
