/* SPDX-License-Identifier: MIT */
/*
 * libshirq: the calls of shirq.ko as C functions.
 *
 * Functions that return int return 0, or -1 with errno set as described in
 * kmod/shirq.h.
 */
#ifndef LIBSHIRQ_H
#define LIBSHIRQ_H

#include <stddef.h>
#include <stdint.h>

#include "../../kmod/shirq.h"

/* Operations, as initialisers of struct shirq_op. */
#define SHIRQ_DO_READ(width_, dst_, space_, offset_, flags_) \
	{ .code = SHIRQ_OP_READ, .dst = (dst_), .width = (width_), .space = (space_), \
	  .flags = (flags_), .imm = (offset_) }
#define SHIRQ_DO_WRITE(width_, space_, offset_, src_, flags_) \
	{ .code = SHIRQ_OP_WRITE, .src = (src_), .width = (width_), .space = (space_), \
	  .flags = (flags_), .imm = (offset_) }
#define SHIRQ_DO_CONST(code_, dst_, constant_) \
	{ .code = (code_), .dst = (dst_), .imm = (constant_) }
#define SHIRQ_DO_REG(code_, dst_, src_) \
	{ .code = (code_), .dst = (dst_), .src = (src_), .flags = SHIRQ_SRC_REG }
#define SHIRQ_DO_SKIP(code_, src_, skip_) \
	{ .code = (code_), .src = (src_), .skip = (skip_) }
#define SHIRQ_DO_CLAIM		{ .code = SHIRQ_OP_CLAIM }
#define SHIRQ_DO_DECLINE	{ .code = SHIRQ_OP_DECLINE }

/* A set of programs; refused_* are set when shirq_load() fails with EINVAL. */
struct shirq_programs {
	enum shirq_mode mode;
	const struct shirq_op *irq, *unmask, *release;
	size_t irq_count, unmask_count, release_count;
	enum shirq_program_kind refused_program;
	uint32_t refused_index;
	enum shirq_reason refused_reason;
};

/* Bind the function with this PCI address, such as "0000:00:04.0", to shirq.ko. */
int shirq_bind(const char *address);

/* Become the owner. Returns a descriptor to read(), poll() and close(), or -1. */
int shirq_open(const char *address);

int shirq_get_info(int fd, struct shirq_info *info);
int shirq_load(int fd, struct shirq_programs *programs);
int shirq_arm(int fd, uint32_t flags);
int shirq_disarm(int fd);
int shirq_unmask(int fd, uint64_t seq);
int shirq_set_master(int fd, int on);
int shirq_mask(int fd, uint64_t *seq);
int shirq_set_eventfd(int fd, int eventfd);

/* Run a one-shot program; regs in and out. refused may be NULL, and is set as error_* of struct shirq_exec. */
int shirq_exec(int fd, const struct shirq_op *ops, size_t count, uint64_t regs[SHIRQ_REGS],
	       struct shirq_exec *refused);

/* Wait for one event. Returns 0, or -1 with the errno of read(). */
int shirq_next(int fd, struct shirq_event *event);

/* Map the whole pages of a memory BAR; length is set. Returns NULL with errno set if it cannot be. */
volatile void *shirq_map(int fd, unsigned int bar, size_t *length);

/* One load or store each, in the byte order of the processor. */
static inline uint32_t shirq_read32(const volatile void *bar, size_t offset)
{
	return *(const volatile uint32_t *)((const volatile char *)bar + offset);
}

static inline void shirq_write32(volatile void *bar, size_t offset, uint32_t value)
{
	*(volatile uint32_t *)((volatile char *)bar + offset) = value;
}

#endif /* LIBSHIRQ_H */
