# SPDX-License-Identifier: MIT
"""A failure: the folder that a failed test, case, sweep or command leaves, described by its file failure.json.

All failures have this one form. The file says what was found, with which exact versions, and how to do it again; the
folders of the guests have the guests' files beside it: machine.json, the event log, console, QMP and steps.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from shirq_bench import toml
from shirq_bench.errors import BenchError
from shirq_bench.provision import cache, checkout, kmod
from shirq_bench.toml import Words, one_of
from shirq_bench.vm import environment, template
from shirq_bench.vm.machine import Machine

FILE = "failure.json"
FORMAT = 1
#: Folders of a project without git that hold results.
_RESULTS = ("build", "dist", "node_modules", "__pycache__")
#: Parts of a finding that differ from run to run.
_NUMBER = re.compile(r"0x[0-9a-f]+|\d+(\.\d+)?( [mµn]s)?")


@dataclass(frozen=True)
class OfSweep:
    """A violation that a sweep has found; `shirq_bench.replay.case.Finding` reads ``finding`` in the folder."""

    finding: str = "finding.json"


@dataclass(frozen=True)
class OfTest:
    """A test, by pytest's id; ``root`` is the project's folder, ``config`` the file of its settings, relative to it."""

    id: str
    root: str
    config: str
    kernel: str


@dataclass(frozen=True)
class OfCase:
    """A case, by its file, with a driver: the name of one of the catalogue's, or a path."""

    case: str
    driver: str
    kernel: str


@dataclass(frozen=True)
class OfCommand:
    """A command in a guest; ``timeout`` in seconds."""

    words: Words
    timeout: float
    allow_splats: bool


How = OfSweep | OfTest | OfCase | OfCommand
_KINDS: dict[str, type[How]] = {"sweep": OfSweep, "test": OfTest, "case": OfCase, "command": OfCommand}


@dataclass(frozen=True)
class Source:
    """A file or folder outside of a failure's folder, of which the failure needs the contents to happen again.

    ``kind`` says which files count: of a ``module``'s source those that a build copies, of a ``tree`` all, of a
    ``project`` those that git does not ignore. ``digest`` is a hash of their names and contents.
    """

    kind: Annotated[str, one_of("file", "module", "tree", "project")]
    digest: str = ""

    def files(self, path: Path) -> list[Path]:
        """The files of the source at ``path``, relative to it; of a single file, "."; of a tree also its folders."""
        match self.kind:
            case "file":
                return [Path()]
            case "module":
                return sorted(file.relative_to(path) for file in kmod.files(path))
            case "tree":
                return sorted(file.relative_to(path) for file in path.rglob("*"))
        return _of_project(path)

    @property
    def has_links(self) -> bool:
        """Whether a symbolic link counts as a link, not as the file that it leads to."""
        return self.kind in ("tree", "project")

    def now(self, path: Path) -> Source:
        """This source with the digest of what is at ``path`` now."""
        listed = []
        for name in self.files(path):
            file = path / name
            if file.is_symlink() and self.has_links:
                listed.append((str(name), str(file.readlink())))
            else:
                listed.append((str(name), "" if file.is_dir() else cache.digest(file)))
        return replace(self, digest=cache.digest(listed))


def _of_project(path: Path) -> list[Path]:
    """The files of a project: without git, those that are not hidden, and no results of a build."""
    with contextlib.suppress(BenchError):
        if found := checkout.files(path):
            return found
    every = (file.relative_to(path) for file in path.rglob("*") if file.is_symlink() or file.is_file())
    return sorted(file for file in every if not any(_no_source(part) for part in file.parts))


def _no_source(part: str) -> bool:
    return part.startswith(".") or part in _RESULTS or part.endswith(("~", ".o", ".ko", ".mod", ".mod.c", ".pyc"))


@dataclass(frozen=True)
class _Form:
    """The contents of failure.json, before ``how`` is read by its kind."""

    format: int
    kind: Annotated[str, one_of(*_KINDS)]
    title: str
    found: tuple[str, ...]
    guests: tuple[str, ...]
    versions: Mapping[str, str]
    sources: Mapping[str, Source]
    how: Mapping[str, Any]


