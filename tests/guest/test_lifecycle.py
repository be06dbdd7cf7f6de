# SPDX-License-Identifier: MIT
"""However an ownership ends, the device is quiet, every waiting call returns, and the next owner starts afresh."""

from __future__ import annotations

import pytest

from guest.guest_python import finish, run, start
from guest.quiet import is_quiet
from guest.scripts import lifecycle
from shirq_bench.channels.log import CONFIG_SPACE, Kind
from shirq_bench.observe.record import Recording
from shirq_bench.observe.scene import Scene
from shirq_bench.provision import kernel
from shirq_bench.vm.machine import ADDRESSES, LOAD_MODULE


def _nobody_waits(scene: Scene, device: str) -> None:
    assert run(scene, device, lifecycle.opened) == ["OPEN"]


@pytest.mark.parametrize("device", ["dev0", "dev1"])
@pytest.mark.parametrize(
    "end",
    ["close", "SIGKILL", "exit", "exec"],
)
def test_the_device_is_quiet_after_every_end_of_its_owner(scene: Scene, device: str, end: str) -> None:
    script = start(scene, device, lifecycle.ends, end)
    script.expect("^armed$")
    scene.raise_(device)
    script.expect("^pending$")
    script.wait()
    is_quiet(scene, device)
    _nobody_waits(scene, device)


def test_close_gives_the_device_up_while_its_process_lives_on(scene: Scene) -> None:
    """close() also removes the binding's mappings: a mapping would keep the file open and so keep the device owned."""
    assert run(scene, "dev1", lifecycle.close) == ["parked -1"]


def test_never_armed_device_is_released_by_the_loaded_program(scene: Scene) -> None:
    """A device that was never armed is released by the loaded program.

    The owner may have unmasked the device by its registers. A refused set does not replace the loaded one.
    """
    assert run(scene, "dev1", lifecycle.never_armed) == ["0x0"]
    assert scene.vm.qmp.get("dev1", "mask") == 0xFFFFFFFF


def test_next_owner_begins_with_event_1_masked_until_it_is_read(scene: Scene) -> None:
    """The next owner's events start at number 1, and the device stays masked until an event was read."""
    script = start(scene, "dev1", lifecycle.next_owner)
    script.expect("^first$")
    scene.raise_("dev1")
    script.expect("^second$")
    scene.raise_("dev1", bits=2)
    assert finish(script)[2:] == ["1 0"]


def test_a_forked_child_keeps_the_device_until_it_exits_too(scene: Scene) -> None:
    script = start(scene, "dev1", lifecycle.forked_child)
    script.expect("^armed$")
    scene.raise_("dev1")
    script.expect("^pending$")
    scene.run(f"while kill -0 {script.pid} 2>/dev/null; do usleep 9999; done")
    assert run(scene, "dev1", lifecycle.busy) == ["EBUSY"]
    script.write("\n")
    scene.raise_("dev1", bits=2)
    script.expect("^0x2$")
    script.write("\n")
    script.wait()
    scene.run(f"until python3 -c 'import shirq; shirq.Device.open(\"{ADDRESSES['dev1']}\")'; do usleep 20000; done")
    is_quiet(scene, "dev1")


def test_a_descriptor_in_flight_over_a_socket_keeps_the_device(scene: Scene) -> None:
    script = start(scene, "dev1", lifecycle.descriptor_in_flight)
    script.expect("^EBUSY armed$")
    scene.raise_("dev1", bits=4)
    script.write("\n")
    script.expect("^0x4$")
    assert finish(script)[-1] == "parked OK"
    is_quiet(scene, "dev1")


def test_a_mapping_alone_keeps_the_device(scene: Scene) -> None:
    assert run(scene, "dev1", lifecycle.mapping_alone) == ["EBUSY", "OK"]


def test_bus_mastering_ends_with_the_address_space(scene: Scene) -> None:
    """Bus mastering ends when the owner's address space is freed, even if the device is still open.

    At exit, the kernel frees memory before it closes files. Here another process keeps the file open.
    """
    assert run(scene, "dev1", lifecycle.bus_mastering) == ["OK False False open", "True True", "OK True"]


def test_unbind_wakes_every_reader_and_fails_every_later_call(scene: Scene) -> None:
    """Unbinding wakes every reader and makes every later call fail."""
    script = start(scene, "dev1", lifecycle.unbound)
    script.expect("^armed$")
    scene.raise_("dev1")
    script.expect("^pending$")
    assert finish(script)[2:] == [
        "ENODEV ENODEV ENODEV True",
        "True",
        " ".join(["ENODEV"] * 14),
        "SIGBUS False",
        "ARMED ENODEV",
        "OK",
    ]
    is_quiet(scene, "dev1")


