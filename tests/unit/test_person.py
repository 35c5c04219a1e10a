"""Who answers, and what counts as a yes."""

from __future__ import annotations

from io import StringIO

import pytest

from tarsrelease.adapters.terminal.person import AssumedYes, AtTerminal, Nobody


@pytest.mark.parametrize(
    ("typed", "yes"), [("y\n", True), (" YES \n", True), ("n\n", False), ("\n", False), ("", False)]
)
def test_only_a_yes_is_a_yes(typed: str, yes: bool) -> None:
    questions = StringIO()
    person = AtTerminal(StringIO(typed), questions)
    assert person.approves("Take 1.0.1 to 100 %?") is yes
    assert questions.getvalue() == "Take 1.0.1 to 100 %? [y/N] "
    assert person.attended


def test_an_assumed_yes_is_nobody_who_could_lift_a_hold() -> None:
    assert AssumedYes().approves("?")
    assert not AssumedYes().attended
    assert not Nobody().approves("?")
    assert not Nobody().attended
