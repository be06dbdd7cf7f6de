# SPDX-License-Identifier: MIT
"""Reads TOML files into frozen dataclasses with cattrs. Types must match exactly; an unknown key is an error.

An error names the file, the line, each wrong key, and the allowed values. A `ValueError` from a dataclass's
``__post_init__`` is reported for its whole table. In a mapping of tables, the field ``name`` gets the table's own key.
The metadata ``key`` of a field is its key in the file, for keys that are not Python identifiers.
"""

from __future__ import annotations

import dataclasses
import enum
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sized
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from cattrs import (
    AttributeValidationNote,
    BaseValidationError,
    ClassValidationError,
    Converter,
    ForbiddenExtraKeysError,
    IterableValidationError,
)
from cattrs.cols import homogenous_tuple_structure_factory, is_mapping, mapping_structure_factory
from cattrs.gen import make_dict_structure_fn, override

from shirq_bench import tomlplaces, tomlschema
from shirq_bench.errors import BenchError

_T = TypeVar("_T")
_Filled = TypeVar("_Filled", bound=Sized)
_Hook = Callable[[Any, Any], Any]
#: The key that `_mapping` adds to a table for the table's own name. A key ``name`` in the file remains an unknown key.
_NAME = ""


#: What each check allows, in the words of JSON Schema.
_allows: dict[Callable[..., Any], dict[str, Any]] = {}


class TomlError(BenchError):
    """The contents of a file are wrong. The message names the file, the key, the error and the allowed values."""


def read(kind: type[_T], path: Path) -> _T:
    """Read a file as an object of type ``kind``, a dataclass or a mapping to dataclasses. Raises `TomlError`."""
    try:
        text = path.read_text()
    except UnicodeDecodeError as error:
        raise TomlError(f"{path}: {error}") from error
    return parse(kind, text, str(path))


def parse(kind: type[_T], text: str, what: str) -> _T:
    """Convert a TOML text to an object of type ``kind``.

    Error messages name the text as ``what``, and the line. Raises `TomlError`.
    """
    return _convert(kind, load(text, what), what, tomlplaces.lines(text))


