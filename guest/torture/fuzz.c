// SPDX-License-Identifier: MIT
/*
 * shirq-fuzz: makes calls on one owned device, from several threads, with arguments
 * that are nearly right.
 *
 * If the kernel has KCOV, each thread keeps the calls that reached code of shirq.ko
 * that this thread had not reached before, and tries mutations of them. A thread's
 * choices then depend on its seed and on the coverage. With --blind, or without KCOV,
 * they depend only on the seed.
 *
 * After every call the program checks that the kernel wrote only inside the caller's
 * struct, that no written word looks like a kernel address, and that calls that need
 * CAP_SYS_RAWIO were refused without it. The event log shows whether only this device
 * was accessed.
 */
#define _GNU_SOURCE
#include "torture.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/kcov.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "../drivers/edu-set.h"

#define THREADS		4
#define CORPUS		512
#define OPS		10	/* operations of a generated program, at most */
#define ROOM		512	/* the largest struct of a call, and more */
#define COVER		(64 << 10)
#define SEEN_BITS	16
#define BAR_SIZE	4096u	/* of BAR 0; the device has no other */

enum kind {
	GET_INFO, LOAD, ARM, DISARM, UNMASK, EXEC, MASTER, MASK, EVENTFD, QUIESCE, MESSAGES, UIO, WAIT,
	ANY_IOCTL, READ, READV, WRITE, PREAD, PWRITE, MMAP, POLL, BLOCK, REOPEN, KINDS
};

static const char *const names[KINDS] = {
	"info", "load", "arm", "disarm", "unmask", "exec", "master", "mask", "eventfd", "quiesce", "messages",
	"uio", "wait",
	"ioctl", "read", "readv", "write", "pread", "pwrite", "mmap", "poll", "block", "reopen",
};

static const struct {
	unsigned int number;
	uint32_t size;
	bool rawio;
} calls[] = {
	[GET_INFO] = { SHIRQ_GET_INFO, sizeof(struct shirq_info), false },
	[LOAD] = { SHIRQ_LOAD, sizeof(struct shirq_load), true },
	[ARM] = { SHIRQ_ARM, sizeof(struct shirq_arm), false },
	[DISARM] = { SHIRQ_DISARM, sizeof(struct shirq_disarm), false },
	[UNMASK] = { SHIRQ_UNMASK, sizeof(struct shirq_unmask), false },
	[EXEC] = { SHIRQ_EXEC, sizeof(struct shirq_exec), true },
	[MASTER] = { SHIRQ_SET_MASTER, sizeof(struct shirq_master), true },
	[MASK] = { SHIRQ_MASK, sizeof(struct shirq_mask), false },
	[EVENTFD] = { SHIRQ_SET_EVENTFD, sizeof(struct shirq_eventfd), false },
	[QUIESCE] = { SHIRQ_SET_QUIESCE, sizeof(struct shirq_quiesce), true },
	[MESSAGES] = { SHIRQ_SET_MESSAGES, sizeof(struct shirq_messages), true },
	[UIO] = { SHIRQ_SET_UIO, sizeof(struct shirq_uio), true },
	[WAIT] = { SHIRQ_WAIT, sizeof(struct shirq_wait), false },
};

/* One generated call: a struct, and three programs that it may point to. */
struct call {
	enum kind kind;
	union {
		struct shirq_info info;
		struct shirq_load load;
		struct shirq_arm arm;
		struct shirq_disarm disarm;
		struct shirq_unmask unmask;
		struct shirq_exec exec;
		struct shirq_master master;
		struct shirq_mask mask;
		struct shirq_eventfd eventfd;
		struct shirq_uio uio;
		struct shirq_quiesce quiesce;
		struct shirq_messages messages;
		struct shirq_wait wait;
		uint32_t word[ROOM / 4];
		unsigned char byte[ROOM];
	};
	struct shirq_op op[4][OPS];
	unsigned int stray;	/* one bit for each pointer that points to no program */
	uint64_t buffer;	/* a bad address for the kernel to read or write; 0: a good one */
	/* For calls that are not ioctls. */
	uint64_t offset, length;
};

struct tormentor {
	unsigned int number;
	struct choices choices;
	pthread_t thread;
	struct call corpus[CORPUS];
	size_t kept;
	uint64_t made;		/* read by the watchdog */
	unsigned long *cover;	/* NULL without KCOV */
	int kcov;		/* kept open: closing it would end the coverage recording */
	uint8_t seen[1 << SEEN_BITS];
	unsigned int places;
	unsigned int kinds[KINDS];
	sigjmp_buf fault;
	bool mapped;		/* the thread is accessing a mapping, which may fault */
};

