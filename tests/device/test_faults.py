# SPDX-License-Identifier: MIT
"""The faults that properties give the device. The tests step the clock."""

from __future__ import annotations

from pathlib import Path

import pytest

from device.scene import (
    ALL,
    COMMAND_MASTER,
    INT_ACK,
    INT_ACTIVE,
    INT_MASK,
    INT_RAISE,
    INT_STATUS,
    MARK,
    PCIE,
    PM,
    Scene,
    Start,
    messages,
    power,
)
from shirq_bench.channels.log import Kind
from shirq_bench.errors import BenchError, QmpFailed, VmDied
from shirq_bench.vm.board import COMMAND, STATUS, STATUS_INTERRUPT, IoApic

# -- the interrupt-disable and the interrupt status bit -----------------------------------------------------------


def test_no_op_disintx_bit_is_written_and_masks_nothing(start: Start) -> None:
    """An interrupt-disable bit that is a no-op can be written and masks nothing."""
    scene = Scene(start, "disintx=no-op")
    scene.raise_()
    for written in (True, False, True):
        scene.function.set_intx_disable(written)
        assert scene.function.config_read(COMMAND, 2) & 0x0400 == 0x0400 * written
    assert scene.pin() == [1]
    assert scene.function.config_read(COMMAND + 1, 1) == 4
    scene.reset()
    assert scene.function.config_read(COMMAND, 2) & 0x0400 == 0


def test_no_op_disintx_survives_migration_and_ok_makes_it_work(start: Start, tmp_path: Path) -> None:
    """A no-op interrupt-disable bit survives migration and takes effect when disintx becomes ok."""
    scene = Scene(start, "disintx=no-op")
    scene.raise_()
    scene.function.set_intx_disable(True)
    scene.migrate(tmp_path / "state")
    assert scene.function.config_read(COMMAND, 2) & 0x0400
    assert scene.board.qmp.get("dev0", "pin") is True
    scene.set("disintx", "ok")
    assert scene.pin() == [1, 0]
    with pytest.raises(BenchError, match="which disintx=no-op does not allow"):
        scene.migrate(tmp_path / "again", "disintx=no-op")


def test_stuck_disintx_bit_cannot_be_cleared_before_a_reset(start: Start, tmp_path: Path) -> None:
    """A stuck interrupt-disable bit cannot be cleared before a reset."""
    scene = Scene(start, "disintx=stuck")
    scene.raise_()
    scene.function.set_intx_disable(True)
    scene.function.set_intx_disable(False)
    assert scene.function.config_read(COMMAND, 2) & 0x0400
    scene.migrate(tmp_path / "state")
    scene.function.set_intx_disable(False)
    assert scene.function.config_read(COMMAND, 2) & 0x0400
    scene.reset()
    assert scene.function.config_read(COMMAND, 2) & 0x0400 == 0
    scene.bar.write(INT_MASK, 0)
    scene.raise_()
    assert scene.board.qmp.get("dev0", "pin") is True


def test_stuck_bit_set_by_a_reset_cannot_be_cleared(start: Start) -> None:
    """The first write after the reset cannot clear the bit either."""
    board = start("shirq-edu,id=dev0,addr=4,disintx=stuck,reset-disintx=on")
    for _ in range(2):
        board.function(4).set_intx_disable(False)
        assert board.function(4).config_read(COMMAND, 2) & 0x0400
        board.qmp.execute("system_reset")
        board.qmp.wait_event("RESET")


@pytest.mark.parametrize(
    ("value", "disintx", "seen"),
    [
        ("auto", "ok", [0, 1]),
        ("auto", "read-only", [0, 0]),
        ("ok", "read-only", [0, 1]),
        ("zero", "ok", [0, 0]),
        ("one", "ok", [1, 1]),
    ],
)
def test_the_interrupt_status_bit_says_what_it_is_told_to(
    start: Start, value: str, disintx: str, seen: list[int]
) -> None:
    scene = Scene(start, f"intx-status={value}", f"disintx={disintx}")
    bits = [scene.function.config_read(STATUS, 2) & STATUS_INTERRUPT]
    scene.raise_()
    bits.append(scene.function.config_read(COMMAND, 4) >> 16 & STATUS_INTERRUPT)
    assert bits == [bit * STATUS_INTERRUPT for bit in seen]


