"""tarsrelease verify"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tarsrelease.cli.settings import Settings, command

if TYPE_CHECKING:
    from tarsrelease.cli.session import Session
    from tarsrelease.model.outcome import Outcome


@click.argument("folder", required=False, type=click.Path(path_type=Path), metavar="[DIR]")
@click.option("--offline", is_flag=True, help="Ask nothing outside of this machine.")
@click.option("--checksums-only", is_flag=True, help="Any folder with a SHA256SUMS.")
def _verify(settings: Settings, folder: Path | None, offline: bool, checksums_only: bool) -> int:
    """Check a bundle: checksums, files nobody listed, manifest, chart, rollout.

    DIR is the bundle's folder; by default what --release says, else the newest in ./release/.
    Evidence is written only where --evidence is given.
    """
    from tarsrelease.adapters.bundle_files import FolderFiles
    from tarsrelease.adapters.clock import SystemClock
    from tarsrelease.adapters.configuration import read_manifest, read_rollout
    from tarsrelease.cli.session import Recording, carry_out
    from tarsrelease.steps.verify import verify as step

    def act(session: Session) -> Outcome:
        chosen = folder or session.release_folder
        return step(
            str(chosen),
            files=FolderFiles(chosen),
            read_manifest=read_manifest,
            read_rollout=read_rollout,
            clock=SystemClock(),
            checksums_only=checksums_only,
            offline=offline,
        )

    return carry_out(settings, "verify", act, changes=False, recording=Recording.WHEN_ASKED)


verify = command(
    "release",
    "evidence",
    name="verify",
    example="tarsrelease verify release/v1_0_1\n"
    "tarsrelease verify ~/Downloads/v1_0_1 --offline --checksums-only",
)(_verify)
