/* SPDX-License-Identifier: MIT */
/* The programs that claim, unmask and release a shirq-edu device. */
#ifndef SHIRQ_EDU_SET_H
#define SHIRQ_EDU_SET_H

#include "../lib/shirq.h"
#include "edu.h"

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

/* The set of these programs, in the mode that masks, for shirq_load(). */
#define EDU_SET { \
	.mode = SHIRQ_MODE_MASKS, \
	.irq = edu_irq, .irq_count = COUNT(edu_irq), \
	.unmask = edu_unmask, .unmask_count = COUNT(edu_unmask), \
	.release = edu_release, .release_count = COUNT(edu_release), \
}

#endif /* SHIRQ_EDU_SET_H */
