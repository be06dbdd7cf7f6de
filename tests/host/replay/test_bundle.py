# SPDX-License-Identifier: MIT
"""A bundle has all that a failure needs, and a bundle that is damaged or hostile is refused and changes nothing."""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logwriter import Story, pack_entries, pack_header
from shirq_bench.channels.log import LOG, read_log
from shirq_bench.errors import BenchError
from shirq_bench.replay import bundle, failure
from shirq_bench.replay.failure import Failure, OfCommand, OfTest, Source
from shirq_bench.vm.machine import Machine

Files = dict[str, Any]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a command's failure, with a module, an overlay, and a log of which little is used."""
    top = tmp_path_factory.mktemp("made")
    folder, module, overlay = top / "failure", top / "driver", top / "laid"
    for each in (folder, module, overlay / "etc", overlay / "empty"):
        each.mkdir(parents=True)
    (module / "Kbuild").write_text("obj-m := mine.o\n")
    (module / "mine.c").write_text("int x;\n")
    (module / "mine.o").write_text("of a build")
    (overlay / "etc/.hidden").write_text("counts, too\n")
    (overlay / "etc/mine").write_text("#!/bin/sh\n")
    (overlay / "etc/mine").chmod(0o750)
    (overlay / "etc/link").symlink_to("/usr/share/mine")
    told = Story().claimed_interrupt()
    header = pack_header(told.devices, capacity=1 << 16, head=len(told.entries))
    log = header + pack_entries(told.devices, told.entries)
    (folder / LOG).write_bytes(log)
    os.truncate(folder / LOG, len(log) + (1 << 20))
    (folder / "console.log").write_text("the guest is up\n")
    machine = Machine(modules=(str(module),), overlay=(str(overlay),))
    failure.describe(folder, machine)
    sources = {str(module): Source("module").now(module), str(overlay): Source("tree").now(overlay)}
    how = OfCommand(("mine",), 60.0, False)
    Failure("mine", ("status 3",), how, versions={"kernel": "6.1"}, sources=sources).save(folder)
    return folder


@pytest.fixture(scope="module")
def packed(made: Path) -> Path:
    """Return the bundle of that failure."""
    target = made.parent / f"mine{bundle.SUFFIX}"
    assert bundle.pack(made, target) == []
    return target


def test_bundle_has_the_failure_and_its_sources(made: Path, packed: Path, tmp_path: Path) -> None:
    opened = bundle.unpack(packed, tmp_path / "out")
    assert opened.guest is None
    assert opened.failure.found == ("status 3",) and opened.failure.versions == {"kernel": "6.1"}
    assert read_log(opened.folder / LOG).entries == read_log(made / LOG).entries
    assert (opened.folder / LOG).stat().st_size < (made / LOG).stat().st_size - (1 << 19)
    machine = failure.machine_of(opened.folder)
    (module,), (overlay,) = map(Path, machine.modules), map(Path, machine.overlay)
    assert tmp_path in module.parents and module.name == "driver"
    assert sorted(path.name for path in module.iterdir()) == ["Kbuild", "mine.c"]
    assert (overlay / "etc/mine").stat().st_mode & 0o777 == 0o750
    assert (overlay / "etc/.hidden").exists() and (overlay / "empty").is_dir()
    assert (overlay / "etc/link").readlink() == Path("/usr/share/mine")
    assert set(opened.failure.sources) == {str(module), str(overlay)}
    again = tmp_path / f"again{bundle.SUFFIX}"
    bundle.pack(opened.folder, again)
    assert bundle.unpack(again, tmp_path / "again").failure.sources.keys() != opened.failure.sources.keys()


