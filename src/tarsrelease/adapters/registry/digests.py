"""The digests of tags: given by hand, pinned before, or asked from the registry."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence

from tarsrelease.adapters.registry.manifests import HttpRegistry
from tarsrelease.model.bundle_input import ImageInput
from tarsrelease.model.errors import ReleaseError, UsageError

_GIVEN = re.compile(r"([a-z0-9][-a-z0-9]*)=(sha256:[0-9a-f]{64})")


def digest_finder(
    given: Sequence[str], say: Callable[[str], None]
) -> Callable[[ImageInput, str | None], str | None]:
    """A function from an image, and the digest that it had before, to the digest of its tag.

    None where nobody knows it. `given` are ``IMAGE=sha256:…``, with the image's name in bundle.yaml
    (`service`). Raises UsageError for another form.
    """
    by_hand = {}
    for text in given:
        found = _GIVEN.fullmatch(text)
        if found is None:
            raise UsageError(
                doing="reading --digest",
                found=repr(text),
                expected="IMAGE=sha256: and 64 hexadecimal digits",
                next_step="for example --digest web=sha256:4bf5…, with an image of bundle.yaml",
            )
        by_hand[found[1]] = found[2]

    def digest_of(image: ImageInput, before: str | None) -> str | None:
        # A tag that has moved since the last build is not followed silently.
        known = by_hand.get(image.service) or before
        if known is not None:
            return known
        try:
            manifest = HttpRegistry().manifest(image.name, image.tag)
        except ReleaseError as problem:
            say(f"{image.name}:{image.tag}: {problem.detail.found}")
            return None
        if manifest is None:
            say(f"{image.name} has no tag {image.tag}")
            return None
        digest = f"sha256:{hashlib.sha256(manifest.content).hexdigest()}"
        say(f"{image.name}:{image.tag} is {digest}")
        return digest

    return digest_of
