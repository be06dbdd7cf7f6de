# SPDX-License-Identifier: MIT
"""The device `shirq-edu`, against its specification."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from device.scene import Start
from shirq_bench.channels.edu import Register
from shirq_bench.channels.log import CONFIG_SPACE, Entry, Kind
from shirq_bench.errors import QmpFailed, VmDied
from shirq_bench.vm.board import BAR0, COMMAND, STATUS, STATUS_INTERRUPT, Bar, Board, Function

ID, LIVENESS, FACTORIAL, INT_STATUS, INT_MASK, INT_ACTIVE = list(Register)[:6]
INT_RAISE, INT_ACK, INT_MASK_SET, INT_MASK_CLEAR, MARK = list(Register)[6:11]
REGISTERS = (ID, LIVENESS, FACTORIAL, INT_STATUS, INT_MASK, INT_ACTIVE)
ALL = 0xFFFFFFFF


@pytest.fixture
def board(start: Start) -> Board:
    return start("shirq-edu,id=dev0,addr=4")


@pytest.fixture
def bar(board: Board) -> Bar:
    return board.function(4).enable()


def pin(board: Board, device: str = "dev0") -> list[int]:
    """The levels of the device's pin, one after the other."""
    return [entry.value for entry in board.log().of(Kind.PIN, device=device, offset=0)]


def line(board: Board, gsi: int = 20) -> list[int]:
    """The levels of a line, one after the other."""
    return [entry.value for entry in board.log().of(Kind.LINE, offset=gsi)]


def since(board: Board, mark: int) -> list[Entry]:
    """The entries after ``mark``, without the machine's timer on GSI 2."""
    return [entry for entry in board.log().since(mark).entries if entry.kind is not Kind.LINE or entry.offset != 2]


# -- identity -------------------------------------------------------------------------------------------------------


def test_its_identity_is_as_specified(board: Board) -> None:
    function = board.function(4)
    assert function.config_read(0x00, 4) == 0x11E91234
    assert function.config_read(0x08, 4) == 0x00FF0010
    assert function.config_read(0x2C, 4) == 0x11001AF4
    assert function.config_read(0x3D, 1) == 1
    assert function.config_read(STATUS, 2) & 0x10 == 0  # no capabilities


def test_bar_0_is_four_kilobytes_of_32_bit_memory(board: Board) -> None:
    function = board.function(4)
    function.config_write(BAR0, ALL, 4)
    assert function.config_read(BAR0, 4) == 0xFFFFF000
    for other in range(1, 6):
        function.config_write(BAR0 + 4 * other, ALL, 4)
        assert function.config_read(BAR0 + 4 * other, 4) == 0


# -- registers ------------------------------------------------------------------------------------------------------


def test_registers_read_their_reset_values(bar: Bar) -> None:
    assert [bar.read(offset) for offset in REGISTERS] == [0x020000ED, 0, 0, 0, ALL, 0]


def test_liveness_reads_the_complement(bar: Bar) -> None:
    bar.write(LIVENESS, 0x12345678)
    assert bar.read(LIVENESS) == 0xEDCBA987


@pytest.mark.parametrize("n", [0, 1, 5, 12, 13, 33, 34, 1000, 0x7FFFFFFF, ALL])
def test_factorial_is_modulo_2_to_the_32(bar: Bar, n: int) -> None:
    bar.write(FACTORIAL, n)
    assert bar.read(FACTORIAL) == (math.factorial(n) & ALL if n < 2000 else 0)


@pytest.mark.parametrize("offset", [ID, INT_STATUS, INT_ACTIVE])
def test_a_read_only_register_ignores_writes(bar: Bar, offset: int) -> None:
    before = bar.read(offset)
    bar.write(offset, ~before & ALL)
    assert bar.read(offset) == before


@pytest.mark.parametrize("offset", [INT_RAISE, INT_ACK, INT_MASK_SET, INT_MASK_CLEAR, MARK])
def test_a_write_only_register_reads_zero(bar: Bar, offset: int) -> None:
    bar.write(INT_RAISE, 0xF0)
    assert bar.read(offset) == 0


