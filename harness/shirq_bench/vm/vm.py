# SPDX-License-Identifier: MIT
"""One virtual machine, from its start to its end, with its channels.

All its files are in one run directory: console, QMP transcript, event log, QEMU's own output and the command line. The
directory is deleted when the VM is closed; `Vm.keep` copies it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import os
import shutil
import signal
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from shirq_bench.channels.agent import Agent
from shirq_bench.channels.console import Console
from shirq_bench.channels.log import LOG, Log, LogError, LogReader, read_log
from shirq_bench.channels.network import Network
from shirq_bench.channels.qmp import Monitor
from shirq_bench.channels.ssh import Ssh
from shirq_bench.deadline import Deadline, competition
from shirq_bench.errors import BenchError, DeadlineExceeded, VmDied
from shirq_bench.journal import Journal
from shirq_bench.provision import image, kernel, kmod, qemu
from shirq_bench.vm import accel, savepoint
from shirq_bench.vm.emulator import Emulator
from shirq_bench.vm.machine import AGENT_SLOT, Machine
from shirq_bench.vm.savepoint import Rewound, Savepoint

#: Kernel parameters of every guest. A panic resets the guest at once, and QEMU ends at a reset, so that no test waits
#: for a dead guest.
PARAMETERS = "console=ttyS0 panic=-1 nokaslr no_timer_check loglevel=5 rdinit=/init"
_numbers = itertools.count(1)
#: Timeout of the sockets in `Vm.wires`, in seconds; longer if the host is busy when the guest starts.
WIRE_DEADLINE = 120.0
#: Seconds within which a QEMU that has closed a channel ends; longer if the host is busy.
_ENDS = 0.5


#: Gives further arguments for QEMU, which do not change the guest, for a VM with this run directory.
Further = Callable[[Path], Sequence[str]]


def nothing_further(directory: Path) -> Sequence[str]:
    """The `Further` of an ordinary guest."""
    return ()


@dataclasses.dataclass(frozen=True)
class Parts:
    """The boot artefacts, the emulator and the accelerator of a guest, and ``objects``, the modules compiled for it."""

    kernel: kernel.Kernel
    initrd: Path
    emulator: Path
    accelerator: accel.Accelerator
    objects: tuple[Path, ...] = ()

    @property
    def parameters(self) -> str:
        """The kernel parameters of every guest with this kernel.

        RCU complains of a processor that stalls it for 21 s. The clock is the host's, so that a slow kernel needs the
        same patience here as with all timeouts.
        """
        patience = self.kernel.patience
        return PARAMETERS if patience == 1 else f"{PARAMETERS} rcupdate.rcu_cpu_stall_timeout={round(21 * patience)}"

    def memory_mib(self, machine: Machine) -> int:
        """The guest's memory in MiB: the requested size, or the kernel's minimum if that is greater."""
        return max(machine.memory_mib, self.kernel.memory_mib)


@functools.cache
def parts(name: str, modules: tuple[str, ...] = (), overlay: tuple[str, ...] = ()) -> Parts:
    """The parts for the kernel ``name``; those that the cache lacks are built. Each result is kept for the process.

    ``modules`` and ``overlay`` are the fields of a `Machine`.
    """
    target = kernel.get(name)
    emulator = qemu.build()
    initrd = image.build(target, modules=[Path(m) for m in modules], overlay=[Path(o) for o in overlay])
    # The sources may change while guests run: what they were compiled to is looked up now.
    objects = [kmod.build(target), *kmod.build_own(target)]
    for source in modules:
        objects += sorted(kmod.build_modules(target, Path(source)).glob("*.ko"))
    return Parts(target, initrd, emulator, accel.verdict(emulator), tuple(objects))


class Vm:
    """A guest built from ``machine``. Use as a context manager; `boot` it inside.

    With ``memory``, the guest's memory is this file, which other processes can map. It is created if it is missing.
    With ``template``, a directory that `shirq_bench.vm.template` has made, the guest is a clone: it continues where the
    template was frozen, at once or, with ``stopped``, after the QMP command ``cont``. If both are given, ``memory``
    must be a copy of the template's memory. ``further`` gives QEMU's further arguments, which do not change the guest;
    it is called with the run directory.
    """

    def __init__(
        self,
        machine: Machine,
        name: str = "",
        memory: Path | None = None,
        template: Path | None = None,
        stopped: bool = False,
        further: Further = nothing_further,
    ) -> None:
        self.machine = machine
        self.name = name or f"vm{next(_numbers)}"
        self.parts = parts(machine.kernel, machine.modules, machine.overlay)
        self._memory = memory
        self._template = template
        self._stopped = stopped
        self._further = further
        #: Whether QEMU has started, so that all channels are connected.
        self.started = False
        self._frozen = False
        self.networks: dict[str, Network] = {}
        #: The sockets to the machine's ``wires``; a call on them waits for at most `WIRE_DEADLINE`.
        self.wires: dict[str, socket.socket] = {}
        #: The greatest `competition` on the host so far, measured at the beginning and the end of each step.
        self.busiest = 1.0
        self._log_reader: LogReader | None = None
        with contextlib.ExitStack() as made:
            self._emulator = Emulator(self.name)
            made.callback(self._emulator.close)
            #: The steps of the guest; ``dir/steps`` is their transcript.
            self.journal = Journal(self.name, self.dir / "steps", self._position)
            made.callback(self.journal.close)
            made.callback(self._forget_reader)
            self._resources = made.pop_all()

    # -- life ---------------------------------------------------------------------------------------------------

    def __enter__(self) -> Vm:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _arguments(self, channels: Mapping[str, int]) -> list[str]:
        """QEMU's arguments; ``channels`` gives the descriptor of each channel's socket."""
        machine = self.machine
        argv = ["-no-reboot"]
        argv += self.parts.accelerator.arguments(machine.turns)
        argv += ["-smp", str(machine.vcpus), "-m", f"{self.parts.memory_mib(machine)}M"]
        argv += ["-kernel", str(self.parts.kernel.vmlinuz), "-initrd", str(self.parts.initrd)]
        argv += ["-append", f"{self.parts.parameters} {machine.parameters}".rstrip()]
        argv += ["-object", f"shirq-log,id=log,path={self.log_path},entries={machine.log_entries}"]
        argv += ["-chardev", f"socket,id=qmp,fd={channels['qmp']}", "-mon", "chardev=qmp,mode=control"]
        argv += ["-chardev", f"socket,id=console,fd={channels['console']}", "-serial", "chardev:console"]
        argv += ["-device", f"virtio-serial-pci,id=serial,addr={AGENT_SLOT}"]
        argv += ["-chardev", f"socket,id=agent,fd={channels['agent']}"]
        argv += ["-device", "virtserialport,chardev=agent,name=org.shirq.agent"]
        for network in machine.networks:
            argv += ["-netdev", f"stream,id={network},server=off,addr.type=fd,addr.str={channels[network]}"]
        for wire in machine.wires:
            argv += ["-chardev", f"socket,id={wire},fd={channels[wire]}"]
        for device in machine.devices:
            argv += ["-device", device]
        if self._memory:
            argv += self._memory_backend(self._memory, "share=on")
        elif self._template:
            argv += self._memory_backend(self._template / "memory", "share=off,readonly=on,rom=off")
        if self._template:
            argv += ["-incoming", "defer"] + ["-S"] * self._stopped
        return [*argv, *machine.extra, *self._further(self.dir)]

    def _memory_backend(self, path: Path, how: str) -> list[str]:
        backend = f"memory-backend-file,id=ram,size={self.parts.memory_mib(self.machine)}M,mem-path={path},{how}"
        return ["-object", backend, "-machine", "memory-backend=ram"]

    def start(self, deadline: float = 20.0) -> None:
        """Start QEMU and connect the channels; the guest runs but need not have booted."""
        names = ["qmp", "console", "agent", *self.machine.networks, *self.machine.wires]
        ours = self._emulator.start(self.parts.emulator, self._arguments, names)
        if self._template:
            # A clone's console log begins with the template's output, so that it is complete.
            shutil.copyfile(self._template / "console.log", self.dir / "console.log")
        self.console = Console(self.name, ours["console"], self.dir / "console.log")
        self._resources.callback(self.console.close)
        self.agent = Agent(self.name, ours["agent"], self.situation, self.patience, self.journal)
        self._resources.callback(self.agent.close)
        for network in self.machine.networks:
            self.networks[network] = Network(self.name, ours[network], self.situation, self.patience)
            self._resources.callback(self.networks[network].close)
        for wire in self.machine.wires:
            self.wires[wire] = self._resources.enter_context(ours[wire])
            self.wires[wire].settimeout(Deadline(WIRE_DEADLINE).left)
        try:
            self.qmp = Monitor(
                self.name, ours["qmp"], self.dir / "qmp.log", deadline, self.patience, self.journal, self.situation
            )
        except BenchError as error:
            raise VmDied(f"{self.name}: QEMU did not start: {error}") from error
        self._resources.callback(self.qmp.close)
        self.started = True
        if self._template:
            capabilities = [{"capability": name, "state": True} for name in ("x-ignore-shared", "events")]
            self.qmp.execute("migrate-set-capabilities", capabilities=capabilities)
            # Send no announcements of the network cards after the migration: a clone has not moved to another host, and
            # the announcements would use the host's clock.
            self.qmp.execute("migrate-set-parameters", announce_rounds=0)
            self.qmp.execute("migrate-incoming", uri=f"file:{self._template / 'state'}")
            if self._stopped:
                self.wait_migrated(deadline)

    def wait_migrated(self, deadline: float) -> None:
        """Wait until a running migration, in or out, is complete. `BenchError` if it fails."""
        while (status := self.qmp.wait_event("MIGRATION", deadline)["data"]["status"]) != "completed":
            if status == "failed":
                raise BenchError(
                    f"{self.name}: migration failed: {self.qmp.execute('query-migrate')}\n{self.situation()}"
                )

    def boot(self, deadline: float = 120.0) -> Vm:
        """Start and wait until the agent answers. `BenchError` with the console's end if the guest panics or hangs."""
        self.start()
        if self._template:
            self.agent.ping(deadline)
        else:
            self.agent.wait_ready(deadline)
        return self

    def close(self) -> None:
        """End the VM, if it still runs, and delete its run directory."""
        # Kill QEMU first, which closes the other end of every channel: callbacks run in reverse order.
        self._resources.callback(self._emulator.kill)
        self._resources.close()

    def keep(self, directory: Path) -> None:
        """Copy the contents of the run directory to ``directory``; the event log stays sparse."""
        directory.mkdir(parents=True, exist_ok=True)
        for path in self.dir.iterdir():
            if path.is_file():
                copy_sparse(path, directory / path.name)

    # -- state --------------------------------------------------------------------------------------------------

    @property
    def dir(self) -> Path:
        """The run directory."""
        return self._emulator.dir

    @property
    def pid(self) -> int:
        """QEMU's process id."""
        return self._emulator.pid

    @functools.cached_property
    def threads_handlers(self) -> bool:
        """Whether the kernel lets threads handle interrupts: with PREEMPT_RT, or if its parameters say so."""
        return self.parts.kernel.has("PREEMPT_RT") or "threadirqs" in self.machine.parameters.split()

    @property
    def patience(self) -> float:
        """The factor for all timeouts of this guest; its kernel determines it."""
        return self.parts.kernel.patience

    def status(self) -> int | None:
        """QEMU's wait status, or None while it runs."""
        return self._emulator.wait(0.0)

    @property
    def whole(self) -> bool:
        """Whether QEMU runs and all its channels work."""
        alive = [self.agent.alive, self.console.alive, *(network.alive for network in self.networks.values())]
        return self.status() is None and all(alive)

    def wait_end(self, deadline: float) -> int:
        """Wait until QEMU has ended; returns its wait status."""
        end = Deadline(deadline * self.patience)
        while (status := self._emulator.wait(end.step)) is None:
            if end.passed:
                raise DeadlineExceeded(f"{self.name}: QEMU has not ended within {end}\n{self.situation()}")
        return status

    def situation(self) -> str:
        """The state of the VM, for a failure's message: QEMU's state and the last console lines."""
        # Wait a moment for QEMU's status: if QEMU ends, its channels close shortly before the process has ended.
        status = self._emulator.wait(Deadline(_ENDS).left)
        if status is None:
            state = f"QEMU runs (pid {self.pid})"
        else:
            state = f"QEMU has ended with status {os.waitstatus_to_exitcode(status)}{self._no_space(status)}"
        said = self._emulator.said()
        tail = self.console.tail() if hasattr(self, "console") else ""
        parts = [getattr(self, name, None) for name in ("console", "qmp", "journal")]
        written = [part.transcript for part in parts if part and part.transcript]
        return "\n".join(
            [f"{self.name}: {state}; run directory {self.dir}"]
            + ([f"QEMU said: {said}"] if said else [])
            + [f"{file.path.name} is incomplete: {file.lost}" for file in written if file.lost]
            + (["the last console lines:", tail] if tail else ["the console has shown nothing"])
        )

    def _no_space(self, status: int) -> str:
        """The meaning of a SIGBUS: a mapped file (event log or template memory) could not grow or was truncated."""
        if os.waitstatus_to_exitcode(status) != -signal.SIGBUS:
            return ""
        places = [self.dir] + ([self._memory.parent] if self._memory else [])
        free = ", ".join(f"{place} has {shutil.disk_usage(place).free >> 20} MiB free" for place in places)
        advice = "make room, or point TMPDIR and SHIRQ_CACHE elsewhere"
        return f" (SIGBUS, a mapped file had no room to grow: {free}; {advice})"

    # -- savepoints ---------------------------------------------------------------------------------------------

    def savepoint(self) -> Savepoint:
        """Make a savepoint, to which `rewind` returns. A guest that runs goes on afterwards.

        `QmpFailed` with the reason if none can be made, for example because the machine has a writable drive.
        """
        runs = self.qmp.execute("query-status")["running"]
        if runs:
            # So that no frame for the agent is under way: no savepoint would have it.
            self.agent.ping()
        try:
            return savepoint.make(self)
        finally:
            if runs:
                self.qmp.execute("cont")

    def rewind(self, to: Savepoint, go: bool = True) -> Rewound:
        """Return the guest to a savepoint; later savepoints are lost. Without ``go`` it stays stopped.

        Memory, devices with their properties, clock and event log are as they were. Commands that ran at the savepoint
        run again, those that were started later fail. Entries that were read from the log stay as they are; a reader
        must be opened again. `QmpFailed` if the guest cannot be rewound: it was hot-plugged, or is not healthy.
        """
        try:
            done = savepoint.restore(self, to)
        finally:
            self._forget_reader()
        self._frozen = False
        self.busiest = 1.0
        if go:
            self.qmp.execute("cont")
        return done

    # -- channels -----------------------------------------------------------------------------------------------

    @property
    def log_path(self) -> Path:
        """The event log's file."""
        return self.dir / LOG

    def _position(self) -> int:
        """The place of a step in the event log, for the journal. Also measures the host's load."""
        self.busiest = max(self.busiest, competition())
        return self._logged()

    def _logged(self) -> int:
        """The number of entries in the event log; 0 while QEMU is creating the log."""
        if not self._log_reader:
            with contextlib.suppress(OSError, LogError):
                self._log_reader = LogReader(self.log_path)
        with contextlib.suppress(ValueError):  # the reader is closed, or the log's header is incomplete
            return self._log_reader.header().head if self._log_reader else 0
        return 0

    def _forget_reader(self) -> None:
        if self._log_reader:
            self._log_reader.close()
        self._log_reader = None

    def log(self) -> Log:
        """The event log so far."""
        return read_log(self.log_path)

    def follow(self) -> LogReader:
        """A reader that gives the entries written from now on."""
        reader = LogReader(self.log_path)
        reader.poll()
        return reader

    def now_ns(self) -> int:
        """The present virtual time in ns, the clock of the log's entries and of schedules.

        When the answer arrives, the clock of a running VM is already later. Use `frozen` if a schedule is based on this
        time.
        """
        return int(self.qmp.get("/objects/log", "now"))

    def ssh(self, deadline: float = 60.0) -> Ssh:
        """Open an ssh connection to the guest."""
        return Ssh(self.agent, image.ssh_key(), deadline)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop the VM's clock for the body: stimuli given in it happen at one instant of virtual time.

        A nested block has no effect: the VM continues when the outermost block ends.
        """
        if self._frozen:
            yield
            return
        self.qmp.execute("stop")
        self._frozen = True
        try:
            yield
        finally:
            self._frozen = False
            self.qmp.execute("cont")


def copy_sparse(source: Path, target: Path) -> None:
    """Copy a file without filling its holes."""
    with source.open("rb") as src, target.open("wb") as dst:
        size = os.fstat(src.fileno()).st_size
        dst.truncate(size)
        position = 0
        while position < size:
            try:
                data = os.lseek(src.fileno(), position, os.SEEK_DATA)
            except OSError:
                break
            hole = os.lseek(src.fileno(), data, os.SEEK_HOLE)
            src.seek(data)
            dst.seek(data)
            remaining = hole - data
            while remaining and (chunk := src.read(min(remaining, 1 << 20))):
                dst.write(chunk)
                remaining -= len(chunk)
            position = hole