static const char *address;
static int device = -1;
static int an_eventfd;
static uint64_t edge;		/* address after which nothing is mapped */
static unsigned long long each;
static bool privileged = true, blind;
static unsigned long text_start, text_end;
static __thread struct tormentor *me;

/* Structs that are nearly right */

static const uint64_t odd[] = {
	0, 1, 2, 3, 4, 5, 7, 8, 15, 16, 63, 64, 65, 127, 128, 255, 256, 4095, 4096, 4097,
	0x7fff, 0x8000, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xffffffff,
};

static uint64_t some(struct choices *from)
{
	uint64_t choice = draw(from);

	if (choice & 1)
		return odd[(choice >> 1) % COUNT(odd)];
	return (choice >> 1) & 0xffffffff;
}

/*
 * Addresses that are unmapped, belong to the kernel, or lie just before the end
 * of a mapping.
 */
static uint64_t stray_pointer(struct choices *from)
{
	static const uint64_t strays[] = {
		0, 1, 4095, 0x7fffffffeff8, 0x7ffffffff000, 0x800000000000,
		0xffff888000000000, 0xffffffff81000000, 0xfffffffffffffff8,
	};

	return strays[below(from, COUNT(strays))];
}

/*
 * Return a random operation. Constants have 32 bits and left shifts are small, so that
 * no result looks like a kernel address: a leaked address can then be recognised. No
 * operation writes config space, because an owner that clears DisINTx before it arms
 * can start a storm on a line without a handler, which is a known limitation
 * (kmod/SECURITY.md).
 */
static struct shirq_op some_op(struct choices *from)
{
	static const uint8_t widths[] = { 1, 2, 4, 4, 4, 8, 3 };
	static const uint16_t registers[] = {
		ID, LIVENESS, INT_STATUS, INT_MASK, INT_ACTIVE, INT_RAISE, INT_ACK,
		INT_MASK_SET, INT_MASK_CLEAR, MARK, 0xffc, 0x1000,
	};
	struct shirq_op op = { .code = 1 + below(from, 13) };

	switch (op.code) {
	case SHIRQ_OP_READ:
	case SHIRQ_OP_WRITE:
		op.width = widths[below(from, COUNT(widths))];
		op.space = below(from, 8) ? 0 : below(from, 9);
		op.imm = below(from, 8) ? registers[below(from, COUNT(registers))] : draw(from);
		op.flags = below(from, 4) ? 0 : below(from, 8);
		if (op.code == SHIRQ_OP_WRITE && op.space == SHIRQ_SPACE_CONFIG)
			op.space = 0;
		break;
	case SHIRQ_OP_SHL:
		op.imm = below(from, 2);
		break;
	case SHIRQ_OP_SKIP_Z:
	case SHIRQ_OP_SKIP_NZ:
		op.skip = below(from, 8) ? 1 + below(from, 3) : some(from);
		break;
	case SHIRQ_OP_CLAIM:
	case SHIRQ_OP_DECLINE:
		return op;
	default:
		op.imm = some(from);
		op.flags = below(from, 2) && op.code != SHIRQ_OP_ADD ? SHIRQ_SRC_REG : 0;
		if (op.flags)
			op.imm = 0;
	}
	op.dst = below(from, 16) ? below(from, SHIRQ_REGS) : some(from);
	op.src = below(from, 16) ? below(from, SHIRQ_REGS) : some(from);
	/*
	 * Clear the fields that the operation does not use, as the verifier requires,
	 * but not in every 16th case.
	 */
	if (below(from, 16)) {
		if (op.code == SHIRQ_OP_WRITE || op.code == SHIRQ_OP_SKIP_Z || op.code == SHIRQ_OP_SKIP_NZ)
			op.dst = 0;
		else if (!(op.flags & SHIRQ_SRC_REG) || op.code == SHIRQ_OP_READ)
			op.src = 0;
	}
	return op;
}

static void copy_ops(struct shirq_op *to, const struct shirq_op *from, size_t count)
{
	memcpy(to, from, count * sizeof(*to));
}

