// SPDX-License-Identifier: GPL-2.0-only
/*
 * Events of the whole device that its owner did not request: system sleep, resets, and
 * errors of its link. The device is silenced first, and stays silent until it is armed
 * again; the owner reads an event with the reason.
 */
#include "compat.h"
#include "lifecycle.h"
#include "power.h"

/* System sleep. The PCI core saves the config space afterwards, in the silent state. */

static int shirq_suspend(struct device *dev)
{
	shirq_pause(dev_get_drvdata(dev), false);
	return 0;
}

/*
 * Silence the device before the kernel enables the line for the neighbours, which it
 * does after this callback. No handler would answer our device then.
 */
static int shirq_resume_noirq(struct device *dev)
{
	shirq_calm_early(dev_get_drvdata(dev));
	return 0;
}

static int shirq_resume(struct device *dev)
{
	struct pci_dev *pdev = to_pci_dev(dev);

	pci_cfg_access_lock(pdev);
	shirq_continue(pci_get_drvdata(pdev), SHIRQ_EVENT_RESUMED);
	pci_cfg_access_unlock(pdev);
	return 0;
}

const struct dev_pm_ops shirq_pm_ops = {
	SYSTEM_SLEEP_PM_OPS(shirq_suspend, shirq_resume)
	NOIRQ_SYSTEM_SLEEP_PM_OPS(NULL, shirq_resume_noirq)
};

/* Resets by others: /sys/bus/pci/devices/.../reset, or of the bus */

static void shirq_reset_prepare(struct pci_dev *pdev)
{
	shirq_pause(pci_get_drvdata(pdev), false);
}

static void shirq_reset_done(struct pci_dev *pdev)
{
	shirq_continue(pci_get_drvdata(pdev), SHIRQ_EVENT_RESET);
}

/*
 * Errors of the link, from AER or the platform. Behind a frozen link the device is not
 * accessed (see shirq_present()) until the reset is over; behind a link that works, the
 * device is quiesced. In either case an access may have failed unnoticed, so the owner
 * must initialise the device again.
 */

static pci_ers_result_t shirq_error_detected(struct pci_dev *pdev, pci_channel_state_t state)
{
	struct shirq_device *d = pci_get_drvdata(pdev);

	if (state == pci_channel_io_perm_failure) {
		shirq_give_up(d);
		return PCI_ERS_RESULT_DISCONNECT;
	}
	shirq_pause(d, true);
	return PCI_ERS_RESULT_NEED_RESET;
}

/*
 * Do nothing yet: the device is checked and restored once all drivers have recovered,
 * see shirq_recovered().
 */
static pci_ers_result_t shirq_slot_reset(struct pci_dev *pdev)
{
	return PCI_ERS_RESULT_RECOVERED;
}

static void shirq_error_over(struct pci_dev *pdev)
{
	shirq_recovered(pci_get_drvdata(pdev));
}

const struct pci_error_handlers shirq_error_handlers = {
	.error_detected = shirq_error_detected,
	.slot_reset = shirq_slot_reset,
	.resume = shirq_error_over,
	.reset_prepare = shirq_reset_prepare,
	.reset_done = shirq_reset_done,
};
