/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * shirq: user-space drivers for PCI functions on shared interrupt lines.
 *
 * Sequence: open(/dev/shirq/<PCI address>), LOAD, ARM, then one read() an
 * interrupt; DISARM or close() ends it. Each open file is the sole owner of
 * its device until the last reference to it (descriptor, mapping, descriptor
 * in flight over a socket, request in flight or registered file of an io_uring, which go
 * some time after the process) goes; the device is quiesced then, however the process died.
 *
 * open() fails with
 *   EBUSY   the device has an owner
 *   EPERM   the kernel is locked down
 *   ENODEV  the device is gone or being unbound
 *   ENXIO   the node is stale: the device was unbound
 *   EIO     the device is asleep or in error recovery, or storms as soon as it is
 *           awake; the kernel log says which rungs were tried
 *   ENOMEM  no memory for the events or the mappings of the registers
 *
 * Every later call fails with ENODEV once the device is gone (unbound,
 * unplugged, or a read with SHIRQ_GONE_IF_ONES returned all-ones). Only
 * close() is left then.
 *
 * Four things stop the device without a request of its owner: system sleep, a reset from
 * outside, an error of its link, and quarantine, because it stormed. The device is
 * then disarmed and silent, its interrupt is freed or answered with IRQ_NONE, bus
 * mastering is off, and all mappings are void. Queued events stay; after them the
 * owner reads an event that says what happened (RESUMED, RESET, QUARANTINED). The
 * loaded set stays. After RESUMED and RESET the registers are as the reset left them:
 * map them anew, initialise them, arm. Quarantine ends only with SHIRQ_ARM, which may
 * wake the device from D3hot, or with close(); until then nothing reaches its
 * registers.
 *
 * Registers: memory BARs by mmap() at offset SHIRQ_MMAP_OFFSET(bar), shared
 * and in whole pages. A mapping that was revoked gets SIGBUS for ever.
 * Any BAR, and so also port BARs and those that share a page, by pread() and
 * pwrite() at the same offset plus the register's: one access of 1, 2, 4 or 8
 * bytes (8 only where SHIRQ_BAR_WIDE), naturally aligned, serialised with programs;
 * preadv() and pwritev() make one access for each buffer, each to the register
 * after the previous one. Config space, and sequences, by SHIRQ_EXEC.
 *
 * PCI is little endian. pread() and pwrite() transfer a number in the byte order
 * of the processor, as in a program's registers: on a big-endian processor
 * the bytes of a little-endian register are swapped. A mapping gives the bytes as
 * they are: user space swaps them itself. A mapping of registers is uncached, neither
 * write-combining nor of huge pages. Accesses through it are not ordered with memory that
 * the device reads or writes: use the barriers of your processor, or the accessors of
 * guest/lib.
 *
 * The ring, by which events are taken without a call, is memory: see struct shirq_ring.
 *
 * The file is a stream of events: it cannot seek, and write() fails with EINVAL.
 *
 * mmap() fails with EINVAL for a mapping that is private, empty, of a BAR that
 * is absent or not SHIRQ_BAR_MMAP, or past its end. pread() and pwrite() fail
 * with EINVAL for any other size, alignment or offset. All three fail with
 *   ENODEV  the device is gone
 *   EIO     the device is quarantined, asleep or being reset
 */
#ifndef _UAPI_SHIRQ_H
#define _UAPI_SHIRQ_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define SHIRQ_REGS		8	/* 64-bit registers r0..r7 of a program */
#define SHIRQ_MAX_OPS		64	/* operations in one program, at most */
#define SHIRQ_MAX_IRQ_ACCESSES	24	/* READ and WRITE on one path of an irq program, at most */
#define SHIRQ_EVENT_REGS	4	/* r0..r3 at the claim travel with the event */
#define SHIRQ_KEPT		4	/* r4..r7 are kept for the next program of the set */
#define SHIRQ_BARS		6
#define SHIRQ_SPACE_CONFIG	6	/* in struct shirq_op.space; 0..5 are the BARs */
#define SHIRQ_SPACES		7
#define SHIRQ_MAX_MESSAGES	32	/* messages of a function that are IRQ sources, at most */

#define SHIRQ_MMAP_SHIFT	40
#define SHIRQ_MMAP_OFFSET(bar)	((__u64)(bar) << SHIRQ_MMAP_SHIFT)
/* In place of a BAR: struct shirq_ring, to be read only, and struct shirq_consumer */
#define SHIRQ_MMAP_RING		6
#define SHIRQ_MMAP_CONSUMER	7
#define SHIRQ_RING_EVENTS	256	/* a power of two */

/* The only byte of config space that a program may write: the high one of Command. */
#define SHIRQ_CONFIG_DISINTX_OFFSET	5
#define SHIRQ_CONFIG_DISINTX_BIT	0x04

/**
 * enum shirq_code - what an operation does
 * @SHIRQ_OP_READ: dst = width bytes at space + imm, zero-extended
 * @SHIRQ_OP_WRITE: the low width bytes of src go to space + imm; in config space
 *	width 1 at SHIRQ_CONFIG_DISINTX_OFFSET alone, and only
 *	SHIRQ_CONFIG_DISINTX_BIT changes
 * @SHIRQ_OP_LOAD: dst = operand
 * @SHIRQ_OP_AND: dst &= operand
 * @SHIRQ_OP_OR: dst |= operand
 * @SHIRQ_OP_XOR: dst ^= operand
 * @SHIRQ_OP_ADD: dst += operand, modulo 2^64
 * @SHIRQ_OP_SHL: dst <<= operand; 0 if the operand is 64 or more
 * @SHIRQ_OP_SHR: dst >>= operand, filling with zeros; 0 if the operand is 64 or more
 * @SHIRQ_OP_SKIP_Z: pass over the next skip operations if src is zero
 * @SHIRQ_OP_SKIP_NZ: pass over the next skip operations if src is not zero
 * @SHIRQ_OP_CLAIM: the interrupt is ours: record it and capture r0..r3 (zero if
 *	never written) for the event; the program goes on, to mask the device
 * @SHIRQ_OP_DECLINE: the interrupt is not ours: end the program
 *
 * Programs of a set share r4..r7: each finds there what the last one left. SHIRQ_ARM zeroes
 * them. A run of the irq program that declines or finds the device gone leaves them as they
 * were; so does EXEC without SHIRQ_EXEC_KEPT, and, until the next unmask, a program that
 * masks a masked device again. So an irq program can save in them
 * what it masks, and the unmask program can put it back. Any other register must be
 * written before it is read.
 *
 * The operand is imm, or register src with SHIRQ_SRC_REG. CLAIM and DECLINE
 * belong to the irq program alone. A program that runs off its end without a
 * claim declines.
 */
