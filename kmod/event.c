// SPDX-License-Identifier: GPL-2.0-only
/* The event queue, and the wake-up of its waiters. */
#include <linux/ktime.h>

#include "compat.h"
#include "event.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

static void shirq_notify_by(struct shirq_device *d, struct eventfd_ctx *eventfd)
{
	lockdep_assert_held(&d->lock);
	/*
	 * Whoever looks at a ring does not sleep. The check includes a full barrier: a waiter
	 * is on the queue before it looks for events.
	 */
	if (!d->ringing || wq_has_sleeper(&d->wait))
		wake_up_interruptible(&d->wait);
	if (eventfd)
		shirq_eventfd_signal(eventfd);
}

/**
 * shirq_notify() - wake the waiters: an event was queued, or the state has changed
 * @d: the device, @lock held
 */
void shirq_notify(struct shirq_device *d)
{
	lockdep_assert_held(&d->lock);
	if (unlikely(d->consume))
		d->consume(d);
	shirq_notify_by(d, d->eventfd);
}

/**
 * shirq_notify_message() - the same, for a source that is a message
 * @m: the source, @lock of its device held
 *
 * Without an eventfd of its own, the source uses that of source 0.
 */
void shirq_notify_message(struct shirq_message *m)
{
	shirq_notify_by(m->d, m->eventfd ?: m->d->eventfd);
}

/*
 * Return: the slot for the next event; the queue must have room. Call shirq_put_event() and
 * shirq_notify() afterwards.
 */
static struct shirq_event *shirq_new_event(struct shirq_device *d)
{
	return &d->queue[d->head % SHIRQ_QUEUE];
}

static inline void shirq_put_event(struct shirq_device *d, const struct shirq_event *event)
{
	WRITE_ONCE(d->head, d->head + 1);
	shirq_ring_publish(d);
	d->stats.events++;
	trace_shirq_event(d, event);
}

/**
 * shirq_queue_irq() - queue the event of an interrupt, or count it as lost if the queue
 * is full
 * @d: the device, @lock held
 * @time_ns: time of the interrupt
 * @captured: r0..r3 at the claim
 */
void shirq_queue_irq(struct shirq_device *d, u64 time_ns, const u64 *captured)
{
	struct shirq_event *event;

	lockdep_assert_held(&d->lock);
	if (shirq_is_full(d)) {
		d->lost++;
		d->stats.lost++;
		shirq_ring_publish(d);
		return;
	}
	event = shirq_new_event(d);
	/* Initialise every field: the slot holds a stale event. */
	event->size = sizeof(*event);
	event->type = SHIRQ_EVENT_IRQ;
	event->source = 0;
	event->flags = 0;
	event->seq = d->seq;
	event->time_ns = time_ns;
	event->lost = d->lost;
	memcpy(event->r, captured, sizeof(event->r));
	shirq_put_event(d, event);
	shirq_notify(d);
}

/* Set the state of the ring if the notice ends the arming. */
static void shirq_end_ring(struct shirq_device *d, u16 type, u16 flags)
{
	/* A reset of a device that is gone does not bring it back to this owner. */
	if (d->gone)
		return;
	switch (type) {
	case SHIRQ_EVENT_RESUMED:
		shirq_ring_state(d, SHIRQ_RING_RESUMED, 0);
		break;
	case SHIRQ_EVENT_RESET:
		shirq_ring_state(d, SHIRQ_RING_RESET, 0);
		break;
	case SHIRQ_EVENT_QUARANTINED:
		shirq_ring_state(d, SHIRQ_RING_QUARANTINED, flags);
		break;
	}
}

/**
 * shirq_notice() - queue an event of another type than SHIRQ_EVENT_IRQ
 * @d: the device, @lock held, with an owner
 * @type: enum shirq_event_type
 * @flags: of the event
 * @regs: r0..r3 of the event, or NULL
 *
 * Such an event is never lost: in a full queue it replaces the newest event. The owner of a
 * ring may just be reading that one: a full ring gets no event, but its state says the same.
 */
