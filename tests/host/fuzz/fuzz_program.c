// SPDX-License-Identifier: MIT
/*
 * libFuzzer target: every program that kmod/program.c accepts must keep the
 * verifier's guarantees.
 *
 * The input is two bytes (kind and style; seed of the device's registers) and
 * operations of 16 bytes. In the tame style, the target brings the operations'
 * fields into range, so that only the order of operations can be invalid.
 *
 * The oracle shares no code with the verifier and interpreter. It checks that
 *   - verdict and index are in range, a second verification returns the same,
 *     and the program is unchanged;
 *   - every access belongs to an operation of the program, is aligned and
 *     within its space, and has a width that the space allows; the only write
 *     to config space is that of the interrupt-disable bit;
 *   - the accesses are a subsequence of the operations: no operation runs
 *     twice or after a later one;
 *   - jumps go forward, within the program;
 *   - except in EXEC, no result depends on the previous values of r0..r3, nor of r4..r7
 *     unless the verifier says that the program reads a kept register;
 *   - only an irq program claims, and a claim captures r0..r3 once;
 *   - a linked program, and one whose first read the interrupt handler makes by itself,
 *     end in the same way as the program itself, with the same registers in the device.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "program.h"

#define MAX_ACCESSES SHIRQ_MAX_OPS
#define POISON 0x5ad5ad5ad5ad5ad5ull
#define UNTOUCHED 0x07070707c0ffee07ull

#define require(condition) \
	do { \
		if (!(condition)) { \
			fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__, #condition); \
			abort(); \
		} \
	} while (0)

struct access {
	bool write;
	unsigned int space, width;
	__u64 offset, value;
};

/*
 * The accesses of one run. A write to config space is one entry: bus_write() removes
 * the read that belongs to it.
 */
static struct access log_[MAX_ACCESSES];
static unsigned int logged;
static __u32 seed;

static const struct shirq_space spaces[SHIRQ_SPACES] = {
	{ 0x1000, SHIRQ_SPACE_PLAIN },
	{ 0x2000, SHIRQ_SPACE_WIDE },
	{ 0x20, SHIRQ_SPACE_PLAIN },
	{ 2, SHIRQ_SPACE_PLAIN },
	/* This space is absent, although it has a size. */
	{ 0x40, SHIRQ_SPACE_NONE },
	{ 7, SHIRQ_SPACE_WIDE },
	{ 256, SHIRQ_SPACE_PCI_CONFIG },
};

/* Return a random value, often zero or all-ones, because these two decide most paths. */
static __u64 noise(void)
{
	seed = seed * 1664525 + 1013904223;
	switch (seed >> 30) {
	case 0:
		return 0;
	case 1:
		return ~0ull;
	default:
		return seed * 0x9e3779b97f4a7c15ull;
	}
}

static void enter(struct access access)
{
	require(access.space < SHIRQ_SPACES);
	require(spaces[access.space].kind != SHIRQ_SPACE_NONE);
	require(access.width == 1 || access.width == 2 || access.width == 4 ||
		(access.width == 8 && spaces[access.space].kind == SHIRQ_SPACE_WIDE));
	require(access.offset % access.width == 0);
	require(access.offset < spaces[access.space].size &&
		spaces[access.space].size - access.offset >= access.width);
	require(logged < MAX_ACCESSES);
	log_[logged++] = access;
}

static __u64 bus_read(const struct shirq_bus *bus, unsigned int space, __u64 offset,
		      unsigned int width)
{
	(void)bus;
	enter((struct access){ false, space, width, offset, 0 });
	return log_[logged - 1].value = noise() & ~0ull >> (64 - 8 * width);
}

static void bus_write(const struct shirq_bus *bus, unsigned int space, __u64 offset,
		      unsigned int width, __u64 value)
{
	(void)bus;
	require(width == 8 || value >> (8 * width) == 0);
	if (space == SHIRQ_SPACE_CONFIG) {
		const struct access *old = &log_[logged - 1];

		require(offset == 5 && width == 1);
		require(logged > 0 && !old->write && old->space == space &&
			old->offset == 5 && old->width == 1);
		require((((value ^ old->value) & 0xff) & ~0x04ull) == 0);
		logged--;
	}
	enter((struct access){ true, space, width, offset, value });
}

/* A device whose registers keep what is written; each space's come first in its row. */
static _Alignas(8) __u8 memory[SHIRQ_SPACES][0x2000];

static void fill_memory(__u32 device)
{
	__u64 values[8];
	unsigned int i;

	seed = device;
	for (i = 0; i < 8; i++)
		values[i] = noise();
	for (i = 0; i < sizeof(memory); i += sizeof(values))
		memcpy(&memory[0][0] + i, values, sizeof(values));
}

