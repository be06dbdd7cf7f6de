// SPDX-License-Identifier: GPL-2.0-only
/*
 * On load, reports a permanent failure of one PCI function to its driver, by
 * error_detected(), as EEH and s390 do. The bench needs this module because
 * its x86 kernels report no permanent failure. With error=1 the module reports a
 * recoverable error instead, and makes no later callback, as AER does if another
 * driver on the bus does not support recovery.
 */
#include <linux/module.h>
#include <linux/pci.h>

static char *address;
module_param(address, charp, 0444);
MODULE_PARM_DESC(address, "PCI address of the function, such as 0000:00:04.0");

static bool error;
module_param(error, bool, 0444);
MODULE_PARM_DESC(error, "report an error of the link, and no recovery from it");

static int give_up(struct pci_dev *pdev)
{
	pci_channel_state_t state = error ? pci_channel_io_normal : pci_channel_io_perm_failure;
	pci_ers_result_t answer = error ? PCI_ERS_RESULT_NEED_RESET : PCI_ERS_RESULT_DISCONNECT;
	const struct pci_error_handlers *handlers;

	if (!pdev->dev.driver)
		return -ENXIO;
	handlers = to_pci_driver(pdev->dev.driver)->err_handler;
	if (!handlers || !handlers->error_detected)
		return -EOPNOTSUPP;
	if (handlers->error_detected(pdev, state) != answer)
		return -EIO;
	return 0;
}

static int __init giveup_init(void)
{
	unsigned int domain, bus, slot, function;
	struct pci_dev *pdev;
	int ret;

	if (!address || sscanf(address, "%x:%x:%x.%u", &domain, &bus, &slot, &function) != 4)
		return -EINVAL;
	pdev = pci_get_domain_bus_and_slot(domain, bus, PCI_DEVFN(slot, function));
	if (!pdev)
		return -ENODEV;
	device_lock(&pdev->dev);
	ret = give_up(pdev);
	device_unlock(&pdev->dev);
	pci_dev_put(pdev);
	return ret;
}
module_init(giveup_init);

static void __exit giveup_exit(void)
{
}
module_exit(giveup_exit);

MODULE_DESCRIPTION("A PCI function that is lost for good, for tests of its driver");
MODULE_LICENSE("GPL");
