// SPDX-License-Identifier: GPL-2.0-only
/*
 * The interrupt: claim, event, mask, unmask; and what turns it on and off.
 */
#include <linux/errno.h>
#include <linux/interrupt.h>
#include <linux/irq.h>
#include <linux/irqdesc.h>
#include <linux/slab.h>
#include <linux/timekeeping.h>
#include <linux/version.h>

#include "core.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

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

/* May the owner reach the registers? A quarantined one could switch its device on again. */
int shirq_check_access(const struct shirq_device *d)
{
	lockdep_assert_held(&d->lock);
	if (d->gone)
		return -ENODEV;
	return d->paused || d->quarantined || pci_channel_offline(d->pdev) ? -EIO : 0;
}

/* Does config space answer? Behind a link that is frozen for an error, not even that is asked. */
bool shirq_present(const struct shirq_device *d)
{
	return !pci_channel_offline(d->pdev) && pci_device_is_present(d->pdev);
}

/* Do the registers answer? */
bool shirq_answers(const struct shirq_device *d)
{
	return d->pdev->current_state == PCI_D0 && shirq_present(d);
}

/* Bus mastering off. A device that cannot be reached comes back without. */
void shirq_clear_master(struct shirq_device *d)
{
	lockdep_assert_held(&d->lock);
	if (shirq_present(d))
		pci_clear_master(d->pdev);
}

/* Does the device have a line at all? */
bool shirq_has_line(const struct shirq_device *d)
{
	return d->pdev->pin && d->pdev->irq && d->pdev->irq != IRQ_NOTCONNECTED &&
	       irq_get_irq_data(d->pdev->irq);
}

/**
 * shirq_notify() - wake who waits: something was queued, or the state has changed
 * @d: the device, @lock held
 */
void shirq_notify(struct shirq_device *d)
{
	lockdep_assert_held(&d->lock);
	wake_up_interruptible(&d->wait);
	if (!d->eventfd)
		return;
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 8, 0)
	eventfd_signal(d->eventfd);
#else
	eventfd_signal(d->eventfd, 1);
#endif
}

/**
 * shirq_lose() - a program found all-ones where that means gone
 * @d: the device, @lock held
 *
 * In one register it is no proof that the device cannot assert, and it may answer
 * again: what still answers is silenced, the handler watches the line as it does
 * in quarantine, and @absent revokes the owner's mappings and silences the device
 * when it answers. Until then no rung has been taken, not even the release program.
 */
void shirq_lose(struct shirq_device *d)
{
	lockdep_assert_held(&d->lock);
	d->gone = true;
	shirq_clear_master(d);
	shirq_stop(d);
	shirq_storm_watch(d);
	d->storm.rung = SHIRQ_RUNG_NONE;
	shirq_notify(d);
	mod_delayed_work(system_highpri_wq, &d->absent, 0);
}

static inline int shirq_run_checked(struct shirq_device *d, const struct shirq_program *program,
				    u64 *regs)
{
	lockdep_assert_held(&d->lock);
	if (shirq_run(program, &d->bus, regs, NULL) != SHIRQ_GONE)
		return 0;
	shirq_lose(d);
	return -ENODEV;
}

/* Run a program of the loaded set that neither claims nor declines. */
static inline int shirq_run_plain(struct shirq_device *d, enum shirq_program_kind kind)
{
	return shirq_run_checked(d, &d->set->program[kind], d->regs);
}

static inline int shirq_enable(struct shirq_device *d)
{
	d->masked = false;
	d->owner_masked = false;
	shirq_storm_begin(d);
	if (d->intx_off) {
		d->intx_off = false;
		shirq_set_disintx(d, false);
	}
	trace_shirq_unmask(d);
	return shirq_run_plain(d, SHIRQ_PROGRAM_UNMASK);
}

/* Events */

/* There is room. Return: where the event goes; shirq_put_event() follows. */
static struct shirq_event *shirq_new_event(struct shirq_device *d)
{
	return &d->queue[d->head % SHIRQ_QUEUE];
}