static __u64 memory_read(const struct shirq_bus *bus, unsigned int space, __u64 offset,
			 unsigned int width)
{
	__u64 value = 0;

	(void)bus;
	memcpy(&value, &memory[space][offset], width);
	return value;
}

static void memory_write(const struct shirq_bus *bus, unsigned int space, __u64 offset,
			 unsigned int width, __u64 value)
{
	(void)bus;
	memcpy(&memory[space][offset], &value, width);
}

/* Check that the accesses follow the program's order, each made by a separate operation. */
static void check_order(const struct shirq_program *program)
{
	unsigned int done = 0;
	__u32 i;

	for (i = 0; i < program->count && done < logged; i++) {
		const struct shirq_op *op = &program->op[i];

		if ((op->code == SHIRQ_OP_READ || op->code == SHIRQ_OP_WRITE) &&
		    (op->code == SHIRQ_OP_WRITE) == log_[done].write &&
		    op->space == log_[done].space && op->imm == log_[done].offset &&
		    op->width == log_[done].width)
			done++;
	}
	require(done == logged);
}

/* Check that jumps go forward, over at least one operation, and not past the end. */
static void check_jumps(const struct shirq_program *program)
{
	__u32 i;

	for (i = 0; i < program->count; i++) {
		const struct shirq_op *op = &program->op[i];

		if (op->code == SHIRQ_OP_SKIP_Z || op->code == SHIRQ_OP_SKIP_NZ)
			require(op->skip >= 1 && i + 1 + op->skip <= program->count);
	}
}

static enum shirq_outcome run(const struct shirq_program *program, const struct shirq_bus *bus,
			      enum shirq_program_kind kind, __u32 device, __u64 filling,
			      __u64 kept, __u64 captured[SHIRQ_EVENT_REGS])
{
	const struct shirq_program before = *program;
	__u64 regs[SHIRQ_REGS];
	enum shirq_outcome outcome;
	unsigned int i;

	for (i = 0; i < SHIRQ_REGS; i++)
		regs[i] = i < SHIRQ_KEPT ? filling : kept;
	for (i = 0; i < SHIRQ_EVENT_REGS; i++)
		captured[i] = UNTOUCHED;
	logged = 0;
	seed = device;
	outcome = shirq_run(program, bus, regs, captured);

	require(memcmp(&before, program, sizeof(before)) == 0);
	check_order(program);
	require(outcome == SHIRQ_ENDED || outcome == SHIRQ_CLAIMED || outcome == SHIRQ_GONE);
	if (kind != SHIRQ_PROGRAM_IRQ) {
		require(outcome != SHIRQ_CLAIMED);
		for (i = 0; i < SHIRQ_EVENT_REGS; i++)
			require(captured[i] == UNTOUCHED);
	}
	return outcome;
}

/* Bring an operation's fields into range; unused fields become zero. */
static void tame(struct shirq_op *op)
{
	struct shirq_op in = *op;

	memset(op, 0, sizeof(*op));
	op->code = 1 + in.code % SHIRQ_OP_DECLINE;
	switch (op->code) {
	case SHIRQ_OP_READ:
	case SHIRQ_OP_WRITE:
		op->width = 1u << (in.width & 3);
		op->space = op->width == 8 ? 1 : (in.space & 0xf) == 0xf ? 4 : in.space & 3;
		if (op->code == SHIRQ_OP_READ && in.space & 0x40 && op->width != 8)
			op->space = SHIRQ_SPACE_CONFIG;
		op->imm = in.imm % (spaces[op->space].size + op->width) & -(__u64)op->width;
		if (op->width > 1)
			op->flags |= in.flags & SHIRQ_BIG_ENDIAN;
		if (op->code == SHIRQ_OP_READ) {
			op->flags |= in.flags & SHIRQ_GONE_IF_ONES;
			op->dst = in.dst % SHIRQ_REGS;
		} else {
			op->src = in.src % SHIRQ_REGS;
			if (in.space & 0x40) {
				op->space = SHIRQ_SPACE_CONFIG;
				op->width = 1;
				op->flags = 0;
				op->imm = 5;
			}
		}
		break;
	case SHIRQ_OP_SKIP_Z:
	case SHIRQ_OP_SKIP_NZ:
		op->src = in.src % SHIRQ_REGS;
		op->skip = 1 + (in.skip & 7);
		break;
	case SHIRQ_OP_CLAIM:
	case SHIRQ_OP_DECLINE:
		break;
	default:
		op->dst = in.dst % SHIRQ_REGS;
		op->flags = in.flags & SHIRQ_SRC_REG;
		if (op->flags)
			op->src = in.src % SHIRQ_REGS;
		else
			op->imm = in.imm;
	}
}

