// SPDX-License-Identifier: GPL-2.0-only
/*
 * The device as an interrupt source: running its programs and tracking its state.
 * Everything here runs under the lock, most of it in the interrupt.
 */
#include <linux/errno.h>
#include <linux/interrupt.h>
#include <linux/irq.h>
#include <linux/irqdesc.h>
#include <linux/slab.h>

#include "access.h"
#include "event.h"
#include "hw.h"
#include "source.h"
#include "trace.h"

/**
 * shirq_load() - link a set, and replace the loaded set of a source by it
 * @d: the device, @mutex held
 * @where: the place of the set in a source of this device that is not armed
 * @set: a verified set, or NULL; the device takes ownership
 *
 * Linked programs hold addresses of mapped BARs. The BARs stay mapped until the device
 * has neither an owner nor a set.
 */
void shirq_load(struct shirq_device *d, struct shirq_set **where, struct shirq_set *set)
{
	u32 kind;

	lockdep_assert_held(&d->mutex);
	for (kind = 0; set && kind < ARRAY_SIZE(set->program); kind++)
		shirq_link(&set->program[kind], &d->bus);
	/* The kept registers must be copied before the program begins. */
	if (set && set->keeps)
		set->program[SHIRQ_PROGRAM_IRQ].relevant = 0;
	spin_lock_irq(&d->lock);
	swap(*where, set);
	spin_unlock_irq(&d->lock);
	kfree(set);
}

/**
 * shirq_copy_set() - copy the loaded set, so that it can be loaded again
 * @d: the device, @mutex held, with a set
 *
 * Return: the copy, which is not linked, or NULL.
 */
struct shirq_set *shirq_copy_set(const struct shirq_device *d)
{
	struct shirq_set *set = kmemdup(d->set, sizeof(*set), GFP_KERNEL);
	u32 kind;

	lockdep_assert_held(&d->mutex);
	for (kind = 0; set && kind < ARRAY_SIZE(set->program); kind++)
		shirq_unlink(&set->program[kind], &d->bus);
	return set;
}

/**
 * shirq_run_keeping() - run a program of a set whose programs share registers
 * @d: the device, @lock held
 * @set: the set
 * @kind: which
 * @captured: as for shirq_run_of()
 *
 * Return: how it ended.
 */
enum shirq_outcome shirq_run_keeping(struct shirq_device *d, struct shirq_set *set,
				     enum shirq_program_kind kind, u64 *captured)
{
	bool masks = set->mode == SHIRQ_MODE_MASKS &&
		     (kind == SHIRQ_PROGRAM_IRQ || kind == SHIRQ_PROGRAM_MASK);
	enum shirq_outcome outcome;

	lockdep_assert_held(&d->lock);
	memcpy(&d->regs[SHIRQ_KEPT], set->kept, sizeof(set->kept));
	outcome = shirq_run(&set->program[kind], &d->bus, d->regs, captured);
	/* A neighbour's interrupt must not change what the last claim has saved. */
	if (outcome != (kind == SHIRQ_PROGRAM_IRQ ? SHIRQ_CLAIMED : SHIRQ_ENDED))
		return outcome;
	/*
	 * Nor must a program that masks what is masked already: the next unmask restores
	 * what the first one has saved.
	 */
	if (!masks || !set->saved)
		memcpy(set->kept, &d->regs[SHIRQ_KEPT], sizeof(set->kept));
	set->saved = masks;
	return outcome;
}

/* Masking and unmasking */

/**
 * shirq_storm_begin() - begin a new storm window, because the device may assert again
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

/**
 * shirq_quiesce() - make sure that the device does not assert
 * @d: the device, @lock held
 *
 * Runs the release programs of all sources, whether armed or not: once a set is loaded,
 * the owner may have enabled the source by other means.
 */
void shirq_quiesce(struct shirq_device *d)
{
	struct shirq_message *m;

	lockdep_assert_held(&d->lock);
	/*
	 * Do not test d->gone: all-ones in one register do not prove that the device cannot
	 * assert.
	 */
	if (!shirq_answers(d))
		return;
	if (d->set)
		shirq_run_set(d, SHIRQ_PROGRAM_RELEASE, NULL);
	shirq_for_each_message(m, d) {
		if (m->set)
			shirq_run_of(d, m->set, SHIRQ_PROGRAM_RELEASE, NULL);
	}
	shirq_clear_messages(d);
	shirq_set_disintx(d, true);
}

