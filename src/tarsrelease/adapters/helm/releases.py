"""Helm releases of one namespace, by the helm binary (version 4; 3 is accepted)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import yaml

from tarsrelease.adapters.helm.process import Failure, find_helm, run
from tarsrelease.adapters.helm.rendered_yaml import fault, rendered_objects
from tarsrelease.adapters.other_shapes import UNREADABLE, excerpt, explained_by
from tarsrelease.model.cluster import Revision
from tarsrelease.model.errors import StoppedError, UsageError

_READING = 30.0
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def laid_over(values: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Values laid over each other as Helm does: maps are merged, all else is replaced."""
    merged: dict[str, Any] = {}
    for layer in values:
        for key, value in layer.items():
            below = merged.get(key)
            if isinstance(below, dict) and isinstance(value, Mapping):
                merged[key] = laid_over([below, value])
            else:
                merged[key] = value
    return merged


def _unreadable(error: Exception) -> UsageError:
    if isinstance(error, yaml.YAMLError):
        return UsageError(
            doing="reading what Helm renders",
            found=fault(error),
            expected="objects that every reader of YAML reads alike",
            next_step="correct the chart's templates",
        )
    return UsageError(
        doing="reading Helm's output",
        found=f"it has another shape ({excerpt(error)})",
        expected="the output of Helm 3 or 4",
        next_step="check which program TARSRELEASE_HELM and PATH lead to, and its plugins",
    )


