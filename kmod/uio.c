// SPDX-License-Identifier: GPL-2.0-only
/*
 * The UIO face of a device: /dev/uioN, by which programs that were written for a UIO driver
 * use a device on a shared line unchanged.
 *
 * The UIO core (drivers/uio/uio.c) makes the character device, counts interrupts and wakes
 * readers. This file opens, masks, unmasks, maps and closes the device for it. The functions of
 * the UIO core are looked up when the first face is added: so this module also loads on
 * kernels without it.
 *
 * The UIO core calls open, release, mmap and irqcontrol under its info_lock, which guards
 * @users. The events that read() of the other face would take are consumed as soon as they are
 * queued, with the lock of the device held.
 */
#include <linux/errno.h>
#include <linux/hrtimer.h>
#include <linux/kmod.h>
#include <linux/kref.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/nospec.h>
#include <linux/sched.h>
#include <linux/security.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uio_driver.h>
#include <linux/version.h>
#include <linux/wait.h>

#include "access.h"
#include "arm.h"
#include "compat.h"
#include "hw.h"
#include "lifecycle.h"
#include "map.h"
#include "source.h"
#include "trace.h"
#include "uio.h"

/* Bounds of the time between two looks for a read() that waits, see shirq_uio_look(). */
#define SHIRQ_LOOK_MIN_NS	(50 * NSEC_PER_USEC)
#define SHIRQ_LOOK_MAX_NS	(10 * NSEC_PER_MSEC)

/**
 * struct shirq_face - the UIO face of a device
 * @refs: the device's reference, and those of mappings
 * @d: the device
 * @info: what the UIO core knows; its @irq is UIO_IRQ_NONE while the face is stopped
 * @notify: uio_event_notify()
 * @unregister: uio_unregister_device()
 * @set: the programs, not linked
 * @quiesce: the settings of SHIRQ_SET_QUIESCE
 * @unmask_by_read: a read() that waits unmasks
 * @name: for @info
 * @version: for @info
 * @label: names of the maps and ports, by BAR
 * @rest: the rest of the page of a BAR that is smaller than a page, reserved; by BAR
 * @users: open files; guarded by the info_lock
 * @mapping: address space of the open files' node
 * @generation: generation of the mappings, see shirq_map()
 * @look: timer that looks for a read() that waits, while the device is masked
 * @claimed_ns: time of the last interrupt; guarded by the lock of the device
 */
struct shirq_face {
	struct kref		refs;
	struct shirq_device	*d;
	struct uio_info		info;
	void (*notify)(struct uio_info *info);
	void (*unregister)(struct uio_info *info);
	struct shirq_set	*set;
	struct shirq_quiesce	quiesce;
	bool			unmask_by_read;
	char			name[SHIRQ_UIO_NAME];
	char			version[SHIRQ_UIO_NAME];
	char			label[SHIRQ_BARS][sizeof("bar0")];
	struct resource		rest[MAX_UIO_MAPS];
	unsigned int		users;
	struct address_space	*mapping;
	unsigned long		generation;
	struct hrtimer		look;
	u64			claimed_ns;
};

/* Guards @uio of all devices; the UIO core's info_lock is taken under it. */
static DEFINE_MUTEX(shirq_uio_lock);

/* Events */

/* Wake all readers for good: the device was stopped, or is gone. */
static void shirq_uio_stop(struct shirq_face *face)
{
	if (face->info.irq == UIO_IRQ_NONE)
		return;
	/* The UIO core fails with EIO from now on; the count ends a read() that has just begun. */
	WRITE_ONCE(face->info.irq, UIO_IRQ_NONE);
	face->notify(&face->info);
}

/* Take the queued events; see @consume. */
static void shirq_uio_consume(struct shirq_device *d)
{
	struct shirq_face *face = d->uio;

	lockdep_assert_held(&d->lock);
	while (d->tail != d->head) {
		const struct shirq_event *event = &d->queue[d->tail % SHIRQ_QUEUE];

		WRITE_ONCE(d->tail, d->tail + 1);
		trace_shirq_deliver(d, event);
		switch (event->type) {
		case SHIRQ_EVENT_IRQ:
			face->claimed_ns = event->time_ns;
			face->notify(&face->info);
			if (face->unmask_by_read && d->masked)
				hrtimer_start(&face->look, SHIRQ_LOOK_MIN_NS, HRTIMER_MODE_REL);
			break;
		case SHIRQ_EVENT_LINE_OFF:
		case SHIRQ_EVENT_LINE_ON:
			break;
		default:
			shirq_uio_stop(face);
		}
	}
	if (d->gone)
		shirq_uio_stop(face);
}

