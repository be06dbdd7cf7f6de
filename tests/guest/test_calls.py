# SPDX-License-Identifier: MIT
"""The result of every call in every state, and for every size of its struct."""

from __future__ import annotations

from itertools import groupby

from guest.guest_python import finish, run, start
from shirq_bench.channels.log import Kind
from shirq_bench.observe.scene import Scene


def test_every_call_answers_in_every_state_as_the_header_says(scene: Scene) -> None:
    assert run(
        scene,
        "dev1",
        """
        device = shirq.Device.open(ADDRESS)
        read = lambda size=64: os.read(device.fileno(), size)
        print("open:", fails(shirq.Device.open, ADDRESS), device.info.state.name, fails(device.arm),
              fails(device.disarm), fails(read), fails(device.unmask, 0), fails(device.mask))
        device.load(SET)
        print("loaded:", device.info.state.name, fails(read), fails(device.arm, shared=False), fails(device.unmask, 0))
        device.arm()
        print("armed:", device.info.state.name, fails(device.arm), fails(device.load, SET), fails(read, 63),
              fails(device.unmask, 1), fails(device.unmask, 0))
        os.set_blocking(device.fileno(), False)
        print("non-blocking:", fails(read))
        os.set_blocking(device.fileno(), True)
        timer = threading.Timer(0.3, device.disarm)
        timer.start()
        print("disarmed while it is read:", fails(read), device.info.state.name)
        timer.join()  # a call that is under way keeps the file open
        device.arm(); device.disarm(); device.load(SET)
        device.close()
        device = shirq.Device.open(ADDRESS)
        print("open again:", device.info.state.name)
        """,
    ) == [
        "open: EBUSY OPEN ENOEXEC ENXIO ENXIO ENXIO ENXIO",
        "loaded: LOADED ENXIO EBUSY ENXIO",
        "armed: ARMED EALREADY EBUSY EINVAL EINVAL OK",
        "non-blocking: EAGAIN",
        "disarmed while it is read: ENXIO LOADED",
        "open again: OPEN",
    ]


#: In the guest: one raw call; the struct as the kernel leaves it.
_RAW = """
device = shirq.Device.open(ADDRESS)
def raw(request, data):
    buffer = bytearray(data)
    fcntl.ioctl(device.fileno(), request, buffer)
    return bytes(buffer)
"""


def test_a_newer_and_an_older_user_space_are_both_understood(scene: Scene) -> None:
    """A longer struct is taken if its rest is zero; a shorter one, down to the first version, gets what fits."""
    assert run(
        scene,
        "dev1",
        _RAW
        + """
def info(size, tail=b""):
    return raw(abi.GET_INFO, (struct.pack("I", size) + bytes(148) + tail)[:max(size, 4)])
print(struct.unpack("I", info(152)[:4])[0])
longer = info(168, bytes(16))
print(struct.unpack("I", longer[:4])[0], longer[152:] == bytes(16))
print(fails(info, 168, bytes(15) + b"x"), fails(info, 151), fails(info, 0), fails(info, 5000, bytes(5000)))
arrays = [shirq.program.to_array(p) for p in (SET.irq, SET.unmask, SET.release)]
def filled(size, **fields):
    load = abi.LoadStruct(size=size, mode=1, **fields)
    for name, array in zip(("irq", "unmask", "release"), arrays):
        setattr(load, name, ctypes.addressof(array))
        setattr(load, f"{name}_count", len(array))
    return (bytes(load) + bytes(16))[:size]
def load(size, **fields):
    return raw(abi.LOAD, filled(size, **fields))
# The first version ended before the mask program; the kernel writes its own size, but no data behind the caller's
# struct.
print(struct.unpack("I", load(64)[:4])[0], struct.unpack("I", load(80)[:4])[0], struct.unpack("I", load(96)[:4])[0])
memory = ctypes.create_string_buffer(filled(64) + b"x" * 32, 96)
print(libc.ioctl(device.fileno(), ctypes.c_ulong(abi.LOAD), memory), memory[0], memory[64:] == b"x" * 32)
print(fails(load, 63), fails(load, 80, reserved=1), fails(load, 80, mask_count=65))
""",
    ) == ["152", "152 True", "E2BIG EINVAL EINVAL E2BIG", "80 80 80", "0 b'P' True", "EINVAL EINVAL EINVAL"]


