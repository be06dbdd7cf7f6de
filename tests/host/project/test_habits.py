# SPDX-License-Identifier: MIT
"""The pre-commit hooks run the same tools as `make lint`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TOP = Path(__file__).parents[3]
_PYTHON = r"(?:\S*/)?python -m "


def _tool(command: str) -> str:
    """Return the tool that `command` runs, with the arguments that select the checks.

    If the command changes to another folder first, the result also names the folder.
    """
    found = re.search(
        rf"{_PYTHON}(ruff format --check|ruff check|mypy|reuse lint)|/(lint-imports --no-cache|shirq lint)", command
    )
    if not found:
        return f"unknown: {command}"
    folder = re.search(r"\b(?:cd|env -C) (\S+)", command)
    return f"{found[1] or found[2]}{f' in {folder[1]}' if folder else ''}"


def _of_make(makefile: str) -> set[str]:
    """Return the tools of `make lint`."""
    (recipe,) = re.findall(r"^lint:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    variables = dict(re.findall(r"^(PYTHON|SHIRQ) := (.*)$", makefile, re.MULTILINE))
    assert variables.keys() == {"PYTHON", "SHIRQ"}
    for name, value in variables.items():
        recipe = recipe.replace(f"$({name})", value)
    return {_tool(line) for line in recipe.splitlines() if "$(DEPS)" not in line}


def _hooks(config: str) -> list[dict[str, str]]:
    """Return the hooks of pre-commit's configuration; each of its keys must have the value on the same line."""
    hooks = re.split(r"^      - (?=id:)", config, flags=re.MULTILINE)[1:]
    return [dict(re.findall(r"^ *(\w+): (.+)$", hook, re.MULTILINE)) for hook in hooks]


MAKEFILE = (TOP / "Makefile").read_text()
CONFIG = (TOP / ".pre-commit-config.yaml").read_text()
HOOKS = _hooks(CONFIG)


def test_hooks_and_make_lint_run_the_same_tools() -> None:
    tools = [_tool(hook["entry"]) for hook in HOOKS]
    assert len(tools) == len(set(tools)) == 7
    assert set(tools) == _of_make(MAKEFILE)
    assert not [tool for tool in tools if tool.startswith("unknown")]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("$(PYTHON) -m ruff check .", "$(PYTHON) -m pylint ."),
        ("\t@$(PYTHON) -m mypy\n", ""),
        ("\t@$(SHIRQ) lint", "\t@$(PYTHON) -m vulture\n\t@$(SHIRQ) lint"),
        ("cd examples/pci_serial && $(CURDIR)/$(PYTHON) -m mypy", "cd examples/other && $(CURDIR)/$(PYTHON) -m mypy"),
    ],
    ids=["other tool", "tool removed", "tool added", "other folder"],
)
def test_a_tool_that_only_one_of_them_runs_is_noticed(old: str, new: str) -> None:
    assert MAKEFILE.count(old) == 1
    assert _of_make(MAKEFILE.replace(old, new)) != {_tool(hook["entry"]) for hook in HOOKS}


def test_hooks_fetch_nothing() -> None:
    """All hooks are local, and run tools that `make deps` has installed."""
    assert re.findall(r"^ *- repo: (.+)$", CONFIG, re.MULTILINE) == ["local"]
    assert [hook["id"] for hook in HOOKS if hook["language"] != "system"] == []
    assert "additional_dependencies" not in CONFIG
    assert [hook["id"] for hook in HOOKS if ".venv/bin/" not in hook["entry"]] == []


def test_every_source_is_checked_by_a_hook() -> None:
    """Each hook's pattern must match an existing file, because the folders that it names may be renamed."""
    names = [str(path.relative_to(TOP)) for path in TOP.glob("[!.]*/**/*") if path.is_file()] + ["pyproject.toml"]
    patterns = {hook["id"]: hook["files"] for hook in HOOKS if "files" in hook}
    assert patterns.keys() == {"mypy", "mypy-example", "import-linter", "checkpatch-and-sparse"}
    matched = {hook: {name for name in names if re.search(pattern, name)} for hook, pattern in patterns.items()}
    assert {"harness/shirq_bench/errors.py", "guest/shirq/abi.py", "tests/host/project/test_habits.py"} < matched[
        "mypy"
    ]
    assert "examples/pci_serial/test_uartline.py" in matched["mypy-example"]
    assert {"harness/shirq_bench/errors.py", "guest/shirq/abi.py"} < matched["import-linter"]
    modules = {"kmod/main.c", "kmod/Kbuild", "guest/modules/naive/naive.h", "examples/pci_serial/driver/uartline.c"}
    assert modules | {"tests/guest/giveup/giveup.c"} < matched["checkpatch-and-sparse"]
