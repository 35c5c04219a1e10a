"""bundle.yaml: what a bundle is made of."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from tarsrelease.model.base import Application, Digest, FileName, Name, Value, Version
from tarsrelease.model.bundle import (
    ROLLOUT,
    Assertion,
    Hotfix,
    ImagePaths,
    ValuesPath,
    refuse_repeated,
)

INPUT = "bundle.yaml"


class ImageInput(Value):
    """One image.

    Without `digest`, the build asks the image's registry for the tag's, or takes the one that
    ``--digest`` gives. `values` says where the chart's values have the image: a key that holds
    `repository` and `tag` (and `registry` and `digest` if the chart has them), such as ``image`` or
    ``redis.image``, or one text such as ``shop:1.4.0``; or each of the four, or `reference` for the
    text, by itself; by default ``images.SERVICE``. A number is the place in a list, counted from 0,
    such as ``sidecars.0.image``. An image that the values have in several places is listed once for
    each, under names of its own.
    `tag_is_version: false` is for images whose tag is not the version of the release, such as those
    of subcharts.
    """

    service: Name
    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9.-]+(:\d+)?(/[a-z0-9._-]+)+$")]
    tag: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$")]
    digest: Digest | None = None
    values: ValuesPath | ImagePaths | None = None
    tag_is_version: bool = True


class MigrationInput(Value):
    """One SQL file; `order` counts from 1 within its phase. See `Migration`."""

    file: FileName
    phase: Literal["expand", "contract"]
    order: int = Field(ge=1)
    down: FileName | None = None
    assertions: tuple[Assertion, ...] = ()


class BundleInput(Value):
    """bundle.yaml. All files except `chart` are in its folder and become part of the bundle.

    `chart` is a folder under ``--source``, `chart_name` the chart's name if it is not that of the
    application. The archive is named after the chart and the version.
    `values_files` are laid over the chart's values.yaml in this order, as ``helm --values`` does.
    `files` are further files of the bundle, such as release notes. A file that is neither named
    here nor created by the build is refused.
    """

    schema_: Literal["tarsrelease/bundle/v1"] = Field(alias="schema")
    application: Application
    version: Version
    min_previous_version: Version | None = None
    chart: FileName
    chart_name: Name | None = None
    canary_values: FileName
    rollout: FileName = ROLLOUT
    images: tuple[ImageInput, ...] = Field(min_length=1)
    hotfixes: tuple[Hotfix, ...] = ()
    migrations: tuple[MigrationInput, ...] = ()
    values_files: tuple[FileName, ...] = ()
    files: tuple[FileName, ...] = ()

    @model_validator(mode="after")
    def _unique(self) -> Self:
        refuse_repeated(
            images=[image.service for image in self.images],
            hotfixes=[hotfix.id for hotfix in self.hotfixes],
            migrations=[migration.file for migration in self.migrations],
        )
        return self

    @property
    def named_files(self) -> tuple[str, ...]:
        """Every file beside bundle.yaml that belongs to the bundle, each once, sorted."""
        named = {INPUT, self.canary_values, self.rollout, *self.values_files, *self.files}
        for migration in self.migrations:
            named.update(filter(None, (migration.file, migration.down)))
        return tuple(sorted(named))
