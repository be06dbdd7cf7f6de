# SPDX-License-Identifier: MIT
"""Addresses in a splat's call trace get source lines, for the modules that the bench has compiled."""

from __future__ import annotations

import os
import subprocess
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from shirq_bench.errors import BenchError
from shirq_bench.observe.source_lines import annotated, codes, splats_of
from shirq_bench.provision import kmod

_SOURCE = """\
extern void use(int);
static inline __attribute__((always_inline)) void inner(int a)
{
	use(a);
}
void outer(int a)
{
	use(1);
	inner(a);
	use(2);
}
__attribute__((section(".init.text"))) void first(void)
{
	use(3);
	use(4);
}
"""


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An object file with debugging information, in place of a module."""
    directory = tmp_path_factory.mktemp("module")
    (directory / "trial.c").write_text(_SOURCE)
    command = ["gcc", "-g", "-O2", "-fno-pie", "-fno-optimize-sibling-calls", "-c", "trial.c", "-o", "trial.ko"]
    subprocess.run(command, cwd=directory, check=True, timeout=60)
    return directory / "trial.ko"


def _returns(module: Path, function: str) -> list[int]:
    """Return the return address of each call in a function, as an offset."""
    listing = subprocess.run(
        ["objdump", "-d", f"--disassemble={function}", module], check=True, capture_output=True, text=True, timeout=60
    ).stdout.splitlines()
    places = [line for line in listing if line.startswith(" ")]
    start = int(places[0].partition(":")[0], 16)
    return [int(after.partition(":")[0], 16) - start for line, after in pairwise(places) if "\tcall" in line]


def test_each_call_of_a_trace_has_its_line(module: Path) -> None:
    calls = _returns(module, "outer")
    text = "\n".join(f"[    1.0] ? outer+{offset:#x}/0x40 [trial]" for offset in calls)
    assert [line.partition("[trial]")[2] for line in annotated(text, {"trial": module}).splitlines()] == [
        " (trial.c:8)",
        " (trial.c:4 < trial.c:9)",
        " (trial.c:10)",
    ]


def test_the_faulting_instruction_is_not_a_return_address(module: Path) -> None:
    offset = _returns(module, "first")[0]
    for register, line in (("RIP: 0010:", "trial.c:15"), (" ", "trial.c:14")):
        text = f"{register}first+{offset:#x}/0x20 [trial 1234abcd]"
        assert annotated(text, {"trial": module}) == f"{text} ({line})"


@pytest.mark.parametrize(
    "text",
    [
        "outer+0x1/0x40",
        "outer+0x1/0x40 [other]",
        "absent+0x1/0x40 [trial]",
        "outer+0x100000/0x40 [trial]",
        "no address\n\nat all",
        "",
    ],
)
def test_an_address_without_debugging_information_stays_alone(module: Path, text: str) -> None:
    assert annotated(text, {"trial": module}) == text


def test_a_splat_is_told_without_the_tools(module: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    text = "outer+0x9/0x40 [trial]"
    assert annotated(text, {"trial": module}) == text
    assert annotated(text, {"trial": tmp_path / "none.ko"}) == text


def test_functions_that_cannot_be_read_have_no_code(
    module: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The symbols are known, but objdump fails."""
    assert set(codes(module, ["outer", "first"])) == {"outer", "first"}
    fails = tmp_path / "objdump"
    fails.write_text("#!/bin/sh\nexit 1\n")
    fails.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert codes(module, ["outer", "first"]) == {}


_LOG = "Linux version 6\nWARNING: CPU: 0 PID: 1 at a.c:1\nRIP: 0010:outer+0x0/0x40 [trial]\n"


def test_the_lines_are_of_what_the_guest_was_built_from(module: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sources may have changed since, or may not compile any more."""

    def fails(*_: object) -> Path:
        raise BenchError("there is no compiler")

    for build in ("build", "build_own", "build_modules"):
        monkeypatch.setattr(kmod, build, fails)
    vm: Any = SimpleNamespace(parts=SimpleNamespace(objects=(module,)), machine=SimpleNamespace(modules=("trial",)))
    (splat,) = splats_of(vm, _LOG)
    assert splat.excerpt.endswith("[trial] (trial.c:7)")


def test_a_splat_is_told_without_the_modules(tmp_path: Path) -> None:
    vm: Any = SimpleNamespace(parts=SimpleNamespace(objects=(tmp_path / "trial.ko",)))
    (splat,) = splats_of(vm, _LOG)
    assert splat.excerpt.endswith("[trial]")
