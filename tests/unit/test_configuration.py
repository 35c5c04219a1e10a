"""Configuration: every mistake has its line and a remedy; nothing passes by YAML's magic."""

from __future__ import annotations

from pathlib import Path

import pytest
from bundle_samples import BUNDLE, ENVIRONMENT, ROLLOUT, write_sources

from tarsrelease.adapters.files.bundle_build import build_bundle
from tarsrelease.adapters.files.configuration import (
    load_environment,
    load_release,
    load_rollout,
    newest_release,
    release_of,
)
from tarsrelease.adapters.files.yaml_source import read_yaml, set_scalars, splice_scalars
from tarsrelease.model.errors import UsageError
from tarsrelease.model.release import RunOptions

REPOSITORY = Path(__file__).parents[2]


def findings(tmp_path: Path, text: str) -> list[str]:
    """What is said about this rollout.yaml, one text a mistake, without the file's name."""
    path = tmp_path / "rollout.yaml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        load_rollout(path)
    count, *lines = caught.value.detail.found.splitlines()
    assert count == ("1 mistake" if len(lines) == 1 else f"{len(lines)} mistakes")
    assert all(line.startswith(f"{path}:") for line in lines)
    return [line.removeprefix(f"{path}:") for line in lines]


def line_of(text: str, part: str) -> int:
    """The line (from 1) in which `part` first stands."""
    return next(number for number, line in enumerate(text.splitlines(), 1) if part in line)


def test_the_sample_is_right(tmp_path: Path) -> None:
    path = tmp_path / "rollout.yaml"
    path.write_text(ROLLOUT)
    rollout = load_rollout(path)
    assert [stage.weight for stage in rollout.stages] == [10, 100]
    assert rollout.stages[0].duration == 600.0
    assert rollout.stages[1].checks == rollout.stages[0].checks  # the alias


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("    duration: 10m", "    durration: 10m", "did you mean duration?"),
        ("below: 2%", "below: 2", "needs a percentage, such as 0.5%"),
        ("below: 2%", "below: 0.02", "needs a percentage, such as 0.5%"),
        ("below: 2.5GB", "below: 2.5", "needs a number with one of the units"),
        ("    duration: 10m", "    duration: 10 minutes", "such as 10m"),
        ("    duration: 10m", "    duration: 1:30", "needs a number with one of the units"),
        ("weight: 10\n", 'weight: "10"\n', "must be a whole number"),
        ("weight: 10\n", "weight: yes\n", "must be a whole number"),
        ("weight: 10\n", "weight: 101\n", "at most 100"),
        ("approval: true", 'approval: "yes"', "must be true or false"),
        ("version: 1.2.0", "version: 1.2", "does not match"),
        ("application: demo", "application: 12", 'must be text; quote it: "12"'),
        ("port: 8080", "port: 70000", "at most 65535"),
        ("unit: bytes", "unit: byte", "did you mean bytes?"),
        ("kind: gauge\n", "kind: gage\n", "did you mean gauge?"),
        ("hosts: [web]", "hosts: []", "must not be empty"),
        ("version: 1.2.0\n", "version: 1.2.0\nversion: 1.3.0\n", "duplicate key (first in line 3)"),
    ],
)
def test_a_mistake_has_its_line_and_a_remedy(
    tmp_path: Path, before: str, after: str, expected: str
) -> None:
    text = ROLLOUT.replace(before, after, 1)
    assert text != ROLLOUT
    said = findings(tmp_path, text)
    assert len(said) >= 1
    at = line_of(text, after.splitlines()[-1])
    assert any(expected in one and one.startswith(f"{at}: ") for one in said), said


