"""Charts that show the checker something else than the cluster: each trick is refused."""

from __future__ import annotations

import gzip
import io
import json
import sys
import tarfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_verify_chart import helm

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
from bundle_samples import TEMPLATE, write_sources

from tarsrelease.adapters.files.bundle_build import build_bundle
from tarsrelease.adapters.helm.rendered_yaml import AmbiguousYamlError, rendered_objects
from tarsrelease.adapters.helm.values_schema import bounded_values_faults
from tarsrelease.bundle.chart_archive import failing_at_lookup, read_chart
from tarsrelease.model.outcome import Check, Status
from tarsrelease.wiring.verification import Wishes, verified

__all__ = ["helm"]

EVIL = "evil.example/x@sha256:" + "c" * 64
POD = """
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: demo-extra}
spec:
  selector: {matchLabels: {a: b}}
  template:
    metadata: {labels: {a: b}}
    spec: {containers: [{name: x, image: "EVIL"}]}
""".replace("EVIL", EVIL)


def only_elsewhere(condition: str) -> str:
    return TEMPLATE + "\n{{ if " + condition + " }}" + POD + "{{ end }}\n"


TRICKS: dict[str, tuple[Mapping[str, str], str, str]] = {
    "hidden from a release called verify": (
        {"templates/web.yaml": only_elsewhere('ne .Release.Name "verify"')},
        "chart.images",
        "runs evil.example/x",
    ),
    "only for the stable release": (
        {"templates/web.yaml": only_elsewhere('eq .Release.Name "demo"')},
        "chart.images",
        "runs evil.example/x",
    ),
    "only where the cluster has something": (
        {"templates/web.yaml": only_elsewhere('lookup "v1" "Namespace" "" "default"')},
        "chart.archive",
        "uses lookup",
    ),
    "a merge key": (
        {"templates/web.yaml": TEMPLATE + POD.replace("metadata: {name: demo-extra}",
            "metadata:\n  <<: {name: other}\n  name: demo-extra")},
        "chart.render",
        "a merge key (<<)",
    ),
    "a key that stands twice": (
        {"templates/web.yaml": TEMPLATE + POD + "kind: ConfigMap\n"},
        "chart.render",
        "the key 'kind' twice",
    ),
    "a workload among the CRDs": (
        {"templates/web.yaml": TEMPLATE, "crds/extra.yaml": POD},
        "chart.images",
        "runs evil.example/x",
    ),
    "an image in a custom resource": (
        {"templates/web.yaml": TEMPLATE + "\n---\napiVersion: example.org/v1\nkind: Database\n"
            f"metadata: {{name: d}}\nspec: {{image: '{EVIL}'}}\n"},
        "chart.images",
        "Database/d for stable runs evil.example/x",
    ),
    "an image that looks like a time": (
        {"templates/web.yaml": TEMPLATE + POD.replace(f'"{EVIL}"', "12:30")},
        "chart.images",
        "runs 12:30",
    ),
    "an image that looks like a date": (
        {"templates/web.yaml": TEMPLATE + POD.replace(f'"{EVIL}"', "2026-01-01")},
        "chart.images",
        "runs 2026-01-01",
    ),
    "an image in parts": (
        {"templates/web.yaml": TEMPLATE + "\n---\napiVersion: example.org/v1\nkind: Database\n"
            "metadata: {name: d}\nspec: {image: {repository: evil.example/y, tag: v1}}\n"},
        "chart.images",
        "Database/d for stable runs evil.example/y:v1",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("files", "check", "said"), TRICKS.values(), ids=TRICKS)
def test_a_trick_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    helm: str,
    files: Mapping[str, str],
    check: str,
    said: str,
) -> None:
    monkeypatch.setenv("TARSRELEASE_HELM", helm)
    sources = write_sources(tmp_path / "project")
    for path, text in files.items():
        (sources.source / "chart" / path).parent.mkdir(exist_ok=True)
        (sources.source / "chart" / path).write_text(text)
    build_bundle(sources.source, "1.2.0", sources.out)
    outcome = verified(sources.out, Wishes(offline=True))
    failed: list[Check] = [one for one in outcome.checks if one.status is Status.FAIL]
    assert check in {one.id for one in failed}, failed
    assert any(said in one.reason for one in failed), failed


CHART = {
    "demo/Chart.yaml": b"name: demo\nversion: 1.0.0\n",
    "demo/values.yaml": b"a: 1\n",
}


def packed(
    files: Mapping[str, bytes], change: Callable[[tarfile.TarFile], None] | None = None
) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, text in files.items():
            if change is not None and name.endswith("values.yaml"):
                change(archive)
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text))
    return gzip.compress(content.getvalue())


def read(content: bytes) -> tuple[str, ...]:
    def values(_: str, text: bytes) -> Any:
        return yaml.safe_load(text)

    return read_chart(content, "demo", values).faults


