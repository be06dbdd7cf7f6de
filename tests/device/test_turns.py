# SPDX-License-Identifier: MIT
"""Turns: with instruction counting, the VM's state alone decides which of several vCPUs runs."""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from device.scene import Start
from shirq_bench.channels.log import NONE, Kind, TurnReason
from shirq_bench.deadline import Deadline
from shirq_bench.errors import BenchError, QmpFailed, VmDied
from shirq_bench.vm.board import Board

DEVICE = "shirq-edu,id=dev0,addr=4"
#: The longest turn in these tests, in ns: one instruction takes 1 ns.
TURN_NS = 1000
ICOUNT = ("-icount", "shift=0,sleep=off")
ROM_SIZE = 1 << 16

# Machine code, of 16 bits: each instruction is one of the processor's, and jumps lead to the code's own beginning.
BUSY = bytes.fromhex("ebfe")  # 1: jmp 1b
PAUSE = bytes.fromhex("f390ebfc")  # 1: pause; jmp 1b
HALT = bytes.fromhex("f4ebfd")  # 1: hlt; jmp 1b
PANIC = bytes.fromhex("ba0505b001ee") + BUSY  # mov $0x505, %dx; mov $1, %al; out %al, %dx
#: With the x2APIC's MSRs: sends INIT, then SIPI, to the other vCPUs, which begin at f000:0000.
WAKE_OTHERS = bytes.fromhex(
    "66b91b000000 66b8000de0fe 6631d2 0f30"  # APIC base: enabled, x2APIC
    "66b930080000 66b800450c00 0f30"  # ICR: INIT
    "66b8f0460c00 0f30"  # ICR: SIPI, vector f0
)
#: The place in the ROM of the first vCPU's code. That of the others is at 0.
FIRST = 0x100


def rom(first: bytes, others: bytes) -> bytes:
    """A ROM whose first vCPU wakes the others and then runs ``first``, while they run ``others``."""
    reset = b"\xe9" + ((FIRST - 0xFFF3) % ROM_SIZE).to_bytes(2, "little")  # jmp FIRST
    content = bytearray(ROM_SIZE)
    for place, code in ((0, others), (FIRST, WAKE_OTHERS + first), (0xFFF0, reset)):
        content[place : place + len(code)] = code
    return bytes(content)


def turning(
    start: Start, directory: Path, first: bytes = BUSY, others: bytes = BUSY, extra: Sequence[str] = (), **options: bool
) -> Board:
    """A stopped board with two vCPUs that take turns and run these programs."""
    (directory / "rom").write_bytes(rom(first, others))
    cpus = ("-smp", "2", "-cpu", "qemu64,+x2apic", "-bios", str(directory / "rom"))
    return start(DEVICE, accel=f"tcg,turn-ns={TURN_NS}", extra=[*cpus, *ICOUNT, "-S", *extra], **options)


def run(board: Board, directory: Path, *lines: str, pauses: int = 0) -> None:
    """Let the board run through a schedule that ends with a stop; stop and continue it ``pauses`` times meanwhile."""
    (directory / "s").write_text("".join(f"{line}\n" for line in lines))
    board.qmp.set("dev0", "schedule", str(directory / "s"))
    board.qmp.execute("cont")
    for _ in range(pauses):
        board.qmp.execute("stop")
        if not board.qmp.get("dev0", "schedule-left"):
            return
        board.qmp.execute("cont")
    end = Deadline(60)
    while board.qmp.execute("query-status")["running"]:
        assert not end.passed, f"the board has not stopped within {end}"


def turns(board: Board) -> list[tuple[int, int, int, TurnReason]]:
    """Time, the vCPU that had the turn, the one that has it, and the reason, of each change."""
    found = board.log().of(Kind.TURN)
    return [(entry.time_ns, entry.vcpu, entry.value, TurnReason(entry.offset)) for entry in found]


def test_turn_ends_after_exactly_the_quantum(start: Start, tmp_path: Path) -> None:
    board = turning(start, tmp_path)
    run(board, tmp_path, "@100500 stop")
    expected = [(1000 * n, (n + 1) % 2, n % 2, TurnReason.QUANTUM) for n in range(1, 101)]
    assert turns(board) == expected


def test_halted_vcpu_loses_its_turn(start: Start, tmp_path: Path) -> None:
    board = turning(start, tmp_path, HALT)
    run(board, tmp_path, "@100000 stop")
    ((time, *change),) = turns(board)
    assert time < TURN_NS
    assert change == [0, 1, TurnReason.HALT]


def test_pause_yields(start: Start, tmp_path: Path) -> None:
    """A PAUSE costs the turn at its own instruction; the other vCPU, which does not pause, has the whole quantum."""
    board = turning(start, tmp_path, PAUSE)
    run(board, tmp_path, "@100000 stop")
    changes = turns(board)
    assert len(changes) > 150
    for (before, *_), (time, _, to, reason) in pairwise(changes):
        assert (time - before, reason) == ((TURN_NS, TurnReason.QUANTUM) if to == 0 else (2, TurnReason.YIELD))


