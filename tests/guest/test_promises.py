# SPDX-License-Identifier: MIT
"""Sentences of kmod/shirq.h, kmod/README.md and kmod/SECURITY.md that no other test is about, one test each."""

from __future__ import annotations

import re

import pytest

from guest.guest_python import ACKNOWLEDGES, finish, run, start
from guest.port import behind_a_port
from guest.quiet import STORM_ENTRIES
from guest.test_ladder import set_faults, stats_of, wait_for_rung
from guest.test_storm import USELESS_RELEASE
from shirq_bench.channels.log import Kind
from shirq_bench.observe.scene import Scene
from shirq_bench.plugin import Boot
from shirq_bench.vm.machine import ADDRESSES, LOAD_MODULE, SHARED_LINE

_TRACING = "/sys/kernel/tracing"


def test_an_event_has_the_time_of_the_handlers_entry(scene: Scene) -> None:
    """`time_ns` is taken before the irq program runs, which is made long here: the tracepoints are around it."""
    scene.run(
        f"cd {_TRACING} && echo mono >trace_clock && echo 1 >tracing_on"
        " && for name in irq claim; do echo 1 >events/shirq/shirq_$name/enable; done"
    )
    lines = run(
        scene,
        "dev1",
        """
        device = shirq.Device.open(ADDRESS)
        device.load(dataclasses.replace(SET, irq=shirq.assemble("read32 r3, bar0+0x24\\n" * 8) + SET.irq))
        device.arm()
        registers = device.mmap(0)
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        registers.write32(0x60, 1)
        event = device.read(timeout=TIMEOUT)
        print(event.time_ns - before, event.time_ns)
        """,
    )
    since, stamp = (int(word) for word in lines[0].split())
    trace = scene.run(f"cat {_TRACING}/trace")
    points = re.findall(rf" (\d+)\.(\d{{6}}): shirq_(irq|claim): {ADDRESSES['dev1']}", trace)
    # Whole microseconds, rounded.
    times = [(name, int(seconds) * 10**9 + int(micros) * 1000) for seconds, micros, name in points]
    claim = [name for name, _ in times].index("claim")
    (name, entry), (_, claimed) = times[claim - 1 : claim + 1]
    assert name == "irq"
    assert claimed - entry > 3000, "the program was too short to show anything"
    assert since > 0
    assert stamp <= entry + 500


def test_command_is_written_for_the_bits_that_are_asked_for(scene: Scene) -> None:
    """Arming clears DisINTx, masking sets it, and of Command nothing else changes but by SET_MASTER."""
    assert run(
        scene,
        "dev0",
        """
        set_command(command() | 0x100)
        device = shirq.Device.open(ADDRESS)
        words = [command()]
        device.load(SET); words.append(command())
        device.arm(); words.append(command())
        seq = device.mask(); words.append(command())
        device.set_master(True); words.append(command())
        device.unmask(seq); words.append(command())
        device.disarm(); words.append(command())
        device.set_master(False); words.append(command())
        device.close(); words.append(command())
        print(hex(words[0] & 0x504), *(hex(word ^ words[0]) for word in words[1:]))
        """,
    ) == ["0x500 0x0 0x400 0x0 0x4 0x404 0x4 0x0 0x0"]


def test_a_claim_is_counted_once_in_every_statistic(scene: Scene) -> None:
    """Claimed, queued, delivered, unmasked: as many of each, and numbers without a gap."""
    assert run(
        scene,
        "dev1",
        """
        names = ("claims", "events", "unmasks", "lost", "masks", "remasks")
        before = [stat(name) for name in names]
        device, registers = armed()
        numbers = []
        for _ in range(20):
            registers.write32(0x60, 1)
            event = device.read(timeout=TIMEOUT)
            numbers.append((event.seq, event.lost, event.source, event.flags))
            registers.write32(edu["INT_ACK"], event.r[0])
        os.set_blocking(device.fileno(), False)
        print(fails(os.read, device.fileno(), 64), numbers == [(seq, 0, 0, 0) for seq in range(1, 21)])
        print(*(stat(name) - count for name, count in zip(names, before)))
        """,
    ) == ["EAGAIN True", "20 20 20 0 0 0"]


# ---------------------------------------------------------------- events


def test_event_record_begins_with_its_size_and_type(scene: Scene) -> None:
    assert run(
        scene,
        "dev1",
        """
        device, registers = armed()
        registers.write32(0x60, 3)
        record = os.read(device.fileno(), 640)
        print(len(record), *struct.unpack("=4HQ", record[:16]), *struct.unpack("=Q", record[32:40]))
        """,
    ) == ["64 64 1 0 0 1 3"]