def test_bad_arguments_are_refused_one_by_one(scene: Scene) -> None:
    assert run(
        scene,
        "dev1",
        _RAW
        + """
def arm(source, flags, reserved):
    return fails(raw, abi.ARM, struct.pack("IIII", 16, source, flags, reserved))
print("arm:", arm(0, 1, 1), arm(1, 1, 0), arm(0, 3, 0), arm(0, 0, 0), arm(0, 9, 0))
print("unknown:", fails(raw, abi.SET_QUIESCE + 1, bytes(16)), fails(raw, 0xE6FF, bytes(16)))
libc.ioctl(device.fileno(), ctypes.c_ulong(abi.ARM), ctypes.c_void_p(8))
bad = abi.LoadStruct(size=64, mode=1, irq=8, irq_count=1, unmask_count=1, release_count=1)
print("pointers:", errno.errorcode[ctypes.get_errno()], fails(fcntl.ioctl, device.fileno(), abi.LOAD, bad))
def mask(**fields):
    return fails(fcntl.ioctl, device.fileno(), abi.MASK, abi.MaskStruct(size=24, **fields))
print("mask:", mask(source=1), mask(flags=1), mask(reserved=1), mask())
def eventfd(fd, **fields):
    return fails(fcntl.ioctl, device.fileno(), abi.SET_EVENTFD, abi.EventfdStruct(size=16, fd=fd, **fields))
print("eventfd:", eventfd(-2), eventfd(0), eventfd(99), eventfd(-1, flags=1), eventfd(-1))
def quiesce(**fields):
    return fails(fcntl.ioctl, device.fileno(), abi.SET_QUIESCE, abi.QuiesceStruct(size=16, **fields))
print("quiesce:", quiesce(rungs=8), quiesce(release=1), quiesce(release=4), quiesce(rungs=7, release=2), quiesce())
""",
    ) == [
        "arm: EINVAL EINVAL EINVAL EINVAL EINVAL",
        "unknown: ENOTTY ENOTTY",
        "pointers: EFAULT EFAULT",
        "mask: EINVAL EINVAL EINVAL ENXIO",
        "eventfd: EINVAL EINVAL EBADF EINVAL OK",
        "quiesce: EINVAL EINVAL EINVAL OK OK",
    ]


def test_refused_set_keeps_the_old_one_and_exec_serves_config(scene: Scene) -> None:
    """A refused set leaves the loaded one in place, and exec serves config space.

    Programs change one bit of config space, bus mastering has a separate call, and close() undoes both.
    """
    assert run(
        scene,
        "dev0",
        """
        device = shirq.Device.open(ADDRESS)
        device.load(SET)
        def refused(call, *arguments):
            try:
                call(*arguments)
            except shirq.ProgramRefused as error:
                return f"{error.kind.name} {error.index} {error.reason.name}"
        print(refused(device.load, dataclasses.replace(SET, release=shirq.assemble("read32 r0, bar0+0x1000"))))
        print(refused(device.load, SET, shirq.assemble("load r0, 1\\nread32 r0, bar0+0x1000")))
        device.arm(); device.disarm()
        print(refused(device.exec, shirq.assemble("read64 r0, bar0")))
        print(*(hex(device.exec(shirq.assemble(f"read32 r0, {where}"))[0]) for where in ("bar0", "config+0")))
        disintx = shirq.assemble("write8 config+5, r0")
        print(hex(command() & 0x404))
        device.set_master(True)
        print(hex(command() & 0x404), abi.InfoFlag.MASTER in device.info.flags)
        for value in (0, 0xff):
            device.exec(disintx, [value])
            print(hex(command() & 0x404))
        device.set_master(False); print(hex(command() & 0x404))
        device.set_master(True); device.close(); print(hex(command() & 0x404))
        """,
    ) == [
        "RELEASE 0 BOUNDS",
        "MASK 1 BOUNDS",
        "EXEC 0 WIDE",
        "0x20000ed 0x11e91234",
        "0x400",
        "0x404 True",
        "0x4",
        "0x404",
        "0x400",
        "0x400",
    ]


def test_mappings_are_of_whole_pages_within_a_bar_and_shared(scene: Scene) -> None:
    assert run(
        scene,
        "dev1",
        """
        fd = shirq.Device.open(ADDRESS).fileno()
        print(fails(mmap.mmap, fd, 4096, mmap.MAP_PRIVATE), fails(mmap.mmap, fd, 8192),
              fails(mmap.mmap, fd, 4096, offset=1 << 40), fails(mmap.mmap, fd, 4096, offset=7 << 40),
              fails(mmap.mmap, fd, 4096, offset=4096))
        """,
    ) == ["EINVAL EINVAL EINVAL EINVAL EINVAL"]


