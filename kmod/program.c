// SPDX-License-Identifier: GPL-2.0-only
/*
 * Interrupt programs: the verifier and the interpreter.
 *
 * Jumps only go forward. So every program ends, and one pass over the operations has
 * followed all paths to an operation before it checks that operation.
 */
#include <linux/swab.h>

#include "program.h"

/* Operand fields that an operation uses; all others must be zero. */
#define USES_DST	0x01
#define USES_SRC	0x02
#define USES_IMM	0x04
#define USES_ADDRESS	0x08	/* width, space and imm */
#define USES_SKIP	0x10
#define USES_OPERAND	0x20	/* imm, or src with SHIRQ_SRC_REG */

#define ALU		(USES_DST | USES_OPERAND)

struct format {
	__u8	uses;
	__u8	flags;
};

static const struct format formats[] = {
	[SHIRQ_OP_READ]		= { USES_DST | USES_ADDRESS,
				    SHIRQ_BIG_ENDIAN | SHIRQ_GONE_IF_ONES },
	[SHIRQ_OP_WRITE]	= { USES_SRC | USES_ADDRESS, SHIRQ_BIG_ENDIAN },
	[SHIRQ_OP_LOAD]		= { ALU, SHIRQ_SRC_REG },
	[SHIRQ_OP_AND]		= { ALU, SHIRQ_SRC_REG },
	[SHIRQ_OP_OR]		= { ALU, SHIRQ_SRC_REG },
	[SHIRQ_OP_XOR]		= { ALU, SHIRQ_SRC_REG },
	[SHIRQ_OP_ADD]		= { ALU, SHIRQ_SRC_REG },
	[SHIRQ_OP_SHL]		= { ALU, SHIRQ_SRC_REG },
	[SHIRQ_OP_SHR]		= { ALU, SHIRQ_SRC_REG },
	[SHIRQ_OP_SKIP_Z]	= { USES_SRC | USES_SKIP, 0 },
	[SHIRQ_OP_SKIP_NZ]	= { USES_SRC | USES_SKIP, 0 },
	[SHIRQ_OP_CLAIM]	= { 0, 0 },
	[SHIRQ_OP_DECLINE]	= { 0, 0 },
};

static unsigned int fields_used(const struct shirq_op *op)
{
	unsigned int uses = formats[op->code].uses;

	if (uses & USES_OPERAND)
		uses |= op->flags & SHIRQ_SRC_REG ? USES_SRC : USES_IMM;
	if (uses & USES_ADDRESS)
		uses |= USES_IMM;
	return uses;
}

/* Check the fields of one operation, regardless of the paths that lead to it. */
static enum shirq_reason check_fields(const struct shirq_op *op)
{
	unsigned int uses;

	if (op->code == 0 || op->code >= ARRAY_SIZE(formats))
		return SHIRQ_REFUSED_CODE;
	if (op->flags & ~formats[op->code].flags)
		return SHIRQ_REFUSED_FLAGS;

	uses = fields_used(op);
	if ((!(uses & USES_DST) && op->dst) ||
	    (!(uses & USES_SRC) && op->src) ||
	    (!(uses & USES_IMM) && op->imm) ||
	    (!(uses & USES_SKIP) && op->skip) ||
	    (!(uses & USES_ADDRESS) && (op->width || op->space)))
		return SHIRQ_REFUSED_UNUSED;
	if (op->dst >= SHIRQ_REGS || op->src >= SHIRQ_REGS)
		return SHIRQ_REFUSED_REGISTER;
	return SHIRQ_OK;
}

static enum shirq_reason check_address(const struct shirq_op *op, const struct shirq_bus *bus)
{
	const struct shirq_space *space;

	if (op->width != 1 && op->width != 2 && op->width != 4 && op->width != 8)
		return SHIRQ_REFUSED_WIDTH;
	if (op->width == 1 && op->flags & SHIRQ_BIG_ENDIAN)
		return SHIRQ_REFUSED_FLAGS;
	if (op->space >= SHIRQ_SPACES)
		return SHIRQ_REFUSED_SPACE;