void shirq_notice(struct shirq_device *d, u16 type, u16 flags, const u64 *regs)
{
	struct shirq_event *event;

	lockdep_assert_held(&d->lock);
	if (shirq_is_full(d)) {
		if (d->ringing)
			goto end;
		WRITE_ONCE(d->head, d->head - 1);
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
end:
	shirq_end_ring(d, type, flags);
	shirq_notify(d);
}

/**
 * shirq_end_readers() - drop the queued events, and wake the waiters
 * @d: the device, @lock held
 *
 * The events of a ring stay: its owner takes them without a call.
 */
void shirq_end_readers(struct shirq_device *d)
{
	lockdep_assert_held(&d->lock);
	if (!d->ringing)
		WRITE_ONCE(d->tail, d->head);
	WRITE_ONCE(d->epoch, d->epoch + 1);
	shirq_ring_state(d, d->gone ? SHIRQ_RING_GONE : SHIRQ_RING_DISARMED, 0);
	shirq_notify(d);
}

/* Lockless: see shirq_wakes() in file.c. */
static bool shirq_ring_wakes(const struct shirq_device *d, u32 tail, u32 epoch)
{
	return READ_ONCE(d->head) != tail || READ_ONCE(d->epoch) != epoch ||
	       READ_ONCE(d->gone) ||
	       !(READ_ONCE(d->armed) || READ_ONCE(d->life) & SHIRQ_PAUSED);
}

/**
 * shirq_wait_ring() - wait until the ring has another event, or none can come any more
 * @d: the device
 * @tail: number of events that the owner has taken
 * @timeout_ns: how long, at most; U64_MAX: without limit
 *
 * Return: 0, or the errno of SHIRQ_WAIT.
 */
int shirq_wait_ring(struct shirq_device *d, u32 tail, u64 timeout_ns)
{
	u32 epoch = READ_ONCE(d->epoch);
	int ret;

	if (!READ_ONCE(d->ringing))
		return READ_ONCE(d->gone) ? -ENODEV : -ENXIO;
	if (timeout_ns > KTIME_MAX)
		ret = wait_event_interruptible(d->wait, shirq_ring_wakes(d, tail, epoch));
	else
		ret = wait_event_interruptible_hrtimeout(d->wait,
							 shirq_ring_wakes(d, tail, epoch),
							 ns_to_ktime(timeout_ns));
	/*
	 * Who queues an event or stops the device has the lock until the ring says so, and a
	 * notice is in the ring.
	 */
	spin_lock_irq(&d->lock);
	if (d->gone)
		ret = -ENODEV;
	else if (d->head != tail)
		ret = 0;
	else if (!ret)
		ret = -ENXIO;
	else
		ret = ret == -ERESTARTSYS ? -EINTR : -ETIMEDOUT;
	spin_unlock_irq(&d->lock);
	return ret;
}

/* The queues of messages. A read() takes the oldest event of all queues. */

static void shirq_count_queued(struct shirq_device *d, int more)
{
	WRITE_ONCE(d->message_events, d->message_events + more);
}

/**
 * shirq_queue_message() - queue the event of a message, or count it as lost if the queue
 * of its source is full
 * @m: the source, @lock of its device held
 * @time_ns: time of the interrupt
 */
void shirq_queue_message(struct shirq_message *m, u64 time_ns)
{
	struct shirq_device *d = m->d;
	struct shirq_event *event = &m->queue[m->head % SHIRQ_QUEUE];

	lockdep_assert_held(&d->lock);
	if (m->head - m->tail == SHIRQ_QUEUE) {
		m->lost++;
		d->stats.lost++;
		return;
	}
	*event = (struct shirq_event) {
		.size = sizeof(*event),
		.type = SHIRQ_EVENT_IRQ,
		.source = m->source,
		.seq = m->seq,
		.time_ns = time_ns,
		.lost = m->lost,
	};
	memcpy(event->r, m->captured, sizeof(event->r));
	m->head++;
	shirq_count_queued(d, 1);
	d->stats.events++;
	trace_shirq_event(d, event);
	shirq_notify_message(m);
}

/**
 * shirq_drop_events() - drop the queued events of a message
 * @m: the source, @lock of its device held
 */
void shirq_drop_events(struct shirq_message *m)
{
	lockdep_assert_held(&m->d->lock);
	shirq_count_queued(m->d, m->tail - m->head);
	m->tail = m->head;
}

/**
 * shirq_take_event() - take the oldest event of a message from its queue
 * @m: the source, @lock of its device held, with an event
 */
void shirq_take_event(struct shirq_message *m)
{
	lockdep_assert_held(&m->d->lock);
	shirq_count_queued(m->d, -1);
	m->tail++;
}

/**
 * shirq_oldest_of_all() - find the queue that has the oldest event
 * @d: the device, @lock held, with an event of a message
 *
 * Return: a message, or NULL for the queue of source 0, which may be empty.
 */
struct shirq_message *shirq_oldest_of_all(const struct shirq_device *d)
{
	u64 time_ns = d->head != d->tail ? d->queue[d->tail % SHIRQ_QUEUE].time_ns : U64_MAX;
	struct shirq_message *m, *oldest = NULL;

	lockdep_assert_held(&d->lock);
	shirq_for_each_message(m, d) {
		const struct shirq_event *event = &m->queue[m->tail % SHIRQ_QUEUE];

		if (m->head != m->tail && event->time_ns < time_ns) {
			time_ns = event->time_ns;
			oldest = m;
		}
	}
	return oldest;
}