/* Run the program itself, linked, and as the interrupt handler does; the results are the same. */
static void check_linked(const struct shirq_program *program, enum shirq_program_kind kind,
			 __u32 device)
{
	struct shirq_bus bus = { .read = memory_read, .write = memory_write };
	static __u8 before[sizeof(memory)], after[sizeof(memory)];
	struct shirq_program linked = *program;
	__u64 captured[3][SHIRQ_EVENT_REGS];
	__u64 regs[SHIRQ_REGS] = { 0 };
	enum shirq_outcome outcome;
	__u32 first;

	memset(captured, 0, sizeof(captured));
	memcpy(bus.space, spaces, sizeof(spaces));
	bus.memory[0] = memory[0];
	bus.memory[1] = memory[1];
	shirq_link(&linked, &bus);

	fill_memory(device);
	memcpy(before, memory, sizeof(memory));
	outcome = shirq_run(program, &bus, regs, captured[0]);
	memcpy(after, memory, sizeof(memory));

	memcpy(memory, before, sizeof(memory));
	memset(regs, 0, sizeof(regs));
	require(shirq_run(&linked, &bus, regs, captured[1]) == outcome);
	require(memcmp(captured[0], captured[1], sizeof(captured[0])) == 0);
	require(memcmp(after, memory, sizeof(memory)) == 0);

	if (kind != SHIRQ_PROGRAM_IRQ || !linked.relevant || program->keeps)
		return;
	memcpy(memory, before, sizeof(memory));
	memset(regs, 0, sizeof(regs));
	if (shirq_declines(&linked, &first))
		require(outcome == SHIRQ_ENDED);
	else
		require(shirq_run_rest(&linked, &bus, regs, captured[2], first) == outcome);
	require(memcmp(captured[0], captured[2], sizeof(captured[0])) == 0);
	require(memcmp(after, memory, sizeof(memory)) == 0);
}

int LLVMFuzzerTestOneInput(const __u8 *data, size_t size)
{
	/*
	 * Allocate the exact size on the heap, so that the sanitizer detects an
	 * access past it.
	 */
	struct shirq_program *program = calloc(1, sizeof(*program));
	struct shirq_bus bus = { .read = bus_read, .write = bus_write };
	__u64 first[SHIRQ_EVENT_REGS], second[SHIRQ_EVENT_REGS];
	static struct access log[MAX_ACCESSES];
	enum shirq_program_kind kind;
	struct shirq_program before;
	enum shirq_reason reason;
	enum shirq_outcome outcome;
	__u32 index = ~0u, again = ~0u;
	unsigned int entries;
	size_t i;

	require(program);
	if (size < 2)
		goto out;
	kind = (data[0] & 3) | (data[0] & 8) >> 1;
	if (kind > SHIRQ_PROGRAM_MASK)
		kind = SHIRQ_PROGRAM_MASK;
	program->count = (size - 2) / sizeof(struct shirq_op);
	for (i = 0; i < program->count && i < SHIRQ_MAX_OPS; i++) {
		memcpy(&program->op[i], data + 2 + i * sizeof(struct shirq_op), sizeof(struct shirq_op));
		if (data[0] & 4)
			tame(&program->op[i]);
	}
	memcpy(bus.space, spaces, sizeof(spaces));

	before = *program;
	reason = shirq_verify(program, kind, &bus, &index);
	require(reason >= SHIRQ_OK && reason <= SHIRQ_REFUSED_ACCESSES);
	require(index <= SHIRQ_MAX_OPS && index <= program->count);
	require(shirq_verify(program, kind, &bus, &again) == reason && again == index);
	before.keeps = program->keeps;
	require(memcmp(&before, program, sizeof(before)) == 0);
	if (reason)
		goto out;

	require(index == program->count && program->count >= 1 && program->count <= SHIRQ_MAX_OPS);
	check_jumps(program);
	outcome = run(program, &bus, kind, data[1], 0, 0, first);
	entries = logged;
	memcpy(log, log_, entries * sizeof(*log));
	if (kind != SHIRQ_PROGRAM_EXEC) {
		require(run(program, &bus, kind, data[1], POISON, program->keeps ? 0 : POISON,
			    second) == outcome);
		require(logged == entries);
		for (i = 0; i < entries; i++)
			require(log[i].write == log_[i].write && log[i].space == log_[i].space &&
				log[i].width == log_[i].width && log[i].offset == log_[i].offset &&
				log[i].value == log_[i].value);
		/*
		 * Registers that were never written keep their values; all other
		 * results are equal.
		 */
		for (i = 0; i < SHIRQ_EVENT_REGS; i++)
			require(first[i] == second[i] || (first[i] == 0 && second[i] == POISON));
	}
	check_linked(program, kind, data[1]);
out:
	free(program);
	return 0;
}
