// SPDX-License-Identifier: GPL-2.0-only
/*
 * Messages, MSI-X or MSI, as IRQ sources: their handler and its registration, masking and
 * unmasking, and the allocation of vectors.
 *
 * A message is the device's own: no neighbour is on its vector, and no line is held. So a
 * source needs no program to claim it: without a set, each message is an event. A message
 * is an edge: if it is ignored, it does not come again. So one that comes while its source
 * is masked is held, and handled at the unmask.
 *
 * The breaker judges a message by its rate alone, whatever the program says. A quarantine
 * silences the device by what a message needs: bus mastering goes off, and the interrupt
 * is disabled, so that the kernel masks the vector at the next message.
 *
 * PCI allows a function either its pin or messages. While messages are allocated, the PCI
 * core keeps DisINTx set. When it frees them, it clears DisINTx, and a device with a cause
 * that is pending asserts its pin: so a handler is on the line before that.
 */
#include <linux/errno.h>
#include <linux/eventfd.h>
#include <linux/interrupt.h>
#include <linux/ktime.h>
#include <linux/nospec.h>
#include <linux/slab.h>

#include "access.h"
#include "arm.h"
#include "event.h"
#include "hw.h"
#include "ladder.h"
#include "message.h"
#include "source.h"
#include "storm.h"
#include "trace.h"

/**
 * shirq_message() - find a source that is a message
 * @d: the device, @lock or @mutex held
 * @source: number of the source, from user space
 *
 * Return: the source, or NULL for source 0 and for a source that does not exist.
 */
struct shirq_message *shirq_message(const struct shirq_device *d, unsigned int source)
{
	if (!source || source > d->message_count)
		return NULL;
	return &d->message[array_index_nospec(source - 1, d->message_count)];
}

/* Handling a message */

/*
 * Handle a message that came at @time_ns, or that was held since then.
 * Return: true if it came for this source.
 */
static bool shirq_take_message(struct shirq_message *m, u64 time_ns)
{
	struct shirq_device *d = m->d;
	enum shirq_outcome outcome = SHIRQ_CLAIMED;

	if (m->set)
		outcome = shirq_run_of(d, m->set, SHIRQ_PROGRAM_IRQ, m->captured);
	if (outcome != SHIRQ_CLAIMED) {
		if (outcome == SHIRQ_GONE)
			shirq_lose(d);
		d->stats.declines++;
		trace_shirq_message_decline(m);
		return false;
	}
	m->seq++;
	m->masked = m->set && m->set->mode == SHIRQ_MODE_MASKS;
	d->stats.claims++;
	trace_shirq_message_claim(m);
	shirq_queue_message(m, time_ns);
	return true;
}

static bool shirq_message_came(struct shirq_message *m, u64 now)
{
	struct shirq_device *d = m->d;
	bool ours = true;

	if (!m->handling) {
		d->stats.silent++;
		return false;
	}
	/* Behind a frozen link no program may run. */
	if (m->masked || pci_channel_offline(d->pdev)) {
		m->held = true;
		m->held_ns = now;
		d->stats.silent++;
		trace_shirq_message_hold(m);
	} else {
		ours = shirq_take_message(m, now);
	}
	if (m->handling && shirq_rate_claim(&m->rate, now, d->quiesce.max_rate))
		shirq_quarantine(d, SHIRQ_QUARANTINE_RATE, m->captured);
	return ours;
}

static irqreturn_t shirq_message_interrupt(int irq, void *data)
{
	struct shirq_message *m = data;
	u64 now = ktime_get_ns();
	bool ours;

	/* As in shirq_interrupt(), spin_lock() suffices. */
	spin_lock(&m->d->lock);
	ours = shirq_message_came(m, now);
	spin_unlock(&m->d->lock);
	return ours ? IRQ_HANDLED : IRQ_NONE;
}

/* Masking and unmasking */

static int shirq_run_message(struct shirq_message *m, enum shirq_program_kind kind)
{
	if (!m->set || shirq_run_of(m->d, m->set, kind, NULL) != SHIRQ_GONE)
		return 0;
	shirq_lose(m->d);
	return -ENODEV;
}

/* Let the source interrupt: enable the interrupt, if SHIRQ_MASK has disabled it. */
static int shirq_enable_message(struct shirq_message *m)
{
	lockdep_assert_held(&m->d->lock);
	m->masked = false;
	if (m->off) {
		m->off = false;
		enable_irq(m->irq);
	}
	trace_shirq_message_unmask(m);
	return shirq_run_message(m, SHIRQ_PROGRAM_UNMASK);
}

