# SPDX-License-Identifier: MIT
"""The transition table of the life cycle: its contents, its completeness, and its copy in docs/lifecycle.md."""

from __future__ import annotations

import ctypes
import enum
import errno
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from program_model import compile_library
from shirq_bench.paths import need_checkout

TOP = need_checkout("comparing the documented life cycle")

Table = Callable[[int, int], int]


class Life(enum.IntFlag):
    """`enum shirq_life` of kmod/life.h."""

    OWNED = 1
    PAUSED = 2
    DEAD = 4


class Turn(enum.IntEnum):
    """`enum shirq_turn` of kmod/life.h."""

    OPEN = 0
    CLOSE = 1
    PAUSE = 2
    CONTINUE = 3
    GIVE_UP = 4
    RETIRE = 5


LIVES = {
    "parked": Life(0),
    "owned": Life.OWNED,
    "paused": Life.PAUSED,
    "owned, paused": Life.OWNED | Life.PAUSED,
    "dead": Life.DEAD,
    "owned, dead": Life.OWNED | Life.DEAD,
}
TURNS = {
    "`open()`": Turn.OPEN,
    "`close()`": Turn.CLOSE,
    "sleep, reset or recovery begins": Turn.PAUSE,
    "sleep, reset or recovery ends": Turn.CONTINUE,
    "link lost, or no recovery": Turn.GIVE_UP,
    "unbind, shutdown": Turn.RETIRE,
}
NAMES = {life: name for name, life in LIVES.items()}
#: For each bit, the turns (events of the life cycle) that may set it and those that may clear it.
SETS = {Life.OWNED: {Turn.OPEN}, Life.PAUSED: {Turn.PAUSE}, Life.DEAD: {Turn.RETIRE}}
CLEARS = {Life.OWNED: {Turn.CLOSE}, Life.PAUSED: {Turn.CONTINUE, Turn.GIVE_UP, Turn.RETIRE}, Life.DEAD: set[Turn]()}


@pytest.fixture(scope="module")
def after(tmp_path_factory: pytest.TempPathFactory) -> Table:
    library = ctypes.CDLL(str(compile_library(tmp_path_factory.mktemp("life"), Path(__file__).parent / "life.c")))
    library.after.argtypes = [ctypes.c_uint, ctypes.c_uint]
    library.after.restype = ctypes.c_int
    return library.after


@pytest.mark.parametrize(("life", "turn"), [*itertools.product(LIVES.values(), Turn)])
def test_a_turn_changes_only_what_it_is_for(after: Table, life: Life, turn: Turn) -> None:
    result = after(life, turn)
    if result < 0:
        assert -result in errno.errorcode
        return
    assert result in NAMES
    for bit in Life:
        if result & bit and not life & bit:
            assert turn in SETS[bit]
        if life & bit and not result & bit:
            assert turn in CLEARS[bit]


@pytest.mark.parametrize("life", LIVES.values())
def test_each_bit_is_set_and_cleared_where_it_must_be(after: Table, life: Life) -> None:
    assert after(life, Turn.RETIRE) & Life.DEAD
    assert not after(life, Turn.RETIRE) & Life.PAUSED
    if life & Life.OWNED:
        assert after(life, Turn.CLOSE) == life & ~Life.OWNED
        assert after(life, Turn.OPEN) == -(errno.ENODEV if life & Life.DEAD else errno.EBUSY)
    else:
        assert after(life, Turn.CLOSE) == -errno.EINVAL
    if life & Life.DEAD:
        assert {after(life, turn) for turn in (Turn.PAUSE, Turn.CONTINUE, Turn.GIVE_UP)} == {-errno.ENODEV}
    else:
        assert after(life, Turn.PAUSE) == life | Life.PAUSED
        assert after(life, Turn.CONTINUE) == after(life, Turn.GIVE_UP) == life & ~Life.PAUSED


def _cell(result: int) -> str:
    if result == -errno.EINVAL:
        return "-"
    return errno.errorcode[-result] if result < 0 else NAMES[Life(result)]


def test_the_documented_table_is_the_one_in_the_source(after: Table) -> None:
    rows = [["", *TURNS], ["---"] * (len(TURNS) + 1)]
    rows += [[f"**{name}**", *(_cell(after(life, turn)) for turn in TURNS.values())] for name, life in LIVES.items()]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows).replace("|  |", "| |")
    assert table in (TOP / "docs/lifecycle.md").read_text(), f"docs/lifecycle.md must show this table:\n{table}"
