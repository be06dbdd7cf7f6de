// SPDX-License-Identifier: GPL-2.0-only
/*
 * Minimal drivers for shirq-edu. Their cost of an interrupt is the lower bound to which
 * the benchmark compares other drivers.
 *
 * With wake=1 the handler masks the device and wakes readers of /dev/floor, and
 * the next read() unmasks it. With wake=0 the interrupt is handled in the
 * kernel. The module drives one device at a time.
 */
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/uaccess.h>
#include <linux/wait.h>

/* qemu-device/SPEC.md */
#define INT_MASK	0x28
#define INT_ACTIVE	0x2c
#define INT_ACK		0x64
#define INT_MASK_SET	0x68
#define INT_MASK_CLEAR	0x6c

static bool wake;
module_param(wake, bool, 0444);
MODULE_PARM_DESC(wake, "wake a reader instead of handling the interrupt in the kernel");

static void __iomem *regs;
static DECLARE_WAIT_QUEUE_HEAD(wait);
/* The sources active at the last interrupt; 0 once a reader has taken them. */
static u32 pending;

static irqreturn_t floor_wake(int irq, void *data)
{
	u32 active = readl(regs + INT_ACTIVE);

	if (!active)
		return IRQ_NONE;
	writel(~0, regs + INT_MASK_SET);
	/* Flush the posted write that masks before the interrupt ends. */
	readl(regs + INT_MASK);
	WRITE_ONCE(pending, active);
	wake_up_interruptible(&wait);
	return IRQ_HANDLED;
}

static irqreturn_t floor_handle(int irq, void *data)
{
	u32 active = readl(regs + INT_ACTIVE);

	if (!active)
		return IRQ_NONE;
	writel(active, regs + INT_ACK);
	/* Flush the posted acknowledgment before the interrupt ends. */
	readl(regs + INT_ACTIVE);
	return IRQ_HANDLED;
}

static ssize_t floor_read(struct file *file, char __user *buf, size_t count, loff_t *position)
{
	u32 active;

	if (count != sizeof(active))
		return -EINVAL;
	writel(~0, regs + INT_MASK_CLEAR);
	if (wait_event_interruptible(wait, READ_ONCE(pending)))
		return -ERESTARTSYS;
	active = pending;
	WRITE_ONCE(pending, 0);
	return put_user(active, (u32 __user *)buf) ?: count;
}

static const struct file_operations floor_fops = {
	.owner = THIS_MODULE,
	.read = floor_read,
};

static struct miscdevice floor_node = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "floor",
	.fops = &floor_fops,
};

static int floor_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	int ret;

	if (regs)
		return -EBUSY;
	ret = pcim_enable_device(pdev);
	if (ret)
		return ret;
	regs = pcim_iomap(pdev, 0, 0);
	if (!regs)
		return -ENOMEM;
	ret = request_irq(pdev->irq, wake ? floor_wake : floor_handle, IRQF_SHARED, KBUILD_MODNAME,
			  pdev);
	if (ret)
		goto unmap;
	ret = wake ? misc_register(&floor_node) : 0;
	if (ret)
		goto free;
	if (!wake)
		writel(~0, regs + INT_MASK_CLEAR);
	return 0;
free:
	free_irq(pdev->irq, pdev);
unmap:
	regs = NULL;
	return ret;
}

static void floor_remove(struct pci_dev *pdev)
{
	if (wake)
		misc_deregister(&floor_node);
	writel(~0, regs + INT_MASK_SET);
	free_irq(pdev->irq, pdev);
	regs = NULL;
}

static struct pci_driver floor_driver = {
	.name = KBUILD_MODNAME,
	.probe = floor_probe,
	.remove = floor_remove,
};
module_pci_driver(floor_driver);

MODULE_DESCRIPTION("Lower bound of the cost of an interrupt, for the benchmark");
MODULE_LICENSE("GPL");
