# SPDX-License-Identifier: MIT
"""The JSON Schema of a TOML file that `toml` reads as a dataclass, for editors that complete and check its keys.

The schema has the types, the allowed values and the required keys. It has no rule that concerns several keys; `toml`
reports the breach of one.
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
import re
import types
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, Union, get_args, get_origin, get_type_hints

_DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
_PLAIN: Final = {bool: "boolean", int: "integer", float: "number", str: "string"}
#: Comments above a field, and the field.
_FIELD: Final = re.compile(r"((?: +#: .*\n)+) +(\w+):")


def schema(
    kind: type, keys: Callable[[Any], Mapping[str, str]], checks: Mapping[Any, dict[str, Any]]
) -> dict[str, Any]:
    """The schema of a dataclass. ``keys`` gives the keys of a dataclass's fields, ``checks`` what a check allows."""
    return {"$schema": _DRAFT, **_Schemas(keys, checks).of(kind)}


@dataclasses.dataclass(frozen=True)
class _Schemas:
    keys: Callable[[Any], Mapping[str, str]]
    checks: Mapping[Any, dict[str, Any]]

    def of(self, kind: Any) -> dict[str, Any]:
        origin, arguments = get_origin(kind), get_args(kind)
        if origin is Annotated:
            base, *checks = arguments
            return self.of(base) | {key: value for check in checks for key, value in self.checks.get(check, {}).items()}
        if origin is tuple:
            return {"type": "array", "items": self.of(arguments[0])}
        if origin in (Union, types.UnionType):
            return self.of(next(each for each in arguments if each is not types.NoneType))
        if origin is not None and issubclass(origin, Mapping):
            names = self.of(arguments[0])
            allowed = {"propertyNames": {"enum": names["enum"]}} if "enum" in names else {}
            return {"type": "object", "additionalProperties": self.of(arguments[1]), **allowed}
        if dataclasses.is_dataclass(kind):
            return self._table(kind)
        if isinstance(kind, type) and issubclass(kind, enum.StrEnum):
            return {"type": "string", "enum": list(kind)}
        return {"type": _PLAIN[kind]} if kind in _PLAIN else {}

    def _table(self, kind: Any) -> dict[str, Any]:
        hints = get_type_hints(kind, include_extras=True)
        keys, said = self.keys(kind), _comments(kind)
        properties = {key: self.of(hints[name]) for name, key in keys.items()}
        for name, text in said.items():
            properties[keys[name]]["description"] = text
        missing = dataclasses.MISSING
        needed = [f.name for f in dataclasses.fields(kind) if f.default is missing and f.default_factory is missing]
        return {
            "type": "object",
            "properties": properties,
            "required": [keys[name] for name in needed],
            "additionalProperties": False,
        }


def _comments(kind: type) -> dict[str, str]:
    """The comments ``#:`` above the fields of a dataclass, by the fields' names."""
    found = _FIELD.findall(inspect.getsource(kind))
    names = {field.name for field in dataclasses.fields(kind)}
    return {name: " ".join(re.findall(r"#: (.*)", text)) for text, name in found if name in names}
