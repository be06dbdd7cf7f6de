// SPDX-License-Identifier: GPL-2.0-only
/*
 * The naive driver, which can have one bug at a time that real drivers have had.
 *
 * Without a bug the driver passes the interrupts of a shirq-edu device to user space as
 * a careful driver does: it claims by the device's status, masks the device, and
 * unmasks it when user space has acknowledged. The parameter bug= makes the driver
 * deviate from this in one point, as a driver with a known bug did. bug_names has the
 * names.
 *
 * /dev/naive: read() waits and returns the pending sources, write() of a u32
 * acknowledges these and unmasks.
 */
#include <linux/delay.h>
#include <linux/eventfd.h>
#include <linux/fs.h>
#include <linux/interrupt.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/version.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "naive.h"

/* qemu-device/SPEC.md; INT_ENABLE and INT_LATCH exist only if a case describes them */
#define INT_ENABLE	0x20
#define INT_STATUS	0x24
#define INT_ACTIVE	0x2c
#define INT_ACK		0x64
#define INT_MASK_SET	0x68
#define INT_MASK_CLEAR	0x6c
#define INT_LATCH	0x78
#define SOURCES		0xff
#define ALL		(~0U)

enum naive_bug {
	NO_BUG,
	BUG_ABANDON,
	BUG_CLAIM_ALWAYS,
	BUG_MASK_LINE,
	BUG_MASK_LINE_ALWAYS,
	BUG_DOUBLE_DISABLE,
	BUG_LAZY,
	BUG_READ_WHILE_MASKED,
	BUG_RMW,
	BUG_LOOP,
	BUG_ONES,
	BUG_EARLY_HANDLER,
	BUG_UNMAP_AT_UNBIND,
	BUG_FREE_BEFORE_IRQ,
	BUG_KEEP_MASKED,
	BUG_NO_FLUSH,
	BUG_LATCH_FIRST,
	BUG_NO_THREAD,
	BUG_EXCLUSIVE,
	BUG_UNLOCKED_DISINTX,
	BUG_STALE_EVENTFD,
	BUG_THREAD_UNMASKED,
	BUG_UNMASK_IF_IDLE,
	BUG_ORPHAN,
	BUG_ASSERTED_BIT,
};

static const char * const bug_names[] = {
	[NO_BUG] = "none",
	/* does not silence the device when the owner has closed it */
	[BUG_ABANDON] = "abandon",
	/* claims every interrupt */
	[BUG_CLAIM_ALWAYS] = "claim-always",
	/* masks the line, not the device, until user space has acknowledged */
	[BUG_MASK_LINE] = "mask-line",
	/* masks the line like mask-line, also for interrupts of other devices */
	[BUG_MASK_LINE_ALWAYS] = "mask-line-always",
	/* disables the line twice, and enables it once, if an interrupt comes during open */
	[BUG_DOUBLE_DISABLE] = "double-disable",
	/* masks only when an unexpected interrupt comes, and does not record that it masked */
	[BUG_LAZY] = "lazy",
	/* reads the status, and discards it, while user space is busy */
	[BUG_READ_WHILE_MASKED] = "read-while-masked",
	/* masks by a read-modify-write of a register that user space writes too */
	[BUG_RMW] = "rmw",
	/* acknowledges in the handler until nothing is pending */
	[BUG_LOOP] = "loop",
	/*
	 * treats all-ones as a status, and does not check whether its mask took effect
	 */
	[BUG_ONES] = "ones",
	/* requests the interrupt before the handler's data is initialised */
	[BUG_EARLY_HANDLER] = "early-handler",
	/* unmaps the registers at unbind though a descriptor is open */
	[BUG_UNMAP_AT_UNBIND] = "unmap-at-unbind",
	/* frees the handler's data before it frees the interrupt */
	[BUG_FREE_BEFORE_IRQ] = "free-before-irq",
	/* assumes that the device is unmasked at open */
	[BUG_KEEP_MASKED] = "keep-masked",
	/* does not flush the posted write that masks */
	[BUG_NO_FLUSH] = "no-flush",
	/* clears the summary latch before it masks the sources */
	[BUG_LATCH_FIRST] = "latch-first",
	/* requests the interrupt with IRQF_NO_THREAD */
	[BUG_NO_THREAD] = "no-thread",
	/* requests the line without IRQF_SHARED */
	[BUG_EXCLUSIVE] = "exclusive",
	/* masks by DisINTx, read, modified and written without a lock */
	[BUG_UNLOCKED_DISINTX] = "unlocked-disintx",
	/* signals an eventfd that may be freed already */
	[BUG_STALE_EVENTFD] = "stale-eventfd",
	/* handles in a thread, and does not mask before the thread has run */
	[BUG_THREAD_UNMASKED] = "thread-unmasked",
	/* clears DisINTx only while nothing is pending */
	[BUG_UNMASK_IF_IDLE] = "unmask-if-idle",
	/* uses MSI, and switches it off at close without silencing the device */
	[BUG_ORPHAN] = "orphan",
	/* claims by Interrupt Status, which is also set while DisINTx holds the pin back */
	[BUG_ASSERTED_BIT] = "asserted-bit",
};

