/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SHIRQ_EVENT_H
#define SHIRQ_EVENT_H

#include <linux/errno.h>
#include "core.h"
#include "ring.h"

void shirq_notify(struct shirq_device *d);
void shirq_queue_irq(struct shirq_device *d, u64 time_ns, const u64 *captured);
void shirq_notice(struct shirq_device *d, u16 type, u16 flags, const u64 *regs);
void shirq_end_readers(struct shirq_device *d);
int shirq_wait_ring(struct shirq_device *d, u32 tail, u64 timeout_ns);
void shirq_notify_message(struct shirq_message *m);
void shirq_queue_message(struct shirq_message *m, u64 time_ns);
void shirq_drop_events(struct shirq_message *m);
void shirq_take_event(struct shirq_message *m);
struct shirq_message *shirq_oldest_of_all(const struct shirq_device *d);

/**
 * shirq_queued() - check whether an event of any source is queued
 * @d: the device, @lock held, otherwise the result is only a hint
 */
static inline bool shirq_queued(const struct shirq_device *d)
{
	return READ_ONCE(d->head) != READ_ONCE(d->tail) || READ_ONCE(d->message_events);
}

/**
 * shirq_is_full() - check whether the queue of source 0 has no room
 * @d: the device, @lock held
 */
static inline bool shirq_is_full(struct shirq_device *d)
{
	shirq_ring_look(d);
	return d->head - d->tail == SHIRQ_QUEUE;
}

/**
 * shirq_oldest() - find the queue that has the oldest event
 * @d: the device, @lock held
 *
 * Return: a message, or NULL for the queue of source 0, which may be empty.
 */
static inline struct shirq_message *shirq_oldest(const struct shirq_device *d)
{
	return unlikely(d->message_events) ? shirq_oldest_of_all(d) : NULL;
}

/**
 * shirq_check() - check whether an event is queued or may still come
 * @d: the device, @lock held, otherwise the result is only a hint
 *
 * Return: 0, or the errno of read().
 */
static inline int shirq_check(const struct shirq_device *d)
{
	if (READ_ONCE(d->gone))
		return -ENODEV;
	return READ_ONCE(d->armed) || READ_ONCE(d->messages_armed) ||
	       READ_ONCE(d->life) & SHIRQ_PAUSED || shirq_queued(d) ? 0 : -ENXIO;
}

#endif /* SHIRQ_EVENT_H */
