"""Another product in the rehearsal: its images, its environment and its previous version."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parent))
from bundle_samples import write_sources

from tarsrelease.adapters.files.bundle_build import build_bundle
from tarsrelease.adapters.files.configuration import load_environment, load_manifest, load_release
from tarsrelease.model.bundle import MANIFEST
from tarsrelease.model.errors import UsageError
from tarsrelease.rehearsal import product, world


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    sources = write_sources(tmp_path)
    build_bundle(sources.source, "1.2.0", sources.out)
    return sources.out


def test_a_command_stands_for_an_image_by_name_or_by_tag(bundle: Path, tmp_path: Path) -> None:
    file = tmp_path / "images.yaml"
    file.write_text(
        "registry.example/demo/web: bin/web --listen $POD_IP\n"
        "registry.example/demo/web:v1.2.0: {command: [./faulty, --all], env: {MODE: x}}\n"
    )
    local = product.read_images(file)
    manifest = load_manifest(bundle / MANIFEST)
    [entry] = product.entries([manifest, manifest], local)
    assert entry["command"] == [str(tmp_path / "faulty"), "--all"]
    assert entry["env"]["MODE"] == "x"
    assert entry["digest"] == manifest.images[0].digest
    by_name = local["registry.example/demo/web"].argv
    assert by_name == ["/bin/sh", "-c", f"exec {tmp_path}/bin/web --listen $POD_IP"]


def test_an_image_without_a_command_is_named(bundle: Path) -> None:
    with pytest.raises(UsageError, match=r"no command for registry.example/demo/web:v1.2.0"):
        product.entries([load_manifest(bundle / MANIFEST)], {})


def test_new_entries_come_first(tmp_path: Path) -> None:
    file = tmp_path / "images.json"
    file.write_text('{"images": [{"name": "a"}]}')
    entry = product.ImageEntry(name="b", tag="1", digest="d", command=["x"], env={})
    product.add_images(file, [entry])
    product.add_images(file, [entry])
    assert [each["name"] for each in json.loads(file.read_text())["images"]] == ["b", "a"]


def test_the_previous_version_is_an_older_bundle_or_a_copy(bundle: Path, tmp_path: Path) -> None:
    copy = product.previous_bundle(bundle, tmp_path / "work")
    release = load_release(copy, None)
    assert (release.version, release.rollout.version) == ("0.0.0", "0.0.0")
    assert Path(release.chart).name == "demo-0.0.0.tgz"
    assert release.manifest.images == load_manifest(bundle / MANIFEST).images
    older = bundle.parent / "v1_1_0"
    older.mkdir()
    text = (bundle / MANIFEST).read_text()
    (older / MANIFEST).write_text(text.replace('"version": "1.2.0"', '"version": "1.1.9"'))
    assert product.previous_bundle(bundle, tmp_path / "work") == older


def test_the_environment_reaches_nothing_but_the_embedded_cluster(
    bundle: Path, tmp_path: Path
) -> None:
    source = tmp_path / "place.yaml"
    source.write_text(
        "schema: tarsrelease/environment/v1\nname: place\n"
        "kubernetes: {context: production, namespace: demo}\n"
        "gateway: {name: g, namespace: gs, address: 'https://demo.example', tls: {ca_env: CA},"
        " hostnames: {web: demo.example}}\n"
        "prometheus: {url: 'https://prometheus.example', token_env: TOKEN}\n"
        "database: {dsn_env: DSN}\n"
        "notifications: {slack: {webhook_env: SLACK}}\n"
        "helm: {values_files: [more.yaml]}\n"
    )
    (tmp_path / "more.yaml").write_text("replicas: 3\n")
    work = tmp_path / "work"
    work.mkdir()
    rollout = load_release(bundle, None).rollout
    made = product.environment(source, work, rollout, {"stage_duration": "5s"})
    text = Path(made).read_text()
    assert "example" not in text.replace("demo.example", "")
    found = load_environment(made)
    assert found.kubernetes.context == world.CONTEXT
    assert found.gateway.address == f"http://{world.ROUTER}"
    assert (found.metrics, found.database) == ("pods", None)
    assert found.helm.values == {"replicas": 3}
    assert found.overrides.stage_duration == 5.0
    kinds = [each["kind"] for each in product.setup(made)]
    assert kinds == ["Namespace", "Namespace", "Gateway"]
    assert yaml.safe_load(text)["overrides"]["any_time"] is True
