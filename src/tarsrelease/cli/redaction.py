"""What leaves the process: no secret, and nothing that a terminal would obey.

Lease holders, pods, servers' errors and bundles are written by others. All that is printed, logged
or recorded passes here, and nowhere else is anything masked.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from tarsrelease.cli.secret_values import (
    environment_file,
    secrets_of_environment,
    secrets_of_kubeconfig,
)
from tarsrelease.model.outcome import Check, Observed, Outcome

if TYPE_CHECKING:
    from tarsrelease.adapters.terminal.progress import ClosingProgress

_MASK = "***"
_SHORTEST = 4
"""Characters: masking a shorter value would star out words."""
_LARGEST_KUBECONFIG = 16 * 2**20
"""Bytes: some thousand clusters with certificates."""
_MANY = 32
"""Secrets."""
_LIBRARIES = ("httpx", "httpcore", "urllib3", "kubernetes")


class Redaction:
    """Masks these secrets, line by line, and shows control characters by number."""

    def __init__(self, secrets: Iterable[str]) -> None:
        lines = {line.strip() for value in secrets for line in value.splitlines()}
        self._secrets = sorted((one for one in lines if len(one) >= _SHORTEST), key=len)[::-1]
        self._starts = frozenset(secret[:_SHORTEST] for secret in self._secrets)

    def text(self, text: str) -> str:
        """The text as it may be shown."""
        if len(self._secrets) < _MANY or self._may_be_in(text):
            for secret in self._secrets:
                text = text.replace(secret, _MASK)
        if text.replace("\n", "").replace("\t", "").isprintable():
            return text
        return "".join(
            one if one.isprintable() or one in "\n\t" else ascii(one)[1:-1] for one in text
        )

    def _may_be_in(self, text: str) -> bool:
        """Whether some secret begins in the text: quicker than searching for each of many."""
        starts, last = self._starts, len(text) - _SHORTEST
        return any(text[at : at + _SHORTEST] in starts for at in range(last + 1))

    def check(self, check: Check) -> Check:
        """The result, its texts as they may be shown."""
        observed = check.observed
        if observed is not None and isinstance(observed.value, str):
            observed = Observed(value=self.text(observed.value), unit=observed.unit)
        shown = {
            "expected": self.text(check.expected),
            "reason": self.text(check.reason),
            "source": self.text(check.source),
            "observed": observed,
        }
        changed = {name: each for name, each in shown.items() if each != getattr(check, name)}
        return check.model_copy(update=changed) if changed else check

    def outcome(self, outcome: Outcome) -> Outcome:
        """The outcome, its texts as they may be shown; ids, verdicts and numbers stay."""
        error = outcome.error
        if error is not None:
            error = error.model_copy(
                update={key: self.text(value) for key, value in error.model_dump().items()}
            )
        return outcome.model_copy(
            update={
                "summary": self.text(outcome.summary),
                "next": self.text(outcome.next),
                "checks": tuple(self.check(check) for check in outcome.checks),
                "error": error,
                "details": self._plain(outcome.details),
            }
        )

    def _plain(self, value: Any) -> Any:
        if isinstance(value, str) and type(value) is str:
            return self.text(value)
        if isinstance(value, BaseModel):
            fields = {name: getattr(value, name) for name in type(value).model_fields}
            fields |= value.model_extra or {}
            plain = {name: self._plain(each) for name, each in fields.items()}
            changed = {name: each for name, each in plain.items() if each != fields[name]}
            return value.model_copy(update=changed) if changed else value
        if isinstance(value, Mapping):
            return {key: self._plain(each) for key, each in value.items()}
        if type(value) in (list, tuple):
            return type(value)(self._plain(each) for each in value)
        return value


def redaction(environment: str | None, variables: Mapping[str, str] | None = None) -> Redaction:
    """For all secrets that this process can know: those of the variables that the environment's
    file names, and those of the kubeconfig in use."""
    variables = os.environ if variables is None else variables
    file = environment_file(environment) if environment else Path(os.devnull)
    found = secrets_of_environment(file, variables)
    for name in filter(None, variables.get("KUBECONFIG", "").split(os.pathsep)):
        try:
            if environment and os.path.getsize(name) <= _LARGEST_KUBECONFIG:  # noqa: PTH202
                found += secrets_of_kubeconfig(Path(name).read_text("utf-8"))
        except (OSError, ValueError):
            continue  # the command itself says what is wrong with it
    return Redaction(found)


class RedactedProgress:
    """Progress whose lines may be shown."""

    def __init__(self, inner: ClosingProgress, redaction: Redaction) -> None:
        self._inner = inner
        self._redaction = redaction

    def say(self, line: str) -> None:
        """See `Progress.say`."""
        self._inner.say(self._redaction.text(line))

    def evaluated(
        self,
        stage: str,
        weight: int | None,
        elapsed: float,
        planned: float,
        *,
        checks: Iterable[Check],
    ) -> None:
        """See `Progress.evaluated`."""
        shown = [self._redaction.check(check) for check in checks]
        self._inner.evaluated(stage, weight, elapsed, planned, checks=shown)

    def paused(self) -> AbstractContextManager[None]:
        """See `ClosingProgress.paused`."""
        return self._inner.paused()

    def close(self) -> None:
        """See `ClosingProgress.close`."""
        self._inner.close()


class NamedProgress:
    """Progress of one of several targets: its lines begin with the target's name."""

    def __init__(self, inner: ClosingProgress, name: str) -> None:
        self._inner = inner
        self._name = name

    def say(self, line: str) -> None:
        """See `Progress.say`."""
        self._inner.say(f"{self._name}: {line}")

    def evaluated(
        self,
        stage: str,
        weight: int | None,
        elapsed: float,
        planned: float,
        *,
        checks: Iterable[Check],
    ) -> None:
        """See `Progress.evaluated`."""
        self._inner.evaluated(f"{self._name}: {stage}", weight, elapsed, planned, checks=checks)

    def paused(self) -> AbstractContextManager[None]:
        """See `ClosingProgress.paused`."""
        return self._inner.paused()

    def close(self) -> None:
        """See `ClosingProgress.close`."""
        self._inner.close()


class _Formatter(logging.Formatter):
    def __init__(self, redaction: Redaction) -> None:
        super().__init__("%(levelname)s:%(name)s:%(message)s")
        self._redaction = redaction

    def format(self, record: logging.LogRecord) -> str:
        return self._redaction.text(super().format(record))


def log_to_stderr(redaction: Redaction, *, verbose: bool) -> None:
    """Log on standard error, if `verbose`. Of libraries' logs only warnings: they log whole
    addresses."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(redaction))
    own, libraries = (logging.INFO, logging.WARNING) if verbose else (logging.CRITICAL,) * 2
    logging.basicConfig(handlers=[handler], level=own, force=True)
    for name in _LIBRARIES:
        logging.getLogger(name).setLevel(libraries)
