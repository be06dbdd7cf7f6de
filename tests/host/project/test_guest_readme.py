# SPDX-License-Identifier: MIT
"""guest/README.md names all calls of the binding and of the C library, all modules, profiles and lint rules."""

from __future__ import annotations

import importlib
import inspect
import re

from shirq import Device, lint, profile
from shirq_bench.paths import GUEST

README = (GUEST / "README.md").read_text()


def named(begin: str, end: str) -> set[str]:
    """Return the words in backquotes between two passages of the README, which must exist."""
    text = README.partition(begin)[2].partition(end)[0]
    assert text, f"the README has no passage from {begin!r} to {end!r}"
    return set(re.findall(r"`([\w.]+)`", text))


def test_readme_names_every_method_and_property_of_device() -> None:
    """The README lists every method of Device as a method and every property as a property."""
    public = {name: inspect.getattr_static(Device, name) for name in dir(Device) if not name.startswith("_")}
    properties = {name for name, what in public.items() if isinstance(what, property)}
    methods = {name for name, what in public.items() if callable(getattr(Device, name)) and name not in properties}
    assert named("Methods of `shirq.Device`:", "Its properties") == methods
    assert named("Its properties:", "`shirq.serve` is") == properties


def test_every_module_and_profile_that_is_named_exists() -> None:
    modules = {name for name in re.findall(r"^\| `(shirq\.\w+)` \|", README, re.MULTILINE)}
    assert modules and all(importlib.import_module(name) for name in modules)
    table = README.partition("| profile | what it shows |")[2].partition("\n\n")[0]
    assert set(re.findall(r"`([\w-]+)`", "".join(row.split("|")[1] for row in table.splitlines()[2:]))) == {
        path.stem for path in profile.folder().glob("*.toml")
    }


def test_every_function_of_the_c_library_is_named() -> None:
    header = (GUEST / "lib/shirq.h").read_text()
    functions = set(re.findall(r"^(?:int|volatile void \*) ?(shirq_\w+)\(", header, re.MULTILINE))
    assert functions - {"shirq_get_info", "shirq_unbind"} <= named("called as in the binding:", "programs are arrays")


def test_every_rule_of_lint_is_explained() -> None:
    rows = [
        f"| `{rule.id}` | {', '.join(kind.name.lower() for kind in rule.kinds)} | {rule.why} | {rule.remedy} |"
        for rule in lint.RULES
    ]
    table = "\n".join(["| rule | programs | what is wrong | what to do |", "|---|---|---|---|", *rows])
    assert table in README, f"the table of rules must be\n{table}"