static char *bug_name = "none";
module_param_named(bug, bug_name, charp, 0444);
MODULE_PARM_DESC(bug, "the bug to have; see bug_names in the source");
static bool latch;
module_param(latch, bool, 0444);
MODULE_PARM_DESC(latch, "the device has a summary latch at INT_LATCH: clear it after masking the device");

static enum naive_bug bug;

struct naive {
	struct pci_dev *pdev;
	int irq;
	void __iomem *regs;
	struct miscdevice node;
	/* guards the device's mask and the fields below */
	spinlock_t lock;
	wait_queue_head_t wait;
	u32 pending;
	bool open, masked;
	struct eventfd_ctx *eventfd;
	struct delayed_work signal;
};

static bool masks_line(void)
{
	return bug == BUG_MASK_LINE || bug == BUG_MASK_LINE_ALWAYS || bug == BUG_DOUBLE_DISABLE;
}

static bool requests_at_probe(void)
{
	return bug == BUG_ABANDON || bug == BUG_KEEP_MASKED || bug == BUG_FREE_BEFORE_IRQ ||
		bug == BUG_EARLY_HANDLER;
}

/* Delay before an acknowledgment is signalled. */
#define SIGNAL_MS	50
/* Run time of the thread: longer than the kernel tolerates. */
#define THREAD_S	60

static void naive_disintx(struct naive *n, bool on, bool answering)
{
	u16 command;

	pci_read_config_word(n->pdev, PCI_COMMAND, &command);
	/* Wait here, to hold the race window of the read-modify-write open. */
	if (answering)
		wait_event_interruptible(n->wait, n->masked);
	if (on)
		command |= PCI_COMMAND_INTX_DISABLE;
	else
		command &= ~PCI_COMMAND_INTX_DISABLE;
	pci_write_config_word(n->pdev, PCI_COMMAND, command);
}

static void naive_mask(struct naive *n)
{
	switch (bug) {
	case BUG_MASK_LINE:
	case BUG_MASK_LINE_ALWAYS:
	case BUG_DOUBLE_DISABLE:
		disable_irq_nosync(n->irq);
		return;
	case BUG_LAZY:
	case BUG_ORPHAN:
		return;
	case BUG_RMW:
		iowrite32(ioread32(n->regs + INT_ENABLE) & ~SOURCES, n->regs + INT_ENABLE);
		break;
	case BUG_UNLOCKED_DISINTX:
	case BUG_ASSERTED_BIT:
		naive_disintx(n, true, false);
		return;
	default:
		if (bug == BUG_LATCH_FIRST)
			iowrite32(ALL, n->regs + INT_LATCH);
		iowrite32(ALL, n->regs + INT_MASK_SET);
		if (latch && bug != BUG_LATCH_FIRST)
			iowrite32(ALL, n->regs + INT_LATCH);
	}
	/* The write that masks must reach the device before the interrupt ends. */
	if (bug != BUG_NO_FLUSH)
		ioread32(n->regs + INT_STATUS);
}

