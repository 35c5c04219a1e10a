"""Pinning: a digest is set where name and tag match, and nothing else changes."""

from __future__ import annotations

import pytest

from tarsrelease.rehearsal.images import ImageEntry
from tarsrelease.rehearsal.pin_images import digests_of, pinned

OLD, WEB, WORKER = (f"sha256:{digit * 64}" for digit in "0ab")
TEXT = f"""\
# comment
application: tars
images:
  - service: web
    name: example.org/web
    tag: v1
    digest: {OLD}
  - service: worker
    name: example.org/worker
    tag: v1
    digest: {OLD}
files: [RELEASE_NOTES.md]
"""


def entry(name: str, digest: str) -> ImageEntry:
    return ImageEntry(name=name, tag="v1", digest=digest, command=["tars"], env={})


DIGESTS = digests_of([entry("example.org/web", WEB), entry("example.org/worker", WORKER)])


def test_each_image_gets_its_own_digest() -> None:
    after = pinned(TEXT, DIGESTS)
    assert after == TEXT.replace(OLD, WEB, 1).replace(OLD, WORKER)


def test_pinning_twice_changes_nothing() -> None:
    once = pinned(TEXT, DIGESTS)
    assert pinned(once, DIGESTS) == once


@pytest.mark.parametrize(
    "text", [TEXT.replace("tag: v1", "tag: v2", 1), TEXT.replace("/worker", "/other")]
)
def test_an_image_that_is_not_built_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not among the images"):
        pinned(text, DIGESTS)


def test_a_text_without_images_is_refused() -> None:
    with pytest.raises(ValueError, match="no image"):
        pinned("application: tars\n", DIGESTS)
