// SPDX-License-Identifier: GPL-2.0-only
/*
 * The watch over an armed device whose handler is not called.
 *
 * The platform may say wrongly where an interrupt pin leads. Then the device asserts
 * another line, where nobody knows of it, and the kernel disables that line after 100,000
 * unhandled interrupts. The suspicion, at each of several looks in a row: Interrupt Status
 * says that the device asserts, and its own line is open but silent, while the same other
 * line counts SHIRQ_WINDOW unhandled interrupts. Interrupt Status may show sources that are
 * masked, so a trial follows: DisINTx is set for as long as the suspicion took. If the other
 * line is silent then, the device is quarantined, and its owner gets the number of that
 * line. If not, the device is not suspected again while it is armed.
 *
 * On an exclusive line, the watch also looks whether the core has given up the line: the
 * core does not poll that line, so the handler is not called.
 *
 * The watch is a timer that runs in the hard interrupt, not a work item or a timer of the
 * softirq: these get no processor time on a CPU that takes a storm. With PREEMPT_RT the watch
 * gets none either, unless the thread of the timers has a higher priority than the handlers'.
 */
#include <linux/hrtimer.h>
#include <linux/interrupt.h>
#include <linux/irq.h>
#include <linux/irqdesc.h>
#include <linux/jiffies.h>
#include <linux/rcupdate.h>

#include "compat.h"
#include "hw.h"
#include "line.h"
#include "source.h"
#include "storm.h"
#include "watch.h"

/*
 * Time between two looks; and while another line is suspected, which must storm within
 * SHIRQ_SUSPECT_LOOKS. A storm takes from 100 ms to several seconds to its 100,000th
 * interrupt.
 */
#define SHIRQ_WATCH_NS		(100 * NSEC_PER_MSEC)
#define SHIRQ_SUSPECT_NS	(20 * NSEC_PER_MSEC)
#define SHIRQ_SUSPECT_LOOKS	25

/*
 * Return the number of a line, other than the device's own, that counts unhandled
 * interrupts now; or 0. The core begins a new count after HZ / 10 without one.
 */
static unsigned int shirq_other_line(const struct shirq_device *d, u32 *unhandled)
{
	unsigned int irq, found = 0;

	rcu_read_lock();
	for (irq = 1; irq < irq_get_nr_irqs() && !found; irq++) {
		struct irq_data *data = irq_get_irq_data(irq);
		const struct irq_desc *desc;

		if (!data || irq == d->irq)
			continue;
		desc = irq_data_to_desc(data);
		*unhandled = READ_ONCE(desc->irqs_unhandled);
		if (*unhandled >= SHIRQ_WINDOW &&
		    time_before(jiffies, READ_ONCE(desc->last_unhandled) + HZ / 10))
			found = irq;
	}
	rcu_read_unlock();
	return found;
}

/*
 * Return: true if the device's own line is open, and no interrupt of it is on its way: a
 * storm of another line may keep the CPU from taking it. The I/O APIC tells ACTIVE, the GIC
 * PENDING as well. The 8259 tells neither: then nothing is proved.
 */
static bool shirq_line_is_silent(const struct shirq_device *d)
{
	struct irq_data *data = irq_desc_get_irq_data(d->storm.desc);
	bool active, pending = false;

	if (irqd_irq_disabled(data) || irqd_irq_masked(data) ||
	    irq_get_irqchip_state(d->irq, IRQCHIP_STATE_ACTIVE, &active))
		return false;
	irq_get_irqchip_state(d->irq, IRQCHIP_STATE_PENDING, &pending);
	return !active && !pending;
}

/* Return: false if the line is gone, or the core has disabled it: it shows nothing any more. */
static bool shirq_unhandled(unsigned int irq, u32 *unhandled)
{
	struct irq_data *data;
	bool open = false;

	rcu_read_lock();
	data = irq_get_irq_data(irq);
	if (data && !irqd_irq_disabled(data)) {
		*unhandled = READ_ONCE(irq_data_to_desc(data)->irqs_unhandled);
		open = true;
	}
	rcu_read_unlock();
	return open;
}

/* End the suspicion, and the trial if there is one. */
static void shirq_forget(struct shirq_device *d)
{
	struct shirq_storm *storm = &d->storm;

	if (storm->on_trial && !d->intx_off && shirq_answers(d))
		shirq_set_disintx(d, false);
	storm->on_trial = false;
	storm->suspect_line = 0;
}

