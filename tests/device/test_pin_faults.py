# SPDX-License-Identifier: MIT
"""What else pins do on real cards: there is none, it stays asserted, it asserts beside MSI, its pulse is short."""

from __future__ import annotations

from pathlib import Path

import pytest

from device.scene import ALL, INT_ACK, INT_MASK, MSI, PCIE, Scene, Start, messages, power
from shirq_bench.channels.log import Kind
from shirq_bench.errors import BenchError
from shirq_bench.vm.board import STATUS, STATUS_INTERRUPT, IoApic

INTERRUPT_PIN = 0x3D
GSI = 20


def lines(scene: Scene) -> list[int]:
    """The levels of the device's line, one after the other."""
    return [entry.value for entry in scene.board.log().of(Kind.LINE, offset=GSI)]


# -- no pin ---------------------------------------------------------------------------------------------------------


def test_a_card_without_a_pin_never_asserts(start: Start, tmp_path: Path) -> None:
    """Interrupt Pin reads 0; the sources, the registers and MSI work."""
    scene = Scene(start, "intx-pin=none", "msi=on")
    assert scene.function.config_read(INTERRUPT_PIN, 1) == 0
    scene.raise_()
    assert scene.bar.read(0x2C) == 1
    assert scene.function.config_read(STATUS, 2) & STATUS_INTERRUPT == 0
    scene.migrate(tmp_path / "state")
    assert scene.board.qmp.get("dev0", "intx-pin") == "none"
    scene.bar.write(INT_ACK, 1)
    scene.reset()
    scene.bar.write(INT_MASK, 0)
    messages(scene, True)
    scene.raise_()
    messages(scene, False)
    assert (scene.pin(), lines(scene)) == ([], [])
    assert len(scene.board.log().of(Kind.MESSAGE)) == 1
    assert scene.board.qmp.get("dev0", "asserts") == 0


def test_a_pin_that_is_taken_away_falls_and_returns(start: Start) -> None:
    scene = Scene(start)
    scene.raise_()
    scene.board.qmp.execute("stop")
    scene.set("intx-pin", "none")
    assert (scene.pin(), scene.board.qmp.get("dev0", "pin")) == ([1, 0], False)
    scene.set("intx-pin", "A")
    assert (scene.pin(), scene.board.qmp.get("dev0", "pin")) == ([1, 0, 1], True)
    assert scene.function.config_read(INTERRUPT_PIN, 1) == 1


# -- a pin that does not fall ---------------------------------------------------------------------------------------


def test_a_stuck_pin_stays_whatever_the_guest_does(start: Start) -> None:
    scene = Scene(start, "pin-stuck=on", "msi=on", "pm=on")
    scene.raise_()
    scene.bar.write(INT_ACK, 1)
    scene.bar.write(INT_MASK, ALL)
    messages(scene, True)
    messages(scene, False)
    power(scene, 3)
    scene.step(1_000_000)
    assert (scene.pin(), lines(scene)) == ([1], [1])
    assert scene.board.qmp.get("dev0", "pin") is True
    scene.function.set_intx_disable(True)
    assert scene.pin() == [1, 0]
    scene.function.set_intx_disable(False)
    assert scene.pin() == [1, 0, 1]


@pytest.mark.parametrize("masked", [False, True])
def test_the_next_raise_lets_a_stuck_pin_fall(start: Start, masked: bool) -> None:
    """It rises again at once, unless the source is masked."""
    scene = Scene(start, "pin-stuck=on")
    scene.raise_()
    scene.raise_()
    assert scene.pin() == [1]
    scene.bar.write(INT_ACK, 1)
    scene.bar.write(INT_MASK, ALL if masked else 0)
    scene.raise_()
    assert scene.pin() == ([1, 0] if masked else [1, 0, 1])
    kinds = [entry.kind for entry in scene.board.log().entries if entry.device == "dev0"]
    assert kinds[-2 if masked else -3] is Kind.RAISE


@pytest.mark.parametrize("how", ["machine", "function", "power", "off"])
def test_a_reset_ends_a_stuck_pin(start: Start, how: str) -> None:
    scene = Scene(start, "pcie=on", "pm=on")
    scene.set("pin-stuck", "on")
    scene.raise_()
    scene.bar.write(INT_ACK, 1)
    assert scene.pin() == [1]
    if how == "machine":
        scene.reset()
    elif how == "function":
        scene.function.config_write(scene.function.capability(PCIE) + 8, 0x8000, 2)
    elif how == "power":
        power(scene, 3)
        assert scene.pin() == [1]
        power(scene, 0)
    else:
        scene.set("pin-stuck", "off")
    assert (scene.pin(), scene.board.qmp.get("dev0", "pin")) == ([1, 0], False)


def test_a_stuck_pin_survives_migration(start: Start, tmp_path: Path) -> None:
    scene = Scene(start, "pin-stuck=on")
    scene.raise_()
    scene.bar.write(INT_ACK, 1)
    scene.migrate(tmp_path / "state", "pin-stuck=on")
    scene.bar.write(INT_ACK, 1)
    assert scene.pin() == [1]
    scene.raise_()
    assert scene.pin() == [1, 0, 1]


def test_a_pin_sticks_while_it_is_about_to_fall(start: Start) -> None:
    scene = Scene(start, "deassert-delay-ns=1000")
    scene.raise_()
    scene.bar.write(INT_ACK, 1)
    scene.set("pin-stuck", "on")
    scene.step(10_000)
    assert scene.pin() == [1]
    scene.set("pin-stuck", "off")
    scene.step(999)
    assert scene.pin() == [1]
    scene.step(1)
    assert scene.pin() == [1, 0]