@pytest.mark.parametrize("disintx", ["ok", "no-op", "stuck"])
def test_firmware_can_have_left_interrupts_disabled(start: Start, disintx: str) -> None:
    scene = Scene(start, f"disintx={disintx}", "reset-disintx=on")
    assert scene.function.config_read(COMMAND, 2) & 0x0400
    scene.raise_()
    assert scene.pin() == ([1] if disintx == "no-op" else [])
    scene.reset()
    assert scene.function.config_read(COMMAND, 2) & 0x0400


# -- out of reset ---------------------------------------------------------------------------------------------------


def test_a_device_can_assert_out_of_reset(start: Start) -> None:
    scene = Scene(start, "reset-status=6", "reset-unmasked=4", armed=False)
    assert scene.pin() == [1]
    assert (scene.bar.read(INT_STATUS), scene.bar.read(INT_MASK)) == (6, ALL - 4)
    scene.bar.write(INT_ACK, ALL)
    assert scene.pin() == [1, 0]
    scene.reset()
    assert scene.pin() == [1, 0, 1]


def test_gate_is_open_after_reset_if_a_source_is_unmasked_there(start: Start) -> None:
    """After a reset the gate is open if a source is unmasked by the reset."""
    scene = Scene(start, "preset=plx9050,reset-status=1,reset-unmasked=1", armed=False)
    assert scene.bar.read(0x4C) == 0x45
    assert scene.pin() == [1]


# -- time -----------------------------------------------------------------------------------------------------------


def test_a_posted_write_arrives_with_the_next_read(start: Start) -> None:
    scene = Scene(start)
    scene.set("posted", "until-read")
    scene.raise_()
    mark = scene.board.log().mark
    scene.bar.write(INT_ACK, 1)
    scene.step(1_000_000)
    assert scene.pin() == [1]
    assert scene.board.qmp.get("dev0", "posted-writes") == 1
    assert scene.bar.read(INT_STATUS) == 0
    kinds = [entry.kind for entry in scene.board.log().since(mark).entries if entry.device == "dev0"]
    assert kinds == [Kind.WRITE, Kind.LAND, Kind.PIN, Kind.READ]


def test_a_read_of_configuration_space_pushes_posted_writes_too(start: Start) -> None:
    scene = Scene(start)
    scene.set("posted", "until-read")
    scene.raise_()
    scene.bar.write(INT_ACK, 1)
    scene.function.config_read(0, 4)
    assert scene.pin() == [1, 0]


@pytest.mark.parametrize("migrate", [False, True])
def test_delayed_write_arrives_exactly_after_its_delay(start: Start, tmp_path: Path, migrate: bool) -> None:
    """A delayed write arrives after its delay, to the nanosecond."""
    scene = Scene(start)
    scene.raise_()
    scene.set("posted-ns", 5000)
    scene.set("posted", "delayed")
    scene.bar.write(INT_ACK, 1)
    scene.step(4999)
    assert scene.board.qmp.get("dev0", "pin") is True
    if migrate:
        scene.migrate(tmp_path / "state")
        assert scene.board.qmp.get("dev0", "posted-writes") == 1
        scene.board.qmp.execute("cont")
    scene.step(1)
    assert scene.board.qmp.get("dev0", "pin") is False


def test_posted_writes_arrive_in_order_and_overflow_pushes_first(start: Start) -> None:
    """Posted writes arrive in order; if there are more than fit, the oldest one arrives at once."""
    scene = Scene(start)
    scene.set("posted", "until-read")
    for value in range(70):
        scene.bar.write(INT_MASK, value)
    assert scene.board.qmp.get("dev0", "mask") == 5
    scene.set("posted", "off")
    assert scene.board.qmp.get("dev0", "mask") == 69
    assert [entry.value for entry in scene.board.log().of(Kind.LAND)] == list(range(70))


