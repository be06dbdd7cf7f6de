// SPDX-License-Identifier: GPL-2.0-only
/*
 * Switch bus mastering off when the address space that enabled it ends.
 *
 * When a process dies, its memory is freed before its files are closed. A device that
 * is still a bus master could then write into pages that already belong to another
 * process. An MMU notifier watches the address space that enabled bus mastering, and
 * switches bus mastering off before the first page is freed.
 */
#include <linux/mmu_notifier.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include "dma.h"
#include "hw.h"

struct shirq_dma {
	struct mmu_notifier	notifier;
	struct shirq_device	*d;
};

static void shirq_mm_release(struct mmu_notifier *notifier, struct mm_struct *mm)
{
	struct shirq_dma *dma = container_of(notifier, struct shirq_dma, notifier);
	struct shirq_device *d = dma->d;

	spin_lock_irq(&d->lock);
	/* While paused, bus mastering is off already and the device may be in reset. */
	if (d->dma == dma && !(d->life & SHIRQ_PAUSED))
		shirq_clear_master(d);
	spin_unlock_irq(&d->lock);
}

static const struct mmu_notifier_ops shirq_mm_ops = {
	.release = shirq_mm_release,
};

/**
 * shirq_watch_mm() - watch the caller's address space
 * @d: the device; the caller stores the result in its @dma
 *
 * Takes mmap_lock, so do not call it with the mutex held.
 *
 * Return: the watch, to be ended with shirq_unwatch_mm(), or an ERR_PTR().
 */
struct shirq_dma *shirq_watch_mm(struct shirq_device *d)
{
	struct shirq_dma *dma = kzalloc(sizeof(*dma), GFP_KERNEL);
	int ret;

	if (!dma)
		return ERR_PTR(-ENOMEM);
	dma->d = d;
	dma->notifier.ops = &shirq_mm_ops;
	ret = mmu_notifier_register(&dma->notifier, current->mm);
	if (ret) {
		kfree(dma);
		return ERR_PTR(ret);
	}
	return dma;
}

/**
 * shirq_unwatch_mm() - stop watching
 * @dma: the watch, no longer the @dma of its device; or NULL
 */
void shirq_unwatch_mm(struct shirq_dma *dma)
{
	if (!dma)
		return;
	mmu_notifier_unregister(&dma->notifier, dma->notifier.mm);
	kfree(dma);
}
