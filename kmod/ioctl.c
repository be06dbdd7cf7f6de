// SPDX-License-Identifier: GPL-2.0-only
/* The calls, which come by ioctl() or by io_uring. */
#include <linux/capability.h>
#include <linux/errno.h>
#include <linux/interrupt.h>
#include <linux/iommu.h>
#include <linux/nospec.h>
#include <linux/security.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "access.h"
#include "arm.h"
#include "compat.h"
#include "dma.h"
#include "event.h"
#include "hw.h"
#include "ioctl.h"
#include "message.h"
#include "ring.h"
#include "source.h"
#include "uio.h"

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

/*
 * Flags for the kind of IOMMU domain between the device and memory. A blocking domain counts
 * as translating: no DMA passes.
 */
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

/*
 * Take the mutex, and find the source.
 * Return: 0 with the message, or NULL for source 0; or an errno without the mutex.
 */
static int shirq_enter_source(struct shirq_device *d, u32 source, struct shirq_message **m)
{
	int ret = shirq_enter(d);

	if (ret)
		return ret;
	*m = shirq_message(d, source);
	if (!source || *m)
		return 0;
	mutex_unlock(&d->mutex);
	return -EINVAL;
}

/* The part of the info that depends on the source: source 0, the line. */
static void shirq_line_info(struct shirq_device *d, struct shirq_info *info)
{
	spin_lock_irq(&d->lock);
	info->lost = d->lost;
	if (d->requested)
		shirq_see_unmask(d);
	spin_unlock_irq(&d->lock);
	if (shirq_has_line(d)) {
		info->sources = 1;
		info->irq = shirq_line(d);
		if (d->requested ? d->neighbour : irq_has_action(info->irq))
			info->flags |= SHIRQ_INFO_SHARED;
	}
	if (d->set)
		info->state = READ_ONCE(d->armed) ? SHIRQ_STATE_ARMED : SHIRQ_STATE_LOADED;
	if (READ_ONCE(d->masked))
		info->flags |= SHIRQ_INFO_MASKED;
	if (READ_ONCE(d->storm.given_up))
		info->flags |= SHIRQ_INFO_LINE_OFF;
}

/* The same of a message. */
static void shirq_message_info(const struct shirq_message *m, struct shirq_info *info)
{
	spin_lock_irq(&m->d->lock);
	info->irq = m->irq;
	info->lost = m->lost;
	info->state = m->armed ? SHIRQ_STATE_ARMED : m->set ? SHIRQ_STATE_LOADED : SHIRQ_STATE_OPEN;
	if (m->masked)
		info->flags |= SHIRQ_INFO_MASKED;
	spin_unlock_irq(&m->d->lock);
}

