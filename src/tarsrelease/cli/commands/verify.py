"""tarsrelease verify"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tarsrelease.cli.options import signer_options
from tarsrelease.cli.settings import Settings, command

if TYPE_CHECKING:
    from tarsrelease.cli.session import Session
    from tarsrelease.model.outcome import Outcome


@click.argument("folder", required=False, type=click.Path(path_type=Path), metavar="[DIR]")
@click.option("--offline", is_flag=True, help="Access nothing outside this machine.")
@click.option(
    "--checksums-only",
    is_flag=True,
    help="Verify only the checksums; works for any folder with a SHA256SUMS.",
)
@click.option(
    "--require",
    metavar="LIST",
    default="",
    help="Checks that must not be skipped, separated by commas: images, signatures, chart, commit, "
    "migrations, previous.",
)
@click.option(
    "--running",
    metavar="VERSION",
    help="Version that runs now. Default: the version in the cluster of --environment.",
)
@click.option(
    "--platform",
    metavar="OS/ARCH",
    default="linux/amd64",
    show_default=True,
    help="Platform of the images.",
)
@click.option("--layers", is_flag=True, help="Also ask the registry for every layer.")
@click.option(
    "--attestations",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Sigstore bundles: a file, JSON lines, or a folder. Requires the extra [sigstore].",
)
@signer_options
def _verify(
    settings: Settings, folder: Path | None, require: str, platform: str, **given: Any
) -> int:
    """Verify a bundle: checksums, unlisted files, manifest, chart, images, migrations.

    DIR is the bundle folder. Default: --release, or else the newest in ./release/. With
    --environment, it also asks the cluster which version runs and which objects it accepts. What it
    cannot reach (a registry, Helm, a repository) is reported as NOT CHECKED; --require makes that a
    failure.
    """
    from tarsrelease.cli.session import Recording, carry_out
    from tarsrelease.wiring.verification import Wishes, verified

    wishes = Wishes(
        require=_groups(require), platform=_platform(platform), quiet=settings.quiet, **given
    )

    def act(session: Session) -> Outcome:
        place = session.environment if settings.environment and not wishes.checksums_only else None
        return verified(
            folder or session.release_folder, dataclasses.replace(wishes, environment=place)
        )

    return carry_out(settings, "verify", act, changes=False, recording=Recording.WHEN_ASKED)


def _groups(text: str) -> tuple[str, ...]:
    from tarsrelease.bundle.requirements import GROUPS

    groups = tuple(filter(None, (word.strip() for word in text.split(","))))
    unknown = [group for group in groups if group not in GROUPS]
    if unknown:
        known = ", ".join(GROUPS)
        raise click.BadParameter(f"{unknown[0]!r} is not one of {known}", param_hint="--require")
    return groups


def _platform(text: str) -> str:
    from tarsrelease.bundle.images import Platform

    try:
        return str(Platform.parse(text))
    except ValueError as problem:
        raise click.BadParameter(str(problem), param_hint="--platform") from None


verify = command(
    "release",
    "environment",
    "evidence:none",
    name="verify",
    example="tarsrelease verify release/v1_0_1\n"
    "tarsrelease verify release/v1_0_1 --require images,chart\n"
    "tarsrelease verify release/v1_0_1 --environment production --require previous\n"
    "tarsrelease verify ~/Downloads/v1_0_1 --offline --checksums-only",
)(_verify)