@explained_by(_unreadable, (*UNREADABLE, yaml.YAMLError))
class Helm:
    """Charts by the helm binary."""

    def __init__(
        self, context: str | None, namespace: str, variables: Mapping[str, str] | None = None
    ) -> None:
        """`variables` is Helm's environment, by default what it needs to log in."""
        self._namespace = namespace
        self._variables = variables
        self._where = ["--namespace", namespace, *(["--kube-context", context] if context else [])]

    def history(self, release: str) -> list[Revision]:
        """The release's revisions, oldest first; empty if there is no such release."""
        try:
            said = self._run(["history", release, "--max", "256", "--output", "json"])
        except Failure as failure:
            if failure.not_found:
                return []
            raise failure.explained(
                f"reading the history of Helm release {release}", self._namespace, changing=False
            ) from failure
        return sorted(
            (
                Revision(
                    number=found["revision"],
                    status=found["status"],
                    chart=found.get("chart") or "",
                    app_version=found.get("app_version") or "",
                )
                for found in json.loads(said)
            ),
            key=lambda revision: revision.number,
        )

    def running(self, release: str) -> str | None:
        """The version that is deployed, as Helm records it; None if there is none."""
        deployed = [one for one in self.history(release) if one.status == "deployed"]
        return deployed[-1].app_version if deployed else None

    def upgrade(
        self,
        release: str,
        chart: str,
        values: Sequence[Mapping[str, Any]],
        *,
        values_from: str | None,
        deadline: float,
        wait: bool = True,
    ) -> None:
        """Install or upgrade.

        Conflicting fields are taken over: what stands there besides is a replica count that
        somebody, or tarsrelease itself, has scaled, and it is scaled again afterwards.

        `wait` is Helm's own waiting. It needs the rights to list and watch everything down to
        ReplicaSets and pods, and reports a right that is missing as an unknown status when its
        time is up; so the steps of a release go without it, and look themselves.
        """
        self._change(
            f"installing {release}",
            # CRDs are the cluster's and exist before a release: preflight checks it.
            ["upgrade", release, chart, "--install", "--skip-crds", "--values", "-"]
            + self._serverside()
            + (["--wait"] if wait else []),
            deadline,
            stdin=self._values(values, values_from),
        )

    def rollback(self, release: str, revision: int, *, deadline: float, wait: bool = True) -> None:
        """Back to `revision`; see `upgrade` for what is waited for."""
        self._change(
            f"rolling {release} back to revision {revision}",
            ["rollback", release, str(revision), *self._serverside()]
            + (["--wait"] if wait else []),
            deadline,
        )

    def uninstall(self, release: str, *, deadline: float) -> None:
        """Remove the release; none there is no error.

        Its objects are gone when this returns, as Kubernetes deletes them in the background; the
        pods then end by themselves, in their own time.
        """
        try:
            self._change(
                f"removing {release}", ["uninstall", release, "--ignore-not-found"], deadline
            )
        except StoppedError:
            # Another run, killed while it did the same, may have come to its end just before.
            if self.history(release):
                raise

    def render(
        self,
        release: str,
        chart: str,
        values: Sequence[Mapping[str, Any]],
        *,
        values_from: str | None,
    ) -> list[dict[str, Any]]:
        """The objects, hooks included, that `upgrade` would apply."""
        try:
            said = self._run(
                ["template", release, chart, "--include-crds", "--values", "-", *self._asking()],
                stdin=self._values(values, values_from),
            )
        except Failure as failure:
            raise failure.explained(
                f"rendering {chart} as {release}", self._namespace, changing=False
            ) from failure
        return rendered_objects(said)

    def planned(
        self,
        release: str,
        chart: str,
        values: Sequence[Mapping[str, Any]],
        *,
        values_from: str | None,
    ) -> list[dict[str, Any]]:
        """The objects, hooks included, of `upgrade`'s own dry run on the server."""
        try:
            said = self._run(
                [
                    *("upgrade", release, chart, "--install", "--skip-crds", "--dry-run=server"),
                    *("--output", "json", "--values", "-", *self._serverside()),
                ],
                stdin=self._values(values, values_from),
            )
        except Failure as failure:
            raise failure.explained(
                f"trying the upgrade of {release}", self._namespace, changing=False
            ) from failure
        found = json.loads(said)
        texts = [found.get("manifest") or ""]
        texts += [hook.get("manifest") or "" for hook in found.get("hooks") or []]
        return [each for text in texts for each in rendered_objects(text)]

    def defaults(self, chart: str) -> dict[str, Any]:
        """The chart's own values."""
        try:
            said = run(self._program, ["show", "values", chart], stdin=None, deadline=_READING)
        except Failure as failure:
            raise failure.explained(
                f"reading the values of {chart}", self._namespace, changing=False
            ) from failure
        found: dict[str, Any] = yaml.load(said, Loader=_Loader) or {}  # noqa: S506 - a safe one
        return found

    def crds(self, chart: str) -> list[dict[str, Any]]:
        """The definitions in the chart's crds/ and in those of its subcharts."""
        try:
            said = run(self._program, ["show", "crds", chart], stdin=None, deadline=_READING)
        except Failure as failure:
            raise failure.explained(
                f"reading the CRDs of {chart}", self._namespace, changing=False
            ) from failure
        return rendered_objects(said)

    @cached_property
    def _program(self) -> str:
        return find_helm()

    def version(self) -> str:
        """What the binary says, such as ``Helm v4.2.3``. Raises UsageError for a version that is
        not supported."""
        said = self._said_version
        return f"Helm {said}, major version {self._major}"

    @cached_property
    def _said_version(self) -> str:
        try:
            return run(
                self._program,
                ["version", "--template", "{{.Version}}"],
                stdin=None,
                deadline=_READING,
            ).strip()
        except Failure as failure:
            raise failure.explained(
                "asking Helm for its version", self._namespace, changing=False
            ) from failure

    @cached_property
    def _major(self) -> int:
        said = self._said_version
        major = said.lstrip("v").split(".")[0]
        if not major.isdigit() or int(major) not in (3, 4):
            raise UsageError(
                doing="asking Helm for its version",
                found=said or "no answer",
                expected="version 3 or 4",
                next_step="install Helm 4, or set TARSRELEASE_HELM to the path of one",
            )
        return int(major)

    def _asking(self) -> list[str]:
        """The cluster's capabilities and objects are asked for, where there is a cluster."""
        return ["--dry-run=server"] if self._variables is None else []

    def _serverside(self) -> list[str]:
        return ["--server-side=true", "--force-conflicts"] if self._major >= 4 else []

    def _values(self, values: Sequence[Mapping[str, Any]], values_from: str | None) -> str:
        """All layers merged, as JSON, which is YAML too. Handed over by standard input."""
        below = [self._given_to(values_from)] if values_from else []
        return json.dumps(laid_over([*below, *values]))

    def values(self, release: str) -> dict[str, Any] | None:
        """All values that the release was rendered with; None if there is no such release."""
        return self._values_of(release, "--all")

    def _given_to(self, release: str) -> dict[str, Any]:
        """The values that the user gave the release; none if there is no such release."""
        return self._values_of(release) or {}

    def _values_of(self, release: str, *which: str) -> dict[str, Any] | None:
        try:
            said = self._run(["get", "values", release, *which, "--output", "json"])
        except Failure as failure:
            if failure.not_found:
                return None
            raise failure.explained(
                f"reading the values of Helm release {release}", self._namespace, changing=False
            ) from failure
        found: dict[str, Any] = json.loads(said) or {}
        return found

    def _run(self, arguments: list[str], stdin: str | None = None) -> str:
        return run(
            self._program,
            [*arguments, *self._where],
            stdin=stdin,
            deadline=_READING,
            variables=self._variables,
        )

    def _change(
        self, doing: str, arguments: list[str], deadline: float, stdin: str | None = None
    ) -> None:
        timeout = ["--timeout", f"{max(1, round(deadline))}s"]
        try:
            run(
                self._program,
                [*arguments, *timeout, "--debug", *self._where],  # its log has the reasons
                stdin=stdin,
                deadline=deadline,
            )
        except Failure as failure:
            raise failure.explained(doing, self._namespace, changing=True) from failure
