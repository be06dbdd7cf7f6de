// SPDX-License-Identifier: GPL-2.0
/*
 * The file: open and close, events, mappings, calls.
 */
#include <linux/capability.h>
#include <linux/compat.h>
#include <linux/errno.h>
#include <linux/interrupt.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/security.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/version.h>

#include "core.h"

#define SHIRQ_PGOFF_SHIFT	(SHIRQ_MMAP_SHIFT - PAGE_SHIFT)

/* Open and close */

static int shirq_own(struct shirq_device *d, struct file *file)
{
	int ret;

	if (d->dead)
		return -ENODEV;
	if (d->owned)
		return -EBUSY;
	d->queue = kcalloc(SHIRQ_QUEUE, sizeof(*d->queue), GFP_KERNEL);
	if (!d->queue)
		return -ENOMEM;
	ret = shirq_unpark(d);
	if (ret) {
		kfree(d->queue);
		return ret;
	}
	d->mapping = file->f_mapping;
	d->owned = true;

	spin_lock_irq(&d->lock);
	d->gone = false;
	d->seq = 0;
	spin_unlock_irq(&d->lock);
	return 0;
}

static int shirq_open(struct inode *inode, struct file *file)
{
	struct shirq_device *d = container_of(inode->i_cdev, struct shirq_device, cdev);
	int ret;

	ret = security_locked_down(LOCKDOWN_PCI_ACCESS);
	if (ret)
		return ret;
	mutex_lock(&d->mutex);
	ret = shirq_own(d, file);
	mutex_unlock(&d->mutex);
	if (ret)
		return ret;
	file->private_data = d;
	return stream_open(inode, file);
}

/* The last reference went: no reader, mapping or call is left. */
static int shirq_release(struct inode *inode, struct file *file)
{
	struct shirq_device *d = file->private_data;

	mutex_lock(&d->mutex);
	if (!d->dead)
		shirq_park(d);
	kfree(d->set);
	d->set = NULL;
	kfree(d->queue);
	d->queue = NULL;
	d->mapping = NULL;
	d->owned = false;
	mutex_unlock(&d->mutex);
	return 0;
}

/* Events */

/* Return: 1 and the oldest event, 0 if there is none, or the errno of read(). */
static int shirq_peek(struct shirq_device *d, u32 epoch, u32 *tail, struct shirq_event *event)
{
	int ret;

	spin_lock_irq(&d->lock);
	ret = shirq_check(d);
	if (!ret && epoch != d->epoch)
		ret = -ENXIO;
	if (!ret && d->head != d->tail) {
		*tail = d->tail;
		*event = d->queue[d->tail % SHIRQ_QUEUE];
		ret = 1;
	}
	spin_unlock_irq(&d->lock);
	return ret;
}

static void shirq_consume(struct shirq_device *d, u32 tail, u64 seq)
{
	spin_lock_irq(&d->lock);
	/* Disarmed meanwhile: dropped already. */
	if (d->tail == tail) {
		d->tail++;
		d->delivered = seq;
	}
	spin_unlock_irq(&d->lock);
}

/* Return: bytes copied, 0 if nothing is queued, or the errno of read(). */
static ssize_t shirq_take(struct shirq_device *d, u32 epoch, char __user *buf, size_t count)
{
	struct shirq_event event;
	ssize_t copied = 0;
	int ret = 0;
	u32 tail;

	if (mutex_lock_interruptible(&d->read_mutex))
		return -ERESTARTSYS;
	while (copied + sizeof(event) <= count) {
		ret = shirq_peek(d, epoch, &tail, &event);
		if (ret <= 0)
			break;
		if (copy_to_user(buf + copied, &event, sizeof(event))) {
			ret = -EFAULT;
			break;
		}
		shirq_consume(d, tail, event.seq);
		copied += sizeof(event);
	}
	mutex_unlock(&d->read_mutex);
	return copied ?: ret;
}

static bool shirq_wakes(struct shirq_device *d, u32 epoch)
{
	bool wakes;

	spin_lock_irq(&d->lock);
	wakes = d->gone || epoch != d->epoch || d->head != d->tail;
	spin_unlock_irq(&d->lock);
	return wakes;
}

