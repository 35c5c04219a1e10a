"""The journal on the cluster: a bounded ConfigMap per application."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pydantic import ValidationError

from tarsrelease.adapters.kubernetes.client import KubernetesApi
from tarsrelease.adapters.kubernetes.config_map import SharedKey
from tarsrelease.adapters.kubernetes.shape import reads_answers
from tarsrelease.model.errors import UsageError
from tarsrelease.model.journal import Entry

_MOST_ENTRIES = 200
_MOST_BYTES = 700_000
"""A ConfigMap holds 1 MiB; the rest is left for other keys and for the object's own fields."""


def bounded(entries: Sequence[Entry], most: int = _MOST_ENTRIES) -> list[Entry]:
    """At most `most` entries: the oldest of other releases go first, then the oldest."""
    too_many = len(entries) - most
    if too_many <= 0:
        return list(entries)
    newest = entries[-1].release
    others = [number for number, entry in enumerate(entries) if entry.release != newest]
    dropped = set(others[:too_many])
    kept = [entry for number, entry in enumerate(entries) if number not in dropped]
    return kept[-most:]


@reads_answers
class ConfigMapJournal:
    """ConfigMap ``tarsrelease-<application>``, key ``journal.jsonl``; other keys are kept."""

    def __init__(
        self,
        cluster: KubernetesApi,
        application: str,
        heads: Callable[[], tuple[str, ...]] = tuple,
    ) -> None:
        """`heads` are those of the evidence, which every entry records if they have changed."""
        self._heads = heads
        self._recorded: tuple[str, ...] = ()
        self._name = f"tarsrelease-{application}"
        self._stored = SharedKey(
            cluster,
            self._name,
            "journal.jsonl",
            what="journal",
            next_step="see `tarsrelease status`, then run this command again",
        )

    def append(self, entry: Entry) -> None:
        """Append an entry. Retries if another run writes at the same time."""
        heads = self._heads()
        if heads != self._recorded:
            entry = entry.model_copy(update={"evidence": heads})
        self._stored.change(lambda text: _text([*self._parse(text), entry]))
        self._recorded = heads

    def entries(self) -> list[Entry]:
        """All entries, oldest first; empty if there is no journal."""
        return self._parse(self._stored.read())

    def _parse(self, text: str) -> list[Entry]:
        try:
            return [Entry.model_validate_json(line) for line in text.splitlines() if line.strip()]
        except ValidationError as error:
            raise UsageError(
                doing=f"reading the journal, configmap/{self._name}",
                found=f"an invalid line: {error.errors()[0]['msg']}",
                expected="a journal written by tarsrelease",
                next_step=f"remove the line: kubectl edit configmap {self._name}",
            ) from error


def _text(entries: list[Entry]) -> str:
    kept = bounded(entries)
    lines = [entry.model_dump_json() for entry in kept]
    while sum(map(len, lines)) > _MOST_BYTES and len(lines) > 1:
        kept = bounded(kept, len(kept) - 1)
        lines = [entry.model_dump_json() for entry in kept]
    return "".join(line + "\n" for line in lines)
