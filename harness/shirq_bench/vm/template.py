# SPDX-License-Identifier: MIT
"""Templates: booted, prepared guests that are frozen once and cloned for every test.

A template is a guest's memory in a file and the rest of its state in another. A clone maps the memory copy-on-write and
loads the state, so it only costs the pages that it touches, and starts in a fraction of a boot's time. Templates are
cached by all their inputs: QEMU, kernel, image, machine, accelerator.

A deterministic guest boots ten times as slowly as others. So it boots only once: a template with a preparation is made
from a clone of the template without preparation.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import shutil
from pathlib import Path

from shirq_bench.errors import CommandFailed
from shirq_bench.provision import cache
from shirq_bench.provision.steps import shown
from shirq_bench.vm.machine import Machine
from shirq_bench.vm.vm import Further, Vm, copy_sparse, nothing_further, parts

#: The file name of the machine's description in a template and in an artefact folder.
DESCRIPTION = "machine.json"
#: Part of every template's key: increment it when the contents of templates change.
_LAYOUT = 2
_KIND = "template"


def _key(machine: Machine) -> str:
    made_of = parts(machine.kernel, machine.modules, machine.overlay)
    description = dataclasses.asdict(machine)
    # These fields are not part of the key: a clone opens its own log, and the key has the contents of kernel, modules
    # and overlay instead of their names.
    for name in ("log_entries", "kernel", "modules", "overlay"):
        del description[name]
    description["memory_mib"] = made_of.memory_mib(machine)
    return cache.digest(
        _LAYOUT,
        made_of.kernel.identity,
        cache.name(made_of.emulator),
        cache.name(made_of.initrd),
        description,
        made_of.parameters,
        made_of.accelerator.identity(machine.turns),
    )


def path(machine: Machine) -> Path:
    """The directory of the template of ``machine``; it need not exist yet."""
    return cache.root() / _KIND / _name(machine)


def _name(machine: Machine) -> str:
    return f"{Path(machine.kernel).name}-{_key(machine)}"


@functools.cache
def get(machine: Machine) -> Path:
    """The template of ``machine``: a directory with its memory, its state and its console output.

    Boots and prepares a guest if the cache has none.
    """

    def fill(directory: Path) -> None:
        grown = get(machine.with_(prepare=())) if machine.deterministic and machine.prepare else None
        memory = directory / "memory"
        if grown:
            copy_sparse(grown / "memory", memory)
        what = f"making a template: {'' if grown else 'booting and '}preparing a guest with kernel {machine.kernel}"
        with (
            shown(what) as show,
            Vm(machine, name="template", memory=memory, template=grown, stopped=bool(grown)) as vm,
        ):
            # Allow much time, because the host may be busy, and a template is made only once for all clones.
            if grown:
                # start() has waited until the state is loaded, so the next MIGRATION event comes from freeze().
                vm.start(deadline=600)
                vm.qmp.execute("cont")
                vm.agent.ping(600)
            else:
                vm.boot(deadline=600)
            for number, script in enumerate(machine.prepare, 1):
                show(f"[{number}/{len(machine.prepare)}] {script}")
                _prepare(vm, script)
            freeze(vm, directory / "state")
            shutil.copyfile(vm.console.log, directory / "console.log")
        (directory / DESCRIPTION).write_text(json.dumps({"machine": machine.as_data()}))

    return cache.entry(_KIND, _name(machine), fill)


def _prepare(vm: Vm, script: str) -> None:
    try:
        vm.agent.succeed(script, deadline=600)
    except CommandFailed as error:
        said = vm.agent.run("sh", "-c", "dmesg | tail").stdout.rstrip()
        raise CommandFailed(f"{error}\nlast messages of the guest's kernel:\n{said}") from error


def freeze(vm: Vm, state: Path) -> None:
    """Write the state of a running VM, without its shared memory, to a file. The VM is stopped from then on.

    The VM is frozen in the running state, so that a clone of it runs at once.
    """
    capabilities = [{"capability": name, "state": True} for name in ("x-ignore-shared", "events")]
    vm.qmp.execute("migrate-set-capabilities", capabilities=capabilities)
    vm.qmp.execute("migrate", uri=f"file:{state}")
    vm.wait_migrated(60)


def clone(machine: Machine, name: str = "", stopped: bool = False, further: Further = nothing_further) -> Vm:
    """A VM that will be a clone of the template of ``machine``; `Vm.boot` it, or `Vm.start` a ``stopped`` one.

    ``further`` gives further arguments for QEMU, as for a `Vm`.
    """
    return Vm(machine, name=name, template=get(machine), stopped=stopped, further=further)