@pytest.mark.parametrize("offset", [0x0C, 0x20, 0x30, 0x5C, 0x74, 0x80, 0xFFC])
def test_between_the_registers_there_is_nothing(bar: Bar, offset: int) -> None:
    before = [bar.read(register) for register in REGISTERS]
    bar.write(offset, ALL)
    assert bar.read(offset) == 0
    assert [bar.read(register) for register in REGISTERS] == before


@pytest.mark.parametrize(("offset", "width"), [(ID, 1), (ID, 2), (ID, 8), (INT_MASK, 8), (ID + 2, 4), (ID + 1, 2)])
def test_a_read_of_another_width_or_alignment_gives_zero(bar: Bar, offset: int, width: int) -> None:
    assert bar.read(offset, width) == 0


@pytest.mark.parametrize("width", [1, 2, 8])
@pytest.mark.parametrize("offset", [LIVENESS, INT_MASK, INT_RAISE, INT_MASK_CLEAR])
def test_a_write_of_another_width_does_nothing(bar: Bar, offset: int, width: int) -> None:
    before = [bar.read(register) for register in REGISTERS]
    bar.write(offset, 1, width)
    assert [bar.read(register) for register in REGISTERS] == before


# -- interrupt ------------------------------------------------------------------------------------------------------


def test_a_masked_source_is_pending_and_does_not_assert(board: Board, bar: Bar) -> None:
    bar.write(INT_RAISE, 0x5)
    assert (bar.read(INT_STATUS), bar.read(INT_ACTIVE)) == (0x5, 0)
    assert pin(board) == []
    assert board.qmp.get("dev0", "pin") is False


def test_an_unmasked_source_asserts_until_it_is_acknowledged(board: Board, bar: Bar) -> None:
    bar.write(INT_MASK_CLEAR, 0x3)
    assert bar.read(INT_MASK) == 0xFFFFFFFC
    bar.write(INT_RAISE, 0x7)
    assert (bar.read(INT_STATUS), bar.read(INT_ACTIVE)) == (0x7, 0x3)
    bar.write(INT_ACK, 0x1)
    assert line(board) == [1]
    bar.write(INT_ACK, 0x2)
    assert (bar.read(INT_STATUS), bar.read(INT_ACTIVE)) == (0x4, 0)
    assert pin(board) == line(board) == [1, 0]


def test_masking_deasserts_and_unmasking_asserts_again(board: Board, bar: Bar) -> None:
    bar.write(INT_MASK, 0)
    bar.write(INT_RAISE, 0x10)
    bar.write(INT_MASK_SET, 0x10)
    assert (bar.read(INT_MASK), bar.read(INT_STATUS)) == (0x10, 0x10)
    bar.write(INT_MASK_CLEAR, 0x10)
    bar.write(INT_MASK, ALL)
    assert pin(board) == line(board) == [1, 0, 1, 0]


def test_masking_last_or_unmasking_first_source_is_logged(board: Board, bar: Bar) -> None:
    """The mask state is logged when the last source is masked or the first one is unmasked."""
    for offset, value in [
        (INT_MASK_CLEAR, 1),
        (INT_MASK_CLEAR, 2),
        (INT_MASK_SET, 1),
        (INT_MASK_SET, 2),
        (INT_MASK, 7),
    ]:
        bar.write(offset, value)
    bar.write(INT_MASK, ALL)
    log = board.log()
    after = [log.entries[i - 1].offset for i, entry in enumerate(log.entries) if entry.kind is Kind.MASK]
    assert [entry.value for entry in log.of(Kind.MASK)] == [0, 1, 0, 1]
    assert after == [INT_MASK_CLEAR, INT_MASK_SET, INT_MASK, INT_MASK]


def test_a_shared_line_is_high_until_both_devices_are_low(start: Start) -> None:
    board = start("shirq-edu,id=dev0,addr=4", "shirq-edu,id=dev1,addr=8", "shirq-edu,id=dev2,addr=5")
    first, second, other = (board.function(slot).enable() for slot in (4, 8, 5))
    for bar in (first, second, other):
        bar.write(INT_MASK, 0)
        bar.write(INT_RAISE, 1)
    first.write(INT_ACK, 1)
    assert line(board) == [1]
    second.write(INT_ACK, 1)
    assert line(board) == [1, 0]
    assert line(board, 21) == [1]