def test_a_reset_loses_posted_writes_and_a_mark_is_never_posted(start: Start) -> None:
    scene = Scene(start)
    scene.set("posted", "until-read")
    scene.bar.write(MARK, 7)
    assert [entry.value for entry in scene.board.log().of(Kind.MARK)] == [7]
    scene.bar.write(INT_RAISE, 1)
    scene.reset()
    assert scene.bar.read(INT_STATUS) == 0


@pytest.mark.parametrize("action", ["acknowledge", "mask"])
@pytest.mark.parametrize("migrate", [False, True])
def test_the_pin_falls_late(start: Start, tmp_path: Path, action: str, migrate: bool) -> None:
    scene = Scene(start)
    scene.set("deassert-delay-ns", 3000)
    scene.raise_()
    scene.bar.write(*{"acknowledge": (INT_ACK, 1), "mask": (INT_MASK, ALL)}[action])
    scene.step(2999)
    assert scene.board.qmp.get("dev0", "pin") is True
    if migrate:
        scene.migrate(tmp_path / "state")
        scene.board.qmp.execute("cont")
    scene.step(1)
    assert scene.board.qmp.get("dev0", "pin") is False


def test_raise_undoes_a_delayed_pin_fall_and_reset_forces_it(start: Start) -> None:
    """A pin that is about to fall stays high when a source is raised and falls at once at a reset."""
    scene = Scene(start)
    scene.set("deassert-delay-ns", 3000)
    scene.raise_()
    scene.bar.write(INT_ACK, 1)
    scene.step(1000)
    scene.raise_()
    scene.step(10_000)
    assert scene.pin() == [1]
    scene.bar.write(INT_ACK, 1)
    scene.reset()
    assert scene.pin() == [1, 0]


@pytest.mark.parametrize("migrate", [False, True])
def test_the_status_lags_behind_the_pin(start: Start, tmp_path: Path, migrate: bool) -> None:
    scene = Scene(start)
    scene.set("status-lag-ns", 2000)
    scene.raise_()
    scene.step(1999)
    assert (scene.pin(), scene.bar.read(INT_STATUS), scene.bar.read(INT_ACTIVE)) == ([1], 0, 0)
    if migrate:
        scene.migrate(tmp_path / "state", "status-lag-ns=2000")
        scene.board.qmp.execute("cont")
    scene.step(1)
    assert (scene.bar.read(INT_STATUS), scene.bar.read(INT_ACTIVE)) == (1, 1)
    scene.bar.write(INT_ACK, 1)
    assert scene.bar.read(INT_STATUS) == 1
    scene.step(2000)
    assert scene.bar.read(INT_STATUS) == 0


@pytest.mark.parametrize("migrate", [False, True])
def test_a_storm_raises_its_sources_every_period(start: Start, tmp_path: Path, migrate: bool) -> None:
    scene = Scene(start)
    scene.set("storm-sources", 3)
    scene.set("storm-ns", 1000)
    if migrate:
        scene.step(400)
        scene.migrate(tmp_path / "state", "storm-ns=1000", "storm-sources=3")
        scene.board.qmp.execute("cont")
        scene.step(-400 % 1000)
    else:
        scene.step(1000)
    for _ in range(2):
        scene.bar.write(INT_ACK, ALL)
        scene.step(1000)
    raises = scene.board.log().of(Kind.RAISE)
    assert [entry.time_ns for entry in raises] == [1000, 2000, 3000]
    assert {entry.value for entry in raises} == {3}
    scene.set("storm-ns", 0)
    scene.step(10_000)
    assert len(scene.board.log().of(Kind.RAISE)) == 3


def test_source_can_be_pending_again_once_acknowledged(start: Start) -> None:
    """A source can be pending again as soon as it is acknowledged."""
    scene = Scene(start)
    scene.set("reassert", 1)
    scene.raise_(3)
    scene.bar.write(INT_ACK, 3)
    assert scene.bar.read(INT_STATUS) == 1
    assert scene.pin() == [1, 0, 1]
    scene.set("reassert", 0)
    scene.bar.write(INT_ACK, 3)
    assert scene.pin() == [1, 0, 1, 0]


# -- dead -----------------------------------------------------------------------------------------------------------


