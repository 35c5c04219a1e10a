"""Rendered YAML, read only where Helm's reader (sigs.k8s.io/yaml, in Go) reads the same.

Parsers disagree on merge keys and duplicate keys: what was checked would not be what is
applied. ``image: 12:30`` is an image, and no number.
"""

from __future__ import annotations

from typing import Any

import yaml

from tarsrelease.bundle.plain_scalars import as_go_does

_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MERGE = "tag:yaml.org,2002:merge"


class AmbiguousYamlError(yaml.YAMLError):
    """Two readers would see two different documents."""


@as_go_does
class _Loader(_Safe):  # type: ignore[misc]
    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key, _ in node.value:
            if key.tag == _MERGE:
                raise AmbiguousYamlError(f"a merge key (<<) in line {key.start_mark.line + 1}")
            if key.value in seen and isinstance(key, yaml.ScalarNode):
                raise AmbiguousYamlError(
                    f"the key {key.value!r} twice, in line {key.start_mark.line + 1}"
                )
            if isinstance(key, yaml.ScalarNode):
                seen.add(key.value)
        found: dict[Any, Any] = super().construct_mapping(node, deep)
        return found

    def flatten_mapping(self, node: Any) -> None:
        """Nothing is merged."""


class NoObjectError(yaml.YAMLError):
    """A document is no mapping."""


def rendered_objects(text: str) -> list[dict[str, Any]]:
    """The objects in a stream of documents. Raises yaml.YAMLError."""
    found = [each for each in yaml.load_all(text, Loader=_Loader) if each]
    if not all(isinstance(each, dict) for each in found):
        raise NoObjectError
    return found


def fault(problem: yaml.YAMLError) -> str:
    """What is wrong with a rendered chart."""
    if isinstance(problem, NoObjectError):
        return "the rendered chart has a document that is not an object"
    kind = "ambiguous YAML" if isinstance(problem, AmbiguousYamlError) else "not YAML"
    return f"the rendered chart is {kind}: {problem}"