/* Let the device assert. */
static void naive_enable(struct naive *n)
{
	switch (bug) {
	case BUG_RMW:
		iowrite32(ioread32(n->regs + INT_ENABLE) | SOURCES, n->regs + INT_ENABLE);
		return;
	case BUG_UNLOCKED_DISINTX:
	case BUG_ASSERTED_BIT:
		naive_disintx(n, false, false);
		break;
	case BUG_UNMASK_IF_IDLE:
		pci_check_and_unmask_intx(n->pdev);
		break;
	default:
		break;
	}
	iowrite32(ALL, n->regs + INT_MASK_CLEAR);
}

static void naive_unmask(struct naive *n)
{
	if (masks_line())
		enable_irq(n->irq);
	else if (bug != BUG_LAZY && bug != BUG_ORPHAN)
		naive_enable(n);
}

static void naive_change(struct naive *n, bool masked)
{
	if (n->masked == masked)
		return;
	n->masked = masked;
	if (masked)
		naive_mask(n);
	else
		naive_unmask(n);
}

static void naive_set_masked(struct naive *n, bool masked)
{
	spin_lock_irq(&n->lock);
	naive_change(n, masked);
	spin_unlock_irq(&n->lock);
	wake_up_interruptible(&n->wait);
}

/* Return the active sources, or 0 if the interrupt is not ours. */
static u32 naive_claim(struct naive *n)
{
	u32 active;

	if (bug == BUG_ASSERTED_BIT) {
		u16 status;

		pci_read_config_word(n->pdev, PCI_STATUS, &status);
		return status & PCI_STATUS_INTERRUPT ? ioread32(n->regs + INT_STATUS) : 0;
	}
	if (n->masked) {
		/* Clear the latch: masked sources do not set it again. */
		if (latch)
			iowrite32(ALL, n->regs + INT_LATCH);
		switch (bug) {
		case BUG_READ_WHILE_MASKED:
			ioread32(n->regs + INT_ACTIVE);
			return 0;
		case BUG_LAZY:
			/*
			 * An interrupt came while none was expected: mask now, but do
			 * not record that.
			 */
			iowrite32(ALL, n->regs + INT_MASK_SET);
			return 0;
		case BUG_ONES:
			break;
		default:
			return 0;
		}
	}
	active = ioread32(n->regs + INT_ACTIVE);
	if (active == ALL && bug != BUG_ONES && bug != BUG_LOOP)
		return 0;
	return active;
}

static irqreturn_t naive_interrupt(int irq, void *data)
{
	struct naive *n = data;
	irqreturn_t ret = bug == BUG_CLAIM_ALWAYS ? IRQ_HANDLED : IRQ_NONE;
	u32 active;

	spin_lock(&n->lock);
	if (bug == BUG_THREAD_UNMASKED) {
		ret = ioread32(n->regs + INT_ACTIVE) ? IRQ_WAKE_THREAD : IRQ_NONE;
		goto out;
	}
	if (!n->open)
		goto out;
	active = naive_claim(n);
	if (!active && !(bug == BUG_MASK_LINE_ALWAYS && !n->masked))
		goto out;
	n->pending |= active;
	if (bug == BUG_LOOP) {
		while ((active = ioread32(n->regs + INT_STATUS)))
			iowrite32(active, n->regs + INT_ACK);
	} else {
		n->masked = true;
		naive_mask(n);
	}
	wake_up_interruptible(&n->wait);
	ret = IRQ_HANDLED;
out:
	spin_unlock(&n->lock);
	return ret;
}

static irqreturn_t naive_thread(int irq, void *data)
{
	struct naive *n = data;

	/* Simulate slow work: the device asserts until it is done. */
	ssleep(THREAD_S);
	spin_lock_irq(&n->lock);
	n->pending |= ioread32(n->regs + INT_ACTIVE);
	n->masked = true;
	iowrite32(ALL, n->regs + INT_MASK_SET);
	wake_up_interruptible(&n->wait);
	spin_unlock_irq(&n->lock);
	return IRQ_HANDLED;
}