static int shirq_get_info(struct shirq_device *d, void *arg)
{
	struct shirq_info *info = arg;
	struct pci_dev *pdev = d->pdev;
	struct shirq_message *m;
	u32 source = info->source;
	unsigned int i;
	int ret;

	ret = shirq_enter_source(d, source, &m);
	if (ret)
		return ret;

	*info = (struct shirq_info) {
		.features = SHIRQ_FEATURE_INTX | SHIRQ_FEATURE_NOTICES |
			    SHIRQ_FEATURE_POSITIONAL | SHIRQ_FEATURE_MASK |
			    SHIRQ_FEATURE_EVENTFD | SHIRQ_FEATURE_BREAKER |
			    SHIRQ_FEATURE_IOMMU | SHIRQ_FEATURE_LINE | SHIRQ_FEATURE_KEPT |
			    SHIRQ_FEATURE_URING | SHIRQ_FEATURE_MESSAGES |
			    SHIRQ_FEATURE_UIO | SHIRQ_FEATURE_RING,
		.source = source,
		.flags = shirq_iommu_flags(d),
		.vendor = pdev->vendor,
		.device = pdev->device,
		.subsystem_vendor = pdev->subsystem_vendor,
		.subsystem_device = pdev->subsystem_device,
		.class = pdev->class,
		.revision = pdev->revision,
		.config_size = pdev->cfg_size,
		.events = SHIRQ_QUEUE,
		.messages = d->most_messages,
	};
	if (m)
		shirq_message_info(m, info);
	else
		shirq_line_info(d, info);
	if (d->message_count)
		info->sources = 1 + d->message_count;
	if (pci_intx_mask_supported(pdev))
		info->flags |= SHIRQ_INFO_DISINTX;
	if (pdev->is_busmaster)
		info->flags |= SHIRQ_INFO_MASTER;
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

/*
 * Operations beyond the maximum are not copied: the verifier rejects the program by its
 * count.
 */
static int shirq_copy_program(struct shirq_program *program, u64 ops, u32 count)
{
	program->count = count;
	if (count > SHIRQ_MAX_OPS)
		return 0;
	if (copy_from_user(program->op, u64_to_user_ptr(ops), count * sizeof(program->op[0])))
		return -EFAULT;
	return 0;
}

/* Return whether the set may lack this program. */
static bool shirq_optional(const struct shirq_set *set, u32 kind)
{
	return kind == SHIRQ_PROGRAM_EXEC || kind == SHIRQ_PROGRAM_MASK ||
	       (kind == SHIRQ_PROGRAM_UNMASK && set->mode == SHIRQ_MODE_ACKNOWLEDGES);
}

static int shirq_verify_set(const struct shirq_device *d, struct shirq_set *set,
			    struct shirq_load *load)
{
	u32 kind;

	for (kind = 0; kind < ARRAY_SIZE(set->program); kind++) {
		struct shirq_program *program = &set->program[kind];

		if (!program->count && shirq_optional(set, kind))
			continue;
		load->error_reason = shirq_verify(program, kind, &d->bus, &load->error_index);
		if (load->error_reason) {
			load->error_program = kind;
			return -EINVAL;
		}
		set->keeps |= program->keeps;
	}
	load->error_index = 0;
	return 0;
}

static int shirq_load_set(struct shirq_device *d, void *arg)
{
	struct shirq_load *load = arg;
	struct shirq_message *m;
	struct shirq_set *set;
	int ret;

	load->error_program = 0;
	load->error_index = 0;
	load->error_reason = SHIRQ_OK;
	if (!capable(CAP_SYS_RAWIO))
		return -EPERM;
	if (load->flags || load->reserved ||
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
	      shirq_enter_source(d, load->source, &m);
	if (ret) {
		kfree(set);
		return ret;
	}

	if (!m && !shirq_has_line(d))
		ret = -ENXIO;
	else if (m ? READ_ONCE(m->armed) : READ_ONCE(d->armed))
		ret = -EBUSY;
	else
		ret = shirq_verify_set(d, set, load);
	if (ret) {
		kfree(set);
	} else {
		shirq_find_store(d, set);
		shirq_load(d, m ? &m->set : &d->set, set);
	}
	mutex_unlock(&d->mutex);
	return ret;
}

static int shirq_arm_source(struct shirq_device *d, void *arg)
{
	const struct shirq_arm *arm = arg;
	const u32 sharing = SHIRQ_ARM_SHARED | SHIRQ_ARM_EXCLUSIVE;
	struct shirq_message *m;
	int ret;

	if (arm->reserved || arm->flags & ~(sharing | SHIRQ_ARM_AUTO_UNMASK | SHIRQ_ARM_RING) ||
	    !(arm->flags & sharing) != !!arm->source || (arm->flags & sharing) == sharing ||
	    (arm->flags & SHIRQ_ARM_RING &&
	     (arm->source || arm->flags & SHIRQ_ARM_AUTO_UNMASK)))
		return -EINVAL;
	ret = shirq_enter_source(d, arm->source, &m);
	if (ret)
		return ret;
	ret = m ? shirq_arm_message(m, arm->flags) : shirq_arm(d, arm->flags);
	mutex_unlock(&d->mutex);
	return ret;
}

static int shirq_disarm_source(struct shirq_device *d, void *arg)
{
	const struct shirq_disarm *disarm = arg;
	struct shirq_message *m;
	int ret;

	if (disarm->flags || disarm->reserved)
		return -EINVAL;
	ret = shirq_enter_source(d, disarm->source, &m);
	if (ret)
		return ret;
	ret = m ? shirq_disarm_message(m) : shirq_disarm(d);
	mutex_unlock(&d->mutex);
	return ret;
}

static int shirq_unmask_source(struct shirq_device *d, void *arg)
{
	const struct shirq_unmask *unmask = arg;

	if (unmask->flags || unmask->reserved)
		return -EINVAL;
	return unmask->source ? shirq_unmask_message(d, unmask->source, unmask->seq)
			      : shirq_unmask(d, unmask->seq);
}

static int shirq_wait_source(struct shirq_device *d, void *arg)
{
	const struct shirq_wait *wait = arg;

	if (wait->source || wait->flags)
		return -EINVAL;
	return shirq_wait_ring(d, wait->tail, wait->timeout_ns);
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
	if (exec->flags & ~SHIRQ_EXEC_KEPT || exec->reserved)
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
	} else if (exec->flags && !d->set) {
		exec->error_index = 0;
		ret = -ENOEXEC;
	} else {
		exec->error_index = 0;
		memcpy(regs, exec->regs, sizeof(regs));
		ret = shirq_exec(d, program, regs, exec->flags);
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
	/*
	 * Hold the lock: pci_set_master() and pci_clear_master() rewrite all of
	 * Command, in which programs change DisINTx.
	 */
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
	/* Taint the kernel, so that bug reports show that the device can reach all memory. */
	if (!ret && master->on && !(shirq_iommu_flags(d) & SHIRQ_INFO_IOMMU))
		add_taint(TAINT_USER, LOCKDEP_STILL_OK);
	return ret;
}

static int shirq_mask_source(struct shirq_device *d, void *arg)
{
	struct shirq_mask *mask = arg;

	if (mask->flags || mask->reserved)
		return -EINVAL;
	return mask->source ? shirq_mask_message(d, mask->source, &mask->seq)
			    : shirq_mask(d, &mask->seq);
}

static void shirq_swap_eventfd(struct shirq_device *d, struct eventfd_ctx **where,
			       struct eventfd_ctx *eventfd)
{
	spin_lock_irq(&d->lock);
	swap(*where, eventfd);
	spin_unlock_irq(&d->lock);
	if (eventfd)
		eventfd_ctx_put(eventfd);
}

static int shirq_set_eventfd(struct shirq_device *d, void *arg)
{
	const struct shirq_eventfd *request = arg;
	struct eventfd_ctx *eventfd = NULL;
	struct shirq_message *m;
	int ret;

	if (request->flags || request->fd < -1)
		return -EINVAL;
	if (request->fd >= 0) {
		eventfd = eventfd_ctx_fdget(request->fd);
		if (IS_ERR(eventfd))
			return PTR_ERR(eventfd);
	}
	ret = shirq_enter_source(d, request->source, &m);
	if (ret) {
		if (eventfd)
			eventfd_ctx_put(eventfd);
		return ret;
	}
	shirq_swap_eventfd(d, m ? &m->eventfd : &d->eventfd, eventfd);
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

static int shirq_set_message_count(struct shirq_device *d, void *arg)
{
	struct shirq_messages *messages = arg;
	int ret;

	if (!capable(CAP_SYS_RAWIO))
		return -EPERM;
	if (messages->count > SHIRQ_MAX_MESSAGES || messages->flags || messages->reserved)
		return -EINVAL;
	ret = shirq_enter(d);
	if (ret)
		return ret;
	ret = shirq_set_messages(d, &messages->count);
	mutex_unlock(&d->mutex);
	return ret;
}

static int shirq_set_uio(struct shirq_device *d, void *arg)
{
	struct shirq_uio *uio = arg;

	if (!capable(CAP_SYS_RAWIO))
		return -EPERM;
	if (uio->reserved || uio->flags & ~(SHIRQ_UIO_OFF | SHIRQ_UIO_UNMASK_BY_READ))
		return -EINVAL;
	if (uio->flags & SHIRQ_UIO_OFF)
		return uio->flags == SHIRQ_UIO_OFF ? shirq_uio_remove(d) : -EINVAL;
	if (!uio->name[0] || !memchr(uio->name, 0, sizeof(uio->name)) || !uio->version[0] ||
	    !memchr(uio->version, 0, sizeof(uio->version)))
		return -EINVAL;
	return shirq_uio_add(d, uio);
}

/* Sizes of the structs' first versions. They never change: structs grow only at the end. */
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
#define SHIRQ_MESSAGES_V1	16
#define SHIRQ_UIO_V1		144
#define SHIRQ_WAIT_V1		24

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
	struct shirq_messages	messages;
	struct shirq_uio	uio;
	struct shirq_wait	wait;
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
	[_IOC_NR(SHIRQ_SET_MESSAGES)] = {
		SHIRQ_MESSAGES_V1, sizeof(struct shirq_messages), shirq_set_message_count
	},
	[_IOC_NR(SHIRQ_SET_UIO)] = { SHIRQ_UIO_V1, sizeof(struct shirq_uio), shirq_set_uio },
	[_IOC_NR(SHIRQ_WAIT)] = { SHIRQ_WAIT_V1, sizeof(struct shirq_wait), shirq_wait_source },
};

long shirq_ioctl(struct file *file, unsigned int cmd, unsigned long address)
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
	if (!call->run)
		return -ENOTTY;

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

#ifdef SHIRQ_HAS_URING_CMD
/**
 * shirq_uring_cmd() - make a call for io_uring
 * @cmd: the command: the number of the call, and the address of its struct
 * @issue_flags: of io_uring
 *
 * Return: as shirq_ioctl(); or -EAGAIN, upon which io_uring makes the call in a worker.
 */
int shirq_uring_cmd(struct io_uring_cmd *cmd, unsigned int issue_flags)
{
	const u64 *bytes = shirq_uring_bytes(cmd);
	unsigned long address = READ_ONCE(*bytes);
	int ret;

	/* All other calls may wait, for instance for the end of a reset. */
	if (issue_flags & IO_URING_F_NONBLOCK && cmd->cmd_op != SHIRQ_UNMASK)
		return -EAGAIN;
	/* The security modules judge ioctl() by the number of the call; io_uring does not ask. */
	ret = security_file_ioctl(cmd->file, cmd->cmd_op, address);
	return ret ?: shirq_ioctl(cmd->file, cmd->cmd_op, address);
}
#endif
