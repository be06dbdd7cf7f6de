# SPDX-License-Identifier: MIT
"""`shirq new`: a small project for one's own driver, from templates in starter/."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from shirq_bench import pages, toml
from shirq_bench.campaigns.zoo.case import Case
from shirq_bench.campaigns.zoo.own import Own
from shirq_bench.errors import BenchError

_STARTER: Final = f"{__package__}.starter"
_CARDS: Final = Path(__file__).with_name("starter") / "cards.toml"
_CASES: Final = ("busy-line", "driver-goes", "neighbours-storm")
#: Words in a program's text by which the kernel driver that it uses is told; otherwise shirq.
_USES: Final = (("vfio", "vfio-pci"), ("uio", "uio_pci_generic"))


@dataclass(frozen=True)
class Card:
    """A card of starter/cards.toml: what its device and its driver need."""

    name: str
    preset: str = ""
    registers: str = ""
    device: str = ""
    sources: int = 0
    setup: str = ""
    handle: str = ""


@click.command("new")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--module", type=click.Path(path_type=Path), metavar="PATH", help="The folder of your module's source.")
@click.option("--program", type=click.Path(path_type=Path), metavar="FILE", help="Your program.")
@click.option("--card", metavar="PROFILE", help="A driver in user space for this card, by its profile.")
def command(directory: Path, module: Path | None, program: Path | None, card: str | None) -> None:
    """Make a small project for a driver: a case as data, a test, and how to see it fail.

    Without an option, the project has a small kernel module for the bench's own device, to begin with.

    \b
    shirq new mine                           a module of a hundred lines, its case, its test
    shirq new mine --module ../my-module     the same for your module
    shirq new mine --program driver.py       for a program that uses shirq, UIO or VFIO
    shirq new mine --card plx9050            a driver in user space, from the card's profile
    cd mine && shirq case run cases/busy-line.toml
    """
    if sum(each is not None for each in (module, program, card)) > 1:
        raise click.UsageError("--module, --program and --card exclude each other: a project has one driver")
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise BenchError(f"{directory} exists and is not an empty folder")
    values, files = _kind(directory, module, program, card)
    name = directory.resolve().name
    sources = values["sources"]
    values |= {"name": name, "symbol": _symbol(name), "project": _project(name), "quoted": _quoted}
    values |= {"from_sources": f", sources = {sources:#x}" if sources else ""}
    templates = {
        "pyproject.toml": "pyproject.toml.j2",
        "README.md": "README.md.j2",
        "test_driver.py": "test_driver.py.j2",
        **{f"cases/{case}.toml": f"cases/{case}.toml.j2" for case in _CASES},
        **{file.format(**values): template for file, template in files.items()},
    }
    texts = {file: pages.render(_STARTER, each, **values).lstrip("\n") for file, each in templates.items()}
    texts["case.schema.json"] = json.dumps(toml.schema(Case), indent=1) + "\n"
    for file, text in texts.items():
        path = directory / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        click.echo(f"{path}")
    click.echo(f"Next: shirq case run {directory / 'cases/busy-line.toml'}; {directory / 'README.md'} goes on")


def _quoted(text: str) -> str:
    """The text between the quotes of a string in TOML, or in Python."""
    return json.dumps(text, ensure_ascii=False)[1:-1].replace("\x7f", "\\u007f")


def _project(name: str) -> str:
    """A name like ``name`` that a Python project may have."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("._-") or "driver"


def _symbol(name: str) -> str:
    """A C and Python name like ``name``."""
    found = re.sub(r"\W", "_", name.lower(), flags=re.ASCII)
    return found if found[:1].isalpha() else f"driver_{found}"


def _kind(
    directory: Path, module: Path | None, program: Path | None, card: str | None
) -> tuple[dict[str, Any], dict[str, str]]:
    """The values of the templates, and the driver's own files with their templates."""
    values: dict[str, Any] = {
        "kind": "program", "bind": "", "card": None, "preset": "", "registers": "", "device": "", "sources": 0,
        "own_registers": False,
    }  # fmt: skip
    if card is not None:
        cards = toml.read(dict[str, Card], _CARDS)
        if card not in cards:
            raise BenchError(f"no card {card!r}: a project can be made for {', '.join(cards)}")
        chosen = cards[card]
        values |= {
            "card": chosen, "driver": "../driver/driver.py", "preset": chosen.preset, "registers": chosen.registers,
            "device": chosen.device, "sources": chosen.sources,
        }  # fmt: skip
        return values, {"driver/driver.py": "driver/driver.py.j2"}
    if program is not None:
        values |= {"driver": _from(directory, program), "bind": _used(Own(program).path), "own_registers": True}
        return values, {}
    values["kind"] = "module"
    if module is not None:
        if not Own(module).is_module:
            raise BenchError(f"{module} is not a folder: --module takes the folder of a module's source")
        values |= {"driver": _from(directory, module), "own_registers": True}
        return values, {}
    values["driver"] = "../driver"
    return values, {"driver/Kbuild": "driver/Kbuild.j2", "driver/{symbol}.c": "driver/driver.c.j2"}


def _from(directory: Path, path: Path) -> str:
    """The path as the project's case names it."""
    return os.path.relpath(path.resolve(), directory.resolve() / "cases")


def _used(program: Path) -> str:
    text = program.read_bytes().lower()
    return next((driver for word, driver in _USES if word.encode() in text), "")
