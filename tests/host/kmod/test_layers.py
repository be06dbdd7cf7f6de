# SPDX-License-Identifier: MIT
"""The module's files are layers: each file uses only files that are listed before it in kmod/Kbuild."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from shirq_bench.paths import need_checkout

KMOD = need_checkout("comparing the module's layers") / "kmod"
#: Headers that any file may include. A test checks that they include no header of a layer.
PURE = {"shirq.h", "breaker.h", "life.h", "core.h", "trace.h", "compat.h"}


def layers(kbuild: str) -> list[str]:
    """Return the module's objects without ``.o``, in the order of kmod/Kbuild."""
    listed = [line.split("=", 1)[1] for line in kbuild.splitlines() if line.startswith("shirq-")]
    return [name.removesuffix(".o") for name in " ".join(listed).split()]


def included(source: Path) -> list[str]:
    return re.findall(r'(?m)^#include "(.+)"$', source.read_text())


ORDER = layers((KMOD / "Kbuild").read_text())


def test_every_source_is_a_layer_and_every_header_belongs_to_one() -> None:
    assert len(ORDER) > 10
    assert sorted(ORDER) == sorted(path.stem for path in KMOD.glob("*.c") if not path.name.endswith(".mod.c"))
    headers = {path.name for path in KMOD.glob("*.h")}
    assert headers == {f"{name}.h" for name in ORDER if name != "main"} | PURE


@pytest.mark.parametrize("name", ORDER)
def test_a_file_uses_only_the_layers_before_it(name: str) -> None:
    allowed = {f"{other}.h" for other in ORDER[: ORDER.index(name) + 1]} | PURE
    used = {
        header
        for suffix in "ch"
        if (KMOD / f"{name}.{suffix}").exists()
        for header in included(KMOD / f"{name}.{suffix}")
    }
    assert used - allowed == set()
    assert used, f"{name} includes no header of the module"


def test_the_one_struct_needs_no_layer_but_the_programs() -> None:
    for name in PURE:
        assert set(included(KMOD / name)) <= {"program.h", "breaker.h", "life.h", "core.h", "trace.h"}


def test_nothing_is_declared_in_a_c_file() -> None:
    """If a C file itself declared a function of another layer, no include would reveal the call."""
    for path in KMOD.glob("*.c"):
        assert re.findall(r"(?m)^extern |^(?!static|module_)[a-z].*\);$", path.read_text()) == [], path.name
