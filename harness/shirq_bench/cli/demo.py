# SPDX-License-Identifier: MIT
"""`make demo`: three functions on one interrupt line, driven from user space and by the kernel; one driver is killed.

Boots a guest with `SHARED_LINE`, raises interrupts over QMP singly and together while the neighbour is busy, kills one
driver with an interrupt pending, and shows the activity of the line, the pins and the drivers. Exits 0 if every verdict
holds.
"""

from __future__ import annotations

import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import click
from rich.console import Console

from shirq_bench.channels.edu import Register
from shirq_bench.channels.log import KERNEL_RING, LOG, Kind, Log
from shirq_bench.cli.machines import kernel_option
from shirq_bench.observe import judge
from shirq_bench.observe.judge import Finding, Verdict
from shirq_bench.observe.scene import Scene
from shirq_bench.observe.source_lines import splats_of
from shirq_bench.observe.words import duration
from shirq_bench.paths import BUILD, require_own
from shirq_bench.report import html, model, perfetto, text, vcd
from shirq_bench.vm.machine import SHARED_LINE
from shirq_bench.vm.vm import Vm

_ROLES = {
    "dev0": "user-space driver in C, PCI 2.3 compliant",
    "dev1": "user-space driver in Python, no DisINTx",
    "nic0": "the neighbour: e1000 and its kernel driver",
}
#: The folder of the guest's files, in that of the demo.
_GUEST = "vm"
#: The state of dev1 after its release program has run.
_SILENT = {"pin": False, "status": 0, "mask": 0xFFFFFFFF}


@contextmanager
def _step(console: Console, what: str) -> Iterator[None]:
    started = time.monotonic()
    with console.status(what) if console.is_terminal else nullcontext():
        yield
    console.print(f"[green]done[/] {what} [dim]({time.monotonic() - started:.1f} s)[/]", highlight=False)


def _rule(rule: str, holds: bool, otherwise: str) -> Verdict:
    return Verdict(rule, 1, () if holds else (Finding(otherwise),))


def run(kernel: str, out: Path, console: Console) -> bool:
    """Run the demo; writes the page, the waveform and the log to ``out``. Returns whether every verdict holds.

    ``out`` is replaced. Raises `BenchError` if it is a folder with something else.
    """
    require_own(out, out / _GUEST / LOG)
    with Vm(SHARED_LINE.with_(kernel=kernel), name="demo") as vm:
        accelerator = vm.parts.accelerator
        with _step(console, f"boot a guest with kernel {kernel} ({accelerator.name}: {accelerator.why})"):
            vm.boot()
        scene = Scene(vm)
        with _step(console, "load the neighbour's kernel driver and shirq.ko, bind dev0 and dev1"):
            scene.prepare()
        with _step(console, "start the drivers of dev0, in C, and dev1, in Python"):
            drivers = {"dev0": scene.drive("dev0", "c"), "dev1": scene.drive("dev1", "python")}
        with scene.tracing() as handlers:
            with _step(console, "raise interrupts singly and together while the neighbour is busy"):
                for devices in (("dev0",), ("dev1",), ("dev0", "dev1")) * 2:
                    scene.network.ask()
                    scene.raise_(*devices)
                    for device in devices:
                        drivers[device].next_event()
            with _step(console, "kill -9 dev1's driver with an interrupt pending"):
                drivers["dev1"].stop()
                scene.raise_("dev1", bits=0x10)
                scene.network.ping(2)
                pending = vm.qmp.get("dev1", "status")
                status = drivers["dev1"].end(signal.SIGKILL)
            with _step(console, "dev0 and the neighbour go on"):
                scene.raise_("dev0", bits=2)
                drivers["dev0"].next_event()
                scene.network.ping(2)
        after = {name: vm.qmp.get("dev1", name) for name in ("pin", "status", "mask")}
        irq = scene.irq("eth0")
        complaints = "\n".join(map(str, splats_of(vm, vm.agent.succeed("dmesg"))))
        log = handlers.log
        assert log is not None
        gsi = judge.line_of(log, list(_ROLES))
        verdicts = [
            judge.dropped_entries(log),
            *(judge.masked_before_eoi(log, device, gsi) for device in drivers),
            *(handlers.false_claims(device, irq) for device in drivers),
            handlers.neighbour_lost("nic0", irq, "eth0"),
            _rule(
                "dev1's driver was killed with its interrupt pending",
                pending == 0x10 and status == -9,
                f"{pending=} {status=}",
            ),
            _rule("the release program silenced dev1", after == _SILENT, f"dev1 is left with {after}"),
            judge.line_never_masked(log, gsi),
            judge.line_low_at_end(log, gsi),
            _rule("the kernel's log holds no splat", not complaints, complaints),
        ]
        shutil.rmtree(out, ignore_errors=True)
        vm.keep(out / _GUEST)
    picture = model.build(
        log,
        title="Three functions on one line",
        roles=_ROLES,
        gsi=gsi,
        calls=handlers.calls,
        fit=handlers.fit,
        irq=irq,
        verdicts=verdicts,
    )
    (out / "index.html").write_text(html.render(picture))
    (out / "timeline.txt").write_text(text.render(picture))
    with (out / "waveform.vcd").open("w") as file:
        vcd.write(picture, file)
    with (out / "perfetto.json").open("w") as file:
        perfetto.write(picture, file, ftrace=handlers.text, fit=handlers.fit)
    console.print()
    text.show_verdicts(picture, console)
    console.print("\n[bold]what to look at[/]")
    for time_ns, what in moments(log):
        console.print(f"  {(time_ns - picture.start_ns) / 1000:11.3f} µs  {what}", highlight=False, soft_wrap=True)
    console.print()
    good = all(verdict.ok and verdict.checked for verdict in verdicts)
    files = {"page": "index.html", "timeline": "timeline.txt", "waveform": "waveform.vcd", "trace": "perfetto.json"}
    for what, name in files.items():
        console.print(f"{what + ':':10} {out / name}", highlight=False)
    console.print("verdict:   " + ("[green]every rule held[/]" if good else "[red]a rule was broken[/]"))
    return good


