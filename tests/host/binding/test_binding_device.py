# SPDX-License-Identifier: MIT
"""The binding's calls, with a fake module that records their arguments."""

from __future__ import annotations

import ctypes
import dataclasses
import errno
import mmap
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import shirq.binding
from shirq import Device, ProgramRefused, ProgramSet, Registers, ShirqError, abi, assemble, profile
from shirq.program import Op, Program

ADDRESS = "0000:00:04.0"
SET = ProgramSet.from_text(irq="load r0, 1\nclaim", unmask="load r1, 2", release="load r2, 3\nload r3, 4")

STRUCTS: dict[int, type[ctypes.Structure]] = {
    abi.GET_INFO: abi.InfoStruct,
    abi.LOAD: abi.LoadStruct,
    abi.ARM: abi.ArmStruct,
    abi.DISARM: abi.DisarmStruct,
    abi.UNMASK: abi.UnmaskStruct,
    abi.EXEC: abi.ExecStruct,
    abi.SET_MASTER: abi.MasterStruct,
    abi.MASK: abi.MaskStruct,
    abi.SET_EVENTFD: abi.EventfdStruct,
    abi.SET_QUIESCE: abi.QuiesceStruct,
    abi.SET_MESSAGES: abi.MessagesStruct,
    abi.SET_UIO: abi.UioStruct,
}


def ops_at(address: int, count: int) -> Program:
    raw = (abi.OpStruct * count).from_address(address) if count else ()
    return tuple(Op(op.code, op.dst, op.src, op.width, op.space, op.flags, op.skip, op.imm) for op in raw)


class Module:
    """A fake of shirq.ko: `calls` are the requests so far; `answer` may change a request's struct or raise OSError.

    The device's descriptor is the read end of a pipe, into which `queue` writes events.
    """

    def __init__(self) -> None:
        self.fd, self.events = os.pipe()
        self.calls: list[tuple[int, ctypes.Structure]] = []
        self.answer: Callable[[ctypes.Structure], None] = lambda argument: None

    def ioctl(self, fd: int, request: int, argument: ctypes.Structure) -> int:
        assert fd == self.fd
        assert type(argument) is STRUCTS[request]
        assert argument.size == ctypes.sizeof(argument), "size must be set before each call"
        self.calls.append((request, type(argument).from_buffer_copy(argument)))
        argument.size += 8  # Act like a newer kernel, whose struct is longer.
        self.answer(argument)
        return 0

    def fail(self, number: int) -> None:
        def answer(_: ctypes.Structure) -> None:
            raise OSError(number, os.strerror(number))

        self.answer = answer

    def queue(self, seq: int, kind: int = abi.EventType.IRQ, source: int = 0) -> None:
        event = abi.EventStruct(size=64, type=kind, source=source, seq=seq, time_ns=123, lost=4, r=(5, 6, 7, 8))
        os.write(self.events, bytes(event))


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Iterator[Module]:
    module = Module()
    monkeypatch.setattr("fcntl.ioctl", module.ioctl)
    yield module
    os.close(module.events)


@pytest.fixture
def device(module: Module) -> Iterator[Device]:
    with Device(module.fd, ADDRESS) as device:
        yield device


# -------------------------------------------------------------------- calls


def test_load_passes_all_programs_and_the_mode(device: Device, module: Module) -> None:
    seen: list[Program] = []

    def answer(raw: ctypes.Structure) -> None:
        for kind in ("irq", "unmask", "release", "mask"):
            seen.append(ops_at(getattr(raw, kind), getattr(raw, f"{kind}_count")))

    module.answer = answer
    device.load(SET)
    masked = dataclasses.replace(SET, mask=assemble("load r5, 6"))
    device.load(masked)
    assert tuple(seen) == (SET.irq, SET.unmask, SET.release, (), SET.irq, SET.unmask, SET.release, masked.mask)
    assert module.calls[0][1].mode == abi.Mode.MASKS


