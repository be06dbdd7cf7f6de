# SPDX-License-Identifier: MIT
"""Every preset and every register behaviour: raised, masked, acknowledged, reset and migrated."""

from __future__ import annotations

from pathlib import Path

import pytest

from device.cards import CARDS, PRESETS, Card, Driver, clone, device
from device.scene import Start
from shirq_bench.channels.log import Kind
from shirq_bench.errors import BenchError, QmpFailed, VmDied


@pytest.fixture(params=CARDS, ids=lambda card: card.name)
def card(request: pytest.FixtureRequest) -> Card:
    value: Card = request.param
    return value


@pytest.fixture
def driver(start: Start, card: Card) -> Driver:
    return Driver.attach(start(device(card)), card)


def test_raise_of_unmasked_source_asserts_and_shows_in_status(driver: Driver) -> None:
    """A raised source that is unmasked asserts the pin, and the device's status shows it."""
    driver.raise_()
    assert driver.pin() == []
    driver.do(driver.card.unmask)
    assert driver.pin() == [1]
    if driver.card.status:
        assert driver.status() == driver.card.pending


def test_mask_silences_and_unmasking_asserts_again(driver: Driver) -> None:
    driver.do(driver.card.unmask)
    driver.raise_()
    driver.do(driver.card.mask)
    assert driver.pin() == [1, 0]
    driver.do(driver.card.unmask)
    assert driver.pin() == [1, 0, 1]
    masks = [entry.value for entry in driver.board.log().of(Kind.MASK, device="dev0")]
    assert masks == [0, 1, 0]


def test_acknowledge_silences_until_the_next_raise(driver: Driver) -> None:
    """An acknowledgement silences the device until the next raise makes it assert again."""
    driver.do(driver.card.unmask)
    driver.raise_()
    driver.do(driver.card.acknowledge)
    assert driver.pin() == [1, 0]
    if driver.card.status:
        assert driver.status() == driver.card.quiet
        driver.do(driver.card.unmask)
    driver.raise_()
    assert driver.pin() == [1, 0, 1]
    assert driver.board.qmp.get("dev0", "acks") >= 1


def test_reset_silences_and_masks(driver: Driver) -> None:
    driver.do(driver.card.unmask)
    driver.raise_()
    driver.board.qmp.execute("system_reset")
    driver.board.qmp.wait_event("RESET")
    assert driver.pin() == [1, 0]
    assert driver.board.qmp.get("dev0", "status") == 0
    driver = Driver.attach(driver.board, driver.card)
    driver.raise_()
    assert driver.pin() == [1, 0]
    driver.do(driver.card.unmask)
    assert driver.pin() == [1, 0, 1]


def test_migrate_keeps_what_is_pending_and_the_mask(start: Start, driver: Driver, tmp_path: Path) -> None:
    driver.do(driver.card.unmask)
    driver.raise_()
    copy = clone(start, driver.board, tmp_path / "state", device(driver.card))
    assert copy.qmp.get("dev0", "pin") is True
    moved = driver.moved(copy)
    moved.do(driver.card.acknowledge)
    assert moved.pin() == [1, 0]


@pytest.mark.parametrize("preset", PRESETS, ids=lambda card: card.name)
def test_a_stopped_vm_can_exchange_its_card(start: Start, preset: Card) -> None:
    board = start(device(next(card for card in PRESETS if card.name == "edu")))
    driver = Driver.attach(board, preset)
    driver.spaces[0].write(0x6C, 0xFFFFFFFF)
    board.qmp.set("dev0", "raise", 1)
    with pytest.raises(QmpFailed, match="'preset' can only be set while the VM is stopped"):
        board.qmp.set("dev0", "preset", preset.name)
    board.qmp.execute("stop")
    board.qmp.set("dev0", "preset", preset.name)
    assert driver.pin() == [1, 0]
    assert board.qmp.get("dev0", "preset") == preset.name
    driver.do(preset.unmask)
    driver.raise_()
    assert driver.pin() == [1, 0, 1]


def test_a_state_of_other_registers_is_refused(start: Start, tmp_path: Path) -> None:
    board = start(device(PRESETS[1]))
    with pytest.raises(BenchError, match="of a device with other registers; set preset or registers"):
        clone(start, board, tmp_path / "state", device(PRESETS[0]))


# -- single behaviours ----------------------------------------------------------------------------------------------


def _only(start: Start, name: str) -> Driver:
    card = next(card for card in CARDS if card.name == name)
    driver = Driver.attach(start(device(card)), card)
    driver.do(card.unmask)
    return driver