def load(text: str, what: str) -> dict[str, Any]:
    """Parse a TOML text, without further checks. Error messages name the text as ``what``. Raises `TomlError`."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TomlError(f"{what}: {error}") from error


def convert(kind: type[_T], data: object, what: str) -> _T:
    """Convert ``data``, the parsed contents of a file or a part of them, to an object of type ``kind``.

    Error messages name the contents as ``what``. Raises `TomlError`.
    """
    return _convert(kind, data, what, {})


def _convert(kind: type[_T], data: object, what: str, lines: Mapping[str, int]) -> _T:
    try:
        return _converter.structure(data, kind)
    except (BaseValidationError, ValueError) as error:
        said = [
            f"{what}{_line_of(place, lines)}: {f'{path}{text}'.lstrip(': ')}"
            for place, path, text in _problems(error, "")
        ]
        raise TomlError("\n".join(said)) from error


def _line_of(path: str, lines: Mapping[str, int]) -> str:
    """The line of the value, or of the innermost table around it that the file names, as ``:LINE``."""
    while path and path not in lines:
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    return f":{lines[path]}" if path else ""


def schema(kind: type) -> dict[str, Any]:
    """The JSON Schema of a file that holds an object of type ``kind``, a dataclass, as data for JSON."""
    return tomlschema.schema(kind, _keys, _allows)


def at_least(least: int) -> Callable[[int], int]:
    """A check for ``Annotated[int, at_least(1)]``: refuse smaller numbers."""

    def check(value: int) -> int:
        _must(value, value >= least, f"at least {least}")
        return value

    _allows[check] = {"minimum": least}
    return check


def one_of(*words: str) -> Callable[[str], str]:
    """A check for ``Annotated[str, one_of("red", "blue")]``: refuse other words."""

    def check(value: str) -> str:
        _must(value, value in words, f"one of {', '.join(repr(word) if ',' in word else word for word in words)}")
        return value

    _allows[check] = {"enum": list(words)}
    return check


def filled(value: _Filled) -> _Filled:
    """A check that a value is not empty, for ``Annotated[str, filled]`` and the like."""
    if not value:
        raise ValueError("must not be empty")
    return value


_allows[filled] = {"minLength": 1, "minItems": 1}
#: `Text` is a string that is not empty, `Texts` a list of such strings, `Words` a list of at least one string.
Text = Annotated[str, filled]
Texts = tuple[Text, ...]
Words = Annotated[tuple[str, ...], filled]


def _problems(error: BaseException, path: str, of_table: bool = False) -> Iterator[tuple[str, str, str]]:
    """Each problem: its place, the value or table that it is about, and a text to follow that."""
    path = path.removeprefix(".")
    match error:
        case ClassValidationError() | IterableValidationError():
            noted, others = error.group_exceptions()
            for other in others:
                yield from _problems(other, path, of_table=True)
            for inner, note in noted:
                key = _keys(error.cl)[note.name] if isinstance(note, AttributeValidationNote) else note.index
                yield from _problems(inner, f"{path}[{key}]" if isinstance(key, int) else f"{path}.{key}")
        case KeyError() if not of_table:
            yield path, path, " is missing"
        case ForbiddenExtraKeysError():
            known = sorted({*_keys(error.cl).values()} - {_NAME})
            place = f"{path}.{min(error.extra_fields)}".lstrip(".")
            yield place, path, f": unknown key {', '.join(sorted(error.extra_fields))}; known keys: {', '.join(known)}"
        case _:
            yield path, path, f"{':' if of_table else ''} {error}"


def _must(value: object, right: object, wanted: str) -> None:
    if not right:
        raise ValueError(f"must be {wanted}, not {value!r}")


def _exact(value: Any, kind: type) -> Any:
    # Compare the types themselves, because isinstance() accepts a bool as an int. Accept an int as a float.
    _must(value, type(value) is kind or (kind is float and type(value) is int), kind.__name__)
    return value


def _checked(value: Any, kind: Any) -> Any:
    base, *checks = get_args(kind)
    value = _converter.structure(value, base)
    for check in checks:
        value = check(value)
    return value


def _member(value: Any, kind: type[enum.StrEnum]) -> enum.StrEnum:
    return kind(one_of(*kind)(value))


def _keys(kind: Any) -> dict[str, str]:
    """The fields of a dataclass, each with its key in a file."""
    return {
        field.name: _NAME if field.name == "name" else field.metadata.get("key", field.name)
        for field in dataclasses.fields(kind)
    }


def _fields(kind: Any, converter: Converter) -> _Hook:
    # Resolve the names of types here: cattrs can resolve them too, but would drop the checks in `Annotated`.
    hints = get_type_hints(kind, include_extras=True)
    for field in dataclasses.fields(kind):
        field.type = hints[field.name]
    renamed: Any = {name: override(rename=key) for name, key in _keys(kind).items()}
    return make_dict_structure_fn(kind, converter, _cattrs_forbid_extra_keys=True, **renamed)


def _mapping(kind: Any, converter: Converter) -> _Hook:
    structure = mapping_structure_factory(kind, converter)
    of = get_args(kind)[1]
    if not dataclasses.is_dataclass(of) or "name" not in _keys(of):
        return structure

    def named(value: Any, kind: Any) -> Any:
        return structure({k: {**one, _NAME: k} if isinstance(one, dict) else one for k, one in value.items()}, kind)

    return named


def _shaped(shape: type, wanted: str, factory: Callable[[Any, Converter], _Hook]) -> Callable[[Any, Converter], _Hook]:
    """A factory of hooks that first check the value's type: cattrs itself accepts any iterable, even a string."""

    def make(kind: Any, converter: Converter) -> _Hook:
        structure = factory(kind, converter)

        def hook(value: Any, kind: Any) -> Any:
            _must(value, isinstance(value, shape), wanted)
            return structure(value, kind)

        return hook

    return make


_origin: Callable[[Any], Any] = get_origin
_converter = Converter()
for _kind in (bool, int, float, str):
    _converter.register_structure_hook(_kind, _exact)
_converter.register_structure_hook(enum.StrEnum, _member)
_converter.register_structure_hook_func(lambda kind: _origin(kind) is Annotated, _checked)
for _predicate, _factory in (
    (dataclasses.is_dataclass, _shaped(dict, "a table", _fields)),
    (is_mapping, _shaped(dict, "a table", _mapping)),
    (lambda kind: _origin(kind) is tuple, _shaped(list, "a list", homogenous_tuple_structure_factory)),
):
    _converter.register_structure_hook_factory(_predicate, _factory)