def test_pause_of_the_only_running_vcpu_changes_nothing(start: Start, tmp_path: Path) -> None:
    board = turning(start, tmp_path, PAUSE, HALT)
    run(board, tmp_path, "@100000 stop")
    assert [(to, reason) for _, _, to, reason in turns(board)] == [(1, TurnReason.YIELD), (0, TurnReason.HALT)]


def test_schedule_gives_the_turn_at_its_nanosecond(start: Start, tmp_path: Path) -> None:
    """The vCPU that gets the turn has it for the whole quantum. A vCPU that has it already begins another one."""
    board = turning(start, tmp_path)
    run(board, tmp_path, "@1300 turn 0", "@1301 turn 1", "@2100 turn 1", "@5000 stop")
    assert turns(board)[1:] == [
        (1300, 1, 0, TurnReason.SCHEDULE),
        (1301, 0, 1, TurnReason.SCHEDULE),
        (3100, 1, 0, TurnReason.QUANTUM),
        (4100, 0, 1, TurnReason.QUANTUM),
    ]


def test_turn_of_a_halted_vcpu_passes_on_at_once(start: Start, tmp_path: Path) -> None:
    board = turning(start, tmp_path, HALT)
    run(board, tmp_path, "@5000 turn 0", "@9000 stop")
    assert turns(board)[1:] == [(5000, 1, 0, TurnReason.SCHEDULE), (5000, 0, 1, TurnReason.HALT)]


def test_schedule_comes_before_the_end_of_a_turn(start: Start, tmp_path: Path) -> None:
    """If a turn ends at the time of an entry, the entry is executed first, and decides."""
    board = turning(start, tmp_path)
    run(board, tmp_path, "@2000 turn 1", "@3000 note 1", "@3500 stop")
    assert [time for time, *_ in turns(board)] == [1000, 3000]
    assert [(entry.kind, entry.time_ns) for entry in board.log().of(Kind.SCHEDULED, Kind.TURN)] == [
        (Kind.TURN, 1000),
        (Kind.SCHEDULED, 2000),
        (Kind.SCHEDULED, 3000),
        (Kind.TURN, 3000),
        (Kind.SCHEDULED, 3500),
    ]


@pytest.mark.parametrize(
    ("first", "length_ns"), [(BUSY, 20_000_000), (PAUSE, 100_000)], ids=["one yields", "both yield"]
)
def test_stops_and_a_busy_monitor_leave_the_turns(start: Start, tmp_path: Path, first: bytes, length_ns: int) -> None:
    """A vCPU that another thread interrupts keeps its turn."""
    stop = f"@{length_ns} stop"
    calm = turning(start, tmp_path, first, PAUSE)
    run(calm, tmp_path, stop)
    paused = turning(start, tmp_path, first, PAUSE)
    run(paused, tmp_path, stop, pauses=40)
    assert len(turns(calm)) > 10_000
    assert turns(paused) == turns(calm)


class Gdb:
    """A client of QEMU's gdb stub, which stops the VM."""

    def __init__(self, board: Board) -> None:
        path = board.dir / "gdb"
        board.qmp.execute("human-monitor-command", command_line=f"gdbserver unix:{path},server=on,wait=off")
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(60)
        self._socket.connect(str(path))

    def ask(self, command: str) -> str:
        """Send a command and return its reply."""
        self._socket.sendall(f"${command}#{sum(command.encode()) % 256:02x}".encode())
        reply = b""
        while not (found := re.search(rb"\$(.*)#..", reply)):
            received = self._socket.recv(4096)
            assert received, f"QEMU has closed the connection after {command}"
            reply += received
        self._socket.sendall(b"+")
        return found[1].decode()


def test_debugger_leaves_the_turns(start: Start, tmp_path: Path) -> None:
    """A vCPU without the turn is stepped when it gets it, and all go on as they would have done."""
    calm = turning(start, tmp_path)
    run(calm, tmp_path, "@3400 stop", "@9500 stop")
    run(calm, tmp_path, "@9500 stop")
    debugged = turning(start, tmp_path)
    run(debugged, tmp_path, "@3400 stop", "@9500 stop")
    gdb = Gdb(debugged)
    for thread, now in ((2, 3401), (1, 4001), (1, 4002), (2, 5001)):
        assert gdb.ask(f"vCont;s:{thread};c").startswith(f"T05thread:{thread:02x}")
        assert debugged.qmp.get("/objects/log", "now") == now
    assert gdb.ask("vCont;c").startswith("T02"), "the schedule has not stopped the VM"
    assert turns(debugged) == turns(calm)
    assert turns(calm)[-1][0] == 9000


def test_turn_is_part_of_the_state(start: Start, tmp_path: Path) -> None:
    """A VM that loads a state goes on with its owner, until the end of the turn; the log begins with it."""
    template = turning(start, tmp_path)
    run(template, tmp_path, "@3400 stop")
    assert turns(template)[-1][:3] == (3000, 0, 1)
    template.save(tmp_path / "state")
    copy = turning(start, tmp_path, incoming=True)
    copy.load(tmp_path / "state")
    assert turns(copy) == [(3400, NONE, 1, TurnReason.STATE)]
    run(copy, tmp_path, "@5500 stop")
    assert turns(copy)[1:] == [(4000, 1, 0, TurnReason.QUANTUM), (5000, 0, 1, TurnReason.QUANTUM)]