/* Unmask, whatever the device is masked for. */
static int shirq_uio_unmask(struct shirq_device *d)
{
	lockdep_assert_held(&d->lock);
	d->delivered = d->seq;
	return shirq_unmask_delivered(d);
}

/*
 * Return: true if a read() waits for the next interrupt. Other waiters than read() poll. A
 * task that is about to sleep may still find an event: only one that has left its run queue
 * has seen all of them.
 */
static bool shirq_uio_awaited(struct shirq_face *face)
{
	wait_queue_head_t *wait = &face->info.uio_dev->wait;
	const wait_queue_entry_t *entry;
	bool awaited = false;

	spin_lock(&wait->lock);
	list_for_each_entry(entry, &wait->head, entry)
		if (entry->func == default_wake_function && shirq_sleeps(entry->private))
			awaited = true;
	spin_unlock(&wait->lock);
	return awaited;
}

/*
 * The UIO core does not say that a program reads. But its count wakes every reader, so a
 * reader that sleeps later has come back for the next interrupt. Look for one, the less often
 * the longer the program has been at work.
 */
static enum hrtimer_restart shirq_uio_look(struct hrtimer *timer)
{
	struct shirq_face *face = container_of(timer, struct shirq_face, look);
	struct shirq_device *d = face->d;
	unsigned long flags;
	bool again;

	spin_lock_irqsave(&d->lock, flags);
	/* If the next interrupt came before this had the lock, the timer is started already. */
	again = d->consume && d->armed && d->masked && !d->owner_masked &&
		!hrtimer_is_queued(timer);
	if (again && shirq_uio_awaited(face)) {
		shirq_uio_unmask(d);
		again = false;
	}
	if (again)
		hrtimer_forward_now(timer, clamp_t(u64, (ktime_get_ns() - face->claimed_ns) / 8,
						   SHIRQ_LOOK_MIN_NS, SHIRQ_LOOK_MAX_NS));
	spin_unlock_irqrestore(&d->lock, flags);
	return again ? HRTIMER_RESTART : HRTIMER_NORESTART;
}

/* Without a means to mask, keep a mask that the device has for an interrupt. */
static int shirq_uio_keep_masked(struct shirq_device *d)
{
	int ret = -EOPNOTSUPP;

	spin_lock_irq(&d->lock);
	if (d->masked) {
		d->owner_masked = true;
		ret = 0;
	}
	spin_unlock_irq(&d->lock);
	return ret;
}

/* write(): zero masks, any other number unmasks. */
static int shirq_uio_control(struct uio_info *info, s32 on)
{
	struct shirq_device *d = ((struct shirq_face *)info->priv)->d;
	u64 seq;
	int ret;

	if (on) {
		spin_lock_irq(&d->lock);
		ret = shirq_uio_unmask(d);
		spin_unlock_irq(&d->lock);
	} else {
		ret = shirq_mask(d, &seq);
		if (ret == -EOPNOTSUPP)
			ret = shirq_uio_keep_masked(d);
	}
	/* It was stopped just now: say what the UIO core says a moment later. */
	return ret == -ENXIO || ret == -ENODEV ? -EIO : ret;
}

/* Open and close */

static void shirq_uio_watch(struct shirq_face *face, bool on)
{
	struct shirq_device *d = face->d;

	spin_lock_irq(&d->lock);
	d->consume = on ? shirq_uio_consume : NULL;
	if (on)
		WRITE_ONCE(face->info.irq, UIO_IRQ_CUSTOM);
	spin_unlock_irq(&d->lock);
	if (!on)
		hrtimer_cancel(&face->look);
}