def moments(log: Log) -> list[tuple[int, str]]:
    """The most important moments of the demo's log that occurred, each with its virtual time in ns."""
    found: list[tuple[int, str]] = []
    pins = {device: judge.assertions(log, device) for device in _ROLES}
    rises = {device: [it.start.time_ns for it in some if it.start] for device, some in pins.items()}
    masks = {device: [entry.time_ns for entry in log.of(Kind.MASK, device=device) if entry.value] for device in _ROLES}
    ends = [entry.time_ns for entry in log.of(Kind.EOI)]
    if rises["dev0"] and (mask := _after(masks["dev0"], rises["dev0"][0])) and (eoi := _after(ends, mask)):
        begin = rises["dev0"][0]
        found.append(
            (begin, f"dev0 asserts; it is masked {duration(mask - begin)} later, {duration(eoi - mask)} before the EOI")
        )
    if both := sorted(set(rises["dev0"]) & set(rises["dev1"])):
        masked = [_after(masks[device], both[0]) for device in ("dev0", "dev1")]
        if all(masked):
            within = max(time for time in masked if time) - both[0]
            found.append(
                (both[0], f"dev0 and dev1 assert in the same instant: both are masked within {duration(within)}")
            )
    pending = [entry.time_ns for entry in log.of(Kind.RAISE, device="dev1") if entry.value]
    released = [
        entry.time_ns
        for entry in log.of(Kind.WRITE, device="dev1", offset=Register.INT_ACK)
        if entry.ring == KERNEL_RING
    ]
    if pending:
        meanwhile = (it for it in pins["nic0"] if it.start and it.end and it.start.time_ns > pending[-1])
        if it := next(meanwhile, None):
            assert it.start and it.end
            took = duration(it.end.time_ns - it.start.time_ns)
            said = f"the neighbour interrupts while dev1 is pending and masked: the neighbour is served in {took}"
            found.append((it.start.time_ns, said))
        if silent := _after(released, pending[-1]):
            found.append((silent, "dev1's driver was killed: the release program masked dev1 and acknowledges all"))
            acknowledged = [entry.time_ns for entry in log.of(Kind.WRITE, device="dev0", offset=Register.INT_ACK)]
            if (again := _after(rises["dev0"], silent)) and (served := _after(acknowledged, again)):
                found.append((again, f"dev0 asserts again and is served in {duration(served - again)}, as before"))
    return sorted(found)


def _after(times: Sequence[int], moment: int) -> int | None:
    """The first of the sorted times that is not before a moment."""
    return next((time for time in times if time >= moment), None)


@click.command("demo")
@kernel_option
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=BUILD / "demo", show_default=True)
def command(kernel: str, out: Path) -> None:
    """Boot three functions on one shared line, drive them, kill a driver; show the activity of the line.

    Exits with 0 if every verdict holds.
    """
    sys.exit(0 if run(kernel, out, Console()) else 1)
