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
#include <linux/uio.h>

#include "access.h"
#include "compat.h"
#include "event.h"
#include "file.h"
#include "hw.h"
#include "ioctl.h"
#include "lifecycle.h"
#include "map.h"
#include "message.h"
#include "ring.h"
#include "source.h"
#include "trace.h"

#define SHIRQ_FAULTS	100

/* The position of the file for reads without a position; no register has a negative one. */
#define SHIRQ_NO_POSITION	(-(1ll << 62))

/* Without this flag of the file, the kernel refuses negative positions. */
#ifndef FOP_UNSIGNED_OFFSET
#define SHIRQ_FMODE	(FMODE_NOWAIT | FMODE_UNSIGNED_OFFSET)
#else
#define SHIRQ_FMODE	FMODE_NOWAIT
#endif

/* Open and close */

static int shirq_open(struct inode *inode, struct file *file)
{
	struct shirq_device *d = container_of(inode->i_cdev, struct shirq_device, cdev);
	int ret;

	ret = security_locked_down(LOCKDOWN_PCI_ACCESS);
	if (ret)
		return ret;
	ret = shirq_own(d, file->f_mapping);
	if (ret)
		return ret;
	file->private_data = d;
	file->f_pos = SHIRQ_NO_POSITION;
	file->f_mode |= SHIRQ_FMODE;
	return 0;
}

/* The last reference is gone: no reader, mapping or call is left. */
static int shirq_release(struct inode *inode, struct file *file)
{
	shirq_disown(file->private_data);
	return 0;
}

/* Events */

/*
 * struct shirq_read - a call that reads events
 * @user: where the next event goes
 * @iter: the same, for all calls but read(); then @user is unused
 * @left: bytes that are free there
 * @reader: identity of the reader: its thread, or for io_uring its process, because its
 *	workers come and go. In a single-threaded program both are the same.
 * @nowait: the call must not block
 * @epoch: count of disarms when the call began
 */
struct shirq_read {
	char __user	*user;
	struct iov_iter	*iter;
	size_t		left;
	struct pid	*reader;
	bool		nowait;
	u32		epoch;
};

/*
 * Copy an event to one buffer, without faulting in a page: faster than shirq_copy_to_iter().
 * Return: true if the page was present.
 */
static bool shirq_copy_to_user(char __user *to, const struct shirq_event *event)
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

/* Copy an event without faulting in a page. Return: true if the pages were present. */
static bool shirq_copy_to_iter(struct iov_iter *to, const struct shirq_event *event)
{
	size_t copied;

	pagefault_disable();
	copied = copy_to_iter(event, sizeof(*event), to);
	pagefault_enable();
	if (copied == sizeof(*event))
		return true;
	iov_iter_revert(to, copied);
	return false;
}

static bool shirq_copy_event(const struct shirq_read *read, const struct shirq_event *event)
{
	return unlikely(read->iter) ? shirq_copy_to_iter(read->iter, event)
				    : shirq_copy_to_user(read->user, event);
}

/* Fault in the pages of the next event. Return: true if that failed. */
static bool shirq_fault_in(const struct shirq_read *read)
{
	const size_t size = sizeof(struct shirq_event);

	return read->iter ? fault_in_iov_iter_writeable(read->iter, size)
			  : fault_in_subpage_writeable(read->user, size);
}

/* Return: the former reader, for put_pid() once the lock is dropped. */
static struct pid *shirq_set_reader(struct pid **where, struct pid *reader)
{
	struct pid *former = *where;

	if (reader == former)
		return NULL;
	*where = get_pid(reader);
	return former;
}

/* Return: true if the thread that got the last event has ended without unmasking it. */
static bool shirq_reader_ended(struct pid *reader)
{
	const struct task_struct *task;
	bool ended;

	rcu_read_lock();
	task = pid_task(reader, PIDTYPE_PID);
	ended = !task || READ_ONCE(task->exit_state);
	rcu_read_unlock();
	return ended;
}

/* Unmask the event of each message that read() delivered last to this reader. */
static int shirq_begin_messages(struct shirq_device *d, struct pid *reader)
{
	struct shirq_message *m;
	int ret = 0;

	shirq_for_each_message(m, d) {
		if (m->armed && m->auto_unmask &&
		    (m->reader == reader || shirq_reader_ended(m->reader)))
			ret = ret ?: shirq_unmask_taken(m);
	}
	return ret;
}

/*
 * Unmask the event that read() delivered last, if the same reader calls read() again. A
 * read() by another thread unmasks nothing: the first reader may still be handling the
 * event.
 *
 * Return: 0, or the errno of read().
 */
static int shirq_begin_read(struct shirq_device *d, struct shirq_read *read)
{
	int ret;

	spin_lock_irq(&d->lock);
	read->epoch = d->epoch;
	ret = d->ringing && !d->gone ? -EBUSY : shirq_check(d);
	if (!ret && d->armed && d->auto_unmask &&
	    (d->reader == read->reader || shirq_reader_ended(d->reader)))
		ret = shirq_unmask_delivered(d);
	if (!ret)
		ret = shirq_begin_messages(d, read->reader);
	spin_unlock_irq(&d->lock);
	return ret;
}