def test_signal_ends_a_read_that_has_unmasked(scene: Scene) -> None:
    """The signal is sent repeatedly, so that one of them meets the reader asleep."""
    assert run(
        scene,
        "dev1",
        """
        device, registers = armed()
        registers.write32(0x60, 1)
        event = device.read()
        registers.write32(edu["INT_ACK"], event.r[0])
        before = state()
        signal.signal(signal.SIGALRM, lambda *_: None)
        signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1)
        got = libc.read(device.fileno(), ctypes.create_string_buffer(64), ctypes.c_size_t(64))
        number = ctypes.get_errno()
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(before, got, errno.errorcode[number], state())
        """,
    ) == ["masked -1 EINTR armed"]


def test_gone_device_delivers_no_queued_event(scene: Scene) -> None:
    """A program finds all-ones while an event is queued: read() and poll() say at once that the device is gone."""
    assert run(
        scene,
        "dev1",
        """
        device, registers = armed()
        registers.write32(0x60, 1)
        assert select.select([device], [], [], TIMEOUT)[0]
        registers.write32(0x04, 0)  # LIVENESS: it reads inverted
        gone = fails(device.exec, shirq.assemble("read32 r0, bar0+4, gone_if_ones"))
        poll = select.poll()
        poll.register(device, select.POLLIN)
        print(gone, fails(os.read, device.fileno(), 64), poll.poll(0)[0][1] == select.POLLERR, state())
        """,
    ) == ["ENODEV ENODEV True gone"]


def test_notice_comes_behind_what_was_queued(boot: Boot) -> None:
    """Events queued before a reset are read first; the notice has the last number and the time of the reset."""
    assert run(
        Scene(boot(behind_a_port())),
        "dev2",
        """
        device, registers = armed()
        registers.write32(0x60, 5)
        assert select.select([device], [], [], TIMEOUT)[0]
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        Path("/sys/bus/pci/devices", ADDRESS, "reset").write_text("1")
        after = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        event, notice = device.read(), device.read()
        print(event.type.name, event.seq, hex(event.r[0]))
        print(notice.type.name, notice.seq, notice.source, notice.flags, notice.lost, *notice.r)
        print(before < notice.time_ns < after)
        """,
    ) == ["IRQ 1 0x5", "RESET 1 0 0 0 0 0 0 0", "True"]


# ---------------------------------------------------------------- calls

#: In the guest: each call, its struct, and the fields with which it is in order for a device that is merely open.
_CALLS = """
device = shirq.Device.open(ADDRESS)
reads = shirq.program.to_array(shirq.assemble("read32 r0, bar0"))
arrays = {name: shirq.program.to_array(getattr(SET, name)) for name in ("irq", "unmask", "release")}
programs = {name: ctypes.addressof(array) for name, array in arrays.items()}
programs |= {f"{name}_count": len(array) for name, array in arrays.items()}
calls = {
    "GET_INFO": (abi.InfoStruct, {}),
    "ARM": (abi.ArmStruct, {"flags": 1}),
    "DISARM": (abi.DisarmStruct, {}),
    "UNMASK": (abi.UnmaskStruct, {}),
    "MASK": (abi.MaskStruct, {}),
    "EXEC": (abi.ExecStruct, {"ops": ctypes.addressof(reads), "count": 1}),
    "SET_MASTER": (abi.MasterStruct, {}),
    "SET_EVENTFD": (abi.EventfdStruct, {"fd": -1}),
    "SET_QUIESCE": (abi.QuiesceStruct, {}),
    "LOAD": (abi.LoadStruct, {"mode": 1, **programs}),
}
def made(name, **fields):
    struct, good = calls[name]
    return struct(**{"size": ctypes.sizeof(struct), **good, **fields})
def answer(name, tail=b"", **fields):
    return fails(fcntl.ioctl, device.fileno(), getattr(abi, name), bytearray(bytes(made(name, **fields)) + tail))
"""