def test_the_same_failure_gives_the_same_bytes(made: Path, packed: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    os.utime(made / "console.log", (1, 1))
    bundle.pack(made, other)
    assert other.read_bytes() == packed.read_bytes()


def test_source_that_has_changed_is_refused(tmp_path: Path) -> None:
    folder, project = tmp_path / "failure", tmp_path / "project"
    folder.mkdir()
    project.mkdir()
    (project / "test_it.py").write_text("1\n")
    sources = {str(project): Source("project").now(project)}
    Failure("t", ("x",), OfTest("t", str(project), "", "6.1"), guests=(), sources=sources).save(folder)
    bundle.pack(folder, tmp_path / "one")
    (project / "test_it.py").write_text("2\n")
    with pytest.raises(BenchError, match="has changed since the failure"):
        bundle.pack(folder, tmp_path / "two")
    (project / "test_it.py").unlink()
    project.rmdir()
    with pytest.raises(BenchError, match="does not exist any more"):
        bundle.pack(folder, tmp_path / "two")
    assert not (tmp_path / "two").exists()


# ------------------------------------------------------------------- hostile


def _parts(packed: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    with zipfile.ZipFile(packed) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    return json.loads(contents.pop("bundle.json")), contents


def _written(target: Path, index: object, contents: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bundle.json", index if isinstance(index, str) else json.dumps(index))
        for name, content in contents.items():
            archive.writestr(name, content)
    return target


def _add(name: str, **more: object) -> Callable[[Files, dict[str, bytes]], None]:
    """Return a change that adds a member."""

    def change(index: Files, contents: dict[str, bytes]) -> None:
        content = b"mine"
        listed = {"mode": 0o644, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        index["members"][name] = listed | more
        if not (more.get("link") or more.get("folder")):
            contents[name] = content

    return change


def _set(*path: str, value: object) -> Callable[[Files, dict[str, bytes]], None]:
    """Return a change of a value in bundle.json."""

    def change(index: Files, contents: dict[str, bytes]) -> None:
        for key in path[:-1]:
            index = index[key]
        index[path[-1]] = value

    return change


def _beneath_a_link(index: Files, contents: dict[str, bytes]) -> None:
    _add("source/1/laid/out", link="/tmp")(index, contents)
    _add("source/1/laid/out/mine")(index, contents)


def _lose(index: Files, contents: dict[str, bytes]) -> None:
    del contents["failure/console.log"]


def _alter(index: Files, contents: dict[str, bytes]) -> None:
    contents["failure/console.log"] = contents["failure/console.log"][::-1]


def _first_source(value: object) -> Callable[[Files, dict[str, bytes]], None]:
    def change(index: Files, contents: dict[str, bytes]) -> None:
        index["sources"][next(iter(index["sources"]))] = value

    return change


_HOSTILE = {
    "parent": (_add("failure/../../mine"), "leads out of the bundle"),
    "absolute": (_add("/tmp/mine"), "leads out of the bundle"),
    "backslash": (_add("failure\\..\\mine"), "leads out of the bundle"),
    "dot": (_add("failure/./mine"), "leads out of the bundle"),
    "empty part": (_add("failure//mine"), "leads out of the bundle"),
    "other place": (_add("elsewhere/mine"), "is in none of failure/, source/, guest/"),
    "long name": (_add("failure/" + 256 * "m"), "leads out of the bundle"),
    "link of the failure": (_add("failure/mine", link="/etc/passwd"), "is a link or a folder, which only source/"),
    "beneath a link": (_beneath_a_link, "is a file and a folder"),
    "file as folder": (_add("failure/console.log/mine"), "is a file and a folder"),
    "size": (_add("failure/mine", size=5), "has 4 bytes, but bundle.json says 5"),
    "negative size": (_add("failure/mine", size=-4), "at least 0"),
    "hash": (_add("failure/mine", sha256="0"), "is not what bundle.json says"),
    "altered": (_alter, "is not what bundle.json says"),
    "lost": (_lose, "disagree about 'failure/console.log'"),
    "other format": (_set("format", value=2), "the format of the bundle is 2, but this shirq reads only 1"),
    "no format": (_set("format", value=None), "the format of the bundle is None"),
    "failure's format": (_set("failure", "format", value=7), "the format is 7"),
    "unknown kind": (_set("failure", "kind", value="song"), "kind must be one of sweep, test, case, command"),
    "unknown key": (_set("failure", "how", "other", value=1), "unknown key other"),
    "guest elsewhere": (_set("failure", "guests", value=["../.."]), "is no plain path"),
    "source elsewhere": (_first_source("../mine"), "is not below source/"),
    "source of the failure": (_first_source("failure"), "is not below source/"),
    "no sources": (_set("sources", value={}), "disagree about the source"),
    "no members": (_set("members", value=[]), "members must be"),
}


@pytest.mark.parametrize("name", _HOSTILE)
def test_hostile_bundle_is_refused_and_changes_nothing(packed: Path, tmp_path: Path, name: str) -> None:
    change, said = _HOSTILE[name]
    index, contents = _parts(packed)
    change(index, contents)
    archive = _written(tmp_path / "hostile.zip", index, contents)
    _refused(archive, tmp_path / "place", said)


def _refused(archive: Path, place: Path, said: str, limit: int = bundle.LIMIT) -> None:
    """Require that the bundle is refused with these words, and that what was in its target is still there alone."""
    target = place / "out"
    target.mkdir(parents=True)
    (target / "before").write_text("mine")
    with pytest.raises(BenchError) as caught:
        bundle.unpack(archive, target, limit)
    assert said in str(caught.value)
    assert [str(path.relative_to(place)) for path in sorted(place.rglob("*"))] == ["out", "out/before"]


def test_contents_above_the_limit_are_refused_before_anything_is_written(packed: Path, tmp_path: Path) -> None:
    _refused(packed, tmp_path, "more than the limit of 0 MiB: if you trust it, give a larger limit", limit=1000)


def test_lie_about_a_size_writes_no_more_than_was_said(packed: Path, tmp_path: Path) -> None:
    """The archive's directory says 4 bytes; the member unpacks to 64 MiB."""
    index, contents = _parts(packed)
    bomb = bytes(64 << 20)
    index["members"]["failure/bomb"] = {"mode": 0o644, "size": 4, "sha256": hashlib.sha256(bomb).hexdigest()}
    archive = _written(tmp_path / "bomb.zip", index, {**contents, "failure/bomb": bomb})
    data = bytearray(archive.read_bytes())
    at = data.index(b"PK\x01\x02", data.rindex(b"failure/bomb") - 60)
    data[at + 24 : at + 28] = (4).to_bytes(4, "little")
    archive.write_bytes(data)
    with zipfile.ZipFile(archive) as lying:
        assert lying.getinfo("failure/bomb").file_size == 4
    _refused(archive, tmp_path / "place", "no bundle, or it is damaged")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "File is not a zip file"),
        (b"SHIRQLOG", "File is not a zip file"),
        (None, "its first member is not bundle.json"),
    ],
    ids=["empty", "no archive", "another archive"],
)
def test_other_file_is_no_bundle(tmp_path: Path, content: bytes | None, said: str) -> None:
    if content is None:
        other = io.BytesIO()
        with zipfile.ZipFile(other, "w") as archive:
            archive.writestr("hello", "world")
        content = other.getvalue()
    (tmp_path / "x.zip").write_bytes(content)
    _refused(tmp_path / "x.zip", tmp_path / "place", said)


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, "null", '"x"', "\udcff"])
def test_directory_that_is_no_description_is_refused(tmp_path: Path, text: str) -> None:
    archive = tmp_path / "x.zip"
    with zipfile.ZipFile(archive, "w") as out:
        out.writestr("bundle.json", text.encode("utf-8", "surrogateescape"))
    _refused(archive, tmp_path / "place", "x.zip")


