// SPDX-License-Identifier: GPL-2.0-only
/*
 * The rungs of the storm breaker that need process context. A rung is tried if the
 * previous rung did not silence the device. storm.c describes the rungs and the
 * conditions.
 */
#include <linux/errno.h>
#include <linux/interrupt.h>
#include <linux/workqueue.h>

#include "access.h"
#include "hw.h"
#include "ladder.h"
#include "line.h"
#include "source.h"
#include "storm.h"
#include "trace.h"

/**
 * shirq_reset_function() - reset the device, and leave it silent and in D0
 * @d: the device, locked by shirq_lock_resets()
 * @rung: SHIRQ_QUIESCE_FLR or SHIRQ_QUIESCE_BUS
 *
 * Return: 0, -ENOTTY if the device does not support this reset, or another errno.
 */
int shirq_reset_function(struct shirq_device *d, u32 rung)
{
	int ret = shirq_reset(d, rung);

	shirq_quiesce_again(d);
	return ret;
}

/* Silence a device that was gone and could not be silenced at that time. */
static int shirq_rung_released(struct shirq_device *d)
{
	if (!shirq_answers(d))
		return -ENODEV;
	spin_lock_irq(&d->lock);
	shirq_clear_master(d);
	shirq_quiesce(d);
	spin_unlock_irq(&d->lock);
	return 0;
}

static int shirq_rung_d3hot(struct shirq_device *d)
{
	if (!d->pdev->pm_cap)
		return -ENOTTY;
	return pci_set_power_state(d->pdev, PCI_D3hot);
}

static int shirq_rung_flr(struct shirq_device *d)
{
	return shirq_reset_function(d, SHIRQ_QUIESCE_FLR);
}

static int shirq_rung_bus(struct shirq_device *d)
{
	return shirq_reset_function(d, SHIRQ_QUIESCE_BUS);
}

static const struct {
	int (*run)(struct shirq_device *d);
	const char *name;
	u32 allowed;
	size_t counter;
} shirq_rungs[] = {
	[SHIRQ_RUNG_RELEASED] = { shirq_rung_released, "release program" },
	[SHIRQ_RUNG_D3HOT] = { shirq_rung_d3hot, "D3hot", SHIRQ_QUIESCE_D3HOT,
			       offsetof(struct shirq_stats, rung_d3hot) },
	[SHIRQ_RUNG_FLR] = { shirq_rung_flr, "function-level reset", SHIRQ_QUIESCE_FLR,
			     offsetof(struct shirq_stats, rung_flr) },
	[SHIRQ_RUNG_BUS] = { shirq_rung_bus, "bus reset", SHIRQ_QUIESCE_BUS,
			     offsetof(struct shirq_stats, rung_bus) },
};

static void shirq_climbed(struct shirq_device *d, enum shirq_rung rung, size_t counter)
{
	spin_lock_irq(&d->lock);
	d->storm.rung = rung;
	if (rung > SHIRQ_RUNG_RELEASED)
		++*(u64 *)((char *)&d->stats + counter);
	trace_shirq_quarantine(d, rung);
	spin_unlock_irq(&d->lock);
}

/* Take the next rung that the owner allows and the device supports. */
static void shirq_climb(struct shirq_device *d, u32 rungs)
{
	enum shirq_rung rung = READ_ONCE(d->storm.rung);

	/* Skip the rungs if the device does not answer: they would wait for it in vain. */
	while (shirq_present(d) && ++rung < SHIRQ_RUNG_FAILED) {
		if (shirq_rungs[rung].allowed & ~rungs || shirq_rungs[rung].run(d))
			continue;
		shirq_climbed(d, rung, shirq_rungs[rung].counter);
		shirq_warn(d, "silenced, but IRQ %d still stormed; took the next rung: %s\n",
			   shirq_line(d), shirq_rungs[rung].name);
		return;
	}
	shirq_climbed(d, SHIRQ_RUNG_FAILED, offsetof(struct shirq_stats, rung_failed));
	shirq_warn(d, "silenced, but IRQ %d still storms: nothing is left to try\n",
		   shirq_line(d));
}

static void shirq_ladder(struct work_struct *work)
{
	struct shirq_device *d = container_of(work, struct shirq_device, ladder);

	shirq_lock_resets(d);
	/* Do not access a paused device: if it storms, only its line is masked, repeatedly. */
	if (d->life & SHIRQ_PAUSED)
		goto out;
	if (READ_ONCE(d->quarantined) && !(d->life & SHIRQ_DEAD)) {
		if (READ_ONCE(d->storm.rung) == SHIRQ_RUNG_RELEASED) {
			shirq_revoke(d);
			/*
			 * Until now the owner may have re-enabled the device through a
			 * mapping.
			 */
			shirq_quiesce_again(d);
		}
		if (shirq_take_due(d)) {
			shirq_climb(d, d->quiesce.rungs);
			shirq_take_due(d);
		} else if (READ_ONCE(d->storm.rung) == SHIRQ_RUNG_RELEASED) {
			shirq_warn(d, "quarantined: it stormed\n");
		}
	}
	cancel_work_sync(&d->reopen);
	shirq_reopen_line(d);
out:
	shirq_unlock_resets(d);
}

