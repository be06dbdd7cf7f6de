/* SPDX-License-Identifier: MIT */
/* The shirq-edu device: its registers, and the programs that claim, unmask and release it. */
#ifndef SHIRQ_EDU_H
#define SHIRQ_EDU_H

#include "../lib/shirq.h"

/* qemu-device/SPEC.md */
#define INT_MASK	0x28
#define INT_ACTIVE	0x2c
#define INT_ACK		0x64
#define INT_MASK_SET	0x68
#define INT_MASK_CLEAR	0x6c
#define MARK		0x70
#define ALL		0xffffffff

#define COUNT(array)	(sizeof(array) / sizeof((array)[0]))

static const struct shirq_op edu_irq[] = {
	SHIRQ_DO_READ(4, 0, 0, INT_ACTIVE, SHIRQ_GONE_IF_ONES),
	SHIRQ_DO_SKIP(SHIRQ_OP_SKIP_NZ, 0, 1),
	SHIRQ_DO_DECLINE,
	SHIRQ_DO_CLAIM,
	SHIRQ_DO_CONST(SHIRQ_OP_LOAD, 1, ALL),
	SHIRQ_DO_WRITE(4, 0, INT_MASK_SET, 1, 0),
	SHIRQ_DO_READ(4, 1, 0, INT_MASK, 0),	/* flushes the posted write */
};

static const struct shirq_op edu_unmask[] = {
	SHIRQ_DO_CONST(SHIRQ_OP_LOAD, 0, ALL),
	SHIRQ_DO_WRITE(4, 0, INT_MASK_CLEAR, 0, 0),
};

static const struct shirq_op edu_release[] = {
	SHIRQ_DO_CONST(SHIRQ_OP_LOAD, 0, ALL),
	SHIRQ_DO_WRITE(4, 0, INT_MASK_SET, 0, 0),
	SHIRQ_DO_WRITE(4, 0, INT_ACK, 0, 0),
	SHIRQ_DO_READ(4, 0, 0, INT_MASK, 0),	/* flushes the posted writes */
};

/* A set of them that masks, for shirq_load(). */
#define EDU_SET { \
	.mode = SHIRQ_MODE_MASKS, \
	.irq = edu_irq, .irq_count = COUNT(edu_irq), \
	.unmask = edu_unmask, .unmask_count = COUNT(edu_unmask), \
	.release = edu_release, .release_count = COUNT(edu_release), \
}

#endif /* SHIRQ_EDU_H */
