# SPDX-License-Identifier: MIT
"""The command shirqctl in a guest: its reports about a shared line, and its service of devices."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from guest.guest_python import finish, run, start
from guest.port import behind_a_port
from guest.scripts import shirqctl
from shirq_bench.channels.agent import Result
from shirq_bench.channels.log import Kind
from shirq_bench.observe.scene import Scene, handler_name
from shirq_bench.plugin import Boot
from shirq_bench.vm.machine import ADDRESSES, LOAD_MODULE, NEIGHBOUR_CARD, NEIGHBOUR_UP, Machine, bind

DEV0, DEV1, NIC, CLOCK = (ADDRESSES[name] for name in ("dev0", "dev1", "nic0", "clock"))
_DONE, _FAILED, _USAGE, _FOUND = range(4)


def _shirqctl(scene: Scene, *arguments: str, status: int = _DONE, deadline: float = 60) -> Result:
    result = scene.vm.agent.run("shirqctl", *arguments, deadline=deadline)
    assert result.status == status, result.stdout + result.stderr
    return result


def test_list_shows_driver_profile_and_sharers_of_each_function(scene: Scene) -> None:
    """`shirqctl list` shows each function's driver, its profile, and the functions that share its line."""
    rows = {row.split()[0]: row for row in _shirqctl(scene, "list").stdout.splitlines()}
    line = str(scene.irq("eth0"))
    for address, driver, card in ((DEV0, "shirq", "shirq-edu"), (DEV1, "shirq", "shirq-edu"), (NIC, "e1000", "e1000")):
        fields = rows[address].split()
        assert fields[3:5] == [driver, line] and fields[6] == card
        neighbours = {other for other in (DEV0, DEV1, NIC) if other != address}
        assert {other for other in ADDRESSES.values() if other in rows[address][len(address) :]} == neighbours


def test_kernel_checks_a_profile_and_leaves_the_device_as_it_was(scene: Scene) -> None:
    """`shirqctl check` lets the kernel check a profile for a device, and does not change the device's state."""
    assert "the kernel accepts shirq-edu" in _shirqctl(scene, "check", "shirq-edu", "--device", DEV0).stdout
    # The registers of the ahci profile are in a BAR that this device does not have.
    refused = _shirqctl(scene, "check", "ahci", "--device", DEV0, status=_FOUND).stderr
    assert "/ahci.toml:" in refused and "no such BAR" in refused
    assert "handlers" not in _shirqctl(scene, "stats", DEV0).stdout


def test_selftest_says_whether_a_cards_interrupt_arrives(scene: Scene) -> None:
    """The card raises an interrupt by itself; the command leaves the device as it was, whatever the verdict."""
    result = _shirqctl(scene, "selftest", DEV0)
    assert result.stdout.splitlines()[-1].startswith("works: the card asserts, line "), result.stdout
    # A card that does not answer.
    scene.vm.qmp.set("dev0", "dead", "bars")
    result = _shirqctl(scene, "selftest", DEV0, status=_FAILED)
    assert "device is gone" in result.stderr or "FAILS" in result.stdout, result.stdout + result.stderr
    scene.vm.qmp.set("dev0", "dead", "off")
    assert _shirqctl(scene, "selftest", DEV0).stdout.splitlines()[-1].startswith("works: ")
    scene.network.ping(3)


def test_selftest_names_the_line_that_the_card_asserts(scene: Scene) -> None:
    """The pin leads to another line, where another device is armed: the command names it, and the line survives."""
    # The neighbour's interrupts would call the handler, which would then claim.
    scene.run("ip link set eth0 down")
    scene.run(bind("clock"))
    there = scene.vm.agent.start("shirqctl", "watch", CLOCK, "--unmask")
    number = there.expect(r"^armed: .*line (\d+)$", 30)[1]
    with scene.vm.frozen():
        scene.vm.qmp.set("dev0", "intx-pin", "B")
    result = _shirqctl(scene, "selftest", DEV0, status=_FAILED)
    assert f"line {number}" in result.stdout.splitlines()[-1], result.stdout
    assert "its pin leads" in result.stdout.splitlines()[-1]
    there.signal(signal.SIGINT)
    assert there.wait(20).status == _DONE
    assert scene.run("dmesg | grep 'Disabling IRQ' || true") == ""


