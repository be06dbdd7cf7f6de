/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SHIRQ_STORM_H
#define SHIRQ_STORM_H

#include <linux/irq.h>
#include <linux/irqdesc.h>

#include "core.h"

void shirq_quarantine(struct shirq_device *d, enum shirq_quarantine reason, const u64 *captured);
bool shirq_storm_silent(struct shirq_device *d, u64 time_ns);
void shirq_storm_claimed(struct shirq_device *d, u64 time_ns, const u64 *captured);
bool shirq_storm_blames(struct shirq_device *d, u64 time_ns);

/**
 * shirq_storm_declined() - the irq program declined
 * @d: the device, not masked
 * @time_ns: time of the interrupt
 *
 * Context: interrupt, @lock held.
 * Return: true if the program ran once more, and claimed.
 */
static inline bool shirq_storm_declined(struct shirq_device *d, u64 time_ns)
{
	struct shirq_storm *storm = &d->storm;

	return unlikely(shirq_look_due(&storm->looked, READ_ONCE(storm->desc->irqs_unhandled))) &&
	       shirq_storm_blames(d, time_ns);
}

#endif /* SHIRQ_STORM_H */
