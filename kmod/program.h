/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Interrupt programs: the verifier and the interpreter.
 *
 * These two files need nothing of the kernel but its integer types. So they also build
 * as a library on a host, where they are tested and fuzzed.
 */
#ifndef SHIRQ_PROGRAM_H
#define SHIRQ_PROGRAM_H

#ifdef __KERNEL__
#include <linux/io.h>
#include <linux/kernel.h>
#include <linux/string.h>
#include <linux/types.h>
#else
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#define __iomem
#define __force
#define noinline
#define readl(address) __atomic_load_n((__u32 *)(address), __ATOMIC_RELAXED)
#define writel(value, address) __atomic_store_n((__u32 *)(address), value, __ATOMIC_RELAXED)
#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#endif

#include "shirq.h"

/**
 * enum shirq_space_kind - the kind of registers in a space
 * @SHIRQ_SPACE_NONE: absent
 * @SHIRQ_SPACE_PLAIN: registers of up to 4 bytes, in memory or ports
 * @SHIRQ_SPACE_WIDE: memory where an access of 8 bytes is one access
 * @SHIRQ_SPACE_PCI_CONFIG: config space
 */
enum shirq_space_kind {
	SHIRQ_SPACE_NONE,
	SHIRQ_SPACE_PLAIN,
	SHIRQ_SPACE_WIDE,
	SHIRQ_SPACE_PCI_CONFIG,
};

/**
 * struct shirq_space - one space of a device
 * @size: bytes
 * @kind: enum shirq_space_kind
 */
struct shirq_space {
	__u64	size;
	__u32	kind;
};

/**
 * struct shirq_bus - the registers of one device, as programs see them
 * @space: BARs 0..5, then config space
 * @read: read @width bytes, little endian; must not sleep or fail
 * @write: write @width bytes, little endian; must not sleep or fail
 * @memory: address at which a space's registers can be accessed without @read and
 *	@write, or NULL; see shirq_link()
 *
 * The verifier uses only @space. The interpreter calls @read and @write only for
 * accesses that the verifier accepts.
 */
struct shirq_bus {
	struct shirq_space space[SHIRQ_SPACES];
	__u64 (*read)(const struct shirq_bus *bus, unsigned int space, __u64 offset,
		      unsigned int width);
	void (*write)(const struct shirq_bus *bus, unsigned int space, __u64 offset,
		      unsigned int width, __u64 value);
	void __iomem *memory[SHIRQ_SPACES];
};

/**
 * struct shirq_program - a program, as its owner gave it or as shirq_link() changed it
 * @count: operations
 * @keeps: it uses a kept register; set by shirq_verify()
 * @relevant: the program declines if these bits of its first read are zero, see
 *	shirq_declines(); 0 if it does not begin in this way. Set by shirq_link()
 * @rest: place of the operation that follows this claim test if the program does not decline
 * @op: the operations
 */
struct shirq_program {
	__u32		count;
	__u32		keeps;
	__u32		relevant;
	__u32		rest;
	struct shirq_op	op[SHIRQ_MAX_OPS];
};

/**
 * enum shirq_outcome - how a program ended
 * @SHIRQ_ENDED: without a claim
 * @SHIRQ_CLAIMED: with a claim
 * @SHIRQ_GONE: a read with SHIRQ_GONE_IF_ONES returned all-ones
 */
enum shirq_outcome {
	SHIRQ_ENDED,
	SHIRQ_CLAIMED,
	SHIRQ_GONE,
};

enum shirq_reason shirq_verify(struct shirq_program *program, enum shirq_program_kind kind,
			       const struct shirq_bus *bus, __u32 *index);
void shirq_link(struct shirq_program *program, const struct shirq_bus *bus);
void shirq_unlink(struct shirq_program *program, const struct shirq_bus *bus);
enum shirq_outcome shirq_run(const struct shirq_program *program, const struct shirq_bus *bus,
			     __u64 regs[SHIRQ_REGS], __u64 captured[SHIRQ_EVENT_REGS]);
enum shirq_outcome shirq_run_rest(const struct shirq_program *program, const struct shirq_bus *bus,
				  __u64 regs[SHIRQ_REGS], __u64 captured[SHIRQ_EVENT_REGS],
				  __u32 first);

/**
 * shirq_declines() - make the first read of a linked program
 * @program: the program, with @relevant
 * @first: out: the value, which shirq_run_rest() needs: reading may have cleared it
 *
 * Context: as for shirq_run().
 * Return: true if the program declines, without another access.
 */
static inline bool shirq_declines(const struct shirq_program *program, __u32 *first)
{
	*first = readl((void __iomem *)(uintptr_t)program->op[0].imm);
	return !(*first & program->relevant);
}

#endif /* SHIRQ_PROGRAM_H */