@dataclass(frozen=True)
class Failure:
    """``found`` is what went wrong, one sentence each. ``guests`` are the guests' folders, "" for the failure's own.

    ``versions`` are those of `environment.versions`. ``sources`` are the sources that it needs, by their paths.
    """

    title: str
    found: tuple[str, ...]
    how: How
    guests: tuple[str, ...] = ("",)
    versions: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, Source] = field(default_factory=dict)

    @property
    def exact(self) -> bool:
        """Whether the failure happens again to the byte, if its guest and the emulator are the same."""
        return isinstance(self.how, OfSweep)

    def as_data(self) -> dict[str, Any]:
        """The failure as data that JSON can hold."""
        kind = next(kind for kind, of in _KINDS.items() if isinstance(self.how, of))
        return {"format": FORMAT, "kind": kind, **asdict(self)}

    def save(self, folder: Path) -> None:
        """Write failure.json."""
        (folder / FILE).write_text(json.dumps(self.as_data(), indent=1) + "\n")


def load(folder: Path) -> Failure:
    """The failure in a folder. `BenchError` if it holds none, or one of another version."""
    file = folder / FILE
    if not file.is_file():
        raise BenchError(
            f"{folder} holds no {FILE}: give the folder of a failed test (build/artefacts/...), of a case that did not"
            " go well (build/cases/ID/DRIVER, build/zoo/ID/DRIVER), of a violation (build/sweep/...), or of"
            " `shirq run --artefacts`"
        )
    try:
        data = json.loads(file.read_text())
    except (ValueError, RecursionError) as error:
        raise BenchError(f"{file} is no JSON: {error}") from error
    return parse(data, str(file))


def parse(data: Any, what: str) -> Failure:
    """The failure that parsed JSON describes; error messages name it as ``what``. `BenchError` if it is invalid."""
    version = data.get("format") if isinstance(data, dict) else None
    if version != FORMAT:
        raise BenchError(f"{what}: the format is {version!r}, but this shirq reads only format {FORMAT}")
    form = toml.convert(_Form, data, what)
    how = toml.convert(_KINDS[form.kind], dict(form.how), f"{what}: how")
    return Failure(form.title, form.found, how, form.guests, dict(form.versions), dict(form.sources))


def record(folder: Path, title: str, found: Sequence[str], how: How, machines: Mapping[str, Machine]) -> Failure:
    """Write failure.json into a folder; ``machines`` gives the machine for each guest's folder below it.

    Also writes the guests' machine.json, unless they have one.
    """
    versions: dict[str, str] = {}
    for name, machine in machines.items():
        if not (folder / name / template.DESCRIPTION).exists():
            describe(folder / name, machine)
        versions |= environment.versions(machine)
    needed = {str(path): source.now(path) for path, source in _sources(how, list(machines.values())).items()}
    made = Failure(title, tuple(found), how, tuple(machines), versions, needed)
    made.save(folder)
    return made


def describe(folder: Path, machine: Machine) -> None:
    """Write a guest's machine into its folder; other keys of its machine.json stay."""
    file = folder / template.DESCRIPTION
    before = json.loads(file.read_text()) if file.exists() else {}
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(before | {"machine": machine.as_data()}, indent=1) + "\n")


def machine_of(folder: Path) -> Machine:
    """The machine of the guest in a folder. `BenchError` if its machine.json is missing or invalid."""
    file = folder / template.DESCRIPTION
    try:
        return Machine.from_data(json.loads(file.read_text())["machine"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BenchError(f"{file} does not describe a machine: {error}") from error


def _sources(how: How, machines: Sequence[Machine]) -> dict[Path, Source]:
    found = {Path(tree): Source("module") for machine in machines for tree in machine.modules}
    found |= {Path(tree): Source("tree") for machine in machines for tree in machine.overlay}
    match how:
        case OfTest():
            found[Path(how.root)] = Source("project")
        case OfCase():
            found[Path(how.case)] = Source("file")
            if (driver := Path(how.driver)).is_absolute():
                found[driver] = Source("module" if driver.is_dir() else "file")
    return found


def first_line(text: str) -> str:
    """What a finding says of an error: its message without the details that follow."""
    return text.strip().partition("\n")[0]


def alike(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether two findings are the same, apart from numbers: addresses, times and counts differ from run to run."""
    return [_NUMBER.sub("N", text) for text in one] == [_NUMBER.sub("N", text) for text in other]


def different(there: Mapping[str, str], here: Mapping[str, str]) -> list[str]:
    """A sentence for each version that differs between a failure's machine and this one."""
    names = dict.fromkeys([*there, *here])
    return [
        f"{name}: {there.get(name, 'not known')} there, {here.get(name, 'not known')} here"
        for name in names
        if there.get(name) != here.get(name)
    ]
