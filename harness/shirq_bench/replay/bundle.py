# SPDX-License-Identifier: MIT
"""A bundle: a failure as one file, to be played again on another machine.

A bundle is a zip archive, because its directory names every member's size before anything is unpacked, and because
every system can open it. The first member, bundle.json, describes the failure and lists all other members with their
sizes, modes and SHA-256. These are the failure's folder (``failure/``), the sources that it needs (``source/N/``), and
for a failure that happens again to the byte the frozen guest with which its run began (``guest/``). The same failure
gives the same bytes: members are sorted and have one date.

A bundle comes from somebody else. `unpack` checks every name, size and hash, writes into a new folder beside the
target, and moves it there only when all is right.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from shirq_bench import supervisor, toml
from shirq_bench.channels.log import ENTRY, HEADER_SIZE, LOG, LogError, read_log
from shirq_bench.errors import BenchError
from shirq_bench.replay import failure
from shirq_bench.replay.case import Finding
from shirq_bench.replay.failure import Failure, OfCase, OfSweep, OfTest, Source
from shirq_bench.toml import at_least
from shirq_bench.vm import template
from shirq_bench.vm.machine import Machine

SUFFIX = ".shirq.zip"
FORMAT = 1
#: The parts of a bundle, below its top.
FAILURE, SOURCE, GUEST = "failure", "source", "guest"
_INDEX = "bundle.json"
#: The largest bundle that is unpacked unless its user allows more, in bytes: a guest's memory and a long event log.
LIMIT = 4 << 30
_MOST_MEMBERS = 100_000
_MOST_INDEX = 64 << 20
_DATE = (1980, 1, 1, 0, 0, 0)
#: The weakest compression: a guest's memory takes 1.5 s instead of 5.6 s, and 44 MiB instead of 41 MiB.
_LEVEL = 1
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Member:
    """A member of a bundle: a file, a ``folder``, or a symbolic ``link`` with its target. Only a file has a content."""

    mode: int
    size: Annotated[int, at_least(0)] = 0
    sha256: str = ""
    link: str = ""
    folder: bool = False

    @property
    def has_content(self) -> bool:
        """Whether the archive has a member of its own for it, besides the entry in bundle.json."""
        return not (self.link or self.folder)


@dataclass(frozen=True)
class _Index:
    """bundle.json. ``sources`` gives the folder in the bundle for each path of the failure's sources."""

    format: int
    failure: Mapping[str, Any]
    sources: Mapping[str, str]
    members: Mapping[str, Member]


@dataclass(frozen=True)
class Bundle:
    """An unpacked bundle: its failure's ``folder``, in which all paths lead into the bundle; and its frozen guest."""

    folder: Path
    failure: Failure
    guest: Path | None


# ------------------------------------------------------------------- pack


def pack(folder: Path, target: Path, guest: bool = True) -> list[str]:
    """Write the failure in ``folder`` as the bundle ``target``, with its frozen guest or without.

    Returns what a replay elsewhere will lack. `BenchError` if a source has changed since the failure.
    """
    made = failure.load(folder)
    notes: list[str] = []
    members = [
        _described(f"{FAILURE}/{path.relative_to(folder).as_posix()}", path)
        for path in folder.rglob("*")
        if path.is_file() and path.name != failure.FILE
    ]
    places: dict[str, str] = {}
    for number, (given, source) in enumerate(made.sources.items()):
        path = Path(given)
        _require_unchanged(path, source)
        places[given] = f"{SOURCE}/{number}/{path.name}"
        for name in source.files(path):
            inside = (PurePosixPath(places[given]) / name.as_posix()).as_posix()
            members.append(_described(inside, path / name, links=source.has_links))
    if made.exact and guest:
        if frozen := _frozen(folder, notes):
            members += [_described(f"{GUEST}/{name}", frozen / name) for name in _GUEST_FILES]
    elif made.exact:
        notes.append("the frozen guest is left out: a replay elsewhere makes its own, so its log may differ")
    with supervisor.owned_directory(".bundle-", target.absolute().parent) as place:
        archive = place / target.name
        _write(archive, made, places, sorted(members))
        archive.replace(target)
    return notes


_GUEST_FILES = ("console.log", template.DESCRIPTION, "memory", "state")


def _require_unchanged(path: Path, source: Source) -> None:
    if not path.exists():
        raise BenchError(f"{path}, which the failure needs to happen again, does not exist any more")
    if source.now(path) != source:
        raise BenchError(
            f"{path} has changed since the failure, so that a bundle of it would show something else: let it fail once"
            " more"
        )


def _frozen(folder: Path, notes: list[str]) -> Path | None:
    """The frozen guest with which the run in ``folder`` began, if the cache still has it."""
    found = Finding.load(folder / OfSweep().finding)
    frozen = template.path(found.case.machine)
    if frozen.name == found.template and frozen.exists():
        return frozen
    notes.append(
        "the guest with which the run began is not in the cache any more, because the module, the guest or QEMU has "
        "changed: a replay makes another one, so its log may differ"
    )
    return None