def test_stimuli_from_outside_do_what_the_registers_do(board: Board, bar: Bar) -> None:
    bar.write(INT_MASK, 0)
    board.qmp.set("dev0", "raise", 0x3)
    board.qmp.set("dev0", "raise", 0x6)
    assert bar.read(INT_STATUS) == board.qmp.get("dev0", "status") == 0x7
    assert board.qmp.get("dev0", "mask") == 0
    assert board.qmp.get("dev0", "pin") is True
    board.qmp.set("dev0", "lower", 0xF)
    assert bar.read(INT_STATUS) == 0
    log = board.log()
    assert [entry.value for entry in log.of(Kind.RAISE, device="dev0")] == [0x3, 0x4]
    assert [entry.value for entry in log.of(Kind.LOWER, device="dev0")] == [0x7]
    assert pin(board) == [1, 0]


def test_a_cause_is_logged_before_its_effects(board: Board, bar: Bar) -> None:
    bar.write(INT_MASK, 0)
    mark = board.log().mark
    bar.write(INT_RAISE, 1)
    bar.write(INT_MASK, ALL)
    assert [entry.kind for entry in since(board, mark)] == [
        *(Kind.WRITE, Kind.RAISE, Kind.PIN, Kind.LINE),
        *(Kind.WRITE, Kind.MASK, Kind.PIN, Kind.LINE),
    ]


def test_every_register_access_is_logged(board: Board, bar: Bar) -> None:
    mark = board.log().mark
    bar.write(LIVENESS, 5)
    bar.read(LIVENESS)
    bar.read(ID, 2)
    bar.write(0xFF8, 0x1122334455667788, 8)
    assert [
        (entry.kind, entry.device, entry.space, entry.offset, entry.width, entry.value) for entry in since(board, mark)
    ] == [
        (Kind.WRITE, "dev0", 0, LIVENESS, 4, 5),
        (Kind.READ, "dev0", 0, LIVENESS, 4, 0xFFFFFFFA),
        (Kind.READ, "dev0", 0, ID, 2, 0),
        (Kind.WRITE, "dev0", 0, 0xFF8, 8, 0x1122334455667788),
    ]


@pytest.mark.parametrize(("width", "marked"), [(4, [0x55667788]), (8, [0x1122334455667788]), (2, []), (1, [])])
def test_a_mark_is_32_or_64_bits_wide(board: Board, bar: Bar, width: int, marked: list[int]) -> None:
    bar.write(MARK, 0x1122334455667788 & ((1 << 8 * width) - 1), width)
    log = board.log()
    assert [entry.value for entry in log.of(Kind.MARK, device="dev0")] == marked
    assert [entry.width for entry in log.of(Kind.MARK, device="dev0")] == [width] * len(marked)
    assert len(log.of(Kind.WRITE, device="dev0", offset=MARK)) == 1


def test_counters_count(board: Board, bar: Bar) -> None:
    bar.write(INT_MASK, 0)  # 1 write
    bar.write(INT_RAISE, 1)
    bar.write(INT_RAISE, 3)
    board.qmp.set("dev0", "raise", 4)
    board.function(4).set_intx_disable(True)
    board.function(4).set_intx_disable(False)
    bar.read(INT_STATUS)
    bar.write(INT_ACK, 7)
    bar.write(INT_RAISE, 8)  # 5 writes
    counters = {name: board.qmp.get("dev0", name) for name in ("raises", "asserts", "acks", "reads", "writes")}
    assert counters == {"raises": 4, "asserts": 3, "acks": 1, "reads": 1, "writes": 5}
    assert pin(board).count(1) == 3


def test_raise_of_no_source_is_none(board: Board, bar: Bar) -> None:
    bar.write(INT_RAISE, 0)
    assert board.qmp.get("dev0", "raises") == 0
    assert not board.log().of(Kind.RAISE)


# -- configuration space --------------------------------------------------------------------------------------------


