"""A rehearsal: start a cluster, run the release in it, and stop the cluster."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from tarsrelease.adapters.files.configuration import (
    environment_file,
    load_environment,
    load_manifest,
    load_release,
)
from tarsrelease.bundle.texts import checksums_text, sha256
from tarsrelease.model.bundle import CHECKSUMS, MANIFEST
from tarsrelease.model.errors import LockedError, StoppedError, UsageError
from tarsrelease.model.outcome import Outcome
from tarsrelease.model.release import RunOptions
from tarsrelease.ports.people import Progress
from tarsrelease.rehearsal import binaries, commands, product, world
from tarsrelease.rehearsal.faults import Fault, limits_of, parse_fault, selectors_of
from tarsrelease.rehearsal.images import backing_images
from tarsrelease.rehearsal.options import DayOptions
from tarsrelease.rehearsal.paths import Say, cache_root, locked, source_root


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """The options of a rehearsal.

    It runs on an embedded cluster with this `name`, or on the existing cluster of the kubeconfig's
    `context`. `release` and `environment` are the worked example's by default. `stage_duration` is
    in seconds, `rate` in requests per second. For another product, `images` is the file with the
    local command of each image, `previous` the bundle that runs first (by default an older one next
    to `release`), `role` the file with its Role, and `paths` are what the load requests;
    `canary_paths` are requested of the canary alone.
    """

    name: str
    evidence: Path
    faults: Sequence[str] = ()
    stages: Sequence[int] | None = None
    stage_duration: float | None = None
    context: str | None = None
    rate: float = 300.0
    release: Path | None = None
    environment: str | None = None
    images: Path | None = None
    previous: Path | None = None
    role: Path | None = None
    paths: Sequence[str] = ()
    canary_paths: Sequence[str] = ()
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class Prepared:
    """A rehearsal whose options are right: its faults, bundles, environment file and overrides."""

    day: Rehearsal
    faults: Sequence[Fault]
    bundle: Path
    previous: Path
    place: Path
    overrides: Mapping[str, Any]

    def options(self, work: str, **more: Any) -> DayOptions:
        """The options of a process that works in the folder `work`; `more` are its own."""
        day = self.day
        given = {
            "name": day.name,
            "previous": str(self.previous),
            "faults": tuple(day.faults),
            **more,
        }
        return DayOptions(
            release=_with_selectors(self.bundle, selectors_of(self.faults), Path(work)),
            evidence=str(day.evidence.absolute()),
            stages=",".join(str(weight) for weight in day.stages) if day.stages else None,
            rate=day.rate,
            quiet=day.quiet,
            paths=tuple(day.paths),
            canary_paths=tuple(day.canary_paths),
            work=work,
            **given,
        )

    def on_cluster(self, cluster: commands.Cluster, **more: Any) -> DayOptions:
        """The options of a process in the embedded cluster; `more` are its own."""
        return self.options(
            str(work_of(cluster)),
            tools={tool: tuple(cluster.tool(tool)) for tool in ("kubectl", "loadgen")},
            control=str(cluster.folder.socket),
            **more,
        )


def prepared(day: Rehearsal) -> Prepared:
    """Check the options, and read what they name. Raises UsageError for wrong ones."""
    chosen = [parse_fault(text) for text in day.faults]
    if day.context is not None and any(fault.prometheus for fault in chosen):
        raise UsageError(
            doing="reading --fault",
            found="a fault in Prometheus together with --context",
            expected="a fault in the services: the rehearsal does not change that Prometheus",
            next_step="omit --context or that fault",
        )
    overrides: dict[str, Any] = {}
    if day.stage_duration is not None:
        overrides["stage_duration"] = f"{day.stage_duration:g}s"
    if limits := limits_of(chosen):
        overrides["bad_share_limits"] = limits
    root = source_root()
    bundle = day.release or root / "release" / "v1_0_1"
    previous = day.previous or root / "release" / "v1_0_0"
    if day.images is not None:
        _refuse_faults(chosen)
    place = environment_file(day.environment or str(root / "environments" / "rehearsal.yaml"))
    stages = tuple(day.stages) if day.stages else None
    load_release(bundle, load_environment(str(place)), RunOptions(stages=stages))
    return Prepared(day, chosen, bundle, previous, place, overrides)


def play(day: Rehearsal, progress: Progress) -> Outcome:
    """Run the whole rehearsal; a cluster that it started ends with it.

    Raises UsageError for wrong options before anything is started.
    """
    ready = prepared(day)
    if day.images is not None:
        return _product(ready, progress.say)
    if day.context is not None:
        return _elsewhere(day.context, ready, progress.say)
    cluster = commands.up(day.name, progress.say, tied=True)
    try:
        with alone_on(cluster) as work:
            production = derived(ready.place, work, world.CONTEXT, ready.overrides)
            staging = _staging(production, work)
            return _inside(
                cluster, ready.on_cluster(cluster, environment=production, staging=staging)
            )
    finally:
        cluster.close()


def work_of(cluster: commands.Cluster) -> Path:
    """The folder of the rehearsal on this cluster."""
    return cluster.folder.data / "day"


@contextmanager
def alone_on(cluster: commands.Cluster) -> Iterator[Path]:
    """Hold the cluster against a second rehearsal; the folder to work in. Raises LockedError."""
    work = work_of(cluster)
    work.mkdir(mode=0o700, exist_ok=True)
    with locked(work / "lock", waiting=partial(_refuse_second, cluster.folder.name)):
        yield work


def _refuse_faults(chosen: Sequence[Fault]) -> None:
    if any(each.pods or each.usual or each.before_the_release for each in chosen):
        raise UsageError(
            doing="reading --fault",
            found="a fault of the services together with --images",
            expected="a fault of the traffic or of Prometheus: only the worked example's services "
            "have a switch for faults",
            next_step="give the new version's tag a command that fails, in the file of --images",
        )


def _product(ready: Prepared, say: Say) -> Outcome:
    """Rehearse another product on an embedded cluster."""
    day, bundle = ready.day, ready.bundle
    assert day.images is not None  # noqa: S101
    if day.environment is None or day.context is not None:
        raise UsageError(
            doing="rehearsing another product",
            found="--context" if day.context is not None else "no --environment",
            expected="--images with the product's own environment, on the embedded cluster",
            next_step="add --environment NAME, and omit --context",
        )
    local = product.read_images(day.images)
    role = day.role or Path("rbac") / "tarsrelease.yaml"
    with TemporaryDirectory(prefix="tarsrelease-") as folder:
        previous = day.previous or product.previous_bundle(bundle, Path(folder))
        manifests = [load_manifest(each / MANIFEST) for each in (previous, bundle)]
        found = product.entries(manifests, local)
        known = Path(folder) / "images.json"
        known.write_text(json.dumps({"images": backing_images()}))
        cluster = commands.up(day.name, say, tied=True, images=known)
        try:
            product.add_images(cluster.folder.images, found)
            with alone_on(cluster) as work:
                rollout = load_release(bundle, None).rollout
                production = product.environment(ready.place, work, rollout, ready.overrides)
                setup = work / "setup.json"
                documents = product.setup(production)
                setup.write_text(
                    json.dumps({"apiVersion": "v1", "kind": "List", "items": documents})
                )
                asked = ready.on_cluster(
                    cluster,
                    environment=production,
                    previous=str(previous.absolute()),
                    staging=None,
                    setup=str(setup),
                    role=str(role.absolute()) if role.is_file() else None,
                )
                return _inside(cluster, asked)
        finally:
            cluster.close()


def _refuse_second(name: str) -> None:
    """Refuse a second rehearsal: each begins by installing the previous version."""
    raise LockedError(
        doing=f"rehearsing a release on the cluster {name}",
        found="another rehearsal is running on it",
        expected="a cluster without another rehearsal",
        next_step="wait until it ends, or use another cluster with --name OTHER",
    )


def derived(
    source: Path, work: Path, context: str, overrides: Mapping[str, Any], *, database: bool = True
) -> str:
    """A file in `work`: the environment with the cluster's context and the overrides."""
    content: dict[str, Any] = yaml.safe_load(source.read_text())
    if not database:
        content.pop("database", None)
    content["kubernetes"]["context"] = context
    there = content.setdefault("overrides", {})
    for key, value in overrides.items():
        there[key] = {**there.get(key, {}), **value} if isinstance(value, dict) else value
    return _written(content, work / source.name)


