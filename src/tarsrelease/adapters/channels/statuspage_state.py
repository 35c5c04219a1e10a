"""What the status page shows: active incidents, and the release's own maintenance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tarsrelease.adapters.channels.posting import Provider, secret
from tarsrelease.model.notifications import Statuspage
from tarsrelease.model.people import ActiveIncident
from tarsrelease.report.notices.statuspage import ENDED, STATUSPAGE

_DEADLINE = 20.0
_NEWEST = 100
_TO_COME = "scheduled"


class StatuspageState:
    """The port `Incidents` on one page. `own` is the key of the release's maintenance."""

    def __init__(self, settings: Statuspage, own: str) -> None:
        self._settings, self._own = settings, own
        self._provider = Provider(STATUSPAGE, _DEADLINE)

    def active(self) -> Sequence[ActiveIncident]:
        """See `Incidents`. A maintenance that is still to come is not active."""
        return [
            _incident(each)
            for each in self._newest()
            if each.get("status") not in (*ENDED, _TO_COME) and _key(each) != self._own
        ]

    def maintenance(self) -> ActiveIncident | None:
        """The release's own maintenance that has not ended; None if there is none."""
        return next(
            (
                _incident(each)
                for each in self._newest()
                if _key(each) == self._own and each.get("status") not in ENDED
            ),
            None,
        )

    def _newest(self) -> Sequence[Mapping[str, Any]]:
        page = f"{self._settings.url.rstrip('/')}/v1/pages/{self._settings.page}"
        token = secret(self._settings.token_env, STATUSPAGE)
        answer = self._provider.request(
            "GET",
            f"{page}/incidents?limit={_NEWEST}",
            headers={"Authorization": f"OAuth {token}"},
        )
        try:
            listed = answer.json()
        except ValueError:
            raise self._provider.away("an answer that is not JSON") from None
        if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed):
            raise self._provider.away("a list of incidents in another shape")
        return listed


def _key(incident: Mapping[str, Any]) -> str:
    metadata = incident.get("metadata")
    own = metadata.get("tarsrelease") if isinstance(metadata, dict) else None
    return str(own.get("key")) if isinstance(own, dict) else ""


def _incident(found: Mapping[str, Any]) -> ActiveIncident:
    return ActiveIncident(
        title=str(found.get("name") or ""),
        status=str(found.get("status") or ""),
        link=str(found.get("shortlink") or ""),
    )
