// SPDX-License-Identifier: GPL-2.0-only
/*
 * QEMU's pci-serial on a shared line: received data is in the device's sysfs
 * attribute "received".
 */
#include <linux/bits.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/spinlock.h>
#include <linux/sysfs.h>

#define UART_RBR	0
#define UART_IER	1
#define UART_IER_RDI	BIT(0)
#define UART_IIR	2
#define UART_IIR_NONE	BIT(0)
#define UART_LSR	5
#define UART_LSR_DR	BIT(0)
#define UART_FIFO	16

static bool forgetful;
module_param(forgetful, bool, 0444);
MODULE_PARM_DESC(forgetful, "a bug to look for: leave the device unmasked on removal");

struct uartline {
	void __iomem *regs;
	/* Guards the fields below. */
	spinlock_t lock;
	unsigned int length;
	char text[256];
};

static irqreturn_t uartline_irq(int irq, void *data)
{
	struct uartline *uart = data;
	unsigned int n;
	u8 byte;

	if (ioread8(uart->regs + UART_IIR) & UART_IIR_NONE)
		return IRQ_NONE;

	spin_lock(&uart->lock);
	for (n = 0; n < UART_FIFO; n++) {
		if (!(ioread8(uart->regs + UART_LSR) & UART_LSR_DR))
			break;
		byte = ioread8(uart->regs + UART_RBR);
		if (uart->length < sizeof(uart->text))
			uart->text[uart->length++] = byte;
	}
	spin_unlock(&uart->lock);
	return IRQ_HANDLED;
}

static ssize_t received_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct uartline *uart = dev_get_drvdata(dev);
	ssize_t length;

	spin_lock_irq(&uart->lock);
	length = sysfs_emit(buf, "%.*s\n", uart->length, uart->text);
	spin_unlock_irq(&uart->lock);
	return length;
}
static DEVICE_ATTR_RO(received);

static struct attribute *uartline_attrs[] = {
	&dev_attr_received.attr,
	NULL
};
ATTRIBUTE_GROUPS(uartline);

static int uartline_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct uartline *uart;
	int err;

	uart = devm_kzalloc(&pdev->dev, sizeof(*uart), GFP_KERNEL);
	if (!uart)
		return -ENOMEM;
	spin_lock_init(&uart->lock);

	err = pcim_enable_device(pdev);
	if (err)
		return err;
	uart->regs = pcim_iomap(pdev, 0, 8);
	if (!uart->regs)
		return -ENODEV;
	pci_set_drvdata(pdev, uart);

	iowrite8(0, uart->regs + UART_IER);
	err = request_irq(pdev->irq, uartline_irq, IRQF_SHARED, pci_name(pdev), uart);
	if (err)
		return err;
	iowrite8(UART_IER_RDI, uart->regs + UART_IER);
	return 0;
}

static void uartline_remove(struct pci_dev *pdev)
{
	struct uartline *uart = pci_get_drvdata(pdev);

	if (!forgetful)
		iowrite8(0, uart->regs + UART_IER);
	free_irq(pdev->irq, uart);
}

static const struct pci_device_id uartline_ids[] = {
	{ PCI_DEVICE(PCI_VENDOR_ID_REDHAT, 0x0002) },
	{ }
};
MODULE_DEVICE_TABLE(pci, uartline_ids);

static struct pci_driver uartline_driver = {
	.name = "uartline",
	.id_table = uartline_ids,
	.probe = uartline_probe,
	.remove = uartline_remove,
	.dev_groups = uartline_groups,
};
module_pci_driver(uartline_driver);

MODULE_DESCRIPTION("QEMU's pci-serial on a shared line");
MODULE_LICENSE("GPL");
