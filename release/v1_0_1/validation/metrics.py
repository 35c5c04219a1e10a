"""Do the pods export what the gates, alerts and dashboards ask for?"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import pytest

from validation.asking import ANYWHERE, SERVICES

if TYPE_CHECKING:
    from conftest import Target

LIMITS = {"0.05", "0.09", "0.1", "0.11", "0.12", "+Inf"}
"""Bounds of the histogram, in seconds, that a gate or an alert has as its limit."""
services = pytest.mark.parametrize("service", SERVICES)
BUCKETS = "http_request_duration_seconds_bucket"
COUNT = "http_request_duration_seconds_count"


@pytest.mark.canary
@pytest.mark.metrics
class TestMetrics:
    @services
    def test_requests_are_told_apart(self, target: Target, service: str) -> None:
        for each in target.samples("http_requests_total", service):
            assert {"status", "method", "path"} <= set(each.labels)

    @services
    def test_requests_are_counted(self, target: Target, service: str) -> None:
        def total() -> float:
            return sum(each.value for each in target.samples("http_requests_total", service))

        before = total()
        target.get(ANYWHERE[service] if service != "dashboard-api" else "/")
        target.wait_for("a request that is counted", lambda: total() > before)

    @services
    def test_server_errors_are_announced(self, target: Target, service: str) -> None:
        """A series that exists before the first error makes that error an increase."""
        by_path: dict[str, set[str]] = defaultdict(set)
        for each in target.samples("http_requests_total", service):
            by_path[each.labels["path"]].add(each.labels["status"])
        assert all("500" in statuses for statuses in by_path.values())

    @services
    def test_the_limits_are_bounds(self, target: Target, service: str) -> None:
        bounds = {each.labels["le"] for each in target.samples(BUCKETS, service)}
        assert bounds >= LIMITS

    @services
    def test_buckets_only_grow(self, target: Target, service: str) -> None:
        series: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
        for each in target.samples(BUCKETS, service):
            series[each.pod, each.labels["path"]].append((float(each.labels["le"]), each.value))
        for buckets in series.values():
            counts = [count for _, count in sorted(buckets)]
            assert counts == sorted(counts)

    @services
    def test_every_duration_is_in_the_last_bucket(self, target: Target, service: str) -> None:
        def sums() -> tuple[float, float]:
            last = target.samples(BUCKETS, service, le="+Inf")
            counts = target.samples(COUNT, service)
            return sum(x.value for x in last), sum(x.value for x in counts)

        target.samples(COUNT, service)
        target.wait_for("equal counts", lambda: len(set(sums())) == 1)

    @services
    def test_paths_are_routes_not_addresses(self, target: Target, service: str) -> None:
        """An id in a label is a new series for each row."""
        paths = {each.labels["path"] for each in target.samples(COUNT, service)}
        assert "other" in paths
        assert not any(part.isdigit() for path in paths for part in path.split("/"))

    def test_open_sessions_are_counted(self, target: Target) -> None:
        found = target.samples("websocket_connections_open", "orchestration-agent")
        assert all(each.value >= 0 for each in found)

    def test_both_ends_of_a_reconnection_are_announced(self, target: Target) -> None:
        found = target.samples("websocket_reconnects_total", "orchestration-agent")
        assert {each.labels["result"] for each in found} == {"success", "failure"}

    def test_the_buffers_of_ppo_agents_are_measured(self, target: Target) -> None:
        assert all(each.value > 0 for each in target.samples("ppo_buffer_bytes", "ppo-agent"))
