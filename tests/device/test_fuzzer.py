# SPDX-License-Identifier: MIT
"""The fuzzer of the device does what it says, and notices a device that a rewind does not return."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from shirq_bench.campaigns import fuzz
from shirq_bench.errors import BenchError
from shirq_bench.provision import qemu


@pytest.fixture
def fuzzer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> fuzz.Fuzzer:
    monkeypatch.setattr(fuzz, "_ROUND", 1200)
    monkeypatch.setattr(fuzz, "_REWINDS", 1.0)
    return fuzz.Fuzzer(qemu.build(), 1, tmp_path)


def test_a_round_rewinds_and_leaves_a_state_to_damage(fuzzer: fuzz.Fuzzer) -> None:
    fuzzer.round()
    for _ in range(4):
        fuzzer.damage()
    assert fuzzer.done.accesses > 1200
    assert fuzzer.done.rewinds
    assert fuzzer.done.states == 4


def test_a_device_that_is_not_rewound_is_noticed(fuzzer: fuzz.Fuzzer, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a device was at the savepoint is forged: its mask is the value that no device has then."""
    make = fuzz._Savepoints.make

    def forged(savepoints: fuzz._Savepoints) -> None:
        make(savepoints)
        savepoints._known[-1]["dev4 mask"] = -1

    monkeypatch.setattr(fuzz._Savepoints, "make", forged)
    with pytest.raises(BenchError, match=r"rewound to savepoint \d: dev4 mask was -1 and is \d+"):
        for _ in range(20):
            fuzzer.round()


def test_damage_is_done_within_the_sections_of_the_devices() -> None:
    def section(number: int, name: bytes, contents: bytes) -> bytes:
        number_ = struct.pack(">I", number)
        return (
            b"\x04"
            + number_
            + bytes([len(name)])
            + name
            + bytes(4)
            + bytes([0, 0, 0, 3])
            + contents
            + b"\x7e"
            + number_
        )

    first = section(7, b"0000:00:04.0/shirq-edu", b"AAAA")
    state = b"head" + first + section(8, b"0000:00:05.0/e1000", b"BBBB") + section(9, b"ioapic", b"CCCC")
    found = [state[place.start : place.stop] for place in fuzz._sections(state)]
    assert [text[-4:] for text in found] == [b"AAAA", b"CCCC"]
    assert b"BBBB" not in b"".join(found)