def asserting(board: Board, device: str = "dev0") -> Function:
    """Let the device in slot 4 assert its pin."""
    function = board.function(4)
    function.enable().write(INT_MASK_CLEAR, 1)
    board.qmp.set(device, "raise", 1)
    return function


def test_intx_disable_hides_the_pin_and_not_the_status(board: Board) -> None:
    function = asserting(board)
    function.set_intx_disable(True)
    assert pin(board) == line(board) == [1, 0]
    assert board.qmp.get("dev0", "pin") is False
    assert function.config_read(STATUS, 2) & STATUS_INTERRUPT
    function.set_intx_disable(False)
    assert pin(board) == line(board) == [1, 0, 1]
    board.qmp.set("dev0", "lower", 1)
    assert function.config_read(STATUS, 2) & STATUS_INTERRUPT == 0


def test_while_intx_is_disabled_the_pin_does_not_move(board: Board) -> None:
    function = asserting(board)
    function.set_intx_disable(True)
    board.qmp.set("dev0", "lower", 1)
    board.qmp.set("dev0", "raise", 1)
    board.qmp.set("dev0", "lower", 1)
    function.set_intx_disable(False)
    assert pin(board) == line(board) == [1, 0]


def test_the_high_byte_of_command_alone_disables_intx(board: Board) -> None:
    function = asserting(board)
    function.config_write(COMMAND + 1, 0x04, 1)
    assert pin(board) == [1, 0]
    assert function.config_read(COMMAND, 2) == 0x0402


def test_read_only_disintx_bit_stays_clear_and_the_pin_high(start: Start) -> None:
    """A read-only interrupt-disable bit stays clear, and the pin stays high."""
    board = start("shirq-edu,id=dev0,addr=4,disintx=read-only")
    function = asserting(board)
    for offset, value, width in [(COMMAND, 0xFFFF, 2), (COMMAND + 1, 0xFF, 1), (COMMAND, ALL, 4)]:
        function.config_write(offset, value, width)
        assert function.config_read(COMMAND, 2) & 0x0400 == 0
    assert pin(board) == line(board) == [1]


@pytest.mark.parametrize(("offset", "width", "shift"), [(STATUS, 2, 0), (STATUS, 1, 0), (COMMAND, 4, 16)])
def test_a_device_before_pci_2_3_has_no_interrupt_status_bit(start: Start, offset: int, width: int, shift: int) -> None:
    for behaviour, bit in [("ok", STATUS_INTERRUPT), ("read-only", 0)]:
        function = asserting(start(f"shirq-edu,id=dev0,addr=4,disintx={behaviour}"))
        assert function.config_read(offset, width) >> shift & STATUS_INTERRUPT == bit


def test_other_command_bits_are_writable_without_disintx(start: Start) -> None:
    """The other bits of Command are writable on a device without the interrupt-disable bit."""
    function = start("shirq-edu,id=dev0,addr=4,disintx=read-only").function(4)
    function.config_write(COMMAND, 0x0506, 2)
    assert function.config_read(COMMAND, 2) == 0x0106


def test_the_behaviour_of_the_bit_can_change_at_run_time(board: Board) -> None:
    function = asserting(board)
    function.set_intx_disable(True)
    board.qmp.set("dev0", "disintx", "read-only")
    assert board.qmp.get("dev0", "disintx") == "read-only"
    assert function.config_read(COMMAND, 2) & 0x0400 == 0
    assert pin(board) == line(board) == [1, 0, 1]
    board.qmp.set("dev0", "disintx", "ok")
    function.set_intx_disable(True)
    assert pin(board) == [1, 0, 1, 0]
    assert board.qmp.get("dev0", "asserts") == 2


def test_accesses_to_command_and_status_are_logged_and_no_others(board: Board) -> None:
    function = board.function(4)
    mark = board.log().mark
    function.config_read(0x00, 4)
    function.config_write(COMMAND + 1, 0x04, 1)
    function.config_read(STATUS, 2)
    function.config_read(0x3C, 4)
    assert [
        (entry.kind, entry.device, entry.space, entry.offset, entry.width, entry.value) for entry in since(board, mark)
    ] == [(Kind.WRITE, "dev0", CONFIG_SPACE, 5, 1, 4), (Kind.READ, "dev0", CONFIG_SPACE, 6, 2, 0)]


