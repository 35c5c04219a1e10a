"""The bundle: what is released, with where each part's bytes are pinned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PlainSerializer, StringConstraints, model_validator

from tarsrelease.model.base import (
    Application,
    Digest,
    FileName,
    Name,
    Seconds,
    Value,
    Version,
    repeated,
)

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
"""Keys of a chart's values with dots between them, such as ``redis.image.tag``. A number is the
place in a list, counted from 0: ``sidecars.0.image``."""


class ImagePaths(Value):
    """Where the chart's values have an image: its parts, or all of it in one text.

    Without `digest`, the tag's value is ``TAG@DIGEST``; without `registry`, the repository has the
    whole name. The value at `reference` is ``NAME:TAG@DIGEST``. `tag_prefix` is what the template
    writes before the tag's value, such as ``v``.
    """

    reference: ValuesPath | None = None
    registry: ValuesPath | None = None
    repository: ValuesPath | None = None
    tag: ValuesPath | None = None
    digest: ValuesPath | None = None
    tag_prefix: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]+$")] | None = None

    @model_validator(mode="after")
    def _whole_or_parts(self) -> Self:
        parts = (self.registry, self.repository, self.tag, self.digest, self.tag_prefix)
        if self.reference is not None and any(parts):
            raise ValueError("give either reference or the parts (repository, tag, …)")
        if self.reference is None and not (self.repository and self.tag):
            raise ValueError("give repository and tag, or reference")
        return self

    def values(self, name: str, tag: str, digest: str) -> dict[str, str]:
        """The values that pin an image, by path."""
        if self.reference is not None:
            return {self.reference: f"{name}:{tag}@{digest}"}
        assert self.repository is not None  # noqa: S101
        assert self.tag is not None  # noqa: S101
        tag = tag.removeprefix(self.tag_prefix or "")
        registry, slash, rest = name.partition("/")
        values = {self.repository: name, self.tag: tag}
        if self.registry is not None and slash:
            values |= {self.registry: registry, self.repository: rest}
        if self.digest is not None:
            values[self.digest] = digest
        else:
            values[self.tag] = f"{tag}@{digest}"
        return values


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
        if self.values is None:
            own = {"repository": self.name, "tag": self.tag, "digest": self.digest}
            return {("images", self.service, key): value for key, value in own.items()}
        values = self.values.values(self.name, self.tag, self.digest)
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
    application: Application
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
        stays in the values of the Helm release. Those in lists are left out, as Helm would replace
        the whole list; the chart's own values have them.
        """
        values: dict[str, Any] = {}
        for image in self.images:
            pinned = image.pinned() if image.values is not None else {}
            for path, value in pinned.items():
                if any(key.isdecimal() for key in path):
                    continue
                *above, last = path
                place = values
                for key in above:
                    place = place.setdefault(key, {})
                place[last] = value
        return values

    @model_validator(mode="after")
    def _unique(self) -> Self:
        refuse_repeated(
            images=[image.service for image in self.images],
            hotfixes=[hotfix.id for hotfix in self.hotfixes],
            migrations=[migration.file for migration in self.migrations],
        )
        return self


def refuse_repeated(**names: Sequence[str]) -> None:
    """Raise ValueError for a name that its list has twice."""
    for what, each in names.items():
        if twice := repeated(each):
            raise ValueError(f"{what}: {twice} is listed twice")