def test_the_module_cannot_be_removed_while_a_device_is_open(scene: Scene) -> None:
    script = start(scene, "dev1", lifecycle.stays_open)
    script.expect("^open$")
    assert "busy" in scene.vm.agent.fail("rmmod shirq").lower() or "temporarily" in scene.vm.agent.fail("rmmod shirq")
    script.write("\n")
    finish(script)
    scene.run(f"rmmod shirq && test ! -e /sys/class/shirq && {LOAD_MODULE}")
    for device in ("dev0", "dev1"):
        scene.bind(device)
        _nobody_waits(scene, device)


def test_bind_silences_a_device_that_may_assert_and_master_bus(scene: Scene) -> None:
    """Binding silences a device that may assert and master the bus."""
    assert run(scene, "dev0", lifecycle.silenced_by_bind) == ["0x4", "0x400 parked"]


def test_settings_in_config_space_outlast_the_owners(scene: Scene) -> None:
    """Settings made while the device is parked or owned persist; open() restores those that a reset has lost."""
    assert run(scene, "dev0", lifecycle.settings) == ["0x10", "0x20 0x402", "0x20 0x402 0x20000ed"]


def test_twenty_binds_and_unbinds_leave_a_working_device(scene: Scene) -> None:
    """Binding and unbinding twenty times leaves a working device."""
    script = start(scene, "dev1", lifecycle.twenty_binds)
    script.expect("^armed$", deadline=60)
    scene.raise_("dev1", bits=16)
    assert finish(script)[1:] == ["0x10"]


def test_all_ones_means_gone_until_the_device_is_opened_again(scene: Scene) -> None:
    script = start(scene, "dev1", lifecycle.all_ones)
    script.expect("^armed$")
    scene.raise_("dev1", bits=0xFFFFFFFF)
    assert finish(script)[1:] == ["ENODEV ENODEV gone", "OPEN"]


# ------------------------------------------------------------------ shutdown

#: Commands in the guest that reboot or power off at once, without the init scripts.
_ENDS = {"reboot": "reboot -f", "poweroff": "poweroff -f"}


@pytest.mark.invariants_broken("the guest is shut down", guest_ends=True)
@pytest.mark.parametrize("how", _ENDS)
def test_an_orderly_shutdown_leaves_the_device_quiet(scene: Scene, how: str) -> None:
    script = start(scene, "dev1", lifecycle.shut_down)
    script.expect("^armed$")
    with scene.record("dev1", settled=False) as recorded:
        scene.raise_("dev1")
        script.expect("^pending$")
        scene.vm.agent.start("sh", "-c", _ENDS[how])
        scene.vm.wait_end(60)
    _was_released(recorded, "dev1")


def _was_released(recorded: Recording, device: str) -> None:
    """Assert that the release program ran, bus mastering is off, and the device did not assert again."""
    writes = recorded.of(Kind.WRITE, device=device)
    assert [entry for entry in writes if (entry.space, entry.offset) == (0, 0x64)], "the release program did not run"
    commands = [entry.value for entry in writes if (entry.space, entry.offset, entry.width) == (CONFIG_SPACE, 4, 2)]
    assert commands, "Command was not written"
    assert not commands[-1] & 0x4, "the device still masters the bus"
    assert len(recorded.assertions()) == 1
    recorded.line_low_at_end()


@pytest.mark.long
@pytest.mark.splats_expected
@pytest.mark.invariants_broken("a second kernel runs in the guest, and ends it", guest_ends=True)
def test_a_kexeced_kernel_finds_the_device_quiet(scene: Scene) -> None:
    # Use a stock kernel, because it can be loaded on any machine.
    scene.upload(kernel.get("6.1").vmlinuz, "/tmp/vmlinuz")
    owner = start(scene, "dev1", lifecycle.shut_down)
    owner.expect("^armed$")
    with scene.record("dev1", settled=False) as recorded:
        scene.raise_("dev1")
        owner.expect("^pending$")
        loader = start(scene, "dev1", lifecycle.kexec)
        loader.expect("^loaded$")
        # Without an initramfs the second kernel panics; the panic resets the machine, and that reset ends QEMU.
        scene.vm.wait_end(120)
    assert "Kernel panic" in scene.vm.console.tail(100), "the second kernel did not boot"
    _was_released(recorded, "dev1")