def test_refused_program_is_named_with_operation_and_reason(device: Device, module: Module) -> None:
    """The error for a refused program contains the operation and the reason."""

    def answer(raw: ctypes.Structure) -> None:
        raw.error_program, raw.error_index, raw.error_reason = abi.ProgramKind.RELEASE, 1, abi.Reason.BOUNDS
        raise OSError(errno.EINVAL, "Invalid argument")

    module.answer = answer
    with pytest.raises(ProgramRefused) as caught:
        device.load(SET)
    assert (caught.value.kind, caught.value.index) == (abi.ProgramKind.RELEASE, 1)
    assert caught.value.reason is abi.Reason.BOUNDS
    assert str(caught.value) == (
        "release program refused at operation 1 (load r3, 0x4): the access ends past the end of the space"
    )


def test_newer_kernels_reason_and_index_at_the_end_are_reported(device: Device, module: Module) -> None:
    """The binding reports a reason that only a newer kernel knows, and an index at the end of the program."""

    def answer(raw: ctypes.Structure) -> None:
        raw.error_index, raw.error_reason = 2, 99
        raise OSError(errno.EINVAL, "Invalid argument")

    module.answer = answer
    with pytest.raises(ProgramRefused, match=r"operation 2 \(the end of the program\): reason 99"):
        device.load(SET)


def test_exec_passes_registers_in_and_out(device: Device, module: Module) -> None:
    def answer(raw: ctypes.Structure) -> None:
        assert ops_at(raw.ops, raw.count) == assemble("add r0, r1")
        assert list(raw.regs) == [1, 2, 0, 0, 0, 0, 0, 0]
        raw.regs[0] = 3

    module.answer = answer
    assert device.exec(assemble("add r0, r1"), [1, 2]) == (3, 2, 0, 0, 0, 0, 0, 0)


def test_exec_of_a_bad_program_is_refused(device: Device, module: Module) -> None:
    def answer(raw: ctypes.Structure) -> None:
        raw.error_reason = abi.Reason.NOT_IRQ
        raise OSError(errno.EINVAL, "Invalid argument")

    module.answer = answer
    with pytest.raises(ProgramRefused, match=r"exec program refused at operation 0 \(claim\): claim and decline"):
        device.exec(assemble("claim"))


def test_nine_registers_are_too_many(device: Device) -> None:
    with pytest.raises(ValueError, match="9 registers given: there are 8"):
        device.exec(assemble("add r0, 1"), [0] * 9)


@pytest.mark.parametrize(
    ("shared", "auto_unmask", "flags"), [(True, True, 5), (False, True, 6), (True, False, 1), (False, False, 2)]
)
def test_arm_says_shared_or_exclusive(
    device: Device, module: Module, shared: bool, auto_unmask: bool, flags: int
) -> None:
    device.arm(shared=shared, auto_unmask=auto_unmask)
    assert (module.calls[0][0], module.calls[0][1].flags) == (abi.ARM, flags)


def test_info_tells_ids_bars_and_state(device: Device, module: Module) -> None:
    def answer(raw: ctypes.Structure) -> None:
        raw.vendor, raw.device, raw.sources, raw.irq, raw.state, raw.flags = 0x1234, 0x11E9, 1, 20, 2, 3
        setattr(raw, "class", 0xFF0000)
        raw.bar[0].length, raw.bar[0].flags = 4096, abi.BarFlag.MEMORY | abi.BarFlag.MMAP

    module.answer = answer
    info = device.info
    assert (info.vendor, info.device, info.class_code, info.irq) == (0x1234, 0x11E9, 0xFF0000, 20)
    assert info.state is abi.State.ARMED
    assert info.flags == abi.InfoFlag.DISINTX | abi.InfoFlag.SHARED
    assert info.bars[0] == shirq.Bar(4096, abi.BarFlag.MEMORY | abi.BarFlag.MMAP)
    assert len(info.bars) == 6


