// SPDX-License-Identifier: GPL-2.0-only
/*
 * The storm breaker: no device of ours may keep a shared line busy.
 *
 * What the interrupt can see of a line is how it came to be called again. While
 * our device is masked, a call is either for a neighbour, which handles it, or
 * it is for nobody. The core counts the latter, to shut down lines that are
 * stuck (kernel/irq/spurious.c); the breaker looks at that count long before.
 * A window is SHIRQ_WINDOW calls while masked; it is a storm if the count moved
 * between more than three quarters of them. A neighbour that handles what is
 * its own never moves it, at no rate.
 *
 * After a window that is a storm, the irq program runs again, as for any other
 * interrupt. If it declines, the device is not to blame. If it claims, that is
 * both the proof and the first remedy: it masks. It is not run dry, without its
 * writes: where a register is cleared by reading, what the program has read and
 * nobody else will ever read again travels in its event.
 *
 * The rungs, each tried when the one before it ends in a window that is a storm:
 *
 *	in the interrupt	mask again, by the irq program; or by DisINTx, if
 *				the owner masked by it and somebody cleared it
 *				quarantine: bus mastering off, release program, DisINTx
 *	in the worker		D3hot, function-level reset, bus reset
 *
 * as far as the owner allows the worker's. The line is masked so that the worker
 * gets at the processor, for SHIRQ_LINE_OFF_US at a time: most of a reset is
 * waiting, for 100 ms and more, and the neighbours shall not wait with it. If
 * the line storms meanwhile, the next window masks it again. The core shuts a line
 * down when it has counted more than SHIRQ_CORE_LIMIT unhandled interrupts in
 * SHIRQ_CORE_WINDOW, and counts anew after 100 ms without one: where that is near,
 * the mask lasts for SHIRQ_LINE_OFF_LONG_US. It is never near beside a neighbour
 * that has enough to do. Only a window that begins after the end of a rung leads to
 * the next one. After the last rung the handler declines and does nothing more.
 *
 * The storm may begin within a window. So the mask is tried again within 2
 * windows, the device is quarantined within 3, and the line is masked within 4:
 * 4 * SHIRQ_WINDOW < 5,000.
 *
 * An acknowledging device claims every interrupt of its storm, and the core
 * counts none. It is judged by its rate alone, over SHIRQ_RATE_WINDOW claims;
 * its quarantine comes within 2 of these windows, and the line is masked one
 * SHIRQ_WINDOW later.
 *
 * A released device is watched in the same way, until the line shows for a moment
 * that it is free of it; a line that storms proves that the next rung is needed.
 *
 * With the kernel parameter noirqdebug the core counts nothing, and only
 * acknowledging devices are watched.
 */
#include <linux/cpu.h>
#include <linux/delay.h>
#include <linux/interrupt.h>
#include <linux/irq.h>
#include <linux/irqdesc.h>
#include <linux/workqueue.h>

#include "core.h"
#include "trace.h"

#define SHIRQ_LINE_OFF_US	300
#define SHIRQ_LINE_OFF_LONG_US	110000
#define SHIRQ_LOOK_US		500
#define SHIRQ_LOOKS		400

/**
 * shirq_storm_begin() - the device is asserting by right again
 * @d: the device, about to be armed or unmasked
 */
void shirq_storm_begin(struct shirq_device *d)
{
	struct shirq_storm *storm = &d->storm;

	lockdep_assert_held(&d->lock);
	shirq_window_clear(&storm->window);
	storm->strikes = 0;
	storm->window.last = READ_ONCE(storm->desc->irqs_unhandled);
}

