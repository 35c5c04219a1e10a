"""Values of different kinds in one field, which other versions of tarsrelease read and write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import (
    ConfigDict,
    GetJsonSchemaHandler,
    SerializerFunctionWrapHandler,
    model_serializer,
)
from pydantic_core.core_schema import list_schema

from tarsrelease.model.base import Value


class OpenValue(Value):
    """A value that other versions of tarsrelease read and write, too.

    It keeps keys that it does not know, and its JSON has only what was given.
    """

    model_config = ConfigDict(extra="allow", defer_build=True)

    @classmethod
    def of(cls, found: OpenValue) -> Self | None:
        """`found` where it is of this kind, else None."""
        return found if isinstance(found, cls) else None

    def given(self) -> dict[str, Any]:
        """The fields that were given, as keyword arguments of a value that has them, too."""
        return {name: getattr(self, name) for name in self.model_fields_set}

    @model_serializer(mode="wrap")
    def _only_what_was_given(self, handler: SerializerFunctionWrapHandler) -> Any:
        written: Mapping[str, Any] = handler(self)
        return {name: value for name, value in written.items() if name in self.model_fields_set}

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: Any, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        # The serializer changes which keys are written, not what is in them.
        plain = {key: value for key, value in core_schema.items() if key != "serialization"}
        described = handler.resolve_ref_schema(handler(plain))
        family = [one for one in cls.__mro__ if issubclass(one, OpenValue)]
        if len(family) > 2:  # cls, what all kinds share, OpenValue; the field's type has the second
            for name in family[-2].model_fields:
                described["properties"].pop(name, None)
        return described


def chosen_by(
    handler: GetJsonSchemaHandler,
    core_schema: Any,
    chooser: str,
    field: str,
    kinds: Mapping[str, type[OpenValue]],
) -> dict[str, Any]:
    """The JSON Schema of a model whose `field` is of the kind that the text in `chooser` names."""
    reference = handler(core_schema)
    rules = []
    for name, kind in kinds.items():
        kind.model_rebuild()
        found = handler(list_schema(kind.__pydantic_core_schema__))["items"]
        rules.append(
            {
                "if": {"properties": {chooser: {"const": name}}, "required": [chooser]},
                "then": {"properties": {field: found}},
            }
        )
    handler.resolve_ref_schema(reference)["allOf"] = rules
    return reference
