# SPDX-License-Identifier: MIT
"""One test for each promise of kmod/shirq.h, kmod/README.md and kmod/SECURITY.md that no other test proves."""

from __future__ import annotations

import re

import pytest

from guest.guest_python import finish, run, start
from guest.port import behind_a_port
from guest.quiet import STORM_ENTRIES
from guest.scripts import promises
from guest.test_ladder import BUS, set_faults, stats_of, wait_for_rung
from shirq_bench.channels.log import Kind
from shirq_bench.observe.scene import Scene
from shirq_bench.plugin import Boot
from shirq_bench.vm.machine import ADDRESSES, LOAD_MODULE, SHARED_LINE

_TRACING = "/sys/kernel/tracing"


@pytest.mark.parametrize("tests_first", [True, False])
def test_an_event_has_a_time_before_its_device_is_masked(boot: Boot, tests_first: bool) -> None:
    """`time_ns` is taken before the irq program, which is long here; tracepoints before and after it prove that.

    The guest counts instructions: the times are the same on every host.
    """
    scene = Scene(boot(SHARED_LINE.with_(vcpus=1, deterministic=True)))
    scene.run(
        f"cd {_TRACING} && echo mono >trace_clock && echo 1 >tracing_on"
        " && for name in irq claim; do echo 1 >events/shirq/shirq_$name/enable; done"
    )
    lines = run(scene, "dev1", promises.event_time, tests_first)
    since, stamp = (int(word) for word in lines[0].split())
    trace = scene.run(f"cat {_TRACING}/trace")
    points = re.findall(rf" (\d+)\.(\d{{6}}): shirq_(irq|claim): {ADDRESSES['dev1']}", trace)
    # The trace's times are rounded to the nearest microsecond; round the event's time in the same way.
    times = [(name, int(seconds) * 10**9 + int(micros) * 1000) for seconds, micros, name in points]
    claim = [name for name, _ in times].index("claim")
    (name, entry), (_, claimed) = times[claim - 1 : claim + 1]
    assert name == "irq"
    assert claimed - entry > 4000, "the program was too short to show anything"
    assert since > 0
    assert entry <= (stamp + 500) // 1000 * 1000 < entry + 2000


def test_command_is_written_for_the_bits_that_are_asked_for(scene: Scene) -> None:
    """Arming clears DisINTx, masking sets it, and only SET_MASTER changes another bit of Command."""
    assert run(scene, "dev0", promises.command_bits) == ["0x500 0x0 0x400 0x0 0x4 0x404 0x4 0x0 0x0"]


def test_a_claim_is_counted_once_in_every_statistic(scene: Scene) -> None:
    """The counts of claimed, queued, delivered and unmasked events are equal, and the events' numbers have no gap."""
    assert run(scene, "dev1", promises.statistics) == ["EAGAIN True", "20 20 20 0 0 0"]


# ---------------------------------------------------------------- events


def test_event_record_begins_with_its_size_and_type(scene: Scene) -> None:
    assert run(scene, "dev1", promises.event_record) == ["64 64 1 0 0 1 3"]


def test_signal_ends_a_read_that_has_unmasked(scene: Scene) -> None:
    """The signal is sent repeatedly, so that one arrives while the reader sleeps."""
    assert run(scene, "dev1", promises.interrupted_read) == ["masked -1 EINTR armed"]


def test_gone_device_delivers_no_queued_event(scene: Scene) -> None:
    """A program reads all-ones while an event is queued: read() and poll() then report that the device is gone."""
    assert run(scene, "dev1", promises.gone_with_an_event) == ["ENODEV ENODEV True gone"]


def test_notice_comes_behind_what_was_queued(port: Scene) -> None:
    """Events queued before a reset come first; the reset's event repeats the last number and has the reset's time."""
    assert run(port, "dev2", promises.notice) == ["IRQ 1 0x5", "RESET 1 0 0 0 0 0 0 0", "True"]


