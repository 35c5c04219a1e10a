"""Change one key of a ConfigMap that several writers share; its other keys are kept."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from tarsrelease.adapters.kubernetes.client import CONFIG_MAP, Conflict, KubernetesApi
from tarsrelease.model.errors import StoppedError

_ATTEMPTS = 10


@dataclass(frozen=True, slots=True)
class SharedKey:
    """A key of a ConfigMap. `what` names its content in errors, `next_step` is their remedy."""

    cluster: KubernetesApi
    config_map: str
    key: str
    what: str
    next_step: str

    def read(self) -> str:
        """The text of the key; empty if there is none."""
        found = self.cluster.get(CONFIG_MAP, self.config_map) or {}
        text: str = (found.get("data") or {}).get(self.key, "")
        return text

    def change(self, act: Callable[[str], str | None]) -> None:
        """Replace the text by what `act` makes of it; None changes nothing.

        If another writer changes the ConfigMap meanwhile, `act` is called again with the new text.
        Raises StoppedError if that happens at every attempt.
        """
        for attempt in range(_ATTEMPTS):
            found = self.cluster.get(CONFIG_MAP, self.config_map)
            body = found or {"metadata": {"name": self.config_map}}
            data = body.get("data") or {}
            text = act(data.get(self.key, ""))
            if text is None:
                return
            body["data"] = {**data, self.key: text}
            try:
                if found is None:
                    self.cluster.create(CONFIG_MAP, body)
                else:
                    self.cluster.replace(CONFIG_MAP, body)
            except Conflict:
                time.sleep(random.uniform(0, 0.05 * (attempt + 1)))  # noqa: S311 - no secret
                continue
            return
        raise StoppedError(
            doing=f"writing the {self.what}, configmap/{self.config_map}",
            found=f"another writer changed it during each of {_ATTEMPTS} attempts",
            expected="one writer at a time",
            next_step=self.next_step,
        )
