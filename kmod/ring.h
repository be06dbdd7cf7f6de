/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SHIRQ_RING_H
#define SHIRQ_RING_H

#include "core.h"

int shirq_alloc_ring(struct shirq_device *d);
void shirq_free_ring(struct shirq_device *d);
int shirq_map_ring(struct shirq_device *d, struct vm_area_struct *vma, unsigned int part,
		   pgoff_t page);
void shirq_find_store(const struct shirq_device *d, struct shirq_set *set);
void shirq_ring_switch(struct shirq_device *d, bool on);
void shirq_ring_state(struct shirq_device *d, enum shirq_ring_state state, u32 reason);

/**
 * shirq_ring_look() - learn how far the owner has taken events from the ring
 * @d: the device, @lock held
 *
 * The owner may write anything: a tail that is not within the queue is ignored.
 */
static inline void shirq_ring_look(struct shirq_device *d)
{
	u32 tail;

	lockdep_assert_held(&d->lock);
	if (!d->ringing)
		return;
	/* Overwrite a slot only after the owner has read it. */
	tail = smp_load_acquire(&d->consumer->tail);
	if (d->head - tail <= SHIRQ_QUEUE)
		WRITE_ONCE(d->tail, tail);
}

/**
 * shirq_ring_publish() - let the owner see the events up to @head
 * @d: the device, @lock held
 */
static inline void shirq_ring_publish(struct shirq_device *d)
{
	struct shirq_ring *ring = d->ring;

	lockdep_assert_held(&d->lock);
	if (!d->ringing)
		return;
	WRITE_ONCE(ring->seq, d->seq);
	WRITE_ONCE(ring->lost, d->lost);
	/* The owner loads the head first, then the event. */
	smp_store_release(&ring->head, d->head);
}

#endif /* SHIRQ_RING_H */