# ------------------------------------------------------------------- damaged

_DAMAGE = st.lists(
    st.tuples(st.sampled_from(["flip", "cut", "zero", "insert"]), st.floats(0, 1), st.integers(1, 255)),
    min_size=1,
    max_size=4,
)


def _damaged(data: bytes, damage: list[tuple[str, float, int]]) -> bytes:
    for how, where, value in damage:
        at = min(int(where * len(data)), len(data) - 1) if data else 0
        if how == "flip" and data:
            data = data[:at] + bytes([data[at] ^ value]) + data[at + 1 :]
        elif how == "cut":
            data = data[:at]
        elif how == "zero":
            data = data[:at] + bytes(min(value, len(data) - at)) + data[at + value :]
        else:
            data = data[:at] + bytes([value]) * value + data[at:]
    return data


@given(damage=_DAMAGE)
def test_damaged_bundle_is_refused_or_has_the_same_contents(
    packed: Path, tmp_path_factory: pytest.TempPathFactory, damage: list[tuple[str, float, int]]
) -> None:
    """A damage of bytes that mean nothing, such as a date, may pass; any other is an error that changes nothing."""
    place = tmp_path_factory.mktemp("damaged")
    archive = place / "x.zip"
    archive.write_bytes(_damaged(packed.read_bytes(), damage))
    target = place / "out"
    try:
        bundle.unpack(archive, target)
    except BenchError as error:
        assert str(archive) in str(error)
        assert sorted(path.name for path in place.iterdir()) == ["x.zip"]
        return
    whole = place / "whole"
    bundle.unpack(packed, whole)

    def listed(top: Path) -> list[tuple[str, bytes]]:
        plain = [path for path in sorted(top.rglob("*")) if path.is_file() and path.suffix != ".json"]
        return [(str(path.relative_to(top)), path.read_bytes()) for path in plain]

    assert listed(target) == listed(whole)


def _places(data: object) -> list[tuple[Any, Any]]:
    """Each container of parsed JSON with each of its keys."""
    keys: list[Any] = list(data) if isinstance(data, dict) else list(range(len(data))) if isinstance(data, list) else []
    return [(data, key) for key in keys] + [place for key in keys for place in _places(data[key])]  # type: ignore[index]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just("../x"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(where=st.integers(0, 10_000), value=_JSON)
def test_any_description_is_read_or_refused(
    packed: Path, tmp_path_factory: pytest.TempPathFactory, where: int, value: object
) -> None:
    """Whatever bundle.json says, nothing is written outside of the target, and an error is one of the bench's."""
    place = tmp_path_factory.mktemp("odd")
    index, contents = _parts(packed)
    places = _places(index)
    container, key = places[where % len(places)]
    container[key] = value
    archive = _written(place / "x.zip", index, contents)
    left = {"x.zip"}
    try:
        bundle.unpack(archive, place / "out")
        left.add("out")
    except BenchError as error:
        assert "x.zip" in str(error)
    assert {path.name for path in place.iterdir()} == left