/**
 * shirq_lose_held() - drop the claim that was held back by SHIRQ_MASK
 * @d: the device, @lock held
 */
void shirq_lose_held(struct shirq_device *d)
{
	lockdep_assert_held(&d->lock);
	if (!d->held)
		return;
	d->held = false;
	d->lost++;
	d->stats.lost++;
	shirq_ring_publish(d);
}

/**
 * shirq_stop_message() - stop taking the messages of a source; queued events stay
 * @m: the source, @lock of its device held
 *
 * The interrupt stays disabled until the handler is freed: the kernel masks the vector if
 * the device sends a message all the same.
 */
void shirq_stop_message(struct shirq_message *m)
{
	struct shirq_device *d = m->d;

	lockdep_assert_held(&d->lock);
	if (m->requested && !m->off) {
		m->off = true;
		disable_irq_nosync(m->irq);
	}
	m->handling = false;
	m->masked = false;
	if (m->held) {
		m->held = false;
		m->lost++;
		d->stats.lost++;
	}
	if (!m->armed)
		return;
	m->armed = false;
	WRITE_ONCE(d->messages_armed, d->messages_armed - 1);
	shirq_notify_message(m);
}

/**
 * shirq_stop() - quiesce, and stop claiming interrupts
 * @d: the device, @lock held
 *
 * After this, the handler only watches the line, or does nothing.
 */
void shirq_stop(struct shirq_device *d)
{
	struct shirq_message *m;

	lockdep_assert_held(&d->lock);
	shirq_for_each_message(m, d)
		shirq_stop_message(m);
	d->handling = false;
	WRITE_ONCE(d->armed, false);
	d->masked = false;
	d->owner_masked = false;
	shirq_lose_held(d);
	d->intx_off = false;
	shirq_quiesce(d);
}

/**
 * shirq_quiesce_again() - quiesce a device that a reset, a power loss or its owner may
 * have re-enabled
 * @d: the device, @mutex held, not SHIRQ_DEAD
 */
void shirq_quiesce_again(struct shirq_device *d)
{
	lockdep_assert_held(&d->mutex);
	spin_lock_irq(&d->lock);
	shirq_quiesce(d);
	spin_unlock_irq(&d->lock);
}

/**
 * shirq_storm_watch() - let the handler only watch the line of a released device
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

/**
 * shirq_lose() - handle a read with SHIRQ_GONE_IF_ONES that returned all-ones
 * @d: the device, @lock held
 *
 * All-ones in one register do not prove that the device cannot assert, and the device
 * may answer again. So the device is silenced now if its registers still answer. The
 * handler watches the line as it does in quarantine. @absent revokes the owner's
 * mappings, and silences the device when it answers. Until then no rung counts as
 * taken, not even the release program.
 */
void shirq_lose(struct shirq_device *d)
{
	lockdep_assert_held(&d->lock);
	WRITE_ONCE(d->gone, true);
	shirq_clear_master(d);
	shirq_stop(d);
	shirq_storm_watch(d);
	d->storm.rung = SHIRQ_RUNG_NONE;
	shirq_ring_state(d, SHIRQ_RING_GONE, 0);
	shirq_notify(d);
	mod_delayed_work(system_highpri_wq, &d->absent, 0);
}

/**
 * shirq_set_gone() - refuse all accesses to the device, and all waits, from now on
 * @d: the device
 */
void shirq_set_gone(struct shirq_device *d)
{
	spin_lock_irq(&d->lock);
	WRITE_ONCE(d->gone, true);
	shirq_ring_state(d, SHIRQ_RING_GONE, 0);
	shirq_notify(d);
	spin_unlock_irq(&d->lock);
}

static inline int shirq_check_outcome(struct shirq_device *d, enum shirq_outcome outcome)
{
	lockdep_assert_held(&d->lock);
	if (outcome != SHIRQ_GONE)
		return 0;
	shirq_lose(d);
	return -ENODEV;
}

/* Run a program of the loaded set that neither claims nor declines. */
static inline int shirq_run_plain(struct shirq_device *d, enum shirq_program_kind kind)
{
	return shirq_check_outcome(d, shirq_run_set(d, kind, NULL));
}