static int shirq_mask_locked(struct shirq_message *m, u64 *seq)
{
	struct shirq_device *d = m->d;
	int ret = 0;

	if (d->gone)
		return -ENODEV;
	if (!m->armed)
		return -ENXIO;
	if (m->set && m->set->program[SHIRQ_PROGRAM_MASK].count) {
		/* Behind a frozen link the device is not accessed. */
		if (!pci_channel_offline(d->pdev))
			ret = shirq_run_message(m, SHIRQ_PROGRAM_MASK);
	} else if (!m->off) {
		m->off = true;
		disable_irq_nosync(m->irq);
	}
	if (ret)
		return ret;
	m->masked = true;
	*seq = ++m->seq;
	d->stats.masks++;
	trace_shirq_message_mask(m);
	return 0;
}

/**
 * shirq_mask_message() - silence a source
 * @d: the device
 * @source: number of the source, from user space
 * @seq: out: the number that unmasks the source
 *
 * Return: 0, or the errno of SHIRQ_MASK.
 */
int shirq_mask_message(struct shirq_device *d, unsigned int source, u64 *seq)
{
	struct shirq_message *m;
	int ret = -EINVAL;

	spin_lock_irq(&d->lock);
	m = shirq_message(d, source);
	if (m)
		ret = shirq_mask_locked(m, seq);
	spin_unlock_irq(&d->lock);
	return ret;
}

static int shirq_unmask_locked(struct shirq_message *m, u64 seq)
{
	struct shirq_device *d = m->d;

	if (d->gone)
		return -ENODEV;
	if (!m->armed)
		return -ENXIO;
	if (seq > m->seq)
		return -EINVAL;
	/* Behind a frozen link the device stays masked. */
	if (!m->masked || seq != m->seq || pci_channel_offline(d->pdev))
		return 0;
	d->stats.unmasks++;
	if (m->held) {
		m->held = false;
		m->masked = false;
		shirq_take_message(m, m->held_ns);
		if (d->gone)
			return -ENODEV;
		/* The source stays masked, as after any claim, until the event is unmasked. */
		if (m->masked)
			return 0;
	}
	return shirq_enable_message(m);
}

/**
 * shirq_unmask_message() - let a source interrupt again after an event
 * @d: the device
 * @source: number of the source, from user space
 * @seq: number of the event; if a later number was given out, the call does nothing
 *
 * Return: 0, or the errno of SHIRQ_UNMASK.
 */
int shirq_unmask_message(struct shirq_device *d, unsigned int source, u64 seq)
{
	struct shirq_message *m;
	int ret = -EINVAL;

	spin_lock_irq(&d->lock);
	m = shirq_message(d, source);
	if (m)
		ret = shirq_unmask_locked(m, seq);
	spin_unlock_irq(&d->lock);
	return ret;
}

/**
 * shirq_unmask_taken() - unmask the event of a source that read() delivered last
 * @m: the source, @lock of its device held
 *
 * Return: 0, or the errno of read().
 */
int shirq_unmask_taken(struct shirq_message *m)
{
	lockdep_assert_held(&m->d->lock);
	return shirq_unmask_locked(m, m->delivered);
}

/* Arm and disarm */

/* Free the interrupt of a source that was stopped, if it was requested. */
static void shirq_free_message(struct shirq_message *m)
{
	struct shirq_device *d = m->d;
	bool requested;

	spin_lock_irq(&d->lock);
	requested = m->requested;
	m->requested = false;
	m->off = false;
	spin_unlock_irq(&d->lock);
	if (requested)
		free_irq(m->irq, m);
}

/* End the quarantine, as shirq_arm() does. Return: 0, or -EIO if the pin still asserts. */
static int shirq_rehabilitate_messages(struct shirq_device *d)
{
	shirq_wake_quarantined(d);
	spin_lock_irq(&d->lock);
	shirq_quiesce(d);
	d->quarantined = false;
	d->storm.rung = SHIRQ_RUNG_NONE;
	d->storm.due = false;
	shirq_storm_watch(d);
	spin_unlock_irq(&d->lock);
	shirq_let_go(d);
	return READ_ONCE(d->quarantined) ? -EIO : 0;
}

