// SPDX-License-Identifier: GPL-2.0-only
/*
 * The watch over an armed device whose handler is not called.
 *
 * The platform may say wrongly where an interrupt pin leads. Then the device asserts
 * another line, where nobody knows of it, and the kernel disables that line after 100,000
 * unhandled interrupts. The evidence: Interrupt Status says that the device asserts, its
 * own line is silent, and another line counts unhandled interrupts. The device is then
 * quarantined, and its owner gets the number of that line.
 *
 * The watch is a timer, not a work item: a storm leaves no processor time for workers on
 * its CPU.
 */
#include <linux/irq.h>
#include <linux/irqdesc.h>
#include <linux/jiffies.h>
#include <linux/rcupdate.h>
#include <linux/timer.h>
#include <linux/version.h>

#include "hw.h"
#include "storm.h"
#include "watch.h"

/* A storm takes about a second to its 100,000th interrupt. */
#define SHIRQ_WATCH_INTERVAL	(HZ / 10)

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 13, 0)
#define irq_get_nr_irqs()	nr_irqs
#endif

/*
 * Return the number of a line, other than the device's own, that counts unhandled
 * interrupts now; or 0. The core begins a new count after HZ / 10 without one.
 */
static unsigned int shirq_other_line(const struct shirq_device *d)
{
	unsigned int irq, found = 0;

	rcu_read_lock();
	for (irq = 1; irq < irq_get_nr_irqs() && !found; irq++) {
		struct irq_data *data = irq_get_irq_data(irq);
		const struct irq_desc *desc;

		if (!data || irq == d->irq)
			continue;
		desc = irq_data_to_desc(data);
		if (READ_ONCE(desc->irqs_unhandled) >= SHIRQ_WINDOW &&
		    time_before(jiffies, READ_ONCE(desc->last_unhandled) + HZ / 10))
			found = irq;
	}
	rcu_read_unlock();
	return found;
}

/* Look for the line that the device asserts, if it asserts and its handler is not called. */
static void shirq_look_elsewhere(struct shirq_device *d)
{
	u64 regs[SHIRQ_EVENT_REGS] = {};

	if (d->masked || irqd_irq_disabled(irq_desc_get_irq_data(d->storm.desc)) ||
	    !shirq_asserts(d))
		return;
	regs[0] = shirq_other_line(d);
	if (regs[0])
		shirq_quarantine(d, SHIRQ_QUARANTINE_OTHER_LINE, regs);
}

static void shirq_watch(struct timer_list *timer)
{
	struct shirq_device *d = container_of(timer, struct shirq_device, watch);
	unsigned long flags;
	u64 calls;

	spin_lock_irqsave(&d->lock, flags);
	calls = d->stats.claims + d->stats.declines + d->stats.silent;
	if (d->armed && calls == d->watched_calls)
		shirq_look_elsewhere(d);
	d->watched_calls = calls;
	if (d->armed)
		mod_timer(&d->watch, jiffies + SHIRQ_WATCH_INTERVAL);
	spin_unlock_irqrestore(&d->lock, flags);
}

/**
 * shirq_watch_begin() - watch the device as long as it is armed
 * @d: the device, @lock held, armed
 */
void shirq_watch_begin(struct shirq_device *d)
{
	lockdep_assert_held(&d->lock);
	mod_timer(&d->watch, jiffies + SHIRQ_WATCH_INTERVAL);
}

/**
 * shirq_watch_end() - wait for the end of the watch
 * @d: the device, disarmed for good
 */
void shirq_watch_end(struct shirq_device *d)
{
	timer_delete_sync(&d->watch);
}

/**
 * shirq_watch_init() - called once, before the device can have an owner
 * @d: the device
 */
void shirq_watch_init(struct shirq_device *d)
{
	timer_setup(&d->watch, shirq_watch, 0);
}
