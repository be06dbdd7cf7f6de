// SPDX-License-Identifier: GPL-2.0-only
/*
 * The line: the interrupt handler and its registration, the temporary mask of the line,
 * and the check whether the line storms.
 */
#include <linux/cpu.h>
#include <linux/delay.h>
#include <linux/interrupt.h>
#include <linux/irq.h>
#include <linux/irqdesc.h>
#include <linux/ktime.h>
#include <linux/workqueue.h>

#include "compat.h"
#include "event.h"
#include "hw.h"
#include "line.h"
#include "source.h"
#include "storm.h"
#include "trace.h"

#define SHIRQ_LINE_OFF_US	300
#define SHIRQ_LINE_OFF_LONG_US	110000
#define SHIRQ_LOOK_US		500
#define SHIRQ_LOOKS		400
#define SHIRQ_POLLED_NS		50000000
#define SHIRQ_REVIVAL		(HZ / 4)

/* The core gives up the line, and polls it */

/* A notice about the line may be left out: sysfs and SHIRQ_GET_INFO say the same. */
static void shirq_line_notice(struct shirq_device *d, enum shirq_event_type type)
{
	if (d->armed && !shirq_is_full(d))
		shirq_notice(d, type, 0, NULL);
}

static void shirq_line_works(struct shirq_device *d)
{
	d->storm.polled_ns = 0;
	if (!d->storm.given_up)
		return;
	d->storm.given_up = false;
	shirq_line_notice(d, SHIRQ_EVENT_LINE_ON);
}

/**
 * shirq_line_polled() - check whether the core has given up the line
 * @d: the device, @lock held, handler registered
 * @now: the time, CLOCK_MONOTONIC
 *
 * Call it when the line is disabled, or was so at the last call.
 *
 * The core calls the handlers of a disabled line only while it polls a line that it has
 * given up, every 100 ms (kernel/irq/spurious.c). It does not poll an exclusive line: the
 * watch calls this function there. A driver may disable the line for a moment, just when a
 * handler begins: one call proves nothing. Two calls with time between them prove it, if no
 * interrupt came in that time. The core has begun a new count of unhandled interrupts, and
 * does not count while it polls.
 */
noinline void shirq_line_polled(struct shirq_device *d, u64 now)
{
	struct shirq_storm *storm = &d->storm;
	u32 count = READ_ONCE(storm->desc->tot_count);

	lockdep_assert_held(&d->lock);
	if (!irqd_irq_disabled(irq_desc_get_irq_data(storm->desc))) {
		shirq_line_works(d);
	} else if (storm->line_off || READ_ONCE(storm->desc->irqs_unhandled)) {
		storm->polled_ns = 0;
	} else if (!storm->polled_ns || count != storm->polled_count) {
		storm->polled_ns = now;
		storm->polled_count = count;
	} else if (!storm->given_up && now - storm->polled_ns >= SHIRQ_POLLED_NS) {
		storm->given_up = true;
		d->stats.line_given_up++;
		shirq_line_notice(d, SHIRQ_EVENT_LINE_OFF);
		mod_delayed_work(system_percpu_wq, &d->revival, SHIRQ_REVIVAL);
	}
}

/* Another driver that registers a handler revives the line; then no poll comes any more. */
static void shirq_look_for_revival(struct work_struct *work)
{
	struct shirq_device *d = container_of(work, struct shirq_device, revival.work);

	spin_lock_irq(&d->lock);
	if (d->requested && d->storm.given_up) {
		if (irqd_irq_disabled(irq_desc_get_irq_data(d->storm.desc)))
			mod_delayed_work(system_percpu_wq, &d->revival, SHIRQ_REVIVAL);
		else
			shirq_line_works(d);
	}
	spin_unlock_irq(&d->lock);
}

static void shirq_declined(struct shirq_device *d)
{
	d->stats.declines++;
	trace_shirq_decline(d);
}

/*
 * Check whether the first read of the irq program is all that this interrupt needs, if the
 * program declines after it. While the device is masked, the program does not run: its
 * status may be set although a neighbour interrupts. Behind a frozen link no program may
 * run. A handler that handles is registered, and its device is not in quarantine.
 */
static __always_inline bool shirq_peeks(const struct shirq_device *d)
{
	const struct shirq_storm *storm = &d->storm;
	struct irq_desc *desc = storm->desc;

	return likely(d->handling && !d->masked && !storm->polled_ns) &&
	       d->set->program[SHIRQ_PROGRAM_IRQ].relevant &&
	       !irqd_irq_disabled(irq_desc_get_irq_data(desc)) &&
	       !pci_channel_offline(d->pdev) &&
	       !shirq_looked_long_ago(storm->looked, READ_ONCE(desc->irqs_unhandled));
}