/* The handler must be able to take messages from its first call on. */
static void shirq_handle_message(struct shirq_message *m, u32 flags)
{
	spin_lock_irq(&m->d->lock);
	m->requested = true;
	m->handling = true;
	m->auto_unmask = flags & SHIRQ_ARM_AUTO_UNMASK;
	m->delivered = m->seq;
	m->lost = 0;
	m->rate.claims = 0;
	if (m->set) {
		m->set->saved = false;
		memset(m->set->kept, 0, sizeof(m->set->kept));
	}
	spin_unlock_irq(&m->d->lock);
}

/**
 * shirq_arm_message() - request the interrupt of a source, then let it interrupt
 * @m: the source, @mutex of its device held
 * @flags: SHIRQ_ARM_AUTO_UNMASK or zero
 *
 * Return: 0, or the errno of SHIRQ_ARM.
 */
int shirq_arm_message(struct shirq_message *m, u32 flags)
{
	struct shirq_device *d = m->d;
	int ret = 0;

	lockdep_assert_held(&d->mutex);
	if (READ_ONCE(m->armed))
		return -EALREADY;
	if (d->life & SHIRQ_PAUSED || pci_channel_offline(d->pdev))
		return -EIO;
	shirq_free_message(m);
	if (READ_ONCE(d->quarantined))
		ret = shirq_rehabilitate_messages(d);
	if (ret)
		return ret;
	shirq_handle_message(m, flags);
	ret = request_irq(m->irq, shirq_message_interrupt, 0, m->name, m);

	spin_lock_irq(&d->lock);
	if (ret) {
		m->requested = false;
		m->handling = false;
	} else {
		if (!d->gone && !pci_channel_offline(d->pdev) && !shirq_present(d))
			shirq_lose(d);
		if (d->gone) {
			ret = -ENODEV;
		} else if (m->handling) {
			m->armed = true;
			WRITE_ONCE(d->messages_armed, d->messages_armed + 1);
			/* If the handler has already claimed and masked, leave it masked. */
			if (!m->masked)
				ret = shirq_enable_message(m);
		}
	}
	spin_unlock_irq(&d->lock);
	return ret;
}

/**
 * shirq_disarm_message() - silence a source, and free its interrupt
 * @m: the source, @mutex of its device held
 *
 * Other sources go on. The readers of the device end if no source is armed any more.
 *
 * Return: 0, or the errno of SHIRQ_DISARM.
 */
int shirq_disarm_message(struct shirq_message *m)
{
	struct shirq_device *d = m->d;
	bool armed;

	lockdep_assert_held(&d->mutex);
	spin_lock_irq(&d->lock);
	armed = m->armed;
	if (armed) {
		shirq_stop_message(m);
		if (m->set && shirq_answers(d))
			shirq_run_of(d, m->set, SHIRQ_PROGRAM_RELEASE, NULL);
		shirq_drop_events(m);
		if (!d->messages_armed) {
			/* A notice that is queued stays: it is an event of source 0. */
			WRITE_ONCE(d->epoch, d->epoch + 1);
			shirq_notify(d);
		}
	}
	spin_unlock_irq(&d->lock);
	if (!armed)
		return -ENXIO;
	shirq_free_message(m);
	return 0;
}

/* Vectors */

/*
 * The PCI core writes all of Command, without the lock, when it allocates or frees messages,
 * and clears DisINTx when it frees them. Set DisINTx again; and clear bus mastering again,
 * if the address space that had switched it on ended meanwhile.
 */
static void shirq_mend_command(struct shirq_device *d)
{
	spin_lock_irq(&d->lock);
	d->messages_left = !d->vectors && !shirq_answers(d);
	if (shirq_answers(d)) {
		shirq_set_disintx(d, true);
		if (!d->pdev->is_busmaster)
			pci_clear_master(d->pdev);
	}
	spin_unlock_irq(&d->lock);
}

/* Stop all sources, and free their vectors. The line is watched from then on. */
static void shirq_end_vectors(struct shirq_device *d)
{
	struct shirq_message *m;

	spin_lock_irq(&d->lock);
	shirq_stop(d);
	spin_unlock_irq(&d->lock);
	shirq_watch_wake(d);
	shirq_for_each_message(m, d)
		shirq_free_message(m);
	pci_free_irq_vectors(d->pdev);
	d->vectors = false;
	WRITE_ONCE(d->line_irq, 0);
	shirq_mend_command(d);
}

/**
 * shirq_free_vectors() - free the messages of a device that is about to be parked
 * @d: the device, @mutex held
 *
 * The sets stay until shirq_drop_messages(): if the device does not answer now, their
 * release programs run when it does. If the pin asserts now, shirq_withdraw() sees that.
 */
