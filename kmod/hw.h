/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SHIRQ_HW_H
#define SHIRQ_HW_H

#include "core.h"

/**
 * shirq_line() - the number of the INTx line in /proc/interrupts
 * @d: the device
 *
 * While the function uses MSI, @pdev has the number of a message instead.
 */
static inline unsigned int shirq_line(const struct shirq_device *d)
{
	return READ_ONCE(d->line_irq) ?: d->pdev->irq;
}

void shirq_describe(struct shirq_device *d);
int shirq_map_bars(struct shirq_device *d);
void shirq_unmap_bars(struct shirq_device *d);
bool shirq_can_map(const struct shirq_device *d, unsigned int bar);
bool shirq_present(const struct shirq_device *d);
bool shirq_answers(const struct shirq_device *d);
bool shirq_asserts(const struct shirq_device *d);
bool shirq_has_line(const struct shirq_device *d);
void shirq_set_disintx(struct shirq_device *d, bool on);
bool shirq_disintx_again(struct shirq_device *d);
void shirq_clear_master(struct shirq_device *d);
void shirq_clear_messages(struct shirq_device *d);
bool shirq_wakes_unchanged(const struct shirq_device *d);
int shirq_save(struct shirq_device *d);
int shirq_restore(struct shirq_device *d);
int shirq_reset(struct shirq_device *d, u32 rung);

#endif /* SHIRQ_HW_H */