def test_a_state_with_an_asserted_pin_and_no_pin_is_refused(start: Start, tmp_path: Path) -> None:
    """A damaged state says that the pin is asserted, and that there is none."""
    scene = Scene(start)
    scene.raise_()
    scene.board.save(tmp_path / "state")
    state = bytearray((tmp_path / "state").read_bytes())
    # Configuration space begins with the ids; Interrupt Pin follows Interrupt Line.
    at = state.index(bytes.fromhex("3412e911"))
    assert state[at + INTERRUPT_PIN] == 1
    state[at + INTERRUPT_PIN] = 0
    (tmp_path / "state").write_bytes(state)
    with pytest.raises(BenchError, match="the state is damaged"):
        scene.start(scene.device, incoming=True).load(tmp_path / "state")


# -- INTx beside MSI ------------------------------------------------------------------------------------------------


def test_a_card_can_assert_its_pin_beside_its_message(start: Start, tmp_path: Path) -> None:
    scene = Scene(start, "msi=on", "intx-with-msi=on")
    messages(scene, True)
    scene.raise_()
    scene.function.config_write(scene.function.capability(MSI) + 12, 0x42, 2)
    assert (scene.pin(), lines(scene)) == ([1], [1])
    assert [entry.value for entry in scene.board.log().of(Kind.MESSAGE)] == [0x41]
    scene.migrate(tmp_path / "state", "intx-with-msi=on")
    assert scene.pin() == [1]
    scene.bar.write(INT_ACK, 1)
    scene.raise_()
    assert scene.pin() == [1, 0, 1]
    assert [entry.value for entry in scene.board.log().of(Kind.MESSAGE)] == [0x42]
    scene.set("intx-with-msi", "off")
    assert scene.pin() == [1, 0, 1, 0]
    scene.set("intx-with-msi", "on")
    assert scene.pin() == [1, 0, 1, 0, 1]


def test_enabling_msi_ends_a_delayed_fall(start: Start) -> None:
    """The pin falls at once, and the device knows it."""
    scene = Scene(start, "msi=on", "deassert-delay-ns=1000")
    scene.raise_()
    messages(scene, True)
    assert (scene.pin(), scene.board.qmp.get("dev0", "pin")) == ([1, 0], False)
    messages(scene, False)
    assert scene.board.qmp.get("dev0", "pin") is True


def test_a_pin_beside_messages_falls_as_late_as_without(start: Start) -> None:
    scene = Scene(start, "msi=on", "intx-with-msi=on", "deassert-delay-ns=1000")
    messages(scene, True)
    scene.raise_()
    scene.bar.write(INT_ACK, 1)
    assert scene.pin() == [1]
    scene.step(1000)
    assert scene.pin() == [1, 0]


@pytest.mark.parametrize("fault", ["intx-with-msi=on", "pin-stuck=on", "status-lag-ns=0"])
def test_a_fault_of_the_pin_changes_no_message(start: Start, fault: str) -> None:
    """The device has one message. If a guest asks for four, its data are those that it wrote, whatever the fault."""
    scene = Scene(start, "msi=on", fault)
    messages(scene, True)
    flags = scene.function.capability(MSI) + 2
    scene.function.config_write(flags, 0x21, 2)
    assert scene.function.config_read(flags, 2) == 0x81
    scene.raise_()
    assert [entry.value for entry in scene.board.log().of(Kind.MESSAGE)] == [0x41]


# -- short pulses ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [False, True])
def test_a_pulse_without_duration_is_seen(start: Start, tmp_path: Path, level: bool) -> None:
    """Entries of one time raise and lower a source: the log has the pulse, and the I/O APIC delivers it once."""
    scene = Scene(start)
    IoApic(scene.board.qtest).program(GSI, 0x61, level=level)
    schedule = tmp_path / "schedule"
    schedule.write_text("@1000 raise 1\n@1000 lower 1\n")
    scene.board.qmp.execute("stop")
    scene.set("schedule", str(schedule))
    scene.board.qmp.execute("cont")
    scene.step(2000)
    pulse = [entry for entry in scene.board.log().entries if entry.kind in (Kind.PIN, Kind.LINE, Kind.DELIVER)]
    pulse = [entry for entry in pulse if entry.kind is Kind.PIN or entry.offset == GSI]
    assert [(entry.kind, entry.value) for entry in pulse] == [
        (Kind.PIN, 1),
        (Kind.LINE, 1),
        (Kind.DELIVER, 0x61),
        (Kind.PIN, 0),
        (Kind.LINE, 0),
    ]
    assert {entry.time_ns for entry in pulse} == {1000}


def test_a_latched_summary_keeps_a_pulse(start: Start) -> None:
    """A source that is raised and lowered at once leaves its bit in a summary that is a latch, and the pin high."""
    scene = Scene(start, "preset=ahci-like", armed=False)
    scene.bar.write(0x114, 1)
    scene.bar.write(0x04, 2)
    scene.raise_()
    scene.set("lower", 1)
    assert (scene.pin(), scene.bar.read(0x08), scene.bar.read(0x110)) == ([1], 1, 0)
    scene.bar.write(0x08, 1)
    assert scene.pin() == [1, 0]
