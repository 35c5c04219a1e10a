"""Build the sources of verify; imports each library only where it is used."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tarsrelease.adapters.kubernetes.schema import ObjectSchema
    from tarsrelease.adapters.sigstore.attestations import SigstoreSignatures
    from tarsrelease.bundle.sources import Means, Signatures
    from tarsrelease.model.bundle import Source
    from tarsrelease.model.environment import Environment
    from tarsrelease.model.outcome import Outcome
    from tarsrelease.model.verification import Commit
    from tarsrelease.ports.clock import Clock


@dataclass(frozen=True, slots=True)
class Wishes:
    """The options of verify. `running` is the running version; if None, it is read from the
    cluster of `environment`, if given."""

    offline: bool = False
    checksums_only: bool = False
    require: Collection[str] = ()
    platform: str = "linux/amd64"
    layers: bool = False
    running: str | None = None
    environment: Environment | None = None
    quiet: bool = True
    attestations: tuple[Path, ...] = ()
    repository: str | None = None
    signer_workflow: str | None = None
    trusted_root: Path | None = None


NO_WISHES = Wishes()


def verified(
    folder: Path,
    wishes: Wishes = NO_WISHES,
    *,
    clock: Clock | None = None,
) -> Outcome:
    """The outcome of verify on this folder, with all sources of this machine."""
    from tarsrelease.adapters.clock import SystemClock
    from tarsrelease.adapters.files.bundle_files import FolderFiles
    from tarsrelease.adapters.files.configuration import read_manifest, read_rollout
    from tarsrelease.adapters.files.yaml_source import read_values
    from tarsrelease.adapters.terminal.hashing_bar import HashingBar
    from tarsrelease.bundle.sources import NOTHING
    from tarsrelease.steps.verify import Readers, Scope, verify

    with HashingBar(sys.stderr, quiet=wishes.quiet) as bar:
        outcome = verify(
            str(folder),
            files=FolderFiles(folder, hard_links=wishes.checksums_only, progress=bar),
            readers=Readers(read_manifest, read_rollout, read_values),
            clock=clock or SystemClock(),
            means=NOTHING if wishes.checksums_only else _means(folder, wishes),
            scope=Scope(wishes.checksums_only, wishes.offline, wishes.require),
        )
    place = wishes.environment
    return outcome.model_copy(update={"environment": place.name}) if place else outcome


def _means(folder: Path, wishes: Wishes) -> Means:
    from tarsrelease.adapters.files.configuration import read_bundle_input
    from tarsrelease.adapters.helm.chart_render import renderer
    from tarsrelease.bundle.sources import Means

    registry = None
    if not wishes.offline:
        from tarsrelease.adapters.registry.manifests import HttpRegistry

        registry = HttpRegistry()
    schema, schema_name = _schema(None if wishes.offline else wishes.environment)
    return Means(
        read_input=read_bundle_input,
        values_faults=_values_faults,
        render=renderer(wishes.environment.kubernetes.namespace)
        if wishes.environment
        else renderer(),
        object_faults=schema.faults,
        objects_by=schema_name,
        sql_faults=_sql_faults,
        commit=partial(_commit, folder),
        running=_running(wishes),
        registry=registry,
        signatures=_signatures(wishes),
        platform=wishes.platform,
        layers=wishes.layers,
    )


def _schema(environment: Environment | None) -> tuple[ObjectSchema, str]:
    """The schema of the environment's cluster, else the pinned one; and its name for reports."""
    from tarsrelease.adapters.kubernetes.schema import pinned_schema, served_schema
    from tarsrelease.model.errors import ReleaseError

    pinned = pinned_schema()
    if environment is None:
        return pinned, pinned.name
    from tarsrelease.adapters.kubernetes.client import KubernetesApi

    place = environment.kubernetes
    try:
        served = served_schema(KubernetesApi.connect(place.context, place.namespace).openapi())
    except ReleaseError as problem:
        return pinned, f"{pinned.name} (and not the cluster: {problem.detail.found})"
    return served, served.name


def _running(wishes: Wishes) -> Callable[[str], str | None] | None:
    if wishes.running is not None:
        return lambda _: wishes.running
    if wishes.offline or wishes.environment is None:
        return None
    from tarsrelease.adapters.helm.releases import Helm

    place = wishes.environment.kubernetes
    return Helm(place.context, place.namespace).running


def _signatures(wishes: Wishes) -> Signatures | None:
    """None without attestations. Raises UsageError if they cannot be pinned or verified."""
    if not wishes.attestations:
        return None
    return signatures(
        wishes.attestations, wishes.repository, wishes.signer_workflow, wishes.trusted_root
    )


def signatures(
    attestations: Sequence[Path],
    repository: str | None,
    signer_workflow: str | None,
    trusted_root: Path | None,
) -> SigstoreSignatures:
    """The attestations, pinned. Raises UsageError if they cannot be pinned or verified."""
    from tarsrelease.model.errors import UsageError

    if repository is None or signer_workflow is None:
        raise UsageError(
            doing="reading the attestations",
            found="--attestations without --repository and --signer-workflow",
            expected="the repository and workflow that sign, because anybody can make attestations",
            next_step="add --repository OWNER/NAME and "
            "--signer-workflow OWNER/NAME/.github/workflows/FILE",
        )
    try:
        from tarsrelease.adapters.sigstore.attestations import SigstoreSignatures
    except ImportError as problem:
        raise UsageError(
            doing="reading the attestations",
            found=f"sigstore is not installed ({problem})",
            expected="the extra: tarsrelease[sigstore]",
            next_step="pip install 'tarsrelease[sigstore]'",
        ) from problem
    return SigstoreSignatures(
        attestations,
        repository=repository,
        workflow=signer_workflow,
        trusted_root=trusted_root,
    )


def _values_faults(schema: bytes, values: Mapping[str, Any]) -> list[str]:
    from tarsrelease.adapters.helm.values_schema import bounded_values_faults

    return bounded_values_faults(schema, values)


def _sql_faults(path: str, content: bytes, phase: str) -> list[str]:
    from tarsrelease.adapters.postgres.squawk import squawk
    from tarsrelease.adapters.sql_parser import refusal
    from tarsrelease.bundle.sql import sql_faults

    problem = refusal(path, content)
    if problem is not None:
        return [problem.detail.found]
    return sql_faults(path, content, phase, squawk(_POSTGRES))


_POSTGRES = 17
"""Linted as for this major version; `migrate plan` does it again for the server's own."""


def _commit(folder: Path, source: Source) -> Commit | str:
    from tarsrelease.adapters.git.commits import commit_of

    return commit_of(folder, source)
