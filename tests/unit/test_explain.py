"""What would have changed a verdict: said, and true when it is tried."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "simulation"))

from world import Pod, World, context, release, rollout

from tarsrelease.adapters.files.evidence_file import EvidenceFile
from tarsrelease.cli.explain import explain
from tarsrelease.gates.checks.inputs import Inputs, Patience, Subject
from tarsrelease.gates.checks.proportion import judge
from tarsrelease.gates.study.explain import counterfactuals, proportion_of
from tarsrelease.model.checks import ProportionCheck
from tarsrelease.model.errors import UsageError
from tarsrelease.model.measurement import Counts, Track, Unmeasured
from tarsrelease.model.outcome import Check, Observed, Status, Verdict
from tarsrelease.report.charts import mermaid_chart, text_chart, thinned
from tarsrelease.report.markdown import outcome_markdown
from tarsrelease.report.text import outcome_text
from tarsrelease.steps.canary_gate import gate

ALPHA = 1e-3


def judged(bad: int, total: int, limit: str = "1%") -> Check:
    """What the gate says of these counts."""
    rule = ProportionCheck.model_validate(
        {"kind": "proportion", "id": "canary.errors", "sli": "errors", "below": limit}
    )
    inputs = Inputs(
        counts={"errors": {("api", Track.CANARY): Counts(bad, total, 100.0)}},
        gauges={},
        cluster=Unmeasured("not asked"),
        sources={},
        now=100.0,
        elapsed=100.0,
    )
    return judge(rule, Subject("api", Track.CANARY), inputs, Patience(ALPHA, 0.95, 15.0))


@given(st.integers(50, 20_000), st.data())
def test_the_counts_come_back_from_a_recorded_result(total: int, data: st.DataObject) -> None:
    bad = data.draw(st.integers(0, total))
    found = proportion_of(judged(bad, total))
    assert found is not None
    assert (found.bad, found.total, found.limit) == (bad, total, 0.01)


@given(st.integers(300, 20_000), st.floats(0, 0.06))
def test_what_is_said_would_have_changed_it(total: int, share: float) -> None:
    """The number of bad requests that a sentence names gives the result that it promises."""
    bad = round(share * total)
    was = judged(bad, total)
    for sentence in counterfactuals(was, ALPHA)[1:]:
        match = re.search(r"\((\d+) in all\) (.*)", sentence)
        if match is None:
            assert sentence.startswith(("no number of", "independent errors")) or (
                "more requests would" in sentence
            ), sentence
            continue
        other = judged(int(match[1]), total)
        assert other.status is not was.status, sentence
        if "proof" in match[2] and "not have been" not in match[2]:
            assert other.status is Status.FAIL, sentence
            assert judged(int(match[1]) - 1, total).status is not Status.FAIL, sentence
        if "within" in match[2]:
            assert other.status is Status.PASS, sentence


def test_too_few_requests_say_how_many_more() -> None:
    check = judged(0, 100)
    assert check.status is Status.INCONCLUSIVE
    assert any("199 more requests" in line for line in counterfactuals(check, ALPHA))


def test_what_was_not_measured_says_why() -> None:
    check = Check(
        id="canary.errors", status=Status.ERROR, service="api", expected="< 1 %", reason="no route"
    )
    assert counterfactuals(check, ALPHA) == ["nothing was observed, expected < 1 %: no route"]


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (0.0123456, "share", "1.23 %"),
        (0.9995, "share", "99.95 %"),
        (0.9990001, "share", "99.9 %"),
        (0.99999, "share", "99.999 %"),
        (1.0, "share", "100 %"),
        (0.0, "share", "0 %"),
        (157_286_400.0, "bytes", "157 MB"),
        (12.345678, "seconds", "12s"),
        (0.8333333333, "cores", "0.833"),
        (12345.678, "", "12346"),
        (12345.0, "count", "12 345"),
    ],
)
def test_what_was_seen_is_rounded_for_people(value: float, unit: str, said: str) -> None:
    check = Check(
        id="canary.other",
        status=Status.PASS,
        service="api",
        observed=Observed(value=value, unit=unit),
        expected="anything",
        reason="seen",
    )
    assert counterfactuals(check, ALPHA) == [f"seen {said}, expected anything: seen"]


def test_no_number_of_an_explanation_has_more_digits_than_people_read(evidence: Path) -> None:
    for stage in ("1", "10"):
        text = outcome_text(explain(evidence, stage, None))
        assert re.findall(r"\d\.\d{4,}", text) == [], text


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two gates of a simulated world: a healthy stage of 1 %, a bad one of 10 %."""
    folder = tmp_path_factory.mktemp("evidence")
    world = World(seed=3, rate=100.0).populate()
    for weight, errors in ((1, 0.0), (10, 0.2)):

        def fault(pod: Pod, share: float = errors) -> None:
            pod.error_share = share

        world.new_pods = fault
        for pod in world.running(Track.CANARY):
            fault(pod)
        outcome = gate(context(world, release(rollout(duration="2m"))), weight)
        EvidenceFile(folder, "run-1", "run-1").append(outcome)
    return folder


def test_the_last_gate_is_explained(evidence: Path) -> None:
    outcome = explain(evidence, None, None)
    assert outcome.details.model_dump(mode="json")["verdict"] == "rollback"
    text = outcome_text(outcome)
    assert "would not have been proof" in text
    assert re.search(r"evidence .* to 1, proof at \d+ to 1", text)
    markdown = outcome_markdown(outcome)
    assert "xychart-beta" in markdown
    assert markdown.count("```") % 2 == 0


def test_a_stage_is_chosen_and_an_unknown_one_named(evidence: Path) -> None:
    outcome = explain(evidence, "1", None)
    assert outcome.details.model_dump(mode="json")["verdict"] in ("proceed", "hold")
    with pytest.raises(UsageError, match="canary-25"):
        explain(evidence, "25", None)


def test_a_plot_is_drawn_or_says_what_is_missing(evidence: Path, tmp_path: Path) -> None:
    file = tmp_path / "stage.svg"
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        with pytest.raises(UsageError) as caught:
            explain(evidence, None, file)
        assert "tarsrelease[plots]" in caught.value.detail.next
        return
    explain(evidence, None, file)
    assert "<svg" in file.read_text()[:2000]


def test_the_command(evidence: Path) -> None:
    from tarsrelease.cli.app import root

    done = CliRunner().invoke(root, ["canary", "explain", str(evidence), "--format", "json"])
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert said["verdict"] == str(Verdict.PROCEED)
    assert said["details"]["explained"]


def test_charts() -> None:
    points = [(float(n), n / 1000) for n in range(200)]
    assert len(thinned(points)) <= 40
    assert thinned(points)[-1] == points[-1]
    assert text_chart([(0, 0.0), (1, 0.5), (2, 1.0)]) == "▁▅█"
    assert text_chart([(0, 0.0)]) == "▁"
    lines = mermaid_chart('a "title"', "share", points, 0.15)
    assert lines[0] == "```mermaid"
    assert lines[2] == '  title "a title"'
    assert sum(line.startswith("  line [") for line in lines) == 2
