// SPDX-License-Identifier: GPL-2.0
/*
 * The interrupt: claim, event, unmask; and what turns it on and off.
 */
#include <linux/errno.h>
#include <linux/interrupt.h>
#include <linux/slab.h>
#include <linux/timekeeping.h>

#include "core.h"

static enum shirq_outcome shirq_run_set(struct shirq_device *d, enum shirq_program_kind kind,
					u64 *captured)
{
	u64 regs[SHIRQ_REGS] = {};

	lockdep_assert_held(&d->lock);
	return shirq_run(&d->set->program[kind], &d->bus, regs, captured);
}

/**
 * shirq_set_disintx() - set or clear the interrupt-disable bit
 * @d: the device
 * @on: the device shall not assert
 *
 * A byte of Command, as programs write it: the other byte has other writers.
 * Where the bit does not exist, nothing happens.
 */
void shirq_set_disintx(struct shirq_device *d, bool on)
{
	u8 high;

	lockdep_assert_held(&d->lock);
	pci_read_config_byte(d->pdev, SHIRQ_CONFIG_DISINTX_OFFSET, &high);
	if (on)
		high |= SHIRQ_CONFIG_DISINTX_BIT;
	else
		high &= ~SHIRQ_CONFIG_DISINTX_BIT;
	pci_write_config_byte(d->pdev, SHIRQ_CONFIG_DISINTX_OFFSET, high);
}

/* Does the device have a line at all? */
bool shirq_has_line(const struct shirq_device *d)
{
	return d->pdev->pin && d->pdev->irq && d->pdev->irq != IRQ_NOTCONNECTED;
}

/**
 * shirq_check() - may the owner wait for events?
 * @d: the device
 *
 * Return: 0, or the errno of read().
 */
int shirq_check(const struct shirq_device *d)
{
	lockdep_assert_held(&d->lock);
	if (d->gone)
		return -ENODEV;
	return d->armed ? 0 : -ENXIO;
}

/* The caller wakes the waiters. */
static int shirq_run_checked(struct shirq_device *d, const struct shirq_program *program, u64 *regs)
{
	lockdep_assert_held(&d->lock);
	if (shirq_run(program, &d->bus, regs, NULL) != SHIRQ_GONE)
		return 0;
	d->gone = true;
	return -ENODEV;
}

static int shirq_enable(struct shirq_device *d)
{
	u64 regs[SHIRQ_REGS] = {};

	d->masked = false;
	return shirq_run_checked(d, &d->set->program[SHIRQ_PROGRAM_UNMASK], regs);
}

static void shirq_queue_event(struct shirq_device *d, u64 time_ns, const u64 *captured)
{
	struct shirq_event *event;

	if (d->head - d->tail == SHIRQ_QUEUE) {
		d->lost++;
		d->stats.lost++;
		return;
	}
	event = &d->queue[d->head++ % SHIRQ_QUEUE];
	*event = (struct shirq_event) {
		.size = sizeof(*event),
		.type = SHIRQ_EVENT_IRQ,
		.seq = d->seq,
		.time_ns = time_ns,
		.lost = d->lost,
	};
	memcpy(event->r, captured, sizeof(event->r));
	d->stats.events++;
}

/* The one place where the device is masked in the interrupt: by its irq program. */
static irqreturn_t shirq_interrupt(int irq, void *data)
{
	struct shirq_device *d = data;
	u64 captured[SHIRQ_EVENT_REGS];
	u64 now = ktime_get_ns();
	enum shirq_outcome outcome;
	unsigned long flags;

	spin_lock_irqsave(&d->lock, flags);
	/* While masked our own status may well be set: the interrupt is a neighbour's. */
	if (!d->armed || d->gone || d->masked) {
		spin_unlock_irqrestore(&d->lock, flags);
		return IRQ_NONE;
	}
	outcome = shirq_run_set(d, SHIRQ_PROGRAM_IRQ, captured);
	if (outcome == SHIRQ_CLAIMED) {
		d->stats.claims++;
		d->seq++;
		d->masked = d->set->mode == SHIRQ_MODE_MASKS;
		shirq_queue_event(d, now, captured);
	} else {
		d->stats.declines++;
		if (outcome == SHIRQ_GONE)
			d->gone = true;
	}
	spin_unlock_irqrestore(&d->lock, flags);

	if (outcome != SHIRQ_ENDED)
		wake_up_interruptible(&d->wait);
	return outcome == SHIRQ_CLAIMED ? IRQ_HANDLED : IRQ_NONE;
}

static void shirq_end_epoch(struct shirq_device *d)
{
	lockdep_assert_held(&d->lock);
	d->armed = false;
	d->masked = false;
	d->tail = d->head;
	d->epoch++;
}

/**
 * shirq_load() - replace the loaded set
 * @d: the device, @mutex held
 * @set: a verified set; on success it belongs to the device
 *
 * Return: 0, or -EBUSY while armed.
 */
int shirq_load(struct shirq_device *d, struct shirq_set *set)
{
	lockdep_assert_held(&d->mutex);
	if (d->armed)
		return -EBUSY;
	spin_lock_irq(&d->lock);
	swap(d->set, set);
	spin_unlock_irq(&d->lock);
	kfree(set);
	return 0;
}

