# SPDX-License-Identifier: MIT
"""The event log can be switched off and on, and costs next to nothing."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import pytest

from device.scene import Start
from shirq_bench.campaigns.bench.guests import cpu_ns
from shirq_bench.channels.log import Kind, LogReader
from shirq_bench.observe.judge import BrokenRuleError, line_low_at_end
from shirq_bench.vm.board import Board

ACCESSES = 1_000_000
#: The address at which the program writes the time stamps of its beginning and end.
TIMES = 0x500


def test_nothing_is_logged_while_the_log_is_off(start: Start) -> None:
    board = start("shirq-edu,id=dev0,addr=4")
    bar = board.function(4).enable()
    board.qmp.set("/objects/log", "on", False)
    mark = board.log().mark
    assert board.log().entries[-1].kind is Kind.OFF
    bar.write(0x6C, 1)
    bar.write(0x60, 1)
    assert board.log().mark == mark
    board.qmp.set("/objects/log", "on", True)
    bar.write(0x64, 1)
    after = board.log().since(mark).entries
    assert after[0].kind is Kind.ON
    stated = {(entry.kind, entry.device, entry.offset, entry.value) for entry in after[1:-3]}
    assert stated >= {(Kind.MASK, "dev0", 0, 0), (Kind.PIN, "dev0", 0, 1), (Kind.LINE, "ioapic", 20, 1)}
    assert [entry.kind for entry in after[-3:]] == [Kind.WRITE, Kind.PIN, Kind.LINE]


def test_a_log_that_was_switched_on_is_judged_from_there(start: Start) -> None:
    board = start("shirq-edu,id=dev0,addr=4")
    for on in (False, True):
        board.qmp.set("/objects/log", "on", on)
    bar = board.function(4).enable()
    bar.write(0x6C, 1)
    bar.write(0x60, 1)
    bar.write(0x64, 1)
    with pytest.raises(BrokenRuleError, match="its log switched on in the middle"):
        line_low_at_end(board.log(), 20)
    line_low_at_end(board.log().epochs()[-1], 20).require()


def test_a_log_can_be_off_from_the_beginning(start: Start) -> None:
    board = start("shirq-edu,id=dev0,addr=4", log="on=off")
    assert board.log().entries == []
    board.qmp.set("/objects/log", "on", True)
    assert board.log().entries[0].kind is Kind.ON


def _rom() -> bytes:
    """A program for the processor: it reads the device's status a million times, through a port, and then resets."""
    code = bytearray()
    for register, value in ((0x14, 0xC001), (0x04, 0x0001)):  # BAR 1, Command of 00:04.0
        code += b"\xba\xf8\x0c\x66\xb8" + struct.pack("<I", 0x80002000 | register) + b"\x66\xef"  # out cf8h, register
        code += b"\xba\xfc\x0c\x66\xb8" + struct.pack("<I", value) + b"\x66\xef"  # out cfch, value
    code += b"\x0f\x31\x66\xa3" + struct.pack("<H", TIMES)  # rdtsc; mov [times],eax
    code += b"\xba\x09\xc0\x66\xb9" + struct.pack("<I", ACCESSES)  # mov dx,c009h; mov ecx,n
    code += b"\xec\x66\x49\x75\xfb"  # in al,dx; dec ecx; jnz
    code += b"\x0f\x31\x66\xa3" + struct.pack("<H", TIMES + 4)  # rdtsc; mov [times+4],eax
    code += b"\xb0\xfe\xe6\x64\xf4"  # mov al,0feh; out 64h,al (the machine's reset); hlt
    rom = bytearray(b"\xf4" * 0x10000)
    rom[: len(code)] = code
    rom[0xFFF0:0xFFF5] = b"\xea" + struct.pack("<HH", 0, 0xF000)  # where a processor starts: jmp f000:0
    return bytes(rom)


@dataclass(frozen=True)
class Cost:
    """The cost of all accesses of the program, in ns: virtual time of the guest, and processor time of the host."""

    guest: int
    host: int


def _storm(board: Board, log: bool) -> Cost:
    """Run the program once."""
    board.qmp.execute("set-action", reboot="reset")
    board.qmp.execute("system_reset")
    board.qmp.wait_event("RESET")
    board.qmp.execute("set-action", reboot="shutdown")
    board.qmp.set("/objects/log", "on", log)
    host = cpu_ns(board.pid)
    board.qmp.execute("cont")
    board.qmp.wait_event("SHUTDOWN", deadline=60)
    host = cpu_ns(board.pid) - host
    return Cost(board.qtest.read(TIMES + 4) - board.qtest.read(TIMES) & 0xFFFFFFFF, host)


@pytest.mark.long  # The host's time varies, so this test must not be able to fail a commit.
@pytest.mark.alone
def test_logging_a_storm_slows_no_guest_and_costs_little(start: Start, tmp_path: Path) -> None:
    """With the log on, a storm of a million accesses takes the guest no longer and the host little."""
    (tmp_path / "rom").write_bytes(_rom())
    board = start(
        "shirq-edu,id=dev0,addr=4,bar1=port:16,registers=bar1+8/8 enable; bar1+9/8 status w1c",
        accel="tcg",
        log=f"entries={3 * ACCESSES}",
        extra=["-bios", str(tmp_path / "rom"), "-icount", "shift=0,sleep=off", "-S"] + ["-action", "shutdown=pause"],
    )
    off, on = ([_storm(board, log) for _ in range(2)] for log in (False, True))
    with LogReader(board.log_path) as reader:
        assert reader.header().head > 2 * ACCESSES
        assert reader.header().dropped == 0
    guest = [cost.guest for cost in off + on]
    assert min(guest) >= 3 * ACCESSES, "the program did not run"
    assert max(guest) <= 1.10 * min(guest)
    entry = (min(cost.host for cost in on) - min(cost.host for cost in off)) / ACCESSES
    print(f"an entry costs the host {entry:.0f} ns; guest {guest}; host {[cost.host for cost in off + on]}")
    assert entry < 500