static int naive_request(struct naive *n)
{
	unsigned long flags = bug == BUG_EXCLUSIVE ? 0 : IRQF_SHARED;
	int ret;

	if (bug == BUG_NO_THREAD)
		flags |= IRQF_NO_THREAD;
	if (bug == BUG_ORPHAN) {
		pci_set_master(n->pdev);
		ret = pci_alloc_irq_vectors(n->pdev, 1, 1, PCI_IRQ_MSI);
		if (ret < 0)
			return ret;
	}
	n->irq = pci_irq_vector(n->pdev, 0);
	return request_threaded_irq(n->irq, naive_interrupt,
				    bug == BUG_THREAD_UNMASKED ? naive_thread : NULL, flags,
				    KBUILD_MODNAME, n);
}

/* The file */

static struct naive *naive_of(struct file *file)
{
	/* misc_open() has stored the misc device there. */
	return container_of(file->private_data, struct naive, node);
}

static int naive_open(struct inode *inode, struct file *file)
{
	struct naive *n = naive_of(file);
	int ret;

	n->pending = 0;
	n->open = true;
	if (bug == BUG_KEEP_MASKED)
		return 0;
	n->masked = false;
	if (!requests_at_probe()) {
		ret = naive_request(n);
		if (ret) {
			n->open = false;
			return ret;
		}
	}
	if (bug == BUG_DOUBLE_DISABLE) {
		/*
		 * Start with the line disabled. If an interrupt has come, it is
		 * disabled twice now.
		 */
		n->masked = true;
		disable_irq(n->irq);
	}
	/* No message is sent for what is pending already. */
	if (bug == BUG_ORPHAN)
		iowrite32(ALL, n->regs + INT_ACK);
	/*
	 * If the device is masked now, an interrupt has come since the handler was
	 * registered, and user space handles that interrupt first.
	 */
	if (!n->masked || bug == BUG_DOUBLE_DISABLE)
		naive_enable(n);
	return 0;
}

static int naive_release(struct inode *inode, struct file *file)
{
	struct naive *n = naive_of(file);

	n->open = false;
	if (requests_at_probe() || bug == BUG_UNMAP_AT_UNBIND)
		return 0;
	if (masks_line() && n->masked)
		enable_irq(n->irq);
	if (bug != BUG_ORPHAN) {
		iowrite32(ALL, n->regs + INT_MASK_SET);
		iowrite32(ALL, n->regs + INT_ACK);
		ioread32(n->regs + INT_STATUS);
	}
	free_irq(n->irq, n);
	if (bug == BUG_ORPHAN)
		pci_free_irq_vectors(n->pdev);
	return 0;
}

static ssize_t naive_read(struct file *file, char __user *buffer, size_t length, loff_t *offset)
{
	struct naive *n = naive_of(file);
	u32 pending;
	int ret;

	if (length != sizeof(pending))
		return -EINVAL;
	if (bug == BUG_DOUBLE_DISABLE && n->masked && !n->pending) {
		n->masked = false;
		naive_unmask(n);
	}
	ret = wait_event_interruptible(n->wait, n->pending || (masks_line() && n->masked));
	if (ret)
		return ret;
	spin_lock_irq(&n->lock);
	pending = n->pending;
	n->pending = 0;
	spin_unlock_irq(&n->lock);
	return copy_to_user(buffer, &pending, sizeof(pending)) ? -EFAULT : sizeof(pending);
}

static ssize_t naive_write(struct file *file, const char __user *buffer, size_t length,
			   loff_t *offset)
{
	struct naive *n = naive_of(file);
	u32 answered;

	if (length != sizeof(answered) || copy_from_user(&answered, buffer, sizeof(answered)))
		return -EINVAL;
	iowrite32(answered, n->regs + INT_ACK);
	if (bug == BUG_UNLOCKED_DISINTX) {
		n->masked = false;
		naive_disintx(n, false, true);
	} else {
		naive_set_masked(n, false);
	}
	if (n->eventfd)
		schedule_delayed_work(&n->signal, msecs_to_jiffies(SIGNAL_MS));
	return sizeof(answered);
}

static void naive_signal(struct work_struct *work)
{
	struct naive *n = container_of(to_delayed_work(work), struct naive, signal);
	struct eventfd_ctx *eventfd = READ_ONCE(n->eventfd);

	if (!eventfd && bug != BUG_STALE_EVENTFD)
		return;
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 8, 0)
	eventfd_signal(eventfd);
