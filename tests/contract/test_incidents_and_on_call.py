"""Active incidents and who is on call, from PagerDuty and the status page."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pagerduty_rest_stand_in import PagerDutyApi, pagerduty_api
from statuspage_stand_in import Statuspage, statuspage_server

from tarsrelease.adapters.channels.statuspage_state import StatuspageState
from tarsrelease.adapters.pagerduty.rest import PagerDutyRest
from tarsrelease.model.errors import UnreachableError, UsageError
from tarsrelease.model.notifications import PagerDuty
from tarsrelease.model.notifications import Statuspage as Settings

T = datetime(2026, 12, 1, 9, tzinfo=UTC)
OWN = "shop/production/1.4.0/maintenance"


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[PagerDutyApi]:
    monkeypatch.setenv("PD_TOKEN", "read-only-key")
    with pagerduty_api("read-only-key") as server:
        yield server


def rest(server: PagerDutyApi, **more: Any) -> PagerDutyRest:
    known = {"routing_key_env": "KEY", "token_env": "PD_TOKEN", "api": server.url}
    return PagerDutyRest(PagerDuty.model_validate(known | more))


def reference(kind: str, key: str, summary: str | None) -> dict[str, Any]:
    return {"id": key, "type": f"{kind}_reference", "summary": summary, "self": None}


def incident(key: str, status: str, service: str = "PSHOP") -> dict[str, Any]:
    return {
        "id": key,
        "type": "incident",
        "title": f"problem {key}",
        "status": status,
        "html_url": f"https://shop.pagerduty.com/incidents/{key}",
        "service": reference("service", service, "Shop"),
    }


def on_call(person: str, level: int, end: str | None, policy: str = "PPOL") -> dict[str, Any]:
    schedule = reference("schedule", "PSCH", "Primary") if end else None
    return {
        "user": reference("user", person, f"{person.title()} Example"),
        "escalation_policy": reference("escalation_policy", policy, "Shop"),
        "escalation_level": level,
        "schedule": schedule,
        "start": None,
        "end": end,
    }


def test_all_incidents_since_a_moment_are_counted_resolved_ones_too(api: PagerDutyApi) -> None:
    api.entries["/incidents"] = [
        incident("P1", "resolved"),
        incident("P2", "triggered"),
        incident("P3", "resolved"),
        incident("P4", "resolved", service="POTHER"),
    ]
    assert rest(api, services=["PSHOP"]).raised(T, T + timedelta(hours=4)) == 3
    assert ("since", T.isoformat()) in api.asked[0]


def test_active_incidents_of_the_configured_services_from_every_page(api: PagerDutyApi) -> None:
    api.entries["/incidents"] = [
        incident("P1", "triggered"),
        incident("P2", "acknowledged"),
        incident("P3", "resolved"),
        incident("P4", "triggered", service="POTHER"),
        incident("P5", "triggered"),
    ]
    found = rest(api, services=["PSHOP"]).active()
    assert [(each.title, each.status) for each in found] == [
        ("problem P1", "triggered"),
        ("problem P2", "acknowledged"),
        ("problem P5", "triggered"),
    ]
    assert found[0].link == "https://shop.pagerduty.com/incidents/P1"
    assert len(api.asked) == 2, "two pages of two"
    assert len(rest(api).active()) == 4, "of the whole account without services"


def test_who_is_on_call_by_level(api: PagerDutyApi) -> None:
    end = "2026-12-01T15:28:51-05:00"
    api.entries["/oncalls"] = [
        on_call("bo", 2, None),
        on_call("ada", 1, end),
        on_call("cy", 1, end, policy="POTHER"),
    ]
    found = rest(api, escalation_policies=["PPOL"]).on_call(T)
    assert [(each.level, each.person, each.schedule) for each in found] == [
        (1, "Ada Example", "Primary"),
        (2, "Bo Example", ""),
    ]
    assert found[0].until == datetime.fromisoformat(end)
    assert found[1].until is None
    assert ("since", T.isoformat()) in api.asked[0]


def test_a_busy_provider_is_asked_again_and_a_wrong_key_is_an_error(
    api: PagerDutyApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.busy = [503]
    assert rest(api).active() == []
    monkeypatch.setenv("PD_TOKEN", "another-key")
    with pytest.raises(UsageError, match="401") as refused:
        rest(api).active()
    assert "another-key" not in str(refused.value.detail)


def test_an_answer_in_another_shape_is_no_empty_list(api: PagerDutyApi) -> None:
    api.entries["/oncalls"] = [{**on_call("ada", 1, None)}]
    found = api.entries["/oncalls"][0]
    found["user"]["id"], found["user"]["summary"] = "", None
    assert rest(api).on_call(T)[0].person == ""
    broken = rest(api)
    with pytest.raises(UnreachableError, match="without incidents"):
        broken._all("/oncalls", "incidents", [])


def test_without_a_token_it_says_what_to_add(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="no token_env"):
        PagerDutyRest(PagerDuty(routing_key_env="KEY"))
    monkeypatch.delenv("PD_TOKEN", raising=False)
    with pytest.raises(UsageError, match="PD_TOKEN is not set"):
        PagerDutyRest(PagerDuty(routing_key_env="KEY", token_env="PD_TOKEN"))


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Iterator[Statuspage]:
    monkeypatch.setenv("PAGE_TOKEN", "page-token")
    with statuspage_server("abc123", "page-token") as server:
        yield server


def state(server: Statuspage) -> StatuspageState:
    return StatuspageState(Settings(page="abc123", token_env="PAGE_TOKEN", url=server.url), OWN)


def shown(name: str, status: str, key: str = "") -> dict[str, Any]:
    metadata = {"tarsrelease": {"key": key}} if key else {}
    return {"id": name, "name": name, "status": status, "metadata": metadata}


def test_own_maintenance_and_what_is_over_or_to_come_do_not_count(page: Statuspage) -> None:
    page.incidents = [
        shown("ours", "in_progress", OWN),
        shown("database upgrade", "in_progress"),
        shown("checkout", "identified"),
        shown("last week", "resolved"),
        shown("next week", "scheduled"),
        shown("reviewed", "postmortem"),
        shown("finished", "completed"),
    ]
    found = state(page).active()
    assert [each.title for each in found] == ["database upgrade", "checkout"]
    own = state(page).maintenance()
    assert own is not None
    assert (own.title, own.status) == ("ours", "in_progress")
    page.incidents = page.incidents[1:]
    assert state(page).maintenance() is None


def test_a_page_that_does_not_answer_is_an_error(page: Statuspage) -> None:
    page.busy = [401]
    with pytest.raises(UsageError, match="401"):
        state(page).active()