# ---------------------------------------------------------------- calls


def test_every_call_checks_its_struct(scene: Scene) -> None:
    """Every ioctl checks its struct's address, size, tail, reserved fields and source, and ignores output fields."""
    lines = run(scene, "dev1", promises.structs)
    answers = {
        "GET_INFO": "OK",
        "ARM": "ENOEXEC",
        "DISARM": "ENXIO",
        "UNMASK": "ENXIO",
        "MASK": "ENXIO",
        "EXEC": "OK",
        "SET_MASTER": "OK",
        "SET_EVENTFD": "OK",
        "SET_QUIESCE": "OK",
        "LOAD": "OK",
        "SET_MESSAGES": "OK",
    }
    assert lines == [f"{name} {answer} True EINVAL E2BIG EFAULT" for name, answer in answers.items()]


def test_load_takes_what_a_mode_needs(scene: Scene) -> None:
    """An acknowledging set may lack `unmask`, a masking one may not. The error for an unknown mode has no program."""
    assert run(scene, "dev1", promises.modes_of_load) == [
        "OK 0 0 0",
        "EINVAL 1 0 1",
        "EINVAL 0 0 0 EINVAL 0 0 0",
        "OK 0 0 0",
    ]


def test_refused_exec_leaves_its_registers(scene: Scene) -> None:
    assert run(scene, "dev1", promises.refused_exec) == ["OK 0 0 9 2 3 4 5 6 0 8", "EINVAL 1 11 1 2 3 4 5 6 7 8"]


def test_calls_during_a_reset_fail_with_eio(port: Scene) -> None:
    """Resets, of 100 ms each, are made repeatedly, so that each call meets one. read() does not block here."""
    assert run(port, "dev2", promises.during_a_reset) == ["exec master mmap pread pwrite read"]


def test_info_says_who_shares_the_line(scene: Scene) -> None:
    """dev0 and dev1 share their line; `clock` does not, even when its own handler is registered. dev1 lacks DisINTx."""
    scene.bind("clock")
    assert {device: run(scene, device, promises.who_shares) for device in ("dev0", "dev1", "clock")} == {
        "dev0": ["True True True"],
        "dev1": ["True True False"],
        "clock": ["False False True"],
    }


def test_disarm_silences_the_device_and_keeps_the_set(scene: Scene) -> None:
    assert run(scene, "dev0", promises.disarm) == ["True 0x0 0x0", "False 0xffffffff 0x400 LOADED", "True 0x0 armed"]


def test_counters_count_what_the_handler_did(scene: Scene) -> None:
    """The handler declines a neighbour's interrupts, and does not run the irq program while the device is masked."""
    script = start(scene, "dev1", promises.counters)
    for word in ("armed", "masked"):
        script.expect(f"^{word}$")
        scene.network.ping(5)
        script.write("\n")
    assert finish(script)[1::2] == ["True 0 0", "True 0 1"]


# ---------------------------------------------------------------- binding


def test_module_takes_nothing_that_it_was_not_given(scene: Scene) -> None:
    """Loading the module or probing a function binds no function whose driver_override does not name shirq."""
    scene.run("rmmod shirq")
    pci = "/sys/bus/pci"
    addresses = [ADDRESSES[device] for device in ("dev0", "dev1", "clock")]
    for address in addresses:
        scene.run(f"echo >{pci}/devices/{address}/driver_override")
    scene.run(LOAD_MODULE)
    for address in addresses:
        scene.run(f"echo {address} >{pci}/drivers_probe; test ! -e {pci}/devices/{address}/driver")
    scene.run(f"echo shirq >{pci}/devices/{address}/driver_override && echo {address} >{pci}/drivers_probe")
    scene.run(f"test -e /dev/shirq/{address}")


def test_stale_node_is_refused_with_enxio(scene: Scene) -> None:
    assert run(scene, "dev1", promises.stale_node) == ["OK", "ENXIO"]


