# SPDX-License-Identifier: MIT
"""A driver under test that is not the catalogue's: a kernel module's source, or a program."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shirq_bench.campaigns.zoo.case import DRIVERS, Case, OwnOptions
from shirq_bench.errors import BenchError
from shirq_bench.provision import kmod

#: The guest's folder for modules and programs that are not in the image.
PLACE: Final = "/run/own"
_ELF: Final = b"\x7fELF"
#: The part of a dynamically linked program that names the loader, as it is in its first bytes.
_LOADER: Final = b"/ld-linux"


@dataclass(frozen=True)
class Own:
    """A driver: the folder of a kernel module's source, or a program's file."""

    path: Path

    def __post_init__(self) -> None:
        if not self.path.exists():
            raise BenchError(f"{self.path}: no such file or folder; give a module's folder, or a program")
        if self.is_module:
            kmod.require_source(self.path)
        elif self.path.suffix in (".c", ".ko"):
            raise BenchError(f"{self.path} is not a driver that runs: give the folder with the module's Kbuild")
        elif _dynamic(self.path):
            raise BenchError(
                f"{self.path} is linked to shared libraries, which the guest does not have: link it with -static"
            )

    @property
    def name(self) -> str:
        """The name in reports; never a name of the catalogue's drivers."""
        name = self.path.resolve().name
        return f"own {name}" if name in DRIVERS else name

    @property
    def is_module(self) -> bool:
        """Whether it is a kernel module."""
        return self.path.is_dir()

    def command(self, options: OwnOptions, address: str) -> list[str]:
        """A program's words in the guest. ``address`` is the device's PCI address."""
        program = f"{PLACE}/{self.path.name}"
        words = ("{address}" if options.options is None else options.options).replace("{address}", address).split()
        return [*(["python3", "-u"] if self.path.suffix == ".py" else []), program, *words]


def choose(word: str, case: Case, folder: Path, here: Path = Path()) -> str | Own:
    """The driver that a user asks for: the name of one of the catalogue's, a path, or nothing for the case's own.

    ``folder`` is the case's, and a path is relative to ``here``. `BenchError` if there is no such driver, or if one of
    the catalogue's does not know the registers of dev0.
    """
    if not word:
        return of_case(case, folder)
    if word not in DRIVERS:
        return Own(here / word)
    if not case.acknowledges_by_edu and not (word == "shirq" and case.shirq.programs):
        raise BenchError(
            f"{word} drives a device with the registers of the preset edu, and dev0 of {case.id} has others"
        )
    return word


def of_case(case: Case, folder: Path) -> Own:
    """The driver that a case in this folder names. `BenchError` if it names none."""
    if not case.own.driver:
        raise BenchError(f"{case.id} names no driver: give one with --driver, or as `driver` in its table [own]")
    return Own(folder / case.own.driver)


def _dynamic(program: Path) -> bool:
    head = program.read_bytes()[:4096]
    return head.startswith(_ELF) and _LOADER in head
