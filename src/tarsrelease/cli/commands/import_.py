"""tarsrelease import"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tarsrelease.cli.settings import Settings, command

if TYPE_CHECKING:
    from tarsrelease.cli.session import Session
    from tarsrelease.model.outcome import Outcome


@click.argument("tool", type=click.Choice(["argo-rollouts", "flagger"]))
@click.argument(
    "files",
    nargs=-1,
    required=True,
    metavar="FILE...",
    type=click.Path(path_type=Path),
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the rollout there; never overwrites a file. Default: standard output.",
)
@click.option("--name", metavar="NAME", help="Rollout or Canary, if the files have several.")
def _import(
    settings: Settings, tool: str, files: tuple[Path, ...], out: Path | None, name: str | None
) -> int:
    """Turn another tool's canary objects into a rollout.yaml to start from.

    argo-rollouts reads Rollout, AnalysisTemplate and ClusterAnalysisTemplate; flagger reads Canary
    and MetricTemplate. What has no counterpart is listed with the reason.
    """
    from tarsrelease.cli.session import Recording, carry_out

    def act(session: Session) -> Outcome:
        from tarsrelease.adapters.clock import SystemClock
        from tarsrelease.adapters.files.new_file import write_new
        from tarsrelease.adapters.files.objects import objects_in
        from tarsrelease.adapters.promql import parse_promql
        from tarsrelease.model.step_details import ImportDetails
        from tarsrelease.steps.import_ import import_objects

        found = [each for path in files for each in objects_in(path)]
        outcome = import_objects(tool, found, parse_promql, name=name, clock=SystemClock())
        details = ImportDetails.of(outcome.details)
        text = _yaml(details.document if details else {})
        if out is not None:
            write_new(out, text)
        elif settings.format == "text":
            click.echo(text)
        del session
        return outcome

    return carry_out(settings, "import", act, changes=False, recording=Recording.WHEN_ASKED)


def _yaml(document: dict[str, Any]) -> str:
    import yaml

    return yaml.safe_dump(document, sort_keys=False, width=100, allow_unicode=True)


import_ = command(
    name="import",
    example="tarsrelease import argo-rollouts rollout.yaml analysis.yaml --out rollout.draft.yaml\n"
    "tarsrelease import flagger canary.yaml",
)(_import)