# -- life -----------------------------------------------------------------------------------------------------------


def test_a_reset_returns_every_register_and_lowers_the_pin(board: Board) -> None:
    bar = asserting(board).enable()
    bar.write(LIVENESS, 1)
    bar.write(FACTORIAL, 3)
    mark = board.log().mark
    board.qmp.execute("system_reset")
    board.qmp.wait_event("RESET")
    assert [(e.kind, e.value) for e in board.log().since(mark).entries if e.device == "dev0"] == [
        (Kind.RESET, 0),
        (Kind.MASK, 1),
        (Kind.PIN, 0),
    ]
    assert line(board) == [1, 0]
    assert board.function(4).config_read(COMMAND, 2) == 0
    bar = board.function(4).enable()
    assert [bar.read(offset) for offset in REGISTERS] == [0x020000ED, 0, 0, 0, ALL, 0]
    assert board.qmp.get("dev0", "raises") == 1


def test_state_and_counters_survive_migration(start: Start, tmp_path: Path) -> None:
    template = start("shirq-edu,id=dev0,addr=4")
    bar = template.function(4).enable()
    for offset, value in [(LIVENESS, 7), (FACTORIAL, 5), (INT_MASK, 0xFF), (INT_RAISE, 0x101), (INT_RAISE, 0x200)]:
        bar.write(offset, value)
    template.save(tmp_path / "state")
    clone = start("shirq-edu,id=dev0,addr=4", incoming=True)
    clone.load(tmp_path / "state")
    assert clone.qmp.get("dev0", "pin") is True
    assert [clone.qmp.get("dev0", name) for name in ("raises", "asserts", "acks", "reads", "writes")] == [2, 1, 0, 0, 5]
    bar = Bar(clone.qtest, bar.base)
    assert [bar.read(offset) for offset in REGISTERS] == [0x020000ED, 0xFFFFFFF8, 120, 0x301, 0xFF, 0x300]
    bar.write(INT_ACK, 0x300)
    assert pin(clone) == line(clone) == [1, 0]


def test_a_clone_can_get_another_behaviour_than_its_template(start: Start, tmp_path: Path) -> None:
    template = start("shirq-edu,id=dev0,addr=4")
    asserting(template).set_intx_disable(True)
    template.save(tmp_path / "state")
    clone = start("shirq-edu,id=dev0,addr=4", incoming=True)
    clone.load(tmp_path / "state")
    assert pin(clone) == []
    clone.qmp.set("dev0", "disintx", "read-only")
    assert pin(clone) == line(clone) == [1]
    assert clone.function(4).config_read(COMMAND, 2) == 0x0002


# -- hot plug -------------------------------------------------------------------------------------------------------

PORT = "pcie-root-port,id=rp0,bus=pcie.0,addr=6,chassis=1"


def behind_port(board: Board) -> Function:
    """The function behind the root port in slot 6, which becomes bus 1."""
    port = board.function(6)
    port.config_write(0x18, 0x00010100, 4)
    port.config_write(0x20, 0xE01FE010, 4)  # memory window e0100000 to e01fffff
    port.config_write(COMMAND, 0x0006, 2)
    return board.function(0, bus=1)


def unplug(board: Board) -> None:
    """Run `device_del`, then switch the slot off, as a guest does after the attention button was pressed."""
    port = board.function(6)
    slot_control = port.capability(0x10) + 0x18
    board.qmp.execute("device_del", id="dev0")
    port.config_write(slot_control, port.config_read(slot_control, 2) | 0x0700, 2)
    board.qmp.wait_event("DEVICE_DELETED")


def test_it_works_behind_a_root_port(start: Start) -> None:
    board = start(PORT, "shirq-edu,id=dev0,bus=rp0")
    bar = behind_port(board).enable(0xE0100000)
    assert bar.read(ID) == 0x020000ED
    bar.write(INT_MASK, 0)
    bar.write(INT_RAISE, 1)
    (high,) = board.log().of(Kind.LINE, offset=22)
    assert high.value == 1