/* Who takes the events: read() without and with auto-unmask, or the owner from the ring. */
static const uint32_t takers[] = { 0, SHIRQ_ARM_AUTO_UNMASK, SHIRQ_ARM_RING };
/* What can be mapped, beside the other BARs and the like, which cannot. */
static const unsigned int mapped[] = { 0, SHIRQ_MMAP_RING, SHIRQ_MMAP_CONSUMER };

/* A valid call of this kind. */
static void begin(struct call *call, enum kind kind, struct choices *from)
{
	memset(call, 0, sizeof(*call));
	call->kind = kind;
	if (kind < ANY_IOCTL)
		call->word[0] = calls[kind].size;
	call->offset = below(from, 0x80) & ~3ull;
	call->length = 4;
	switch (kind) {
	case LOAD:
		call->load.source = below(from, 2);
		call->load.mode = SHIRQ_MODE_MASKS;
		copy_ops(call->op[0], edu_irq, COUNT(edu_irq));
		copy_ops(call->op[1], edu_unmask, COUNT(edu_unmask));
		copy_ops(call->op[2], edu_release, COUNT(edu_release));
		call->load.irq_count = COUNT(edu_irq);
		call->load.unmask_count = COUNT(edu_unmask);
		call->load.release_count = COUNT(edu_release);
		break;
	case ARM:
		call->arm.source = below(from, 2);
		call->arm.flags = (call->arm.source ? 0 : SHIRQ_ARM_SHARED) | takers[below(from, COUNT(takers))];
		break;
	case DISARM:
	case MASK:
	case GET_INFO:
		/* The second field of each of these structs. */
		call->word[1] = below(from, 2);
		break;
	case MESSAGES:
		call->messages.count = below(from, 3);
		break;
	case UNMASK:
		call->unmask.source = below(from, 2);
		call->unmask.seq = below(from, 64);
		break;
	case EXEC:
		copy_ops(call->op[0], edu_release, COUNT(edu_release));
		call->exec.count = COUNT(edu_release);
		break;
	case MASTER:
		call->master.on = below(from, 2);
		break;
	case EVENTFD:
		call->eventfd.source = below(from, 2);
		call->eventfd.fd = below(from, 2) ? an_eventfd : -1;
		break;
	case UIO:
		call->uio.flags = below(from, 2) ? SHIRQ_UIO_OFF : 0;
		strcpy(call->uio.name, "fuzz");
		strcpy(call->uio.version, "1");
		break;
	case ANY_IOCTL:
		call->length = below(from, 2) ? _IO(SHIRQ_IOCTL, below(from, 256)) : draw(from);
		break;
	case READ:
	case READV:
		call->length = sizeof(struct shirq_event) * (1 + below(from, 4));
		break;
	case WAIT:
		call->wait.timeout_ns = below(from, 1000);
		call->wait.tail = below(from, 64);
		break;
	case MMAP:
		call->offset = SHIRQ_MMAP_OFFSET(mapped[below(from, COUNT(mapped))]);
		call->length = BAR_SIZE;
		call->word[1] = below(from, 2);
		break;
	default:
		break;
	}
}

static __u64 *pointer_of(struct call *call, unsigned int program)
{
	__u64 *pointers[] = {
		&call->load.irq, &call->load.unmask, &call->load.release, &call->load.mask,
	};

	return call->kind == EXEC ? &call->exec.ops : pointers[program];
}

static uint32_t *count_of(struct call *call, unsigned int program)
{
	uint32_t *counts[] = {
		&call->load.irq_count, &call->load.unmask_count,
		&call->load.release_count, &call->load.mask_count,
	};

	return call->kind == EXEC ? &call->exec.count : counts[program];
}

/* Change one property of a call. */
static void change(struct call *call, struct choices *from)
{
	unsigned int program = call->kind == EXEC ? 0 : below(from, 4);
	bool programs = call->kind == LOAD || call->kind == EXEC;

	switch (below(from, programs ? 10 : 4)) {
	case 0:	/* a size */
		call->word[0] = below(from, 2) ? below(from, ROOM + 1) : some(from);
		if (call->kind >= ANY_IOCTL)
			call->length = below(from, 2) ? below(from, ROOM + 1) : some(from);
		break;
	case 1:	/* a field */
		call->word[below(from, 32)] = some(from);
		call->offset = below(from, 2) ? some(from) :
			       SHIRQ_MMAP_OFFSET(below(from, 8)) + some(from);
		break;
	case 2:	/* a bit of a field */
		call->byte[below(from, 128)] ^= 1u << below(from, 8);
		call->length ^= 1ull << below(from, 13);
		break;
	case 3:	/* a pointer */
		if (programs && below(from, 2)) {
			call->stray ^= 1u << program;
			*pointer_of(call, program) = stray_pointer(from);
		} else if (below(from, 2)) {
			call->buffer = below(from, 2) ? stray_pointer(from) : edge - below(from, 64);
		} else {
			call->buffer = 0;
		}
		break;
	case 4:
		*count_of(call, program) = below(from, 4) ? below(from, OPS + 1) : some(from);
		break;
	default:
		call->op[program][below(from, OPS)] = some_op(from);
		if (!*count_of(call, program))
			*count_of(call, program) = 1 + below(from, OPS);
	}
}

