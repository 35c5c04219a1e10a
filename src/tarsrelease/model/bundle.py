"""The bundle: what is released, with where each part's bytes are pinned."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, PlainSerializer, StringConstraints, model_validator

from tarsrelease.model.base import Digest, FileName, Name, Seconds, Value, Version

MANIFEST = "manifest.production.json"
CHECKSUMS = "SHA256SUMS"
ROLLOUT = "rollout.yaml"
CERTIFICATION = "GA_CERTIFICATION"
"""The one folder that may stand in a bundle unlisted; it has a SHA256SUMS of its own."""

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Chart(Value):
    """The packaged Helm chart."""

    file: FileName
    name: Name
    version: Version


class Image(Value):
    """One container image, pinned by the digest of its OCI index or manifest."""

    service: Name
    name: str
    tag: str
    digest: Digest


class Hotfix(Value):
    """One defect that this release fixes."""

    id: Annotated[str, StringConstraints(pattern=r"^[A-Z]+-\d+$")]
    title: str


SqlName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_]\S*)?$")]
"""A table's or index's name, with its schema where it is not on the search path."""


_Within = Annotated[Seconds, PlainSerializer(lambda s: f"{s * 1000:g}ms", when_used="json")]


class IndexAssertion(Value):
    """The index is valid and ready, on exactly these columns in this order.

    A column is written as PostgreSQL prints it: ``created_at``, ``created_at DESC``,
    ``lower(name)``.
    """

    kind: Literal["index"]
    index: SqlName
    table: SqlName
    columns: tuple[str, ...] = Field(min_length=1)


class ColumnAssertion(Value):
    """The table has the column, of this type as PostgreSQL prints it (``text``, ``bigint``)."""

    kind: Literal["column"]
    table: SqlName
    column: str
    type: str


class QueryAssertion(Value):
    """The query answers within this time and, if an index is named, uses it."""

    kind: Literal["query"]
    query: str = Field(min_length=1)
    within: _Within
    uses_index: SqlName | None = None


Assertion = Annotated[
    IndexAssertion | ColumnAssertion | QueryAssertion, Field(discriminator="kind")
]
"""What must hold once a migration is applied; `migrate verify` asks the database."""


class Migration(Value):
    """One SQL file; `order` counts within its phase; `down` names the file that undoes it.

    Several migrations may name the same `down`, which then undoes all of them. `assertions` are
    true once the file is applied.
    """

    file: FileName
    phase: Literal["expand", "contract"]
    order: int = Field(ge=1)
    sha256: Sha256
    down: FileName | None = None
    assertions: tuple[Assertion, ...] = ()


class Source(Value):
    """What the bundle was built from. `clean` says that there were no uncommitted changes."""

    commit: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]
    tag: str | None = None
    clean: bool


class Manifest(Value):
    """manifest.production.json."""

    schema_: Literal["tarsrelease/manifest/v1"] = Field(alias="schema")
    application: Name
    version: Version
    min_previous_version: Version | None = None
    chart: Chart
    canary_values: FileName
    rollout: FileName = ROLLOUT
    images: tuple[Image, ...] = Field(min_length=1)
    hotfixes: tuple[Hotfix, ...] = ()
    migrations: tuple[Migration, ...] = ()
    source: Source | None = None

    @model_validator(mode="after")
    def _unique(self) -> Self:
        for what, names in (
            ("images", [image.service for image in self.images]),
            ("hotfixes", [hotfix.id for hotfix in self.hotfixes]),
            ("migrations", [migration.file for migration in self.migrations]),
        ):
            twice = {name for name in names if names.count(name) > 1}
            if twice:
                raise ValueError(f"{what}: {min(twice)} is listed twice")
        return self
