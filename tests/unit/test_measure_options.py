"""Options of `measure` that contradict each other are refused before anything is measured."""

from __future__ import annotations

import pytest
from click import Command
from click.testing import CliRunner

from tarsrelease.cli.commands.measure import kpi
from tarsrelease.cli.commands.measure_drift import drift
from tarsrelease.cli.commands.measure_slo import slo

WINDOW = ("--from", "2026-11-01T00:00:00Z", "--to", "2026-11-01T01:00:00Z")


@pytest.mark.parametrize(
    ("command", "given", "expected"),
    [
        (kpi, (*WINDOW, "--duration", "5m"), "give two of --from, --to and --duration"),
        (drift, (*WINDOW, "--duration", "5m"), "give two of --from, --to and --duration"),
        (kpi, ("--live", *WINDOW), "leave --from and --to out"),
        (slo, ("--once", "--duration", "5m"), "give --once or --duration, not both"),
    ],
)
def test_contradicting_options_are_refused(
    command: Command, given: tuple[str, ...], expected: str
) -> None:
    done = CliRunner().invoke(command, ["--environment", "production", *given])
    assert done.exit_code == 2
    assert expected in done.output