def test_sticky_source_stays_pending_until_its_cause_is_cleared(start: Start) -> None:
    """A sticky source stays pending until its cause is cleared."""
    driver = _only(start, "sticky")
    driver.raise_()
    driver.spaces[0].write(0x20, 4)
    assert (driver.status(), driver.pin()) == (4, [1])
    driver.spaces[0].write(0x24, 4)
    assert driver.pin() == [1]
    driver.spaces[0].write(0x20, 4)
    assert driver.pin() == [1, 0]


def test_summary_latch_is_set_again_if_cleared_before_its_source(start: Start) -> None:
    """A summary latch is set again if it is cleared before its source."""
    driver = _only(start, "ahci-like")
    driver.raise_()
    source, summary = driver.card.acknowledge
    driver.do((summary,))
    assert driver.pin() == [1]
    driver.do((source,))
    assert (driver.status(), driver.pin()) == (2, [1]), "the latch alone must make the device assert"
    driver.do((summary,))
    assert driver.pin() == [1, 0]


def test_a_read_that_masks_silences_the_device_whoever_reads(start: Start) -> None:
    driver = _only(start, "automask")
    assert driver.status() == 0
    driver.raise_()
    assert driver.pin() == []


def test_clearing_read_loses_only_the_bits_it_does_not_return(start: Start) -> None:
    """A read that clears the status loses the bits that it does not return, and nothing else."""
    driver = _only(start, "e1000-like")
    driver.raise_(0x6)
    log = driver.board.log().mark
    assert driver.status() == 0x80000006
    assert [entry.kind for entry in driver.board.log().since(log).entries] == [Kind.READ, Kind.PIN, Kind.LINE]
    assert driver.board.qmp.get("dev0", "status") == 0


def test_an_index_reaches_registers_that_no_offset_has(start: Start) -> None:
    driver = _only(start, "pcnet-like")
    ports = driver.spaces[1]
    ports.write(0x12, 3, 2)
    ports.write(0x10, 0x400, 2)
    assert (ports.read(0x12, 2), ports.read(0x10, 2)) == (3, 0x400)
    driver.raise_(0x400)
    assert driver.pin() == []
    ports.write(0x12, 9, 2)
    ports.write(0x10, 0xFFFF, 2)
    assert ports.read(0x10, 2) == 0
    assert driver.board.qmp.get("dev0", "mask") == 0x400


def test_a_set_register_and_a_clear_register_make_a_pair(start: Start) -> None:
    bar = _only(start, "nvme-like").spaces[0]
    for offset, value, expected in [(0x0C, 0x5, 0x5), (0x0C, 0x2, 0x7), (0x10, 0x4, 0x3), (0x10, 0, 0x3)]:
        bar.write(offset, value)
        assert (bar.read(0x0C), bar.read(0x10)) == (expected, expected)


def test_scratch_constant_and_reset_values_are_as_described(start: Start) -> None:
    """Scratch bits, constants and reset values are as the register description says."""
    text = "bar0+0/32 const=0xabcd; bar0+4/16be[11:4] scratch3 =0x5a; bar0+6/8 ~; "
    with pytest.raises(VmDied, match=r"entry 3, 'bar0\+6/8 ~': '~' is not a state that a register shows"):
        start(f"shirq-edu,registers={text}")
    text = "bar0+0/32 const=0xabcd; bar0+4/16be[11:4] scratch3 =0x5a; bar0+8/32 status"
    bar = start(f"shirq-edu,id=dev0,addr=4,registers={text}").function(4).enable()
    assert (bar.read(0), bar.read(4, 2)) == (0xABCD, 0xA005)
    bar.write(4, 0xFFFF, 2)
    bar.write(0, 0)
    assert (bar.read(0), bar.read(4, 2)) == (0xABCD, 0xF00F)


# -- refusals -------------------------------------------------------------------------------------------------------

