# SPDX-License-Identifier: MIT
"""Sphinx extension: converts docstrings from this project's style.

A name between single backquotes is code, and a link if it is a documented object. An indented block is a literal block.
"""

from __future__ import annotations

import inspect
import re
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.roles import XRefRole
from sphinx.util.nodes import make_refnode


class _Name(XRefRole):
    """A link to the Python object of that name; only code if there is none."""

    innernodeclass = nodes.literal

    def process_link(
        self, env: BuildEnvironment, refnode: nodes.Element, has_explicit_title: bool, title: str, target: str
    ) -> tuple[str, str]:
        refnode["py:module"] = env.ref_context.get("py:module")
        refnode["py:class"] = env.ref_context.get("py:class")
        refnode["may_be_code"] = True
        return title, target.removesuffix("()")

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        # The roles of a domain get these attributes from their names.
        self.refdomain, self.reftype = "py", "obj"
        self.classes = ["xref", "py", "py-obj"]
        return self.create_xref_node()


def _missing(app: Sphinx, env: Any, node: addnodes.pending_xref, content: nodes.Element) -> nodes.Element | None:
    """Link a name of another module if exactly one documented object ends with it; otherwise it is only code."""
    if not node.get("may_be_code"):
        return None
    objects = env.domains.python_domain.objects
    found = [name for name in objects if name.endswith(f".{node['reftarget']}")]
    if len(found) != 1:
        return content
    place = objects[found[0]]
    return make_refnode(app.builder, node["refdoc"], place.docname, place.node_id, content, found[0])


def _blocks(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Mark the indented blocks of a docstring as literal blocks."""
    result: list[str] = []
    literal = False
    for number, line in enumerate(lines):
        indented = line.startswith("  ") and bool(line.strip())
        if line.strip() == "\b":
            continue
        before = next((other for other in reversed(lines[:number]) if other.strip()), "")
        is_item = re.match(r"\s*(?:[-*]|\d+\.) ", before)
        if indented and not literal and not lines[number - 1].strip() and not is_item and not before.endswith("::"):
            result += ["::", ""]
        literal = indented or (literal and not line.strip())
        result.append(line)
    lines[:] = result


def _parameters(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Do not link a parameter's name, even if an object has the same name."""
    try:
        names = set(inspect.signature(obj).parameters) if callable(obj) else set()
    except ValueError:  # the object is written in C
        return
    code = re.compile(r"(?<![`\w])`(\w+)`(?!`)")
    lines[:] = [code.sub(lambda found: f"`{found[0]}`" if found[1] in names else found[0], line) for line in lines]


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_role("name", _Name())
    app.connect("missing-reference", _missing)
    app.connect("autodoc-process-docstring", _blocks)
    app.connect("autodoc-process-docstring", _parameters)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