static int shirq_uio_arm(struct shirq_face *face)
{
	struct shirq_device *d = face->d;
	struct shirq_set *set;
	int ret;

	set = kmemdup(face->set, sizeof(*set), GFP_KERNEL);
	if (!set)
		return -ENOMEM;
	ret = shirq_enter(d);
	if (ret) {
		kfree(set);
		return ret;
	}
	shirq_load(d, &d->set, set);
	face->generation = d->generation;
	spin_lock_irq(&d->lock);
	d->quiesce = face->quiesce;
	/* A reset since shirq_own() would end the face, although it comes before this open(). */
	WRITE_ONCE(d->tail, d->head);
	spin_unlock_irq(&d->lock);
	shirq_uio_watch(face, true);
	ret = shirq_arm(d, SHIRQ_ARM_SHARED);
	mutex_unlock(&d->mutex);
	return ret;
}

static void shirq_uio_close(struct shirq_face *face)
{
	shirq_uio_watch(face, false);
	shirq_disown(face->d);
}

static int shirq_uio_open(struct uio_info *info, struct inode *inode)
{
	struct shirq_face *face = info->priv;
	int ret;

	ret = security_locked_down(LOCKDOWN_PCI_ACCESS);
	if (ret)
		return ret;
	if (face->users) {
		if (READ_ONCE(info->irq) == UIO_IRQ_NONE)
			return -EIO;
		/* Mappings of another node could not be revoked. */
		if (inode->i_mapping != face->mapping)
			return -EBUSY;
		face->users++;
		return 0;
	}
	ret = shirq_own(face->d, inode->i_mapping);
	if (ret)
		return ret;
	face->mapping = inode->i_mapping;
	ret = shirq_uio_arm(face);
	if (ret)
		shirq_uio_close(face);
	else
		face->users = 1;
	return ret;
}

/* The last reference to a file is gone: none of its readers, mappings and calls is left. */
static int shirq_uio_release(struct uio_info *info, struct inode *inode)
{
	struct shirq_face *face = info->priv;

	if (!--face->users)
		shirq_uio_close(face);
	return 0;
}

/* Mappings */

/* A mapping may outlive the face, but not its file, which keeps this module loaded. */

static void shirq_uio_free(struct kref *refs)
{
	struct shirq_face *face = container_of(refs, struct shirq_face, refs);

	put_device(&face->d->dev);
	kfree(face->set);
	kfree(face);
}

static void shirq_uio_vm_open(struct vm_area_struct *vma)
{
	struct shirq_face *face = vma->vm_private_data;

	kref_get(&face->refs);
}

static void shirq_uio_vm_close(struct vm_area_struct *vma)
{
	struct shirq_face *face = vma->vm_private_data;

	kref_put(&face->refs, shirq_uio_free);
}

static vm_fault_t shirq_uio_fault(struct vm_fault *vmf)
{
	struct shirq_face *face = vmf->vma->vm_private_data;

	return shirq_map_fault(face->d, vmf, face->generation);
}

static const struct vm_operations_struct shirq_uio_vm_ops = {
	.open = shirq_uio_vm_open,
	.close = shirq_uio_vm_close,
	.fault = shirq_uio_fault,
};

/*
 * Check whether a map may be mapped, and keep the face for its mapping. The UIO core has
 * checked that there is such a map.
 */
static int shirq_uio_may_map(struct shirq_face *face, pgoff_t map,
			     const struct shirq_wanted *wanted)
{
	const struct uio_mem *mem = &face->info.mem[array_index_nospec(map, MAX_UIO_MAPS)];
	unsigned long generation;
	int ret;

	if (mem->memtype == UIO_MEM_NONE)
		return -EINVAL;
	ret = shirq_may_map(face->d, wanted, DIV_ROUND_UP_ULL(mem->size, PAGE_SIZE), &generation);
	if (ret)
		return ret;
	/* The device was stopped since the first open(). */
	if (generation != face->generation)
		return -EIO;
	kref_get(&face->refs);
	return 0;
}

#if LINUX_VERSION_CODE >= KERNEL_VERSION(7, 1, 0)
static int shirq_uio_mmap_prepare(struct uio_info *info, struct vm_area_desc *desc)
{
	const struct shirq_wanted wanted = {
		.count = (desc->end - desc->start) >> PAGE_SHIFT,
		.shared = vma_desc_test(desc, VMA_MAYSHARE_BIT),
	};
	int ret = shirq_uio_may_map(info->priv, desc->pgoff, &wanted);

	if (ret)
		return ret;
	desc->pgoff <<= SHIRQ_PGOFF_SHIFT;
	desc->page_prot = shirq_map_prot(desc->page_prot);
	vma_desc_set_flags(desc, VMA_IO_BIT, VMA_PFNMAP_BIT, VMA_DONTEXPAND_BIT,
			   VMA_DONTDUMP_BIT);
	desc->private_data = info->priv;
	desc->vm_ops = &shirq_uio_vm_ops;
	return 0;
}

