// SPDX-License-Identifier: GPL-2.0-only
/*
 * The file: open and close, events, registers, calls.
 */
#include <linux/capability.h>
#include <linux/compat.h>
#include <linux/errno.h>
#include <linux/interrupt.h>
#include <linux/iommu.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/nospec.h>
#include <linux/pagemap.h>
#include <linux/panic.h>
#include <linux/poll.h>
#include <linux/sched/signal.h>
#include <linux/security.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/version.h>

#include "core.h"
#include "trace.h"

#define SHIRQ_PGOFF_SHIFT	(SHIRQ_MMAP_SHIFT - PAGE_SHIFT)

/* Open and close */

static int shirq_open(struct inode *inode, struct file *file)
{
	struct shirq_device *d = container_of(inode->i_cdev, struct shirq_device, cdev);
	int ret;

	ret = security_locked_down(LOCKDOWN_PCI_ACCESS);
	if (ret)
		return ret;
	ret = shirq_own(d, file);
	if (ret)
		return ret;
	file->private_data = d;
	stream_open(inode, file);
	/* read() has no position, so pread() can be told from it. */
	file->f_mode |= FMODE_PREAD | FMODE_PWRITE;
	return 0;
}

static void shirq_swap_eventfd(struct shirq_device *d, struct eventfd_ctx *eventfd)
{
	spin_lock_irq(&d->lock);
	swap(d->eventfd, eventfd);
	spin_unlock_irq(&d->lock);
	if (eventfd)
		eventfd_ctx_put(eventfd);
}

/* The last reference went: no reader, mapping or call is left. */
static int shirq_release(struct inode *inode, struct file *file)
{
	shirq_disown(file->private_data);
	return 0;
}

/* Events */

/* Copy an event without waiting for a page. Return: was it there? */
static bool shirq_copy_event(char __user *to, const struct shirq_event *event)
{
	const u64 *from = (const u64 *)event;
	bool copied = false;
	unsigned int i;

	pagefault_disable();
	if (!user_write_access_begin(to, sizeof(*event)))
		goto out;
	/* Stores in a row: unsafe_copy_to_user() would loop, six instructions a store. */
#pragma GCC unroll 8
	for (i = 0; i < sizeof(*event) / sizeof(*from); i++)
		unsafe_put_user(from[i], (u64 __user *)to + i, fault);
	copied = true;
fault:
	user_write_access_end();
out:
	pagefault_enable();
	return copied;
}

/*
 * Who reads: a thread; of io_uring, whose workers come and go, the process. Both are
 * the same for a program of one thread.
 */
static struct pid *shirq_reader(void)
{
	return current->flags & PF_IO_WORKER ? task_tgid(current) : task_pid(current);
}

/* Return: for put_pid(), without the lock. */
static struct pid *shirq_set_reader(struct shirq_device *d)
{
	struct pid *reader = shirq_reader(), *former = d->reader;

	lockdep_assert_held(&d->lock);
	if (reader == former)
		return NULL;
	d->reader = get_pid(reader);
	return former;
}

/* Return: has the thread that got the last event come to its end, without unmasking it? */
static bool shirq_reader_ended(const struct shirq_device *d)
{
	const struct task_struct *task;
	bool ended;

	rcu_read_lock();
	task = pid_task(d->reader, PIDTYPE_PID);
	ended = !task || READ_ONCE(task->exit_state);
	rcu_read_unlock();
	return ended;
}

/*
 * Unmask the event that read() delivered last, if its reader is back for more. To
 * another thread it says nothing: the reader may still be at work on it.
 *
 * Return: 0, or the errno of read(); @epoch is the armed time that the reader
 * belongs to.
 */
static int shirq_begin_read(struct shirq_device *d, u32 *epoch)
{
	int ret;

	spin_lock_irq(&d->lock);
	*epoch = d->epoch;
	ret = shirq_check(d);
	if (!ret && d->armed && d->auto_unmask &&
	    (d->reader == shirq_reader() || shirq_reader_ended(d)))
		ret = shirq_unmask_delivered(d);
	spin_unlock_irq(&d->lock);
	return ret;
}

/*
 * Take the oldest event. It is the reader's if, and only if, it has been copied:
 * under the lock, where a page that is not there cannot be waited for.
 *
 * Return: 1, 0 if there is no event, -EAGAIN if the copy needs a page first, or
 * the errno of read().
 */