static inline void shirq_put_event(struct shirq_device *d, const struct shirq_event *event)
{
	d->head++;
	d->stats.events++;
	trace_shirq_event(d, event);
	shirq_notify(d);
}

/**
 * shirq_claim() - the irq program has claimed
 * @d: the device, @lock held
 * @time_ns: when the interrupt came
 * @captured: r0..r3 at the claim
 */
void shirq_claim(struct shirq_device *d, u64 time_ns, const u64 *captured)
{
	struct shirq_event *event;

	lockdep_assert_held(&d->lock);
	d->seq++;
	d->stats.claims++;
	trace_shirq_claim(d);
	if (d->set->mode == SHIRQ_MODE_MASKS) {
		d->masked = true;
		trace_shirq_mask(d);
	}
	if (d->head - d->tail == SHIRQ_QUEUE) {
		d->lost++;
		d->stats.lost++;
		return;
	}
	event = shirq_new_event(d);
	/* All of it: what was here before is another event. */
	event->size = sizeof(*event);
	event->type = SHIRQ_EVENT_IRQ;
	event->source = 0;
	event->flags = 0;
	event->seq = d->seq;
	event->time_ns = time_ns;
	event->lost = d->lost;
	memcpy(event->r, captured, sizeof(event->r));
	shirq_put_event(d, event);
}

/**
 * shirq_notice() - queue what is no interrupt
 * @d: the device, @lock held, with an owner
 * @type: enum shirq_event_type
 * @flags: of the event
 * @regs: r0..r3 of the event, or NULL
 *
 * It is never lost: in a full queue it takes the place of the newest event.
 */
void shirq_notice(struct shirq_device *d, u16 type, u16 flags, const u64 *regs)
{
	struct shirq_event *event;

	lockdep_assert_held(&d->lock);
	if (d->head - d->tail == SHIRQ_QUEUE) {
		d->head--;
		d->lost++;
		d->stats.lost++;
	}
	event = shirq_new_event(d);
	*event = (struct shirq_event) {
		.size = sizeof(*event),
		.type = type,
		.flags = flags,
		.seq = d->seq,
		.time_ns = ktime_get_ns(),
		.lost = d->lost,
	};
	if (regs)
		memcpy(event->r, regs, sizeof(event->r));
	shirq_put_event(d, event);
}