def _staging(production: str, work: Path) -> str:
    """Staging: the same cluster, with its own namespace and host names."""
    content: dict[str, Any] = yaml.safe_load(Path(production).read_text())
    content["name"] = "staging"
    content["kubernetes"]["namespace"] = world.STAGING
    names = content["gateway"]["hostnames"]
    names.update({key: f"staging.{name}" for key, name in names.items()})
    return _written(content, work / "staging.yaml")


def _with_selectors(bundle: Path, changed: Mapping[str, str], work: Path) -> str:
    """The bundle's folder, or that of a whole copy whose rollout.yaml has other selectors."""
    if not changed:
        return str(bundle.absolute())
    copy = work / "release"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(bundle, copy)
    file = copy / load_manifest(copy / MANIFEST).rollout
    text = file.read_text()
    for old, new in changed.items():
        text = text.replace(old, new)
    file.write_text(text)
    listed = [line.split(maxsplit=1)[1] for line in (copy / CHECKSUMS).read_text().splitlines()]
    sums = checksums_text({path: sha256((copy / path).read_bytes()) for path in listed})
    (copy / CHECKSUMS).write_text(sums)
    return str(copy)


def _written(content: Mapping[str, Any], target: Path) -> str:
    target.write_text(yaml.safe_dump(content, sort_keys=False))
    load_environment(str(target))
    return str(target)