	space = &bus->space[op->space];
	if (space->kind == SHIRQ_SPACE_NONE)
		return SHIRQ_REFUSED_NO_BAR;
	if (op->width == 8 && space->kind != SHIRQ_SPACE_WIDE)
		return SHIRQ_REFUSED_WIDE;
	if (op->imm & (op->width - 1))
		return SHIRQ_REFUSED_ALIGNMENT;
	if (space->size < op->width || op->imm > space->size - op->width)
		return SHIRQ_REFUSED_BOUNDS;
	/* No check of the width: the only offset is odd, so an aligned access is one byte. */
	if (op->code == SHIRQ_OP_WRITE && space->kind == SHIRQ_SPACE_PCI_CONFIG &&
	    op->imm != SHIRQ_CONFIG_DISINTX_OFFSET)
		return SHIRQ_REFUSED_CONFIG_WRITE;
	return SHIRQ_OK;
}

static enum shirq_reason check_jump(const struct shirq_op *op, __u32 left)
{
	if (op->skip < 1)
		return SHIRQ_REFUSED_BACKWARD;
	if ((__u32)op->skip > left)
		return SHIRQ_REFUSED_PAST_END;
	return SHIRQ_OK;
}

/* The registers that the programs of a set keep for each other, a bit each. */
#define SHIRQ_KEPT_MASK	(0xff & ~0u << SHIRQ_KEPT)

/* Facts about all paths that lead to one operation, or to the end. */
struct paths {
	__u8	defined;	/* registers with a value on all paths, one bit for each register */
	__u8	accesses;	/* largest number of reads and writes on one path */
	bool	reached;	/* at least one path leads here */
};

static void join(struct paths *at, const struct paths *from)
{
	at->defined = at->reached ? at->defined & from->defined : from->defined;
	if (at->accesses < from->accesses)
		at->accesses = from->accesses;
	at->reached = true;
}

/* Return the registers that an operation reads, one bit for each. AND to SHR also read dst. */
static __u8 registers_read(const struct shirq_op *op)
{
	__u8 registers = 0;

	if (fields_used(op) & USES_SRC)
		registers |= 1u << op->src;
	if (op->code >= SHIRQ_OP_AND && op->code <= SHIRQ_OP_SHR)
		registers |= 1u << op->dst;
	return registers;
}

/* Return the register that an operation writes, as one bit, or 0. */
static __u8 register_written(const struct shirq_op *op)
{
	return fields_used(op) & USES_DST ? 1u << op->dst : 0;
}

/*
 * @claimed is true for all operations after the CLAIM: only DECLINE ends a path, and
 * DECLINE may not follow a CLAIM, so a path through the CLAIM leads to each of them.
 */
static enum shirq_reason check_paths(const struct shirq_op *op, enum shirq_program_kind kind,
				     const struct paths *paths, bool claimed)
{
	if (!paths->reached)
		return SHIRQ_REFUSED_UNREACHABLE;
	if (registers_read(op) & ~paths->defined)
		return SHIRQ_REFUSED_UNDEFINED;
	if (op->code == SHIRQ_OP_CLAIM || op->code == SHIRQ_OP_DECLINE) {
		if (kind != SHIRQ_PROGRAM_IRQ)
			return SHIRQ_REFUSED_NOT_IRQ;
		if (claimed)
			return op->code == SHIRQ_OP_CLAIM ? SHIRQ_REFUSED_SECOND_CLAIM
							  : SHIRQ_REFUSED_DECLINE_CLAIMED;
	}
	if (op->flags & SHIRQ_GONE_IF_ONES && claimed)
		return SHIRQ_REFUSED_GONE_CLAIMED;
	return SHIRQ_OK;
}

/**
 * shirq_verify() - check whether a program may run on a device
 * @program: the program; its @keeps is set
 * @kind: its kind
 * @bus: the device
 * @index: set to the operation that is refused
 *
 * Return: SHIRQ_OK, or the reason for the refusal.
 */