#else
	eventfd_signal(eventfd, 1);
#endif
}

static int naive_set_eventfd(struct naive *n, int fd)
{
	struct eventfd_ctx *eventfd = NULL;

	if (fd >= 0) {
		eventfd = eventfd_ctx_fdget(fd);
		if (IS_ERR(eventfd))
			return PTR_ERR(eventfd);
	}
	eventfd = xchg(&n->eventfd, eventfd);
	if (eventfd)
		eventfd_ctx_put(eventfd);
	return 0;
}

static long naive_ioctl(struct file *file, unsigned int call, unsigned long argument)
{
	struct naive *n = naive_of(file);
	int value;

	if (get_user(value, (int __user *)argument))
		return -EFAULT;
	switch (call) {
	case NAIVE_SET_EVENTFD:
		return naive_set_eventfd(n, value);
	case NAIVE_SET_MASKED:
		naive_set_masked(n, value);
		return 0;
	default:
		return -ENOTTY;
	}
}

static const struct file_operations naive_fops = {
	.owner = THIS_MODULE,
	.open = naive_open,
	.release = naive_release,
	.read = naive_read,
	.write = naive_write,
	.unlocked_ioctl = naive_ioctl,
};

/* The function */

static int naive_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct naive *n;
	int ret;

	n = kzalloc(sizeof(*n), GFP_KERNEL);
	if (!n)
		return -ENOMEM;
	n->pdev = pdev;
	spin_lock_init(&n->lock);
	init_waitqueue_head(&n->wait);
	INIT_DELAYED_WORK(&n->signal, naive_signal);
	n->node.minor = MISC_DYNAMIC_MINOR;
	n->node.name = KBUILD_MODNAME;
	n->node.fops = &naive_fops;
	pci_set_drvdata(pdev, n);
	ret = pci_enable_device(pdev);
	if (ret)
		goto free;
	if (bug == BUG_EARLY_HANDLER) {
		n->open = true;
		ret = naive_request(n);
		if (ret)
			goto disable;
	}
	n->regs = pci_iomap(pdev, 0, 0);
	ret = -ENOMEM;
	if (!n->regs)
		goto disable;
	if (requests_at_probe() && bug != BUG_EARLY_HANDLER) {
		ret = naive_request(n);
		if (ret)
			goto unmap;
		naive_enable(n);
	}
	ret = misc_register(&n->node);
	if (!ret)
		return 0;
unmap:
	pci_iounmap(pdev, n->regs);
disable:
	pci_disable_device(pdev);
free:
	kfree(n);
	return ret;
}

static void naive_remove(struct pci_dev *pdev)
{
	struct naive *n = pci_get_drvdata(pdev);

	misc_deregister(&n->node);
	cancel_delayed_work_sync(&n->signal);
	if (bug == BUG_FREE_BEFORE_IRQ) {
		pci_iounmap(pdev, n->regs);
		free_irq(n->irq, n);
		return;
	}
	if (requests_at_probe() || (bug == BUG_UNMAP_AT_UNBIND && n->open))
		free_irq(n->irq, n);
	pci_iounmap(pdev, n->regs);
	pci_disable_device(pdev);
	/*
	 * Do not free the memory while a descriptor is open: a use after free would
	 * be a second bug.
	 */
	if (!n->open)
		kfree(n);
}

static struct pci_driver naive_driver = {
	.name = KBUILD_MODNAME,
	.probe = naive_probe,
	.remove = naive_remove,
};

static int __init naive_init(void)
{
	int index = match_string(bug_names, ARRAY_SIZE(bug_names), bug_name);

	if (index < 0) {
		pr_err("unknown bug %s: see bug_names in the source\n", bug_name);
		return -EINVAL;
	}
	bug = index;
	return pci_register_driver(&naive_driver);
}
module_init(naive_init);

static void __exit naive_exit(void)
{
	pci_unregister_driver(&naive_driver);
}
module_exit(naive_exit);

MODULE_DESCRIPTION("Driver with one historical interrupt bug at a time, for the zoo");
MODULE_LICENSE("GPL");