/* The one place where the device is masked in the interrupt: by its irq program. */
static irqreturn_t shirq_interrupt(int irq, void *data)
{
	struct shirq_device *d = data;
	u64 *captured = d->captured;
	u64 now = ktime_get_ns();
	bool ours = false;

	/*
	 * Interrupts are off here, forced into a thread or not. On PREEMPT_RT they are
	 * not, but there the lock sleeps, and only threads take it.
	 */
	spin_lock(&d->lock);
	trace_shirq_irq(d);
	if (!d->requested || pci_channel_offline(d->pdev))
		goto out;
	/* While masked our own status may well be set: the interrupt is a neighbour's. */
	if (d->quarantined || d->masked) {
		ours = shirq_storm_silent(d, now);
		goto out;
	}
	/* Not d->gone: until it is stopped the device may assert, and nobody else would mask it. */
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

/* On and off */

/*
 * Register the handler. What it is to do from its first call on is set already, by
 * the caller, under the lock.
 */
static int shirq_request(struct shirq_device *d)
{
	int ret = request_irq(d->pdev->irq, shirq_interrupt, d->irqflags, d->irq_name, d);

	if (ret) {
		spin_lock_irq(&d->lock);
		d->requested = false;
		d->handling = false;
		spin_unlock_irq(&d->lock);
	}
	return ret;
}

/* The handler is about to be registered, or goes on. */
static void shirq_begin(struct shirq_device *d, unsigned long irqflags)
{
	lockdep_assert_held(&d->lock);
	d->storm.desc = irq_data_to_desc(irq_get_irq_data(d->pdev->irq));
	d->requested = true;
	d->irqflags = irqflags;
	shirq_storm_begin(d);
}

/**
 * shirq_watch_wake() - watch the line of a device without an owner that is woken
 * @d: the device, @mutex held, in D3hot
 *
 * Waking may reset it, and then nothing holds it back until its config space may be
 * accessed, 10 ms later; and D3hot may have been all that held it back. Ends with
 * shirq_storm_settle() and shirq_free_line(). Where somebody has the line to himself
 * there is no watch, and nobody else who could suffer.
 */
void shirq_watch_wake(struct shirq_device *d)
{
	lockdep_assert_held(&d->mutex);
	if (!shirq_has_line(d))
		return;
	spin_lock_irq(&d->lock);
	shirq_begin(d, IRQF_SHARED | IRQF_PROBE_SHARED);
	shirq_storm_watch(d);
	spin_unlock_irq(&d->lock);
	if (shirq_request(d))
		shirq_storm_settle(d, 0);
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
	/* From here on the handler leaves the line alone. */
	d->requested = false;
	spin_unlock_irq(&d->lock);
	if (!requested)
		return;
	cancel_work_sync(&d->reopen);
	shirq_reopen_line(d);
	free_irq(d->pdev->irq, d);
}

/**
 * shirq_load() - replace the loaded set
 * @d: the device, @mutex held, not armed
 * @set: a verified set; it belongs to the device from now on
 */
void shirq_load(struct shirq_device *d, struct shirq_set *set)
{
	lockdep_assert_held(&d->mutex);
	spin_lock_irq(&d->lock);
	swap(d->set, set);
	spin_unlock_irq(&d->lock);
	kfree(set);
}

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
	d->neighbour = irq_has_action(d->pdev->irq);
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
	bool quarantined = d->quarantined;
	int ret;

	lockdep_assert_held(&d->mutex);
	if (!shirq_has_line(d))
		return -ENXIO;
	if (!d->set)
		return -ENOEXEC;
	if (d->armed)
		return -EALREADY;
	if (d->paused)
		return -EIO;
	if (flags & SHIRQ_ARM_SHARED)
		irqflags |= IRQF_SHARED;
	ret = shirq_register(d, irqflags, flags);
	if (ret)
		return ret;
	if (quarantined)
		shirq_rehabilitate(d, flags);

	spin_lock_irq(&d->lock);
	if (d->gone) {
		ret = -ENODEV;
	} else if (d->handling) {
		d->armed = true;
		shirq_set_disintx(d, false);
		/* Masked already: the owner gets that event first, and unmasks it. */
		if (!d->masked)
			ret = shirq_enable(d);
	}
	spin_unlock_irq(&d->lock);
	return ret;
}

/**
 * shirq_quiesce() - make sure that the device does not assert
 * @d: the device, @lock held
 *
 * Runs the release program whether armed or not: once a set is loaded, its
 * owner may have let the device assert in other ways.
 */
void shirq_quiesce(struct shirq_device *d)
{
	lockdep_assert_held(&d->lock);
	/* Not d->gone: all-ones in one register is no proof that the device cannot assert. */
	if (!shirq_answers(d))
		return;
	if (d->set)
		shirq_run_set(d, SHIRQ_PROGRAM_RELEASE, NULL);
	shirq_set_disintx(d, true);
}

/**
 * shirq_stop() - quiesce, and claim no interrupt any more
 * @d: the device, @lock held
 *
 * From here on the handler at most watches the line.
 */
void shirq_stop(struct shirq_device *d)
{
	lockdep_assert_held(&d->lock);
	d->handling = false;
	d->armed = false;
	d->masked = false;
	d->owner_masked = false;
	d->held = false;
	d->intx_off = false;
	shirq_quiesce(d);
}

/**
 * shirq_halt() - quiesce and free the interrupt; what is queued stays
 * @d: the device, @mutex held
 */
void shirq_halt(struct shirq_device *d)
{
	lockdep_assert_held(&d->mutex);
	spin_lock_irq(&d->lock);
	shirq_stop(d);
	spin_unlock_irq(&d->lock);
	shirq_free_line(d);
}