def _inside(cluster: commands.Cluster, options: DayOptions) -> Outcome:
    file = options_file(options)
    argv = [sys.executable, "-m", "tarsrelease.rehearsal.inside", str(file)]
    return outcome_inside(cluster, argv, cluster.env)


def options_file(options: DayOptions) -> Path:
    """Write the options into their folder."""
    file = Path(options.work) / "options.json"
    file.write_text(options.model_dump_json())
    return file


def outcome_inside(
    cluster: commands.Cluster, argv: list[str], environ: Mapping[str, str]
) -> Outcome:
    """The Outcome that a command inside prints; Ctrl-C is for the command."""
    inside = cluster.enter_argv(argv)
    with subprocess.Popen(inside, env=environ, stdout=subprocess.PIPE, text=True) as process:
        # Ctrl-C also reaches the processes inside. They end the release in order; wait for them.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            printed, _ = process.communicate()
        finally:
            signal.signal(signal.SIGINT, before)
    return _outcome(printed, process.returncode)


def _outcome(printed: str, code: int) -> Outcome:
    if printed.strip():
        return Outcome.model_validate_json(printed)
    if code in (130, -signal.SIGINT):
        raise KeyboardInterrupt
    raise StoppedError(
        doing="rehearsing the release inside the cluster",
        found=f"the process ended with {code} and no outcome",
        expected="an Outcome on standard output",
        next_step="see its messages above, and the cluster's logs in the cache",
    )


def _elsewhere(context: str, ready: Prepared, say: Say) -> Outcome:
    from tarsrelease.rehearsal import inside

    database = load_environment(str(ready.place)).database
    known = database is not None and database.dsn_env in os.environ
    if database is not None and not known:
        say(f"{database.dsn_env} is not set: the rehearsal runs without a database")
    found = binaries.resolve(cache_root(), say)
    with TemporaryDirectory(prefix="tarsrelease-") as work:
        place = derived(ready.place, Path(work), context, ready.overrides, database=known)
        asked = ready.options(
            work,
            environment=place,
            staging=None,
            tools={tool: tuple(found.commands[tool]) for tool in ("kubectl", "loadgen")},
            control=None,
        )
        return inside.play(asked, say)
