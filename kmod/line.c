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

#include "hw.h"
#include "line.h"
#include "source.h"
#include "storm.h"
#include "trace.h"

#define SHIRQ_LINE_OFF_US	300
#define SHIRQ_LINE_OFF_LONG_US	110000
#define SHIRQ_LOOK_US		500
#define SHIRQ_LOOKS		400

/* The interrupt handler. The irq program, which it runs, claims and masks. */
static irqreturn_t shirq_interrupt(int irq, void *data)
{
	struct shirq_device *d = data;
	u64 *captured = d->captured;
	u64 now = ktime_get_ns();
	bool ours = false;

	/*
	 * spin_lock() suffices: interrupts are off here, even if the handler is forced
	 * into a thread. On PREEMPT_RT they are on, but there the lock is a sleeping
	 * lock that only threads take.
	 */
	spin_lock(&d->lock);
	trace_shirq_irq(d);
	if (!d->requested)
		goto out;
	/*
	 * Do not run the irq program while the device is masked: its status may be set
	 * although a neighbour interrupts. Behind a frozen link no program may run.
	 */
	if (d->quarantined || d->masked || pci_channel_offline(d->pdev)) {
		ours = shirq_storm_silent(d, now);
		goto out;
	}
	/*
	 * Do not test d->gone: the device may assert until it is stopped, and only this
	 * handler masks it.
	 */
	if (!d->handling)
		goto out;
	switch (shirq_run_set(d, SHIRQ_PROGRAM_IRQ, captured)) {
	case SHIRQ_CLAIMED:
		ours = true;
		shirq_claim(d, now, captured);
		if (d->set->mode == SHIRQ_MODE_ACKNOWLEDGES)
			shirq_storm_acknowledged(d, now, captured);
		break;
	case SHIRQ_GONE:
		shirq_lose(d);
		fallthrough;
	default:
		d->stats.declines++;
		trace_shirq_decline(d);
	}
out:
	spin_unlock(&d->lock);
	return ours ? IRQ_HANDLED : IRQ_NONE;
}

/**
 * shirq_begin() - prepare for registering the handler, or for keeping it
 * @d: the device, @lock held, with a line
 * @irqflags: flags for request_irq()
 */
void shirq_begin(struct shirq_device *d, unsigned long irqflags)
{
	lockdep_assert_held(&d->lock);
	d->irq = d->pdev->irq;
	d->storm.desc = irq_data_to_desc(irq_get_irq_data(d->irq));
	d->requested = true;
	d->irqflags = irqflags;
	shirq_storm_begin(d);
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
	cancel_work_sync(&d->reopen);
	shirq_reopen_line(d);
	free_irq(d->irq, d);
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

	if (cpu < nr_cpu_ids && cpu_online(cpu) && queue_work_on(cpu, system_wq, &d->look))
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
}