GOOD = "bar0+0/32 status w1c"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("bar6+0/32 mask", "'bar6.0/32' is no place"),
        ("bar0-4/32 mask", "is no place: write one such as"),
        ("bar0+4/24 mask", "the width is 24, and must be 8, 16 or 32, or 64 of a mark"),
        ("bar0+8/64[3:0] mask", "a width of 64 is only for a mark"),
        ("bar0+6/32 mask", "offset 0x6 is not a multiple of the width, 4 bytes"),
        ("bar0+4/32[32] mask", "must be .BIT. or .HIGH:LOW., with bits from 0 to 31"),
        ("bar0+4/32[3:5] mask", "must be .BIT."),
        ("bar0+4/32", "the shown state is missing"),
        ("bar0+4/32 colour", "'colour' is not a state that a register shows: write one of status"),
        ("bar0+4/32 const", "'const' is not a state that a register shows"),
        ("bar0+4/8 const=256", "the value '256' must be a number that fits into 8 bits"),
        ("bar0+4/32[7:0] mask[28]", "'mask' has 32 bits, of which 8 from bit 28 on are asked for"),
        ("bar0+4/32 gate", "'gate' has 1 bits"),
        ("bar0+4/32 mask w2c", "'w2c' is not a behaviour: write some of rw, ro"),
        ("bar0+4/32 mask w1c w1s", "'w1s' contradicts an earlier word"),
        ("bar0+4/32 active w1c", "'w1c': these bits are read-only"),
        ("bar0+4/32 status wo rc", "'wo' contradicts a side effect of reads"),
        ("bar0+4/32 mask automask", "'automask' is for status and active"),
        ("bar0+4/32 summary w1c", "the summary needs group=N"),
        ("bar0+4/32 summary group=0", "1 to 32 sources"),
        ("bar0+4/32 index", "index and data registers need each other"),
        ("bar0+4/16 index; bar0+8/16 data; ind+0/32 mask", "an indirect register needs a data register of its width"),
        ("bar0+4/16 mark", "a mark is 32 or 64 bits wide"),
        ("bar0+0x1000/32 mask", r"register bar0\+0x1000: BAR 0 ends at 0x1000"),
        ("bar1+0/32 mask", r"the device has no BAR 1; give it one with bar1=mem:SIZE or bar1=port:SIZE"),
    ],
)
def test_a_bad_register_is_refused_with_what_is_right(start: Start, entry: str, message: str) -> None:
    with pytest.raises(VmDied, match=message):
        start(f"shirq-edu,registers={GOOD}; {entry}")


def test_a_device_without_sources_is_refused(start: Start) -> None:
    with pytest.raises(VmDied, match="no source can be pending"):
        start("shirq-edu,registers=bar0+0/32 mask")


def test_an_unknown_preset_is_refused_with_those_that_there_are(start: Start) -> None:
    names = ", ".join(card.name for card in PRESETS)
    with pytest.raises(VmDied, match=f"'preset' must be one of {names}, not 'tulip'"):
        start("shirq-edu,preset=tulip")


def test_registers_that_do_not_fit_change_nothing(start: Start) -> None:
    board = start("shirq-edu,id=dev0,addr=4")
    board.qmp.execute("stop")
    with pytest.raises(QmpFailed, match="the device has no BAR 1"):
        board.qmp.set("dev0", "preset", "pcnet-like")
    with pytest.raises(QmpFailed, match="entry 1"):
        board.qmp.set("dev0", "registers", "nonsense")
    assert board.qmp.get("dev0", "preset") == "edu"


@pytest.mark.parametrize("value", ["mem:100", "mem:8", "port:512", "rom:16", "mem:"])
def test_a_bar_that_cannot_be_is_refused_with_what_can(start: Start, value: str) -> None:
    with pytest.raises(VmDied, match=f"'bar2' must be none, mem:SIZE, .*not '{value}'"):
        start(f"shirq-edu,bar2={value}")


def test_a_64_bit_bar_takes_two_places(start: Start) -> None:
    with pytest.raises(VmDied, match="'bar0': a mem64 BAR takes the next one's place too"):
        start("shirq-edu,bar0=mem64:4096,bar1=port:16")
    function = start("shirq-edu,id=dev0,addr=4,bar0=mem64:8192").function(4)
    function.config_write(0x10, 0xFFFFFFFF, 4)
    assert function.config_read(0x10, 4) == 0xFFFFE004


def test_the_identity_is_what_the_properties_say(start: Start) -> None:
    properties = "vendor-id=0x10b5,device-id=0x9050,revision=2,class-code=0x068000"
    board = start(f"shirq-edu,addr=4,{properties},subsystem-vendor-id=0x1234,subsystem-id=0x5678")
    function = board.function(4)
    assert [function.config_read(offset, 4) for offset in (0, 8, 0x2C)] == [0x905010B5, 0x06800002, 0x56781234]
    with pytest.raises(VmDied, match="'revision' must be 0 to 0xff, not 0x100"):
        start("shirq-edu,revision=256")