static void choose(struct tormentor *t, struct call *call)
{
	unsigned int changes = below(&t->choices, 4);

	if (t->kept && below(&t->choices, 2))
		*call = t->corpus[below(&t->choices, t->kept)];
	else
		begin(call, below(&t->choices, KINDS), &t->choices);
	while (changes--)
		change(call, &t->choices);
}

/* Checks of the data that the kernel returned */

/*
 * Return whether a word looks like a kernel address, or is the poison that the
 * allocator writes with slub_debug=P,kmalloc-*.
 */
static bool alien(uint64_t word)
{
	return (word >> 48 == 0xffff && word < -4096ull) || word == 0x6b6b6b6b6b6b6b6b ||
	       word == 0x5a5a5a5a5a5a5a5a;
}

static void look_at_answer(struct tormentor *t, const struct call *call, const unsigned char *before,
			   const unsigned char *after, size_t written)
{
	uint64_t was, is;
	size_t at;

	if (memcmp(before + written, after + written, ROOM - written))
		fail(t->made, "%s wrote past the end of the caller's %zu bytes", names[call->kind], written);
	for (at = 0; at + 8 <= written; at += 8) {
		memcpy(&was, before + at, 8);
		memcpy(&is, after + at, 8);
		/* If the upper half did not change, the caller wrote it: this is no leak. */
		if ((was ^ is) >> 32 && alien(is))
			fail(t->made, "%s returned %#llx, which looks like kernel memory, at offset %zu", names[call->kind],
			     (unsigned long long)is, at);
	}
}

static void look_at_result(struct tormentor *t, const struct call *call, int result)
{
	bool good = !call->buffer && call->kind != LOAD && call->kind != EXEC;

	if (!result && !privileged && calls[call->kind].rawio)
		fail(t->made, "%s was allowed without CAP_SYS_RAWIO", names[call->kind]);
	if (result && errno == EFAULT && good)
		fail(t->made, "%s failed with EFAULT for a good struct", names[call->kind]);
}

/* Calls */

static void *place_of(const struct call *call, void *good)
{
	return call->buffer ? (void *)(uintptr_t)call->buffer : good;
}

static void struct_call(struct tormentor *t, const struct call *call)
{
	/* Large enough for a size of up to a page, which the kernel accepts. */
	static __thread unsigned char given[ROOM], space[ROOM + 4096];
	uint32_t size = call->word[0];
	unsigned int program, programs = call->kind == LOAD ? 4 : call->kind == EXEC;
	struct call own = *call;
	int result, i;

	for (program = 0; program < programs; program++)
		if (!(call->stray & 1u << program))
			*pointer_of(&own, program) = (uintptr_t)own.op[program];
	/* Keep the registers below 32 bits: see some_op(). */
	for (i = 0; call->kind == EXEC && i < SHIRQ_REGS; i++)
		own.exec.regs[i] &= 0xffffffff;
	/* Wait a millisecond at most: nobody may be left to end the wait. */
	if (call->kind == WAIT)
		own.wait.timeout_ns &= 0xfffff;
	memcpy(given, own.byte, ROOM);
	memcpy(space, own.byte, ROOM);
	result = ioctl(device, calls[call->kind].number, place_of(call, space));
	look_at_result(t, call, result);
	if (size > calls[call->kind].size)
		size = calls[call->kind].size;
	look_at_answer(t, call, given, space, size);
}