def test_all_mistakes_are_told_at_once_in_the_order_of_lines(tmp_path: Path) -> None:
    text = ROLLOUT.replace("port: 8080", "prot: 8080").replace("weight: 100", "wait: 100")
    said = findings(tmp_path, text)
    assert [one.split(":")[0] for one in said] == sorted(
        (one.split(":")[0] for one in said), key=int
    )
    assert any("services[0].prot: unknown key; did you mean port?" in one for one in said)
    assert any("services[0].port: is missing" in one for one in said)
    assert any("stages[1].weight: is missing" in one for one in said)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "the file is empty"),
        ("a: [1", "expected"),
        ("a:\n\tb: 1\n", "a tab; indent with spaces"),
        ("- a\n", "must hold a mapping"),
        ("a: !!python/object:os.system x\n", "is not supported"),
        ("? [a]\n: b\n", "a key must be text"),
        ("a: &a [*a]\n", "an alias that contains itself"),
        ("a: &a {b: 1}\nc: {<<: [1]}\n", "<<: must be a mapping"),
        ("a: 1\n---\nb: 2\n", "expected a single document"),
        ("a: 1" + ":1" * 20_000 + "\n", "a number of more than 64 bits"),
        ("a: 0x" + "f" * 20_000 + "\n", "a number of more than 64 bits"),
        ("a: " + "9" * 20_000 + "\n", "cannot be read"),
    ],
)
def test_what_yaml_hides_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    assert any(expected in one for one in findings(tmp_path, text))


def test_merged_keys_are_overridden_by_own_ones_without_being_double() -> None:
    document = read_yaml("a: &a {x: 1, y: 1}\nb: {<<: *a, x: 2}\n")
    assert document.findings == ()
    assert document.data["b"] == {"x": 2, "y": 1}


def test_values_that_are_handed_on_are_what_yaml_says(tmp_path: Path) -> None:
    path = tmp_path / "place.yaml"
    path.write_text(ENVIRONMENT)
    environment = load_environment(str(path))
    assert environment.helm.values["ratio"] == 0.5


def test_weights_that_do_not_rise_point_at_the_stages(tmp_path: Path) -> None:
    text = ROLLOUT.replace("weight: 10\n", "weight: 100\n", 1)
    said = findings(tmp_path, text)
    at = line_of(text, "stages:")
    assert said == [f"{at}: stages: stages: weights must rise, found [100, 100]"]


def test_an_unknown_sli_points_at_its_check(tmp_path: Path) -> None:
    text = ROLLOUT.replace("sli: memory", "sli: mem", 1)
    (said,) = findings(tmp_path, text)
    assert said.startswith(f"{line_of(text, 'sli: mem')}: ")
    assert "known slis: errors, memory" in said


def test_a_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        load_rollout(tmp_path / "rollout.yaml")
    with pytest.raises(UsageError, match="is not a folder"):
        load_release(tmp_path / "none", None)


def test_a_file_that_is_no_text_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "rollout.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="cannot be read"):
        load_rollout(tmp_path / "rollout.yaml")