def test_dead_registers_read_ones_ignore_writes_and_keep_the_pin(start: Start) -> None:
    """Dead registers read all-ones and ignore writes, while the pin stays as it is."""
    scene = Scene(start)
    scene.raise_()
    scene.set("dead", "bars")
    assert [scene.bar.read(INT_STATUS, width) for width in (1, 2, 4, 8)] == [0xFF, 0xFFFF, ALL, (1 << 64) - 1]
    scene.bar.write(INT_ACK, 1)
    scene.bar.write(INT_MASK, ALL)
    assert scene.pin() == [1]
    assert scene.function.config_read(0, 4) == 0x11E91234
    scene.set("dead", "off")
    assert scene.bar.read(INT_STATUS) == 1


def test_a_dead_function_has_no_configuration_space_either(start: Start) -> None:
    scene = Scene(start)
    scene.set("dead", "all")
    assert [scene.function.config_read(0, width) for width in (1, 2, 4)] == [0xFF, 0xFFFF, ALL]
    scene.function.config_write(COMMAND, 0, 2)
    scene.set("dead", "off")
    assert scene.function.config_read(COMMAND, 2) == 2


# -- pins -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("pin", "gsi"), [("A", 20), ("B", 21), ("C", 22), ("D", 23)])
def test_every_pin_has_its_line(start: Start, pin: str, gsi: int) -> None:
    scene = Scene(start, f"intx-pin={pin}")
    scene.raise_()
    assert scene.function.config_read(0x3D, 1) == "ABCD".index(pin) + 1
    (entry,) = scene.board.log().of(Kind.PIN)
    assert entry.offset == "ABCD".index(pin)
    assert [e.offset for e in scene.board.log().of(Kind.LINE) if e.offset != 2] == [gsi]


def test_an_asserted_pin_can_move_while_the_vm_is_stopped(start: Start, tmp_path: Path) -> None:
    scene = Scene(start)
    scene.raise_()
    with pytest.raises(QmpFailed, match="'intx-pin' can only be set while the VM is stopped: stop it first"):
        scene.set("intx-pin", "C")
    scene.board.qmp.execute("stop")
    scene.set("intx-pin", "C")
    assert [(e.offset, e.value) for e in scene.board.log().of(Kind.PIN)] == [(0, 1), (0, 0), (2, 1)]
    scene.migrate(tmp_path / "state")
    assert scene.board.qmp.get("dev0", "intx-pin") == "C"
    scene.bar.write(INT_ACK, 1)
    assert [(e.offset, e.value) for e in scene.board.log().of(Kind.PIN)] == [(2, 1), (2, 0)]


# -- power and resets -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("soft_reset", [True, False])
def test_d3hot_silences_and_d0_resets_unless_no_soft_reset(start: Start, soft_reset: bool) -> None:
    """D3hot silences the device, and the return to D0 resets it unless No_Soft_Reset is set."""
    scene = Scene(start, "pm=on", f"no-soft-reset={'off' if soft_reset else 'on'}")
    scene.raise_()
    control = scene.function.capability(PM) + 4
    assert scene.function.config_read(control, 2) == 8 * (not soft_reset)
    power(scene, 3)
    assert scene.function.config_read(control, 2) & 3 == 3
    assert scene.pin() == [1, 0]
    assert scene.bar.read(INT_STATUS) == ALL
    scene.bar.write(INT_ACK, 1)
    power(scene, 0)
    assert scene.pin() == ([1, 0] if soft_reset else [1, 0, 1])
    assert scene.function.config_read(COMMAND, 2) == (0 if soft_reset else 2)
    assert len(scene.board.log().of(Kind.RESET)) == (2 if soft_reset else 1)


def test_d3hot_survives_migration_and_ends_with_a_reset(start: Start, tmp_path: Path) -> None:
    scene = Scene(start, "pm=on", "no-soft-reset=on")
    scene.raise_()
    power(scene, 3)
    scene.migrate(tmp_path / "state")
    assert scene.board.qmp.get("dev0", "pin") is False
    power(scene, 0)
    assert scene.board.qmp.get("dev0", "pin") is True
    power(scene, 3)
    scene.reset()
    assert scene.function.config_read(scene.function.capability(PM) + 4, 2) & 3 == 0