static int shirq_take_one(struct shirq_device *d, u32 epoch, char __user *to)
{
	const struct shirq_event *event;
	struct pid *former = NULL;
	int ret;

	spin_lock_irq(&d->lock);
	ret = shirq_check(d);
	/* Disarmed meanwhile. */
	if (!ret && epoch != d->epoch)
		ret = -ENXIO;
	if (!ret && d->head != d->tail) {
		event = &d->queue[d->tail % SHIRQ_QUEUE];
		ret = shirq_copy_event(to, event) ? 1 : -EAGAIN;
		if (ret == 1) {
			d->tail++;
			d->delivered = event->seq;
			former = shirq_set_reader(d);
			trace_shirq_deliver(d, event);
		}
	}
	spin_unlock_irq(&d->lock);
	put_pid(former);
	return ret;
}

/* Return: bytes copied, 0 if nothing is queued, or the errno of read(). */
static ssize_t shirq_take(struct shirq_device *d, u32 epoch, char __user *buf, size_t count)
{
	ssize_t copied = 0;
	int ret = 0;

	while (copied + sizeof(struct shirq_event) <= count) {
		ret = shirq_take_one(d, epoch, buf + copied);
		if (ret == 1)
			copied += sizeof(struct shirq_event);
		else if (ret != -EAGAIN)
			break;
		else if (fault_in_subpage_writeable(buf + copied, sizeof(struct shirq_event)))
			return copied ?: -EFAULT;
		else if (signal_pending(current))
			return copied ?: -ERESTARTSYS;
	}
	return copied ?: ret;
}

/* Without the lock: what it says is a hint, and every change of it is followed by a wakeup. */
static bool shirq_wakes(const struct shirq_device *d, u32 epoch)
{
	return READ_ONCE(d->head) != READ_ONCE(d->tail) || READ_ONCE(d->epoch) != epoch ||
	       shirq_check(d);
}

static ssize_t shirq_read_event(struct file *file, char __user *buf, size_t count)
{
	struct shirq_device *d = file->private_data;
	ssize_t ret;
	u32 epoch;

	if (count < sizeof(struct shirq_event))
		return -EINVAL;
	ret = shirq_begin_read(d, &epoch);
	if (ret)
		return ret;
	do {
		if (file->f_flags & O_NONBLOCK) {
			if (!shirq_wakes(d, epoch))
				return -EAGAIN;
		} else if (wait_event_interruptible(d->wait, shirq_wakes(d, epoch))) {
			return -ERESTARTSYS;
		}
		ret = shirq_take(d, epoch, buf, count);
	} while (!ret);
	return ret;
}

static __poll_t shirq_poll(struct file *file, poll_table *wait)
{
	struct shirq_device *d = file->private_data;
	__poll_t mask = 0;

	poll_wait(file, &d->wait, wait);
	spin_lock_irq(&d->lock);
	if (shirq_check(d))
		mask = EPOLLERR;
	else if (d->head != d->tail)
		mask = EPOLLIN | EPOLLRDNORM;
	spin_unlock_irq(&d->lock);
	return mask;
}

/* Registers */

/* Take the mutex, unless the device is gone. */
static int shirq_enter(struct shirq_device *d)
{
	mutex_lock(&d->mutex);
	if (!READ_ONCE(d->gone))
		return 0;
	mutex_unlock(&d->mutex);
	return -ENODEV;
}

/*
 * Take the mutex and the lock: what reaches registers by system call does so
 * while nobody quiesces, resets or unbinds the device.
 */
static void shirq_lock_registers(struct shirq_device *d)
	__acquires(&d->lock)
{
	mutex_lock(&d->mutex);
	spin_lock_irq(&d->lock);
}

static void shirq_unlock_registers(struct shirq_device *d)
	__releases(&d->lock)
{
	spin_unlock_irq(&d->lock);
	mutex_unlock(&d->mutex);
}

/* Return: may there be one access of so many bytes there? */
static bool shirq_can_access(const struct shirq_device *d, loff_t position, size_t width)
{
	u64 bar = (u64)position >> SHIRQ_MMAP_SHIFT;
	u64 offset = position & ((1ull << SHIRQ_MMAP_SHIFT) - 1);
	const struct shirq_space *space;

	if (bar >= SHIRQ_BARS || (width != 1 && width != 2 && width != 4 && width != 8))
		return false;
	space = &d->bus.space[array_index_nospec(bar, SHIRQ_BARS)];
	if (width == 8 && space->kind != SHIRQ_SPACE_WIDE)
		return false;
	return !(offset & (width - 1)) && space->size >= width && offset <= space->size - width;
}