/* Act on the end of the irq program. Return: true if the interrupt came from this device. */
static __always_inline bool shirq_judge(struct shirq_device *d, enum shirq_outcome outcome, u64 now)
{
	switch (outcome) {
	case SHIRQ_CLAIMED:
		shirq_storm_claimed(d, now, d->captured);
		return true;
	case SHIRQ_GONE:
		shirq_lose(d);
		shirq_declined(d);
		return false;
	default:
		shirq_declined(d);
		return shirq_storm_declined(d, now);
	}
}

/* The rest of the handler after a read that may lead to a claim. */
static noinline irqreturn_t shirq_interrupted(struct shirq_device *d, u32 first)
	__releases(&d->lock)
{
	u64 now = ktime_get_ns();
	bool ours = shirq_judge(d, shirq_run_irq_rest(d, first, d->captured), now);

	spin_unlock(&d->lock);
	return ours ? IRQ_HANDLED : IRQ_NONE;
}

/* The rest of the handler where more is to be done, or less, than to run the irq program. */
static noinline irqreturn_t shirq_interrupted_unusually(struct shirq_device *d)
	__releases(&d->lock)
{
	u64 now = ktime_get_ns();
	bool ours = false;

	if (!d->requested)
		goto out;
	if (unlikely(irqd_irq_disabled(irq_desc_get_irq_data(d->storm.desc)) ||
		     d->storm.polled_ns))
		shirq_line_polled(d, now);
	if (d->quarantined || d->masked || pci_channel_offline(d->pdev))
		ours = shirq_storm_silent(d, now);
	/*
	 * Do not test d->gone: the device may assert until it is stopped, and only this
	 * handler masks it.
	 */
	else if (d->handling)
		ours = shirq_judge(d, shirq_run_set(d, SHIRQ_PROGRAM_IRQ, d->captured), now);
out:
	spin_unlock(&d->lock);
	return ours ? IRQ_HANDLED : IRQ_NONE;
}

/*
 * The interrupt handler. Most of its calls are for a neighbour. These cost one read, if the
 * irq program begins with its claim test. The functions above drop the lock, so that this
 * one has no registers to save for them.
 */
static irqreturn_t shirq_interrupt(int irq, void *data)
{
	struct shirq_device *d = data;
	u32 first;

	/*
	 * spin_lock() suffices: interrupts are off here, even if the handler is forced
	 * into a thread. On PREEMPT_RT they are on, but there the lock is a sleeping
	 * lock that only threads take.
	 */
	spin_lock(&d->lock);
	trace_shirq_irq(d);
	if (unlikely(d->masked))
		shirq_see_unmask(d);
	if (unlikely(!shirq_peeks(d)))
		return shirq_interrupted_unusually(d);
	if (!shirq_declines(&d->set->program[SHIRQ_PROGRAM_IRQ], &first))
		return shirq_interrupted(d, first);
	shirq_declined(d);
	spin_unlock(&d->lock);
	return IRQ_NONE;
}

/**
 * shirq_begin() - prepare for registering the handler, or for keeping it
 * @d: the device, @lock held, with a line
 * @irqflags: flags for request_irq()
 */
void shirq_begin(struct shirq_device *d, unsigned long irqflags)
{
	lockdep_assert_held(&d->lock);
	d->irq = shirq_line(d);
	d->storm.desc = irq_data_to_desc(irq_get_irq_data(d->irq));
	d->requested = true;
	d->irqflags = irqflags;
	shirq_storm_begin(d);
	d->storm.looked = d->storm.window.last;
}

/**
 * shirq_request() - register the handler
 * @d: the device, @mutex held, after shirq_begin()
 *
 * The caller has already set, under the lock, the state that the handler's first call
 * needs.
 *
 * Return: 0, or the errno of request_irq().
 */
int shirq_request(struct shirq_device *d)
{
	int ret;

	d->neighbour = irq_has_action(d->irq);
	ret = request_irq(d->irq, shirq_interrupt, d->irqflags, d->irq_name, d);
	if (ret) {
		spin_lock_irq(&d->lock);
		d->requested = false;
		d->handling = false;
		spin_unlock_irq(&d->lock);
	}
	return ret;
}

/**
 * shirq_reopen_line() - unmask the line, if shirq has masked it
 * @d: the device, its handler still registered
 */
