// SPDX-License-Identifier: GPL-2.0-only
/*
 * The life cycle of a device. The table in life.h gives the state after each turn; this
 * file carries out the turns. No other file writes @life.
 *
 * Only shirq_disown() handles the end of an owner, only shirq_retire() the end of the
 * device. A parked device is silent: bus mastering is off, DisINTx is set, and the
 * device is in D3hot if it wakes from D3hot without a reset or if only D3hot silences
 * it. A paused device is silent, and not accessed; if it has no owner it is parked when
 * the pause ends. @gone is not part of the table: a program may set it in the
 * interrupt, and the next open() clears it.
 */
#include <linux/errno.h>
#include <linux/slab.h>

#include "access.h"
#include "arm.h"
#include "dma.h"
#include "event.h"
#include "hw.h"
#include "ladder.h"
#include "lifecycle.h"
#include "line.h"
#include "message.h"
#include "source.h"
#include "watch.h"

/* Interval at which a device that is gone is polled. */
#define SHIRQ_LOOK_FOR		HZ
/* Longer than the PCI core waits for a device to answer after a reset, 60 s. */
#define SHIRQ_RECOVERY		(70 * HZ)

/* Return the state after the turn, or a negative errno if the turn is refused. */
static int shirq_may_turn(const struct shirq_device *d, enum shirq_turn turn)
{
	lockdep_assert_held(&d->mutex);
	return shirq_after(d->life, turn);
}

/*
 * Carry out the turn: shirq_may_turn() has allowed it, and the mutex was held since
 * then.
 */
static void shirq_turn(struct shirq_device *d, enum shirq_turn turn)
{
	int life = shirq_may_turn(d, turn);

	lockdep_assert_held(&d->lock);
	if (!WARN_ON_ONCE(life < 0))
		WRITE_ONCE(d->life, life);
}

/* Free everything that the former owner left. */
static void shirq_clear_out(struct shirq_device *d)
{
	shirq_free_line(d);
	shirq_load(d, &d->set, NULL);
	shirq_drop_messages(d);
	shirq_unmap_bars(d);
	d->leaving = false;
	spin_lock_irq(&d->lock);
	d->quarantined = false;
	d->quiesce = (struct shirq_quiesce) {};
	spin_unlock_irq(&d->lock);
}

/*
 * Park the device. If it does not answer now, watch its line and keep its set: the
 * release program must run when the device answers again.
 */
static void shirq_park(struct shirq_device *d)
{
	shirq_free_vectors(d);
	d->leaving = !shirq_withdraw(d);
	if (d->leaving)
		mod_delayed_work(system_highpri_wq, &d->absent, SHIRQ_LOOK_FOR);
	else
		shirq_clear_out(d);
}

/* Silence the device again, and put it back to sleep if the PCI core had woken it. */
static void shirq_calm(struct shirq_device *d)
{
	shirq_quiesce_again(d);
	if (!(d->life & SHIRQ_OWNED) || READ_ONCE(d->storm.rung) > SHIRQ_RUNG_RELEASED)
		shirq_sleep(d);
}

/*
 * Silence a device that answers again, which was impossible while it was gone. If all
 * rungs had failed, start again with the first rung.
 */
static void shirq_calm_returned(struct shirq_device *d)
{
	spin_lock_irq(&d->lock);
	shirq_clear_master(d);
	if (d->storm.rung == SHIRQ_RUNG_FAILED)
		d->storm.rung = SHIRQ_RUNG_NONE;
	spin_unlock_irq(&d->lock);
	if (d->leaving)
		shirq_park(d);
	else
		shirq_calm(d);
}

/*
 * Wake a parked device. Its line is watched until the device has been silenced, or the
 * line shows that it is silent. Fails for a device that only D3hot silences.
 */
static int shirq_wake(struct shirq_device *d)
{
	int ret = 0;

	if (d->pdev->current_state != PCI_D0)
		ret = shirq_watch_wake(d);
	/*
	 * If another handler holds the line exclusively, the line cannot be watched.
	 * Then wake the device only if less than D3hot silenced it.
	 */
	if (ret && (ret != -EBUSY || READ_ONCE(d->storm.rung) >= SHIRQ_RUNG_D3HOT))
		return ret;
	pci_set_power_state(d->pdev, PCI_D0);
	ret = shirq_restore(d);
	if (!ret && d->pdev->current_state != PCI_D0)
		ret = -EIO;
	if (d->requested) {
		shirq_storm_settle(d, SHIRQ_QUIESCE_FLR);
		if (!ret && READ_ONCE(d->storm.rung) == SHIRQ_RUNG_FAILED)
			ret = -EIO;
		if (ret)
			shirq_sleep(d);
		shirq_free_line(d);
	}
	return ret;
}