def test_there_are_no_power_states_but_d0_and_d3hot(start: Start) -> None:
    scene = Scene(start, "pm=on")
    for state in (1, 2):
        power(scene, state)
        assert scene.function.config_read(scene.function.capability(PM) + 4, 2) == 0


def test_ineffective_power_management_does_nothing(start: Start) -> None:
    scene = Scene(start, "pm=on", "pm-effective=off")
    scene.raise_()
    power(scene, 3)
    assert (scene.pin(), scene.bar.read(INT_STATUS)) == ([1], 1)
    power(scene, 0)
    assert len(scene.board.log().of(Kind.RESET)) == 1


@pytest.mark.parametrize("effective", ["on", "off"])
def test_a_function_level_reset_resets_unless_it_is_ineffective(start: Start, effective: str) -> None:
    scene = Scene(start, "pcie=on", f"flr-effective={effective}")
    scene.raise_()
    capability = scene.function.capability(PCIE)
    assert scene.function.config_read(capability + 4, 4) >> 28 & 1
    scene.function.config_write(capability + 8, 0x8000, 2)
    assert scene.function.config_read(capability + 8, 2) & 0x8000 == 0
    assert scene.pin() == ([1, 0] if effective == "on" else [1])
    assert scene.function.config_read(COMMAND, 2) == (0 if effective == "on" else 2)


def test_a_function_level_reset_ends_as_the_reset_properties_say(start: Start) -> None:
    scene = Scene(start, "pcie=on", "reset-status=1", "reset-unmasked=1", "reset-disintx=on", armed=False)
    scene.function.set_intx_disable(False)
    scene.function.config_write(scene.function.capability(PCIE) + 8, 0x8000, 2)
    assert scene.function.config_read(COMMAND, 2) == 0x0400
    scene.function.set_intx_disable(False)
    assert scene.board.qmp.get("dev0", "pin") is True


# -- messages -------------------------------------------------------------------------------------------------------


def test_a_message_takes_the_place_of_the_pin(start: Start) -> None:
    scene = Scene(start, "msi=on")
    messages(scene, True)
    scene.raise_()
    scene.raise_(1)
    scene.bar.write(INT_ACK, 1)
    scene.raise_()
    sent = scene.board.log().of(Kind.MESSAGE)
    assert [(entry.offset, entry.value) for entry in sent] == [(0xFEE00000, 0x41)] * 2
    assert scene.pin() == []


def test_message_to_the_device_itself_is_sent_once(start: Start) -> None:
    """The message writes to the device's own INT_RAISE, before the device has finished the raise that sends the
    message.
    """
    scene = Scene(start, "msi=on")
    messages(scene, True, scene.bar.base + INT_RAISE, 2)
    scene.function.config_write(COMMAND, scene.function.config_read(COMMAND, 2) | COMMAND_MASTER, 2)
    scene.raise_()
    log = scene.board.log()
    assert [entry.value for entry in log.of(Kind.RAISE)] == [1, 2]
    assert [entry.value for entry in log.of(Kind.MESSAGE)] == [2]


def test_pin_rests_while_msi_is_on_and_returns_if_pending(start: Start, tmp_path: Path) -> None:
    """The pin stays low while MSI is enabled, and is asserted afterwards if a source is pending."""
    scene = Scene(start, "msi=on")
    scene.raise_()
    messages(scene, True)
    assert scene.pin() == [1, 0]
    scene.migrate(tmp_path / "state")
    messages(scene, False)
    assert scene.pin() == [1]
    scene.bar.write(INT_ACK, 1)
    messages(scene, True)
    scene.raise_()
    assert len(scene.board.log().of(Kind.MESSAGE)) == 1
    scene.reset()
    scene.bar.write(INT_MASK, 0)
    scene.raise_()
    assert scene.board.qmp.get("dev0", "pin") is True


OUT_OF_RESET = {"reset-status": 1, "reset-unmasked": 1}


# -- where it is plugged --------------------------------------------------------------------------------------------


