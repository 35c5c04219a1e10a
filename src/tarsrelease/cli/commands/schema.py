"""tarsrelease schema"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tarsrelease.cli.settings import Settings, command

if TYPE_CHECKING:
    from tarsrelease.cli.session import Session
    from tarsrelease.model.outcome import Outcome


@click.argument("name", required=False)
@click.option(
    "--write",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write all schemas to DIR as NAME.schema.json.",
)
def _schema(settings: Settings, name: str | None, folder: Path | None) -> int:
    """Print the JSON Schema NAME, or all of them as one object keyed by name.

    NAME is rollout, environment, bundle, manifest, outcome, evidence or journal. Editors use these
    schemas to complete and check the files.
    """
    import json

    from tarsrelease.cli.schemas import all_schemas, schema_text

    schemas = all_schemas()
    if name is not None and name not in schemas:
        raise click.UsageError(f"There is no schema {name}; there are: {', '.join(schemas)}")
    if folder is None:
        click.echo(schema_text(schemas[name]) if name else json.dumps(schemas, indent=2))
        return 0

    def act(session: Session) -> Outcome:
        from tarsrelease.cli.schemas import write_schemas

        return write_schemas(folder, session.progress)

    from tarsrelease.cli.session import Recording, carry_out

    return carry_out(settings, "schema", act, changes=False, recording=Recording.WHEN_ASKED)


schema = command(name="schema", example="tarsrelease schema --write schemas/")(_schema)
