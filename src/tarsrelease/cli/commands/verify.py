"""tarsrelease verify"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tarsrelease.cli.settings import Settings, command

if TYPE_CHECKING:
    from tarsrelease.cli.session import Session
    from tarsrelease.model.outcome import Outcome


@click.argument("folder", required=False, type=click.Path(path_type=Path), metavar="[DIR]")
@click.option("--offline", is_flag=True, help="Ask nothing outside of this machine.")
@click.option("--checksums-only", is_flag=True, help="Any folder with a SHA256SUMS.")
@click.option(
    "--require",
    metavar="LIST",
    default="",
    help="What must not be left unchecked: images, signatures, chart, commit, migrations, "
    "previous; separated by commas.",
)
@click.option(
    "--running",
    metavar="VERSION",
    help="The version that runs now; without it the cluster of --environment is asked.",
)
@click.option(
    "--platform",
    metavar="OS/ARCH",
    default="linux/amd64",
    show_default=True,
    help="The platform that images must be for.",
)
@click.option("--layers", is_flag=True, help="Ask the registry for every layer, too.")
@click.option(
    "--attestations",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Sigstore bundles: a file, JSON lines, or a folder of them. Needs the extra [sigstore].",
)
@click.option("--repository", metavar="OWNER/NAME", help="Whose attestations count.")
@click.option(
    "--signer-workflow",
    metavar="PATH",
    help="OWNER/NAME/.github/workflows/FILE that must have signed.",
)
@click.option(
    "--trusted-root",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Instead of the root that sigstore carries: a trusted_root.json, or the lines of "
    "`gh attestation trusted-root`.",
)
def _verify(
    settings: Settings, folder: Path | None, require: str, platform: str, **given: Any
) -> int:
    """Check a bundle: checksums, files nobody listed, manifest, chart, images, migrations.

    DIR is the bundle's folder; by default what --release says, else the newest in ./release/.
    With --environment its cluster is asked, too: which version runs, and what objects it takes.
    What cannot be reached from here (a registry, Helm, a repository) is NOT CHECKED and said so;
    --require makes that a failure. Evidence is written only where --evidence is given.
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
        raise click.BadParameter(f"{unknown[0]!r} is none of {known}", param_hint="--require")
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
    "evidence",
    name="verify",
    example="tarsrelease verify release/v1_0_1\n"
    "tarsrelease verify release/v1_0_1 --require images,chart\n"
    "tarsrelease verify release/v1_0_1 --environment production --require previous\n"
    "tarsrelease verify ~/Downloads/v1_0_1 --offline --checksums-only",
)(_verify)