static ssize_t shirq_read(struct file *file, char __user *buf, size_t count, loff_t *ppos)
{
	struct shirq_device *d = file->private_data;
	ssize_t ret;
	u32 epoch;

	if (count < sizeof(struct shirq_event))
		return -EINVAL;
	ret = shirq_unmask_delivered(d, &epoch);
	if (ret)
		return ret;
	for (;;) {
		ret = shirq_take(d, epoch, buf, count);
		if (ret)
			return ret;
		if (file->f_flags & O_NONBLOCK)
			return -EAGAIN;
		if (wait_event_interruptible(d->wait, shirq_wakes(d, epoch)))
			return -ERESTARTSYS;
	}
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

/* Mappings */

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

	mutex_lock(&d->mutex);
	if (!d->dead && !READ_ONCE(d->gone))
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
	int ret = -EINVAL;

	if (bar >= SHIRQ_BARS || !(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	mutex_lock(&d->mutex);
	if (d->dead || READ_ONCE(d->gone))
		ret = -ENODEV;
	else if (shirq_can_map(d, bar) &&
		 page + vma_pages(vma) <= d->bus.space[bar].size >> PAGE_SHIFT)
		ret = 0;
	mutex_unlock(&d->mutex);
	if (ret)
		return ret;

	vma->vm_page_prot = pgprot_noncached(vma->vm_page_prot);
	shirq_vm_flags_set(vma, VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_ops = &shirq_vm_ops;
	return 0;
}

/* Calls */

/* Take the mutex, unless the device is gone. */
static int shirq_enter(struct shirq_device *d)
{
	mutex_lock(&d->mutex);
	if (!READ_ONCE(d->gone))
		return 0;
	mutex_unlock(&d->mutex);
	return -ENODEV;
}

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
		.features = SHIRQ_FEATURE_INTX,
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

static int shirq_verify_set(const struct shirq_device *d, const struct shirq_set *set,
			    struct shirq_load *load)
{
	u32 kind;

	for (kind = SHIRQ_PROGRAM_IRQ; kind <= SHIRQ_PROGRAM_RELEASE; kind++) {
		const struct shirq_program *program = &set->program[kind];

		if (kind == SHIRQ_PROGRAM_UNMASK && !program->count &&
		    set->mode == SHIRQ_MODE_ACKNOWLEDGES)
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
	if (load->source || load->flags ||
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
	if (ret)
		kfree(set);
	else
		shirq_load(d, set);
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
	if (d->armed)
		shirq_silence(d);
	else
		ret = -ENXIO;
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
	int ret;

	if (!capable(CAP_SYS_RAWIO))
		return -EPERM;
	if (master->on > 1)
		return -EINVAL;
	ret = shirq_enter(d);
	if (ret)
		return ret;
	/* It rewrites all of Command: keep the irq program's DisINTx out of it. */
	spin_lock_irq(&d->lock);
	if (master->on)
		pci_set_master(d->pdev);
	else
		pci_clear_master(d->pdev);
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

union shirq_arg {
	u32			size;
	struct shirq_info	info;
	struct shirq_load	load;
	struct shirq_arm	arm;
	struct shirq_disarm	disarm;
	struct shirq_unmask	unmask;
	struct shirq_exec	exec;
	struct shirq_master	master;
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
};

static long shirq_ioctl(struct file *file, unsigned int cmd, unsigned long address)
{
	void __user *user = (void __user *)address;
	const struct shirq_call *call;
	union shirq_arg arg = {};
	u32 size;
	int ret;

	if (_IOC_NR(cmd) >= ARRAY_SIZE(shirq_calls) || cmd != _IO(SHIRQ_IOCTL, _IOC_NR(cmd)))
		return -ENOTTY;
	call = &shirq_calls[_IOC_NR(cmd)];

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
	.poll = shirq_poll,
	.mmap = shirq_mmap,
	.unlocked_ioctl = shirq_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};