/*
 * Take the oldest event: copy it to user space, and remove it from the queue if it was
 * copied. The copy is made under the lock, where a page cannot be faulted in.
 *
 * Return: 1 if an event was taken, 0 if there is none, -EAGAIN if the caller must fault
 * in its page first, or the errno of read().
 */
static int shirq_take_one(struct shirq_device *d, const struct shirq_read *read)
{
	const struct shirq_event *event;
	struct shirq_message *message;
	struct pid *former = NULL;
	int ret;

	spin_lock_irq(&d->lock);
	ret = shirq_check(d);
	/* The device was disarmed since shirq_begin_read(). */
	if (!ret && read->epoch != d->epoch)
		ret = -ENXIO;
	message = shirq_oldest(d);
	if (!ret && message) {
		event = &message->queue[message->tail % SHIRQ_QUEUE];
		ret = shirq_copy_event(read, event) ? 1 : -EAGAIN;
		if (ret == 1) {
			shirq_take_event(message);
			message->delivered = event->seq;
			former = shirq_set_reader(&message->reader, read->reader);
			trace_shirq_deliver(d, event);
		}
	} else if (!ret && d->head != d->tail) {
		event = &d->queue[d->tail % SHIRQ_QUEUE];
		ret = shirq_copy_event(read, event) ? 1 : -EAGAIN;
		if (ret == 1) {
			WRITE_ONCE(d->tail, d->tail + 1);
			/* A notice has the number of the last claim, whose event may be unread. */
			if (event->type == SHIRQ_EVENT_IRQ) {
				d->delivered = event->seq;
				former = shirq_set_reader(&d->reader, read->reader);
			}
			trace_shirq_deliver(d, event);
		}
	}
	spin_unlock_irq(&d->lock);
	put_pid(former);
	return ret;
}

/*
 * A page that was faulted in may be gone again before the copy; but memory that refuses the
 * copy for ever, such as a wrong tag of arm64, must not hold the loop.
 *
 * Return: bytes copied, 0 if nothing is queued, or the errno of read().
 */
static ssize_t shirq_take(struct shirq_device *d, struct shirq_read *read)
{
	const size_t size = sizeof(struct shirq_event);
	unsigned int faults = 0;
	ssize_t copied = 0;
	int ret = 0;

	while (read->left >= size) {
		ret = shirq_take_one(d, read);
		if (ret == 1) {
			copied += size;
			read->user += size;
			read->left -= size;
			faults = 0;
		} else if (ret != -EAGAIN) {
			break;
		} else if (shirq_fault_in(read) || ++faults == SHIRQ_FAULTS) {
			return copied ?: -EFAULT;
		} else if (faults > 1 && signal_pending(current)) {
			/* Not at the first: for io_uring, a completion is a signal too. */
			return copied ?: -ERESTARTSYS;
		}
	}
	return copied ?: ret;
}

/* Callers need no lock: the result is a hint, and a wake-up follows every change. */
static bool shirq_wakes(const struct shirq_device *d, u32 epoch)
{
	return shirq_queued(d) || READ_ONCE(d->epoch) != epoch || shirq_check(d);
}

static ssize_t shirq_read_events(struct shirq_device *d, struct shirq_read *read)
{
	ssize_t ret;

	if (read->left < sizeof(struct shirq_event))
		return -EINVAL;
	ret = shirq_begin_read(d, read);
	if (ret)
		return ret;
	do {
		if (read->nowait) {
			if (!shirq_wakes(d, read->epoch))
				return -EAGAIN;
		} else if (wait_event_interruptible(d->wait, shirq_wakes(d, read->epoch))) {
			return -ERESTARTSYS;
		}
		ret = shirq_take(d, read);
	} while (!ret);
	return ret;
}

static __poll_t shirq_poll(struct file *file, poll_table *wait)
{
	struct shirq_device *d = file->private_data;
	__poll_t mask = 0;

	poll_wait(file, &d->wait, wait);
	spin_lock_irq(&d->lock);
	shirq_ring_look(d);
	if (shirq_check(d))
		mask = EPOLLERR;
	else if (shirq_queued(d))
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
 * Access one register, and advance the position, because preadv() and pwritev() access
 * one register for each of their buffers.
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
	struct shirq_read read = {
		.user = buf,
		.left = count,
		.reader = task_pid(current),
		.nowait = file->f_flags & O_NONBLOCK,
	};
	ssize_t ret;
	u64 value;

	if (*ppos < 0)
		return shirq_read_events(file->private_data, &read);
	ret = shirq_access(file->private_data, ppos, count, &value, false);
	if (ret > 0 && copy_to_user(buf, shirq_low(&value, count), count))
		return -EFAULT;
	return ret;
}

