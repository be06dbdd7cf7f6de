// SPDX-License-Identifier: GPL-2.0-only
/*
 * On load, sets the IRQ of one PCI function to IRQ_NOTCONNECTED, as the kernel
 * does if the firmware reports that the function's pin is not connected. The bench
 * needs this module because its machines have no such pin. The function must have
 * no driver.
 */
#include <linux/interrupt.h>
#include <linux/module.h>
#include <linux/pci.h>

static char *address;
module_param(address, charp, 0444);
MODULE_PARM_DESC(address, "PCI address of the function, such as 0000:00:04.0");

static int __init noline_init(void)
{
	unsigned int domain, bus, slot, function;
	struct pci_dev *pdev;
	int ret = 0;

	if (!address || sscanf(address, "%x:%x:%x.%u", &domain, &bus, &slot, &function) != 4)
		return -EINVAL;
	pdev = pci_get_domain_bus_and_slot(domain, bus, PCI_DEVFN(slot, function));
	if (!pdev)
		return -ENODEV;
	device_lock(&pdev->dev);
	if (pdev->dev.driver) {
		ret = -EBUSY;
	} else {
		pdev->irq = IRQ_NOTCONNECTED;
		/* Keep pci_enable_device() from looking up the line again. */
		pdev->irq_managed = 1;
	}
	device_unlock(&pdev->dev);
	pci_dev_put(pdev);
	return ret;
}
module_init(noline_init);

static void __exit noline_exit(void)
{
}
module_exit(noline_exit);

MODULE_DESCRIPTION("A PCI function whose interrupt pin leads nowhere, for tests of its driver");
MODULE_LICENSE("GPL");
