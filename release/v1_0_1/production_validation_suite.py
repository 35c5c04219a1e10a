"""Does T.A.R.S. v1.0.1 do in production what it was released for?

More than 200 tests in groups, each a module of `validation/`. Limits are those of the runbook.
Marks choose a group: health, pods, endpoint, access, paging, errors, latency, sockets, tracing,
metrics, database, cache, dashboards, hotfix; `canary` are those that a canary answers by header.
Every test only reads: what would write is sent without the right to.
"""

from __future__ import annotations

from validation.access import TestTokens, TestWriting, token
from validation.contracts import TestContracts, TestMeaning
from validation.dashboards import TestDashboards, TestMonitoring
from validation.errors import TestErrors
from validation.health import TestHealth, TestPods
from validation.hotfixes import (
    TestDashboardsLoad,
    TestMissionsUseTheirIndex,
    TestPPOMemory,
    TestTracesAreCovered,
    TestWebSocketsReconnect,
)
from validation.latency import TestLatency
from validation.metrics import TestMetrics
from validation.paging import TestPaging
from validation.sockets import TestSockets
from validation.storage import TestCache, TestDatabase
from validation.tracing import TestTracing

__all__ = [
    "TestCache",
    "TestContracts",
    "TestDashboards",
    "TestDashboardsLoad",
    "TestDatabase",
    "TestErrors",
    "TestHealth",
    "TestLatency",
    "TestMeaning",
    "TestMetrics",
    "TestMissionsUseTheirIndex",
    "TestMonitoring",
    "TestPPOMemory",
    "TestPaging",
    "TestPods",
    "TestSockets",
    "TestTokens",
    "TestTracesAreCovered",
    "TestTracing",
    "TestWebSocketsReconnect",
    "TestWriting",
    "token",
]
