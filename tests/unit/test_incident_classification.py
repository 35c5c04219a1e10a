"""The severity table and the decision tree, with their boundaries and with missing numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tarsrelease.cli.commands import incident
from tarsrelease.incidents.classification import classify
from tarsrelease.incidents.escalation import described, next_level
from tarsrelease.model.incident import (
    Action,
    EscalationLevel,
    IncidentRules,
    Report,
    Severity,
    Symptoms,
)

P0, P1, P2, P3 = Severity
RULES = IncidentRules()
WELL = {"availability": 1.0, "error_rate": 0.0, "degradation": 0.0}


@pytest.mark.parametrize(
    ("symptoms", "severity", "action", "minutes"),
    [
        ({"availability": 0.9899}, P0, Action.ROLL_BACK, None),
        ({"availability": 0.99}, P1, Action.PREPARE, 30),
        ({"availability": 0.9949}, P1, Action.PREPARE, 30),
        ({"availability": 0.995}, P2, Action.HOTFIX, None),
        ({"availability": 0.9989}, P2, Action.HOTFIX, None),
        ({"availability": 0.999}, None, Action.NOTHING, None),
        ({"error_rate": 0.0501}, P0, Action.ROLL_BACK, None),
        ({"error_rate": 0.05}, P1, Action.PREPARE, 30),
        ({"error_rate": 0.02}, P1, Action.PREPARE, 30),
        ({"error_rate": 0.0199}, P2, Action.HOTFIX, None),
        ({"error_rate": 0.01}, P2, Action.HOTFIX, None),
        ({"error_rate": 0.0099}, None, Action.NOTHING, None),
        ({"degradation": 3.0}, P1, Action.PREPARE, 15),
        ({"degradation": 0.501}, P1, Action.PREPARE, 15),
        ({"degradation": 0.5}, P2, Action.HOTFIX, None),
        ({"degradation": 0.2}, P2, Action.HOTFIX, None),
        ({"degradation": 0.199}, P3, Action.NEXT_RELEASE, None),
        ({"reported": {Report.DATA_CORRUPTION}}, P0, Action.ROLL_BACK, None),
        ({"reported": {Report.EXPLOITED_VULNERABILITY}}, P0, Action.ROLL_BACK, None),
        ({"reported": {Report.CRITICAL_FEATURE}}, P1, Action.PREPARE, 30),
        ({"reported": {Report.FEATURE}}, P2, Action.HOTFIX, None),
        ({"reported": {Report.MINOR}}, P3, Action.NEXT_RELEASE, None),
        ({"degradation": 0.6, "reported": {Report.CRITICAL_FEATURE}}, P1, Action.PREPARE, 15),
        ({"degradation": 0.6, "availability": 0.98}, P0, Action.ROLL_BACK, None),
        ({"reported": {Report.MINOR, Report.FEATURE}}, P2, Action.HOTFIX, None),
        ({}, None, Action.NOTHING, None),
    ],
)
def test_the_table_and_the_tree(
    symptoms: dict[str, object], severity: Severity | None, action: Action, minutes: int | None
) -> None:
    found = classify(Symptoms.model_validate({**WELL, **symptoms}), RULES)
    assert (found.severity, found.action, found.missing) == (severity, action, ())
    assert found.deadline == (None if minutes is None else 60.0 * minutes)


@pytest.mark.parametrize(
    ("known", "severity", "action", "missing"),
    [
        ({"availability": 0.9999}, None, Action.INVESTIGATE, ("error_rate", "degradation")),
        ({"error_rate": 0.06}, P0, Action.ROLL_BACK, ()),
        ({"error_rate": 0.03}, P1, Action.PREPARE, ("availability",)),
        ({"degradation": 0.9}, P1, Action.PREPARE, ("availability", "error_rate")),
        ({"degradation": 0.1}, P3, Action.NEXT_RELEASE, ("availability", "error_rate")),
        ({"reported": {Report.DATA_CORRUPTION}}, P0, Action.ROLL_BACK, ()),
        (
            {"reported": {Report.MINOR}},
            P3,
            Action.NEXT_RELEASE,
            ("availability", "error_rate", "degradation"),
        ),
        ({}, None, Action.INVESTIGATE, ("availability", "error_rate", "degradation")),
    ],
)
def test_what_is_missing_is_named_and_proves_nothing(
    known: dict[str, object], severity: Severity | None, action: Action, missing: tuple[str, ...]
) -> None:
    found = classify(Symptoms.model_validate(known), RULES)
    assert (found.severity, found.action, found.missing) == (severity, action, missing)


@pytest.mark.parametrize(
    ("percent", "inside", "beyond", "step"), [(20, P2, P3, -1), (50, P2, P1, 1)]
)
def test_two_latencies_meet_the_boundaries_exactly(
    percent: int, inside: Severity, beyond: Severity, step: int
) -> None:
    """Latencies that are slower by exactly the limit, and by a microsecond less or more."""
    nothing = dict.fromkeys(("availability", "error_rate", "degradation"))
    for baseline in range(5, 1000, 5):
        now = baseline * (100 + percent) * 10
        for microseconds, severity in ((now, inside), (now + step, beyond)):
            given = {"p95": microseconds / 1e6, "baseline_p95": baseline / 1000, "reports": ()}
            found = classify(incident._symptoms({**nothing, **given}), RULES)
            assert found.severity is severity, (microseconds, baseline)


NUMBERS = {
    "availability": st.floats(0.97, 1),
    "error_rate": st.floats(0, 0.1),
    "degradation": st.floats(0, 2),
}


@given(
    st.fixed_dictionaries(NUMBERS),
    st.sets(st.sampled_from(list(Report))),
    st.sets(st.sampled_from(sorted(NUMBERS))),
)
def test_less_knowledge_never_makes_it_more_severe_nor_well(
    numbers: dict[str, float], reported: set[Report], hidden: set[str]
) -> None:
    whole = classify(Symptoms.model_validate({**numbers, "reported": reported}), RULES)
    known = {name: value for name, value in numbers.items() if name not in hidden}
    part = classify(Symptoms.model_validate({**known, "reported": reported}), RULES)
    if part.severity is not None:
        assert whole.severity is not None
        assert whole.severity <= part.severity
        if whole.severity < part.severity:
            assert part.missing
    else:
        assert part.action is (Action.INVESTIGATE if hidden else Action.NOTHING)
    if part.action is Action.ROLL_BACK:
        assert whole.action is Action.ROLL_BACK


@pytest.mark.parametrize(
    "wrong",
    [
        {"availability": {"p0": "99.5%", "p1": "99%"}},
        {"error_rate": {"p1": "6%"}},
        {"degradation": {"p2": "0%"}},
        {"investigate": "30"},
        {"escalation": [{"role": ""}]},
    ],
)
def test_rules_that_contradict_themselves_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        IncidentRules.model_validate(wrong)


@pytest.mark.parametrize("number", [float("nan"), -0.1, float("inf")])
@pytest.mark.parametrize("name", sorted(NUMBERS))
def test_numbers_that_cannot_be_are_refused(name: str, number: float) -> None:
    with pytest.raises(ValidationError):
        Symptoms.model_validate({name: number})


def test_the_escalation_path_is_followed_to_its_end() -> None:
    rules = IncidentRules(
        escalation=(
            EscalationLevel(role="SRE on call", reach="PagerDuty schedule sre"),
            EscalationLevel(role="SRE lead", name="Ada", reach="@sre-lead"),
        )
    )
    first, second = next_level(rules, 0), next_level(rules, 1)
    assert first is not None
    assert second is not None
    assert described(*first) == "L1 SRE on call: PagerDuty schedule sre"
    assert described(*second) == "L2 SRE lead (Ada): @sre-lead"
    assert next_level(rules, 2) is None
