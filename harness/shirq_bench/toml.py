# SPDX-License-Identifier: MIT
"""TOML files into frozen dataclasses, with cattrs: types are exact, and no key is unknown.

An error names the file, each key that is wrong, and what would be right. A check that a dataclass makes in its
``__post_init__``, with `ValueError`, is reported as of its table. A field ``name`` is the key of the table itself, in
a mapping of tables; the metadata ``key`` of a field is its key, if that is no name of Python.
"""

from __future__ import annotations

import dataclasses
import enum
import tomllib
from collections.abc import Callable, Iterator, Sized
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

from shirq_bench.errors import BenchError

_T = TypeVar("_T")
_Filled = TypeVar("_Filled", bound=Sized)
_Hook = Callable[[Any, Any], Any]
#: Under this key a table gets its name; a file's own key ``name`` is unknown.
_NAME = ""


class TomlError(BenchError):
    """A file does not say what it should: which file, which key, what is wrong with it, what would be right."""


def read(kind: type[_T], path: Path) -> _T:
    """The ``kind``, a dataclass or a mapping of them, that a file describes. Raises `TomlError`."""
    try:
        text = path.read_text()
    except UnicodeDecodeError as error:
        raise TomlError(f"{path}: {error}") from error
    return parse(kind, text, str(path))


def parse(kind: type[_T], text: str, what: str) -> _T:
    """The ``kind`` that a text describes; messages call it ``what``. Raises `TomlError`."""
    return convert(kind, load(text, what), what)


def load(text: str, what: str) -> dict[str, Any]:
    """What a text says, whatever it is; messages call it ``what``. Raises `TomlError`."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TomlError(f"{what}: {error}") from error


def convert(kind: type[_T], data: object, what: str) -> _T:
    """The ``kind`` of what `tomllib` made of a file or a part of one; messages call it ``what``. Raises `TomlError`."""
    try:
        return _converter.structure(data, kind)
    except (BaseValidationError, ValueError) as error:
        raise TomlError(f"{what}: {'; '.join(p.lstrip(': ') for p in _problems(error, ''))}") from error


def at_least(least: int) -> Callable[[int], int]:
    """For ``Annotated[int, at_least(1)]``."""

    def check(value: int) -> int:
        _must(value, value >= least, f"at least {least}")
        return value

    return check


def one_of(*words: str) -> Callable[[str], str]:
    """For ``Annotated[str, one_of("red", "blue")]``."""

    def check(value: str) -> str:
        _must(value, value in words, f"one of {', '.join(words)}")
        return value

    return check


def filled(value: _Filled) -> _Filled:
    """For ``Annotated[str, filled]`` and the like."""
    if not value:
        raise ValueError("must not be empty")
    return value


#: A string with something in it, a list of such, and a list of strings, at least one.
Text = Annotated[str, filled]
Texts = tuple[Text, ...]
Words = Annotated[tuple[str, ...], filled]


def _problems(error: BaseException, path: str, of_table: bool = False) -> Iterator[str]:
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
            yield f"{path} is missing"
        case ForbiddenExtraKeysError():
            known = sorted({*_keys(error.cl).values()} - {_NAME})
            yield f"{path}: {', '.join(sorted(error.extra_fields))} is not known: there are {', '.join(known)}"
        case _:
            yield f"{path}{':' if of_table else ''} {error}"


def _must(value: object, right: object, wanted: str) -> None:
    if not right:
        raise ValueError(f"must be {wanted}, not {value!r}")


def _exact(value: Any, kind: type) -> Any:
    # A bool is an int to Python; an int will do where a float is wanted.
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
    """The fields of a dataclass, and what a file calls them."""
    return {
        field.name: _NAME if field.name == "name" else field.metadata.get("key", field.name)
        for field in dataclasses.fields(kind)
    }


def _fields(kind: Any, converter: Converter) -> _Hook:
    # cattrs resolves names of types, too, but drops what `Annotated` says.
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
    """A factory of hooks that first check the value's type: cattrs takes whatever has items, a string for one."""

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