static void read_call(struct tormentor *t, const struct call *call)
{
	static __thread unsigned char given[ROOM], space[ROOM];
	size_t length = call->length > ROOM ? ROOM : call->length;
	struct iovec parts[2] = { { space, length / 2 }, { space + length / 2, length - length / 2 } };
	ssize_t got;

	memset(given, 0x11, ROOM);
	memset(space, 0x11, ROOM);
	if (call->kind == READV) {
		parts[1].iov_base = place_of(call, parts[1].iov_base);
		got = readv(device, parts, 2);
	} else {
		got = read(device, place_of(call, space), length);
	}
	look_at_answer(t, call, given, space, got < 0 ? 0 : got);
}

/*
 * Only aligned accesses of one whole register of BAR 0, the only BAR, may succeed; success of any
 * other access is a failure.
 */
static void positional(struct tormentor *t, const struct call *call)
{
	size_t length = call->length > ROOM ? ROOM : call->length;
	unsigned char given[ROOM], space[ROOM];
	ssize_t done;

	memset(given, 0x22, ROOM);
	memcpy(space, call->kind == PWRITE ? call->byte : given, ROOM);
	if (call->kind == PWRITE)
		done = pwrite(device, place_of(call, space), length, call->offset);
	else
		done = pread(device, place_of(call, space), length, call->offset);
	if (done >= 0 && ((length != 1 && length != 2 && length != 4 && length != 8) || done != (ssize_t)length ||
			  call->offset % length || call->offset > BAR_SIZE - length))
		fail(t->made, "%s of %zu bytes at %#llx gave %zd", names[call->kind], length,
		     (unsigned long long)call->offset, done);
	if (call->kind == PREAD)
		look_at_answer(t, call, given, space, done < 0 ? 0 : done);
}

static void on_fault(int number)
{
	if (!me || !me->mapped)
		signal(number, SIG_DFL);
	else
		siglongjmp(me->fault, 1);
}

/* Return how many bytes may be mapped at this offset. */
static size_t mappable(uint64_t offset, bool writable)
{
	uint64_t inside = offset & (SHIRQ_MMAP_OFFSET(1) - 1);
	size_t size = 0;

	switch (offset >> SHIRQ_MMAP_SHIFT) {
	case 0:
		size = BAR_SIZE;
		break;
	case SHIRQ_MMAP_RING:
		size = writable ? 0 : sizeof(struct shirq_ring);
		break;
	case SHIRQ_MMAP_CONSUMER:
		size = 4096;
		break;
	}
	return inside < size ? size - inside : 0;
}

/*
 * Map the BAR or the ring and access it. A mapping may cover only these; an access faults
 * only if the mapping was revoked.
 */
static void map_call(struct tormentor *t, const struct call *call)
{
	int protection = call->word[1] & 1 ? PROT_READ : PROT_READ | PROT_WRITE;
	int flags = call->word[2] & 8 ? MAP_PRIVATE : MAP_SHARED;
	size_t length = call->length & 0xffffffff;
	uint64_t offset = call->offset & ~4095ull;
	char *at = mmap(NULL, length, protection, flags, device, offset);

	if (at == MAP_FAILED)
		return;
	if (length > mappable(offset, protection & PROT_WRITE) || flags != MAP_SHARED)
		fail(t->made, "a %s, %s mapping of %zu bytes at %#llx was allowed",
		     flags == MAP_SHARED ? "shared" : "private", protection & PROT_WRITE ? "writable" : "read-only",
		     length, (unsigned long long)offset);
	t->mapped = true;
	if (!sigsetjmp(t->fault, 1)) {
		(void)*(volatile uint32_t *)(at + INT_STATUS);
		if (protection & PROT_WRITE && offset)
			*(volatile struct shirq_consumer *)at = (struct shirq_consumer) {
				.tail = call->word[3], .unmasked = call->word[4],
			};
		else if (protection & PROT_WRITE)
			*(volatile uint32_t *)(at + LIVENESS) = call->word[3];
	}
	t->mapped = false;
	munmap(at, length);
}

static void reopen(void)
{
	struct shirq_programs programs = EDU_SET;
	int before = device, next;

	/*
	 * Without CAP_SYS_RAWIO no set can be loaded, and a device without a set would refuse
	 * nearly every call.
	 */
	if (!privileged)
		return;
	/*
	 * Another thread may be in a call: the file is then closed when the call returns, and
	 * opening fails until then.
	 */
	device = -1;
	close(before);
	while ((next = shirq_open(address)) < 0 && errno == EBUSY)
		pass_time(100);
	if (next < 0)
		err(1, "opening %s again", address);
	shirq_load(next, &programs);
	device = next;
}

