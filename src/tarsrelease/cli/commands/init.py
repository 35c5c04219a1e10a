"""tarsrelease init"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from tarsrelease.cli.settings import Settings, command

if TYPE_CHECKING:
    from tarsrelease.cli.session import Session
    from tarsrelease.model.outcome import Outcome


@click.option(
    "--github", is_flag=True, required=True, help="Print the commands for GitHub's environments."
)
def _init(settings: Settings, github: bool) -> int:
    """Print the commands for the initial setup; run none of them.

    With --github, it prints a bash script of gh calls that create the environments and reviewers
    listed under `github` in the environment file. Set GITHUB_REPOSITORY=OWNER/NAME if the file has
    no github.repository.
    """
    from tarsrelease.cli.session import Recording, Session, carry_out
    from tarsrelease.model.errors import ReleaseError

    del github  # required, and the only choice so far
    session = Session(settings, changes=False)
    try:
        script = _script(session)
    except ReleaseError as error:
        problem = error

        def fail(_session: Session) -> Outcome:
            raise problem

        return carry_out(settings, "init", fail, changes=False, recording=Recording.WHEN_ASKED)
    click.echo(script, nl=False)
    return 0


def _script(session: Session) -> str:
    from tarsrelease.model.errors import UsageError
    from tarsrelease.report.github_script import github_script
    from tarsrelease.steps.check_environments import configured

    settings = configured(session.environment)
    repository = settings.repository or os.environ.get("GITHUB_REPOSITORY", "")
    if not repository:
        raise UsageError(
            doing="printing the commands that create GitHub's environments",
            found="no github.repository in the environment file",
            expected="OWNER/NAME",
            next_step="add it, or set GITHUB_REPOSITORY",
        )
    return github_script(settings, repository)


init = command(
    "environment",
    name="init",
    example="tarsrelease init --github --environment production",
)(_init)