def test_watch_serves_a_device_by_its_profile_until_interrupted(scene: Scene) -> None:
    """`shirqctl watch` serves a device by its profile until it is interrupted."""
    watch = scene.vm.agent.start("shirqctl", "watch", DEV1, "--after", "write INT_ACK, r0")
    watch.expect("^armed: ", 30)
    with scene.record("dev1") as recorded:
        for bits in (0x1, 0x20, 0x400):
            scene.raise_("dev1", bits=bits)
            watch.expect(rf"IRQ seq=\d+ .* r0={bits:#x} ", 30)
        watch.signal(signal.SIGINT)
        assert watch.wait(20).status == _DONE
    assert len(recorded.assertions()) == 3
    recorded.line_low_at_end()
    assert scene.vm.qmp.get("dev1", "mask") == 0xFFFFFFFF, "the release program did not run"


def test_watch_without_service_leaves_the_device_masked(scene: Scene) -> None:
    """`shirqctl watch` without --after does not acknowledge: the device stays masked after its event."""
    watch = scene.vm.agent.start("shirqctl", "watch", DEV1, "--count", "2", "--timeout", "1")
    watch.expect("^the device stays masked", 30)
    with scene.record("dev1") as recorded:
        scene.raise_("dev1", bits=4)
        assert watch.wait(30).status == _FAILED
    assert watch.stdout.count("IRQ seq=") == 1
    assert len(recorded.assertions()) == 1


def test_mask_program_of_profile_masks_device_without_disintx(scene: Scene) -> None:
    """The mask program of a profile masks a device without an interrupt-disable bit."""
    owner = start(scene, "dev1", shirqctl.masked_by_profile)
    owner.expect("^0xffffffff$", 60)
    with scene.record("dev1") as recorded:
        scene.raise_("dev1", bits=8)
        scene.run("true")
    assert not recorded.assertions(), "the device asserted although it was masked"
    owner.write("\n")
    assert finish(owner)[1] == "0x8 0xffffffff"


def test_exec_reads_and_writes_registers_by_their_profiles_names(scene: Scene) -> None:
    out = _shirqctl(scene, "exec", DEV0, "read r0, INT_MASK; read32 r1, bar0", "--reg", "r7=0x99").stdout
    assert out.splitlines()[0] == "r0 = 0xffffffff" and "r1 = 0x20000ed" in out and "r7 = 0x99" in out
    refused = _shirqctl(scene, "exec", DEV0, "read r0, INT_MASK; read32 r1, bar3", status=_FOUND)
    assert "refused at operation 1 (read32 r1, bar3+0x0): the device has no such BAR" in refused.stderr
    assert "'frob' is no operation" in _shirqctl(scene, "exec", DEV0, "frob r0", status=_FOUND).stderr
    assert "bind() the function" in _shirqctl(scene, "exec", CLOCK, "load r0, 1", status=_FAILED).stderr


def test_bind_and_unbind_move_a_function_between_drivers(scene: Scene) -> None:
    """`shirqctl bind` and `unbind` move a function between the kernel's driver and shirq."""
    _shirqctl(scene, "bind", NIC)
    assert scene.run(f"readlink /sys/bus/pci/devices/{NIC}/driver").strip().endswith("/shirq")
    assert "the kernel accepts e1000" in _shirqctl(scene, "check", "e1000", "--device", NIC).stdout
    assert "given back to e1000" in _shirqctl(scene, "unbind", NIC).stdout
    assert "there is no PCI function" in _shirqctl(scene, "bind", "0000:00:1e.7", status=_FAILED).stderr


