// SPDX-License-Identifier: GPL-2.0-only
/*
 * On and off: what lets the device assert, and what ends that.
 */
#include <linux/errno.h>
#include <linux/interrupt.h>

#include "access.h"
#include "arm.h"
#include "event.h"
#include "hw.h"
#include "ladder.h"
#include "line.h"
#include "source.h"

/* From here on the handler claims interrupts. Under the lock. */
static void shirq_handle(struct shirq_device *d, u32 flags)
{
	lockdep_assert_held(&d->lock);
	d->handling = true;
	d->quarantined = false;
	d->storm.rung = SHIRQ_RUNG_NONE;
	d->storm.due = false;
	d->storm.rate.claims = 0;
	d->auto_unmask = flags & SHIRQ_ARM_AUTO_UNMASK;
	d->delivered = d->seq;
	d->lost = 0;
}

/*
 * End the quarantine: wake the device, which the rungs may have reset, still silent.
 * Awake it may storm again, until its set, perhaps a better one, has silenced it: the
 * handler watches that long.
 */
static void shirq_rehabilitate(struct shirq_device *d, u32 flags)
{
	/* The worker may not have come to it. */
	shirq_revoke(d);
	pci_set_power_state(d->pdev, PCI_D0);
	shirq_restore(d);
	spin_lock_irq(&d->lock);
	shirq_quiesce(d);
	shirq_handle(d, flags);
	spin_unlock_irq(&d->lock);
}

/*
 * Have the handler registered with these flags, and claiming; in quarantine it only
 * watches, and goes on as it was if it cannot be registered so. That of a quarantine
 * stays where it is unless the line is to be had in another way.
 */
static int shirq_register(struct shirq_device *d, unsigned long irqflags, u32 flags)
{
	unsigned long former = d->irqflags;
	bool registered = d->requested;
	int ret;

	if (registered && former != irqflags)
		shirq_free_line(d);
	/*
	 * The handler must be able to claim and mask from its first call on: a device
	 * without DisINTx may be asserting already. User space must not, before the
	 * handler is there: it could let the device assert.
	 */
	spin_lock_irq(&d->lock);
	shirq_begin(d, irqflags);
	if (!d->quarantined)
		shirq_handle(d, flags);
	spin_unlock_irq(&d->lock);
	if (registered && former == irqflags)
		return 0;
	ret = shirq_request(d);
	if (ret && registered) {
		spin_lock_irq(&d->lock);
		shirq_begin(d, former);
		spin_unlock_irq(&d->lock);
		shirq_request(d);
	}
	return ret;
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
	bool quarantined = READ_ONCE(d->quarantined);
	int ret;

	lockdep_assert_held(&d->mutex);
	if (!shirq_has_line(d))
		return -ENXIO;
	if (!d->set)
		return -ENOEXEC;
	if (READ_ONCE(d->armed))
		return -EALREADY;
	if (d->life & SHIRQ_PAUSED || pci_channel_offline(d->pdev))
		return -EIO;
	if (flags & SHIRQ_ARM_SHARED)
		irqflags |= IRQF_SHARED | IRQF_COND_SUSPEND;
	ret = shirq_register(d, irqflags, flags);
	if (ret)
		return ret;
	if (quarantined)
		shirq_rehabilitate(d, flags);

	spin_lock_irq(&d->lock);
	/* Its registers would say the same, but a program need not look at them. */
	if (!d->gone && !pci_channel_offline(d->pdev) && !shirq_present(d))
		shirq_lose(d);
	if (d->gone) {
		ret = -ENODEV;
	} else if (d->handling) {
		WRITE_ONCE(d->armed, true);
		shirq_set_disintx(d, false);
		/* Masked already: the owner gets that event first, and unmasks it. */
		if (!d->masked)
			ret = shirq_enable(d);
	}
	spin_unlock_irq(&d->lock);
	return ret;
}

/**
 * shirq_halt() - quiesce, and let the handler watch the line; what is queued stays
 * @d: the device, @mutex held
 *
 * Ends with shirq_let_go() or shirq_withdraw().
 */
void shirq_halt(struct shirq_device *d)
{
	lockdep_assert_held(&d->mutex);
	spin_lock_irq(&d->lock);
	shirq_stop(d);
	shirq_storm_watch(d);
	spin_unlock_irq(&d->lock);
}

/**
 * shirq_let_go() - end the watch of shirq_halt(), and free the interrupt
 * @d: the device, @mutex held, with an owner
 *
 * A device that the line is not free of is quarantined, and its handler stays.
 */
void shirq_let_go(struct shirq_device *d)
{
	lockdep_assert_held(&d->mutex);
	/* What is gone may come back: its line stays watched. */
	if (READ_ONCE(d->storm.watched) && !READ_ONCE(d->gone) && shirq_storm_released(d))
		shirq_free_line(d);
}

/**
 * shirq_disarm() - quiesce, end what the readers wait for, and free the interrupt
 * @d: the device, @mutex held
 *
 * The handler goes last: it sees whether the line is free of the device. If it is not,
 * the handler stays and the device is quarantined.
 *
 * Return: 0, or the errno of SHIRQ_DISARM.
 */
int shirq_disarm(struct shirq_device *d)
{
	bool armed;

	lockdep_assert_held(&d->mutex);
	spin_lock_irq(&d->lock);
	armed = d->armed;
	if (armed) {
		shirq_stop(d);
		shirq_end_readers(d);
		shirq_storm_watch(d);
	}
	spin_unlock_irq(&d->lock);
	if (!armed)
		return -ENXIO;
	shirq_let_go(d);
	return 0;
}

/**
 * shirq_withdraw() - silence for good, asleep and without bus mastering
 * @d: the device, @mutex held
 *
 * The handler goes last, by shirq_free_line(): it sees whether the line is free of the
 * device.
 *
 * Return: false if the device does not answer. It may answer again, and assert.
 */
bool shirq_withdraw(struct shirq_device *d)
{
	lockdep_assert_held(&d->mutex);
	spin_lock_irq(&d->lock);
	shirq_clear_master(d);
	shirq_stop(d);
	shirq_end_readers(d);
	shirq_storm_watch(d);
	spin_unlock_irq(&d->lock);
	if (!shirq_present(d))
		return false;
	if (d->quiesce.release && shirq_reset_function(d, d->quiesce.release))
		shirq_warn(d, "not reset at release\n");
	shirq_sleep(d);
	shirq_storm_settle(d, d->quiesce.rungs | SHIRQ_RUNGS_UNOWNED);
	shirq_sleep(d);
	return true;
}