@pytest.mark.long
def test_bound_function_stays_awake(boot: Boot) -> None:
    """The administrator allows runtime suspend, but the function and its bridge are suspended only after unbinding."""
    scene = Scene(boot(behind_a_port("pm=on")))
    folder = f"/sys/bus/pci/devices/{ADDRESSES['dev2']}"
    scene.run(f"echo auto >{folder}/power/control")
    run(scene, "dev2", promises.armed_once)
    assert scene.run(f"cat {folder}/power/runtime_status") == "active\n"
    scene.run(f"echo {ADDRESSES['dev2']} >{folder}/driver/unbind")
    scene.run(f"until grep suspended {folder}/power/runtime_status; do usleep 20000; done")


# ---------------------------------------------------------------- storms


def test_close_ends_a_quarantine(scene: Scene) -> None:
    assert run(scene, "dev0", promises.close_ends_a_quarantine) == ["quarantined parked open False 0x20000ed"]


def test_masked_status_is_not_blamed_for_a_neighbours_storm(scene: Scene) -> None:
    """dev1 storms without a handler. dev0 is masked and pending, and its claim test finds that it does not assert."""
    assert run(scene, "dev0", promises.beside_a_storm, ADDRESSES["dev1"]) == ["1 0 0 masked"]


@pytest.mark.long
def test_noirqdebug_leaves_the_rate_watched(boot: Boot) -> None:
    """With noirqdebug the kernel counts no unhandled interrupts, but shirq.ko still limits the rate of claims."""
    scene = Scene(boot(SHARED_LINE.with_(parameters="noirqdebug"), cold=True))
    scene.prepare()
    assert run(scene, "dev0", promises.rate) == ["QUARANTINED RATE quarantined"]


def test_quiesce_means_are_d3hot_for_every_new_owner(boot: Boot) -> None:
    """An owner's settings end with it: the next owner inherits neither the rungs nor the reset at close()."""
    scene = Scene(boot(behind_a_port("pm=on", "pcie=on")))
    set_faults(scene, {"disintx": "no-op"})
    run(scene, "dev2", promises.first_owner)
    script = start(scene, "dev2", promises.storms, None)
    script.expect("^armed$", deadline=60)
    scene.raise_("dev2")
    script.expect("^quarantined$", deadline=60)
    wait_for_rung(scene, "d3hot")
    stats = stats_of(scene, "dev2")
    assert [stats[f"rung_{rung}"] for rung in ("d3hot", "flr", "bus", "failed")] == [1, 0, 0, 0]
    with scene.record("dev2") as recorded:
        script.write("\n")
        finish(script)
    assert not recorded.of(Kind.RESET, device="dev2"), "close() has reset the device"


@pytest.mark.long
@pytest.mark.splats_expected
@pytest.mark.invariants_broken("the line is left high until the test lowers it", line_of="dev2")
def test_bus_with_another_device_is_not_reset(boot: Boot) -> None:
    """The owner allows a bus reset, which would end the storm, but that would also reset the bus's other function."""
    alone = behind_a_port("pm=on", "pcie=on", "multifunction=on")
    devices = (*alone.devices, "shirq-edu,id=dev3,bus=rp0,addr=0.1")
    scene = Scene(boot(alone.with_(devices=devices, log_entries=STORM_ENTRIES)))
    set_faults(scene, {"disintx": "no-op", "pm-effective": "off", "flr-effective": "off"})
    script = start(scene, "dev2", promises.storms, BUS)
    script.expect("^armed$", deadline=60)
    with scene.record("dev2", settled=False) as recorded:
        scene.raise_("dev2")
        script.expect("^quarantined$", deadline=60)
        wait_for_rung(scene, r"\(failed\|bus\)")
        scene.vm.qmp.set("dev2", "lower", 1)
        assert stats_of(scene, "dev2")["rung_bus"] == 0
    assert not recorded.of(Kind.RESET)
    script.write("\n")
    finish(script)