static void make(struct tormentor *t, const struct call *call)
{
	struct pollfd ready = { .fd = device, .events = call->word[1] };

	switch (call->kind) {
	case ANY_IOCTL:
		ioctl(device, call->length, call->offset);
		break;
	case READ:
	case READV:
		read_call(t, call);
		break;
	case WRITE:
		if (write(device, call->byte, call->length > ROOM ? ROOM : call->length) >= 0)
			fail(t->made, "write() succeeded, and must fail with EINVAL");
		break;
	case PREAD:
	case PWRITE:
		positional(t, call);
		break;
	case MMAP:
		map_call(t, call);
		break;
	case POLL:
		poll(&ready, 1, call->word[2] & 1);
		break;
	case BLOCK:
		fcntl(device, F_SETFL, call->word[1] & 1 ? O_NONBLOCK : 0);
		break;
	case REOPEN:
		if (!t->number && call->word[1] % 8 == 0)
			reopen();
		break;
	default:
		struct_call(t, call);
	}
}

/* Guidance */

/*
 * Open KCOV's file. Call this before the process drops its rights: an unprivileged user
 * may not open the file.
 */
static void prepare_cover(struct tormentor *t)
{
	t->kcov = open("/sys/kernel/debug/kcov", O_RDWR | O_CLOEXEC);
	if (t->kcov < 0 || ioctl(t->kcov, KCOV_INIT_TRACE, COVER))
		err(1, "kcov");
	t->cover = mmap(NULL, COVER * sizeof(*t->cover), PROT_READ | PROT_WRITE, MAP_SHARED, t->kcov, 0);
	if (t->cover == MAP_FAILED)
		err(1, "kcov");
}

/*
 * Return whether the call reached code of the module that is new to this
 * thread.
 */
static bool news(struct tormentor *t)
{
	unsigned long count = __atomic_load_n(&t->cover[0], __ATOMIC_RELAXED), i;
	bool found = false;

	for (i = 1; i <= count && i < COVER; i++) {
		unsigned long place = t->cover[i];
		uint32_t hash;

		if (place < text_start || place >= text_end)
			continue;
		hash = (uint32_t)(place - text_start) & ((1 << SEEN_BITS) - 1);
		if (!t->seen[hash]) {
			t->seen[hash] = 1;
			t->places++;
			found = true;
		}
	}
	return found;
}

static void *torment(void *argument)
{
	struct tormentor *t = argument;
	struct call call;

	me = t;
	if (t->cover && ioctl(t->kcov, KCOV_ENABLE, KCOV_TRACE_PC))
		err(1, "kcov");
	for (t->made = 0; t->made < each; __atomic_add_fetch(&t->made, 1, __ATOMIC_RELAXED)) {
		choose(t, &call);
		t->kinds[call.kind]++;
		if (t->cover)
			__atomic_store_n(&t->cover[0], 0, __ATOMIC_RELAXED);
		make(t, &call);
		if (t->cover && news(t) && !blind)
			t->corpus[t->kept < CORPUS ? t->kept++ : below(&t->choices, CORPUS)] = call;
	}
	return NULL;
}

/* Find the addresses of shirq.ko, which the kernel hides from unprivileged users. */
static void find_module(void)
{
	char line[512];
	FILE *modules = fopen("/proc/modules", "re");
	unsigned long size, start;

	if (!modules)
		err(1, "/proc/modules");
	while (fgets(line, sizeof(line), modules))
		if (sscanf(line, "shirq %lu %*d %*s %*s 0x%lx", &size, &start) == 2 && start) {
			text_start = start;
			text_end = start + size;
		}
	fclose(modules);
	if (access("/sys/kernel/debug/kcov", R_OK | W_OK))
		text_end = 0;
}

static void on_wake(int number)
{
	(void)number;
}

/* Drop CAP_SYS_RAWIO, which the module checks; become_nobody() drops all capabilities. */
static void drop_capability(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &header, data))
		err(1, "capget");
	data[0].effective &= ~(1u << CAP_SYS_RAWIO);
	data[0].permitted &= ~(1u << CAP_SYS_RAWIO);
	if (syscall(SYS_capset, &header, data))
		err(1, "capset");
	privileged = false;
}

static void become_nobody(void)
{
	if (setgroups(0, NULL) || setgid(65534) || setuid(65534))
		err(1, "becoming another user");
	privileged = false;
}

