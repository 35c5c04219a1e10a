"""Evidence that cannot be written stops a step early, but nothing that leads to safety."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tarsrelease.cli.session import Recording, Session, carry_out
from tarsrelease.cli.settings import Settings
from tarsrelease.model.outcome import Outcome, Verdict, exit_code_of

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("recording", "code", "acted"), [(Recording.IF_POSSIBLE, 0, 1), (Recording.ALWAYS, 2, 0)]
)
def test_what_leads_to_safety_acts_and_says_what_could_not_be_recorded(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    recording: Recording,
    code: int,
    acted: int,
) -> None:
    in_the_way = tmp_path / "evidence"
    in_the_way.write_text("a file where the folder should be")
    calls: list[Session] = []

    def act(session: Session) -> Outcome:
        calls.append(session)
        return Outcome(
            step="rollback",
            release="1.0.1",
            environment="production",
            verdict=Verdict.PROCEED,
            exit_code=exit_code_of(Verdict.PROCEED),
            summary="rolled back",
            started_at=NOW,
            finished_at=NOW,
        )

    assert carry_out(Settings(evidence=in_the_way), "rollback", act, recording=recording) == code
    assert len(calls) == acted
    if acted:
        assert "NOT RECORDED" in capsys.readouterr().err
