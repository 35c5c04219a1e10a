"""tarsrelease bundle build, diff"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tarsrelease.cli.lazy import Entry, LazyGroup
from tarsrelease.cli.settings import Settings, command

if TYPE_CHECKING:
    from tarsrelease.cli.session import Session
    from tarsrelease.model.outcome import Outcome

bundle = LazyGroup(
    "bundle",
    help="Build and compare bundles. A bundle is one folder with all files of a release.",
    entries={
        "build": Entry(f"{__name__}:build", "Build a bundle reproducibly."),
        "diff": Entry(f"{__name__}:diff", "Compare two bundles."),
    },
)


@click.option(
    "--source",
    required=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder that contains the chart's folder.",
)
@click.option("--version", required=True, help="Version to build, such as 1.0.1.")
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Bundle folder.",
)
@click.option(
    "--bundle",
    "described",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Description of the bundle. Default: bundle.yaml in --out.",
)
@click.option(
    "--digest",
    "digests",
    multiple=True,
    metavar="IMAGE=sha256:…",
    help="Digest of an image that has none in bundle.yaml. Repeatable. Default: the one that the "
    "last build pinned, else the registry's.",
)
def _build(
    settings: Settings,
    source: Path,
    version: str,
    out: Path,
    described: Path | None,
    digests: tuple[str, ...],
) -> int:
    """Build a bundle from bundle.yaml, its neighboring files and the chart, and verify it.

    It packages the chart with its version and the image digests, and writes
    manifest.production.json and SHA256SUMS. The same input gives the same bytes on every machine;
    SOURCE_DATE_EPOCH sets the timestamps in the archive.
    """
    from tarsrelease.adapters.files.bundle_build import build_bundle
    from tarsrelease.adapters.registry.digests import digest_finder
    from tarsrelease.cli.session import Recording, carry_out
    from tarsrelease.model.outcome import Verdict
    from tarsrelease.model.step_details import BundleBuildDetails
    from tarsrelease.wiring.verification import Wishes, verified

    def act(session: Session) -> Outcome:
        finder = digest_finder(digests, session.progress.say)
        built = build_bundle(source, version, out, described, digest_of=finder)
        session.progress.say(
            f"{out}: {len(built.digests)} files, {len(built.changed)} of them with new bytes"
        )
        outcome = verified(out, Wishes(offline=True, quiet=settings.quiet))
        good = outcome.verdict is Verdict.PROCEED
        return outcome.model_copy(
            update={
                "step": "bundle build",
                "summary": f"{out} built" if good else f"{out} built, but {outcome.summary}",
                "details": BundleBuildDetails(
                    **outcome.details.given(),
                    files=dict(built.digests),
                    changed=tuple(built.changed),
                ),
                "next": ""
                if good
                else "correct what the failed checks name, commit it, build again",
            }
        )

    return carry_out(settings, "bundle build", act, recording=Recording.WHEN_ASKED)


build = command(
    "evidence:none",
    name="build",
    example="tarsrelease bundle build --source examples/tars --version 1.0.1 --out release/v1_0_1",
)(_build)


@click.argument("before", type=click.Path(path_type=Path), metavar="BEFORE")
@click.argument("after", type=click.Path(path_type=Path), metavar="AFTER")
@click.option("--exit-code", is_flag=True, help="Exit with 1 if they differ.")
def _diff(settings: Settings, before: Path, after: Path, exit_code: bool) -> int:
    """Compare two bundles: their files, their manifests and the contents of their charts.

    It judges nothing; to check a bundle, use verify.
    """
    from tarsrelease.adapters.clock import SystemClock
    from tarsrelease.adapters.files.bundle_files import FolderFiles
    from tarsrelease.adapters.files.configuration import read_manifest
    from tarsrelease.adapters.files.yaml_source import read_values
    from tarsrelease.adapters.terminal.hashing_bar import HashingBar
    from tarsrelease.cli.session import Recording, carry_out
    from tarsrelease.steps.bundle_diff import bundle_diff

    def act(_: Session) -> Outcome:
        with HashingBar(sys.stderr, quiet=settings.quiet) as bar:
            return bundle_diff(
                (str(before), str(after)),
                (
                    FolderFiles(before, hard_links=True, progress=bar),
                    FolderFiles(after, hard_links=True, progress=bar),
                ),
                read_manifest=read_manifest,
                read_values=read_values,
                clock=SystemClock(),
                exit_code=exit_code,
            )

    return carry_out(settings, "bundle diff", act, changes=False, recording=Recording.WHEN_ASKED)


diff = command(
    "evidence:none",
    name="diff",
    example="tarsrelease bundle diff release/v1_0_0 release/v1_0_1",
)(_diff)
