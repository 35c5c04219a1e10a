"""The schemas are those of the models, valid, and agree with what is read and written."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from bundle_samples import BUNDLE, ENVIRONMENT, ROLLOUT, write_sources

from tarsrelease.adapters.files.bundle_build import build_bundle
from tarsrelease.adapters.files.evidence_file import EvidenceFile
from tarsrelease.cli import main
from tarsrelease.cli.exit_code_help import EXIT_CODES
from tarsrelease.cli.schemas import all_schemas, schema_text
from tarsrelease.model.outcome import ExitCode
from tarsrelease.model.rollout import Rollout

REPOSITORY = Path(__file__).parents[2]
SCHEMAS = all_schemas()


ROOMS = (
    *("bundle", "chart", "migrations", "signatures", "manifest", "rollout", "images"),
    *("plan", "certification", "evidence", "canary", "rollback", "rehearsal"),
    *("migrate", "database"),
    *("doctor", "preflight", "go_no_go", "environments", "validation", "watch", "incident"),
    *("slo", "baseline", "drift", "websocket", "load", "readiness"),
)
"""What an id of a check begins with."""


def valid(name: str, document: Any) -> bool:
    validator = jsonschema.Draft202012Validator(SCHEMAS[name])
    return bool(validator.is_valid(document))


@pytest.mark.parametrize("name", list(SCHEMAS))
def test_the_file_is_the_models_schema(name: str) -> None:
    file = REPOSITORY / "schemas" / f"{name}.schema.json"
    assert file.read_text() == schema_text(SCHEMAS[name]) + "\n", (
        "the models have changed: tarsrelease schema --write schemas"
    )
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[name])


def test_no_schema_is_left_over() -> None:
    files = {path.name for path in (REPOSITORY / "schemas").iterdir()}
    assert files == {f"{name}.schema.json" for name in SCHEMAS}


@pytest.mark.parametrize(
    ("name", "text"), [("rollout", ROLLOUT), ("environment", ENVIRONMENT), ("bundle", BUNDLE)]
)
def test_a_sample_is_valid_and_an_unknown_key_is_not(name: str, text: str) -> None:
    document = yaml.load(text, Loader=yaml.BaseLoader)
    typed = yaml.safe_load(text)
    typed.get("helm", {}).pop("values", None)  # a date is no JSON
    assert valid(name, typed), document
    assert not valid(name, {**typed, "unknown": 1})


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("below: 2%", "below: 0.02"),
        ("duration: 10m", "duration: 10"),
        ("weight: 10\n", "weight: 101\n"),
        ("kind: ratio", "kind: gauge"),
    ],
)
def test_the_schema_refuses_what_the_models_refuse(before: str, after: str) -> None:
    text = ROLLOUT.replace(before, after)
    if text != ROLLOUT:
        assert not valid("rollout", yaml.safe_load(text))


def files(pattern: str) -> list[Path]:
    return sorted(REPOSITORY.glob(pattern))


@pytest.mark.parametrize(
    ("name", "path"),
    [
        *(("environment", path) for path in files("environments/*.yaml")),
        *(("rollout", path) for path in files("release/*/rollout.yaml")),
        *(("bundle", path) for path in files("release/*/bundle.yaml")),
        *(("manifest", path) for path in files("release/*/manifest.production.json")),
    ],
    ids=lambda value: value if isinstance(value, str) else value.parent.name + "/" + value.name,
)
def test_every_file_of_the_repository_is_valid(name: str, path: Path) -> None:
    jsonschema.Draft202012Validator(SCHEMAS[name]).validate(yaml.safe_load(path.read_text()))


def test_outcomes_and_records_are_valid(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = write_sources(tmp_path)
    built = build_bundle(sources.source, "1.2.0", sources.out)
    assert valid("manifest", json.loads((sources.out / "manifest.production.json").read_text()))
    assert built.manifest.version == "1.2.0"
    monkeypatch.chdir(tmp_path)
    for arguments in (["verify", str(sources.out)], ["verify", "nowhere"]):
        with pytest.raises(SystemExit):
            main([*arguments, "--format", "json", "--evidence", "e"])
        jsonschema.Draft202012Validator(SCHEMAS["outcome"]).validate(
            json.loads(capsys.readouterr().out)
        )
    line = EvidenceFile(tmp_path / "e", "r", "s").path.read_text().splitlines()[0]
    jsonschema.Draft202012Validator(SCHEMAS["evidence"]).validate(json.loads(line))


def test_schema_prints_one_or_all(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["schema", "rollout"])
    assert ended.value.code == 0
    assert json.loads(capsys.readouterr().out) == SCHEMAS["rollout"]
    with pytest.raises(SystemExit):
        main(["schema"])
    assert json.loads(capsys.readouterr().out) == SCHEMAS


def test_no_field_of_a_rollout_is_a_plain_number_with_a_point() -> None:
    """The reader keeps such numbers as text, so that ``below: 0.02`` is refused, not taken."""
    text = json.dumps(Rollout.model_json_schema())
    assert '"type": "number"' not in text


def test_the_documented_exit_codes_are_the_ones_there_are() -> None:
    page = (REPOSITORY / "docs" / "exit-codes.md").read_text()
    codes = {int(code) for code in ExitCode}
    assert {int(found) for found in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)} == codes
    in_help = re.findall(r"^ +(\d+)  ", EXIT_CODES, re.MULTILINE)
    assert {int(found) for found in in_help} == codes


def test_every_check_is_documented() -> None:
    page = (REPOSITORY / "docs" / "checks.md").read_text()
    documented = set(re.findall(r"^### `([a-z0-9_.]+)`", page, re.MULTILINE))
    ids: set[str] = set()
    for source in (REPOSITORY / "src" / "tarsrelease").rglob("*.py"):
        rooms = "|".join(ROOMS)
        ids |= set(re.findall(rf'"((?:{rooms})\.[a-z0-9_]+)"', source.read_text()))
    for path in files("release/*/rollout.yaml"):
        ids |= set(re.findall(r"id: ([a-z0-9_.]+)", path.read_text()))
    ids = {one for one in ids if not one.endswith((".yaml", ".json", ".jsonl"))}
    assert ids - documented == set()
    assert documented - ids == {f"certification.{kind}" for kind in CERTIFICATION}


CERTIFICATION = ("checksums_form", "completeness", "links", "digest")