@pytest.mark.parametrize(
    ("call", "number", "text"),
    [
        (lambda d: d.load(SET), errno.EBUSY, "disarm() it first"),
        (lambda d: d.load(SET), errno.EPERM, "CAP_SYS_RAWIO is needed"),
        (lambda d: d.arm(), errno.ENOEXEC, "load() a set first"),
        (lambda d: d.arm(), errno.EALREADY, "armed already"),
        (lambda d: d.arm(shared=False), errno.EBUSY, "it has a neighbour"),
        (lambda d: d.arm(), errno.ENXIO, "no INTx line"),
        (lambda d: d.disarm(), errno.ENXIO, "arm() it first"),
        (lambda d: d.unmask(7), errno.EINVAL, "no event had the number 7 yet"),
        (lambda d: d.info, errno.ENODEV, "the device is gone: close it"),
        (lambda d: d.exec(()), errno.EPERM, "CAP_SYS_RAWIO is needed"),
        (lambda d: d.set_master(True), errno.ENOTTY, "too old for this call"),
    ],
)
def test_an_error_says_what_would_be_right(
    device: Device, module: Module, call: Callable[[Device], object], number: int, text: str
) -> None:
    module.fail(number)
    with pytest.raises(ShirqError) as caught:
        call(device)
    assert caught.value.errno == number
    assert text in str(caught.value) and ADDRESS in str(caught.value)


def test_load_passes_mask_program_and_names_refused_operation(device: Device, module: Module) -> None:
    """load() passes a mask program to the kernel; if the kernel refuses it, the error shows the operation."""

    def answer(raw: ctypes.Structure) -> None:
        assert ops_at(raw.mask, raw.mask_count) == assemble("load r5, 6")
        raw.error_program, raw.error_reason = abi.ProgramKind.MASK, abi.Reason.UNDEFINED
        raise OSError(errno.EINVAL, "Invalid argument")

    module.answer = answer
    with pytest.raises(ProgramRefused, match=r"mask program refused at operation 0 \(load r5, 0x6\)"):
        device.load(SET, assemble("load r5, 6"))


def test_mask_returns_the_number_that_unmasks_it(device: Device, module: Module) -> None:
    def answer(raw: ctypes.Structure) -> None:
        raw.seq = 41

    module.answer = answer
    assert device.mask() == 41
    module.fail(errno.EOPNOTSUPP)
    with pytest.raises(ShirqError, match="load\\(\\) a mask program"):
        device.mask()


def test_quiesce_and_eventfd_are_passed_as_given(device: Device, module: Module) -> None:
    device.set_quiesce(abi.Quiesce.D3HOT | abi.Quiesce.BUS, release=abi.Quiesce.FLR, max_rate=7)
    device.set_eventfd(5)
    device.set_eventfd(None)
    (_, quiesce), (_, eventfd), (_, none) = module.calls
    assert (quiesce.rungs, quiesce.release, quiesce.max_rate) == (5, 2, 7)
    assert (eventfd.fd, none.fd) == (5, -1)


def test_a_uio_face_has_its_names_and_its_number(device: Device, module: Module) -> None:
    def answer(raw: ctypes.Structure) -> None:
        raw.number = 7

    module.answer = answer
    assert device.add_uio("card", "1.2", unmask_by_read=True) == device.add_uio("c" * 63, "0") == 7
    device.remove_uio()
    (_, first), (_, second), (_, last) = module.calls
    assert (first.name, first.version, first.flags) == (b"card", b"1.2", abi.UioFlag.UNMASK_BY_READ)
    assert (second.name, second.flags, last.flags) == (b"c" * 63, 0, abi.UioFlag.OFF)
    for bad in ("", "c" * 64, "caf\u00e9", "two\nlines"):
        with pytest.raises(ValueError, match="1 to 63 characters of ASCII"):
            device.add_uio(bad, "0")
    module.fail(errno.EOPNOTSUPP)
    with pytest.raises(ShirqError, match=r"uio\.ko is not installed"):
        device.add_uio("card", "0")


def test_profile_brings_its_programs_and_quiesce_means(device: Device, module: Module) -> None:
    """load_profile() loads the profile's programs and sets its rungs and its reset at release."""
    card = dataclasses.replace(
        profile.load(profile.folder() / "shirq-edu.toml"), rungs=("flr", "bus"), reset_at_release=True
    )
    device.load_profile(card, source=2)
    assert module.calls.pop(0)[1].source == 2
    assert module.calls.pop(0)[0] == abi.SET_QUIESCE
    device.load_profile(card)
    quiesce = dict(module.calls)[abi.SET_QUIESCE]
    assert [request for request, _ in module.calls] == [abi.LOAD, abi.SET_QUIESCE]
    assert (quiesce.rungs, quiesce.release, quiesce.max_rate) == (6, 2, 0)