/*
 * Return: true if io_uring calls. A multishot READ of it is synchronous, but has this flag,
 * which no system call sets.
 */
static bool shirq_is_uring(struct kiocb *iocb)
{
	return !is_sync_kiocb(iocb) || iocb->ki_flags & IOCB_ALLOC_CACHE;
}

/*
 * One register for each buffer. A call without a buffer accesses nothing, and is refused like
 * every access of a wrong width.
 */
static ssize_t shirq_access_each(struct kiocb *iocb, struct iov_iter *iter, bool write)
{
	ssize_t ret = 0, done = 0;
	u64 value = 0;

	if (iocb->ki_pos < 0)
		return -EINVAL;
	/* An access may wait for the end of a reset. */
	if (iocb->ki_flags & IOCB_NOWAIT)
		return -EOPNOTSUPP;
	do {
		size_t width = iov_iter_single_seg_count(iter);
		void *low = shirq_low(&value, width);

		if (width > sizeof(value))
			ret = -EINVAL;
		else if (write && copy_from_iter(low, width, iter) != width)
			ret = -EFAULT;
		else
			ret = shirq_access(iocb->ki_filp->private_data, &iocb->ki_pos, width,
					   &value, write);
		if (ret > 0 && !write && copy_to_iter(low, width, iter) != width)
			ret = -EFAULT;
		if (ret < 0)
			break;
		done += ret;
	} while (iov_iter_count(iter));
	return done ?: ret;
}

/* Every read but read() and pread(). io_uring reads events, whatever the position. */
static ssize_t shirq_read_iter(struct kiocb *iocb, struct iov_iter *to)
{
	bool uring = shirq_is_uring(iocb);
	struct shirq_read read = {
		.iter = to,
		.left = iov_iter_count(to),
		.reader = uring ? task_tgid(current) : task_pid(current),
		.nowait = iocb->ki_filp->f_flags & O_NONBLOCK || iocb->ki_flags & IOCB_NOWAIT,
	};
	ssize_t ret;

	if (!uring && iocb->ki_pos >= 0)
		return shirq_access_each(iocb, to, false);
#ifdef IOCB_AIO_RW
	/* io_submit() must not block, and has no way to wait. */
	if (iocb->ki_flags & IOCB_AIO_RW)
		return -EINVAL;
#endif
	ret = shirq_read_events(iocb->ki_filp->private_data, &read);
	return uring && ret == -ERESTARTSYS ? -EINTR : ret;
}

/* Every write. */
static ssize_t shirq_write_iter(struct kiocb *iocb, struct iov_iter *from)
{
	/* io_uring would wait until the file can be written, and it never can. */
	if (shirq_is_uring(iocb))
		return -EINVAL;
	return shirq_access_each(iocb, from, true);
}

static vm_fault_t shirq_fault(struct vm_fault *vmf)
{
	const struct vm_area_struct *vma = vmf->vma;

	return shirq_map_fault(vma->vm_file->private_data, vmf,
			       (unsigned long)vma->vm_private_data);
}

static const struct vm_operations_struct shirq_vm_ops = {
	.fault = shirq_fault,
};

static int shirq_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct shirq_device *d = file->private_data;
	unsigned long bar = vma->vm_pgoff >> SHIRQ_PGOFF_SHIFT;
	const struct shirq_wanted wanted = {
		.page = vma->vm_pgoff & ((1ul << SHIRQ_PGOFF_SHIFT) - 1),
		.count = vma_pages(vma),
		/* VM_SHARED is clear if the file was opened for reading alone. */
		.shared = vma->vm_flags & VM_MAYSHARE,
	};
	unsigned long generation;
	u64 pages = 0;
	int ret;

	if (!wanted.shared)
		return -EINVAL;
	if (bar == SHIRQ_MMAP_RING || bar == SHIRQ_MMAP_CONSUMER)
		return shirq_map_ring(d, vma, bar, wanted.page);
	if (bar >= SHIRQ_BARS)
		return -EINVAL;
	bar = array_index_nospec(bar, SHIRQ_BARS);
	if (shirq_can_map(d, bar))
		pages = d->bus.space[bar].size >> PAGE_SHIFT;
	ret = shirq_may_map(d, &wanted, pages, &generation);
	if (ret)
		return ret;
	shirq_map(vma);
	vma->vm_private_data = (void *)generation;
	vma->vm_ops = &shirq_vm_ops;
	return 0;
}

const struct file_operations shirq_fops = {
	.owner = THIS_MODULE,
#ifdef FOP_UNSIGNED_OFFSET
	.fop_flags = FOP_UNSIGNED_OFFSET,
#endif
	.open = shirq_open,
	.release = shirq_release,
	.read = shirq_read,
	.read_iter = shirq_read_iter,
	.write_iter = shirq_write_iter,
	.poll = shirq_poll,
	.mmap = shirq_mmap,
	.unlocked_ioctl = shirq_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
#ifdef SHIRQ_HAS_URING_CMD
	.uring_cmd = shirq_uring_cmd,
#endif
};