/* Watching the line of a device that is not armed, until it no longer asserts */

/**
 * shirq_sleep() - put the device to D3hot, if it supports that and can be woken
 * silently
 * @d: the device, @mutex held, silent
 *
 * If waking resets the device, it may assert before it can be silenced. So leave it in D0,
 * except if only D3hot or a later rung has silenced it.
 */
void shirq_sleep(struct shirq_device *d)
{
	if (!d->pdev->pm_cap || !shirq_present(d))
		return;
	if (READ_ONCE(d->storm.rung) >= SHIRQ_RUNG_D3HOT || shirq_wakes_unchanged(d))
		pci_set_power_state(d->pdev, PCI_D3hot);
}

/**
 * shirq_watch_wake() - watch the line while a device that is not armed is woken or
 * reset
 * @d: the device, @mutex held
 *
 * Waking may reset the device. After that nothing keeps it from asserting until its
 * config space may be accessed, 10 ms later. If only D3hot or a later rung silenced the
 * device before, the watch begins at the rung D3hot. The caller ends the watch with
 * shirq_storm_settle() or shirq_storm_released(), then calls shirq_free_line().
 *
 * Return: 0, or the errno of request_irq(): -EBUSY if another handler holds the line
 * exclusively.
 */
int shirq_watch_wake(struct shirq_device *d)
{
	enum shirq_rung needed = READ_ONCE(d->storm.rung);
	int ret;

	lockdep_assert_held(&d->mutex);
	if (d->requested || !shirq_has_line(d))
		return 0;
	spin_lock_irq(&d->lock);
	shirq_begin(d, SHIRQ_IRQF_SHARED | IRQF_PROBE_SHARED);
	shirq_storm_watch(d);
	if (needed >= SHIRQ_RUNG_D3HOT)
		d->storm.rung = SHIRQ_RUNG_D3HOT;
	spin_unlock_irq(&d->lock);
	ret = shirq_request(d);
	if (ret)
		shirq_storm_settle(d, 0);
	return ret;
}

/**
 * shirq_storm_released() - check whether a disarmed device has released the line
 * @d: the device, @mutex held, watched by shirq_storm_watch()
 *
 * If the line storms and the irq program claims, the device is quarantined. A device
 * that is found gone stays watched.
 *
 * Return: true if the device has released the line, and the watch is over.
 */
bool shirq_storm_released(struct shirq_device *d)
{
	enum shirq_outcome outcome = SHIRQ_ENDED;
	bool storms;

	lockdep_assert_held(&d->mutex);
	storms = shirq_line_storms(d);
	spin_lock_irq(&d->lock);
	d->storm.watched = false;
	d->quarantined = false;
	d->storm.rung = SHIRQ_RUNG_NONE;
	if (storms && d->set)
		outcome = shirq_run_set(d, SHIRQ_PROGRAM_IRQ, d->captured);
	/* No program can tell, but the line began to storm as the messages were freed. */
	else if (storms && d->message_count && !d->vectors)
		outcome = SHIRQ_CLAIMED;
	if (outcome == SHIRQ_CLAIMED)
		shirq_quarantine(d, SHIRQ_QUARANTINE_MASKED, d->captured);
	else if (outcome == SHIRQ_GONE)
		shirq_lose(d);
	spin_unlock_irq(&d->lock);
	return outcome == SHIRQ_ENDED;
}

/**
 * shirq_storm_settle() - take further rungs until a released device no longer asserts
 * the line
 * @d: the device, locked by shirq_lock_resets(), watched by shirq_storm_watch()
 * @rungs: SHIRQ_QUIESCE_*, which may be taken
 *
 * Software cannot see the pin: the only proof that the device is silent is that the
 * line does not storm. @rungs may contain a function-level reset that the owner did not
 * allow, because the device has no owner any more whose state the reset could destroy.
 * @storm keeps the rung that was needed.
 */
void shirq_storm_settle(struct shirq_device *d, u32 rungs)
{
	lockdep_assert_held(&d->mutex);
	while (d->requested && READ_ONCE(d->storm.rung) != SHIRQ_RUNG_FAILED &&
	       shirq_line_storms(d)) {
		shirq_climb(d, rungs);
		shirq_take_due(d);
	}
	spin_lock_irq(&d->lock);
	if (d->storm.watched) {
		d->storm.watched = false;
		d->quarantined = false;
		if (d->storm.rung == SHIRQ_RUNG_RELEASED)
			d->storm.rung = SHIRQ_RUNG_NONE;
	}
	spin_unlock_irq(&d->lock);
}

/**
 * shirq_ladder_init() - called once, before the device can have an owner
 * @d: the device
 */
void shirq_ladder_init(struct shirq_device *d)
{
	INIT_WORK(&d->ladder, shirq_ladder);
}