enum shirq_code {
	SHIRQ_OP_READ	= 1,
	SHIRQ_OP_WRITE	= 2,
	SHIRQ_OP_LOAD	= 3,
	SHIRQ_OP_AND	= 4,
	SHIRQ_OP_OR	= 5,
	SHIRQ_OP_XOR	= 6,
	SHIRQ_OP_ADD	= 7,
	SHIRQ_OP_SHL	= 8,
	SHIRQ_OP_SHR	= 9,
	SHIRQ_OP_SKIP_Z	= 10,
	SHIRQ_OP_SKIP_NZ	= 11,
	SHIRQ_OP_CLAIM	= 12,
	SHIRQ_OP_DECLINE	= 13,
};

/* struct shirq_op.flags */
#define SHIRQ_BIG_ENDIAN	0x01	/* READ, WRITE of 2 bytes or more: a big-endian register */
#define SHIRQ_SRC_REG		0x02	/* LOAD to SHR: the operand is register src, not imm */
#define SHIRQ_GONE_IF_ONES	0x04	/* READ: all-ones ends the program: the device is gone */

/**
 * struct shirq_op - one operation of a program
 * @code: enum shirq_code
 * @dst: register written, 0..7
 * @src: register read, 0..7
 * @width: bytes accessed: 1, 2, 4 or 8 (8 only where SHIRQ_BAR_WIDE)
 * @space: BAR 0..5 or SHIRQ_SPACE_CONFIG
 * @flags: SHIRQ_BIG_ENDIAN, SHIRQ_SRC_REG, SHIRQ_GONE_IF_ONES
 * @skip: operations passed over, at least 1; the end of the program is the
 *	farthest target
 * @imm: constant, or offset in @space, which must be a multiple of @width
 *
 * Fields and flags that an operation does not use must be zero.
 */
struct shirq_op {
	__u8		code;
	__u8		dst;
	__u8		src;
	__u8		width;
	__u8		space;
	__u8		flags;
	__s16		skip;
	__aligned_u64	imm;
};

/**
 * enum shirq_program_kind - which program of a set
 * @SHIRQ_PROGRAM_IRQ: run in the interrupt; claims, and masks or acknowledges
 * @SHIRQ_PROGRAM_UNMASK: lets the device assert again
 * @SHIRQ_PROGRAM_RELEASE: leaves the device silent for good
 * @SHIRQ_PROGRAM_EXEC: one-shot program of SHIRQ_EXEC
 * @SHIRQ_PROGRAM_MASK: silences the device, for SHIRQ_MASK; optional
 */
enum shirq_program_kind {
	SHIRQ_PROGRAM_IRQ	= 0,
	SHIRQ_PROGRAM_UNMASK	= 1,
	SHIRQ_PROGRAM_RELEASE	= 2,
	SHIRQ_PROGRAM_EXEC	= 3,
	SHIRQ_PROGRAM_MASK	= 4,
};

/**
 * enum shirq_reason - why a program is refused
 * @SHIRQ_OK: it is accepted
 * @SHIRQ_REFUSED_EMPTY: the program has no operation
 * @SHIRQ_REFUSED_TOO_LONG: more than SHIRQ_MAX_OPS operations
 * @SHIRQ_REFUSED_CODE: no such operation
 * @SHIRQ_REFUSED_FLAGS: a flag that is unknown, or not allowed for this operation
 * @SHIRQ_REFUSED_UNUSED: a field that this operation does not use is not zero
 * @SHIRQ_REFUSED_REGISTER: no such register
 * @SHIRQ_REFUSED_WIDTH: the width is not 1, 2, 4 or 8
 * @SHIRQ_REFUSED_SPACE: no such space
 * @SHIRQ_REFUSED_NO_BAR: this device has no such BAR, or it is not assigned
 * @SHIRQ_REFUSED_ALIGNMENT: the offset is not a multiple of the width
 * @SHIRQ_REFUSED_BOUNDS: the access ends past the end of the space
 * @SHIRQ_REFUSED_WIDE: 8 bytes would not be one access in this space
 * @SHIRQ_REFUSED_CONFIG_WRITE: config space may only be written one byte wide
 *	at SHIRQ_CONFIG_DISINTX_OFFSET
 * @SHIRQ_REFUSED_UNDEFINED: a register, other than r4..r7, may be read before it is written
 * @SHIRQ_REFUSED_BACKWARD: skip is zero or negative
 * @SHIRQ_REFUSED_PAST_END: skip leads past the end of the program
 * @SHIRQ_REFUSED_UNREACHABLE: no path leads to this operation
 * @SHIRQ_REFUSED_NOT_IRQ: CLAIM or DECLINE outside the irq program
 * @SHIRQ_REFUSED_SECOND_CLAIM: CLAIM on a path that has already claimed
 * @SHIRQ_REFUSED_DECLINE_CLAIMED: DECLINE on a path that has already claimed
 * @SHIRQ_REFUSED_GONE_CLAIMED: SHIRQ_GONE_IF_ONES on a path that has already
 *	claimed
 * @SHIRQ_REFUSED_NO_CLAIM: the irq program never claims; the index is the
 *	number of its operations
 * @SHIRQ_REFUSED_ACCESSES: more than SHIRQ_MAX_IRQ_ACCESSES on some path of the irq
 *	program: it runs with interrupts off, and each read of a device that has
 *	just died may cost a completion timeout, commonly 50 ms
 */
