# SPDX-License-Identifier: MIT
"""Pages for people: Jinja2's templates, which are files beside the modules that fill them in."""

from __future__ import annotations

import functools
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape


def render(package: str | None, template: str, **values: object) -> str:
    """Fill in a template of a package. In those of HTML and SVG, what is not ``safe`` is escaped."""
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
    """A value as tables show it: a number in groups of three digits."""
    return f"{value:,g}" if isinstance(value, float | int) and not isinstance(value, bool) else str(value)


def cell(text: str) -> str:
    """For a cell of a table in Markdown."""
    return text.replace("|", "\\|")


def verbatim(package: str | None, file: str) -> str:
    """A file of a package, for a template that puts it into a page as it is: ``{{ css | safe }}``."""
    assert package
    return (resources.files(package) / file).read_text("utf-8")
