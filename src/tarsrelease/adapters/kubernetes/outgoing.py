"""The outbox of notices, stored in the ConfigMap of the journal."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import ValidationError

from tarsrelease.adapters.kubernetes.client import KubernetesApi
from tarsrelease.adapters.kubernetes.config_map import SharedKey
from tarsrelease.adapters.kubernetes.shape import reads_answers
from tarsrelease.model.notice import Outgoing


@reads_answers
class ConfigMapOutgoing:
    """ConfigMap ``tarsrelease-<application>``, key ``outbox.json``; other keys are kept."""

    def __init__(self, cluster: KubernetesApi, application: str) -> None:
        self._stored = SharedKey(
            cluster,
            f"tarsrelease-{application}",
            "outbox.json",
            what="outbox",
            next_step="the release continues; some messages may be sent twice",
        )

    def read(self) -> Outgoing:
        """The outbox; empty if there is none, or if it cannot be read."""
        return _parsed(self._stored.read())

    def change(self, act: Callable[[Outgoing], Outgoing]) -> Outgoing:
        """See `OutgoingStore`."""
        after = Outgoing()

        def changed(text: str) -> str | None:
            nonlocal after
            before = _parsed(text)
            after = act(before)
            return None if after == before else after.model_dump_json()

        self._stored.change(changed)
        return after


def _parsed(text: str) -> Outgoing:
    try:
        return Outgoing.model_validate_json(text) if text else Outgoing()
    except ValidationError:
        return Outgoing()  # of another version: its notices are sent anew at worst