def _write(
    archive: Path, made: Failure, places: Mapping[str, str], members: Sequence[tuple[str, Member, Path]]
) -> None:
    index = {
        "format": FORMAT,
        "failure": made.as_data(),
        "sources": dict(places),
        "members": {name: vars(member) for name, member, _ in members},
    }
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as out:
        out.writestr(_info(_INDEX, 0o644), json.dumps(index, indent=1, sort_keys=True) + "\n")
        for name, member, path in members:
            if member.has_content:
                with out.open(_info(name, member.mode), "w", force_zip64=True) as into:
                    for chunk in _content(path):
                        into.write(chunk)


def _info(name: str, mode: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _DATE)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = (stat.S_IFREG | mode) << 16
    info.create_system = 3  # Unix: the attributes are a file's mode
    return info


def _described(name: str, path: Path, links: bool = False) -> tuple[str, Member, Path]:
    """The member ``name`` of the file at ``path``; ``links``: a symbolic link is a link, not the file it leads to."""
    if links and path.is_symlink():
        return name, Member(mode=0o777, link=str(path.readlink())), path
    mode = stat.S_IMODE(path.stat().st_mode)
    if path.is_dir():
        return name, Member(mode=mode, folder=True), path
    sha, size = hashlib.sha256(), 0
    for chunk in _content(path):
        sha.update(chunk)
        size += len(chunk)
    return name, Member(mode=mode, size=size, sha256=sha.hexdigest()), path


def _content(path: Path) -> Iterator[bytes]:
    """The content of a file in chunks; of an event log, only the header and the entries that were written."""
    left = _used(path) if path.name == LOG else path.stat().st_size
    with path.open("rb") as file:
        while chunk := file.read(min(_CHUNK, left)):
            left -= len(chunk)
            yield chunk


def _used(log: Path) -> int:
    """The bytes of an event log without its empty part; of a file that is no log, all."""
    try:
        return HEADER_SIZE + read_log(log).header.head * ENTRY.size
    except LogError:
        return log.stat().st_size


# ------------------------------------------------------------------- unpack


