// SPDX-License-Identifier: GPL-2.0-only
/*
 * The life of a device. The table in life.h says what becomes of it; here is what each
 * turn brings about. Nothing else writes @life.
 *
 * What ends an owner is in shirq_disown() alone, what ends the device in
 * shirq_retire() alone. A parked device is silent: bus mastering off, DisINTx set,
 * in D3hot if it wakes from there without a reset or if nothing less silences it.
 * One that is paused is silent, and not touched; without an owner it is parked when
 * that ends. Not part of the table is @gone: a program may find it in the interrupt,
 * and the next open() ends it.
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
#include "source.h"

/* How often a device that is gone is looked for. */
#define SHIRQ_LOOK_FOR		HZ
/* The PCI core waits for 60 s until a device that was reset answers. */
#define SHIRQ_RECOVERY		(70 * HZ)

/* What the turn would make of the device, or why it cannot take place, as a negative errno. */
static int shirq_may_turn(const struct shirq_device *d, enum shirq_turn turn)
{
	lockdep_assert_held(&d->mutex);
	return shirq_after(d->life, turn);
}

/* The turn takes place: shirq_may_turn() said so, and the mutex was held since. */
static void shirq_turn(struct shirq_device *d, enum shirq_turn turn)
{
	int life = shirq_may_turn(d, turn);

	lockdep_assert_held(&d->lock);
	if (!WARN_ON_ONCE(life < 0))
		WRITE_ONCE(d->life, life);
}

/* Nothing of an owner's is left. */
static void shirq_clear_out(struct shirq_device *d)
{
	shirq_free_line(d);
	shirq_load(d, NULL);
	shirq_unmap_bars(d);
	d->leaving = false;
	spin_lock_irq(&d->lock);
	d->quarantined = false;
	d->quiesce = (struct shirq_quiesce) {};
	spin_unlock_irq(&d->lock);
}

/*
 * Park the device, silent for good. While one does not answer its line is watched, and
 * its set kept, whose release program it may need.
 */
static void shirq_park(struct shirq_device *d)
{
	d->leaving = !shirq_withdraw(d);
	if (d->leaving)
		mod_delayed_work(system_highpri_wq, &d->absent, SHIRQ_LOOK_FOR);
	else
		shirq_clear_out(d);
}

/* Silent again; asleep again if it was before the PCI core woke it. */
static void shirq_calm(struct shirq_device *d)
{
	shirq_quiesce_again(d);
	if (!(d->life & SHIRQ_OWNED) || READ_ONCE(d->storm.rung) > SHIRQ_RUNG_RELEASED)
		shirq_sleep(d);
}

/*
 * A device that did not answer does again: what was not possible when it went is done
 * now, and its line watched anew, from the first rung on.
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
 * Wake a parked device. Its line is watched, until it has been silenced or was seen
 * to be silent. What only D3hot silences cannot be had.
 */