enum shirq_reason shirq_verify(struct shirq_program *program, enum shirq_program_kind kind,
			       const struct shirq_bus *bus, __u32 *index)
{
	struct paths paths[SHIRQ_MAX_OPS + 1];
	enum shirq_reason reason;
	bool claimed = false;
	__u32 i;

	*index = 0;
	if (program->count == 0)
		return SHIRQ_REFUSED_EMPTY;
	if (program->count > SHIRQ_MAX_OPS) {
		*index = SHIRQ_MAX_OPS;
		return SHIRQ_REFUSED_TOO_LONG;
	}

	memset(paths, 0, sizeof(paths));
	paths[0].reached = true;
	program->keeps = 0;
	/* EXEC gets all its registers from the caller, a program of a set the kept ones. */
	paths[0].defined = kind == SHIRQ_PROGRAM_EXEC ? 0xff : SHIRQ_KEPT_MASK;

	for (i = 0; i < program->count; i++) {
		const struct shirq_op *op = &program->op[i];
		struct paths after = paths[i];

		*index = i;
		reason = check_fields(op);
		if (reason)
			return reason;
		if (formats[op->code].uses & USES_ADDRESS) {
			reason = check_address(op, bus);
			if (reason)
				return reason;
		}
		if (formats[op->code].uses & USES_SKIP) {
			reason = check_jump(op, program->count - i - 1);
			if (reason)
				return reason;
		}
		reason = check_paths(op, kind, &paths[i], claimed);
		if (reason)
			return reason;

		if (formats[op->code].uses & USES_ADDRESS &&
		    ++after.accesses > SHIRQ_MAX_IRQ_ACCESSES && kind == SHIRQ_PROGRAM_IRQ)
			return SHIRQ_REFUSED_ACCESSES;
		after.defined |= register_written(op);
		if ((registers_read(op) | register_written(op)) & SHIRQ_KEPT_MASK)
			program->keeps = kind != SHIRQ_PROGRAM_EXEC;
		if (op->code == SHIRQ_OP_CLAIM)
			claimed = true;
		if (op->code != SHIRQ_OP_DECLINE)
			join(&paths[i + 1], &after);
		if (formats[op->code].uses & USES_SKIP)
			join(&paths[i + 1 + op->skip], &after);
	}

	*index = program->count;
	if (kind == SHIRQ_PROGRAM_IRQ && !claimed)
		return SHIRQ_REFUSED_NO_CLAIM;
	return SHIRQ_OK;
}

static __u64 ones(unsigned int width)
{
	return ~0ull >> (64 - 8 * width);
}

/* Reverse the bytes of a value of this width. */
static __u64 turn(__u64 value, unsigned int width)
{
	return __swab64(value) >> (64 - 8 * width);
}

static noinline __u64 load(const struct shirq_op *op, const struct shirq_bus *bus)
{
	__u64 value = bus->read(bus, op->space, op->imm, op->width) & ones(op->width);

	return op->flags & SHIRQ_BIG_ENDIAN ? turn(value, op->width) : value;
}

static noinline void store(const struct shirq_op *op, const struct shirq_bus *bus, __u64 value)
{
	value &= ones(op->width);
	if (op->flags & SHIRQ_BIG_ENDIAN)
		value = turn(value, op->width);
	if (bus->space[op->space].kind == SHIRQ_SPACE_PCI_CONFIG) {
		__u64 old = bus->read(bus, op->space, op->imm, op->width);

		value = (old & ~(__u64)SHIRQ_CONFIG_DISINTX_BIT) |
			(value & SHIRQ_CONFIG_DISINTX_BIT);
	}
	bus->write(bus, op->space, op->imm, op->width, value);
}

/*
 * Operation codes that shirq_link() gives to the most common operations: accesses to
 * 4-byte memory registers, with the register's address in imm, and a LOAD whose
 * constant the next operation writes to such a register.
 */
enum linked {
	LINKED_READ = 0x80,
	LINKED_READ_OR_GONE,
	LINKED_WRITE,
	LINKED_LOAD_WRITE,
};

static inline __u32 read_memory(const struct shirq_op *op)
{
	return readl((void __iomem *)(uintptr_t)op->imm);
}

static inline void write_memory(const struct shirq_op *op, __u32 value)
{
	writel(value, (void __iomem *)(uintptr_t)op->imm);
}

