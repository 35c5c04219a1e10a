"""The outbox of notices, stored in the ConfigMap of the journal."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from pydantic import ValidationError

from tarsrelease.adapters.kubernetes.client import CONFIG_MAP, Conflict, KubernetesApi
from tarsrelease.adapters.kubernetes.shape import reads_answers
from tarsrelease.model.errors import StoppedError
from tarsrelease.model.notice import Outgoing

_KEY = "outbox.json"
_ATTEMPTS = 10


@reads_answers
class ConfigMapOutgoing:
    """ConfigMap ``tarsrelease-<application>``, key ``outbox.json``; other keys are kept."""

    def __init__(self, cluster: KubernetesApi, application: str) -> None:
        self._cluster, self._name = cluster, f"tarsrelease-{application}"

    def read(self) -> Outgoing:
        """The outbox; empty if there is none, or if it cannot be read."""
        return _parsed(self._cluster.get(CONFIG_MAP, self._name) or {})

    def change(self, act: Callable[[Outgoing], Outgoing]) -> Outgoing:
        """See `OutgoingStore`."""
        for attempt in range(_ATTEMPTS):
            found = self._cluster.get(CONFIG_MAP, self._name)
            body = found or {"metadata": {"name": self._name}}
            before = _parsed(body)
            after = act(before)
            if after == before:
                return after
            body["data"] = {**(body.get("data") or {}), _KEY: after.model_dump_json()}
            try:
                if found is None:
                    self._cluster.create(CONFIG_MAP, body)
                else:
                    self._cluster.replace(CONFIG_MAP, body)
            except Conflict:
                time.sleep(random.uniform(0, 0.05 * (attempt + 1)))  # noqa: S311 - no secret
                continue
            return after
        raise StoppedError(
            doing=f"writing the outbox, configmap/{self._name}",
            found=f"another writer changed it during each of {_ATTEMPTS} attempts",
            expected="one writer at a time",
            next_step="the release continues; some messages may be sent twice",
        )


def _parsed(body: dict[str, object]) -> Outgoing:
    data = body.get("data")
    text = data.get(_KEY) if isinstance(data, dict) else None
    try:
        return Outgoing.model_validate_json(text) if text else Outgoing()
    except ValidationError:
        return Outgoing()  # of another version: its notices are sent anew at worst