enum shirq_reason {
	SHIRQ_OK			= 0,
	SHIRQ_REFUSED_EMPTY		= 1,
	SHIRQ_REFUSED_TOO_LONG		= 2,
	SHIRQ_REFUSED_CODE		= 3,
	SHIRQ_REFUSED_FLAGS		= 4,
	SHIRQ_REFUSED_UNUSED		= 5,
	SHIRQ_REFUSED_REGISTER		= 6,
	SHIRQ_REFUSED_WIDTH		= 7,
	SHIRQ_REFUSED_SPACE		= 8,
	SHIRQ_REFUSED_NO_BAR		= 9,
	SHIRQ_REFUSED_ALIGNMENT		= 10,
	SHIRQ_REFUSED_BOUNDS		= 11,
	SHIRQ_REFUSED_WIDE		= 12,
	SHIRQ_REFUSED_CONFIG_WRITE	= 13,
	SHIRQ_REFUSED_UNDEFINED		= 14,
	SHIRQ_REFUSED_BACKWARD		= 15,
	SHIRQ_REFUSED_PAST_END		= 16,
	SHIRQ_REFUSED_UNREACHABLE	= 17,
	SHIRQ_REFUSED_NOT_IRQ		= 18,
	SHIRQ_REFUSED_SECOND_CLAIM	= 19,
	SHIRQ_REFUSED_DECLINE_CLAIMED	= 20,
	SHIRQ_REFUSED_GONE_CLAIMED	= 21,
	SHIRQ_REFUSED_NO_CLAIM		= 22,
	SHIRQ_REFUSED_ACCESSES		= 23,
};

/**
 * enum shirq_event_type - the kind of an event
 * @SHIRQ_EVENT_IRQ: the device asserted the line and the irq program claimed it, or sent a
 *	message that its irq program, if there is one, claimed
 * @SHIRQ_EVENT_RESUMED: the system slept; the device is quiet until it is armed again
 * @SHIRQ_EVENT_QUARANTINED: the device was silenced because it stormed
 * @SHIRQ_EVENT_RESET: the device was reset
 * @SHIRQ_EVENT_GONE: never read: once the device is gone, read() fails with ENODEV, even
 *	if events are queued, and poll() reports POLLERR; the number is reserved
 * @SHIRQ_EVENT_LINE_OFF: the kernel has disabled the line, because nobody handled its
 *	interrupts ("nobody cared"). The device stays armed. The kernel polls a line that is
 *	shared every 100 ms: no interrupt is lost, but each comes up to 100 ms late. No
 *	interrupt comes on a line that is exclusive. SHIRQ_DISARM and SHIRQ_ARM, or another
 *	driver that registers a handler, revive the line
 * @SHIRQ_EVENT_LINE_ON: the line works again. LINE_OFF and LINE_ON unmask nothing when they
 *	are read, and are not queued if the queue is full
 *
 * Skip the types that you do not know.
 */
enum shirq_event_type {
	SHIRQ_EVENT_IRQ		= 1,
	SHIRQ_EVENT_RESUMED	= 2,
	SHIRQ_EVENT_QUARANTINED	= 3,
	SHIRQ_EVENT_RESET	= 4,
	SHIRQ_EVENT_GONE	= 5,
	SHIRQ_EVENT_LINE_OFF	= 6,
	SHIRQ_EVENT_LINE_ON	= 7,
};

/**
 * enum shirq_quarantine - flags of SHIRQ_EVENT_QUARANTINED: why
 * @SHIRQ_QUARANTINE_MASKED: the line kept interrupting, unhandled, while the device was
 *	masked, and the irq program claimed each time that it ran; r holds what it captured
 *	last
 * @SHIRQ_QUARANTINE_RATE: a device that acknowledges, or has a ring, claimed, or a message
 *	came, whatever its program said, faster than shirq_quiesce.max_rate; r holds what the
 *	last claim captured
 * @SHIRQ_QUARANTINE_DECLINED: the line kept interrupting, unhandled, the device's Interrupt
 *	Status said that it asserts, and the irq program declined: it does not look at all
 *	sources that can assert. A device without that bit, which is older than PCI 2.3, is
 *	never blamed so; r is zero
 * @SHIRQ_QUARANTINE_OTHER_LINE: Interrupt Status said that the armed device asserts, but its
 *	line was silent, while another line kept interrupting, unhandled: the platform says
 *	wrongly where the pin leads; r0 is the number of that line, r1 to r3 are zero
 */
enum shirq_quarantine {
	SHIRQ_QUARANTINE_MASKED	= 0x01,
	SHIRQ_QUARANTINE_RATE	= 0x02,
	SHIRQ_QUARANTINE_DECLINED	= 0x04,
	SHIRQ_QUARANTINE_OTHER_LINE	= 0x08,
};

/**
 * struct shirq_event - what read() returns, 64 bytes each
 * @size: bytes of this record, sizeof(struct shirq_event)
 * @type: enum shirq_event_type
 * @source: the IRQ source: 0 is INTx, from 1 a message; of other types than IRQ, 0
 * @flags: of QUARANTINED, enum shirq_quarantine; of others, zero
 * @seq: number of the claim, counted from 1 since open(), or since SHIRQ_SET_MESSAGES for
 *	each message; names the event to SHIRQ_UNMASK. SHIRQ_MASK uses up a number too.
 *	Events of other types than IRQ have the last number of source 0
 * @time_ns: nanoseconds of CLOCK_MONOTONIC in the interrupt handler, when it had found
 *	that the device may assert, and before the irq program masked it; of
 *	other types than IRQ, when the event was queued
 * @lost: interrupts that became no event, since SHIRQ_ARM: the queue was full, or
 *	SHIRQ_MASK held the interrupt back and a quarantine came
 * @r: r0..r3 at the claim; see QUARANTINED; of other types, zero
 *
 * read() returns as many whole events as are queued and fit, those of all sources in the
 * order of their times. While there is
 * none it blocks, if the device is armed, asleep or being reset. With
 * SHIRQ_ARM_AUTO_UNMASK it first unmasks the event that read() delivered last,
 * if the device is still masked for it; so a read() that is interrupted or
 * would block has unmasked nevertheless. poll() never unmasks: it says POLLIN
 * if an event is queued, POLLERR if read() would fail.
 *
 * Any number of threads may read. An event goes to one of them, and only the next
 * read() of that thread unmasks it: a read() of another thread leaves the device masked
 * and waits. If that thread has ended, any read() unmasks. If the threads of a driver
 * handle events in turn, arm without SHIRQ_ARM_AUTO_UNMASK and call SHIRQ_UNMASK.
 *
 * A READ of io_uring reads events too, whatever its offset, and counts as a read() of
 * the process's first thread. While no event is queued it occupies no thread. A second
 * READ that is in flight, or a multishot READ, unmasks as soon as the first has got its
 * event: arm without SHIRQ_ARM_AUTO_UNMASK for these. A WRITE of io_uring fails
 * with EINVAL.
 *
 * read() fails with
 *   EINVAL  the buffer is smaller than one event
 *   ENXIO   nothing is queued, and the device is not armed; also if it is disarmed
 *           during a blocked read(), or while a READ waits, unless it is armed again at once
 *   ENODEV  the device is gone; also if it goes during a blocked read()
 *   EBUSY   the device was armed with SHIRQ_ARM_RING
 *   EAGAIN  no event is queued, and the file is O_NONBLOCK
 *   EINTR   a signal came
 *   EFAULT  the buffer cannot be written; the event stays queued
 */