def test_it_works_behind_a_conventional_bridge(start: Start) -> None:
    board = start("pcie-pci-bridge,id=bridge,addr=6", "shirq-edu,id=dev0,bus=bridge,addr=1,msi=on,pm=on")
    bridge = board.function(6)
    bridge.config_write(0x18, 0x00010100, 4)
    bridge.config_write(0x20, 0xE01FE010, 4)
    bridge.config_write(COMMAND, 0x0006, 2)
    board.function(1, bus=1).enable(0xE0100000).write(INT_MASK, 0)
    board.qmp.set("dev0", "raise", 1)
    assert [entry.value for entry in board.log().of(Kind.LINE) if entry.offset >= 16] == [1]


def test_device_joins_and_leaves_conventional_bridge_asserted(start: Start) -> None:
    """A device is plugged into a conventional bridge while it asserts, and unplugged while it asserts."""
    board = start("pcie-pci-bridge,id=bridge,addr=6")
    # The guest has never switched the slot on, so QEMU unplugs the function without the guest's consent.
    board.qmp.execute("device_add", driver="shirq-edu", id="dev0", bus="bridge", addr="2", **OUT_OF_RESET)
    board.qmp.execute("device_del", id="dev0")
    board.qmp.wait_event("DEVICE_DELETED")
    assert [entry.value for entry in board.log().of(Kind.PIN, device="dev0")] == [1, 0]
    assert [entry.value for entry in board.log().of(Kind.LINE) if entry.offset >= 16] == [1, 0]


def test_it_is_plugged_storming_into_a_root_port(start: Start) -> None:
    board = start("pcie-root-port,id=rp0,bus=pcie.0,addr=6,chassis=1")
    board.qmp.execute("device_add", driver="shirq-edu", id="dev0", bus="rp0", pcie=True, storm_ns=1000, **OUT_OF_RESET)
    assert [entry.value for entry in board.log().of(Kind.PIN, device="dev0")] == [1]
    board.qtest.clock_step(5000)
    assert len(board.log().of(Kind.RAISE)) == 6
    port = board.function(6)
    control = port.capability(PCIE) + 0x18
    # Switching a slot on resets its function, which asserts again after the reset.
    port.config_write(control, port.config_read(control, 2) & ~0x0700 | 0x0100, 2)
    assert board.qmp.get("dev0", "pin") is True
    raised = len(board.log().of(Kind.RAISE))
    board.qmp.execute("device_del", id="dev0")
    port.config_write(control, port.config_read(control, 2) | 0x0700, 2)
    board.qmp.wait_event("DEVICE_DELETED")
    assert [entry.value for entry in board.log().of(Kind.PIN, device="dev0")] == [1, 0, 1, 0]
    board.qtest.clock_step(5000)
    assert len(board.log().of(Kind.RAISE)) == raised


# -- the I/O APIC's pause -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pause", [True, False])
def test_the_pause_in_a_storm_can_be_switched_off(start: Start, pause: bool) -> None:
    scene = Scene(start)
    (path,) = [
        f"/machine/q35/{child['name']}"
        for child in scene.board.qmp.execute("qom-list", path="/machine/q35")
        if child["name"] == "ioapic"
    ]
    assert scene.board.qmp.get(path, "storm-pause") is True
    scene.board.qmp.set(path, "storm-pause", pause)
    apic = IoApic(scene.board.qtest)
    apic.program(20, 0x61)
    scene.raise_()
    for _ in range(10_001):
        apic.eoi(0x61)
    delivered = len(scene.board.log().of(Kind.DELIVER, offset=20))
    assert delivered == (10_000 if pause else 10_002)
    scene.step(10_000_000)
    assert len(scene.board.log().of(Kind.DELIVER, offset=20)) == (10_001 if pause else 10_002)