def test_a_plain_archive_has_no_fault() -> None:
    assert read(packed(CHART)) == ()


def test_a_pax_global_header_is_refused() -> None:
    def renamed(archive: tarfile.TarFile) -> None:
        assert archive.fileobj is not None
        header = tarfile.TarInfo.create_pax_global_header({"path": "demo/values.yaml"})
        archive.fileobj.write(header)
        archive.offset += len(header)

    (fault,) = {one for one in read(packed(CHART, renamed)) if "PAX" in one}
    assert "PAX global header" in fault


def test_a_subchart_is_looked_into_however_deep_it_lies() -> None:
    bad = packed({"sub/Chart.yaml": b"x", "../out": b"y"})
    inside = CHART | {"demo/charts/one/charts/two.tgz": bad}
    assert any("two.tgz" in fault and "outside" in fault for fault in read(packed(inside)))
    hidden = packed({"sub/templates/x.yaml": b'{{ lookup "v1" "Secret" "" "" }}'})
    inside = CHART | {"demo/charts/one/charts/two.tgz": hidden}
    assert any("uses lookup" in fault for fault in read(packed(inside)))


NEVER = "{{ if .Values.none }}" + '{{ (lookup "v1" "Secret" "" "a").data }}' + "{{ end }}\n"


@pytest.mark.parametrize(("condition", "status"), [("none", Status.PASS), ("images", Status.FAIL)])
def test_a_lookup_that_no_rendering_calls_is_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, helm: str, condition: str, status: Status
) -> None:
    monkeypatch.setenv("TARSRELEASE_HELM", helm)
    sources = write_sources(tmp_path / "project")
    template = sources.source / "chart/templates/web.yaml"
    template.write_text(template.read_text() + NEVER.replace("none", condition))
    build_bundle(sources.source, "1.2.0", sources.out)
    outcome = verified(sources.out, Wishes(offline=True))
    [archive] = [one for one in outcome.checks if one.id == "chart.archive"]
    assert archive.status is status, archive
    assert {one.status for one in outcome.checks if one.id == "chart.render"} <= {
        Status.PASS,
        Status.SKIPPED,
    }


def test_a_lookup_in_a_subchart_fails_where_it_is_called() -> None:
    inner = packed({"sub/templates/x.yaml": b'{{ lookup "v1" "Secret" "" "" }} lookup x'})
    changed = failing_at_lookup(packed(CHART | {"demo/charts/sub.tgz": inner}))
    with tarfile.open(fileobj=io.BytesIO(changed)) as archive:
        assert archive.getnames() == [*CHART, "demo/charts/sub.tgz"]
        packed_inner = archive.extractfile("demo/charts/sub.tgz")
        assert packed_inner is not None
        with tarfile.open(fileobj=io.BytesIO(packed_inner.read())) as below:
            text = below.extractfile("sub/templates/x.yaml")
            assert text is not None
            assert text.read() == b'{{ fail "v1" "Secret" "" "" }} lookup x'


def test_a_comment_about_lookup_is_none() -> None:
    inside = CHART | {"demo/templates/x.yaml": b'{{/* lookup "v1" is not used */}}\nlookup "a"\n'}
    assert read(packed(inside)) == ()


def test_a_catastrophic_pattern_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tarsrelease.adapters.helm.values_schema._LONGEST", 2.0)
    schema = {"properties": {"a": {"pattern": "^(a+)+$"}}}
    began = time.monotonic()
    (fault,) = bounded_values_faults(json.dumps(schema).encode(), {"a": "a" * 40 + "!"})
    assert "took more than 2 s" in fault
    assert time.monotonic() - began < 15


def test_a_schema_in_a_process_of_its_own_says_the_same() -> None:
    schema = json.dumps({"properties": {"a": {"type": "string"}}}).encode()
    assert bounded_values_faults(schema, {"a": "x"}) == []
    assert bounded_values_faults(schema, {"a": 1}) == ["$.a: 1 is not of type 'string'"]
    assert "cannot be read" in bounded_values_faults(b"\xff{", {})[0]


def test_what_is_read_alike_is_read() -> None:
    assert rendered_objects("a: &x {b: 1}\nc: *x\n---\n---\nd: 1\n") == [
        {"a": {"b": 1}, "c": {"b": 1}},
        {"d": 1},
    ]
    text = ["12:30", "190:20:30.15", "2026-01-01", "2026-13-01", "0x_", "9" * 5000]
    text.append("1" + ":1" * 9999)
    assert rendered_objects(f"a: [{', '.join(text)}]\n") == [{"a": text}]
    assert rendered_objects("a: [7, 0x10, -1_000, 1.5]\n") == [{"a": [7, 16, -1000, 1.5]}]
    with pytest.raises(AmbiguousYamlError):
        rendered_objects("a: &x {b: 1}\nc: {<<: *x, b: 2}\n")
