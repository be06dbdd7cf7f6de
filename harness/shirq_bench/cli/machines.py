# SPDX-License-Identifier: MIT
"""The options by which a command's user chooses the guest's machine."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from shirq_bench.errors import BenchError
from shirq_bench.provision import kernel
from shirq_bench.provision.steps import say
from shirq_bench.vm import template
from shirq_bench.vm.machine import AGENT_SLOT, GSI, SHARED_LINE, Machine, gsi_of

_FOLDER = click.Path(exists=True, file_okay=False, resolve_path=True)
Command = TypeVar("Command", bound=Callable[..., Any])


class KernelName(click.ParamType[str]):
    name = "kernel"

    def convert(self, value: str, parameter: click.Parameter | None, context: click.Context | None) -> str:
        if value not in kernel.names() and not Path(value).is_file():
            self.fail(f"no kernel {value!r}; known kernels: {', '.join(kernel.names())}; or give the path of a vmlinuz")
        return value

    def shell_complete(self, context: click.Context, parameter: click.Parameter, start: str) -> list[CompletionItem]:
        return [CompletionItem(name) for name in kernel.names() if name.startswith(start)]


#: The kernel of a campaign's guests, and how much of the campaign is done.
kernel_option = click.option("--kernel", default="6.1", show_default=True, metavar="NAME", help="From `shirq kernels`.")
size_option = click.option("--size", type=click.Choice(["full", "ci"]), default="full", show_default=True)


def machine_options(command: Command) -> Command:
    options = [
        click.option("--kernel", type=KernelName(), metavar="NAME", help="From `shirq kernels`, or a vmlinuz's path."),
        click.option("--vcpus", type=click.IntRange(1, 64), metavar="N", help="Virtual processors."),
        click.option("--memory", "memory_mib", type=click.IntRange(64), metavar="MIB", help="The guest's memory."),
        click.option("--append", "parameters", metavar="TEXT", help="Further kernel parameters."),
        click.option("--device", "devices", multiple=True, metavar="ARGS", help="A further device, as QEMU's -device."),
        click.option(
            "--line",
            type=click.IntRange(20, 23),
            metavar="GSI",
            help=f"Put the further devices without a slot on this interrupt line; dev0's is {GSI}.",
        ),
        click.option(
            "--module",
            "modules",
            multiple=True,
            type=_FOLDER,
            metavar="DIR",
            help="Compile the kernel module in this folder into the guest's /lib/modules/RELEASE/extra, for insmod.",
        ),
        click.option(
            "--overlay", multiple=True, type=_FOLDER, metavar="DIR", help="Lay this folder over the guest's root."
        ),
        click.option(
            "--from",
            "source",
            type=click.Path(exists=True, path_type=Path),
            metavar="DIR",
            help="The machine of a failed test, from the folder that it left in build/artefacts.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def chosen(source: Path | None, line: int | None = None, **changes: Any) -> Machine:
    """The machine that the options select. For the machine of a failed test, print the test's name."""
    machine = _failed_machine(source) if source else SHARED_LINE
    given = {name: value for name, value in changes.items() if value}
    if line and not given.get("devices"):
        raise click.UsageError("--line is for the devices of --device")
    if devices := given.pop("devices", ()):
        given["devices"] = _placed((*machine.devices, *devices), line) if line else (*machine.devices, *devices)
    for name in ("modules", "overlay"):
        given[name] = (*getattr(machine, name), *given.get(name, ()))
    if "parameters" in given:
        given["parameters"] = f"{machine.parameters} {given['parameters']}".strip()
    return machine.with_(**given)


def _placed(devices: tuple[str, ...], line: int) -> tuple[str, ...]:
    """The devices; each that has no place gets a free slot of pcie.0 whose INTA leads to this line."""
    taken = {int(found[1], 16) for device in devices if (found := re.search(r",addr=([0-9a-f]+)", device))}
    free = [slot for slot in range(1, 25) if gsi_of(slot) == line and slot not in {*taken, AGENT_SLOT}]
    placed = []
    for device in devices:
        if not re.search(r",(addr|bus)=", device):
            if not free:
                raise click.UsageError(f"--line {line}: no slot of this line is free for {device!r}")
            device = f"{device},addr={free.pop(0):x}"
        placed.append(device)
    return tuple(placed)


def _failed_machine(source: Path) -> Machine:
    files = [source] if source.is_file() else sorted(source.glob(template.DESCRIPTION)) or sorted(
        source.glob(f"*/{template.DESCRIPTION}")
    )  # fmt: skip
    if not files:
        raise BenchError(f"{source} holds no {template.DESCRIPTION}: it is not the folder of a failed test")
    if len(files) > 1:
        raise BenchError(f"the test had several guests, choose one: {', '.join(str(f.parent) for f in files)}")
    try:
        data = json.loads(files[0].read_text())
        machine = Machine.from_data(data["machine"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BenchError(f"{files[0]} does not describe a machine: {error}") from error
    if test := data.get("test"):
        say(f"the machine of {test}")
    return machine