def test_yield_is_part_of_the_state(start: Start, tmp_path: Path) -> None:
    """A VM that is stopped right after a PAUSE is continued by the other vCPU."""
    template = turning(start, tmp_path, PAUSE)
    run(template, tmp_path, "@5500 stop")
    yielded = next(time for time, *_, reason in turns(template) if reason is TurnReason.YIELD and time > 2000)
    again = turning(start, tmp_path, PAUSE)
    run(again, tmp_path, f"@{yielded} stop")
    assert turns(again)[-1][0] < yielded
    again.save(tmp_path / "state")
    copy = turning(start, tmp_path, PAUSE, incoming=True)
    copy.load(tmp_path / "state")
    run(copy, tmp_path, "@5500 stop")
    assert turns(copy)[-3:] == turns(template)[-3:]
    assert turns(copy)[0] == (yielded, 0, 1, TurnReason.YIELD)


def test_turn_of_an_unknown_vcpu_in_a_state_is_refused(start: Start, tmp_path: Path) -> None:
    template = turning(start, tmp_path)
    run(template, tmp_path, "@3400 stop")
    template.save(tmp_path / "state")
    state = (tmp_path / "state").read_bytes()
    right, wrong = ((number).to_bytes(4) + (4000).to_bytes(8) for number in (1, 2))
    assert state.count(right) == 1
    (tmp_path / "state").write_bytes(state.replace(right, wrong))
    copy = turning(start, tmp_path, incoming=True)
    with pytest.raises(BenchError, match="the turn of the loaded state is that of vCPU 2, which this VM does not have"):
        copy.load(tmp_path / "state")


def test_vm_that_a_vcpu_stops_stops_at_this_instruction(start: Start, tmp_path: Path) -> None:
    """No other vCPU goes on until the main loop has stopped the VM."""
    panic = ("-device", "pvpanic", "-action", "panic=pause")
    ends = set()
    for _ in range(5):
        board = turning(start, tmp_path, PANIC, extra=panic)
        board.qmp.execute("cont")
        board.qmp.wait_event("STOP")
        assert board.qmp.execute("query-status")["status"] == "guest-panicked"
        ends.add(board.qmp.get("/objects/log", "now"))
        assert turns(board) == []
    # The jump of the reset vector, 9 instructions that wake the other vCPU, and 3 that panic.
    assert ends == {1 + 9 + 3}


def test_one_vcpu_has_no_turns(start: Start, tmp_path: Path) -> None:
    board = turning(start, tmp_path, PAUSE, extra=("-smp", "1"))
    run(board, tmp_path, "@1300 turn 0", "@100000 stop")
    assert turns(board) == []


@pytest.mark.parametrize("argument", ["2", "-1", "x", "0x100000000"])
def test_turn_of_no_vcpu_is_refused(start: Start, tmp_path: Path, argument: str) -> None:
    board = turning(start, tmp_path)
    (tmp_path / "s").write_text(f"@1000 turn {argument}\n")
    with pytest.raises(QmpFailed, match=rf"line 1: '{argument}' must be the number of a vCPU, from 0"):
        board.qmp.set("dev0", "schedule", str(tmp_path / "s"))


def test_turn_without_turns_is_refused(start: Start, tmp_path: Path) -> None:
    board = start(DEVICE)
    board.qmp.execute("stop")
    (tmp_path / "s").write_text("@1000 turn 0\n")
    with pytest.raises(QmpFailed, match=r"'turn' needs vCPUs that take turns: .* -icount shift=N,sleep=off"):
        board.qmp.set("dev0", "schedule", str(tmp_path / "s"))


@pytest.mark.parametrize(
    ("value", "icount", "message"),
    [
        ("0", ICOUNT, "'turn-ns' must be 1 to 1000000000, not 0"),
        ("1000000001", ICOUNT, "'turn-ns' must be 1 to 1000000000, not 1000000001"),
        ("1000", (), "'turn-ns' needs instruction counting without sleep: .* -icount shift=N,sleep=off"),
        ("1000", ("-icount", "shift=0"), "'turn-ns' needs instruction counting without sleep"),
    ],
)
def test_wrong_quantum_is_refused(start: Start, value: str, icount: tuple[str, ...], message: str) -> None:
    with pytest.raises(VmDied, match=message):
        start(accel=f"tcg,turn-ns={value}", extra=icount)


def test_continuing_a_vm_that_is_about_to_stop_loses_no_vcpu(start: Start, tmp_path: Path) -> None:
    """A ``cont`` that comes between the request for a stop and the stop lets all vCPUs run on."""
    board = turning(start, tmp_path)
    (tmp_path / "s").write_text("".join(f"@{10_000 * n} stop\n" for n in range(1, 1001)))
    board.qmp.set("dev0", "schedule", str(tmp_path / "s"))
    end = Deadline(60)
    while board.qmp.get("dev0", "schedule-left"):
        board.qmp.execute("cont")
        assert not end.passed, f"the vCPUs have not run on within {end}"