def test_top_names_the_asserting_and_the_held_back_function(scene: Scene) -> None:
    # dev0 is bound and has no owner: its interrupt-disable bit is set.
    """`shirqctl top` names the function that asserts a line, and a pending function whose interrupt is disabled."""
    _shirqctl(scene, "exec", DEV0, "load r0, -1; write INT_MASK_CLEAR, r0")
    scene.raise_("dev0")
    # The device `clock` has no driver, and no handler uses its line: it may assert without end.
    scene.run(f"echo 1 >/sys/bus/pci/devices/{CLOCK}/enable")
    run(scene, "clock", shirqctl.unmask_unbound)
    scene.raise_("clock")
    out = _shirqctl(scene, "top", "--count", "1", "--interval", "0.2").stdout
    says = {line.split()[0]: line for line in out.splitlines() if line.startswith("  0000:")}
    assert "pending, but its interrupt is disabled" in says[DEV0]
    assert "ASSERTS" in says[CLOCK] and f"asserting: {CLOCK}" in out
    assert "does not assert" in says[NIC]
    scene.vm.qmp.set("clock", "lower", 1)


def test_top_shows_the_rates_of_the_modules_counters(scene: Scene) -> None:
    driver = scene.drive("dev1")
    top = scene.vm.agent.start("shirqctl", "top", "--line", str(scene.irq(f"shirq:{DEV1}")), "--count", "1")
    while top.running:
        scene.raise_("dev1")
        driver.next_event()
    out = top.wait(30).stdout
    claims = [part for part in out.replace(",", "\n").splitlines() if part.strip().startswith("claims")]
    assert claims and any(not claim.strip().endswith(" 0/s") for claim in claims), out
    assert f"shirq:{DEV1}" in out and "eth0" in out


#: No driver has enabled dev0, dev1 and clock; dev0 and dev1 are on the neighbour's line. The last function has no
#: interrupt pin.
_UNBOUND = Machine(
    devices=(
        "shirq-edu,id=dev0,addr=4",
        "shirq-edu,id=dev1,addr=8",
        NEIGHBOUR_CARD,
        "shirq-edu,id=clock,addr=5",
        "shirq-edu,addr=e,intx-pin=none",
    ),
    networks=("net0",),
    prepare=(NEIGHBOUR_UP, LOAD_MODULE),
)
_PINLESS = "0000:00:0e.0"


@pytest.mark.long
def test_line_is_unknown_until_a_driver_enables_the_function(boot: Boot) -> None:
    """shirqctl does not know a function's line until a driver has enabled the function."""
    scene = Scene(boot(_UNBOUND))
    line = scene.irq("eth0")
    assert (firmware := int(scene.run(f"cat /sys/bus/pci/devices/{DEV0}/irq"))) not in (0, line)
    rows = {each["address"]: each for each in json.loads(_shirqctl(scene, "list", "--json").stdout)}
    assert (rows[NIC]["line"], rows[NIC]["shares_with"]) == (line, [])
    for address in (DEV0, DEV1):
        assert (rows[address]["line"], rows[address]["line_unknown"]) == (None, "no driver has enabled it")
    assert "it has no interrupt pin" in rows[_PINLESS]["line_unknown"]
    assert f"line {firmware} " not in _shirqctl(scene, "top", "--count", "1", "--interval", "0.2").stdout
    _shirqctl(scene, "bind", DEV0)
    rows = {each["address"]: each for each in json.loads(_shirqctl(scene, "list", "--json").stdout)}
    assert (rows[DEV0]["line"], rows[DEV0]["shares_with"]) == (line, [NIC])
    assert (rows[NIC]["shares_with"], rows[DEV1]["line"]) == ([DEV0], None)
    refused = _shirqctl(scene, "bind", _PINLESS, status=_FAILED).stderr
    assert "it has no interrupt pin (at most MSI): shirq serves INTx" in refused


