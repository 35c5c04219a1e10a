"""bundle.yaml: what a bundle is made of."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from tarsrelease.model.base import Digest, FileName, Name, Value, Version
from tarsrelease.model.bundle import ROLLOUT, Assertion, Hotfix

INPUT = "bundle.yaml"


class ImageInput(Value):
    """One image. Images are built before the bundle, so the digest is known."""

    service: Name
    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9.-]+(:\d+)?(/[a-z0-9._-]+)+$")]
    tag: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$")]
    digest: Digest


class MigrationInput(Value):
    """One SQL file; `order` counts from 1 within its phase. See `Migration`."""

    file: FileName
    phase: Literal["expand", "contract"]
    order: int = Field(ge=1)
    down: FileName | None = None
    assertions: tuple[Assertion, ...] = ()


class BundleInput(Value):
    """bundle.yaml. All files except `chart` are in its folder and become part of the bundle.

    `chart` is a folder under ``--source``; the archive is named after it and the version. `files`
    are further files of the bundle, such as release notes. A file that is neither named here nor
    created by the build is refused.
    """

    schema_: Literal["tarsrelease/bundle/v1"] = Field(alias="schema")
    application: Name
    version: Version
    min_previous_version: Version | None = None
    chart: FileName
    canary_values: FileName
    rollout: FileName = ROLLOUT
    images: tuple[ImageInput, ...] = Field(min_length=1)
    hotfixes: tuple[Hotfix, ...] = ()
    migrations: tuple[MigrationInput, ...] = ()
    files: tuple[FileName, ...] = ()

    @property
    def named_files(self) -> tuple[str, ...]:
        """Every file beside bundle.yaml that belongs to the bundle, each once, sorted."""
        named = {INPUT, self.canary_values, self.rollout, *self.files}
        for migration in self.migrations:
            named.update(filter(None, (migration.file, migration.down)))
        return tuple(sorted(named))
