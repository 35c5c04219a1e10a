"""An index counts as built only if it is the one that the statement describes."""

from __future__ import annotations

import pytest
from migration_rig import Rig, Sql

from tarsrelease.model.errors import RefusedError
from tarsrelease.model.outcome import ExitCode

UP = "CREATE UNIQUE INDEX CONCURRENTLY i ON missions (lower(name), id DESC) WHERE id > 0;"
OTHERS = [
    "CREATE INDEX i ON missions (lower(name), id DESC) WHERE id > 0",
    "CREATE UNIQUE INDEX i ON missions (lower(name), id) WHERE id > 0",
    "CREATE UNIQUE INDEX i ON missions (lower(name), id DESC)",
    "CREATE UNIQUE INDEX i ON missions (id)",
]


def interrupted(rig: Rig, sql: str, index: str) -> None:
    """The history and the index after an attempt that was cut off before it recorded its end."""
    rig.up(rig.release({"a.sql": Sql(sql)}))
    with rig.connect() as connection:
        connection.execute("UPDATE tarsrelease_migrations SET finished = NULL")
        connection.execute("DROP INDEX i")
        connection.execute(index.encode())


@pytest.mark.parametrize("index", OTHERS)
def test_another_index_of_the_name_is_not_taken_for_the_one_that_was_begun(
    rig: Rig, index: str
) -> None:
    interrupted(rig, UP, index)
    with pytest.raises(RefusedError) as caught:
        rig.up(rig.release({"a.sql": Sql(UP)}), run="second")
    assert "another index i exists: it is " in caught.value.detail.found
    assert rig.history()[-1].finished is None


def test_the_index_that_was_begun_is_finished(rig: Rig) -> None:
    interrupted(rig, UP, UP.replace(" CONCURRENTLY", ""))
    assert rig.up(rig.release({"a.sql": Sql(UP)}), run="second").exit_code is ExitCode.DONE
    assert rig.history()[-1].finished is not None


def test_if_not_exists_does_not_accept_another_index(rig: Rig) -> None:
    with rig.connect() as connection:
        connection.execute("CREATE INDEX i ON missions (agent)")
    sql = "CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON missions (name);"
    with pytest.raises(RefusedError) as caught:
        rig.up(rig.release({"a.sql": Sql(sql)}))
    assert "it is btree (agent), not btree (name)" in caught.value.detail.found
    with rig.connect() as connection:
        connection.execute("DROP INDEX i")
        connection.execute("CREATE INDEX i ON missions (name)")
    assert rig.up(rig.release({"a.sql": Sql(sql)})).exit_code is ExitCode.DONE
