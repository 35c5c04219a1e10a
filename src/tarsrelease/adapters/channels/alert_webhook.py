"""The webhook of `measure slo`: Slack's form, which other receivers read, too."""

from __future__ import annotations

import json

from tarsrelease.adapters.channels.posting import Provider
from tarsrelease.model.errors import ReleaseError
from tarsrelease.model.kpis import SloAlert


class AlertWebhook:
    """Delivers alerts to one address, which is never printed."""

    def __init__(self, address: str, environment: str) -> None:
        self._address, self._environment = address, environment
        self._provider = Provider("the alert webhook", 10.0)

    def tell(self, alert: SloAlert) -> bool:
        """Whether the receiver took the alert; never raises, as a dead receiver stops no watch."""
        word = "BREACH" if alert.state == "breach" else "RECOVERED"
        body = {
            "text": f"{word} {alert.check} in {self._environment}: {alert.observed}, expected "
            f"{alert.expected} ({alert.at})",
            "alert": json.loads(alert.model_dump_json(exclude={"delivered"})),
        }
        try:
            self._provider.request("POST", self._address, json=body)
        except ReleaseError:
            return False
        return True