struct shirq_event {
	__u16		size;
	__u16		type;
	__u16		source;
	__u16		flags;
	__aligned_u64	seq;
	__aligned_u64	time_ns;
	__aligned_u64	lost;
	__aligned_u64	r[SHIRQ_EVENT_REGS];
};

/*
 * Calls. Every struct begins with its size: set it to sizeof(the struct you
 * compiled with) before each call; the kernel writes its own size there, and
 * nothing after the caller's struct. A struct longer than the kernel's is accepted
 * if the bytes that the kernel does not know are zero. Fields marked "out" are
 * ignored as input; reserved fields and unknown flags must be zero.
 *
 * Every call can fail with
 *   EFAULT  the struct, or what it points to, cannot be accessed
 *   EINVAL  the struct is shorter than its first version; a flag is unknown; a
 *           reserved field is not zero; there is no such source
 *   E2BIG   the struct is longer than the kernel's, and the rest is not zero
 *   ENODEV  the device is gone
 *   ENOTTY  the kernel does not know this call
 *
 * io_uring makes the same calls: IORING_OP_URING_CMD has the call in cmd_op, and the address
 * of its struct in the first 8 bytes of cmd. The struct must stay until the call has
 * completed. SHIRQ_UNMASK is made when it is submitted, the others in a worker.
 */
#define SHIRQ_IOCTL		0xE7
#define SHIRQ_GET_INFO		_IO(SHIRQ_IOCTL, 0x00)
#define SHIRQ_LOAD		_IO(SHIRQ_IOCTL, 0x01)
#define SHIRQ_ARM		_IO(SHIRQ_IOCTL, 0x02)
#define SHIRQ_DISARM		_IO(SHIRQ_IOCTL, 0x03)
#define SHIRQ_UNMASK		_IO(SHIRQ_IOCTL, 0x04)
#define SHIRQ_EXEC		_IO(SHIRQ_IOCTL, 0x05)
#define SHIRQ_SET_MASTER	_IO(SHIRQ_IOCTL, 0x06)
#define SHIRQ_MASK		_IO(SHIRQ_IOCTL, 0x07)
#define SHIRQ_SET_EVENTFD	_IO(SHIRQ_IOCTL, 0x08)
#define SHIRQ_SET_QUIESCE	_IO(SHIRQ_IOCTL, 0x09)
#define SHIRQ_SET_MESSAGES	_IO(SHIRQ_IOCTL, 0x0a)
#define SHIRQ_SET_UIO		_IO(SHIRQ_IOCTL, 0x0B)
#define SHIRQ_WAIT		_IO(SHIRQ_IOCTL, 0x0C)

/**
 * enum shirq_ring_state - whether events may still come into a ring
 * @SHIRQ_RING_DISARMED: the device is not armed, or was disarmed
 * @SHIRQ_RING_ARMED: it is armed; also while it is asleep or being reset, which ends with
 *	RESUMED or RESET
 * @SHIRQ_RING_RESUMED: stopped, as by SHIRQ_EVENT_RESUMED
 * @SHIRQ_RING_QUARANTINED: stopped, as by SHIRQ_EVENT_QUARANTINED
 * @SHIRQ_RING_RESET: stopped, as by SHIRQ_EVENT_RESET
 * @SHIRQ_RING_GONE: the device is gone
 */
enum shirq_ring_state {
	SHIRQ_RING_DISARMED	= 0,
	SHIRQ_RING_ARMED	= 1,
	SHIRQ_RING_RESUMED	= 2,
	SHIRQ_RING_QUARANTINED	= 3,
	SHIRQ_RING_RESET	= 4,
	SHIRQ_RING_GONE		= 5,
};

/**
 * struct shirq_ring - events without a system call; mapped at SHIRQ_MMAP_RING
 * @version: 1
 * @events: SHIRQ_RING_EVENTS
 * @store_bar: BAR of the register by which the owner may unmask
 * @store_width: bytes of that register, 4; 0: there is none
 * @store_offset: its offset
 * @store_value: what to write there, as a little-endian number
 * @head: number of events that were ever written, modulo 2^32: event n is in @event[n %
 *	SHIRQ_RING_EVENTS]
 * @state: enum shirq_ring_state
 * @reason: of SHIRQ_RING_QUARANTINED, enum shirq_quarantine; otherwise 0
 * @seq: number of the last claim, even if its event was lost, or of the last SHIRQ_MASK
 * @lost: as in struct shirq_event
 * @event: the events
 * @reserved: zero
 * @reserved1: zero
 * @reserved2: zero
 * @reserved3: zero
 *
 * A device that is armed with SHIRQ_ARM_RING writes its events here, for its owner to take
 * without a call: source 0 alone, messages are read. Load @head with acquire semantics; read the
 * events from your own tail up to it; store the new tail in struct shirq_consumer with release
 * semantics. To find out whether events may still come, load @state with acquire semantics
 * before @head: all events that were before the end are in the ring then. One thread at a time
 * consumes.
 *
 * The ring is full if the tail is SHIRQ_RING_EVENTS behind @head. Then interrupts are counted
 * in @lost, and a notice (RESUMED, QUARANTINED, RESET) is no event, but only a state. SHIRQ_DISARM
 * drops no event of a ring. An event is never changed while the tail has not passed it. SHIRQ_ARM
 * without SHIRQ_ARM_RING drops those that the owner has not taken, and so does SHIRQ_SET_MESSAGES
 * when it allocates messages: from then on events are read.
 *
 * Unmask by SHIRQ_UNMASK; or without a call if @store_width is not 0, which says that the
 * unmask program is a store of one constant to a register in a mapping: store the number of
 * the event in @unmasked of struct shirq_consumer; then, after a barrier that orders memory
 * before registers, store @store_value in the register. An interrupt that comes before the kernel
 * sees the number is left unhandled (IRQ_NONE), and comes again. A store does not undo SHIRQ_MASK:
 * unmask that by SHIRQ_UNMASK. The kernel counts the unmask when the next interrupt of the line
 * comes; until then it may report the device as masked.
 *
 * Without calls, nothing but shirq_quiesce.max_rate limits the rate of interrupts: with a ring it
 * holds for SHIRQ_MODE_MASKS too.
 *
 * The mapping must not be writable, and cannot become so. It stays valid when those of
 * registers are revoked. poll() and the eventfd work with a ring as with read(): poll() compares
 * @head with the tail that the owner has stored.
 */