void shirq_reopen_line(struct shirq_device *d)
{
	bool was_off;

	spin_lock_irq(&d->lock);
	was_off = d->storm.line_off;
	d->storm.line_off = false;
	spin_unlock_irq(&d->lock);
	if (was_off)
		enable_irq(d->irq);
}

/**
 * shirq_free_line() - free the interrupt, if it was requested
 * @d: the device, @mutex held
 */
void shirq_free_line(struct shirq_device *d)
{
	bool requested;

	spin_lock_irq(&d->lock);
	requested = d->requested;
	/* The handler must not disable the line after this point. */
	d->requested = false;
	spin_unlock_irq(&d->lock);
	if (!requested)
		return;
	cancel_delayed_work_sync(&d->revival);
	cancel_work_sync(&d->reopen);
	shirq_reopen_line(d);
	free_irq(d->irq, d);
	/* The core revives the line for the next handler that is registered. */
	spin_lock_irq(&d->lock);
	d->storm.given_up = false;
	d->storm.polled_ns = 0;
	spin_unlock_irq(&d->lock);
}

static void shirq_reopen(struct work_struct *work)
{
	struct shirq_device *d = container_of(work, struct shirq_device, reopen);
	const struct irq_desc *desc = d->storm.desc;
	unsigned long off_us = SHIRQ_LINE_OFF_US;

	if (shirq_shutdown_is_near(READ_ONCE(desc->irqs_unhandled), READ_ONCE(desc->irq_count)))
		off_us = SHIRQ_LINE_OFF_LONG_US;
	usleep_range(off_us, off_us + off_us / 4);
	shirq_reopen_line(d);
}

/* Detecting a storm on the line */

/**
 * shirq_take_due() - check whether the line stormed after the last rung
 * @d: the device, @mutex held
 *
 * A storm during a rung says nothing about the success of that rung. So call this
 * function once more after the rung, and discard the result.
 */
bool shirq_take_due(struct shirq_device *d)
{
	bool due;

	spin_lock_irq(&d->lock);
	due = d->storm.due && d->requested;
	d->storm.due = false;
	shirq_window_clear(&d->storm.window);
	spin_unlock_irq(&d->lock);
	return due;
}

static void shirq_nothing(struct work_struct *work)
{
}

/*
 * Wait until the CPU that takes the line's interrupts has taken any pending interrupt.
 * The hotplug lock, which would keep that CPU online, is not taken, because elsewhere
 * in the kernel it nests outside mmap_lock. If the CPU goes offline, the work runs on
 * another one.
 */
static void shirq_let_interrupt(struct shirq_device *d)
{
	struct irq_data *data = irq_desc_get_irq_data(d->storm.desc);
	unsigned int cpu = cpumask_first(irq_data_get_effective_affinity_mask(data));

	/* There the work would wait for the handlers' threads, which a storm keeps busy. */
	if (IS_ENABLED(CONFIG_PREEMPT_RT)) {
		usleep_range(SHIRQ_LOOK_US, 2 * SHIRQ_LOOK_US);
		return;
	}
	if (cpu < nr_cpu_ids && cpu_online(cpu) && queue_work_on(cpu, system_percpu_wq, &d->look))
		flush_work(&d->look);
}

/**
 * shirq_line_storms() - check whether the line storms
 * @d: the device, @mutex held, watched by shirq_storm_watch()
 *
 * A stuck line interrupts again before other work runs on its CPU, and the core's count
 * of unhandled interrupts grows. If the count did not grow, the line is not stuck.
 */
bool shirq_line_storms(struct shirq_device *d)
{
	struct irq_data *data = irq_desc_get_irq_data(d->storm.desc);
	unsigned int looks, before;
	bool was_off;

	for (looks = 0; looks < SHIRQ_LOOKS; looks++) {
		/* While the line is masked, by us or another driver, the count cannot grow. */
		was_off = READ_ONCE(d->storm.line_off) || irqd_irq_disabled(data);
		before = READ_ONCE(d->storm.desc->irqs_unhandled);
		shirq_let_interrupt(d);
		if (READ_ONCE(d->storm.due))
			return shirq_take_due(d);
		if (!was_off && READ_ONCE(d->storm.desc->irqs_unhandled) == before)
			return false;
		usleep_range(SHIRQ_LOOK_US, 2 * SHIRQ_LOOK_US);
	}
	return false;
}

/**
 * shirq_line_init() - called once, before the device can have an owner
 * @d: the device
 */
void shirq_line_init(struct shirq_device *d)
{
	INIT_WORK(&d->reopen, shirq_reopen);
	INIT_WORK(&d->look, shirq_nothing);
	INIT_DELAYED_WORK(&d->revival, shirq_look_for_revival);
}
