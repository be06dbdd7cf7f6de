// SPDX-License-Identifier: GPL-2.0-only
/* The event queue, and the wake-up of its waiters. */
#include <linux/ktime.h>
#include <linux/version.h>

#include "event.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

static void shirq_notify_by(struct shirq_device *d, struct eventfd_ctx *eventfd)
{
	lockdep_assert_held(&d->lock);
	wake_up_interruptible(&d->wait);
	if (!eventfd)
		return;
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 8, 0)
	eventfd_signal(eventfd);
#else
	eventfd_signal(eventfd, 1);
#endif
}

/**
 * shirq_notify() - wake the waiters: an event was queued, or the state has changed
 * @d: the device, @lock held
 */
void shirq_notify(struct shirq_device *d)
{
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
 * Return: the slot for the next event; the queue must have room. Call shirq_put_event()
 * afterwards.
 */
static struct shirq_event *shirq_new_event(struct shirq_device *d)
{
	return &d->queue[d->head % SHIRQ_QUEUE];
}

static inline void shirq_put_event(struct shirq_device *d, const struct shirq_event *event)
{
	WRITE_ONCE(d->head, d->head + 1);
	d->stats.events++;
	trace_shirq_event(d, event);
	shirq_notify(d);
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
	if (d->head - d->tail == SHIRQ_QUEUE) {
		d->lost++;
		d->stats.lost++;
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
}

/**
 * shirq_notice() - queue an event of another type than SHIRQ_EVENT_IRQ
 * @d: the device, @lock held, with an owner
 * @type: enum shirq_event_type
 * @flags: of the event
 * @regs: r0..r3 of the event, or NULL
 *
 * Such an event is never lost: in a full queue it replaces the newest event.
 */
void shirq_notice(struct shirq_device *d, u16 type, u16 flags, const u64 *regs)
{
	struct shirq_event *event;

	lockdep_assert_held(&d->lock);
	if (d->head - d->tail == SHIRQ_QUEUE) {
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
}

/**
 * shirq_end_readers() - drop the queued events, and wake the waiters
 * @d: the device, @lock held
 */
void shirq_end_readers(struct shirq_device *d)
{
	lockdep_assert_held(&d->lock);
	WRITE_ONCE(d->tail, d->head);
	WRITE_ONCE(d->epoch, d->epoch + 1);
	shirq_notify(d);
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