@pytest.mark.parametrize("paused", [True, False])
def test_storm_pause_survives_migration(start: Start, tmp_path: Path, paused: bool) -> None:
    """A machine that was saved in the pause, or one EOI before it, delivers the interrupt after the pause."""
    scene = Scene(start)
    IoApic(scene.board.qtest).program(20, 0x61)
    scene.raise_()
    scene.step(5_000_000_000)  # later than what fits into 32 bits
    end = f"writel {0xFEC00040:#x} 0x61"
    for _ in range(99):
        scene.board.qtest.batch([end] * 101)
    if paused:
        scene.board.qtest.batch([end])
    assert len(scene.board.log().of(Kind.DELIVER, offset=20)) == 10_000
    scene.migrate(tmp_path / "state")
    scene.board.qmp.execute("cont")
    if not paused:
        IoApic(scene.board.qtest).eoi(0x61)
    scene.step(9_999_999)
    assert not scene.board.log().of(Kind.DELIVER, offset=20)
    scene.step(1)
    assert len(scene.board.log().of(Kind.DELIVER, offset=20)) == 1


# -- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        ("dead=maybe", "'dead' must be one of off, bars, all, not 'maybe'"),
        ("storm-ns=99", "'storm-ns' must be 0 or 100 to 10000000000, not 99"),
        ("storm-sources=0", "'storm-sources' must be 1 to 4294967295, not 0"),
        ("deassert-delay-ns=10000000001", "'deassert-delay-ns' must be 0 to 10000000000, not 10000000001"),
        ("posted-ns=0", "'posted-ns' must be 1 to 10000000000, not 0"),
        ("reassert=4294967296", "'reassert' must be 0 to 4294967295, not 4294967296"),
        ("preset=plx9050,reassert=8", "'reassert' names the sources 0x8, and the device has 0x7"),
        ("disintx=read-only,reset-disintx=on", "'reset-disintx' must be off with disintx=read-only"),
        ("pm-effective=off", "'pm-effective' must be on without pm=on"),
        ("flr-effective=off", "'flr-effective' must be on without pcie=on"),
        ("intx-with-msi=on", "'intx-with-msi' must be off without msi=on"),
        ("intx-pin=E", "'intx-pin' must be one of A, B, C, D, none, not 'E'"),
        ("payload-lag-ns=10000000001", "'payload-lag-ns' must be 0 to 10000000000, not 10000000001"),
        ("registers=bar0+0/32 status; bar0+4/32 payload rc", "'rc' needs bits that a read can clear"),
        ("registers=bar0+0/32 status; bar0+4/32 payload w1c", "'w1c': these bits are read-only"),
        ("no-soft-reset=on", "'no-soft-reset' must be off without pm=on"),
        ("schedule=/dev/null", "'schedule' cannot be set now"),
        ("preset=edu,registers=bar0+0x20/32 status", "'preset' and 'registers' describe the same: give one of them"),
        ("registers=bar0+0x20/32 status,preset=edu", "'preset' and 'registers' describe the same: give one of them"),
    ],
)
def test_what_contradicts_or_is_out_of_range_is_refused(start: Start, properties: str, message: str) -> None:
    with pytest.raises(VmDied, match=message):
        start(f"shirq-edu,{properties}")


def test_contradiction_at_run_time_is_refused_without_effect(start: Start) -> None:
    """A contradiction between properties at run time is refused and changes nothing."""
    scene = Scene(start, "reset-disintx=on")
    with pytest.raises(QmpFailed, match="'reset-disintx' must be off with disintx=read-only"):
        scene.set("disintx", "read-only")
    assert scene.board.qmp.get("dev0", "disintx") == "ok"
    scene.board.qmp.execute("stop")
    scene.set("reassert", 0x80000000)
    with pytest.raises(QmpFailed, match="'reassert' names the sources 0x80000000, and the device has 0x7fffffff"):
        scene.set("preset", "e1000-like")
    assert scene.board.qmp.get("dev0", "preset") == "edu"


def test_pcie_is_refused_on_a_conventional_bus(start: Start) -> None:
    with pytest.raises(VmDied, match="'pcie' must be off on a conventional bus"):
        start("pcie-pci-bridge,id=bridge,addr=6", "shirq-edu,bus=bridge,addr=1,pcie=on")


def test_every_change_of_a_fault_is_logged(start: Start) -> None:
    scene = Scene(start)
    scene.set("dead", "bars")
    scene.set("storm-ns", 5000)
    assert [(e.device, e.offset, e.value) for e in scene.board.log().of(Kind.SETTING)] == [
        ("dev0", 3, 1),
        ("dev0", 8, 5000),
    ]
