/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What differs between kernels, from 5.10 on, except for the mappings of the UIO core (uio.c)
 * and flags of files that a kernel may lack (file.c). The names are those of the newest kernel,
 * where it has one; they are macros, because updates of an older kernel may bring the function.
 */
#ifndef SHIRQ_COMPAT_H
#define SHIRQ_COMPAT_H

#include <linux/device.h>
#include <linux/eventfd.h>
#include <linux/fs.h>
#include <linux/hrtimer.h>
#include <linux/interrupt.h>
#include <linux/irq.h>
#include <linux/irqdesc.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/pci.h>
#include <linux/pm.h>
#include <linux/sched.h>
#include <linux/uaccess.h>
#include <linux/uio.h>
#include <linux/version.h>
#include <linux/workqueue.h>

#define SHIRQ_SINCE(major, minor)	(LINUX_VERSION_CODE >= KERNEL_VERSION(major, minor, 0))

#if SHIRQ_SINCE(6, 8)
#include <linux/io_uring/cmd.h>
#elif SHIRQ_SINCE(6, 0)
#include <linux/io_uring.h>
#endif

/* Languages and types */

#ifndef container_of_const
#define container_of_const	container_of
#endif

/* The device that a class's devnode() names is const. */
#if SHIRQ_SINCE(6, 2)
#define SHIRQ_NAMED	const
#else
#define SHIRQ_NAMED
#endif

/* Events and timers */

static inline void shirq_eventfd_signal(struct eventfd_ctx *eventfd)
{
#if SHIRQ_SINCE(6, 8)
	eventfd_signal(eventfd);
#else
	eventfd_signal(eventfd, 1);
#endif
}

#if !SHIRQ_SINCE(6, 13)
static inline void shirq_hrtimer_setup(struct hrtimer *timer,
				       enum hrtimer_restart (*function)(struct hrtimer *timer),
				       clockid_t clock, enum hrtimer_mode mode)
{
	hrtimer_init(timer, clock, mode);
	timer->function = function;
}

#define hrtimer_setup		shirq_hrtimer_setup
#define irq_get_nr_irqs()	nr_irqs
#endif

#if !SHIRQ_SINCE(6, 18)
#define system_percpu_wq	system_wq
#endif

/**
 * shirq_sleeps() - check whether a task sleeps, interruptibly, and has left its run queue
 * @task: the task, or one that may end
 */
static inline bool shirq_sleeps(const struct task_struct *task)
{
	bool queued = READ_ONCE(task->on_rq);

#if SHIRQ_SINCE(6, 12)
	queued = queued && !READ_ONCE(task->se.sched_delayed);
#endif
#if SHIRQ_SINCE(5, 14)
	return !queued && READ_ONCE(task->__state) == TASK_INTERRUPTIBLE;
#else
	return !queued && READ_ONCE(task->state) == TASK_INTERRUPTIBLE;
#endif
}

/* Memory */

#if !SHIRQ_SINCE(6, 3)
static inline void shirq_vm_flags_set(struct vm_area_struct *vma, unsigned long flags)
{
	vma->vm_flags |= flags;
}

static inline void shirq_vm_flags_clear(struct vm_area_struct *vma, unsigned long flags)
{
	vma->vm_flags &= ~flags;
}

#define vm_flags_set		shirq_vm_flags_set
#define vm_flags_clear		shirq_vm_flags_clear
#endif

#if !SHIRQ_SINCE(5, 19)
/*
 * Fault in the first and the last page of memory. The kernel's own function was renamed in
 * 5.16, and in updates of 5.15.
 * Return: not 0 if that failed.
 */
static inline size_t shirq_fault_in_writeable(char __user *user, size_t size)
{
	return size && (put_user(0, user) || put_user(0, user + size - 1)) ? size : 0;
}

#define fault_in_subpage_writeable	shirq_fault_in_writeable
#endif

#if !SHIRQ_SINCE(5, 16)
/*
 * Some of these kernels have such a function, which this one then replaces.
 * Return: not 0 if no byte could be faulted in.
 */
static inline size_t shirq_fault_in_iter(struct iov_iter *iter, size_t size)
{
	struct iov_iter left = *iter;
	size_t failed = 0;

	iov_iter_truncate(&left, size);
	while (!failed && iter_is_iovec(&left) && iov_iter_count(&left)) {
		struct iovec segment = iov_iter_iovec(&left);

		failed = shirq_fault_in_writeable(segment.iov_base, segment.iov_len);
		iov_iter_advance(&left, segment.iov_len);
	}
	return failed;
}

#define fault_in_iov_iter_writeable	shirq_fault_in_iter
#endif

/* System sleep */

#ifndef pm_sleep_ptr
#define pm_sleep_ptr(ops)		(IS_ENABLED(CONFIG_PM_SLEEP) ? (ops) : NULL)
#endif
#ifndef SYSTEM_SLEEP_PM_OPS
#define SYSTEM_SLEEP_PM_OPS		SET_SYSTEM_SLEEP_PM_OPS
#define NOIRQ_SYSTEM_SLEEP_PM_OPS	SET_NOIRQ_SYSTEM_SLEEP_PM_OPS
#endif

/* Resets */

#if !SHIRQ_SINCE(5, 15)
static inline int shirq_pcie_reset_flr(struct pci_dev *pdev, bool probe)
{
	if (!pcie_has_flr(pdev))
		return -ENOTTY;
	return probe ? 0 : pcie_flr(pdev);
}

#define pcie_reset_flr		shirq_pcie_reset_flr
#endif

/* io_uring */

/* A multishot READ, which older kernels do not have. */
#ifndef IOCB_ALLOC_CACHE
#define IOCB_ALLOC_CACHE	0
#endif

#if SHIRQ_SINCE(6, 0)
#define SHIRQ_HAS_URING_CMD

/* The command's own bytes in its submission queue entry, which user space may still change. */
static inline const void *shirq_uring_bytes(const struct io_uring_cmd *cmd)
{
#if SHIRQ_SINCE(6, 5)
	return cmd->sqe->cmd;
#else
	return cmd->cmd;
#endif
}
#endif

#endif /* SHIRQ_COMPAT_H */