/* What is queued is dropped, and who waits for more is told. */
static void shirq_end_readers(struct shirq_device *d)
{
	lockdep_assert_held(&d->lock);
	d->tail = d->head;
	d->epoch++;
	shirq_notify(d);
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
	if (shirq_storm_released(d))
		shirq_free_line(d);
	return 0;
}

/**
 * shirq_withdraw() - silence for good, asleep and without bus mastering
 * @d: the device, @mutex held
 *
 * The handler goes last: it sees whether the line is free of the device.
 */
void shirq_withdraw(struct shirq_device *d)
{
	lockdep_assert_held(&d->mutex);
	spin_lock_irq(&d->lock);
	shirq_clear_master(d);
	shirq_stop(d);
	shirq_end_readers(d);
	shirq_storm_watch(d);
	spin_unlock_irq(&d->lock);
	if (d->quiesce.release && shirq_present(d) &&
	    shirq_reset_function(d, d->quiesce.release))
		shirq_warn(d, "not reset at release\n");
	shirq_sleep(d);
	shirq_storm_settle(d, d->quiesce.rungs | SHIRQ_QUIESCE_D3HOT | SHIRQ_QUIESCE_FLR);
	shirq_sleep(d);
	shirq_free_line(d);
}

/**
 * shirq_mask() - silence the device, asserting or not
 * @d: the device
 * @seq: set to what unmasks it
 *
 * Return: 0, or the errno of SHIRQ_MASK.
 */
int shirq_mask(struct shirq_device *d, u64 *seq)
{
	int ret = 0;

	spin_lock_irq(&d->lock);
	if (d->gone) {
		ret = -ENODEV;
	} else if (!d->armed) {
		ret = -ENXIO;
	} else if (d->set->program[SHIRQ_PROGRAM_MASK].count) {
		ret = shirq_run_plain(d, SHIRQ_PROGRAM_MASK);
	} else if (pci_intx_mask_supported(d->pdev)) {
		shirq_set_disintx(d, true);
		d->intx_off = true;
	} else {
		ret = -EOPNOTSUPP;
	}
	if (!ret) {
		d->masked = true;
		d->owner_masked = true;
		*seq = ++d->seq;
		d->stats.masks++;
		shirq_storm_begin(d);
		trace_shirq_mask(d);
	}
	spin_unlock_irq(&d->lock);
	return ret;
}

static inline int shirq_unmask_locked(struct shirq_device *d, u64 seq)
{
	if (d->gone)
		return -ENODEV;
	if (!d->armed)
		return -ENXIO;
	if (!d->masked || seq != d->seq)
		return 0;
	d->stats.unmasks++;
	if (d->held) {
		d->held = false;
		d->owner_masked = false;
		shirq_claim(d, d->held_ns, d->captured);
		/* Masked as after any claim, until its event is answered. */
		if (d->set->mode == SHIRQ_MODE_MASKS)
			return 0;
	}
	return shirq_enable(d);
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
	return ret;
}

/**
 * shirq_unmask_delivered() - unmask the event that read() delivered last
 * @d: the device, @lock held
 *
 * Return: 0, or the errno of read().
 */
int shirq_unmask_delivered(struct shirq_device *d)
{
	lockdep_assert_held(&d->lock);
	return shirq_unmask_locked(d, d->delivered);
}

/**
 * shirq_exec() - run a one-shot program, serialised with the interrupt
 * @d: the device
 * @program: verified as SHIRQ_PROGRAM_EXEC
 * @regs: the registers, in and out
 *
 * Return: 0, or the errno of SHIRQ_EXEC.
 */
int shirq_exec(struct shirq_device *d, const struct shirq_program *program, u64 *regs)
{
	int ret;

	spin_lock_irq(&d->lock);
	ret = shirq_check_access(d);
	if (!ret)
		ret = shirq_run_checked(d, program, regs);
	spin_unlock_irq(&d->lock);
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
	shirq_notify(d);
	spin_unlock_irq(&d->lock);
}