void shirq_free_vectors(struct shirq_device *d)
{
	lockdep_assert_held(&d->mutex);
	if (!d->vectors)
		return;
	spin_lock_irq(&d->lock);
	shirq_clear_master(d);
	spin_unlock_irq(&d->lock);
	shirq_end_vectors(d);
}

static void shirq_free_sources(struct shirq_message *message, unsigned int count)
{
	unsigned int i;

	for (i = 0; i < count; i++) {
		kfree(message[i].set);
		kfree(message[i].queue);
		put_pid(message[i].reader);
		if (message[i].eventfd)
			eventfd_ctx_put(message[i].eventfd);
	}
	kfree(message);
}

/**
 * shirq_drop_messages() - forget the sources that are messages, with their sets and events
 * @d: the device, @mutex held, its vectors freed
 */
void shirq_drop_messages(struct shirq_device *d)
{
	struct shirq_message *message;
	unsigned int count;

	lockdep_assert_held(&d->mutex);
	spin_lock_irq(&d->lock);
	message = d->message;
	count = d->message_count;
	d->message = NULL;
	d->message_count = 0;
	WRITE_ONCE(d->message_events, 0);
	spin_unlock_irq(&d->lock);
	shirq_free_sources(message, count);
}

static struct shirq_message *shirq_new_sources(struct shirq_device *d, unsigned int count)
{
	struct shirq_message *message, *m;

	message = kcalloc(count, sizeof(*message), GFP_KERNEL_ACCOUNT);
	if (!message)
		return NULL;
	for (m = message; m < message + count; m++) {
		m->d = d;
		m->source = m - message + 1;
		snprintf(m->name, sizeof(m->name), "%s-%u", d->irq_name, m->source);
		m->queue = kcalloc(SHIRQ_QUEUE, sizeof(*m->queue), GFP_KERNEL_ACCOUNT);
		if (!m->queue) {
			shirq_free_sources(message, count);
			return NULL;
		}
	}
	return message;
}

/* Return: the number of messages, or the errno of SHIRQ_SET_MESSAGES. */
static int shirq_allocate_vectors(struct shirq_device *d, unsigned int count)
{
	struct shirq_message *message;
	unsigned int i;
	int got;

	count = min(count, d->most_messages);
	if (!count)
		return -ENXIO;
	message = shirq_new_sources(d, count);
	if (!message)
		return -ENOMEM;
	/* With MSI, the PCI core stores the number of a message in the place of the line's. */
	WRITE_ONCE(d->line_irq, d->pdev->irq ?: IRQ_NOTCONNECTED);
	got = pci_alloc_irq_vectors(d->pdev, 1, count, PCI_IRQ_MSIX | PCI_IRQ_MSI);
	if (got < 0) {
		/* The PCI core has several numbers for an interrupt that it does not give. */
		if (got != -ENOMEM)
			got = -ENOSPC;
		WRITE_ONCE(d->line_irq, 0);
		shirq_free_sources(message, count);
	} else {
		for (i = 0; i < count; i++) {
			if (i < got)
				message[i].irq = pci_irq_vector(d->pdev, i);
			else
				kfree(message[i].queue);
		}
		d->vectors = true;
		spin_lock_irq(&d->lock);
		d->message = message;
		d->message_count = got;
		/* Messages are read: a ring that the owner has not left would refuse read(). */
		if (d->ringing)
			shirq_ring_switch(d, false);
		spin_unlock_irq(&d->lock);
	}
	shirq_mend_command(d);
	return got;
}

/**
 * shirq_set_messages() - allocate or free the function's messages
 * @d: the device, @mutex held
 * @count: in: number of messages wanted, 0 frees them; out: number allocated
 *
 * Return: 0, or the errno of SHIRQ_SET_MESSAGES.
 */
int shirq_set_messages(struct shirq_device *d, unsigned int *count)
{
	int ret;

	lockdep_assert_held(&d->mutex);
	spin_lock_irq(&d->lock);
	ret = shirq_check_access(d);
	spin_unlock_irq(&d->lock);
	if (ret)
		return ret;
	if (READ_ONCE(d->armed) || d->messages_armed || (*count && d->vectors))
		return -EBUSY;
	if (*count) {
		ret = shirq_allocate_vectors(d, *count);
		if (ret < 0)
			return ret;
		*count = ret;
	} else if (d->vectors) {
		shirq_end_vectors(d);
		shirq_let_go(d);
		shirq_drop_messages(d);
	}
	return 0;
}