static void shirq_quarantine(struct shirq_device *d, enum shirq_quarantine reason,
			     const u64 *captured)
{
	d->quarantined = true;
	shirq_clear_master(d);
	shirq_stop(d);
	shirq_window_clear(&d->storm.window);
	d->storm.due = false;
	d->storm.reason = reason;
	d->storm.rung = SHIRQ_RUNG_RELEASED;
	if (reason == SHIRQ_QUARANTINE_RATE)
		d->stats.storms_rate++;
	else
		d->stats.storms_masked++;
	trace_shirq_quarantine(d, d->storm.rung);
	shirq_notice(d, SHIRQ_EVENT_QUARANTINED, reason, captured);
	queue_work(system_highpri_wq, &d->ladder);
}

/* DisINTx holds the device back, unless somebody has cleared it. Return: had he, and is it set? */
static bool shirq_disintx_again(struct shirq_device *d)
{
	u16 command;

	if (!shirq_answers(d) || !pci_intx_mask_supported(d->pdev))
		return false;
	pci_read_config_word(d->pdev, PCI_COMMAND, &command);
	if (command & PCI_COMMAND_INTX_DISABLE)
		return false;
	shirq_set_disintx(d, true);
	pci_read_config_word(d->pdev, PCI_COMMAND, &command);
	return command & PCI_COMMAND_INTX_DISABLE;
}

/*
 * An interrupt of a device that SHIRQ_MASK masks: the owner hears of it when it
 * unmasks the number that it has. What the device holds back may be claimed only
 * because a neighbour storms.
 */
static void shirq_hold(struct shirq_device *d, u64 time_ns)
{
	/* It declined meanwhile, or this would be a quarantine. */
	if (d->held) {
		d->lost++;
		d->stats.lost++;
	}
	d->held = true;
	d->held_ns = time_ns;
}

/* Return: was the interrupt ours? */
static bool shirq_mask_again(struct shirq_device *d, u64 time_ns)
{
	u64 *captured = d->captured;

	/* The owner's own mask: it comes back without an interrupt for him. */
	if (d->intx_off && shirq_disintx_again(d)) {
		d->stats.remasks++;
		return false;
	}
	switch (shirq_run_set(d, SHIRQ_PROGRAM_IRQ, captured)) {
	case SHIRQ_CLAIMED:
		break;
	case SHIRQ_GONE:
		shirq_lose(d);
		return false;
	default:
		d->storm.strikes = 0;
		return false;
	}
	if (++d->storm.strikes > 1) {
		shirq_quarantine(d, SHIRQ_QUARANTINE_MASKED, captured);
	} else {
		d->stats.remasks++;
		if (d->owner_masked)
			shirq_hold(d, time_ns);
		else
			shirq_claim(d, time_ns, captured);
	}
	return true;
}

static void shirq_close_line(struct shirq_device *d)
{
	d->storm.line_off = true;
	d->stats.line_off++;
	disable_irq_nosync(d->pdev->irq);
	d->storm.due = true;
	queue_work(system_highpri_wq, &d->ladder);
	queue_work(system_highpri_wq, &d->reopen);
}

/**
 * shirq_storm_silent() - an interrupt came while the device is masked or quarantined
 * @d: the device, handler registered
 * @time_ns: when
 *
 * Context: interrupt, @lock held.
 * Return: was it ours?
 */
bool shirq_storm_silent(struct shirq_device *d, u64 time_ns)
{
	struct shirq_storm *storm = &d->storm;

	lockdep_assert_held(&d->lock);
	d->stats.silent++;
	if (storm->rung == SHIRQ_RUNG_FAILED ||
	    !shirq_window_call(&storm->window, READ_ONCE(storm->desc->irqs_unhandled)))
		return false;
	/* Masked by SHIRQ_MASK in its own way, or by the irq program: this one masks for sure. */
	if (!d->quarantined)
		return shirq_mask_again(d, time_ns);
	if (!shirq_disintx_again(d))
		shirq_close_line(d);
	return false;
}

/**
 * shirq_storm_acknowledged() - the irq program claimed
 * @d: the device, which it acknowledges
 * @time_ns: when
 * @captured: r0..r3 at the claim
 *
 * Context: interrupt, @lock held.
 */