/* The position goes on: preadv() and pwritev() call once for each of their buffers. */
static ssize_t shirq_access(struct shirq_device *d, loff_t *position, size_t width, u64 *value,
			    bool write)
{
	unsigned int bar = *position >> SHIRQ_MMAP_SHIFT;
	u64 offset = *position & ((1ull << SHIRQ_MMAP_SHIFT) - 1);
	int ret;

	if (!shirq_can_access(d, *position, width))
		return -EINVAL;
	bar = array_index_nospec(bar, SHIRQ_BARS);
	shirq_lock_registers(d);
	ret = shirq_check_access(d);
	if (!ret && write)
		d->bus.write(&d->bus, bar, offset, width, *value);
	else if (!ret)
		*value = d->bus.read(&d->bus, bar, offset, width);
	shirq_unlock_registers(d);
	if (ret)
		return ret;
	*position += width;
	return width;
}

/* The low bytes of a value in memory: what is copied for an access that is narrower. */
static void *shirq_low(u64 *value, size_t width)
{
	return (char *)value + (IS_ENABLED(CONFIG_CPU_BIG_ENDIAN) ? sizeof(*value) - width : 0);
}

static ssize_t shirq_read(struct file *file, char __user *buf, size_t count, loff_t *ppos)
{
	ssize_t ret;
	u64 value;

	if (!ppos)
		return shirq_read_event(file, buf, count);
	ret = shirq_access(file->private_data, ppos, count, &value, false);
	if (ret > 0 && copy_to_user(buf, shirq_low(&value, count), count))
		return -EFAULT;
	return ret;
}

static ssize_t shirq_write(struct file *file, const char __user *buf, size_t count, loff_t *ppos)
{
	u64 value = 0;

	if (!ppos || count > sizeof(value))
		return -EINVAL;
	if (copy_from_user(shirq_low(&value, count), buf, count))
		return -EFAULT;
	return shirq_access(file->private_data, ppos, count, &value, true);
}

static bool shirq_can_map(const struct shirq_device *d, unsigned int bar)
{
	/* Whole pages of our own: what shares a page may be a neighbour's. */
	return d->bus.space[bar].kind != SHIRQ_SPACE_NONE &&
	       pci_resource_flags(d->pdev, bar) & IORESOURCE_MEM &&
	       PAGE_ALIGNED(pci_resource_start(d->pdev, bar)) &&
	       d->bus.space[bar].size >= PAGE_SIZE;
}

static vm_fault_t shirq_fault(struct vm_fault *vmf)
{
	struct shirq_device *d = vmf->vma->vm_file->private_data;
	unsigned int bar = vmf->pgoff >> SHIRQ_PGOFF_SHIFT;
	pgoff_t page = vmf->pgoff & ((1ul << SHIRQ_PGOFF_SHIFT) - 1);
	vm_fault_t ret = VM_FAULT_SIGBUS;
	bool allowed;

	mutex_lock(&d->mutex);
	spin_lock_irq(&d->lock);
	allowed = !shirq_check_access(d) && vmf->vma->vm_private_data == (void *)d->generation;
	spin_unlock_irq(&d->lock);
	/* What is quarantined meanwhile is revoked by its worker, under the mutex. */
	if (allowed)
		ret = vmf_insert_pfn(vmf->vma, vmf->address,
				     (pci_resource_start(d->pdev, bar) >> PAGE_SHIFT) + page);
	mutex_unlock(&d->mutex);
	return ret;
}

static const struct vm_operations_struct shirq_vm_ops = {
	.fault = shirq_fault,
};

static void shirq_vm_flags_set(struct vm_area_struct *vma, unsigned long flags)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
	vm_flags_set(vma, flags);
#else
	vma->vm_flags |= flags;
#endif
}

