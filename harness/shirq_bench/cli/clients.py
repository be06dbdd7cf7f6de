# SPDX-License-Identifier: MIT
"""`shirq clients`: UIO programs that were not written for shirq, on a shared line."""

from __future__ import annotations

import click

from shirq_bench.campaigns import clients
from shirq_bench.paths import BUILD
from shirq_bench.provision.steps import say, shown
from shirq_bench.vm import environment

REPORT = BUILD / "reports" / "clients.json"


@click.command("clients")
@click.argument("names", nargs=-1, type=click.Choice(list(clients.CLIENTS)), metavar="[CLIENT]...")
@click.option("--interrupts", type=click.IntRange(1), default=clients.INTERRUPTS, show_default=True, metavar="N")
@click.option("--kernel", "name", default="6.1", show_default=True, metavar="NAME")
def command(names: tuple[str, ...], interrupts: int, name: str) -> None:
    """Let UIO programs serve devices on a shared line beside a busy neighbour; by default all of them.

    \b
    pynq           PYNQ's uio.py, unchanged, on an asyncio loop
    devlib2        the sequence of EPICS devlib2; devlib2_reads: of an older one, which never writes
    py_uio         the sequence of py-uio
    chimeratk      the sequence of ChimeraTK DeviceAccess
    howto          the sequence of the kernel's UIO HOWTO, for uio_pci_generic

    Each must get every interrupt once, and is killed with its device pending: the line must be low then, and the
    neighbour served. Writes build/reports/clients.json. See docs/howto/uio.md.
    """
    with shown(f"UIO programs on a shared line, kernel {name}") as tell:
        found = clients.measure(name, names or tuple(clients.CLIENTS), interrupts, tell)
    environment.write_report(REPORT, {"interrupts": interrupts, "clients": found}, [name])
    for client, figures in found.items():
        say(f"{client}: {figures['served']} interrupts, {figures['lost']} lost, beside {figures['pings']} queries")
    say(str(REPORT))
