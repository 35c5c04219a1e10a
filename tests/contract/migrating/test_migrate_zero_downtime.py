"""No transaction fails while the expand migration runs on tables that are in use."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from migration_rig import Rig

from tarsrelease.adapters.postgres.programs import find
from tarsrelease.model.outcome import ExitCode

ROWS = 200_000
RATE = 100
SCRIPT = r"""
\set id random(1, 200000)
BEGIN;
UPDATE missions SET agent = 'ppo' WHERE id = :id;
INSERT INTO traces (trace_id, span_id, operation) VALUES ('t', 's', 'agent.act');
SELECT count(*) FROM evaluations WHERE mission_id = :id;
COMMIT;
"""


@pytest.mark.slow
@pytest.mark.parametrize("version", [17])
def test_steady_load_on_200_000_rows_loses_no_transaction(
    rig: Rig, tmp_path: Path, version: int
) -> None:
    with rig.connect() as connection:
        connection.execute(
            "INSERT INTO missions (name, status, agent) SELECT 'm', 'completed', 'ppo' "
            f"FROM generate_series(3001, {ROWS})"
        )
        connection.execute(
            "INSERT INTO evaluations (mission_id, score) SELECT 1 + n % 3000, 0.5 "
            f"FROM generate_series(4001, {ROWS}) n"
        )
        connection.execute(
            "INSERT INTO traces (trace_id, span_id, operation) SELECT md5(n::text), left(md5("
            f"n::text), 16), 'agent.act' FROM generate_series(4001, {ROWS}) n"
        )
    script = tmp_path / "load.sql"
    script.write_text(SCRIPT)
    load = subprocess.Popen(
        [
            *(str(find("pgbench", best=17)), "--no-vacuum", "--file", str(script), "--client=4"),
            *(f"--rate={RATE}", "--time=12", "--failures-detailed", rig.dsn()),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        wait_for_load(rig)
        during = transactions(rig)
        outcome = rig.up(rig.example())
        assert load.poll() is None, "the load lasted longer than the migration"
        during = transactions(rig) - during
    finally:
        said, _ = load.communicate(timeout=60)
    assert outcome.exit_code is ExitCode.DONE
    assert outcome.details.model_dump(mode="json")["statements"] == 4
    assert load.returncode == 0, said
    assert "number of failed transactions: 0 " in said, said
    processed = re.search(r"actually processed: (\d+)", said)
    assert processed is not None
    assert int(processed[1]) > RATE * 12 / 2, said
    assert during > 0, "transactions were committed while it ran"


def wait_for_load(rig: Rig) -> None:
    """Return when the load has written a row."""
    with rig.connect() as connection:
        while True:
            row = connection.execute("SELECT count(*) FROM traces WHERE trace_id = 't'").fetchone()
            if row and row[0]:
                return


def transactions(rig: Rig) -> int:
    with rig.connect() as connection:
        row = connection.execute("SELECT count(*) FROM traces WHERE trace_id = 't'").fetchone()
    return int(row[0]) if row else 0