static void shirq_uio_set_mmap(struct uio_info *info)
{
	info->mmap_prepare = shirq_uio_mmap_prepare;
}
#else
static int shirq_uio_mmap(struct uio_info *info, struct vm_area_struct *vma)
{
	const struct shirq_wanted wanted = {
		.count = vma_pages(vma),
		.shared = vma->vm_flags & VM_MAYSHARE,
	};
	int ret = shirq_uio_may_map(info->priv, vma->vm_pgoff, &wanted);

	if (ret)
		return ret;
	vma->vm_pgoff <<= SHIRQ_PGOFF_SHIFT;
	shirq_map(vma);
	vma->vm_private_data = info->priv;
	vma->vm_ops = &shirq_uio_vm_ops;
	return 0;
}

static void shirq_uio_set_mmap(struct uio_info *info)
{
	info->mmap = shirq_uio_mmap;
}
#endif

/* Adding and removing a face */

/*
 * Reserve the rest of the page of a BAR that is smaller than a page.
 * Return: true if the whole page belongs to the BAR now.
 */
static bool shirq_uio_reserve(struct shirq_face *face, unsigned int bar)
{
	struct resource *resource = &face->d->pdev->resource[bar];
	struct resource *rest = &face->rest[bar];

	if (!(resource->flags & IORESOURCE_MEM) || !face->d->bus.space[bar].size ||
	    !resource->parent || !PAGE_ALIGNED(resource->start) ||
	    resource_size(resource) >= PAGE_SIZE)
		return false;
	rest->name = face->name;
	rest->flags = resource->flags;
	rest->start = resource->end + 1;
	rest->end = resource->start + PAGE_SIZE - 1;
	return !request_resource(resource->parent, rest);
}

/* The UIO core lists maps up to the first of size 0, so a number without a map has a size. */
static void shirq_uio_describe(struct shirq_face *face)
{
	struct shirq_device *d = face->d;
	struct uio_port *port = face->info.port;
	unsigned int bar, maps = 0;

	for (bar = 0; bar < SHIRQ_BARS; bar++) {
		struct uio_mem *mem = &face->info.mem[bar];
		u64 size = d->bus.space[bar].size;

		snprintf(face->label[bar], sizeof(face->label[bar]), "bar%u", bar);
		if (size && pci_resource_flags(d->pdev, bar) & IORESOURCE_IO &&
		    port < &face->info.port[MAX_UIO_PORT_REGIONS]) {
			port->name = face->label[bar];
			port->start = pci_resource_start(d->pdev, bar);
			port->size = size;
			port->porttype = IS_ENABLED(CONFIG_X86) ? UIO_PORT_X86 : UIO_PORT_OTHER;
			port++;
		}
		if (bar >= MAX_UIO_MAPS ||
		    (!shirq_can_map(d, bar) && !shirq_uio_reserve(face, bar)))
			continue;
		mem->name = face->label[bar];
		mem->addr = pci_resource_start(d->pdev, bar);
		mem->size = size;
		mem->memtype = UIO_MEM_PHYS;
		maps = bar + 1;
	}
	for (bar = 0; bar < maps; bar++) {
		if (face->info.mem[bar].size)
			continue;
		face->info.mem[bar].name = "hole";
		face->info.mem[bar].size = PAGE_SIZE;
		face->info.mem[bar].memtype = UIO_MEM_NONE;
	}
}

/* Release what shirq_uio_describe() has reserved. */
static void shirq_uio_forget(struct shirq_face *face)
{
	unsigned int bar;

	for (bar = 0; bar < MAX_UIO_MAPS; bar++)
		if (face->rest[bar].parent)
			release_resource(&face->rest[bar]);
}