def test_registers_are_reached_at_their_bars_offset_in_the_file(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[object, ...]] = []

    def pread(fd: int, width: int, at: int) -> bytes:
        seen.append((width, at))
        return b"\x01\x02"

    monkeypatch.setattr("os.pread", pread)
    monkeypatch.setattr("os.pwrite", lambda fd, data, at: seen.append((data, at)))
    assert device.pread(2, 6, 2) == 0x0201
    device.pwrite(1, 4, 4, 0x11223344)
    assert seen == [(2, (2 << 40) + 6), (b"\x44\x33\x22\x11", (1 << 40) + 4)]
    with pytest.raises(ValueError, match="there is no BAR 6"):
        device.pread(6, 0, 4)


# ------------------------------------------------------------------- events


def test_an_event_carries_what_the_kernel_wrote(device: Device, module: Module) -> None:
    module.queue(9)
    assert device.read() == shirq.Event(abi.EventType.IRQ, 0, 0, 9, 123, 4, (5, 6, 7, 8))
    assert module.calls == [], "a read without a timeout must be one system call"


def test_an_event_of_an_unknown_type_keeps_its_number(device: Device, module: Module) -> None:
    module.queue(1, kind=77)
    assert device.read().type == 77


def test_timed_read_unmasks_the_last_event_before_it_waits(device: Device, module: Module) -> None:
    """A read with a timeout unmasks the last event before it waits."""
    device.arm()
    module.queue(3)
    assert device.read(timeout=5).seq == 3
    assert [request for request, _ in module.calls] == [abi.ARM]
    module.queue(4)
    device.read(timeout=5)
    assert (module.calls[-1][0], module.calls[-1][1].seq) == (abi.UNMASK, 3)


def test_timed_read_unmasks_the_last_event_of_each_source(device: Device, module: Module) -> None:
    """A read with a timeout unmasks the last event of each source that is armed with auto_unmask."""
    device.arm(source=1)
    device.arm(source=2)
    device.arm(source=3, auto_unmask=False)
    for seq, source in ((7, 1), (3, 2), (8, 1), (5, 3)):
        module.queue(seq, source=source)
        device.read()
    module.calls.clear()
    module.queue(9, source=1)
    assert device.read(timeout=5).source == 1
    assert sorted((raw.source, raw.seq) for request, raw in module.calls) == [(1, 8), (2, 3)]


def test_calls_name_the_source_that_they_are_about(device: Device, module: Module) -> None:
    """A message is armed neither shared nor exclusive; every call has the source in its struct."""

    def answer(raw: ctypes.Structure) -> None:
        if isinstance(raw, abi.MessagesStruct):
            assert raw.count == 8
            raw.count = 4

    module.answer = answer
    assert device.set_messages(8) == 4
    device.load(SET, source=4)
    device.arm(source=4)
    device.unmask(1, 4)
    device.mask(4)
    device.set_eventfd(5, 4)
    device.info_of(4)
    device.disarm(4)
    assert [raw.source for _, raw in module.calls[1:]] == [4] * 7
    assert dict(module.calls)[abi.ARM].flags == abi.ArmFlag.AUTO_UNMASK


def test_timed_read_leaves_unmasking_to_an_owner_who_wants_it(device: Device, module: Module) -> None:
    """A read with a timeout unmasks nothing if the owner unmasks by itself."""
    device.arm(auto_unmask=False)
    module.queue(3)
    device.read(timeout=5)
    module.queue(4)
    device.read(timeout=5)
    assert abi.UNMASK not in [request for request, _ in module.calls]


def test_timed_read_delivers_the_notice_of_a_stop(device: Device, module: Module) -> None:
    """After a reset the device is not armed: unmasking fails with ENXIO, but the read delivers the queued event."""
    device.arm()
    module.queue(3)
    device.read(timeout=5)
    module.fail(errno.ENXIO)
    module.queue(3, abi.EventType.RESET)
    assert device.read(timeout=5).type is abi.EventType.RESET