/* Make the registers of a parked device accessible. The device stays silent. */
static int shirq_unpark(struct shirq_device *d)
{
	int ret;

	lockdep_assert_held(&d->mutex);
	if (!shirq_present(d))
		return -ENODEV;
	if (d->leaving)
		shirq_calm_returned(d);
	ret = d->leaving ? -ENODEV : shirq_save(d);
	if (ret)
		return ret;
	ret = shirq_wake(d) ?: shirq_map_bars(d);
	if (ret)
		shirq_sleep(d);
	return ret;
}

static int shirq_own_locked(struct shirq_device *d, struct address_space *mapping)
{
	int ret;

	ret = shirq_may_turn(d, SHIRQ_TURN_OPEN);
	if (ret < 0)
		return ret;
	ret = shirq_alloc_ring(d);
	if (ret)
		return ret;
	ret = shirq_unpark(d);
	if (ret) {
		shirq_free_ring(d);
		return ret;
	}
	d->mapping = mapping;

	spin_lock_irq(&d->lock);
	shirq_turn(d, SHIRQ_TURN_OPEN);
	WRITE_ONCE(d->gone, false);
	d->quarantined = false;
	d->storm.rung = SHIRQ_RUNG_NONE;
	d->seq = 0;
	d->lost = 0;
	WRITE_ONCE(d->tail, d->head);
	d->quiesce = (struct shirq_quiesce) {
		.rungs = SHIRQ_QUIESCE_D3HOT,
		.max_rate = SHIRQ_DEFAULT_RATE,
	};
	memset(d->captured, 0, sizeof(d->captured));
	/* A device that was parked just now may have been gone. */
	shirq_ring_state(d, SHIRQ_RING_DISARMED, 0);
	spin_unlock_irq(&d->lock);
	return 0;
}

/*
 * Enable the device, which wakes it. If it is in D3hot, watch its line before that,
 * under the interrupt number known so far, which may change.
 */
static int shirq_rouse(struct shirq_device *d)
{
	bool asleep = d->pdev->current_state == PCI_D3hot;
	bool woken = d->pdev->current_state != PCI_D0;
	int ret;

	if (asleep)
		shirq_watch_wake(d);
	ret = pci_enable_device(d->pdev);
	if (d->requested && d->irq != d->pdev->irq)
		shirq_free_line(d);
	if (woken && !ret)
		shirq_watch_wake(d);
	return ret;
}

/**
 * shirq_adopt() - enable a function that was just bound, and park it
 * @d: the device, not yet visible to user space
 *
 * A device that only D3hot silences asserts while the PCI core wakes it, for 10 ms. So
 * a handler must be on its line before the device is enabled.
 *
 * Return: 0, -ENOMEM, or the errno of pci_enable_device().
 */
int shirq_adopt(struct shirq_device *d)
{
	int ret, saved = 0;

	shirq_lock_resets(d);
	ret = shirq_rouse(d);
	if (!ret) {
		shirq_describe(d);
		saved = shirq_save(d);
		if (!saved)
			shirq_storm_settle(d, SHIRQ_RUNGS_UNOWNED);
		shirq_sleep(d);
	}
	shirq_free_line(d);
	if (saved)
		pci_disable_device(d->pdev);
	shirq_unlock_resets(d);
	cancel_work_sync(&d->ladder);
	return ret ?: saved;
}

/**
 * shirq_own() - give the device to an owner
 * @d: the device
 * @mapping: address space of the file, or files, by which the owner maps registers
 *
 * Return: 0, or the errno of open().
 */
int shirq_own(struct shirq_device *d, struct address_space *mapping)
{
	int ret;

	shirq_lock_resets(d);
	ret = shirq_own_locked(d, mapping);
	shirq_unlock_resets(d);
	return ret;
}

/* Take the owner's eventfd and the watch of its address space from the device. */
static void shirq_detach(struct shirq_device *d, struct eventfd_ctx **eventfd,
			 struct shirq_dma **dma)
{
	spin_lock_irq(&d->lock);
	*eventfd = d->eventfd;
	d->eventfd = NULL;
	*dma = d->dma;
	d->dma = NULL;
	spin_unlock_irq(&d->lock);
}

