# SPDX-License-Identifier: MIT
"""However an owner's time ends, the device ends quiet, every waiter returns and the next owner starts afresh."""

from __future__ import annotations

import pytest

from guest.guest_python import OWNER, finish, run, start
from guest.quiet import is_quiet
from shirq_bench.channels.log import CONFIG_SPACE, Kind, Log
from shirq_bench.observe.judge import assertions, line_low_at_end, line_of
from shirq_bench.observe.scene import Scene
from shirq_bench.provision import kernel
from shirq_bench.vm.machine import ADDRESSES, LOAD_MODULE


def _nobody_waits(scene: Scene, device: str) -> None:
    assert run(scene, device, "print(shirq.Device.open(ADDRESS).info.state.name)") == ["OPEN"]


@pytest.mark.parametrize("device", ["dev0", "dev1"])
@pytest.mark.parametrize(
    "end",
    ["device.close()", "os.kill(os.getpid(), signal.SIGKILL)", "os._exit(3)", "os.execv('/bin/true', ['true'])"],
    ids=["close", "SIGKILL", "exit", "exec"],
)
def test_the_device_is_quiet_after_every_end_of_its_owner(scene: Scene, device: str, end: str) -> None:
    script = start(scene, device, OWNER + end)
    script.expect("^armed$")
    mark = scene.vm.log().mark
    scene.raise_(device)
    script.expect("^pending$")
    script.wait()
    is_quiet(scene, device, mark)
    _nobody_waits(scene, device)


def test_close_gives_the_device_up_while_its_process_lives_on(scene: Scene) -> None:
    """A remaining mapping would keep the file open, and with it the device owned."""
    assert run(scene, "dev1", "device, registers = armed()\ndevice.close()\nprint(state(), device.fileno())") == [
        "parked -1"
    ]


def test_never_armed_device_is_released_by_the_loaded_program(scene: Scene) -> None:
    """A device that was never armed is released by the loaded program.

    Its owner may have let it assert by its registers. A set that was refused is not the loaded one.
    """
    assert run(
        scene,
        "dev1",
        """
        device = shirq.Device.open(ADDRESS)
        device.load(SET)
        attempt(device.load, dataclasses.replace(SET, release=shirq.assemble("read32 r0, bar0+0x1000")))
        registers = device.mmap(0)
        registers.write32(0x6c, 0xffffffff)
        print(hex(registers.read32(0x28)))
        device.close()
        """,
    ) == ["0x0"]
    assert scene.vm.qmp.get("dev1", "mask") == 0xFFFFFFFF


def test_next_owner_begins_with_event_1_masked_until_it_is_read(scene: Scene) -> None:
    """The next owner begins with its first event, which stays masked until it was read."""
    script = start(
        scene,
        "dev1",
        """
        device, registers = armed()
        report("first")
        event = device.read()
        registers.write32(edu["INT_ACK"], event.r[0])
        device.close()
        device, registers = armed()
        report("second")
        assert select.select([device], [], [], TIMEOUT)[0]
        os.set_blocking(device.fileno(), False)
        before = stat("unmasks")
        event = device.read()
        report(event.seq, stat("unmasks") - before)
        """,
    )
    script.expect("^first$")
    scene.raise_("dev1")
    script.expect("^second$")
    scene.raise_("dev1", bits=2)
    assert finish(script)[2:] == ["1 0"]


def test_a_forked_child_keeps_the_device_until_it_exits_too(scene: Scene) -> None:
    script = start(
        scene,
        "dev1",
        OWNER
        + """
if not os.fork():
    proceed()
    registers.write32(edu["INT_ACK"], 1)
    device.unmask(1)
    report(hex(device.read(timeout=TIMEOUT).r[0]))
    proceed()
os._exit(0)
""",
    )
    script.expect("^armed$")
    mark = scene.vm.log().mark
    scene.raise_("dev1")
    script.expect("^pending$")
    scene.run(f"while kill -0 {script.pid} 2>/dev/null; do usleep 9999; done")
    assert run(scene, "dev1", "print(fails(shirq.Device.open, ADDRESS))") == ["EBUSY"]
    script.write("\n")
    scene.raise_("dev1", bits=2)
    script.expect("^0x2$")
    script.write("\n")
    script.wait()
    scene.run(f"until python3 -c 'import shirq; shirq.Device.open(\"{ADDRESSES['dev1']}\")'; do usleep 20000; done")
    is_quiet(scene, "dev1", mark)