/* Interrupt a blocked call if its thread has made no call for a while. */
static void watch(struct tormentor *all)
{
	uint64_t last[THREADS] = { 0 }, made;
	unsigned int running, n, rounds = 0;
	uint64_t sum, said = 0;

	do {
		pass_time(3000);
		running = 0;
		sum = 0;
		for (n = 0; n < THREADS; n++) {
			made = __atomic_load_n(&all[n].made, __ATOMIC_RELAXED);
			running += made < each;
			if (made == last[n] && made < each)
				pthread_kill(all[n].thread, SIGUSR1);
			last[n] = made;
			sum += made;
		}
		/*
		 * Print only if there was progress, because the host regards missing
		 * output as a hang.
		 */
		if (++rounds % 300 == 0 && sum != said) {
			printf("at %llu\n", (unsigned long long)sum);
			fflush(stdout);
			said = sum;
		}
	} while (running);
}

/* The end of a page that is followed by an unmapped page. */
static uint64_t unmapped_edge(void)
{
	char *pages = mmap(NULL, 2 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (pages == MAP_FAILED || mprotect(pages + 4096, 4096, PROT_NONE))
		err(1, "mapping two pages");
	return (uintptr_t)pages + 4096;
}

static int usage(const char *name)
{
	fprintf(stderr, "usage: %s --clock ADDRESS [--seed N] [--count N] [--as root|no-rawio|user] [--blind]"
			" ADDRESS\n", name);
	return 2;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "clock", required_argument, NULL, 'c' },
		{ "seed", required_argument, NULL, 's' },
		{ "count", required_argument, NULL, 'n' },
		{ "as", required_argument, NULL, 'a' },
		{ "blind", no_argument, NULL, 'b' },
		{ 0 },
	};
	static struct tormentor all[THREADS];
	unsigned long long seed = 0, count = 1000, made = 0, digest = 0, kept = 0;
	struct shirq_programs programs = EDU_SET;
	const char *clock = NULL, *as = "root";
	struct sigaction wake = { .sa_handler = on_wake };
	unsigned int n, place, places = 0;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'c': clock = optarg; break;
		case 's': seed = strtoull(optarg, NULL, 0); break;
		case 'n': count = strtoull(optarg, NULL, 0); break;
		case 'a': as = optarg; break;
		case 'b': blind = true; break;
		default: return usage(argv[0]);
		}
	}
	if (!clock || optind != argc - 1 ||
	    (strcmp(as, "root") && strcmp(as, "no-rawio") && strcmp(as, "user")))
		return usage(argv[0]);
	address = argv[optind];
	map_marks(clock);
	find_module();
	edge = unmapped_edge();
	an_eventfd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	device = shirq_open(address);
	if (device < 0 || shirq_load(device, &programs))
		err(1, "opening %s and loading its programs", address);
	sigaction(SIGUSR1, &wake, NULL);
	signal(SIGBUS, on_fault);
	signal(SIGSEGV, on_fault);
	mark(MARK_OWN, 0);
	for (n = 0; text_end && n < THREADS; n++)
		prepare_cover(&all[n]);
	if (!strcmp(as, "no-rawio"))
		drop_capability();
	if (!strcmp(as, "user"))
		become_nobody();

	each = (count + THREADS - 1) / THREADS;
	for (n = 0; n < THREADS; n++) {
		all[n].number = n;
		all[n].choices = choices_of(seed * THREADS + n);
		if (pthread_create(&all[n].thread, NULL, torment, &all[n]))
			errx(1, "cannot create thread %u", n);
	}
	watch(all);
	for (n = 0; n < THREADS; n++) {
		pthread_join(all[n].thread, NULL);
		made += all[n].made;
		kept += all[n].kept;
		digest ^= all[n].choices.digest;
	}
	for (place = 0; place < 1 << SEEN_BITS; place++)
		places += all[0].seen[place] | all[1].seen[place] | all[2].seen[place] | all[3].seen[place];
	mark(MARK_END, 0);
	close(device);
	mark(MARK_GONE, 0);
	for (n = 0; n < KINDS; n++)
		printf("calls %s %u\n", names[n], all[0].kinds[n] + all[1].kinds[n] + all[2].kinds[n] + all[3].kinds[n]);
	printf("done attempts=%llu failures=%u choices=%016llx kept=%llu places=%u\n", made, failures, digest,
	       kept, places);
	return 0;
}