struct shirq_ring {
	__u32		version;
	__u32		events;
	__u32		store_bar;
	__u32		store_width;
	__aligned_u64	store_offset;
	__u32		store_value;
	__u32		reserved;
	__u32		reserved1[8];
	__u32		head;
	__u32		state;
	__u32		reason;
	__u32		reserved2;
	__aligned_u64	seq;
	__aligned_u64	lost;
	__u8		reserved3[4000];
	struct shirq_event event[SHIRQ_RING_EVENTS];
};

/**
 * struct shirq_consumer - what the owner of a ring writes; mapped at SHIRQ_MMAP_CONSUMER
 * @tail: number of events that the owner has taken, modulo 2^32. SHIRQ_ARM sets it if the ring
 *	was not in use. A number that is more than SHIRQ_RING_EVENTS behind @head, or past it,
 *	is ignored
 * @unmasked: number of the event that the owner is about to unmask by a store. Any other
 *	number than that of the last claim is ignored
 * @reserved: not used
 */
struct shirq_consumer {
	__u32		tail;
	__u32		reserved;
	__aligned_u64	unmasked;
};

/**
 * struct shirq_wait - SHIRQ_WAIT: sleep until the ring has an event
 * @size: see above
 * @source: 0
 * @timeout_ns: nanoseconds to wait at most; 0: do not wait; more than 2^63 - 1: no limit
 * @tail: number of events that the caller has taken
 * @flags: zero
 *
 * Returns as soon as @head of the ring differs from @tail. No event that comes between the look
 * at @head and this call is missed. It unmasks nothing.
 *
 * Fails with
 *   ENXIO     the device is not armed with SHIRQ_ARM_RING, or is disarmed or stopped meanwhile
 *   ENODEV    the device is gone, or goes meanwhile
 *   EINTR     a signal came
 *   ETIMEDOUT no event came in time
 */
struct shirq_wait {
	__u32		size;
	__u32		source;
	__aligned_u64	timeout_ns;
	__u32		tail;
	__u32		flags;
};

/* struct shirq_bar.flags */
#define SHIRQ_BAR_MEMORY	0x01	/* memory BAR */
#define SHIRQ_BAR_PORT		0x02	/* port BAR */
#define SHIRQ_BAR_WIDE		0x04	/* programs may access 8 bytes at once */
#define SHIRQ_BAR_PREFETCH	0x08	/* prefetchable */
#define SHIRQ_BAR_MMAP		0x10	/* mmap() maps its whole pages */

/**
 * struct shirq_bar - one BAR of the device
 * @length: bytes; 0 if absent or not assigned
 * @flags: SHIRQ_BAR_*
 * @reserved: zero
 */
struct shirq_bar {
	__aligned_u64	length;
	__u32		flags;
	__u32		reserved;
};

/* struct shirq_info.features: what this kernel supports */
#define SHIRQ_FEATURE_INTX	0x01	/* source 0 of a device with an interrupt pin is INTx */
#define SHIRQ_FEATURE_NOTICES	0x02	/* RESUMED, RESET and QUARANTINED are sent */
#define SHIRQ_FEATURE_POSITIONAL	0x04	/* pread() and pwrite() reach registers */
#define SHIRQ_FEATURE_MASK	0x08	/* SHIRQ_MASK, and mask programs in SHIRQ_LOAD */
#define SHIRQ_FEATURE_EVENTFD	0x10	/* SHIRQ_SET_EVENTFD */
#define SHIRQ_FEATURE_BREAKER	0x20	/* storms end in quarantine; SHIRQ_SET_QUIESCE */
#define SHIRQ_FEATURE_IOMMU	0x40	/* SHIRQ_INFO_IOMMU and SHIRQ_INFO_PASSTHROUGH */
#define SHIRQ_FEATURE_LINE	0x80	/* LINE_OFF, LINE_ON, quarantine as DECLINED, OTHER_LINE */
#define SHIRQ_FEATURE_KEPT	0x100	/* r4..r7 are kept; shirq_info.lost */
#define SHIRQ_FEATURE_URING	0x200	/* io_uring reads events and makes calls */
#define SHIRQ_FEATURE_MESSAGES	0x400	/* SHIRQ_SET_MESSAGES; shirq_info.messages */
#define SHIRQ_FEATURE_UIO	0x800	/* SHIRQ_SET_UIO */
#define SHIRQ_FEATURE_RING	0x1000	/* SHIRQ_ARM_RING and SHIRQ_WAIT */

/* struct shirq_info.flags */
#define SHIRQ_INFO_DISINTX	0x01	/* the interrupt-disable bit of Command works */
#define SHIRQ_INFO_SHARED	0x02	/* the line has a neighbour; while armed: had one at ARM */
#define SHIRQ_INFO_MASTER	0x04	/* bus mastering is on */
#define SHIRQ_INFO_MASKED	0x08	/* masked for the last claim, or by SHIRQ_MASK */
#define SHIRQ_INFO_QUARANTINED	0x10	/* it stormed; SHIRQ_ARM or close() ends this */
#define SHIRQ_INFO_IOMMU	0x20	/* an IOMMU translates: see struct shirq_master */
#define SHIRQ_INFO_PASSTHROUGH	0x40	/* an IOMMU passes on all accesses of the device */
#define SHIRQ_INFO_LINE_OFF	0x80	/* the kernel has disabled the line: see LINE_OFF */