def test_every_call_checks_its_struct(scene: Scene) -> None:
    """Its size, its tail, the reserved fields, the source, and its address are checked; output fields are ignored."""
    lines = run(
        scene,
        "dev1",
        _CALLS
        + """
first = {"LOAD": 64}
gives = {
    "GET_INFO": [name for name, _ in abi.InfoStruct._fields_ if name not in ("size", "source", "bar")],
    "MASK": ["seq"],
    "EXEC": ["error_index", "error_reason"],
    "LOAD": ["error_program", "error_index", "error_reason"],
}
wrong = {"source": 1, "flags": 0x80, "reserved": 1, "on": 2}
for name, (struct, _) in calls.items():
    size = ctypes.sizeof(struct)
    fields = [field for field, _ in struct._fields_]
    asked = set(fields) - set(gives.get(name, []))
    bad = {field: answer(name, **{field: value}) for field, value in wrong.items() if field in asked}
    bad["shorter"] = answer(name, size=first.get(name, size) - 1)
    libc.ioctl(device.fileno(), ctypes.c_ulong(getattr(abi, name)), ctypes.c_void_p(8))
    bad_pointer = errno.errorcode[ctypes.get_errno()]
    good = answer(name)
    same = [answer(name, bytes(8), size=size + 8), answer(name, **{field: -1 for field in gives.get(name, [])})]
    longer = answer(name, bytes(7) + b"x", size=size + 8)
    print(name, good, same == [good] * 2, *sorted({*bad.values()}), longer, bad_pointer)
""",
    )
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
    }
    assert lines == [f"{name} {answer} True EINVAL E2BIG EFAULT" for name, answer in answers.items()]


def test_load_takes_what_a_mode_needs(scene: Scene) -> None:
    """An acknowledging set may lack `unmask`, one that masks may not; an unknown mode is no program's fault."""
    assert run(
        scene,
        "dev1",
        _CALLS
        + """
def load(**fields):
    load = made("LOAD", error_program=9, error_index=9, error_reason=9, **fields)
    return fails(fcntl.ioctl, device.fileno(), abi.LOAD, load), load.error_program, load.error_index, load.error_reason
print(*load(mode=2, unmask=0, unmask_count=0))
print(*load(mode=1, unmask=0, unmask_count=0))
print(*load(mode=0), *load(mode=3))
print(*load())
""",
    ) == ["OK 0 0 0", "EINVAL 1 0 1", "EINVAL 0 0 0 EINVAL 0 0 0", "OK 0 0 0"]


def test_refused_exec_leaves_its_registers(scene: Scene) -> None:
    assert run(
        scene,
        "dev1",
        _CALLS
        + """
def execute(text):
    ops = shirq.program.to_array(shirq.assemble(text))
    call = made("EXEC", ops=ctypes.addressof(ops), count=len(ops), regs=(1, 2, 3, 4, 5, 6, 7, 8))
    answer = fails(fcntl.ioctl, device.fileno(), abi.EXEC, call)
    return answer, call.error_index, call.error_reason, *call.regs
print(*execute("add r0, r7\\nload r6, 0"))
print(*execute("add r0, r7\\nread32 r1, bar0+0x1000"))
""",
    ) == ["OK 0 0 9 2 3 4 5 6 0 8", "EINVAL 1 11 1 2 3 4 5 6 7 8"]


def test_calls_during_a_reset_fail_with_eio(boot: Boot) -> None:
    """A function-level reset takes a tenth of a second, so one of several is hit; read() would wait for an event."""
    assert run(
        Scene(boot(behind_a_port())),
        "dev2",
        """
        device = shirq.Device.open(ADDRESS)
        device.load(SET)
        os.set_blocking(device.fileno(), False)
        calls = {
            "exec": lambda: device.exec(SET.release),
            "master": lambda: device.set_master(False),
            "mmap": lambda: device.mmap(0).close(),
            "pread": lambda: device.pread(0, 0, 4),
            "pwrite": lambda: device.pwrite(0, 4, 4, 0),
            "read": lambda: os.read(device.fileno(), 64),
        }
        met = set()
        until = time.monotonic() + TIMEOUT
        with resetting():
            while len(met) < len(calls) and time.monotonic() < until:
                met |= {name for name, call in calls.items() if fails(call) == ("EAGAIN" if name == "read" else "EIO")}
        print(*sorted(met))
        """,
    ) == ["exec master mmap pread pwrite read"]