def test_a_read_without_an_event_ends_at_its_timeout(device: Device) -> None:
    with pytest.raises(TimeoutError, match=f"no event of {ADDRESS} within 0.01 s"):
        device.read(timeout=0.01)


@pytest.mark.parametrize("timeout", [float("inf"), 1e300])
def test_timeout_may_be_longer_than_the_systems_longest(device: Device, module: Module, timeout: float) -> None:
    module.queue(9)
    assert device.read(timeout=timeout).seq == 9


def test_closing_twice_is_harmless(device: Device) -> None:
    device.close()
    device.close()
    assert device.fileno() == -1


def test_opening_a_device_that_is_not_bound_says_so(tmp_path: Path) -> None:
    with pytest.raises(ShirqError, match=r"bind\(\) the function to shirq first"):
        Device.open(ADDRESS, dev=tmp_path)


@pytest.mark.parametrize("address", ["00:04.0", "0000:00:04", "0000:00:24.0", "0000:00:04.8", "../0000:00:04.0", ""])
def test_what_is_no_full_pci_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="is no PCI address: write it in full"):
        Device.open(address)


# ---------------------------------------------------------------- registers


@pytest.fixture
def registers(tmp_path: Path) -> Iterator[tuple[Registers, Path]]:
    path = tmp_path / "bar"
    path.write_bytes(bytes(range(256)) * 16)
    with path.open("r+b") as file:
        registers = Registers(mmap.mmap(file.fileno(), 4096, mmap.MAP_SHARED))
    yield registers, path
    registers.close()


@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_registers_are_read_and_written_at_byte_offsets(registers: tuple[Registers, Path], width: int) -> None:
    bar, path = registers
    assert bar.read(16, width) == int.from_bytes(bytes(range(16, 16 + width)), "little")
    bar.write(4096 - width, width, 0x1122334455667788 & (1 << 8 * width) - 1)
    expected = bytearray(bytes(range(256)) * 16)
    expected[4096 - width :] = (0x1122334455667788).to_bytes(8, "little")[:width]
    assert path.read_bytes() == expected


@pytest.mark.parametrize(("offset", "width"), [(2, 4), (4096, 4), (-4, 4), (1 << 40, 1), (0, 3)])
def test_a_bad_register_access_is_refused(registers: tuple[Registers, Path], offset: int, width: int) -> None:
    with pytest.raises(ValueError, match=r"1, 2, 4 or 8 bytes wide|multiples of"):
        registers[0].read(offset, width)


@pytest.mark.parametrize("value", [-1, 1 << 32])
def test_a_value_that_does_not_fit_is_refused(registers: tuple[Registers, Path], value: int) -> None:
    with pytest.raises(ValueError):
        registers[0].write32(0, value)


def test_a_bar_that_is_absent_cannot_be_mapped(device: Device) -> None:
    with pytest.raises(ShirqError, match=r"no such memory BAR of whole pages: use exec\(\)"):
        device.mmap(1)
    with pytest.raises(ValueError, match="there is no BAR 6"):
        device.mmap(6)


# ------------------------------------------------------------------ binding