/**
 * enum shirq_state - the state of the device's owner
 * @SHIRQ_STATE_OPEN: no set is loaded
 * @SHIRQ_STATE_LOADED: a set is loaded, the interrupt is not requested
 * @SHIRQ_STATE_ARMED: interrupts become events
 */
enum shirq_state {
	SHIRQ_STATE_OPEN	= 0,
	SHIRQ_STATE_LOADED	= 1,
	SHIRQ_STATE_ARMED	= 2,
};

/**
 * struct shirq_info - SHIRQ_GET_INFO: about the device, the kernel and the state
 * @size: see above
 * @source: in: the source whose state is wanted; out: unchanged
 * @features: out: SHIRQ_FEATURE_*
 * @vendor: out: PCI vendor ID
 * @device: out: PCI device ID
 * @subsystem_vendor: out: PCI subsystem vendor ID
 * @subsystem_device: out: PCI subsystem ID
 * @class: out: PCI class code, 24 bits
 * @revision: out: PCI revision ID
 * @config_size: out: bytes of config space
 * @sources: out: number of IRQ sources: 1 more than messages are allocated; if none are,
 *	0 for a device without an INTx line
 * @irq: out: the number of the line, or of the message, in /proc/interrupts, 0 if there is
 *	none
 * @state: out: enum shirq_state of the source
 * @flags: out: SHIRQ_INFO_*
 * @events: out: events that the queue of a source holds at most
 * @bar: out: the BARs
 * @lost: out: interrupts that became no event, since SHIRQ_ARM; as in struct shirq_event,
 *	but known before another event is queued
 * @messages: out: messages that the device can have as sources; see SHIRQ_SET_MESSAGES
 * @reserved: out: zero
 *
 * The first version ended with @bar.
 */
struct shirq_info {
	__u32		size;
	__u32		source;
	__aligned_u64	features;
	__u16		vendor;
	__u16		device;
	__u16		subsystem_vendor;
	__u16		subsystem_device;
	__u32		class;
	__u32		revision;
	__u32		config_size;
	__u32		sources;
	__u32		irq;
	__u32		state;
	__u32		flags;
	__u32		events;
	struct shirq_bar bar[SHIRQ_BARS];
	__aligned_u64	lost;
	__u32		messages;
	__u32		reserved;
};

/**
 * enum shirq_mode - what the irq program does to the device
 * @SHIRQ_MODE_MASKS: it masks: the device stays silent until it is unmasked,
 *	and interrupts of the line come from neighbours meanwhile
 * @SHIRQ_MODE_ACKNOWLEDGES: it acknowledges: the device may assert again at
 *	once, and there is nothing to unmask
 */
enum shirq_mode {
	SHIRQ_MODE_MASKS	= 1,
	SHIRQ_MODE_ACKNOWLEDGES	= 2,
};

/**
 * struct shirq_load - SHIRQ_LOAD: verify and load a set of programs
 * @size: see above
 * @source: the IRQ source
 * @mode: enum shirq_mode
 * @flags: zero
 * @irq: address of the irq program's operations (struct shirq_op)
 * @unmask: address of the unmask program's operations; SHIRQ_ARM also enables the
 *	device by it; may be empty if the mode is SHIRQ_MODE_ACKNOWLEDGES
 * @release: address of the release program's operations
 * @irq_count: operations in the irq program
 * @unmask_count: operations in the unmask program
 * @release_count: operations in the release program
 * @error_program: out: enum shirq_program_kind that is refused
 * @error_index: out: its operation that is refused
 * @error_reason: out: enum shirq_reason; SHIRQ_OK if no program is refused
 * @mask: address of the mask program's operations; it is optional
 * @mask_count: operations in the mask program; 0 if there is none
 * @reserved: zero
 *
 * The first version ended with @error_reason.
 *
 * All programs are loaded, or none: a call that fails changes nothing.
 *
 * Fails with
 *   EPERM   without CAP_SYS_RAWIO
 *   EBUSY   armed
 *   EINVAL  a program is refused; or, with @error_reason zero, the mode is unknown
 *   ENXIO   source 0, and the device has no INTx line
 *   ENOMEM
 */
struct shirq_load {
	__u32		size;
	__u32		source;
	__u32		mode;
	__u32		flags;
	__aligned_u64	irq;
	__aligned_u64	unmask;
	__aligned_u64	release;
	__u32		irq_count;
	__u32		unmask_count;
	__u32		release_count;
	__u32		error_program;
	__u32		error_index;
	__u32		error_reason;
	__aligned_u64	mask;
	__u32		mask_count;
	__u32		reserved;
};

/* struct shirq_arm.flags: one of the first two */
#define SHIRQ_ARM_SHARED	0x01	/* neighbours may be on the line */
#define SHIRQ_ARM_EXCLUSIVE	0x02	/* no neighbour, now or later */
#define SHIRQ_ARM_AUTO_UNMASK	0x04	/* read() unmasks the event that it delivered last */
#define SHIRQ_ARM_RING		0x08	/* events go to struct shirq_ring; read() fails */

/**
 * struct shirq_arm - SHIRQ_ARM: request the interrupt, then run the unmask program
 * @size: see above
 * @source: the IRQ source
 * @flags: SHIRQ_ARM_*
 * @reserved: zero
 *
 * Nobody shares a message: to arm it, set neither SHARED nor EXCLUSIVE. It needs no set:
 * without one, each message becomes an event, whose r is zero.
 *
 * Fails with
 *   ENOEXEC  no set is loaded for source 0
 *   EALREADY armed
 *   EBUSY    source 0, while messages are allocated; exclusive on a line with a
 *            neighbour; or shared on a line that a neighbour holds exclusively, or with
 *            another trigger, or with ONESHOT if the kernel has no IRQF_COND_ONESHOT
 *   ENXIO    source 0, and the device has no INTx line
 *   EIO      the device is being reset
 *   EINVAL   neither or both of SHARED and EXCLUSIVE; one of them, or RING, for a message;
 *            RING and AUTO_UNMASK
 */
