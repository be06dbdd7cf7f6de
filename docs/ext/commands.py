# SPDX-License-Identifier: MIT
"""Sphinx extension: generates the reference of a command line from the program itself.

    ```{command-line} shirq_bench.cli.main:main shirq
    ```

The arguments are a click command, or a function that returns an argparse parser, and the program's name. The text is
that of ``--help``, so it is always up to date. The same page is the manual page.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import re
from collections.abc import Iterator

import click
from sphinx.application import Sphinx

_BLOCK = re.compile(r"^```\{command-line\} (\S+) (\S+)\n```$", re.MULTILINE)


def _prose(text: str) -> Iterator[str]:
    """Paragraphs of a help text as Markdown. Preformatted and indented paragraphs become blocks of code."""
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(text).replace("\f", "").strip()) if text else ():
        lines = paragraph.splitlines()
        if lines[0].strip() == "\b":
            yield "\n".join(["```text", *lines[1:], "```"])
        elif all(line.startswith("  ") for line in lines):
            yield "\n".join(["```text", *(line.removeprefix("  ") for line in lines), "```"])
        elif any(line.startswith("  ") for line in lines):
            yield "\n".join(
                [_escaped(lines[0]), "", "```text", *(line.removeprefix("  ") for line in lines[1:]), "```"]
            )
        else:
            yield _escaped(paragraph)


def _escaped(text: str) -> str:
    """Escape a text so that only code between single backquotes is markup."""
    parts = re.split(r"(`[^`]+`)", text)
    parts[::2] = [re.sub(r"([\\*_<>\[\]#|])", r"\\\1", part) for part in parts[::2]]
    return "".join(parts)


def _definitions(entries: list[tuple[str, str]]) -> Iterator[str]:
    """A list of definitions. Arguments without a text are left out: the usage above names them."""
    for term, text in entries:
        if text:
            yield f"`{term}`\n: {_escaped(' '.join(text.split()))}"


def _click(command: click.Command, name: str, parent: click.Context | None = None, level: int = 2) -> Iterator[str]:
    context = click.Context(command, parent=parent, info_name=name, **command.context_settings)
    pieces = command.collect_usage_pieces(context)
    yield f"```text\n{context.command_path} {' '.join(pieces)}\n```"
    yield from _prose(command.help or "")
    records = [parameter.get_help_record(context) for parameter in command.get_params(context)]
    yield from _definitions([record for record in records if record and not (parent and "--help" in record[0])])
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            assert found is not None
            yield f"{'#' * level} {context.command_path} {child}"
            yield from _click(found, child, context, level + 1)


def _argparse(parser: argparse.ArgumentParser, level: int = 2) -> Iterator[str]:
    usage = " ".join(parser.format_usage().removeprefix("usage: ").split())
    yield f"```text\n{usage}\n```"
    yield from _prose(parser.description or "")
    formatter = parser._get_formatter()
    entries, children = [], []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            children += list(action.choices.items())
            continue
        if level > 2 and isinstance(action, argparse._HelpAction):
            continue
        value = formatter._format_args(action, formatter._get_default_metavar_for_optional(action))
        names = [f"{option} {value}" if value else option for option in action.option_strings]
        plain = formatter._get_default_metavar_for_positional(action)
        entries.append((", ".join(names) or str(action.metavar or plain), formatter._expand_help(action)))
    yield from _definitions(entries)
    yield from _prose(parser.epilog or "")
    for name, child in children:
        yield f"{'#' * level} {parser.prog} {name}"
        yield from _argparse(child, level + 1)


def reference(target: str, name: str) -> str:
    """The reference of the program ``name`` as Markdown; ``target`` is MODULE:OBJECT."""
    module, _, attribute = target.partition(":")
    found = getattr(importlib.import_module(module), attribute)
    parts = _click(found, name) if isinstance(found, click.Command) else _argparse(found())
    return "\n\n".join(parts) + "\n"


def _read(app: Sphinx, docname: str, source: list[str]) -> None:
    source[0] = _BLOCK.sub(lambda found: reference(found[1], found[2]), source[0])


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("source-read", _read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