void shirq_storm_acknowledged(struct shirq_device *d, u64 time_ns, const u64 *captured)
{
	lockdep_assert_held(&d->lock);
	if (shirq_rate_claim(&d->storm.rate, time_ns, d->quiesce.max_rate))
		shirq_quarantine(d, SHIRQ_QUARANTINE_RATE, captured);
}

/* The worker's rungs */

/*
 * A reset of the bus is nobody's business but ours if we are alone on it. The bridge's
 * config space is locked too, as for any reset behind it. Who holds that lock may be
 * waiting for ours, which is inside of it, so it is not waited for: he is resetting
 * that bus, or the bridge.
 */
static int shirq_reset_bus(struct pci_dev *pdev)
{
	struct pci_bus *bus = pdev->bus;

	if (!bus->self || pdev->subordinate || !list_is_singular(&bus->devices))
		return -ENOTTY;
	if (!pci_cfg_access_trylock(bus->self))
		return -EBUSY;
	/* It fails if the link does not come back in time: the device was reset all the same. */
	pci_bridge_secondary_bus_reset(bus->self);
	pci_cfg_access_unlock(bus->self);
	return 0;
}

/**
 * shirq_reset_function() - reset the device, and leave it silent and in D0
 * @d: the device, locked by shirq_lock_resets()
 * @rung: SHIRQ_QUIESCE_FLR or SHIRQ_QUIESCE_BUS
 *
 * Return: 0, or -ENOTTY if the device cannot be reset so, or what failed.
 */
int shirq_reset_function(struct shirq_device *d, u32 rung)
{
	struct pci_dev *pdev = d->pdev;
	int ret;

	lockdep_assert_held(&d->mutex);
	pci_set_power_state(pdev, PCI_D0);
	if (rung == SHIRQ_QUIESCE_BUS)
		ret = shirq_reset_bus(pdev);
	else
		ret = pcie_reset_flr(pdev, false);
	/* Woken from D3hot, it may have been reset all the same. */
	shirq_restore(d);
	spin_lock_irq(&d->lock);
	shirq_quiesce(d);
	spin_unlock_irq(&d->lock);
	return ret;
}

/* For a device that was gone, and could not be silenced then. */
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

/* Take the next rung that the owner allows and the device has. */
static void shirq_climb(struct shirq_device *d, u32 rungs)
{
	enum shirq_rung rung = d->storm.rung;

	/* What does not even answer is not waited for. */
	while (shirq_present(d) && ++rung < SHIRQ_RUNG_FAILED) {
		if (shirq_rungs[rung].allowed & ~rungs || shirq_rungs[rung].run(d))
			continue;
		shirq_climbed(d, rung, shirq_rungs[rung].counter);
		shirq_warn(d, "silenced, but IRQ %d still stormed: %s\n", d->pdev->irq,
			   shirq_rungs[rung].name);
		return;
	}
	shirq_climbed(d, SHIRQ_RUNG_FAILED, offsetof(struct shirq_stats, rung_failed));
	shirq_warn(d, "silenced, but IRQ %d still storms: nothing is left to try\n",
		   d->pdev->irq);
}

/*
 * Whether the line stormed after the last rung. What it does while a rung is
 * under way says nothing about that rung.
 */
static bool shirq_take_due(struct shirq_device *d)
{
	bool due;

	spin_lock_irq(&d->lock);
	due = d->storm.due && d->requested;
	d->storm.due = false;
	shirq_window_clear(&d->storm.window);
	spin_unlock_irq(&d->lock);
	return due;
}