/**
 * shirq_enable() - let the device assert
 * @d: the device, @lock held, armed
 *
 * Return: 0, or -ENODEV if the unmask program found it gone.
 */
int shirq_enable(struct shirq_device *d)
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

/**
 * shirq_claim() - record a claim of the irq program, and queue its event
 * @d: the device, @lock held
 * @time_ns: when the interrupt came
 * @captured: r0..r3 at the claim
 */
void shirq_claim(struct shirq_device *d, u64 time_ns, const u64 *captured)
{
	lockdep_assert_held(&d->lock);
	d->seq++;
	d->stats.claims++;
	trace_shirq_claim(d);
	if (d->set->mode == SHIRQ_MODE_MASKS) {
		d->masked = true;
		trace_shirq_mask(d);
	}
	shirq_queue_irq(d, time_ns, captured);
}

/**
 * shirq_mask() - silence the device, whether it asserts or not
 * @d: the device
 * @seq: out: the number that unmasks the device
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
	} else if (pci_channel_offline(d->pdev)) {
		/*
		 * Behind a frozen link the device is not accessed; the recovery silences it
		 * anyway.
		 */
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
		shirq_ring_publish(d);
		d->stats.masks++;
		shirq_storm_begin(d);
		trace_shirq_mask(d);
	}
	spin_unlock_irq(&d->lock);
	return ret;
}

/**
 * shirq_see_unmask() - find out whether the owner has unmasked by a store of its own
 * @d: the device, @lock held, handler registered
 *
 * The owner first writes the number of the claim to the ring, then unmasks. A handler that
 * still sees an older number takes the device for masked and answers IRQ_NONE: the level
 * stays, and the handler is called again. A store does not undo SHIRQ_MASK. But it does undo
 * the DisINTx of shirq_mask_again(), of which the owner knows nothing: the device is silent
 * then, so that the timer @watch calls this function, if no neighbour interrupts.
 */
void shirq_see_unmask(struct shirq_device *d)
{
	lockdep_assert_held(&d->lock);
	if (!d->ringing || !d->masked || d->owner_masked || !d->set->store.width ||
	    READ_ONCE(d->consumer->unmasked) != d->seq)
		return;
	if (d->intx_off) {
		/* Behind a frozen link the device stays masked. */
		if (pci_channel_offline(d->pdev))
			return;
		d->intx_off = false;
		shirq_set_disintx(d, false);
	}
	d->masked = false;
	d->stats.unmasks++;
	shirq_storm_begin(d);
	trace_shirq_unmask(d);
}

static inline int shirq_unmask_locked(struct shirq_device *d, u64 seq)
{
	if (d->gone)
		return -ENODEV;
	if (!d->armed)
		return -ENXIO;
	/* Behind a frozen link the device stays masked. */
	if (!d->masked || seq != d->seq || pci_channel_offline(d->pdev))
		return 0;
	d->stats.unmasks++;
	if (d->held) {
		d->held = false;
		d->owner_masked = false;
		shirq_claim(d, d->held_ns, d->captured);
		/* The device stays masked, as after any claim, until the event is unmasked. */
		if (d->set->mode == SHIRQ_MODE_MASKS)
			return 0;
	}
	return shirq_enable(d);
}

/**
 * shirq_unmask() - let the device assert again after an event
 * @d: the device
 * @seq: number of the event; if a later number was given out, the call does nothing
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
 * @kept: r4..r7 are those of the loaded set; the caller holds @mutex, and there is a set
 *
 * Return: 0, or the errno of SHIRQ_EXEC.
 */
int shirq_exec(struct shirq_device *d, const struct shirq_program *program, u64 *regs,
	       bool kept)
{
	const size_t size = sizeof(d->set->kept);
	int ret;

	spin_lock_irq(&d->lock);
	ret = shirq_check_access(d);
	if (!ret && kept)
		memcpy(&regs[SHIRQ_KEPT], d->set->kept, size);
	if (!ret)
		ret = shirq_check_outcome(d, shirq_run(program, &d->bus, regs, NULL));
	if (!ret && kept)
		memcpy(d->set->kept, &regs[SHIRQ_KEPT], size);
	spin_unlock_irq(&d->lock);
	return ret;
}
