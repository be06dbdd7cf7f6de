# SPDX-License-Identifier: MIT
"""`shirq kernels`, `shirq templates`, `shirq gc`: the contents of the cache."""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from shirq_bench.errors import BenchError
from shirq_bench.provision import housekeeping, kernel
from shirq_bench.vm import template
from shirq_bench.vm.machine import Machine


def _bytes(size: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1024
    return f"{size:.3g} GiB"


def _age(seconds: float) -> str:
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return "now"


def _table(*columns: str, right: tuple[str, ...] = ("size", "unused for")) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table


def _print(table: Table) -> None:
    """Print a table; long lines are folded only on a terminal."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=1000)
    console.print(table)


@click.command()
def kernels() -> None:
    """List the kernels that guests can boot, and which of them are in the cache.

    The list is guest/kernels.toml. A path to a vmlinuz is a kernel, too: `shirq run --kernel ./vmlinuz -- uname -r`.
    """
    table = _table("name", "cached", "release", "size")
    sizes = {item.path: item.size for item in housekeeping.items("kernel")}
    for name in kernel.names():
        if found := kernel.cached(name):
            table.add_row(name, "yes", found.release, _bytes(sizes[found.vmlinuz.parent]))
        else:
            table.add_row(name, "no", "", "")
    _print(table)


@click.command()
def templates() -> None:
    """List the templates: the booted and frozen guests from which clones are made.

    Delete unused templates with `shirq gc`.
    """
    table = _table("key", "machine", "size", "unused for")
    for item in housekeeping.items("template"):
        if not item.partial:
            table.add_row(item.path.name, _described(item.path), _bytes(item.size), _age(item.age))
    _print(table)


def _described(directory: Path) -> str:
    try:
        machine = Machine.from_data(json.loads((directory / template.DESCRIPTION).read_text())["machine"])
    except (OSError, ValueError, KeyError, BenchError):
        return "unknown"
    devices = ", ".join(device.split(",")[0] for device in machine.devices) or "no devices"
    more = "".join(f", {word}" for word in (machine.parameters, "deterministic" * machine.deterministic) if word)
    return f"{machine.kernel}, {machine.vcpus} vCPUs, {machine.memory_mib} MiB, {devices}{more}"


@click.command()
@click.option("--older-than", type=click.FloatRange(min=0), default=30.0, show_default=True, metavar="DAYS")
@click.option("--dry-run", is_flag=True, help="Only list the entries that would be deleted.")
def gc(older_than: float, dry_run: bool) -> None:
    """Delete unused entries and remains of interrupted builds from the cache.

    Deleted entries are built again when they are needed. Entries that a build or a guest uses now, and entries that
    were used within the last hour, are always kept.

    \b
    shirq gc --dry-run
    shirq gc --older-than 7
    """
    table = _table("kind", "name", "size", "unused for")
    freed = 0
    for item in housekeeping.unused(older_than):
        if dry_run or housekeeping.delete(item):
            freed += item.size
            kind = f"{item.kind}, partial" if item.partial else item.kind
            table.add_row(kind, item.name, _bytes(item.size), _age(item.age))
    if table.rows:
        _print(table)
    click.echo(f"{_bytes(freed)} {'would be' if dry_run else 'were'} freed")


COMMANDS = (kernels, templates, gc)
