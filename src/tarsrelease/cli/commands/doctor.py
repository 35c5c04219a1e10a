"""tarsrelease doctor"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from tarsrelease.cli.settings import Settings, command

if TYPE_CHECKING:
    from tarsrelease.cli.session import Session
    from tarsrelease.model.database import Database
    from tarsrelease.model.outcome import Outcome


@click.option("--offline", is_flag=True, help="Do not ask GitHub about its environments.")
def _doctor(settings: Settings, offline: bool) -> int:
    """Check every precondition of a release; each result says what was found and what mends it.

    It checks permissions, metrics with their labels and enough traffic, the gateway, Helm, the
    database, the variables of channels and secrets, GitHub's environments, and the clock. It
    changes nothing.
    """
    from tarsrelease.cli.session import Recording, carry_out

    def act(session: Session) -> Outcome:
        from tarsrelease.adapters.github.api import GitHubReviews
        from tarsrelease.adapters.helm.releases import Helm
        from tarsrelease.steps.doctor import Surroundings, doctor

        environment = session.environment
        place, database = environment.kubernetes, environment.database
        github = None if offline else environment.github
        around = Surroundings(
            helm=Helm(place.context, place.namespace).version,
            database=None if database is None else lambda: server_version(database),
            variables=dict(os.environ),
        )
        reviews = GitHubReviews(github) if github is not None else None
        return doctor(session.context, around, reviews)

    return carry_out(settings, "doctor", act, changes=False, recording=Recording.WHEN_ASKED)


def server_version(database: Database) -> str:
    """What the database says about itself. Raises ReleaseError."""
    from tarsrelease.adapters.postgres.connect import address, connect, dsn_of

    dsn = dsn_of(database)
    with connect(dsn, database, "tarsrelease doctor") as connection:
        found = connection.execute("SHOW server_version").fetchone()
    return f"PostgreSQL {found[0] if found else ''} at {address(dsn)}"


doctor = command(
    "release:newest",
    "environment",
    "target",
    "wave",
    "evidence:none",
    name="doctor",
    example="tarsrelease doctor --release release/v1_4_0 --environment production",
)(_doctor)
