"""verify's rows per artifact, in text and Markdown."""

from __future__ import annotations

from datetime import UTC, datetime

from tarsrelease.bundle.artifacts import artifact_rows, image_rows
from tarsrelease.bundle.files import BundleFile
from tarsrelease.model.bundle import Image
from tarsrelease.model.outcome import Check, ExitCode, Outcome, Status, Verdict
from tarsrelease.model.step_details import ArtifactRow
from tarsrelease.model.verification import Signed
from tarsrelease.report.markdown import outcome_markdown
from tarsrelease.report.text import outcome_text

GOOD, BAD = "a" * 64, "b" * 64
WHO = Signed("release.yaml", "tars-ai/tars", "c" * 40)


def outcome(rows: list[ArtifactRow]) -> Outcome:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return Outcome(
        step="verify",
        release="1.2.0",
        environment=None,
        verdict=Verdict.NO_GO,
        exit_code=ExitCode.NO,
        summary="x",
        details={"artifacts": rows},
        started_at=now,
        finished_at=now,
    )


def rows() -> list[ArtifactRow]:
    listing = [
        BundleFile("GA_CERTIFICATION/x", 1),
        BundleFile("SHA256SUMS", 1),
        BundleFile("bad", 2),
        BundleFile("good", 3),
        BundleFile("new", 4),
    ]
    expected = {"good": GOOD, "bad": GOOD, "gone": GOOD}
    found = {"good": GOOD, "bad": BAD}
    image = Image(service="web", name="h/web", tag="v1", digest="sha256:" + GOOD)
    check = Check(
        id="images.registry",
        status=Status.SKIPPED,
        service="web",
        expected="",
        reason="NOT CHECKED: x",
    )
    return [
        *artifact_rows(listing, expected, found, {GOOD: WHO}),
        *image_rows([image], [check], {}),
    ]


def test_each_artifact_has_a_row_and_only_a_match_passes() -> None:
    results = {row.artifact: row.result for row in rows()}
    assert results == {
        "bad": "FAIL",
        "gone": "FAIL",
        "good": "PASS",
        "new": "FAIL",
        "h/web:v1": "NOT CHECKED",
    }
    (good,) = (row for row in rows() if row.artifact == "good")
    assert good.signer == "release.yaml"
    assert good.built_from == "tars-ai/tars@" + "c" * 40


def test_they_are_printed_the_bad_ones_first() -> None:
    text = outcome_text(outcome(rows()), verbose=True).split("Artifacts\n")[1].splitlines()
    assert [line.split()[0] for line in text[1:6]] == ["FAIL", "FAIL", "FAIL", "NOT", "PASS"]
    assert "bbbbbbbbbbbbbbbb, not aaaaaaaaaaaaaaaa" in text[1]
    markdown = outcome_markdown(outcome(rows()))
    assert "| PASS | good | 3 |" in markdown


def test_of_very_many_the_rest_is_counted() -> None:
    many = [BundleFile(f"f{number:05}", 1) for number in range(1000)]
    found = {file.path: GOOD for file in many}
    text = outcome_text(outcome(artifact_rows(many, found, found, {})), verbose=True)
    assert "and 960 more" in text
    assert text.count("PASS") == 40