class Sysfs:
    """A directory tree like /sys that reacts to writes to its files as the kernel does."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.function = root / "bus/pci/devices" / ADDRESS
        self.function.mkdir(parents=True)
        self.pin(1)
        self.refuse = ""
        self.natural: str | None = None
        self.override = ""
        self.writes: list[tuple[str, str]] = []
        monkeypatch.setattr(shirq.binding, "_write", self.write)

    def pin(self, number: int) -> None:
        (self.function / "config").write_bytes(bytes(0x3D) + bytes([number, 0, 0]))

    def driver(self, name: str) -> Path:
        path = self.root / "bus/pci/drivers" / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def bound(self, name: str) -> None:
        (self.function / "driver").symlink_to(self.driver(name))

    def write(self, path: Path, text: str, doing: str) -> None:
        self.writes.append((path.name, text))
        if path.name == "driver_override":
            self.override = text.strip()
        elif path.name == "unbind":
            (self.function / "driver").unlink()
        elif path.name == "drivers_probe":
            name = self.override or self.natural
            if name and name != self.refuse:
                self.bound(name)
        else:
            raise AssertionError(path)


@pytest.fixture
def sysfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sysfs:
    return Sysfs(tmp_path, monkeypatch)


def test_bind_takes_the_function_by_driver_override(sysfs: Sysfs) -> None:
    """bind() takes the function from its driver by driver_override."""
    sysfs.driver("shirq")
    sysfs.bound("e1000")
    shirq.bind(ADDRESS, sysfs=sysfs.root)
    assert shirq.bound_driver(ADDRESS, sysfs.root) == "shirq"
    assert sysfs.writes == [("driver_override", "shirq"), ("unbind", ADDRESS), ("drivers_probe", ADDRESS)]


def test_bind_does_nothing_to_what_is_bound(sysfs: Sysfs) -> None:
    sysfs.bound("shirq")
    shirq.bind(ADDRESS, sysfs=sysfs.root)
    assert sysfs.writes == []


def test_bind_leaves_a_function_without_a_pin_to_its_driver(sysfs: Sysfs) -> None:
    sysfs.driver("shirq")
    sysfs.driver("vfio-pci")
    sysfs.bound("nvme")
    sysfs.pin(0)
    with pytest.raises(ShirqError, match=r"it has no interrupt pin \(at most MSI\): shirq serves INTx"):
        shirq.bind(ADDRESS, sysfs=sysfs.root)
    assert sysfs.writes == [] and shirq.bound_driver(ADDRESS, sysfs.root) == "nvme"
    shirq.bind(ADDRESS, "vfio-pci", sysfs=sysfs.root)
    assert shirq.bound_driver(ADDRESS, sysfs.root) == "vfio-pci"


def test_unbind_gives_the_function_back_to_its_own_driver(sysfs: Sysfs) -> None:
    sysfs.bound("shirq")
    sysfs.driver("e1000")
    sysfs.natural = "e1000"
    shirq.unbind(ADDRESS, sysfs=sysfs.root)
    assert shirq.bound_driver(ADDRESS, sysfs.root) == "e1000"
    assert sysfs.override == ""


def test_bind_says_that_the_module_is_missing(sysfs: Sysfs) -> None:
    with pytest.raises(ShirqError, match=r"insmod shirq.ko first"):
        shirq.bind(ADDRESS, sysfs=sysfs.root)
    assert sysfs.writes == []


def test_bind_says_that_the_function_is_missing(sysfs: Sysfs) -> None:
    with pytest.raises(ShirqError, match=r"there is no PCI function 0000:00:05\.0"):
        shirq.bind("0000:00:05.0", sysfs=sysfs.root)


def test_function_that_the_driver_refuses_is_given_back(sysfs: Sysfs) -> None:
    sysfs.driver("shirq")
    sysfs.bound("e1000")
    sysfs.natural = "e1000"
    sysfs.refuse = "shirq"
    with pytest.raises(ShirqError, match="the kernel log says why"):
        shirq.bind(ADDRESS, sysfs=sysfs.root)
    assert shirq.bound_driver(ADDRESS, sysfs.root) == "e1000"
    assert sysfs.override == ""


def test_function_that_its_driver_keeps_is_no_longer_chosen(sysfs: Sysfs, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the present driver cannot be unbound, driver_override is cleared: a later probe would follow it."""
    sysfs.driver("shirq")
    sysfs.bound("e1000")
    sysfs.natural = "e1000"

    def write(path: Path, text: str, doing: str) -> None:
        if path.name == "unbind":
            raise ShirqError(errno.EACCES, f"{doing}: no")
        if path.name != "drivers_probe":
            sysfs.write(path, text, doing)

    monkeypatch.setattr(shirq.binding, "_write", write)
    with pytest.raises(ShirqError, match=f"unbinding {ADDRESS} from e1000: no"):
        shirq.bind(ADDRESS, sysfs=sysfs.root)
    assert sysfs.override == ""