def test_unplugging_lowers_the_line(start: Start) -> None:
    board = start(PORT, "shirq-edu,id=dev0,bus=rp0")
    behind_port(board).enable(0xE0100000).write(INT_MASK, 0)
    board.qmp.set("dev0", "raise", 1)
    assert line(board, 22) == [1]
    unplug(board)
    assert pin(board) == line(board, 22) == [1, 0]
    with pytest.raises(QmpFailed, match="not found"):
        board.qmp.get("dev0", "pin")


def test_device_has_its_own_name_in_the_log_of_a_reused_slot(start: Start) -> None:
    """A device has its own name in the log, whatever device was in its slot before."""
    board = start(PORT, "shirq-edu,id=dev0,bus=rp0")
    unplug(board)
    # The slot is switched off now, so QEMU can unplug the next device without the guest's consent.
    for name in ("dev1", "dev0"):
        mark = board.log().mark
        board.qmp.execute("device_add", driver="shirq-edu", id=name, bus="rp0")
        board.qmp.set(name, "raise", 1)
        assert {entry.device for entry in board.log().since(mark).of(Kind.RESET, Kind.RAISE)} == {name}
        board.qmp.execute("device_del", id=name)
        board.qmp.wait_event("DEVICE_DELETED")
    devices = board.log().header.devices
    assert [devices.count(name) for name in ("dev0", "dev1")] == [1, 1]


def test_nothing_remembers_a_device_that_was_unplugged(start: Start) -> None:
    board = start(PORT, "shirq-edu,id=dev0,bus=rp0", log=None)
    behind_port(board).enable(0xE0100000).write(INT_MASK, 0)
    board.qmp.set("dev0", "raise", 1)
    unplug(board)
    board.qmp.execute("object-add", qom_type="shirq-log", id="log", path=str(board.log_path))
    assert board.log().header.devices == ("i8259",)
    assert line(board, 22) == []


# -- refusals -------------------------------------------------------------------------------------------------------


def test_an_unknown_behaviour_is_refused_with_what_is_allowed(start: Start, board: Board) -> None:
    message = "property 'disintx' must be one of ok, read-only, no-op, stuck, not 'maybe'"
    with pytest.raises(VmDied, match=message):
        start("shirq-edu,disintx=maybe")
    with pytest.raises(QmpFailed, match=message):
        board.qmp.set("dev0", "disintx", "maybe")
    assert board.qmp.get("dev0", "disintx") == "ok"


@pytest.mark.parametrize("name", ["raise", "lower"])
def test_a_stimulus_without_sources_is_refused(board: Board, name: str) -> None:
    with pytest.raises(QmpFailed, match=f"'{name}' takes the sources as bits, 1 to 4294967295, not 0"):
        board.qmp.set("dev0", name, 0)
    with pytest.raises(QmpFailed, match="uint32"):
        board.qmp.set("dev0", name, 1 << 32)
    with pytest.raises(QmpFailed, match="not readable"):
        board.qmp.get("dev0", name)


def test_a_stimulus_on_the_command_line_is_refused(start: Start) -> None:
    with pytest.raises(VmDied, match="'raise' is for run time"):
        start("shirq-edu,raise=1")


@pytest.mark.parametrize("name", ["status", "mask", "pin", "raises", "asserts", "acks", "reads", "writes"])
def test_what_is_observed_cannot_be_set(board: Board, name: str) -> None:
    with pytest.raises(QmpFailed, match="not writable"):
        board.qmp.set("dev0", name, True if name == "pin" else 1)


# -- trace events ---------------------------------------------------------------------------------------------------


def test_accesses_and_pin_are_trace_events(start: Start) -> None:
    board = start("shirq-edu,id=dev0,addr=4", extra=["-trace", "shirq_edu_*"])
    asserting(board).enable().read(INT_STATUS)
    text = (board.dir / "qemu.log").read_text()
    for event in (
        "write /machine/peripheral/dev0: offset 0x6c width 4 value 0x1",
        "pin /machine/peripheral/dev0: level 1",
    ):
        assert f"shirq_edu_{event}" in text
    assert "shirq_edu_read /machine/peripheral/dev0: offset 0x24 width 4 value 0x1" in text