/* Set @relevant and @rest of a program whose operations are replaced already. */
static void find_claim_test(struct shirq_program *program)
{
	const struct shirq_op *op = program->op, *end = op + program->count, *declines;
	const struct shirq_op *claims;
	__u8 value = op->dst;
	__u32 bits = ~0;

	program->relevant = 0;
	if (op >= end || (op->code != LINKED_READ && op->code != LINKED_READ_OR_GONE))
		return;
	op++;
	if (op < end && op->code == SHIRQ_OP_AND && op->dst == value &&
	    !(op->flags & SHIRQ_SRC_REG)) {
		bits = op->imm;
		op++;
	}
	if (op >= end || op->src != value)
		return;
	if (op->code == SHIRQ_OP_SKIP_Z) {
		declines = op + 1 + op->skip;
		claims = op + 1;
	} else if (op->code == SHIRQ_OP_SKIP_NZ) {
		declines = op + 1;
		claims = op + 1 + op->skip;
	} else {
		return;
	}
	if (declines == end || declines->code == SHIRQ_OP_DECLINE) {
		program->relevant = bits;
		program->rest = claims - program->op;
	}
}

/**
 * shirq_link() - replace the most common operations by faster ones
 * @program: verified for the device
 * @bus: the device; its @memory must not change as long as the program is in use
 */
void shirq_link(struct shirq_program *program, const struct shirq_bus *bus)
{
	struct shirq_op *op = program->op + program->count;
	bool write_follows = false;

	while (op-- > program->op) {
		bool direct = op->width == 4 && !(op->flags & SHIRQ_BIG_ENDIAN) &&
			      bus->memory[op->space];

		if (direct)
			op->imm += (__force uintptr_t)bus->memory[op->space];
		if (direct && op->code == SHIRQ_OP_READ)
			op->code = op->flags & SHIRQ_GONE_IF_ONES ? LINKED_READ_OR_GONE
								  : LINKED_READ;
		else if (direct)
			op->code = LINKED_WRITE;
		else if (write_follows && op->code == SHIRQ_OP_LOAD && !(op->flags & SHIRQ_SRC_REG))
			op->code = LINKED_LOAD_WRITE;
		write_follows = op->code == LINKED_WRITE;
	}
	find_claim_test(program);
}

/**
 * shirq_unlink() - undo shirq_link(), so that the program can be linked anew
 * @program: linked for the device
 * @bus: the device, with the same @memory as at shirq_link()
 */
void shirq_unlink(struct shirq_program *program, const struct shirq_bus *bus)
{
	struct shirq_op *op;

	for (op = program->op; op < program->op + program->count; op++) {
		if (op->code == LINKED_LOAD_WRITE) {
			op->code = SHIRQ_OP_LOAD;
		} else if (op->code >= LINKED_READ) {
			op->code = op->code == LINKED_WRITE ? SHIRQ_OP_WRITE : SHIRQ_OP_READ;
			op->imm -= (__force uintptr_t)bus->memory[op->space];
		}
	}
}

/* Run an operation from LOAD to SHR. */
static noinline void calculate(const struct shirq_op *op, __u64 *regs)
{
	__u64 operand = op->flags & SHIRQ_SRC_REG ? regs[op->src] : op->imm;
	__u64 *dst = &regs[op->dst];

	switch (op->code) {
	case SHIRQ_OP_LOAD:
		*dst = operand;
		break;
	case SHIRQ_OP_AND:
		*dst &= operand;
		break;
	case SHIRQ_OP_OR:
		*dst |= operand;
		break;
	case SHIRQ_OP_XOR:
		*dst ^= operand;
		break;
	case SHIRQ_OP_ADD:
		*dst += operand;
		break;
	case SHIRQ_OP_SHL:
		*dst = operand < 64 ? *dst << operand : 0;
		break;
	case SHIRQ_OP_SHR:
		*dst = operand < 64 ? *dst >> operand : 0;
		break;
	}
}

/* How the interpreter continues after an operation. */
enum step {
	STEP_NEXT,
	STEP_RARE,	/* this operation has no fast path, and was not run */
	STEP_END,
};

