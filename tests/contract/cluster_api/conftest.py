"""One bare API server for the contract tests of a worker, and a namespace for each test."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from bare_api import BareApi, running

from tarsrelease.adapters.files.configuration import load_environment, load_release
from tarsrelease.adapters.kubernetes.client import KubernetesApi
from tarsrelease.model.environment import Environment
from tarsrelease.model.release import Release

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BareApi]:
    with running(tmp_path_factory.mktemp("api")) as server:
        yield server


@pytest.fixture
def namespace(api: BareApi) -> str:
    name = f"t-{uuid.uuid4().hex[:10]}"
    api.kubectl("create", "namespace", name)
    api.kubectl("create", "serviceaccount", "default", "--namespace", name)
    return name


@pytest.fixture
def cluster(api: BareApi, namespace: str, monkeypatch: pytest.MonkeyPatch) -> KubernetesApi:
    """The namespace as its administrator sees it; helm is found, too."""
    monkeypatch.setenv("KUBECONFIG", str(api.kubeconfig()))
    monkeypatch.setenv("TARSRELEASE_HELM", api.programs["helm"][0])
    return KubernetesApi.connect("bare", namespace)


@pytest.fixture
def environment(namespace: str) -> Environment:
    found = load_environment(str(ROOT / "environments" / "rehearsal.yaml"))
    place = found.kubernetes.model_copy(update={"context": "bare", "namespace": namespace})
    return found.model_copy(update={"kubernetes": place})


@pytest.fixture
def release(environment: Environment) -> Release:
    return load_release(ROOT / "release" / "v1_0_1", environment)