@pytest.mark.long
@pytest.mark.splats_expected
@pytest.mark.invariants_broken("a line is stuck on purpose", line_of="dev1")
def test_top_names_an_asserting_function_without_a_driver(boot: Boot, tmp_path: Path) -> None:
    """`shirqctl top` names an asserting function that no driver has enabled.

    The function acts like a card that the firmware left asserting: no handler serves it, so the kernel disables the
    line.
    """
    storm = ("-global", "ioapic.storm-pause=off")
    scene = Scene(boot(_UNBOUND.with_(deterministic=True, vcpus=1, extra=storm)))
    line = scene.irq("eth0")
    with scene.vm.frozen():
        begin = scene.vm.now_ns() + 1_000_000_000
        (tmp_path / "schedule").write_text(f"@{begin} unmask 1\n@{begin} raise 1\n")
        scene.vm.qmp.set("dev1", "schedule", str(tmp_path / "schedule"))
    scene.vm.agent.succeed(f"until dmesg | grep -q 'Disabling IRQ #{line}'; do sleep 0.1; done", deadline=200)
    assert {entry.offset for entry in scene.vm.log().of(Kind.LINE) if entry.value} >= {line}
    suspect = f"  {DEV1}  no driver    ASSERTS"
    # Python starts slowly in a guest that counts instructions while its line storms.
    asked = _shirqctl(scene, "top", "--line", str(line), "--count", "1", "--interval", "0.2", deadline=300).stdout
    assert f"{suspect}, and its line is not known (no driver has enabled it): it may be this one" in asked
    assert (
        f"{suspect} (no driver has enabled it)" in _shirqctl(scene, "top", "--count", "1", "--interval", "0.2").stdout
    )


@pytest.mark.long
@pytest.mark.parametrize(("parameters", "chip"), [("", "IO-APIC"), ("noapic", "XT-PIC")])
def test_the_kernels_table_is_read_as_sysfs_has_it(boot: Boot, parameters: str, chip: str) -> None:
    """shirqctl reads the same lines from the guest's /proc/interrupts as from /sys/kernel/irq, on each controller."""
    prepare = (NEIGHBOUR_UP, LOAD_MODULE, bind("dev0"))
    scene = Scene(boot(_UNBOUND.with_(parameters=parameters, prepare=prepare)))
    driver = scene.drive("dev0")
    *different, last = run(scene, "dev0", shirqctl.compare_tables)
    assert not different, different
    count, *chips = last.split("|")
    assert int(count) > 4 and chip in chips, last
    line = scene.irq(f"shirq:{DEV0}")
    shown = json.loads(_shirqctl(scene, "top", "--count", "1", "--line", str(line), "--json").stdout)
    assert f"shirq:{DEV0}" in shown["lines"][0]["handlers"] and chip in shown["lines"][0]["controller"]
    assert DEV0 in [each["address"] for each in shown["lines"][0]["functions"]]
    driver.end()


def test_watch_shows_the_messages_of_a_device(boot: Boot) -> None:
    """`shirqctl watch --messages` needs no profile: the device sends a message, and the command prints its event."""
    scene = Scene(boot(behind_a_port("msi=on", "pm=on", "pcie=on", "reset-unmasked=0xffffffff")))
    command = scene.vm.agent.start("shirqctl", "watch", ADDRESSES["dev2"], "--messages", "4", "--count", "1")
    command.expect(rf"^armed: 1 of 1 messages of {ADDRESSES['dev2']}, interrupts \d+$", deadline=60)
    listed = _shirqctl(scene, "list").stdout
    (row,) = (row for row in listed.splitlines() if row.startswith(ADDRESSES["dev2"]))
    assert f"MSI {scene.irq(handler_name('dev2') + '-1')}" in row
    scene.raise_("dev2")
    result = command.wait(60)
    assert result.status == _DONE and "IRQ source=1 seq=1 " in result.stdout, result.stdout + result.stderr
    command = scene.vm.agent.start("shirqctl", "watch", ADDRESSES["dev2"], "--messages", "4")
    command.expect("^armed: ", deadline=60)
    command.signal(signal.SIGTERM)
    assert command.wait(60).status == _DONE