def test_a_descriptor_in_flight_over_a_socket_keeps_the_device(scene: Scene) -> None:
    script = start(
        scene,
        "dev1",
        """
        here, there = socket.socketpair()
        device, _ = armed()
        socket.send_fds(here, [b"x"], [device.fileno()])
        device.close()
        report(fails(shirq.Device.open, ADDRESS), state())
        proceed()
        _, (fd,), _, _ = socket.recv_fds(there, 1, 1)
        event = shirq.Event.from_bytes(os.read(fd, 64))
        report(hex(event.r[0]))
        socket.send_fds(here, [b"x"], [fd])
        os.close(fd); here.close(); there.close()
        report(state(), fails(shirq.Device.open, ADDRESS))
        """,
    )
    script.expect("^EBUSY armed$")
    mark = scene.vm.log().mark
    scene.raise_("dev1", bits=4)
    script.write("\n")
    script.expect("^0x4$")
    assert finish(script)[-1] == "parked OK"
    is_quiet(scene, "dev1", mark)


def test_a_mapping_alone_keeps_the_device(scene: Scene) -> None:
    assert run(
        scene,
        "dev1",
        """
        fd = os.open("/dev/shirq/" + ADDRESS, os.O_RDWR)
        address = libc.mmap
        address.restype = ctypes.c_void_p
        mapping = address(None, 4096, 3, 1, fd, 0)
        os.close(fd)
        print(fails(shirq.Device.open, ADDRESS))
        libc.munmap(ctypes.c_void_p(mapping), 4096)
        print(fails(shirq.Device.open, ADDRESS))
        """,
    ) == ["EBUSY", "OK"]


def test_bus_mastering_ends_with_the_address_space(scene: Scene) -> None:
    """Bus mastering ends with the address space, while the device is still open.

    Memory is freed before files are closed: here another process keeps the file open for good.
    """
    assert run(
        scene,
        "dev1",
        """
        device = shirq.Device.open(ADDRESS)
        def master():
            device.set_master(True)
            assert command() & 4
        said = lambda: abi.InfoFlag.MASTER in device.info.flags
        print(child(master), bool(command() & 4), said(), state())
        device.set_master(True); print(bool(command() & 4), said())
        # Bus mastering enabled for one address space does not end with that of a child process.
        print(child(lambda: None), bool(command() & 4))
        """,
    ) == ["OK False False open", "True True", "OK True"]


def test_unbind_wakes_every_reader_and_fails_every_later_call(scene: Scene) -> None:
    """Unbinding wakes every reader and makes every later call fail."""
    script = start(
        scene,
        "dev1",
        OWNER
        + """
results = []
eventfd = os.eventfd(0)
device.set_eventfd(eventfd)
def reader():
    results.append(fails(os.read, device.fileno(), 64))
threads = [threading.Thread(target=reader) for _ in range(3)]
for thread in threads:
    thread.start()
poll = select.epoll()
poll.register(device.fileno(), select.EPOLLIN)
def sleeping():
    return sum((task / "stat").read_text().split()[2] == "S" for task in Path("/proc/self/task").iterdir())
while sleeping() < 3:
    time.sleep(0.01)
shirq.unbind(ADDRESS)
for thread in threads:
    thread.join(TIMEOUT)
print(*results, os.read(eventfd, 8)[0] > 0)
print(poll.poll(TIMEOUT)[0][1] & select.EPOLLERR == select.EPOLLERR)
print(fails(lambda: device.info), fails(device.load, SET), fails(device.arm), fails(device.disarm),
      fails(device.unmask, 0), fails(device.mask), fails(device.exec, SET.release), fails(device.set_master, True),
      fails(device.set_eventfd, None), fails(device.set_quiesce), fails(os.read, device.fileno(), 64),
      fails(device.pread, 0, 0, 4), fails(device.pwrite, 0, 4, 4, 0), fails(mmap.mmap, device.fileno(), 4096))
print(child(lambda: registers.read32(0)), os.path.exists("/dev/shirq/" + ADDRESS))
shirq.bind(ADDRESS)
with shirq.Device.open(ADDRESS) as successor:
    successor.load(SET)
    successor.arm()
    print(successor.info.state.name, fails(lambda: device.info))
device.close()
print(fails(shirq.Device.open, ADDRESS))
""",
    )
    script.expect("^armed$")
    mark = scene.vm.log().mark
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
    is_quiet(scene, "dev1", mark)


def test_the_module_cannot_be_removed_while_a_device_is_open(scene: Scene) -> None:
    script = start(scene, "dev1", "device = shirq.Device.open(ADDRESS)\nreport('open')\nproceed()")
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
    assert run(
        scene,
        "dev0",
        """
        driver = Path("/sys/bus/pci/drivers/shirq")
        (driver / "unbind").write_text(ADDRESS)
        set_command(command() & ~0x400 | 4)
        report(hex(command() & 0x404))
        (driver / "bind").write_text(ADDRESS)
        report(hex(command() & 0x404), state())
        """,
    ) == ["0x4", "0x400 parked"]


