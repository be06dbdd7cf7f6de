// SPDX-License-Identifier: GPL-2.0-only
/* The file: open and close, events, registers, mappings. */
#include <linux/compat.h>
#include <linux/errno.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/nospec.h>
#include <linux/pagemap.h>
#include <linux/poll.h>
#include <linux/sched/signal.h>
#include <linux/security.h>
#include <linux/uaccess.h>
#include <linux/version.h>

#include "access.h"
#include "event.h"
#include "file.h"
#include "hw.h"
#include "ioctl.h"
#include "lifecycle.h"
#include "source.h"
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
	/* read() has no position, which distinguishes it from pread(). */
	file->f_mode |= FMODE_PREAD | FMODE_PWRITE;
	return 0;
}

/* The last reference is gone: no reader, mapping or call is left. */
static int shirq_release(struct inode *inode, struct file *file)
{
	shirq_disown(file->private_data);
	return 0;
}

/* Events */

/* Copy an event without faulting in a page. Return: true if the page was present. */
static bool shirq_copy_event(char __user *to, const struct shirq_event *event)
{
	const u64 *from = (const u64 *)event;
	bool copied = false;
	unsigned int i;

	pagefault_disable();
	if (!user_write_access_begin(to, sizeof(*event)))
		goto out;
	/* Unrolled stores: unsafe_copy_to_user() would loop, six instructions per store. */
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
 * Return the identity of the reader: its thread, or for io_uring its process, because
 * workers of io_uring come and go. In a single-threaded program both are the same.
 */
static struct pid *shirq_reader(void)
{
	return current->flags & PF_IO_WORKER ? task_tgid(current) : task_pid(current);
}

/* Return: the former reader, for put_pid() once the lock is dropped. */
static struct pid *shirq_set_reader(struct shirq_device *d)
{
	struct pid *reader = shirq_reader(), *former = d->reader;

	lockdep_assert_held(&d->lock);
	if (reader == former)
		return NULL;
	d->reader = get_pid(reader);
	return former;
}

/* Return: true if the thread that got the last event has ended without unmasking it. */
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
 * Unmask the event that read() delivered last, if the same reader calls read() again. A
 * read() by another thread unmasks nothing: the first reader may still be handling the
 * event.
 *
 * Return: 0, or the errno of read(); @epoch is set to the current count of disarms.
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
 * Take the oldest event: copy it to user space, and remove it from the queue if it was
 * copied. The copy is made under the lock, where a page cannot be faulted in.
 *
 * Return: 1 if an event was taken, 0 if there is none, -EAGAIN if the caller must fault
 * in the page of @to first, or the errno of read().
 */
static int shirq_take_one(struct shirq_device *d, u32 epoch, char __user *to)
{
	const struct shirq_event *event;
	struct pid *former = NULL;
	int ret;

	spin_lock_irq(&d->lock);
	ret = shirq_check(d);
	/* The device was disarmed since shirq_begin_read(). */
	if (!ret && epoch != d->epoch)
		ret = -ENXIO;
	if (!ret && d->head != d->tail) {
		event = &d->queue[d->tail % SHIRQ_QUEUE];
		ret = shirq_copy_event(to, event) ? 1 : -EAGAIN;
		if (ret == 1) {
			WRITE_ONCE(d->tail, d->tail + 1);
			/* A notice has the number of the last claim, whose event may be unread. */
			if (event->type == SHIRQ_EVENT_IRQ) {
				d->delivered = event->seq;
				former = shirq_set_reader(d);
			}
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

/* Callers need no lock: the result is a hint, and a wake-up follows every change. */
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

/* Return: true if an access of this size and offset is allowed. */
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

/*
 * Access one register, and advance the position, because preadv() and pwritev() call
 * this once for each of their buffers.
 */
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

/* Return the address of the low @width bytes of a value: only these are copied. */
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
	/*
	 * If the device is quarantined after the check, the ladder's worker revokes the
	 * mapping once it gets the mutex.
	 */
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

	/*
	 * Map as decrypted: registers are not encrypted, even where memory is (SEV,
	 * TDX).
	 */
	vma->vm_page_prot = pgprot_decrypted(pgprot_noncached(vma->vm_page_prot));
	shirq_vm_flags_set(vma, VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_ops = &shirq_vm_ops;
	return 0;
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