def test_info_says_who_shares_the_line(scene: Scene) -> None:
    """dev0 and dev1 have a neighbour; `clock` has none, also while its own handler is there. dev1 lacks DisINTx."""
    scene.bind("clock")
    script = """
        device = shirq.Device.open(ADDRESS)
        shared = lambda: abi.InfoFlag.SHARED in device.info.flags
        device.load(SET)
        before = shared()
        device.arm()
        print(before, shared(), abi.InfoFlag.DISINTX in device.info.flags)
        """
    assert {device: run(scene, device, script) for device in ("dev0", "dev1", "clock")} == {
        "dev0": ["True True True"],
        "dev1": ["True True False"],
        "clock": ["False False True"],
    }


def test_disarm_silences_the_device_and_keeps_the_set(scene: Scene) -> None:
    assert run(
        scene,
        "dev0",
        """
        requested = lambda: f"shirq:{ADDRESS}" in Path("/proc/interrupts").read_text()
        device, registers = armed()
        print(requested(), hex(registers.read32(0x28)), hex(command() & 0x400))
        device.disarm()
        print(requested(), hex(registers.read32(0x28)), hex(command() & 0x400), device.info.state.name)
        device.arm()
        print(requested(), hex(registers.read32(0x28)), state())
        """,
    ) == ["True 0x0 0x0", "False 0xffffffff 0x400 LOADED", "True 0x0 armed"]


def test_counters_count_what_the_handler_did(scene: Scene) -> None:
    """A neighbour's interrupts are declined, and the irq program does not run while the device is masked."""
    script = start(
        scene,
        "dev1",
        """
        device, registers = armed(auto_unmask=False)
        report("armed")
        proceed()
        print(stat("declines") > 0, stat("silent"), stat("claims"))
        registers.write32(0x60, 1)
        device.read(timeout=TIMEOUT)
        declines = stat("declines")
        report("masked")
        proceed()
        print(stat("silent") > 0, stat("declines") - declines, stat("claims"))
        """,
    )
    for word in ("armed", "masked"):
        script.expect(f"^{word}$")
        scene.network.ping(5)
        script.write("\n")
    assert finish(script)[1::2] == ["True 0 0", "True 0 1"]


# ---------------------------------------------------------------- binding


def test_module_takes_nothing_that_it_was_not_given(scene: Scene) -> None:
    """Neither when it is loaded nor when a function is probed: driver_override alone names it."""
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
    assert run(
        scene,
        "dev1",
        """
        os.mknod("/tmp/node", 0o020600, os.stat("/dev/shirq/" + ADDRESS).st_rdev)
        opened = lambda: os.close(os.open("/tmp/node", os.O_RDWR))
        print(fails(opened))
        shirq.unbind(ADDRESS)
        print(fails(opened))
        """,
    ) == ["OK", "ENXIO"]


def test_bound_function_stays_awake(boot: Boot) -> None:
    """As far as the administrator is concerned it may sleep, and does once it is unbound; a bridge wakes with it."""
    scene = Scene(boot(behind_a_port("pm=on")))
    folder = f"/sys/bus/pci/devices/{ADDRESSES['dev2']}"
    scene.run(f"echo auto >{folder}/power/control")
    run(scene, "dev2", "device, _ = armed()\ndevice.close()")
    assert scene.run(f"cat {folder}/power/runtime_status") == "active\n"
    scene.run(f"echo {ADDRESSES['dev2']} >{folder}/driver/unbind")
    scene.run(f"until grep suspended {folder}/power/runtime_status; do usleep 20000; done")


# ---------------------------------------------------------------- storms

#: In the guest: an irq program that claims pending sources, and silences nothing.
_CLAIMS_ALONE = """
claims_alone = dataclasses.replace(SET, irq=shirq.assemble(
    "read32 r0, bar0+0x2c\\nskip_if_not_zero r0, ours\\ndecline\\nours:\\nclaim"))
"""


def test_close_ends_a_quarantine(scene: Scene) -> None:
    assert run(
        scene,
        "dev0",
        _CLAIMS_ALONE
        + """
device = shirq.Device.open(ADDRESS)
device.load(claims_alone)
device.arm(auto_unmask=False)
device.pwrite(0, 0x60, 4, 1)
while device.read(timeout=TIMEOUT).type is not shirq.EventType.QUARANTINED:
    pass
states = [state()]
device.close()
states.append(state())
device = shirq.Device.open(ADDRESS)
print(*states, state(), abi.InfoFlag.QUARANTINED in device.info.flags, hex(device.pread(0, 0, 4)))
""",
    ) == ["quarantined parked open False 0x20000ed"]