def test_settings_in_config_space_outlast_the_owners(scene: Scene) -> None:
    """Settings made while the device is parked or owned stay; those lost in a reset are restored at the next open()."""
    assert run(
        scene,
        "dev0",
        """
        config = os.open(f"/sys/bus/pci/devices/{ADDRESS}/config", os.O_RDWR)
        LINE_SIZE = 0x0c
        size = lambda: os.pread(config, 1, LINE_SIZE)[0]
        os.pwrite(config, bytes([0x10]), LINE_SIZE)
        with shirq.Device.open(ADDRESS):
            report(hex(size()))
            os.pwrite(config, bytes([0x20]), LINE_SIZE)
        with shirq.Device.open(ADDRESS):
            report(hex(size()), hex(command() & 0x406))
        # As a reset leaves them.
        os.pwrite(config, bytes([0]), LINE_SIZE)
        set_command(0)
        with shirq.Device.open(ADDRESS) as device:
            report(hex(size()), hex(command() & 0x406), hex(device.pread(0, 0, 4)))
        """,
    ) == ["0x10", "0x20 0x402", "0x20 0x402 0x20000ed"]


def test_twenty_binds_and_unbinds_leave_a_working_device(scene: Scene) -> None:
    """Binding and unbinding twenty times leaves a working device."""
    script = start(
        scene,
        "dev1",
        """
        for _ in range(20):
            shirq.unbind(ADDRESS)
            shirq.bind(ADDRESS)
            with shirq.Device.open(ADDRESS) as device:
                device.load(SET)
                device.arm()
        device, _ = armed()
        report("armed")
        print(hex(device.read(timeout=TIMEOUT).r[0]))
        """,
    )
    script.expect("^armed$", deadline=60)
    scene.raise_("dev1", bits=16)
    assert finish(script)[1:] == ["0x10"]


def test_all_ones_means_gone_until_the_device_is_opened_again(scene: Scene) -> None:
    script = start(
        scene,
        "dev1",
        """
        device, _ = armed()
        report("armed")
        print(fails(os.read, device.fileno(), 64), fails(lambda: device.info), state())
        device.close()
        print(shirq.Device.open(ADDRESS).info.state.name)
        """,
    )
    script.expect("^armed$")
    scene.raise_("dev1", bits=0xFFFFFFFF)
    assert finish(script)[1:] == ["ENODEV ENODEV gone", "OPEN"]


# ------------------------------------------------------------------ shutdown

#: In the guest: reboot at once, without an orderly shutdown.
_ENDS = {"reboot": "reboot -f", "poweroff": "poweroff -f"}


@pytest.mark.invariants_broken("the guest is shut down", guest_ends=True)
@pytest.mark.parametrize("how", _ENDS)
def test_an_orderly_shutdown_leaves_the_device_quiet(scene: Scene, how: str) -> None:
    script = start(scene, "dev1", OWNER + "proceed()")
    script.expect("^armed$")
    mark = scene.vm.log().mark
    scene.raise_("dev1")
    script.expect("^pending$")
    scene.vm.agent.start("sh", "-c", _ENDS[how])
    scene.vm.wait_end(60)
    log = scene.vm.log().since(mark)
    _was_released(log, "dev1")


def _was_released(log: Log, device: str) -> None:
    """Its owner's release program ran, bus mastering went off, and it asserted no more."""
    writes = log.of(Kind.WRITE, device=device)
    assert [entry for entry in writes if (entry.space, entry.offset) == (0, 0x64)], "the release program did not run"
    commands = [entry.value for entry in writes if (entry.space, entry.offset, entry.width) == (CONFIG_SPACE, 4, 2)]
    assert commands, "Command was not written"
    assert not commands[-1] & 0x4, "the device still masters the bus"
    assert len(assertions(log, device)) == 1
    line_low_at_end(log, line_of(log, [device])).require()


@pytest.mark.splats_expected
@pytest.mark.invariants_broken("a second kernel runs in the guest, and ends it", guest_ends=True)
def test_a_kexeced_kernel_finds_the_device_quiet(scene: Scene) -> None:
    # Use a stock kernel, whatever the first one is: it can be loaded on any machine.
    scene.upload(kernel.get("6.1").vmlinuz, "/tmp/vmlinuz")
    owner = start(scene, "dev1", OWNER + "proceed()")
    owner.expect("^armed$")
    mark = scene.vm.log().mark
    scene.raise_("dev1")
    owner.expect("^pending$")
    loader = start(
        scene,
        "dev1",
        """
        line = b"console=ttyS0 panic=-1 loglevel=8\\0"
        no_initramfs, restart = 4, 0x45584543
        image = os.open("/tmp/vmlinuz", os.O_RDONLY)
        load = lambda: libc.syscall(320, image, -1, ctypes.c_ulong(len(line)), line, ctypes.c_ulong(no_initramfs))
        assert not load(), errno.errorcode[ctypes.get_errno()]
        report("loaded")
        libc.reboot(restart)
        """,
    )
    loader.expect("^loaded$")
    # Without an initramfs it panics, which resets the machine, which ends QEMU.
    scene.vm.wait_end(120)
    assert "Kernel panic" in scene.vm.console.tail(100), "the second kernel did not boot"
    _was_released(scene.vm.log().since(mark), "dev1")