/**
 * shirq_disown() - end the ownership, because the last reference to the file was
 * dropped
 * @d: the device; no reader, mapping or call is left
 *
 * A paused device is silent and must not be accessed: shirq_continue() parks it later,
 * and needs the release program of the set. The reset at release is cancelled, because
 * the device has been reset, or will be.
 */
void shirq_disown(struct shirq_device *d)
{
	struct eventfd_ctx *eventfd;
	struct shirq_dma *dma;

	shirq_lock_resets(d);
	if (d->life & SHIRQ_PAUSED) {
		spin_lock_irq(&d->lock);
		d->quiesce.release = 0;
		spin_unlock_irq(&d->lock);
	} else if (!(d->life & SHIRQ_DEAD)) {
		shirq_park(d);
	}
	/* Clear all of this before the next open() can succeed. */
	shirq_detach(d, &eventfd, &dma);
	shirq_free_ring(d);
	put_pid(d->reader);
	d->reader = NULL;
	d->mapping = NULL;
	spin_lock_irq(&d->lock);
	shirq_turn(d, SHIRQ_TURN_CLOSE);
	spin_unlock_irq(&d->lock);
	shirq_unlock_resets(d);
	if (eventfd)
		eventfd_ctx_put(eventfd);
	shirq_unwatch_mm(dma);
}

/**
 * shirq_retire() - silence a device at unbind or shutdown; it is not accessed
 * afterwards
 * @d: the device
 *
 * Calls and waits of user space fail from the start, but the handler claims and masks
 * until the device is silent.
 */
void shirq_retire(struct shirq_device *d)
{
	struct eventfd_ctx *eventfd;
	struct shirq_dma *dma;

	shirq_lock_resets(d);
	shirq_set_gone(d);
	if (!(d->life & SHIRQ_DEAD)) {
		shirq_revoke(d);
		shirq_park(d);
		shirq_clear_out(d);
	}
	spin_lock_irq(&d->lock);
	shirq_turn(d, SHIRQ_TURN_RETIRE);
	spin_unlock_irq(&d->lock);
	shirq_detach(d, &eventfd, &dma);
	shirq_unlock_resets(d);
	shirq_watch_end(d);
	cancel_work_sync(&d->ladder);
	cancel_delayed_work_sync(&d->absent);
	if (eventfd)
		eventfd_ctx_put(eventfd);
	shirq_unwatch_mm(dma);
}

/**
 * shirq_pause() - silence a device that is about to sleep, or to be reset by someone
 * other than its owner
 * @d: the device
 * @recovering: true if its link had an error; shirq_continue() may never be called then
 */
void shirq_pause(struct shirq_device *d, bool recovering)
{
	mutex_lock(&d->mutex);
	if (shirq_may_turn(d, SHIRQ_TURN_PAUSE) >= 0) {
		shirq_revoke(d);
		spin_lock_irq(&d->lock);
		shirq_turn(d, SHIRQ_TURN_PAUSE);
		shirq_clear_master(d);
		spin_unlock_irq(&d->lock);
		shirq_halt(d);
		/*
		 * Watch the line even if the device was not armed: it may be woken, and
		 * may assert after a reset.
		 */
		shirq_watch_wake(d);
		if (recovering) {
			d->recovering = true;
			d->recovered = false;
			d->recover_by = jiffies + SHIRQ_RECOVERY;
			mod_delayed_work(system_highpri_wq, &d->absent, SHIRQ_LOOK_FOR);
		}
	}
	mutex_unlock(&d->mutex);
}

/**
 * shirq_calm_early() - silence a device on resume, before interrupts are enabled
 * @d: the device
 */
void shirq_calm_early(struct shirq_device *d)
{
	mutex_lock(&d->mutex);
	if (!(d->life & SHIRQ_DEAD))
		shirq_calm(d);
	mutex_unlock(&d->mutex);
}

/*
 * Restore the state that the reset of the link has cleared. That reset also woke a
 * device that was in D3hot.
 */
static void shirq_wake_recovered(struct shirq_device *d)
{
	pci_set_power_state(d->pdev, PCI_D0);
	shirq_restore(d);
}

