// SPDX-License-Identifier: GPL-2.0-only
/* Arm and disarm: the calls that let the device assert, and those that silence it. */
#include <linux/errno.h>
#include <linux/interrupt.h>

#include "access.h"
#include "arm.h"
#include "event.h"
#include "hw.h"
#include "ladder.h"
#include "line.h"
#include "source.h"
#include "watch.h"

/* Let the handler claim interrupts from now on. Called with the lock held. */
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
	shirq_ring_switch(d, flags & SHIRQ_ARM_RING);
	d->set->saved = false;
	memset(d->set->kept, 0, sizeof(d->set->kept));
}

/**
 * shirq_wake_quarantined() - wake a quarantined device, which a rung may have reset
 * @d: the device, @mutex held
 */
void shirq_wake_quarantined(struct shirq_device *d)
{
	/* The worker may not have revoked the mappings yet. */
	shirq_revoke(d);
	pci_set_power_state(d->pdev, PCI_D0);
	shirq_restore(d);
}

/*
 * End the quarantine: wake the device, and silence it with the loaded set, which the owner
 * may have corrected. Between waking and silencing, the device may storm again: the handler
 * still watches the line then.
 */
static void shirq_rehabilitate(struct shirq_device *d, u32 flags)
{
	shirq_wake_quarantined(d);
	spin_lock_irq(&d->lock);
	shirq_quiesce(d);
	shirq_handle(d, flags);
	spin_unlock_irq(&d->lock);
}

/*
 * Register the handler with these flags, and let it claim. In quarantine the handler is
 * registered already, and only watches the line. It is then registered anew only if the
 * flags differ, or if the core has given the line up: registering a handler revives it. If
 * that fails, the handler is registered with the former flags again.
 */
static int shirq_register(struct shirq_device *d, unsigned long irqflags, u32 flags)
{
	unsigned long former = d->irqflags;
	bool registered = d->requested;
	bool kept = registered && former == irqflags && !READ_ONCE(d->storm.given_up);
	int ret;

	if (registered && !kept)
		shirq_free_line(d);
	/*
	 * The handler must be able to claim and mask from its first call on: a device
	 * without DisINTx may be asserting already. User space must not mask or unmask
	 * before the handler is registered, because an unmask lets the device assert.
	 */
	spin_lock_irq(&d->lock);
	shirq_begin(d, irqflags);
	if (!d->quarantined)
		shirq_handle(d, flags);
	spin_unlock_irq(&d->lock);
	if (kept)
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
	/* A sharing conflict is reported to user space: suppress the core's warning. */
	unsigned long irqflags = IRQF_PROBE_SHARED;
	bool quarantined = READ_ONCE(d->quarantined);
	bool ringing = READ_ONCE(d->ringing);
	int ret;

	lockdep_assert_held(&d->mutex);
	if (!shirq_has_line(d))
		return -ENXIO;
	if (!d->set)
		return -ENOEXEC;
	if (READ_ONCE(d->armed))
		return -EALREADY;
	if (d->message_count)
		return -EBUSY;
	if (d->life & SHIRQ_PAUSED || pci_channel_offline(d->pdev))
		return -EIO;
	if (flags & SHIRQ_ARM_SHARED)
		irqflags |= SHIRQ_IRQF_SHARED;
	ret = shirq_register(d, irqflags, flags);
	if (ret) {
		/* The events that are queued go to the one who got them before. */
		spin_lock_irq(&d->lock);
		WRITE_ONCE(d->ringing, ringing);
		spin_unlock_irq(&d->lock);
		return ret;
	}
	if (quarantined)
		shirq_rehabilitate(d, flags);

	spin_lock_irq(&d->lock);
	/*
	 * Read config space to detect that the device is gone: the unmask program may
	 * read no register that shows this.
	 */
	if (!d->gone && !pci_channel_offline(d->pdev) && !shirq_present(d))
		shirq_lose(d);
	if (d->gone) {
		ret = -ENODEV;
	} else if (d->handling) {
		WRITE_ONCE(d->armed, true);
		shirq_ring_state(d, SHIRQ_RING_ARMED, 0);
		shirq_watch_begin(d);
		shirq_clear_messages(d);
		shirq_set_disintx(d, false);
		/*
		 * If the handler has already claimed and masked, leave the device
		 * masked: the owner reads and unmasks that event first.
		 */
		if (!d->masked)
			ret = shirq_enable(d);
	}
	spin_unlock_irq(&d->lock);
	return ret;
}

/**
 * shirq_halt() - quiesce, and let the handler watch the line; queued events stay
 * @d: the device, @mutex held
 *
 * shirq_let_go() or shirq_withdraw() ends the watch.
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
 * If the device still asserts the line, it is quarantined and its handler stays.
 */
void shirq_let_go(struct shirq_device *d)
{
	lockdep_assert_held(&d->mutex);
	/* A device that is gone may come back: keep watching its line. */
	if (READ_ONCE(d->storm.watched) && !READ_ONCE(d->gone) && shirq_storm_released(d))
		shirq_free_line(d);
}

/**
 * shirq_disarm() - quiesce, wake the readers, and free the interrupt
 * @d: the device, @mutex held
 *
 * The handler is freed last, because it detects whether the device still asserts the
 * line. If the device does, the handler stays and the device is quarantined.
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
 * shirq_withdraw() - silence the device permanently: in D3hot, bus mastering off
 * @d: the device, @mutex held
 *
 * The caller frees the handler afterwards, with shirq_free_line(), because the handler
 * detects whether the device still asserts the line.
 *
 * Return: false if the device does not answer. It may answer later, and assert then.
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
		shirq_warn(d, "not reset at release: the function-level reset failed\n");
	shirq_sleep(d);
	shirq_storm_settle(d, d->quiesce.rungs | SHIRQ_RUNGS_UNOWNED);
	shirq_sleep(d);
	return true;
}
