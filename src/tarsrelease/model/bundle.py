"""The bundle: what is released, with where each part's bytes are pinned."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, PlainSerializer, StringConstraints, model_validator

from tarsrelease.model.base import Digest, FileName, Name, Seconds, Value, Version, repeated

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


ValuesPath = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$", max_length=200)
]
"""Keys of a chart's values with dots between them, such as ``redis.image.tag``."""


class ImagePaths(Value):
    """Where the chart's values have an image.

    Without `digest`, the tag's value is ``TAG@DIGEST``; without `registry`, the repository has the
    whole name.
    """

    registry: ValuesPath | None = None
    repository: ValuesPath
    tag: ValuesPath
    digest: ValuesPath | None = None


class Image(Value):
    """One container image, pinned by the digest of its OCI index or manifest.

    `values` says where the chart's values have it; by default under ``images.SERVICE``.
    `tag_is_version` is false for an image whose tag is not the version of the release.
    """

    service: Name
    name: str
    tag: str
    digest: Digest
    values: ImagePaths | None = None
    tag_is_version: Literal[False] | None = None

    def pinned(self) -> dict[tuple[str, ...], str]:
        """The values that pin it, by path."""
        where = self.values
        if where is None:
            own = {"repository": self.name, "tag": self.tag, "digest": self.digest}
            return {("images", self.service, key): value for key, value in own.items()}
        registry, slash, rest = self.name.partition("/")
        values = {where.repository: self.name, where.tag: self.tag}
        if where.registry is not None and slash:
            values |= {where.registry: registry, where.repository: rest}
        if where.digest is not None:
            values[where.digest] = self.digest
        else:
            values[where.tag] = f"{self.tag}@{self.digest}"
        return {tuple(path.split(".")): value for path, value in values.items()}


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

    @property
    def image_values(self) -> dict[str, Any]:
        """Helm values that pin the images whose places bundle.yaml names.

        They are laid over all others: `helm upgrade --set image.tag=…` of an earlier installation
        stays in the values of the Helm release.
        """
        values: dict[str, Any] = {}
        for image in self.images:
            for path, value in image.pinned().items() if image.values is not None else ():
                *above, last = path
                place = values
                for key in above:
                    place = place.setdefault(key, {})
                place[last] = value
        return values

    @model_validator(mode="after")
    def _unique(self) -> Self:
        for what, names in (
            ("images", [image.service for image in self.images]),
            ("hotfixes", [hotfix.id for hotfix in self.hotfixes]),
            ("migrations", [migration.file for migration in self.migrations]),
        ):
            if twice := repeated(names):
                raise ValueError(f"{what}: {twice} is listed twice")
        return self