static void shirq_continue_locked(struct shirq_device *d, enum shirq_event_type type)
{
	shirq_calm(d);
	/* Count anew: what the line did before the reset says nothing about the device now. */
	shirq_take_due(d);
	/* Free the interrupt before the owner is notified: the owner may arm at once. */
	if (d->life & SHIRQ_OWNED)
		shirq_let_go(d);
	spin_lock_irq(&d->lock);
	shirq_turn(d, SHIRQ_TURN_CONTINUE);
	d->recovering = false;
	d->recovered = false;
	/* shirq_pause() could not do this behind a frozen link. */
	shirq_clear_master(d);
	if (d->life & SHIRQ_OWNED)
		shirq_notice(d, type, 0, NULL);
	spin_unlock_irq(&d->lock);
	if (!(d->life & SHIRQ_OWNED))
		shirq_park(d);
}

/**
 * shirq_continue() - end the pause, because the reason for shirq_pause() has ended
 * @d: the device; the config access lock is held
 * @type: type of the event for the owner
 *
 * A sleep or a reset during the recovery from an error does not end the recovery.
 */
void shirq_continue(struct shirq_device *d, enum shirq_event_type type)
{
	mutex_lock(&d->mutex);
	if (shirq_may_turn(d, SHIRQ_TURN_CONTINUE) >= 0) {
		if (d->life & SHIRQ_PAUSED && !d->recovering)
			shirq_continue_locked(d, type);
		else
			shirq_calm(d);
	}
	mutex_unlock(&d->mutex);
}

/**
 * shirq_recovered() - note that the link works again, and let @absent end the recovery
 * @d: the device
 *
 * @absent does the rest, because the PCI core holds a lock here that a change of the
 * power state would take as well.
 */
void shirq_recovered(struct shirq_device *d)
{
	mutex_lock(&d->mutex);
	if (d->recovering) {
		d->recovered = true;
		mod_delayed_work(system_highpri_wq, &d->absent, 0);
	}
	mutex_unlock(&d->mutex);
}

static void shirq_give_up_locked(struct shirq_device *d)
{
	shirq_set_gone(d);
	shirq_revoke(d);
	shirq_halt(d);
	spin_lock_irq(&d->lock);
	shirq_turn(d, SHIRQ_TURN_GIVE_UP);
	d->recovering = false;
	d->recovered = false;
	spin_unlock_irq(&d->lock);
	if (!(d->life & SHIRQ_OWNED))
		shirq_park(d);
	mod_delayed_work(system_highpri_wq, &d->absent, SHIRQ_LOOK_FOR);
}

/**
 * shirq_give_up() - mark the device as gone, because its link is lost permanently
 * @d: the device
 */
void shirq_give_up(struct shirq_device *d)
{
	mutex_lock(&d->mutex);
	if (shirq_may_turn(d, SHIRQ_TURN_GIVE_UP) >= 0)
		shirq_give_up_locked(d);
	mutex_unlock(&d->mutex);
}

/*
 * Handle the states that no callback ends. If another driver on the bus cannot recover
 * from a link error, the PCI core notifies no driver: give the device up after a while.
 * A device that is gone may answer again unchanged, assert, and master the bus: poll it
 * as long as it is gone, with or without an owner.
 */
static void shirq_look_after_absent(struct work_struct *work)
{
	struct shirq_device *d = container_of(work, struct shirq_device, absent.work);

	shirq_lock_resets(d);
	if (d->life & SHIRQ_DEAD)
		goto out;
	if (d->recovered) {
		shirq_wake_recovered(d);
		shirq_continue_locked(d, SHIRQ_EVENT_RESET);
	} else if (d->recovering && time_after_eq(jiffies, d->recover_by)) {
		pci_err(d->pdev, "no recovery from the error of its link: given up as gone\n");
		shirq_give_up_locked(d);
	}
	if (READ_ONCE(d->gone) || d->leaving) {
		shirq_revoke(d);
		if (!(d->life & SHIRQ_PAUSED) && shirq_present(d))
			shirq_calm_returned(d);
	}
	if (d->recovering || d->leaving || (READ_ONCE(d->gone) && d->life & SHIRQ_OWNED))
		mod_delayed_work(system_highpri_wq, &d->absent, SHIRQ_LOOK_FOR);
out:
	shirq_unlock_resets(d);
}

/**
 * shirq_lifecycle_init() - called once, before the device can have an owner
 * @d: the device
 */
void shirq_lifecycle_init(struct shirq_device *d)
{
	INIT_DELAYED_WORK(&d->absent, shirq_look_after_absent);
}