static void shirq_ladder(struct work_struct *work)
{
	struct shirq_device *d = container_of(work, struct shirq_device, ladder);

	shirq_lock_resets(d);
	if (d->quarantined && !d->dead) {
		if (d->storm.rung == SHIRQ_RUNG_RELEASED) {
			shirq_revoke(d);
			/* The owner may have used its mapping until now. */
			shirq_quiesce_again(d);
		}
		if (shirq_take_due(d)) {
			shirq_climb(d, d->quiesce.rungs);
			shirq_take_due(d);
		} else if (d->storm.rung == SHIRQ_RUNG_RELEASED) {
			shirq_warn(d, "quarantined: it stormed\n");
		}
	}
	cancel_work_sync(&d->reopen);
	shirq_reopen_line(d);
	shirq_unlock_resets(d);
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

/**
 * shirq_reopen_line() - undo the mask of the line, if there is one
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
		enable_irq(d->pdev->irq);
}

/**
 * shirq_storm_watch() - the device is released: from here on the handler only watches the line
 * @d: the device, silenced
 */
void shirq_storm_watch(struct shirq_device *d)
{
	lockdep_assert_held(&d->lock);
	if (!d->requested || d->quarantined)
		return;
	d->quarantined = true;
	shirq_window_clear(&d->storm.window);
	d->storm.watched = true;
	d->storm.due = false;
	d->storm.rung = SHIRQ_RUNG_RELEASED;
}

static long shirq_nothing(void *unused)
{
	return 0;
}

/* When this returns, the processor that the line interrupts has taken what was pending. */
static void shirq_let_interrupt(const struct shirq_device *d)
{
	struct irq_data *data = irq_desc_get_irq_data(d->storm.desc);
	unsigned int cpu = cpumask_first(irq_data_get_effective_affinity_mask(data));

	cpus_read_lock();
	if (cpu < nr_cpu_ids && cpu_online(cpu))
		work_on_cpu(cpu, shirq_nothing, NULL);
	cpus_read_unlock();
}

/*
 * Does the line storm? One that is stuck interrupts again before anything else runs
 * on its processor; on any other the count of the unhandled stands still.
 */
static bool shirq_line_storms(struct shirq_device *d)
{
	unsigned int looks, before;
	bool was_off;

	for (looks = 0; looks < SHIRQ_LOOKS; looks++) {
		was_off = READ_ONCE(d->storm.line_off);
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
 * shirq_storm_released() - is the line free of a device that its owner has disarmed?
 * @d: the device, @mutex held, watched by shirq_storm_watch()
 *
 * If the line storms and the irq program claims, the device is quarantined.
 *
 * Return: true if it is free, and the watch is over.
 */
bool shirq_storm_released(struct shirq_device *d)
{
	bool storms;

	lockdep_assert_held(&d->mutex);
	storms = shirq_line_storms(d);
	spin_lock_irq(&d->lock);
	d->storm.watched = false;
	d->quarantined = false;
	d->storm.rung = SHIRQ_RUNG_NONE;
	if (storms && shirq_run_set(d, SHIRQ_PROGRAM_IRQ, d->captured) != SHIRQ_CLAIMED)
		storms = false;
	if (storms)
		shirq_quarantine(d, SHIRQ_QUARANTINE_MASKED, d->captured);
	spin_unlock_irq(&d->lock);
	return !storms;
}

/**
 * shirq_storm_settle() - take further rungs until the line is free of a released device
 * @d: the device, locked by shirq_lock_resets(), watched by shirq_storm_watch()
 * @rungs: SHIRQ_QUIESCE_*, which may be taken
 *
 * Software cannot see the pin: that nothing storms is all that proves it. Without an
 * owner, nobody's work is lost by a function-level reset. The rung that was needed
 * stays in @storm.
 */
void shirq_storm_settle(struct shirq_device *d, u32 rungs)
{
	lockdep_assert_held(&d->mutex);
	while (d->requested && d->storm.rung != SHIRQ_RUNG_FAILED && shirq_line_storms(d)) {
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
 * shirq_storm_init() - once, before the device can have an owner
 * @d: the device
 */
void shirq_storm_init(struct shirq_device *d)
{
	INIT_WORK(&d->ladder, shirq_ladder);
	INIT_WORK(&d->reopen, shirq_reopen);
}
