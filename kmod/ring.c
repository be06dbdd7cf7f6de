// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ring: memory that the owner maps, to take events and to unmask without a call.
 *
 * The queue of source 0 always is in this memory. SHIRQ_ARM_RING decides who takes the events
 * from it: read(), which moves @tail, or the owner itself, which writes its own tail. The
 * owner can write only struct shirq_consumer. Its two words are compared with numbers that the
 * kernel keeps: a wrong tail is ignored, and a wrong number unmasks nothing.
 *
 * The memory is not revoked: it has no registers. It is freed with the owner, that is, after
 * its last mapping, which holds the file.
 */
#include <linux/errno.h>
#include <linux/gfp.h>
#include <linux/mm.h>

#include "compat.h"
#include "hw.h"
#include "ring.h"

#define SHIRQ_RING_VERSION	1
#define SHIRQ_RING_BYTES	PAGE_ALIGN(sizeof(struct shirq_ring))
#define SHIRQ_CONSUMER_BYTES	PAGE_ALIGN(sizeof(struct shirq_consumer))

/**
 * shirq_alloc_ring() - allocate the ring, and in it the queue of source 0
 * @d: the device, @mutex held, without an owner
 *
 * Return: 0, or -ENOMEM.
 */
int shirq_alloc_ring(struct shirq_device *d)
{
	lockdep_assert_held(&d->mutex);
	d->ring = alloc_pages_exact(SHIRQ_RING_BYTES + SHIRQ_CONSUMER_BYTES,
				    GFP_KERNEL | __GFP_ZERO | __GFP_NOWARN);
	if (!d->ring)
		return -ENOMEM;
	d->consumer = (void *)d->ring + SHIRQ_RING_BYTES;
	BUILD_BUG_ON(offsetof(struct shirq_ring, event) != 4096);
	d->queue = d->ring->event;
	d->ring->version = SHIRQ_RING_VERSION;
	d->ring->events = SHIRQ_QUEUE;
	return 0;
}

/**
 * shirq_free_ring() - undo shirq_alloc_ring()
 * @d: the device, @mutex held, without a mapping of the ring
 */
void shirq_free_ring(struct shirq_device *d)
{
	struct shirq_ring *ring = d->ring;

	lockdep_assert_held(&d->mutex);
	spin_lock_irq(&d->lock);
	d->ringing = false;
	d->ring = NULL;
	d->consumer = NULL;
	d->queue = NULL;
	spin_unlock_irq(&d->lock);
	free_pages_exact(ring, SHIRQ_RING_BYTES + SHIRQ_CONSUMER_BYTES);
}

/**
 * shirq_map_ring() - map a part of the ring into user space
 * @d: the device, with an owner
 * @vma: where
 * @part: SHIRQ_MMAP_RING or SHIRQ_MMAP_CONSUMER
 * @page: first page of the part
 *
 * Return: 0, or the errno of mmap().
 */
int shirq_map_ring(struct shirq_device *d, struct vm_area_struct *vma, unsigned int part,
		   pgoff_t page)
{
	bool writable = part == SHIRQ_MMAP_CONSUMER;
	size_t bytes = writable ? SHIRQ_CONSUMER_BYTES : SHIRQ_RING_BYTES;
	void *memory = writable ? (void *)d->consumer : (void *)d->ring;

	if (page + vma_pages(vma) > bytes >> PAGE_SHIFT)
		return -EINVAL;
	if (!writable) {
		if (vma->vm_flags & VM_WRITE)
			return -EINVAL;
		/* Nor may mprotect() make it writable. */
		vm_flags_clear(vma, VM_MAYWRITE);
	}
	return remap_pfn_range(vma, vma->vm_start, page_to_pfn(virt_to_page(memory)) + page,
			       vma->vm_end - vma->vm_start, vma->vm_page_prot);
}

/**
 * shirq_find_store() - find out whether the owner may unmask by a store of its own
 * @d: the device, @mutex held
 * @set: a set that was verified for it, and is not linked; @store is set
 *
 * The unmask program must be one store of a constant, as a mapping of the BAR makes it: 32
 * bits, little endian, in a whole page of a memory BAR.
 */
void shirq_find_store(const struct shirq_device *d, struct shirq_set *set)
{
	const struct shirq_program *program = &set->program[SHIRQ_PROGRAM_UNMASK];
	const struct shirq_op *load = &program->op[0], *write = &program->op[1];

	set->store = (struct shirq_store) {};
	if (program->count != 2 || load->code != SHIRQ_OP_LOAD || load->flags ||
	    write->code != SHIRQ_OP_WRITE || write->src != load->dst || write->width != 4 ||
	    write->flags || write->space >= SHIRQ_BARS || !shirq_can_map(d, write->space) ||
	    write->imm >= (d->bus.space[write->space].size & PAGE_MASK))
		return;
	set->store = (struct shirq_store) {
		.bar = write->space,
		.width = write->width,
		.offset = write->imm,
		.value = load->imm,
	};
}

/**
 * shirq_ring_switch() - say who takes the events: the owner from the ring, or read()
 * @d: the device, @lock held, with an owner and a set, not armed
 * @on: the owner, from the ring
 *
 * Events that are queued stay for the owner; those that the owner has left in the ring are
 * dropped when read() takes over.
 */
void shirq_ring_switch(struct shirq_device *d, bool on)
{
	const struct shirq_store *store = &d->set->store;
	struct shirq_ring *ring = d->ring;

	lockdep_assert_held(&d->lock);
	if (on) {
		WRITE_ONCE(ring->store_bar, store->bar);
		WRITE_ONCE(ring->store_width, store->width);
		WRITE_ONCE(ring->store_offset, store->offset);
		WRITE_ONCE(ring->store_value, store->value);
		if (!d->ringing)
			WRITE_ONCE(d->consumer->tail, d->tail);
	} else if (d->ringing) {
		WRITE_ONCE(d->tail, d->head);
	}
	/* A read() that waits, for instance for the end of a reset, gets no event of the ring. */
	if (d->ringing != on)
		WRITE_ONCE(d->epoch, d->epoch + 1);
	WRITE_ONCE(d->ringing, on);
	shirq_ring_publish(d);
}

/**
 * shirq_ring_state() - tell the owner in its ring whether events may still come
 * @d: the device, @lock held
 * @state: the state
 * @reason: enum shirq_quarantine, or 0
 *
 * All events that the state ends must be published before: whoever sees the state sees them.
 */
void shirq_ring_state(struct shirq_device *d, enum shirq_ring_state state, u32 reason)
{
	lockdep_assert_held(&d->lock);
	if (!d->ring)
		return;
	WRITE_ONCE(d->ring->reason, reason);
	/* The owner loads the state first, then the head. */
	smp_store_release(&d->ring->state, state);
}