def test_an_environment_that_does_not_exist_gets_a_suggestion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_sources(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert load_environment("place").name == "place"
    with pytest.raises(UsageError) as caught:
        load_environment("plaice")
    assert "did you mean place?" in caught.value.detail.next


def test_an_environment_is_called_as_its_file(tmp_path: Path) -> None:
    path = tmp_path / "production.yaml"
    path.write_text(ENVIRONMENT)
    with pytest.raises(UsageError) as caught:
        load_environment(str(path))
    assert f"{path}:2: name:" in caught.value.detail.found


class TestRelease:
    @pytest.fixture
    def bundle(self, tmp_path: Path) -> Path:
        sources = write_sources(tmp_path)
        build_bundle(sources.source, "1.2.0", sources.out)
        return sources.out

    def test_loads_with_the_overrides_of_its_environment(self, bundle: Path) -> None:
        path = bundle.parent.parent / "environments/place.yaml"
        path.write_text(ENVIRONMENT + "overrides: {stage_duration: 20s}\n")
        release = load_release(bundle, load_environment(str(path)))
        assert release.version == "1.2.0"
        assert release.canary_values == {"replicas": 1}
        assert {stage.duration for stage in release.rollout.stages} == {20.0}
        assert Path(release.chart).is_file()

    def test_takes_only_the_stages_asked_for(self, bundle: Path) -> None:
        rollout = load_release(bundle, None, RunOptions(stages=(100,))).rollout
        assert [stage.weight for stage in rollout.stages] == [100]

    @pytest.mark.parametrize("stages", [(10,), (100, 10), (), (10, 10, 100)])
    def test_refuses_stages_that_are_none(self, bundle: Path, stages: tuple[int, ...]) -> None:
        with pytest.raises(UsageError, match="choosing the stages"):
            load_release(bundle, None, RunOptions(stages=stages))

    def test_a_host_that_the_environment_does_not_have(self, bundle: Path) -> None:
        path = bundle.parent.parent / "environments/place.yaml"
        path.write_text(ENVIRONMENT.replace("hostnames: {web:", "hostnames: {api:"))
        with pytest.raises(UsageError) as caught:
            load_release(bundle, load_environment(str(path)))
        at = line_of(ROLLOUT, "hosts: [web]")
        assert f"rollout.yaml:{at}: services[0].hosts[0]: 'web'" in caught.value.detail.found

    def test_a_limit_overridden_for_no_check(self, bundle: Path) -> None:
        path = bundle.parent.parent / "environments/place.yaml"
        path.write_text(ENVIRONMENT + "overrides: {gauge_limits: {canary.disk: 1GB}}\n")
        with pytest.raises(UsageError) as caught:
            load_release(bundle, load_environment(str(path)))
        assert "overrides canary.disk" in caught.value.detail.found

    def test_a_rollout_of_another_version(self, bundle: Path) -> None:
        path = bundle / "rollout.yaml"
        path.write_text(path.read_text().replace("version: 1.2.0", "version: 1.2.1"))
        with pytest.raises(UsageError) as caught:
            load_release(bundle, None)
        assert "rollout.yaml:3: version: '1.2.1'" in caught.value.detail.found

    def test_the_newest_is_the_highest_version(self, bundle: Path) -> None:
        manifest = (bundle / "manifest.production.json").read_text()
        # 1.10 is newer than 1.2, and its tenth candidate than the second, whatever they sort like.
        for version in ("1.10.0-rc.2", "1.10.0-rc.10", "1.10.0"):
            newer = bundle.parent / f"v{version.replace('.', '_')}"
            newer.mkdir()
            (newer / "manifest.production.json").write_text(manifest.replace("1.2.0", version))
            assert newest_release(bundle.parent) == newer
        assert release_of("1.10.0", bundle.parent) == newer
        with pytest.raises(UsageError):
            newest_release(bundle / "migrations")
        (bundle.parent / "broken").mkdir()
        (bundle.parent / "broken/manifest.production.json").write_text("[")
        for asked in (
            lambda: newest_release(bundle.parent),
            lambda: release_of("1", bundle.parent),
        ):
            with pytest.raises(UsageError, match="has no version"):
                asked()


def test_splicing_keeps_everything_else() -> None:
    text = "# top\na:\n  b: old   # why\n  c: 'x'\n"
    spliced = splice_scalars(text, [(("a", "b"), '"new"'), (("a", "c"), "2")])
    assert spliced == '# top\na:\n  b: "new"   # why\n  c: 2\n'
    with pytest.raises(KeyError, match=r"a\.d"):
        splice_scalars(text, [(("a", "d"), "1")])


def test_a_number_in_a_place_counts_the_items_of_a_list() -> None:
    text = "a:\n  - name: x # first\n    image: old\n  - y:1\n"
    changed = set_scalars(
        text, [(("a", "0", "image"), '"new"'), (("a", "0", "tag"), '"t"'), (("a", "1"), '"y:2"')]
    )
    assert changed == 'a:\n  - tag: "t"\n    name: x # first\n    image: "new"\n  - "y:2"\n'
    for place in (("a", "2", "image"), ("a", "x"), ("b", "0"), ("a", "0", "name", "1")):
        with pytest.raises(KeyError, match=r"\.".join(place)):
            set_scalars(text, [(place, "1")])
    with pytest.raises(KeyError):
        set_scalars("", [(("a", "0"), "1")])


@pytest.mark.parametrize("path", sorted((REPOSITORY / "environments").glob("*.yaml")))
def test_every_environment_of_the_repository_loads(path: Path) -> None:
    assert load_environment(str(path)).name == path.stem


def test_bundle_input_names_every_file_once(tmp_path: Path) -> None:
    sources = write_sources(tmp_path)
    (sources.out / "bundle.yaml").write_text(BUNDLE.replace("[NOTES.md]", "[NOTES.md, absent.md]"))
    with pytest.raises(UsageError) as caught:
        build_bundle(sources.source, "1.2.0", sources.out)
    assert "absent.md is not a regular file" in caught.value.detail.found