struct shirq_arm {
	__u32		size;
	__u32		source;
	__u32		flags;
	__u32		reserved;
};

/**
 * struct shirq_disarm - SHIRQ_DISARM: run the release program, free the interrupt
 * @size: see above
 * @source: the IRQ source
 * @flags: zero
 * @reserved: zero
 *
 * Queued events are dropped; the set stays loaded. A device that neither the release
 * program nor the interrupt-disable bit silences is quarantined: its event is queued
 * when this returns. Fails with ENXIO if not armed.
 *
 * DISARM of a message runs the release program of its own set, if there is one. It drops
 * the events of that source alone, and other messages stay armed.
 */
struct shirq_disarm {
	__u32		size;
	__u32		source;
	__u32		flags;
	__u32		reserved;
};

/**
 * struct shirq_unmask - SHIRQ_UNMASK: let the device assert again after an event
 * @size: see above
 * @source: the IRQ source
 * @seq: number of the event; if it is no longer the last claim, or already
 *	unmasked, the call does nothing and succeeds
 * @flags: zero
 * @reserved: zero
 *
 * Fails with ENXIO if not armed, with EINVAL if no claim had this number yet.
 */
struct shirq_unmask {
	__u32		size;
	__u32		source;
	__aligned_u64	seq;
	__u32		flags;
	__u32		reserved;
};

/* struct shirq_exec.flags */
#define SHIRQ_EXEC_KEPT		0x01	/* r4..r7 are those of the loaded set, in and out */

/**
 * struct shirq_exec - SHIRQ_EXEC: run a one-shot program, serialised with the irq program
 * @size: see above
 * @flags: SHIRQ_EXEC_KEPT or zero
 * @ops: address of the operations (struct shirq_op)
 * @count: operations
 * @error_index: out: the operation that is refused
 * @error_reason: out: enum shirq_reason; SHIRQ_OK if it ran
 * @reserved: zero
 * @regs: in: r0..r7 at the start; out: at the end; unchanged if it did not run
 *
 * With SHIRQ_EXEC_KEPT the program shares r4..r7 with the programs of the set: @regs has
 * them only as output. So the owner can change what the irq program has saved, before
 * the unmask program puts it back.
 *
 * Fails with
 *   EPERM   without CAP_SYS_RAWIO
 *   EINVAL  the program is refused
 *   ENOEXEC SHIRQ_EXEC_KEPT, and no set is loaded
 *   EIO     the device is quarantined or being reset
 *   ENODEV  also if a read with SHIRQ_GONE_IF_ONES returned all-ones
 *   ENOMEM
 */
struct shirq_exec {
	__u32		size;
	__u32		flags;
	__aligned_u64	ops;
	__u32		count;
	__u32		error_index;
	__u32		error_reason;
	__u32		reserved;
	__aligned_u64	regs[SHIRQ_REGS];
};

/**
 * struct shirq_master - SHIRQ_SET_MASTER: bus mastering on or off
 * @size: see above
 * @on: 1 or 0
 *
 * Bus mastering is off after bind. It goes off at close(), when the device is stopped
 * (see the top), and when the address space that switched it on ends, by exit or
 * exec: memory is freed before files are closed.
 *
 * Nothing is mapped for the device. Behind an IOMMU that translates
 * (SHIRQ_INFO_IOMMU) each access of the device to memory faults, although the call
 * succeeds. Without an IOMMU, or with SHIRQ_INFO_PASSTHROUGH, the device reaches all
 * of memory at physical addresses, so switching bus mastering on taints the kernel
 * (TAINT_USER, "U").
 *
 * Fails with
 *   EPERM       without CAP_SYS_RAWIO
 *   EIO         the device is quarantined or being reset
 *   EOPNOTSUPP  this kernel was built without CONFIG_MMU_NOTIFIER
 *   ENOMEM
 */
struct shirq_master {
	__u32		size;
	__u32		on;
};

/**
 * struct shirq_mask - SHIRQ_MASK: silence the device until it is unmasked
 * @size: see above
 * @source: the IRQ source
 * @seq: out: the number to pass to SHIRQ_UNMASK; earlier numbers are stale from now
 *	on: neither SHIRQ_UNMASK with one of them nor read() unmasks
 * @flags: zero
 * @reserved: zero
 *
 * Runs the mask program, or sets the interrupt-disable bit if none is loaded. For a message
 * without a mask program, the kernel disables the interrupt instead. Messages that come while
 * their source is masked, by SHIRQ_MASK or by the irq program, are handled as one when it is
 * unmasked.
 * Events that are queued stay queued. A second call replaces @seq: only the last
 * @seq unmasks. Unmasking clears the bit, if this call set it, and runs the unmask
 * program.
 *
 * There is one mask, and masks are not counted. A SHIRQ_MASK while an event is being
 * handled takes that event's mask over: unmasking @seq lets the device assert though
 * nobody has acknowledged the event, so it asserts for that event again. Threads that mask
 * independently of each other need a lock of their own, so that none unmasks too early.
 *
 * Fails with ENXIO if not armed, with EOPNOTSUPP if no mask program is loaded
 * and the device has no interrupt-disable bit.
 */
struct shirq_mask {
	__u32		size;
	__u32		source;
	__aligned_u64	seq;
	__u32		flags;
	__u32		reserved;
};

/**
 * struct shirq_eventfd - SHIRQ_SET_EVENTFD: signal events through an eventfd
 * @size: see above
 * @source: the IRQ source
 * @fd: an eventfd, which replaces the previous one; -1 for none
 * @flags: zero
 *
 * The eventfd's count grows by one for each event that is queued, and when the result
 * of read() changes in another way (disarmed, gone). Events are still read with read().
 * A message without an eventfd of its own uses that of source 0.
 *
 * Fails with EBADF, or with EINVAL if @fd is not an eventfd.
 */
struct shirq_eventfd {
	__u32		size;
	__u32		source;
	__s32		fd;
	__u32		flags;
};

/* struct shirq_quiesce.rungs and .release */
#define SHIRQ_QUIESCE_D3HOT	0x01	/* put the device to D3hot */
#define SHIRQ_QUIESCE_FLR	0x02	/* function-level reset */
#define SHIRQ_QUIESCE_BUS	0x04	/* secondary bus reset, if the device is alone on its bus */