static int shirq_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct shirq_device *d = file->private_data;
	unsigned long bar = vma->vm_pgoff >> SHIRQ_PGOFF_SHIFT;
	pgoff_t page = vma->vm_pgoff & ((1ul << SHIRQ_PGOFF_SHIFT) - 1);
	int ret;

	if (bar >= SHIRQ_BARS || !(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	bar = array_index_nospec(bar, SHIRQ_BARS);
	shirq_lock_registers(d);
	ret = shirq_check_access(d);
	if (!ret && (!shirq_can_map(d, bar) ||
		     page + vma_pages(vma) > d->bus.space[bar].size >> PAGE_SHIFT))
		ret = -EINVAL;
	vma->vm_private_data = (void *)d->generation;
	shirq_unlock_registers(d);
	if (ret)
		return ret;

	/* Registers are not encrypted, where memory is (SEV, TDX). */
	vma->vm_page_prot = pgprot_decrypted(pgprot_noncached(vma->vm_page_prot));
	shirq_vm_flags_set(vma, VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_ops = &shirq_vm_ops;
	return 0;
}

/* Calls */

static u32 shirq_bar_flags(const struct shirq_device *d, unsigned int bar)
{
	unsigned long resource = pci_resource_flags(d->pdev, bar);
	u32 flags = resource & IORESOURCE_IO ? SHIRQ_BAR_PORT : SHIRQ_BAR_MEMORY;

	if (d->bus.space[bar].kind == SHIRQ_SPACE_WIDE)
		flags |= SHIRQ_BAR_WIDE;
	if (resource & IORESOURCE_PREFETCH)
		flags |= SHIRQ_BAR_PREFETCH;
	if (shirq_can_map(d, bar))
		flags |= SHIRQ_BAR_MMAP;
	return flags;
}

/* What stands between the device and memory. A domain that blocks lets nothing pass either. */
static u32 shirq_iommu_flags(struct shirq_device *d)
{
#ifdef CONFIG_IOMMU_API
	const struct iommu_domain *domain = iommu_get_domain_for_dev(&d->pdev->dev);

	if (domain)
		return domain->type == IOMMU_DOMAIN_IDENTITY ? SHIRQ_INFO_PASSTHROUGH
							     : SHIRQ_INFO_IOMMU;
#endif
	return 0;
}

static int shirq_get_info(struct shirq_device *d, void *arg)
{
	struct shirq_info *info = arg;
	struct pci_dev *pdev = d->pdev;
	unsigned int i;
	int ret;

	if (info->source)
		return -EINVAL;
	ret = shirq_enter(d);
	if (ret)
		return ret;

	*info = (struct shirq_info) {
		.features = SHIRQ_FEATURE_INTX | SHIRQ_FEATURE_NOTICES |
			    SHIRQ_FEATURE_POSITIONAL | SHIRQ_FEATURE_MASK |
			    SHIRQ_FEATURE_EVENTFD | SHIRQ_FEATURE_BREAKER |
			    SHIRQ_FEATURE_IOMMU,
		.flags = shirq_iommu_flags(d),
		.vendor = pdev->vendor,
		.device = pdev->device,
		.subsystem_vendor = pdev->subsystem_vendor,
		.subsystem_device = pdev->subsystem_device,
		.class = pdev->class,
		.revision = pdev->revision,
		.config_size = pdev->cfg_size,
		.events = SHIRQ_QUEUE,
	};
	if (shirq_has_line(d)) {
		info->sources = 1;
		info->irq = pdev->irq;
		if (d->armed ? d->neighbour : irq_has_action(pdev->irq))
			info->flags |= SHIRQ_INFO_SHARED;
	}
	if (d->set)
		info->state = d->armed ? SHIRQ_STATE_ARMED : SHIRQ_STATE_LOADED;
	if (pci_intx_mask_supported(pdev))
		info->flags |= SHIRQ_INFO_DISINTX;
	if (pdev->is_busmaster)
		info->flags |= SHIRQ_INFO_MASTER;
	if (READ_ONCE(d->masked))
		info->flags |= SHIRQ_INFO_MASKED;
	if (READ_ONCE(d->quarantined))
		info->flags |= SHIRQ_INFO_QUARANTINED;
	for (i = 0; i < SHIRQ_BARS; i++) {
		info->bar[i].length = d->bus.space[i].size;
		if (info->bar[i].length)
			info->bar[i].flags = shirq_bar_flags(d, i);
	}
	mutex_unlock(&d->mutex);
	return 0;
}

/* Ops beyond the greatest count stay where they are: the verifier refuses by count. */
static int shirq_copy_program(struct shirq_program *program, u64 ops, u32 count)
{
	program->count = count;
	if (count > SHIRQ_MAX_OPS)
		return 0;
	if (copy_from_user(program->op, u64_to_user_ptr(ops), count * sizeof(program->op[0])))
		return -EFAULT;
	return 0;
}

/* May the set lack this program? */
static bool shirq_optional(const struct shirq_set *set, u32 kind)
{
	return kind == SHIRQ_PROGRAM_EXEC || kind == SHIRQ_PROGRAM_MASK ||
	       (kind == SHIRQ_PROGRAM_UNMASK && set->mode == SHIRQ_MODE_ACKNOWLEDGES);
}

static int shirq_verify_set(const struct shirq_device *d, const struct shirq_set *set,
			    struct shirq_load *load)
{
	u32 kind;

	for (kind = 0; kind < ARRAY_SIZE(set->program); kind++) {
		const struct shirq_program *program = &set->program[kind];

		if (!program->count && shirq_optional(set, kind))
			continue;
		load->error_reason = shirq_verify(program, kind, &d->bus, &load->error_index);
		if (load->error_reason) {
			load->error_program = kind;
			return -EINVAL;
		}
	}
	load->error_index = 0;
	return 0;
}

/* The BARs stay where they are mapped until there is no owner, nor a set. */
static void shirq_link_set(const struct shirq_device *d, struct shirq_set *set)
{
	u32 kind;

	for (kind = 0; kind < ARRAY_SIZE(set->program); kind++)
		shirq_link(&set->program[kind], &d->bus);
}

static int shirq_load_set(struct shirq_device *d, void *arg)
{
	struct shirq_load *load = arg;
	struct shirq_set *set;
	int ret;

	load->error_program = 0;
	load->error_index = 0;
	load->error_reason = SHIRQ_OK;
	if (!capable(CAP_SYS_RAWIO))
		return -EPERM;
	if (load->source || load->flags || load->reserved ||
	    (load->mode != SHIRQ_MODE_MASKS && load->mode != SHIRQ_MODE_ACKNOWLEDGES))
		return -EINVAL;

	set = kzalloc(sizeof(*set), GFP_KERNEL);
	if (!set)
		return -ENOMEM;
	set->mode = load->mode;
	ret = shirq_copy_program(&set->program[SHIRQ_PROGRAM_IRQ], load->irq, load->irq_count) ?:
	      shirq_copy_program(&set->program[SHIRQ_PROGRAM_UNMASK], load->unmask,
				 load->unmask_count) ?:
	      shirq_copy_program(&set->program[SHIRQ_PROGRAM_RELEASE], load->release,
				 load->release_count) ?:
	      shirq_copy_program(&set->program[SHIRQ_PROGRAM_MASK], load->mask,
				 load->mask_count) ?:
	      shirq_enter(d);
	if (ret) {
		kfree(set);
		return ret;
	}

	if (!shirq_has_line(d))
		ret = -ENXIO;
	else if (d->armed)
		ret = -EBUSY;
	else
		ret = shirq_verify_set(d, set, load);
	if (ret) {
		kfree(set);
	} else {
		shirq_link_set(d, set);
		shirq_load(d, set);
	}
	mutex_unlock(&d->mutex);
	return ret;
}

static int shirq_arm_source(struct shirq_device *d, void *arg)
{
	const struct shirq_arm *arm = arg;
	const u32 sharing = SHIRQ_ARM_SHARED | SHIRQ_ARM_EXCLUSIVE;
	int ret;

	if (arm->source || arm->reserved || arm->flags & ~(sharing | SHIRQ_ARM_AUTO_UNMASK) ||
	    !(arm->flags & sharing) || (arm->flags & sharing) == sharing)
		return -EINVAL;
	ret = shirq_enter(d);
	if (ret)
		return ret;
	ret = shirq_arm(d, arm->flags);
	mutex_unlock(&d->mutex);
	return ret;
}

static int shirq_disarm_source(struct shirq_device *d, void *arg)
{
	const struct shirq_disarm *disarm = arg;
	int ret;

	if (disarm->source || disarm->flags || disarm->reserved)
		return -EINVAL;
	ret = shirq_enter(d);
	if (ret)
		return ret;
	ret = shirq_disarm(d);
	mutex_unlock(&d->mutex);
	return ret;
}

static int shirq_unmask_source(struct shirq_device *d, void *arg)
{
	const struct shirq_unmask *unmask = arg;

	if (unmask->source || unmask->flags || unmask->reserved)
		return -EINVAL;
	return shirq_unmask(d, unmask->seq);
}

static int shirq_exec_program(struct shirq_device *d, void *arg)
{
	struct shirq_exec *exec = arg;
	struct shirq_program *program;
	u64 regs[SHIRQ_REGS];
	int ret;

	exec->error_index = 0;
	exec->error_reason = SHIRQ_OK;
	if (!capable(CAP_SYS_RAWIO))
		return -EPERM;
	if (exec->flags || exec->reserved)
		return -EINVAL;
	program = kzalloc(sizeof(*program), GFP_KERNEL);
	if (!program)
		return -ENOMEM;
	ret = shirq_copy_program(program, exec->ops, exec->count) ?: shirq_enter(d);
	if (ret)
		goto free;

	exec->error_reason = shirq_verify(program, SHIRQ_PROGRAM_EXEC, &d->bus,
					  &exec->error_index);
	if (exec->error_reason) {
		ret = -EINVAL;
	} else {
		exec->error_index = 0;
		memcpy(regs, exec->regs, sizeof(regs));
		ret = shirq_exec(d, program, regs);
		if (!ret)
			memcpy(exec->regs, regs, sizeof(regs));
	}
	mutex_unlock(&d->mutex);
free:
	kfree(program);
	return ret;
}

static int shirq_set_master(struct shirq_device *d, void *arg)
{
	const struct shirq_master *master = arg;
	struct shirq_dma *dma = NULL;
	int ret;

	if (!capable(CAP_SYS_RAWIO))
		return -EPERM;
	if (master->on > 1)
		return -EINVAL;
	if (master->on) {
		dma = shirq_watch_mm(d);
		if (IS_ERR(dma))
			return PTR_ERR(dma);
	}
	/* Command is rewritten as a whole: under the lock, as programs write DisINTx. */
	shirq_lock_registers(d);
	ret = shirq_check_access(d);
	if (!ret) {
		if (master->on)
			pci_set_master(d->pdev);
		else
			pci_clear_master(d->pdev);
		swap(d->dma, dma);
	}
	shirq_unlock_registers(d);
	shirq_unwatch_mm(dma);
	/* The device reaches all memory now: bug reports are to say so. */
	if (!ret && master->on && !(shirq_iommu_flags(d) & SHIRQ_INFO_IOMMU))
		add_taint(TAINT_USER, LOCKDEP_STILL_OK);
	return ret;
}

static int shirq_mask_source(struct shirq_device *d, void *arg)
{
	struct shirq_mask *mask = arg;

	if (mask->source || mask->flags || mask->reserved)
		return -EINVAL;
	return shirq_mask(d, &mask->seq);
}

static int shirq_set_eventfd(struct shirq_device *d, void *arg)
{
	const struct shirq_eventfd *request = arg;
	struct eventfd_ctx *eventfd = NULL;
	int ret;

	if (request->source || request->flags || request->fd < -1)
		return -EINVAL;
	if (request->fd >= 0) {
		eventfd = eventfd_ctx_fdget(request->fd);
		if (IS_ERR(eventfd))
			return PTR_ERR(eventfd);
	}
	ret = shirq_enter(d);
	if (ret) {
		if (eventfd)
			eventfd_ctx_put(eventfd);
		return ret;
	}
	shirq_swap_eventfd(d, eventfd);
	mutex_unlock(&d->mutex);
	return 0;
}

static int shirq_set_quiesce(struct shirq_device *d, void *arg)
{
	const struct shirq_quiesce *quiesce = arg;
	int ret;

	if (!capable(CAP_SYS_RAWIO))
		return -EPERM;
	if (quiesce->rungs & ~(SHIRQ_QUIESCE_D3HOT | SHIRQ_QUIESCE_FLR | SHIRQ_QUIESCE_BUS) ||
	    quiesce->release & ~SHIRQ_QUIESCE_FLR)
		return -EINVAL;
	ret = shirq_enter(d);
	if (ret)
		return ret;
	spin_lock_irq(&d->lock);
	d->quiesce = *quiesce;
	if (!d->quiesce.max_rate)
		d->quiesce.max_rate = SHIRQ_DEFAULT_RATE;
	spin_unlock_irq(&d->lock);
	mutex_unlock(&d->mutex);
	return 0;
}

/* Sizes of the first version: they never change. The structs grow at their ends. */
#define SHIRQ_INFO_V1		152
#define SHIRQ_LOAD_V1		64
#define SHIRQ_ARM_V1		16
#define SHIRQ_DISARM_V1		16
#define SHIRQ_UNMASK_V1		24
#define SHIRQ_EXEC_V1		96
#define SHIRQ_MASTER_V1		8
#define SHIRQ_MASK_V1		24
#define SHIRQ_EVENTFD_V1	16
#define SHIRQ_QUIESCE_V1	16

union shirq_arg {
	u32			size;
	struct shirq_info	info;
	struct shirq_load	load;
	struct shirq_arm	arm;
	struct shirq_disarm	disarm;
	struct shirq_unmask	unmask;
	struct shirq_exec	exec;
	struct shirq_master	master;
	struct shirq_mask	mask;
	struct shirq_eventfd	eventfd;
	struct shirq_quiesce	quiesce;
};

struct shirq_call {
	u32 v1;
	u32 size;
	int (*run)(struct shirq_device *d, void *arg);
};

static const struct shirq_call shirq_calls[] = {
	[_IOC_NR(SHIRQ_GET_INFO)] = { SHIRQ_INFO_V1, sizeof(struct shirq_info), shirq_get_info },
	[_IOC_NR(SHIRQ_LOAD)] = { SHIRQ_LOAD_V1, sizeof(struct shirq_load), shirq_load_set },
	[_IOC_NR(SHIRQ_ARM)] = { SHIRQ_ARM_V1, sizeof(struct shirq_arm), shirq_arm_source },
	[_IOC_NR(SHIRQ_DISARM)] = {
		SHIRQ_DISARM_V1, sizeof(struct shirq_disarm), shirq_disarm_source
	},
	[_IOC_NR(SHIRQ_UNMASK)] = {
		SHIRQ_UNMASK_V1, sizeof(struct shirq_unmask), shirq_unmask_source
	},
	[_IOC_NR(SHIRQ_EXEC)] = { SHIRQ_EXEC_V1, sizeof(struct shirq_exec), shirq_exec_program },
	[_IOC_NR(SHIRQ_SET_MASTER)] = {
		SHIRQ_MASTER_V1, sizeof(struct shirq_master), shirq_set_master
	},
	[_IOC_NR(SHIRQ_MASK)] = { SHIRQ_MASK_V1, sizeof(struct shirq_mask), shirq_mask_source },
	[_IOC_NR(SHIRQ_SET_EVENTFD)] = {
		SHIRQ_EVENTFD_V1, sizeof(struct shirq_eventfd), shirq_set_eventfd
	},
	[_IOC_NR(SHIRQ_SET_QUIESCE)] = {
		SHIRQ_QUIESCE_V1, sizeof(struct shirq_quiesce), shirq_set_quiesce
	},
};

static long shirq_ioctl(struct file *file, unsigned int cmd, unsigned long address)
{
	void __user *user = (void __user *)address;
	unsigned int number = _IOC_NR(cmd);
	const struct shirq_call *call;
	union shirq_arg arg = {};
	u32 size;
	int ret;

	if (number >= ARRAY_SIZE(shirq_calls) || cmd != _IO(SHIRQ_IOCTL, number))
		return -ENOTTY;
	call = &shirq_calls[array_index_nospec(number, ARRAY_SIZE(shirq_calls))];

	if (get_user(size, (u32 __user *)user))
		return -EFAULT;
	if (size < call->v1)
		return -EINVAL;
	if (size > PAGE_SIZE)
		return -E2BIG;
	ret = copy_struct_from_user(&arg, call->size, user, size);
	if (ret)
		return ret;

	ret = call->run(file->private_data, &arg);

	arg.size = call->size;
	if (copy_to_user(user, &arg, min(size, call->size)))
		return -EFAULT;
	return ret;
}

const struct file_operations shirq_fops = {
	.owner = THIS_MODULE,
	.open = shirq_open,
	.release = shirq_release,
	.read = shirq_read,
	.write = shirq_write,
	.poll = shirq_poll,
	.mmap = shirq_mmap,
	.unlocked_ioctl = shirq_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};