def test_masked_status_is_not_blamed_for_a_neighbours_storm(scene: Scene) -> None:
    """dev1 asserts and has no handler; dev0 is masked and pending, and its claim test sees that it does not assert."""
    assert run(
        scene,
        "dev0",
        f"""
        device, registers = armed(auto_unmask=False)
        neighbour = shirq.Device.open("{ADDRESSES["dev1"]}")
        registers.write32(0x60, 1)
        device.read(timeout=TIMEOUT)
        neighbour.pwrite(0, 0x6c, 4, 0xffffffff)
        neighbour.pwrite(0, 0x60, 4, 1)
        while stat("silent") < 3000:
            pass
        neighbour.pwrite(0, 0x64, 4, 1)
        print(stat("claims"), stat("remasks"), stat("storms_masked"), state())
        """,
    ) == ["1 0 0 masked"]


def test_noirqdebug_leaves_the_rate_watched(boot: Boot) -> None:
    """The kernel counts no unhandled interrupts; an acknowledging device is judged by its claims alone."""
    scene = Scene(boot(SHARED_LINE.with_(parameters="noirqdebug"), cold=True))
    scene.prepare()
    assert run(
        scene,
        "dev0",
        ACKNOWLEDGES
        + """
device = shirq.Device.open(ADDRESS)
device.load(dataclasses.replace(acknowledging, irq=acknowledging.irq[:-1]))
device.set_quiesce(max_rate=500)
device.arm()
device.pwrite(0, 0x60, 4, 1)
while (event := device.read(timeout=TIMEOUT)).type is shirq.EventType.IRQ:
    pass
print(event.type.name, abi.Quarantine(event.flags).name, state())
""",
    ) == ["QUARANTINED RATE quarantined"]


#: In the guest: an owner whose programs silence nothing, until its device is quarantined.
_STORMS = (
    USELESS_RELEASE
    + """
device = shirq.Device.open(ADDRESS)
{quiesce}
device.load(useless)
device.arm(auto_unmask=False)
report("armed")
while device.read(timeout=TIMEOUT).type is shirq.EventType.IRQ:
    pass
report("quarantined")
proceed()
"""
)


def test_quiesce_means_are_d3hot_for_every_new_owner(boot: Boot) -> None:
    """Settings end with their owner: the next owner inherits neither its rungs nor its reset at close()."""
    scene = Scene(boot(behind_a_port("pm=on", "pcie=on")))
    set_faults(scene, {"disintx": "no-op"})
    first = (
        "device = shirq.Device.open(ADDRESS)\ndevice.set_quiesce(abi.Quiesce.FLR, release=abi.Quiesce.FLR, max_rate=1)"
    )
    run(scene, "dev2", first)
    script = start(scene, "dev2", _STORMS.format(quiesce=""))
    script.expect("^armed$", deadline=60)
    scene.raise_("dev2")
    script.expect("^quarantined$", deadline=60)
    wait_for_rung(scene, "d3hot")
    stats = stats_of(scene, "dev2")
    assert [stats[f"rung_{rung}"] for rung in ("d3hot", "flr", "bus", "failed")] == [1, 0, 0, 0]
    mark = scene.vm.log().mark
    script.write("\n")
    finish(script)
    assert not scene.vm.log().since(mark).of(Kind.RESET, device="dev2"), "close() has reset it"


@pytest.mark.splats_expected
@pytest.mark.invariants_broken("the line is left high until the test lowers it", line_of="dev2")
def test_bus_with_another_device_is_not_reset(boot: Boot) -> None:
    """A reset of the bus would end the storm, and is allowed; but it would be the other function's reset too."""
    alone = behind_a_port("pm=on", "pcie=on", "multifunction=on")
    devices = (*alone.devices, "shirq-edu,id=dev3,bus=rp0,addr=0.1")
    scene = Scene(boot(alone.with_(devices=devices, log_entries=STORM_ENTRIES)))
    set_faults(scene, {"disintx": "no-op", "pm-effective": "off", "flr-effective": "off"})
    script = start(scene, "dev2", _STORMS.format(quiesce="device.set_quiesce(abi.Quiesce.BUS)"))
    script.expect("^armed$", deadline=60)
    mark = scene.vm.log().mark
    scene.raise_("dev2")
    script.expect("^quarantined$", deadline=60)
    wait_for_rung(scene, r"\(failed\|bus\)")
    scene.vm.qmp.set("dev2", "lower", 1)
    assert stats_of(scene, "dev2")["rung_bus"] == 0
    assert not scene.vm.log().since(mark).of(Kind.RESET)
    script.write("\n")
    finish(script)