#define SHIRQ_DEFAULT_RATE	50000	/* interrupts a second */

/**
 * struct shirq_quiesce - SHIRQ_SET_QUIESCE: the means by which the device may be silenced
 * @size: see above
 * @rungs: SHIRQ_QUIESCE_*: what a quarantine may use, in this order, when the
 *	release program and the interrupt-disable bit do not end the storm;
 *	open() sets SHIRQ_QUIESCE_D3HOT
 * @release: SHIRQ_QUIESCE_FLR: reset the device at close(); open() sets 0
 * @max_rate: claims a second at which a device of SHIRQ_MODE_ACKNOWLEDGES, or with a ring,
 *	counts as storming; 0 for SHIRQ_DEFAULT_RATE
 *
 * Fails with EPERM without CAP_SYS_RAWIO, with EINVAL for other bits.
 */
struct shirq_quiesce {
	__u32		size;
	__u32		rungs;
	__u32		release;
	__u32		max_rate;
};

/**
 * struct shirq_messages - SHIRQ_SET_MESSAGES: use the device's messages, MSI-X or MSI
 * @size: see above
 * @count: in: messages wanted, at most SHIRQ_MAX_MESSAGES; 0 frees them; out: messages
 *	allocated, which may be fewer, and become the sources from 1 on
 * @flags: zero
 * @reserved: zero
 *
 * A device that has MSI-X uses it, another one MSI. A message is a write to memory: it comes
 * only while bus mastering is on, see SHIRQ_SET_MASTER. While messages are allocated, the
 * device cannot use its line, and the interrupt-disable bit is set.
 *
 * Each source has its own set, queue, numbers, eventfd and mask, and is armed by itself. What
 * stops the device disarms all of them; they stay allocated, with their sets, until the call
 * with @count 0 or close().
 *
 * Freeing them runs the release programs of all sets. A device whose pin asserts then is
 * quarantined: its event is queued when this returns.
 *
 * Fails with
 *   EPERM   without CAP_SYS_RAWIO
 *   EBUSY   a source is armed; or messages are allocated, and @count is not 0
 *   ENXIO   the device has no messages
 *   EINVAL  @count is greater than SHIRQ_MAX_MESSAGES
 *   ENOSPC  the kernel has no interrupt left, or uses no messages
 *   EIO     the device is quarantined or being reset
 *   ENOMEM
 */
struct shirq_messages {
	__u32		size;
	__u32		count;
	__u32		flags;
	__u32		reserved;
};

/* struct shirq_uio.flags */
#define SHIRQ_UIO_OFF		0x01	/* take the face away; alone, and the names are ignored */
#define SHIRQ_UIO_UNMASK_BY_READ	0x02	/* a read() that waits unmasks */

#define SHIRQ_UIO_NAME		64	/* bytes of a name, with the zero at its end */

/**
 * struct shirq_uio - SHIRQ_SET_UIO: give the device a second face, /dev/uioN of the UIO core
 * @size: see above
 * @flags: SHIRQ_UIO_*
 * @number: out: N of /dev/uioN
 * @reserved: zero
 * @name: name in /sys/class/uio/uioN/name, which UIO programs look for; not empty
 * @version: in /sys/class/uio/uioN/version; not empty
 *
 * The face keeps a copy of the loaded set and of the settings of SHIRQ_SET_QUIESCE, and stays
 * until it is taken away, or the device is unbound. The device has one owner at a time: while
 * this file is open, open(/dev/uioN) fails with EBUSY, and while /dev/uioN is open,
 * open(/dev/shirq/<PCI address>) does. Any number of files may be open on /dev/uioN, all of
 * the same node; another node with the same number is EBUSY.
 *
 * The first open() wakes the device, loads the set and arms the device, shared; it fails with
 * the errno of open() at the top, or of SHIRQ_ARM. Needs no capability. When the last
 * reference to the last file goes, the device is released as at the top. On an open file
 *
 *   read() of 4 bytes waits until the count of interrupts differs from the one that this file
 *	has read last, and returns it; /sys/class/uio/uioN/event has the same count. poll() says
 *	POLLIN then.
 *   write() of 4 bytes, a number: zero masks, as SHIRQ_MASK does, and fails with EOPNOTSUPP as
 *	that does, unless the device is masked anyway; any other number unmasks. An unmasked
 *	device stays so.
 *   mmap() at page N maps BAR N: /sys/class/uio/uioN/maps/mapN. The UIO core knows five maps: a
 *	memory BAR 5 is not among them. A number without a BAR that can be mapped (absent, a
 *	port BAR, smaller than a page that it shares with another device) is a map of size
 *	0x1000 at address 0 whose mmap() fails with EINVAL. Port BARs are in portio, in their
 *	order, named by their numbers.
 *
 * With SHIRQ_UIO_UNMASK_BY_READ a read() that waits for the next interrupt unmasks too, for
 * programs that never write. It does so at the latest when it has waited for an eighth of the
 * time since the interrupt, but for 50 microseconds at least and 10 ms at most. A read() that
 * need not wait, a read() of an O_NONBLOCK file, and poll() unmask nothing.
 *
 * When the device is stopped (see the top; sysfs has the reason) or gone, the count grows by
 * one, and from then on read(), write() and poll() fail with EIO, mmap() with EIO or ENODEV,
 * and mappings get SIGBUS, until the last file is closed. The next open() arms anew.
 * After unbind the files stay dead: read(), poll() EIO, write(), mmap() EINVAL or EIO.
 *
 * Fails with
 *   EPERM       without CAP_SYS_RAWIO
 *   EINVAL      a name is empty or has no end; SHIRQ_UIO_OFF with another flag
 *   ENOEXEC     no set is loaded
 *   EEXIST      the device has a face
 *   ENOENT      SHIRQ_UIO_OFF, and the device has none
 *   EOPNOTSUPP  the kernel has no UIO core, and cannot load uio.ko
 *   ENOMEM
 */
struct shirq_uio {
	__u32		size;
	__u32		flags;
	__u32		number;
	__u32		reserved;
	char		name[SHIRQ_UIO_NAME];
	char		version[SHIRQ_UIO_NAME];
};

#endif /* _UAPI_SHIRQ_H */
