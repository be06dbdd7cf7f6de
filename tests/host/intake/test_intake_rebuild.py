# SPDX-License-Identifier: MIT
"""The guest that is made of a report: the same sharers on one line, and comments on everything that was not known."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

import comparing
from shirq_bench.cli.machines import chosen
from shirq_bench.intake import join, rebuild, text
from shirq_bench.intake.rebuild import Rebuilt
from shirq_bench.vm.machine import Machine, gsi_of

#: The pins of QEMU's models; all others have pin A.
PINS = {"usb-ehci": "D", "piix3-usb-uhci": "D"}


def rebuilt(name: str) -> Rebuilt:
    return rebuild.build(join.report(text.read([comparing.REPORTS / name])))


def _of_text(contents: str) -> Rebuilt:
    return rebuild.build(join.report(text.clean([("report", contents)])))


def properties(device: str) -> dict[str, str]:
    return dict(word.partition("=")[::2] for word in device.split(","))


def lines(machine: Machine) -> dict[int, list[str]]:
    """The ids of the functions on each line of the guest."""
    found: dict[int, list[str]] = {}
    for device in machine.devices:
        model, words = device.partition(",")[0], properties(device)
        slot = int(words["addr"].partition(".")[0], 16)
        pin = words.get("intx-pin", PINS.get(model, "A"))
        found.setdefault(gsi_of(slot, pin), []).append(words["id"])
    return found


@pytest.mark.parametrize("name", comparing.names())
def test_the_description_loads_with_the_reader_of_machines(name: str, tmp_path: Path) -> None:
    made = rebuilt(name)
    commented, plain = rebuild.write(made, tmp_path / "guest")
    assert Machine.from_data(tomllib.loads(commented.read_text())) == made.machine
    assert Machine.from_data(json.loads(plain.read_text())["machine"]) == made.machine
    assert chosen(tmp_path / "guest") == made.machine


@pytest.mark.parametrize("name", comparing.names())
def test_functions_have_places_of_their_own(name: str) -> None:
    """No two functions have one address or id; the agent's slot and line stay free; function 0 of a slot exists."""
    machine = rebuilt(name).machine
    all_properties = [properties(device) for device in machine.devices]
    places = [words["addr"] for words in all_properties]
    assert len({*places}) == len(places)
    assert len({words["id"] for words in all_properties}) == len(places)
    assert all(re.fullmatch(r"[A-Za-z][\w.-]*", words["id"]) for words in all_properties)
    assert not {place.partition(".")[0] for place in places} & {"0", "3"}
    assert 23 not in lines(machine)
    for words in all_properties:
        slot, dot, _ = words["addr"].partition(".")
        if dot:
            (first,) = [one for one in all_properties if one["addr"] == f"{slot}.0"]
            assert "multifunction" in first
    networks = [words["netdev"] for words in all_properties if "netdev" in words]
    assert tuple(networks) == machine.networks


def test_the_sharers_of_a_dead_line_are_on_one_line() -> None:
    made = rebuilt("madeup-q67")
    assert lines(made.machine)[20] == ["f00.1f.3", "f03.00.0", "f03.04.0"]
    assert made.left_out == ["02:00.0 on IRQ 16: it uses MSI-X, not its pin"]


def test_the_function_under_suspicion_is_as_the_report_says() -> None:
    (device,) = [one for one in rebuilt("madeup-q67").machine.devices if "id=f03.04.0" in one]
    words = properties(device)
    assert device.startswith("shirq-edu,")
    assert {key: words[key] for key in ("vendor-id", "device-id", "revision", "class-code", "intx-pin")} == {
        "vendor-id": "0x10b5", "device-id": "0x9050", "revision": "0x02", "class-code": "0x068000", "intx-pin": "A",
    }  # fmt: skip
    assert (words["subsystem-vendor-id"], words["subsystem-id"]) == ("0x10b5", "0x30aa")
    assert (words["bar0"], words["bar1"], words["bar2"]) == ("mem:128", "port:128", "port:16")
    # There is no capability list: DisINTx may be missing. Status showed INTx+, so this bit works.
    assert (words["disintx"], words["intx-status"]) == ("read-only", "ok")
    assert words["registers"].startswith("bar0+0x0/32[0] status w1c")


def test_comments_say_what_was_not_known() -> None:
    comments = "\n".join(line for line in rebuilt("dl580-timer-card-2021").text.splitlines() if "#" in line)
    assert "Not in the report: the number of processors (2)." in comments
    assert "pin (A), ids (1234:11e9), revision (10), class (00ff00)" in comments
    assert "The report's kernel is 5.14.13_site_1" in comments


def test_eighteen_names_are_fifteen_functions_on_one_line() -> None:
    machine = rebuilt("mkosi-18-names-2023").machine
    assert {gsi: len(ids) for gsi, ids in lines(machine).items()} == {20: 15}
    assert machine.parameters == "pci=nomsi"


def test_a_line_that_died_comes_before_others() -> None:
    made = rebuilt("twenty-tulips-2006")
    assert sorted(lines(made.machine)) == [20, 21, 22]
    assert [len(ids) for ids in lines(made.machine).values()] == [5, 5, 5]
    assert any(one.startswith("IRQ 16 (00:0a.0, ") for one in made.left_out)


def test_a_bridge_is_left_out() -> None:
    assert any(one.startswith("00:1c.2 on IRQ 18: a bridge") for one in rebuilt("madeup-p45").left_out)


def test_bars_that_shirq_edu_cannot_have_are_reduced() -> None:
    made = _of_text(
        "01:00.0 Memory controller [0580]: Xilinx [10ee:7024]\n"
        "\tControl: I/O- Mem+ BusMaster+ SpecCycle- MemWINV- VGASnoop- ParErr- Stepping- SERR- FastB2B- DisINTx-\n"
        "\tInterrupt: pin A routed to IRQ 16\n"
        "\tRegion 0: Memory at f0000000 (64-bit, prefetchable) [size=256M]\n"
        "\tRegion 2: I/O ports at e000 [size=1K]\n"
        "\tRegion 3: Memory at f7900000 (32-bit, non-prefetchable)\n"
    )
    (device,) = made.machine.devices
    words = properties(device)
    assert (words["bar0"], words["bar2"], words["bar3"]) == ("mem64:16777216", "port:256", "mem:4096")
    assert "BAR 0 has 256M in the report" in made.text
    assert "size of BAR 3 (4096)" in made.text


def test_a_function_without_a_pin_has_none_in_the_guest() -> None:
    """The report lists it on a line, by its IRQ, although Interrupt Pin is 0."""
    made = _of_text(
        "01:00.0 Memory controller [0580]: Xilinx [10ee:7024]\n"
        "\tControl: I/O- Mem+ BusMaster+ SpecCycle- MemWINV- VGASnoop- ParErr- Stepping- SERR- FastB2B- DisINTx-\n"
        "\tInterrupt: pin ? routed to IRQ 16\n"
    )
    (device,) = made.machine.devices
    assert properties(device)["intx-pin"] == "none"
    assert "pin (A)" not in made.text


def test_a_report_without_functions_is_an_empty_guest() -> None:
    assert _of_text("nothing at all").machine.devices == ()
