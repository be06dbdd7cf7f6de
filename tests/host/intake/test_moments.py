# SPDX-License-Identifier: MIT
"""The moment of a death: a start, a resume, or later. What no clock tells stays unknown."""

from __future__ import annotations

import pytest

from shirq_bench.intake import join, text
from shirq_bench.intake.facts import Moment

DEATH = 'irq 18: nobody cared (try booting with the "irqpoll" option)\nDisabling IRQ #18\n'


def moment_of(log: str) -> Moment | None:
    (line,) = [one for one in join.report(text.clean([("log", log)])).lines if one.deaths]
    return line.deaths[0].moment


def at(second: float, words: str) -> str:
    return "".join(f"[{second:12.6f}] {row}\n" for row in words.strip().splitlines())


@pytest.mark.parametrize(
    ("log", "moment"),
    [
        pytest.param(at(5.2, DEATH), Moment.START, id="five seconds after the boot"),
        pytest.param(at(31, DEATH), Moment.LATE, id="half a minute after the boot"),
        pytest.param(DEATH, None, id="no clock"),
        pytest.param(at(500, "card: loading out-of-tree module") + at(504, DEATH), Moment.START, id="a module"),
        pytest.param(at(500, "card: loading out-of-tree module") + at(520, DEATH), Moment.LATE, id="an old module"),
        pytest.param(at(500, "sky2 0000:02:00.0: enabled") + at(501, DEATH), Moment.START, id="a driver's first words"),
        pytest.param(
            at(100, "sky2 0000:02:00.0: enabled") + at(500, "sky2 0000:02:00.0: link up") + at(501, DEATH),
            Moment.LATE,
            id="a driver's later words",
        ),
        pytest.param(at(900, "PM: suspend entry (deep)") + at(901, DEATH), Moment.RESUME, id="asleep"),
        pytest.param(
            at(900, "PM: suspend entry (deep)") + at(901, "PM: suspend exit") + at(903, DEATH),
            Moment.RESUME,
            id="just awake",
        ),
        pytest.param(
            at(900, "PM: suspend entry (deep)") + at(901, "PM: suspend exit") + at(990, DEATH),
            Moment.LATE,
            id="long awake",
        ),
        pytest.param(
            at(900, "PM: suspend entry (deep)")
            + at(0, "Linux version 6.1.0-1-amd64")
            + at(0.1, "ACPI: one\nACPI: two\nACPI: three\nACPI: four")
            + at(100, DEATH),
            Moment.LATE,
            id="asleep in an earlier boot",
        ),
    ],
)
def test_the_moment_is_known_by_what_came_before(log: str, moment: Moment | None) -> None:
    assert moment_of(log) == moment


def wall(time: str, words: str) -> str:
    return "".join(f"Mar 12 {time} box kernel: {row}\n" for row in words.strip().splitlines())


def test_a_clock_on_the_wall_needs_the_boot() -> None:
    boot = wall("09:00:00", "Linux version 6.1.0-1-amd64")
    assert moment_of(boot + wall("09:00:20", DEATH)) is Moment.START
    assert moment_of(boot + wall("09:20:00", DEATH)) is Moment.LATE
    assert moment_of(wall("09:20:00", DEATH)) is None