/**
 * shirq_arm() - request the interrupt, then let the device assert
 * @d: the device, @mutex held
 * @flags: SHIRQ_ARM_*, checked
 *
 * Return: 0, or the errno of SHIRQ_ARM.
 */
int shirq_arm(struct shirq_device *d, u32 flags)
{
	/* A mismatch is an answer here, not a mistake: keep the core from logging it. */
	unsigned long irqflags = IRQF_PROBE_SHARED;
	int ret;

	lockdep_assert_held(&d->mutex);
	if (!shirq_has_line(d))
		return -ENXIO;
	if (!d->set)
		return -ENOEXEC;
	if (d->armed)
		return -EALREADY;

	if (flags & SHIRQ_ARM_SHARED)
		irqflags |= IRQF_SHARED;
	d->neighbour = irq_has_action(d->pdev->irq);

	/*
	 * The handler must be able to claim and mask from its first call on:
	 * a device without DisINTx may be asserting already.
	 */
	spin_lock_irq(&d->lock);
	d->armed = true;
	d->auto_unmask = flags & SHIRQ_ARM_AUTO_UNMASK;
	d->delivered = d->seq;
	d->lost = 0;
	spin_unlock_irq(&d->lock);

	ret = request_irq(d->pdev->irq, shirq_interrupt, irqflags, d->irq_name, d);

	spin_lock_irq(&d->lock);
	if (ret) {
		shirq_end_epoch(d);
	} else if (d->gone) {
		ret = -ENODEV;
	} else {
		shirq_set_disintx(d, false);
		/* Masked already: the owner gets that event first, and unmasks it. */
		if (!d->masked)
			ret = shirq_enable(d);
	}
	spin_unlock_irq(&d->lock);
	if (ret)
		wake_up_interruptible(&d->wait);
	return ret;
}

/**
 * shirq_silence() - make sure that the device does not assert, free the interrupt
 * @d: the device, @mutex held, in D0
 *
 * Runs the release program whether armed or not: once a set is loaded, its
 * owner may have let the device assert in other ways.
 */
void shirq_silence(struct shirq_device *d)
{
	/* Not d->gone: all-ones in one register is no proof that the device cannot assert. */
	bool present = pci_device_is_present(d->pdev);
	bool armed;

	lockdep_assert_held(&d->mutex);
	spin_lock_irq(&d->lock);
	armed = d->armed;
	shirq_end_epoch(d);
	if (present) {
		if (d->set)
			shirq_run_set(d, SHIRQ_PROGRAM_RELEASE, NULL);
		shirq_set_disintx(d, true);
	}
	spin_unlock_irq(&d->lock);

	wake_up_interruptible(&d->wait);
	if (armed)
		free_irq(d->pdev->irq, d);
}

static int shirq_unmask_locked(struct shirq_device *d, u64 seq)
{
	int ret = shirq_check(d);

	if (ret || !d->masked || seq != d->seq)
		return ret;
	d->stats.unmasks++;
	return shirq_enable(d);
}

static void shirq_wake_if(struct shirq_device *d, int ret)
{
	if (ret == -ENODEV)
		wake_up_interruptible(&d->wait);
}

/**
 * shirq_unmask() - let the device assert again after an event
 * @d: the device
 * @seq: the event; nothing is done if it is not the last claim
 *
 * Return: 0, or the errno of SHIRQ_UNMASK.
 */
int shirq_unmask(struct shirq_device *d, u64 seq)
{
	int ret;

	spin_lock_irq(&d->lock);
	ret = shirq_unmask_locked(d, seq);
	if (!ret && seq > d->seq)
		ret = -EINVAL;
	spin_unlock_irq(&d->lock);
	shirq_wake_if(d, ret);
	return ret;
}

/**
 * shirq_unmask_delivered() - what read() does before it waits
 * @d: the device
 * @epoch: set to the armed time that the reader belongs to
 *
 * Return: 0, or the errno of read().
 */
int shirq_unmask_delivered(struct shirq_device *d, u32 *epoch)
{
	int ret;

	spin_lock_irq(&d->lock);
	*epoch = d->epoch;
	ret = d->auto_unmask ? shirq_unmask_locked(d, d->delivered) : shirq_check(d);
	spin_unlock_irq(&d->lock);
	shirq_wake_if(d, ret);
	return ret;
}

/**
 * shirq_exec() - run a one-shot program, serialised with the interrupt
 * @d: the device
 * @program: verified as SHIRQ_PROGRAM_EXEC
 * @regs: the registers, in and out
 *
 * Return: 0, or -ENODEV.
 */
int shirq_exec(struct shirq_device *d, const struct shirq_program *program, u64 *regs)
{
	int ret = -ENODEV;

	spin_lock_irq(&d->lock);
	if (!d->gone)
		ret = shirq_run_checked(d, program, regs);
	spin_unlock_irq(&d->lock);
	shirq_wake_if(d, ret);
	return ret;
}

/**
 * shirq_set_gone() - let nobody touch the device or wait for it from now on
 * @d: the device
 */
void shirq_set_gone(struct shirq_device *d)
{
	spin_lock_irq(&d->lock);
	d->gone = true;
	spin_unlock_irq(&d->lock);
	wake_up_interruptible(&d->wait);
}