static void shirq_uio_init(struct shirq_face *face, struct shirq_device *d,
			   const struct shirq_uio *request)
{
	kref_init(&face->refs);
	get_device(&d->dev);
	face->d = d;
	face->unmask_by_read = request->flags & SHIRQ_UIO_UNMASK_BY_READ;
	strscpy(face->name, request->name, sizeof(face->name));
	strscpy(face->version, request->version, sizeof(face->version));
	hrtimer_setup(&face->look, shirq_uio_look, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
	face->info.name = face->name;
	face->info.version = face->version;
	face->info.irq = UIO_IRQ_CUSTOM;
	face->info.priv = face;
	face->info.open = shirq_uio_open;
	face->info.release = shirq_uio_release;
	shirq_uio_set_mmap(&face->info);
	face->info.irqcontrol = shirq_uio_control;
}

/* Copy what the face needs of its maker, the present owner. */
static int shirq_uio_copy(struct shirq_face *face)
{
	struct shirq_device *d = face->d;
	int ret = shirq_enter(d);

	if (ret)
		return ret;
	if (!d->set) {
		ret = -ENOEXEC;
	} else {
		face->set = shirq_copy_set(d);
		if (!face->set)
			ret = -ENOMEM;
	}
	face->quiesce = d->quiesce;
	mutex_unlock(&d->mutex);
	return ret;
}

/* Look up the UIO core, load it if need be, and keep it loaded. */
static int shirq_uio_register(struct shirq_face *face)
{
	struct device *parent = &face->d->pdev->dev;
	typeof(__uio_register_device) *add;
	int ret = -EOPNOTSUPP;

	add = try_then_request_module(symbol_get(__uio_register_device), "uio");
	if (!add)
		return ret;
	face->notify = symbol_get(uio_event_notify);
	face->unregister = symbol_get(uio_unregister_device);
	if (face->notify && face->unregister)
		ret = add(THIS_MODULE, parent, &face->info);
	symbol_put(__uio_register_device);
	if (!ret)
		return 0;
	if (face->unregister)
		symbol_put(uio_unregister_device);
	if (face->notify)
		symbol_put(uio_event_notify);
	return ret;
}

static int shirq_uio_make(struct shirq_device *d, struct shirq_uio *request)
{
	struct shirq_face *face;
	int ret;

	face = kzalloc(sizeof(*face), GFP_KERNEL);
	if (!face)
		return -ENOMEM;
	shirq_uio_init(face, d, request);
	ret = shirq_uio_copy(face);
	if (ret)
		goto put;
	shirq_uio_describe(face);
	ret = shirq_uio_register(face);
	if (ret)
		goto forget;
	request->number = face->info.uio_dev->minor;
	d->uio = face;
	return 0;

forget:
	shirq_uio_forget(face);
put:
	kref_put(&face->refs, shirq_uio_free);
	return ret;
}

/**
 * shirq_uio_add() - give the device a UIO face
 * @d: the device, whose owner calls: so the face cannot be opened yet
 * @request: of SHIRQ_SET_UIO, checked
 *
 * Return: 0, or the errno of SHIRQ_SET_UIO.
 */
int shirq_uio_add(struct shirq_device *d, struct shirq_uio *request)
{
	int ret;

	mutex_lock(&shirq_uio_lock);
	ret = d->uio ? -EEXIST : shirq_uio_make(d, request);
	mutex_unlock(&shirq_uio_lock);
	return ret;
}

/**
 * shirq_uio_remove() - take the UIO face from a device
 * @d: the device; owned by the other face, or retired
 *
 * The UIO core does not call a file of a removed face any more, so this ends an ownership.
 *
 * Return: 0, or -ENOENT if it has no face.
 */
int shirq_uio_remove(struct shirq_device *d)
{
	struct shirq_face *face;

	mutex_lock(&shirq_uio_lock);
	face = d->uio;
	if (face) {
		/* The UIO core frees its device when it is removed and its files are closed. */
		shirq_uio_watch(face, false);
		face->unregister(&face->info);
		if (face->users)
			shirq_disown(d);
		d->uio = NULL;
		shirq_uio_forget(face);
		symbol_put(uio_unregister_device);
		symbol_put(uio_event_notify);
		kref_put(&face->refs, shirq_uio_free);
	}
	mutex_unlock(&shirq_uio_lock);
	return face ? 0 : -ENOENT;
}
