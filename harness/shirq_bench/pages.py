# SPDX-License-Identifier: MIT
"""Fills in Jinja2 templates. Each template is a file beside the module that uses it."""

from __future__ import annotations

import functools
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape


def render(package: str | None, template: str, **values: object) -> str:
    """Fill in a template of a package. In HTML and SVG, values that the template does not mark ``safe`` are escaped."""
    assert package
    return _environment(package).get_template(template).render(**values)


@functools.cache
def _environment(package: str) -> Environment:
    environment = Environment(
        loader=PackageLoader(package, "."),
        autoescape=select_autoescape(("html", "svg")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"figure": figure, "cell": cell}
    return environment


def figure(value: object) -> str:
    """A value as text for a table; a number has its digits in groups of three."""
    return f"{value:,g}" if isinstance(value, float | int) and not isinstance(value, bool) else str(value)


def cell(text: str) -> str:
    """Escape a text for a cell of a Markdown table."""
    return text.replace("|", "\\|")


def verbatim(package: str | None, file: str) -> str:
    """The text of a file of a package, for a template that inserts it unchanged: ``{{ css | safe }}``."""
    assert package
    return (resources.files(package) / file).read_text("utf-8")