def unpack(archive: Path, target: Path, limit: int = LIMIT) -> Bundle:
    """Unpack a bundle into the folder ``target``, which is replaced.

    Raises `BenchError`, and changes nothing, if the bundle is damaged, of another version, larger than ``limit`` bytes,
    or has a name that leads out of the target.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with supervisor.owned_directory(".bundle-", target.absolute().parent) as place:
        made = place / "bundle"
        made.mkdir()
        try:
            with zipfile.ZipFile(archive) as source:
                index = _index(source, archive, limit)
                _extract(source, index, made)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, UnicodeError) as error:
            raise BenchError(f"{archive} is no bundle, or it is damaged: {error}") from error
        _rewrite(made, target, index, str(archive))
        if target.exists():
            shutil.rmtree(target)
        made.rename(target)
    return _opened(target)


def _opened(target: Path) -> Bundle:
    folder = target / FAILURE
    # QEMU, which maps the guest's memory, runs in another directory.
    guest = (target / GUEST).resolve()
    return Bundle(folder, failure.load(folder), guest if guest.is_dir() else None)


def _index(source: zipfile.ZipFile, archive: Path, limit: int) -> _Index:
    """The checked directory of a bundle."""

    def refuse(why: str) -> BenchError:
        return BenchError(f"{archive} is no bundle, or it is damaged: {why}")

    infos = source.infolist()
    if not infos or infos[0].filename != _INDEX:
        raise refuse(f"its first member is not {_INDEX}")
    if infos[0].file_size > _MOST_INDEX:
        raise refuse(f"{_INDEX} has {infos[0].file_size} bytes, at most {_MOST_INDEX} are read")
    with source.open(infos[0]) as file:
        text = file.read(_MOST_INDEX + 1)
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise refuse(f"{_INDEX} is no JSON: {error}") from error
    version = data.get("format") if isinstance(data, dict) else None
    if version != FORMAT:
        raise BenchError(f"{archive}: the format of the bundle is {version!r}, but this shirq reads only {FORMAT}")
    index = toml.convert(_Index, data, f"{archive}: {_INDEX}")
    failure.parse(dict(index.failure), f"{archive}: {_INDEX}: failure")
    if len(index.members) > _MOST_MEMBERS:
        raise refuse(f"it lists {len(index.members)} members, at most {_MOST_MEMBERS} are unpacked")
    names = [info.filename for info in infos[1:]]
    listed = [name for name, member in index.members.items() if member.has_content]
    if sorted(names) != sorted(listed):
        odd = sorted({*names} ^ {*listed}) or [name for name in names if names.count(name) > 1]
        raise refuse(f"{_INDEX} and the archive's directory disagree about {odd[0]!r}")
    total = 0
    for info in infos[1:]:
        member = index.members[info.filename]
        if info.file_size != member.size:
            raise refuse(f"{info.filename!r} has {info.file_size} bytes, but {_INDEX} says {member.size}")
        total += member.size
    if total > limit:
        raise BenchError(
            f"{archive} has {total >> 20} MiB of contents, more than the limit of {limit >> 20} MiB: if you trust it, "
            "give a larger limit with --limit"
        )
    folders = {str(parent) for name in index.members for parent in PurePosixPath(name).parents}
    for name, member in index.members.items():
        if problem := _problem(name, member, folders):
            raise refuse(f"the name {name!r} {problem}")
    for given, place in index.sources.items():
        if unsafe(place) or not place.startswith(f"{SOURCE}/"):
            raise refuse(f"the source {given!r} is at {place!r}, which is not below {SOURCE}/")
    return index


def _problem(name: str, member: Member, folders: set[str]) -> str:
    """Why a member cannot be unpacked; empty if it can."""
    if unsafe(name):
        return "leads out of the bundle, or is no plain path"
    if PurePosixPath(name).parts[0] not in (FAILURE, SOURCE, GUEST):
        return f"is in none of {FAILURE}/, {SOURCE}/, {GUEST}/"
    if name in folders and not member.folder:
        return "is a file and a folder"
    if not member.has_content and not name.startswith(f"{SOURCE}/"):
        return f"is a link or a folder, which only {SOURCE}/ may have"
    return ""


def unsafe(name: str) -> bool:
    """Whether a name is not the plain path of a file below the bundle."""
    return (
        not name
        or name.startswith("/")
        or "\\" in name
        or "\0" in name
        or any(part in ("", ".", "..") for part in name.split("/"))
        or any(len(part.encode(errors="surrogatepass")) > 255 for part in name.split("/"))
    )


def _extract(source: zipfile.ZipFile, index: _Index, place: Path) -> None:
    for name, member in index.members.items():
        if member.has_content:
            _extract_file(source, name, member, place / name)
        else:
            (place / name if member.folder else (place / name).parent).mkdir(parents=True, exist_ok=True)
    # Make the links last: no file can then be written through one. Set the folders' modes at the end, inner ones first.
    for name, member in index.members.items():
        if member.link:
            (place / name).symlink_to(member.link)
    for name, member in sorted(index.members.items(), reverse=True):
        if member.folder:
            (place / name).chmod(_mode(member) | 0o700)


def _mode(member: Member) -> int:
    """The mode of an unpacked file: its owner can read and write it, and nobody gets the rights of another user."""
    return member.mode & 0o777 | 0o600


def _extract_file(source: zipfile.ZipFile, name: str, member: Member, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sha, left = hashlib.sha256(), member.size
    with source.open(name) as data, path.open("wb") as out:
        # The directory's size may be a lie: read one byte more than it says, and no more.
        while chunk := data.read(min(_CHUNK, left + 1)):
            left -= len(chunk)
            if left < 0:
                break
            sha.update(chunk)
            if chunk.count(0) == len(chunk):
                out.seek(len(chunk), 1)  # leave a hole
            else:
                out.write(chunk)
        out.truncate(member.size)
    if left or sha.hexdigest() != member.sha256:
        raise zipfile.BadZipFile(f"the content of {name!r} is not what {_INDEX} says")
    path.chmod(_mode(member))


def _rewrite(made: Path, target: Path, index: _Index, what: str) -> None:
    """Write failure.json, and let it and the guests' machines name the sources where they are now."""
    there = failure.parse(dict(index.failure), what)
    if odd := {*there.sources} ^ {*index.sources}:
        raise BenchError(f"{what}: the failure and the bundle disagree about the source {min(odd)!r}")
    places = {given: str((target / place).absolute()) for given, place in index.sources.items()}
    how = there.how
    if isinstance(how, OfTest):
        how = replace(how, root=places.get(how.root, how.root))
    elif isinstance(how, OfCase):
        how = replace(how, case=places.get(how.case, how.case), driver=places.get(how.driver, how.driver))
    folder = made / FAILURE
    folder.mkdir(exist_ok=True)
    moved = replace(there, how=how, sources={places[given]: source for given, source in there.sources.items()})
    moved.save(folder)
    for guest in there.guests:
        if guest and unsafe(guest):
            raise BenchError(f"{what}: the folder of a guest is {guest!r}, which is no plain path")
        failure.describe(folder / guest, _moved(failure.machine_of(folder / guest), places))
    if isinstance(how, OfSweep):
        if unsafe(how.finding):
            raise BenchError(f"{what}: the finding is {how.finding!r}, which is no plain path")
        found = Finding.load(folder / how.finding)
        replace(found, case=replace(found.case, machine=_moved(found.case.machine, places))).save(folder / how.finding)


def _moved(machine: Machine, places: Mapping[str, str]) -> Machine:
    return machine.with_(
        modules=tuple(places.get(path, path) for path in machine.modules),
        overlay=tuple(places.get(path, path) for path in machine.overlay),
    )