/* Fast path for the common operations: it calls nothing, so it needs no stack frame. */
static __always_inline enum step do_common(const struct shirq_op **at, __u64 *regs,
					   __u64 *captured, enum shirq_outcome *outcome)
{
	const struct shirq_op *op = *at;

	if (op->code == LINKED_LOAD_WRITE) {
		regs[op->dst] = op->imm;
		*at = ++op;
		write_memory(op, regs[op->src]);
	} else if (op->code == LINKED_READ) {
		regs[op->dst] = read_memory(op);
	} else if (op->code == LINKED_READ_OR_GONE) {
		__u32 value = read_memory(op);

		if (value == (__u32)ones(4)) {
			*outcome = SHIRQ_GONE;
			return STEP_END;
		}
		regs[op->dst] = value;
	} else if (op->code == SHIRQ_OP_SKIP_NZ) {
		if (regs[op->src])
			*at += op->skip;
	} else if (op->code == SHIRQ_OP_CLAIM) {
		memcpy(captured, regs, SHIRQ_EVENT_REGS * sizeof(*captured));
		*outcome = SHIRQ_CLAIMED;
	} else if (op->code == SHIRQ_OP_DECLINE) {
		return STEP_END;
	} else if (op->code == LINKED_WRITE) {
		write_memory(op, regs[op->src]);
	} else if (op->code == SHIRQ_OP_SKIP_Z) {
		if (!regs[op->src])
			*at += op->skip;
	} else {
		return STEP_RARE;
	}
	return STEP_NEXT;
}

static enum step do_rare(const struct shirq_op *op, const struct shirq_bus *bus, __u64 *regs,
			 enum shirq_outcome *outcome)
{
	if (op->code == SHIRQ_OP_READ) {
		regs[op->dst] = load(op, bus);
		if (op->flags & SHIRQ_GONE_IF_ONES && regs[op->dst] == ones(op->width)) {
			*outcome = SHIRQ_GONE;
			return STEP_END;
		}
	} else if (op->code == SHIRQ_OP_WRITE) {
		store(op, bus, regs[op->src]);
	} else {
		calculate(op, regs);
	}
	return STEP_NEXT;
}

/* Run from the first uncommon operation to the end. */
static noinline enum shirq_outcome run_any(const struct shirq_op *op, const struct shirq_op *end,
					   const struct shirq_bus *bus, __u64 *regs,
					   __u64 *captured, enum shirq_outcome outcome)
{
	for (; op < end; op++) {
		enum step step = do_common(&op, regs, captured, &outcome);

		if (step == STEP_RARE)
			step = do_rare(op, bus, regs, &outcome);
		if (step == STEP_END)
			break;
	}
	return outcome;
}

static __always_inline enum shirq_outcome run_from(const struct shirq_op *op,
						   const struct shirq_program *program,
						   const struct shirq_bus *bus, __u64 *regs,
						   __u64 *captured)
{
	enum shirq_outcome outcome = SHIRQ_ENDED;
	const struct shirq_op *end = program->op + program->count;

	for (; op < end; op++) {
		enum step step = do_common(&op, regs, captured, &outcome);

		if (step == STEP_RARE)
			return run_any(op, end, bus, regs, captured, outcome);
		if (step == STEP_END)
			break;
	}
	return outcome;
}

/**
 * shirq_run() - run a program that shirq_verify() has passed for this device
 * @program: the program
 * @bus: the device
 * @regs: the registers, changed in place; r0..r3 must be zero at the start of
 *	SHIRQ_PROGRAM_IRQ; except for EXEC, programs read no register that they have not
 *	written, other than the kept ones
 * @captured: set to r0..r3 at the claim, if there is one
 *
 * Takes at most as many steps as the program has operations, and cannot fail.
 * Context: any in which the functions of @bus may be called; the caller serialises.
 * Return: how it ended.
 */
enum shirq_outcome shirq_run(const struct shirq_program *program, const struct shirq_bus *bus,
			     __u64 regs[SHIRQ_REGS], __u64 captured[SHIRQ_EVENT_REGS])
{
	return run_from(program->op, program, bus, regs, captured);
}

/**
 * shirq_run_rest() - run a program whose claim test shirq_declines() has made
 * @program: the program, with @relevant
 * @bus: the device
 * @regs: as for shirq_run()
 * @captured: as for shirq_run()
 * @first: the value that was read; the program does not decline
 *
 * Return: how it ended.
 */
enum shirq_outcome shirq_run_rest(const struct shirq_program *program, const struct shirq_bus *bus,
				  __u64 regs[SHIRQ_REGS], __u64 captured[SHIRQ_EVENT_REGS],
				  __u32 first)
{
	const struct shirq_op *op = program->op;

	if (op->code == LINKED_READ_OR_GONE && first == (__u32)ones(4))
		return SHIRQ_GONE;
	regs[op->dst] = first & program->relevant;
	return run_from(op + program->rest, program, bus, regs, captured);
}
