"""Is everything up, in the released version, and with room left?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from validation.asking import ANYWHERE, PODS, VERSION

if TYPE_CHECKING:
    from conftest import Measured, Target

services = pytest.mark.parametrize("service", ANYWHERE)
pods = pytest.mark.parametrize("service", PODS)


@pytest.mark.canary
@pytest.mark.health
class TestHealth:
    @pytest.mark.parametrize("host", ["web", "api"])
    def test_health(self, target: Target, host: str) -> None:
        answer = target.get("/health", host)
        assert answer.status_code == 200, answer.text
        assert answer.json() == {"status": "healthy"}

    def test_health_answers_head_requests_of_probes(self, target: Target) -> None:
        answer = target.ask("HEAD", "/health")
        assert answer.status_code == 200
        assert not answer.content

    @services
    def test_the_side_under_test_answers_with_the_released_version(
        self, target: Target, service: str, measured: Measured
    ) -> None:
        answer = target.get(ANYWHERE[service])
        version, side = (answer.headers.get(f"x-tars-{x}") for x in ("version", "deployment"))
        measured(f"{version} ({side})", "version", f"{VERSION} ({target.deployment})", service)
        assert version == VERSION

    @services
    def test_the_side_under_test_answers(self, target: Target, service: str) -> None:
        side = target.get(ANYWHERE[service]).headers.get("x-tars-deployment")
        assert side == target.deployment

    @services
    def test_nobody_may_keep_an_answer(self, target: Target, service: str) -> None:
        assert target.get(ANYWHERE[service]).headers.get("cache-control") == "no-store"

    @services
    def test_browsers_do_not_guess_types(self, target: Target, service: str) -> None:
        answer = target.get(ANYWHERE[service])
        assert answer.headers.get("x-content-type-options") == "nosniff"


@pytest.mark.canary
@pytest.mark.pods
class TestPods:
    @pods
    def test_every_pod_is_scraped(self, target: Target, service: str) -> None:
        assert all(each.value == 1 for each in target.samples("up", service))

    @pods
    def test_every_pod_runs_the_released_version(self, target: Target, service: str) -> None:
        versions = {each.labels.get("version") for each in target.samples("up", service)}
        assert versions == {VERSION}

    @pods
    def test_every_pod_has_memory_left(
        self, target: Target, service: str, measured: Measured
    ) -> None:
        found = target.samples("process_resident_memory_bytes", service)
        most = max(each.value for each in found)
        measured(round(most / 2**20), "MiB", "< 2.5 GB", service)
        assert most < 2.5e9

    @pods
    def test_every_pod_has_file_descriptors_left(
        self, target: Target, service: str, measured: Measured
    ) -> None:
        most = {each.pod: each.value for each in target.samples("process_max_fds", service)}
        used = target.samples("process_open_fds", service)
        share = max(each.value / most[each.pod] for each in used)
        measured(round(share, 3), "share", "< 80 %", service)
        assert share < 0.8

    @pods
    def test_no_pod_piles_up_goroutines(
        self, target: Target, service: str, measured: Measured
    ) -> None:
        most = max(each.value for each in target.samples("go_goroutines", service))
        measured(most, "count", "< 10 000", service)
        assert most < 10_000