def test_positional_io_is_one_aligned_access_of_a_register(scene: Scene) -> None:
    assert run(
        scene,
        "dev1",
        """
        device = shirq.Device.open(ADDRESS)
        fd = device.fileno()
        device.pwrite(0, 4, 4, 0x12345678)
        print(hex(device.pread(0, 0, 4)), hex(device.pread(0, 4, 4)))
        print("widths:", *(fails(os.pread, fd, width, 0) for width in (0, 1, 2, 3, 4, 5, 8, 64)))
        offsets = (2, 4092, 4096, (1 << 40) - 4, 1 << 40, 6 << 40, 7 << 40)
        print("offsets:", *(fails(os.pread, fd, 4, at) for at in offsets))
        print("writes:", *(fails(os.pwrite, fd, bytes(width), 4) for width in (0, 3, 8, 9, 4)))
        libc.pread.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_long]
        print(libc.pread(fd, 8, 4, 0), errno.errorcode[ctypes.get_errno()])
        print("stream:", fails(os.write, fd, b"1234"), fails(os.lseek, fd, 0, 0), fails(os.read, fd, 64))
        """,
    ) == [
        "0x20000ed 0xedcba987",
        "widths: EINVAL OK OK EINVAL OK EINVAL EINVAL EINVAL",
        "offsets: EINVAL OK EINVAL EINVAL EINVAL EINVAL EINVAL",
        "writes: EINVAL EINVAL EINVAL EINVAL OK",
        "-1 EFAULT",
        "stream: EINVAL ESPIPE ENXIO",
    ]


def test_vectored_io_goes_on_with_the_next_register(scene: Scene) -> None:
    """Each buffer of preadv() and pwritev() is one access, of the register behind the one before; none is hit twice."""
    mark = scene.vm.log().mark
    assert run(
        scene,
        "dev1",
        """
        fd = shirq.Device.open(ADDRESS).fileno()
        word = lambda value: value.to_bytes(4, sys.byteorder)
        print(os.pwritev(fd, [word(0x1234), word(5)], 4))
        buffers = [bytearray(4) for _ in range(3)]
        print(os.preadv(fd, buffers, 0), *(hex(int.from_bytes(buffer, sys.byteorder)) for buffer in buffers))
        print(os.preadv(fd, buffers, 0xffc), fails(os.preadv, fd, [bytearray(4), bytearray(4)], 0x1000))
        """,
    ) == ["8", "12 0x20000ed 0xffffedcb 0x78", "4 EINVAL"]
    accesses = [
        (entry.kind, entry.offset)
        for entry in scene.vm.log().since(mark).of(Kind.READ, Kind.WRITE, device="dev1")
        if entry.space == 0
    ]
    assert accesses == [
        *((Kind.WRITE, offset) for offset in (4, 8)),
        *((Kind.READ, offset) for offset in (0, 4, 8, 0xFFC)),
    ]


def test_positional_io_waits_for_the_program_that_runs(scene: Scene) -> None:
    """A mask program, which takes long here, runs on one processor and pread() on another: they take turns."""
    mark = scene.vm.log().mark
    run(
        scene,
        "dev1",
        """
        device = shirq.Device.open(ADDRESS)
        device.load(SET, shirq.assemble("read32 r0, bar0\\n" * 60 + "load r0, -1\\nwrite32 bar0+0x68, r0"))
        device.arm(auto_unmask=False)
        # A process, since threads of Python would take turns by themselves.
        over = mmap.mmap(-1, 1)
        pid = os.fork()
        while not pid and not over[0]:
            device.mask()
        if not pid:
            os._exit(0)
        turns, masks = 0, stat("masks")
        while turns < 50:
            device.pread(0, 4, 4)
            before, masks = masks, stat("masks")
            turns += masks != before
        over[0] = 1
        os.waitpid(pid, 0)
        """,
    )
    reads = [entry.offset for entry in scene.vm.log().since(mark).of(Kind.READ, device="dev1") if entry.space == 0]
    programs = [len(list(group)) for offset, group in groupby(reads) if offset == 0]
    assert len(programs) > 20, "they hardly took turns"
    assert not [length for length in programs if length % 60], "a pread() came between two reads of a program"


def test_read_into_bad_memory_keeps_its_event_and_counts_add_up(scene: Scene) -> None:
    """A read() into bad memory keeps its event, and the statistics add up."""
    script = start(
        scene,
        "dev1",
        """
        device, registers = armed()
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        report("ready")
        poll = select.poll()
        poll.register(device.fileno(), select.POLLIN)
        poll.poll(TIMEOUT * 1000)
        libc.read(device.fileno(), ctypes.c_void_p(8), ctypes.c_size_t(64))
        print(errno.errorcode[ctypes.get_errno()], state())
        event = device.read()
        print(event.seq, event.r[0], abi.InfoFlag.MASKED in device.info.flags)
        registers.write32(edu["INT_ACK"], event.r[0])
        device.unmask(event.seq)
        print(*(f"{name}={stat(name)}" for name in ("claims", "events", "lost", "unmasks")), state())
        print(before < event.time_ns < time.clock_gettime_ns(time.CLOCK_MONOTONIC))
        """,
    )
    script.expect("^ready$")
    scene.raise_("dev1", bits=3)
    assert finish(script)[1:] == ["EFAULT masked", "1 3 True", "claims=1 events=1 lost=0 unmasks=1 armed", "True"]
