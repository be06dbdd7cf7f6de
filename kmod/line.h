/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SHIRQ_LINE_H
#define SHIRQ_LINE_H

#include "core.h"

/*
 * For a line with neighbours. Where the kernel can, join a neighbour with
 * IRQF_ONESHOT: the kernel then masks the line while that neighbour's thread runs.
 */
#ifdef IRQF_COND_ONESHOT
#define SHIRQ_IRQF_SHARED	(IRQF_SHARED | IRQF_COND_SUSPEND | IRQF_COND_ONESHOT)
#else
#define SHIRQ_IRQF_SHARED	(IRQF_SHARED | IRQF_COND_SUSPEND)
#endif

void shirq_begin(struct shirq_device *d, unsigned long irqflags);
int shirq_request(struct shirq_device *d);
void shirq_free_line(struct shirq_device *d);
void shirq_reopen_line(struct shirq_device *d);
bool shirq_take_due(struct shirq_device *d);
bool shirq_line_storms(struct shirq_device *d);
void shirq_line_polled(struct shirq_device *d, u64 now);
void shirq_line_init(struct shirq_device *d);

#endif /* SHIRQ_LINE_H */
