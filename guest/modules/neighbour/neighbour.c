// SPDX-License-Identifier: GPL-2.0-only
/*
 * A well-behaved neighbour on the line: it acknowledges the interrupts of a shirq-edu
 * device in the kernel. A parameter sets its request_irq() flags, because some failures
 * on a shared line are caused by two drivers with different flags.
 *
 * If pid= names a process, each interrupt of the device kills this process. The
 * device's schedule thus determines the instruction at which the process dies.
 */
#include <linux/interrupt.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/sched/signal.h>
#include <linux/spinlock.h>

/* qemu-device/SPEC.md */
#define INT_ACTIVE	0x2c
#define INT_ACK		0x64
#define INT_MASK_SET	0x68
#define INT_MASK_CLEAR	0x6c

static bool oneshot;
module_param(oneshot, bool, 0444);
MODULE_PARM_DESC(oneshot, "handle in a thread, with IRQF_ONESHOT");
static bool greedy;
module_param(greedy, bool, 0444);
MODULE_PARM_DESC(greedy, "say of each interrupt of the line that it is handled");

static struct pid *victim;
/* guards @victim */
static DEFINE_SPINLOCK(lock);

static void neighbour_aim(struct pid *pid)
{
	spin_lock_irq(&lock);
	swap(victim, pid);
	spin_unlock_irq(&lock);
	put_pid(pid);
}

static int neighbour_set_pid(const char *value, const struct kernel_param *param)
{
	struct pid *pid;
	int number, ret;

	ret = kstrtoint(value, 0, &number);
	if (ret)
		return ret;
	pid = find_get_pid(number);
	if (!pid)
		return -ESRCH;
	neighbour_aim(pid);
	return 0;
}

static const struct kernel_param_ops neighbour_pid_ops = { .set = neighbour_set_pid };
module_param_cb(pid, &neighbour_pid_ops, NULL, 0200);
MODULE_PARM_DESC(pid, "the process that each interrupt kills");

static void neighbour_kill(void)
{
	unsigned long flags;

	spin_lock_irqsave(&lock, flags);
	if (victim)
		kill_pid(victim, SIGKILL, 1);
	spin_unlock_irqrestore(&lock, flags);
}

static void __iomem *regs_of(struct pci_dev *pdev)
{
	return pcim_iomap_table(pdev)[0];
}

static irqreturn_t neighbour_interrupt(int irq, void *data)
{
	void __iomem *regs = regs_of(data);
	u32 active = ioread32(regs + INT_ACTIVE);

	if (!active)
		return greedy ? IRQ_HANDLED : IRQ_NONE;
	iowrite32(active, regs + INT_ACK);
	/* Flush the posted acknowledgment before the interrupt ends. */
	ioread32(regs + INT_ACTIVE);
	neighbour_kill();
	return IRQ_HANDLED;
}

static int neighbour_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	int ret;

	ret = pcim_enable_device(pdev);
	if (ret)
		return ret;
	ret = pcim_iomap_regions(pdev, BIT(0), KBUILD_MODNAME);
	if (ret)
		return ret;
	if (oneshot)
		ret = request_threaded_irq(pdev->irq, NULL, neighbour_interrupt,
					   IRQF_SHARED | IRQF_ONESHOT, KBUILD_MODNAME, pdev);
	else
		ret = request_irq(pdev->irq, neighbour_interrupt, IRQF_SHARED, KBUILD_MODNAME,
				  pdev);
	if (!ret)
		iowrite32(~0, regs_of(pdev) + INT_MASK_CLEAR);
	return ret;
}

static void neighbour_remove(struct pci_dev *pdev)
{
	iowrite32(~0, regs_of(pdev) + INT_MASK_SET);
	free_irq(pdev->irq, pdev);
	neighbour_aim(NULL);
}

static struct pci_driver neighbour_driver = {
	.name = KBUILD_MODNAME,
	.probe = neighbour_probe,
	.remove = neighbour_remove,
};
module_pci_driver(neighbour_driver);

MODULE_DESCRIPTION("In-kernel sharer of a line, for the zoo");
MODULE_LICENSE("GPL");