/* Look for the line that the device asserts, if it asserts and its handler is not called. */
static void shirq_suspect(struct shirq_device *d)
{
	struct shirq_storm *storm = &d->storm;
	unsigned int irq = 0;
	u32 unhandled = 0;

	if (shirq_line_is_silent(d) && shirq_asserts(d))
		irq = shirq_other_line(d, &unhandled);
	if (!irq || irq == storm->innocent_of) {
		shirq_forget(d);
	} else if (irq != storm->suspect_line || unhandled < storm->suspect_unhandled) {
		storm->suspect_line = irq;
		storm->suspect_unhandled = unhandled;
		storm->suspect_looks = 0;
	} else if (++storm->suspect_looks > SHIRQ_SUSPECT_LOOKS) {
		shirq_forget(d);
	} else if (unhandled - storm->suspect_unhandled >= SHIRQ_WINDOW) {
		storm->on_trial = shirq_disintx_again(d);
		storm->suspect_unhandled = unhandled;
	}
}

/* The device is silent by DisINTx: see whether the suspected line is silent too. */
static void shirq_try(struct shirq_device *d)
{
	struct shirq_storm *storm = &d->storm;
	u64 regs[SHIRQ_EVENT_REGS] = { storm->suspect_line };
	u32 unhandled;

	if (--storm->suspect_looks)
		return;
	if (!shirq_unhandled(storm->suspect_line, &unhandled)) {
		shirq_forget(d);
		return;
	}
	/* A lower count is a new one, which the core begins after a silence. */
	if (unhandled >= storm->suspect_unhandled)
		unhandled -= storm->suspect_unhandled;
	if (unhandled < SHIRQ_WINDOW / 10) {
		storm->on_trial = false;
		shirq_quarantine(d, SHIRQ_QUARANTINE_OTHER_LINE, regs);
	} else {
		storm->innocent_of = storm->suspect_line;
		shirq_forget(d);
	}
}

static void shirq_look(struct shirq_device *d)
{
	u64 calls = d->stats.claims + d->stats.declines + d->stats.silent;

	shirq_see_unmask(d);
	if (calls != d->watched_calls || d->masked)
		shirq_forget(d);
	else if (d->storm.on_trial)
		shirq_try(d);
	else
		shirq_suspect(d);
	d->watched_calls = calls;
	if (!(d->irqflags & IRQF_SHARED) &&
	    (irqd_irq_disabled(irq_desc_get_irq_data(d->storm.desc)) || d->storm.polled_ns))
		shirq_line_polled(d, ktime_get_ns());
}

static enum hrtimer_restart shirq_watch(struct hrtimer *timer)
{
	struct shirq_device *d = container_of(timer, struct shirq_device, watch);
	unsigned long flags;
	bool again;

	spin_lock_irqsave(&d->lock, flags);
	if (d->armed)
		shirq_look(d);
	/* If the device was armed anew before this had the lock, the timer is started already. */
	again = d->armed && !hrtimer_is_queued(timer);
	if (again)
		hrtimer_forward_now(timer, d->storm.suspect_line ? SHIRQ_SUSPECT_NS
								 : SHIRQ_WATCH_NS);
	spin_unlock_irqrestore(&d->lock, flags);
	return again ? HRTIMER_RESTART : HRTIMER_NORESTART;
}

/**
 * shirq_watch_begin() - watch the device as long as it is armed
 * @d: the device, @lock held, armed
 */
void shirq_watch_begin(struct shirq_device *d)
{
	lockdep_assert_held(&d->lock);
	d->storm.on_trial = false;
	d->storm.suspect_line = 0;
	d->storm.innocent_of = 0;
	hrtimer_start(&d->watch, SHIRQ_WATCH_NS, HRTIMER_MODE_REL);
}

/**
 * shirq_watch_end() - wait for the end of the watch
 * @d: the device, disarmed for good
 */
void shirq_watch_end(struct shirq_device *d)
{
	hrtimer_cancel(&d->watch);
}

/**
 * shirq_watch_init() - called once, before the device can have an owner
 * @d: the device
 */
void shirq_watch_init(struct shirq_device *d)
{
	hrtimer_setup(&d->watch, shirq_watch, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
}
