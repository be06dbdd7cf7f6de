# SPDX-License-Identifier: MIT
"""Scripts of guest tests import only modules that a guest has, and each script is run by a test."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

GUEST_TESTS = Path(__file__).parents[2] / "guest"
SCRIPTS = sorted((GUEST_TESTS / "scripts").glob("*.py"))
#: Modules that the guest has besides Python's standard library.
AT_HAND = {"edu", "shirq", "guest.scripts.inguest"}


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_imports_only_modules_that_a_guest_has(path: Path) -> None:
    names = set(_imports(ast.parse(path.read_text())))
    other = {name for name in names if name.partition(".")[0] not in sys.stdlib_module_names}
    assert {name for name in other if not name.startswith("shirq.")} <= AT_HAND


@pytest.mark.parametrize(
    "path", [p for p in SCRIPTS if p.stem not in ("inguest", "loader")], ids=lambda path: path.stem
)
def test_every_script_is_run_by_a_test(path: Path) -> None:
    functions = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)]
    tests = "".join(test.read_text() for test in GUEST_TESTS.glob("test_*.py"))
    scripts = [f"{path.stem}.{node.name}" for node in functions if not node.name.startswith("_")]
    assert scripts and not [script for script in scripts if script not in tests]
