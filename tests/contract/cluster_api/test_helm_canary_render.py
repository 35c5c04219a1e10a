"""What deploy refuses of the real chart, rendered by the real Helm, and the remedy it names."""

from __future__ import annotations

import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "simulation"))

from world import World, context

from tarsrelease.adapters.helm.releases import Helm
from tarsrelease.adapters.kubernetes.client import KubernetesApi
from tarsrelease.model.environment import Environment
from tarsrelease.model.errors import RefusedError, UsageError
from tarsrelease.model.release import Release
from tarsrelease.operations.applied_as_checked import refuse_unchecked
from tarsrelease.operations.canary_render import canary_values, check_render
from tarsrelease.steps.promote import _refuse_unchecked_stable


@pytest.fixture
def helm(cluster: KubernetesApi) -> Helm:
    return Helm("bare", cluster.namespace)


def check(release: Release, environment: Environment, helm: Helm) -> None:
    check_render(context(World(), release, environment, charts=helm))


def with_values(release: Release, **values: Any) -> Release:
    return release.model_copy(update={"canary_values": release.canary_values | values})


def test_the_bundle_as_it_ships_is_let_in(
    helm: Helm, release: Release, environment: Environment
) -> None:
    check(release, environment, helm)


@pytest.mark.parametrize(
    ("values", "found", "remedy"),
    [
        ({"maintenance": {"enabled": True}}, "CronJob/", "maintenance.enabled: false"),
    ],
)
def test_what_must_exist_once_is_refused_with_the_value_to_switch_it_off(
    helm: Helm,
    release: Release,
    environment: Environment,
    values: dict[str, Any],
    found: str,
    remedy: str,
) -> None:
    with pytest.raises(UsageError) as refused:
        check(with_values(release, **values), environment, helm)
    assert found in refused.value.detail.found
    assert remedy in refused.value.detail.next
    assert release.rollout.canary_values in refused.value.detail.next


def test_images_that_stable_was_given_by_hand_are_not_taken_for_the_bundles(
    helm: Helm, release: Release, environment: Environment
) -> None:
    """The user's own values lie under the canary's, and would bring the old image back."""
    other = {"dashboard-api": {"tag": "v1.0.0", "digest": ""}}
    chart = str(Path(release.directory).parent / "v1_0_0" / "tars-1.0.0.tgz")
    helm.upgrade(*("tars", chart, [{"images": other}]), values_from=None, deadline=60, wait=False)
    with pytest.raises(UsageError) as refused:
        check(release, environment, helm)
    assert "dashboard-api" in refused.value.detail.found
    assert "not the image that the bundle pins" in refused.value.detail.found


def test_images_of_the_environment_file_do_not_replace_the_bundles(
    helm: Helm, release: Release, environment: Environment
) -> None:
    images = {"dashboard-api": {"repository": "evil.example/x", "tag": "v6", "digest": ""}}
    values = environment.helm.model_copy(update={"values": {"images": images}})
    theirs = environment.model_copy(update={"helm": values})
    with pytest.raises(UsageError, match=r"evil\.example/x:v6 is not the image"):
        check(release, theirs, helm)


def test_what_helm_would_apply_is_what_was_checked(
    helm: Helm, release: Release, environment: Environment, tmp_path: Path
) -> None:
    """The dry run of the upgrade agrees with the render; of a chart that renders otherwise, not."""
    chart = str(Path(release.directory).parent / "v1_0_0" / "tars-1.0.0.tgz")
    helm.upgrade("tars", chart, [], values_from=None, deadline=60, wait=False)
    ours = context(World(), release, environment, charts=helm)
    values = canary_values(release, environment)
    checked = check_render(ours)
    refuse_unchecked(ours, "tars-canary", values, checked)
    _refuse_unchecked_stable(ours, [])
    with tarfile.open(release.chart) as archive:
        archive.extractall(tmp_path, filter="data")
    trick = tmp_path / "tars" / "templates" / "trick.yaml"
    for condition in (".Release.IsUpgrade", "gt .Release.Revision 1"):
        trick.write_text(
            f"{{{{- if {condition} }}}}\n"
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: trick}\ndata: {a: b}\n{{- end }}\n"
        )
        other = release.model_copy(update={"chart": str(tmp_path / "tars")})
        theirs = context(World(), other, environment, charts=helm)
        with pytest.raises(RefusedError, match="ConfigMap/trick"):
            _refuse_unchecked_stable(theirs, [])
    trick.write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '{{ .Release.Name }}-trick'}\n"
        "data: {a: '{{ randAlphaNum 8 }}'}\n"
    )
    with pytest.raises(RefusedError, match="ConfigMap/tars-canary-trick"):
        refuse_unchecked(theirs, "tars-canary", values, check_render(theirs))


def test_a_chart_without_the_deployments_of_the_rollout_is_refused(
    helm: Helm, release: Release, environment: Environment
) -> None:
    with pytest.raises(UsageError, match="tars-canary-ppo-agent"):
        check(with_values(release, ppoAgent={"enabled": False}), environment, helm)