static int shirq_wake(struct shirq_device *d)
{
	int ret = 0;

	if (d->pdev->current_state != PCI_D0)
		ret = shirq_watch_wake(d);
	/* Where somebody has the line to himself, only what needs no watch is woken. */
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

/* Make the registers of a parked device accessible. It stays silent. */
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

static int shirq_own_locked(struct shirq_device *d, struct file *file)
{
	int ret;

	ret = shirq_may_turn(d, SHIRQ_TURN_OPEN);
	if (ret < 0)
		return ret;
	d->queue = kcalloc(SHIRQ_QUEUE, sizeof(*d->queue), GFP_KERNEL);
	if (!d->queue)
		return -ENOMEM;
	ret = shirq_unpark(d);
	if (ret) {
		kfree(d->queue);
		d->queue = NULL;
		return ret;
	}
	d->mapping = file->f_mapping;

	spin_lock_irq(&d->lock);
	shirq_turn(d, SHIRQ_TURN_OPEN);
	WRITE_ONCE(d->gone, false);
	d->quarantined = false;
	d->storm.rung = SHIRQ_RUNG_NONE;
	d->seq = 0;
	d->quiesce = (struct shirq_quiesce) {
		.rungs = SHIRQ_QUIESCE_D3HOT,
		.max_rate = SHIRQ_DEFAULT_RATE,
	};
	spin_unlock_irq(&d->lock);
	return 0;
}

/* Enable it, which wakes it; its line is watched before, by the number that it had last. */
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
 * @d: the device, not yet known to anybody
 *
 * What nothing less than D3hot silences asserts as soon as the PCI core wakes it, which
 * takes 10 ms, and somebody has to be at its line.
 *
 * Return: 0, -ENOMEM, or what pci_enable_device() returned.
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
 * @file: the owner's
 *
 * Return: 0, or the errno of open().
 */
int shirq_own(struct shirq_device *d, struct file *file)
{
	int ret;

	shirq_lock_resets(d);
	ret = shirq_own_locked(d, file);
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
 * shirq_disown() - the last reference of the owner's file went
 * @d: the device; no reader, mapping or call is left
 *
 * A device that is paused is silent and not to be touched: shirq_continue() parks it,
 * with the set, whose release program it may need. It has been reset, or will be.
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
	/* All of it before the next owner can come. */
	shirq_detach(d, &eventfd, &dma);
	kfree(d->queue);
	d->queue = NULL;
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
 * shirq_retire() - unbind and shutdown: nobody touches the device afterwards
 * @d: the device
 *
 * The handler claims and masks until the device is silent, though no call or wait of
 * user space succeeds any more.
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
	cancel_work_sync(&d->ladder);
	cancel_delayed_work_sync(&d->absent);
	if (eventfd)
		eventfd_ctx_put(eventfd);
	shirq_unwatch_mm(dma);
}

/**
 * shirq_pause() - the device is about to sleep or to be reset, not by its owner's doing
 * @d: the device
 * @recovering: since its link had an error; shirq_continue() may never be called
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
		/* What was not armed may be woken, and may assert after a reset. */
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
 * shirq_calm_early() - silence a device whose system wakes, before lines are open
 * @d: the device
 */
void shirq_calm_early(struct shirq_device *d)
{
	mutex_lock(&d->mutex);
	if (!(d->life & SHIRQ_DEAD))
		shirq_calm(d);
	mutex_unlock(&d->mutex);
}

/* What the reset of its link has undone. One that was asleep is awake. */
static void shirq_wake_recovered(struct shirq_device *d)
{
	pci_set_power_state(d->pdev, PCI_D0);
	shirq_restore(d);
}

static void shirq_continue_locked(struct shirq_device *d, enum shirq_event_type type)
{
	shirq_calm(d);
	/* What the line did until now says nothing of what is there now. */
	shirq_take_due(d);
	/* Before the owner is told, and may arm. */
	if (d->life & SHIRQ_OWNED)
		shirq_let_go(d);
	spin_lock_irq(&d->lock);
	shirq_turn(d, SHIRQ_TURN_CONTINUE);
	d->recovering = false;
	d->recovered = false;
	/* Behind a frozen link it was not possible. */
	shirq_clear_master(d);
	if (d->life & SHIRQ_OWNED)
		shirq_notice(d, type, 0, NULL);
	spin_unlock_irq(&d->lock);
	if (!(d->life & SHIRQ_OWNED))
		shirq_park(d);
}

/**
 * shirq_continue() - what shirq_pause() was called for is over
 * @d: the device; the config access lock is held
 * @type: what the owner is told
 *
 * A sleep or a reset that comes during the recovery from an error does not end that.
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
 * shirq_recovered() - the link works again
 * @d: the device
 *
 * The rest is left to @absent: the PCI core holds a lock here that a change of the
 * power state takes, too.
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
 * shirq_give_up() - the link is lost for good
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
 * What no callback ends. If an error of the link is not recovered from, since some
 * other driver on the bus cannot, nobody is told: the device is given up after a
 * while. One that is gone may answer again as it was, assert, and master the bus:
 * it is looked for as long as it is gone, with or without an owner.
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
		pci_err(d->pdev, "no recovery from the error of its link: given up\n");
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
 * shirq_lifecycle_init() - once, before the device can have an owner
 * @d: the device
 */
void shirq_lifecycle_init(struct shirq_device *d)
{
	INIT_DELAYED_WORK(&d->absent, shirq_look_after_absent);
}
