// SPDX-License-Identifier: GPL-2.0-only
/*
 * What happens to the whole device, not by its owner's will: system sleep,
 * resets, and errors of its link. The device is quiet before, and stays quiet
 * until it is armed again; the owner reads what happened.
 */
#include <linux/mm.h>
#include <linux/pm.h>

#include "core.h"

/**
 * shirq_sleep() - put the device to D3hot, if it can
 * @d: the device, silent
 */
void shirq_sleep(struct shirq_device *d)
{
	if (d->pdev->pm_cap && shirq_present(d))
		pci_set_power_state(d->pdev, PCI_D3hot);
}

/**
 * shirq_revoke() - make all mappings void: a later access gets SIGBUS
 * @d: the device, @mutex held
 */
void shirq_revoke(struct shirq_device *d)
{
	lockdep_assert_held(&d->mutex);
	d->generation++;
	if (d->mapping)
		unmap_mapping_range(d->mapping, 0, 0, 1);
}

/* What comes is not the owner's doing: it waits, and reads about it afterwards. */
static void shirq_pause(struct shirq_device *d)
{
	mutex_lock(&d->mutex);
	if (!d->dead) {
		shirq_revoke(d);
		spin_lock_irq(&d->lock);
		d->paused = true;
		shirq_clear_master(d);
		spin_unlock_irq(&d->lock);
		shirq_halt(d);
	}
	mutex_unlock(&d->mutex);
}

/* Reset, or power that was lost, may have undone what keeps it silent. */
static void shirq_quiesce_again(struct shirq_device *d)
{
	spin_lock_irq(&d->lock);
	shirq_quiesce(d);
	spin_unlock_irq(&d->lock);
}

static void shirq_continue(struct shirq_device *d, enum shirq_event_type type)
{
	mutex_lock(&d->mutex);
	if (!d->dead) {
		shirq_quiesce_again(d);
		/* The PCI core has woken it. */
		if (!d->owned || d->storm.rung > SHIRQ_RUNG_RELEASED)
			shirq_sleep(d);
		spin_lock_irq(&d->lock);
		d->paused = false;
		if (d->owned)
			shirq_notice(d, type, 0, NULL);
		spin_unlock_irq(&d->lock);
	}
	mutex_unlock(&d->mutex);
}

/* System sleep. The PCI core saves the config space afterwards, silent as it is. */

static int shirq_suspend(struct device *dev)
{
	shirq_pause(dev_get_drvdata(dev));
	return 0;
}

/* The neighbours' lines open after this: nobody would answer for our device. */
static int shirq_resume_noirq(struct device *dev)
{
	shirq_quiesce_again(dev_get_drvdata(dev));
	return 0;
}

static int shirq_resume(struct device *dev)
{
	shirq_continue(dev_get_drvdata(dev), SHIRQ_EVENT_RESUMED);
	return 0;
}

const struct dev_pm_ops shirq_pm_ops = {
	SYSTEM_SLEEP_PM_OPS(shirq_suspend, shirq_resume)
	NOIRQ_SYSTEM_SLEEP_PM_OPS(NULL, shirq_resume_noirq)
};

/* Resets by others: /sys/bus/pci/devices/.../reset, or of the bus */

static void shirq_reset_prepare(struct pci_dev *pdev)
{
	shirq_pause(pci_get_drvdata(pdev));
}

static void shirq_reset_done(struct pci_dev *pdev)
{
	shirq_continue(pci_get_drvdata(pdev), SHIRQ_EVENT_RESET);
}

/*
 * Errors of the link, from AER or the platform. Behind a frozen link nothing is
 * touched (see shirq_present()) until the reset is over; where it works, the
 * device is quiesced. An access may have failed unseen by anybody, so in either
 * case the owner begins anew.
 */

static void shirq_given_up(struct shirq_device *d)
{
	mutex_lock(&d->mutex);
	shirq_set_gone(d);
	if (!d->dead) {
		shirq_revoke(d);
		shirq_halt(d);
	}
	spin_lock_irq(&d->lock);
	d->paused = false;
	spin_unlock_irq(&d->lock);
	mutex_unlock(&d->mutex);
}

static pci_ers_result_t shirq_error_detected(struct pci_dev *pdev, pci_channel_state_t state)
{
	struct shirq_device *d = pci_get_drvdata(pdev);

	if (state == pci_channel_io_perm_failure) {
		shirq_given_up(d);
		return PCI_ERS_RESULT_DISCONNECT;
	}
	shirq_pause(d);
	return PCI_ERS_RESULT_NEED_RESET;
}

/* AER in 6.1 resets nothing after an error that is not fatal: then this restores what is there. */
static pci_ers_result_t shirq_slot_reset(struct pci_dev *pdev)
{
	pci_set_power_state(pdev, PCI_D0);
	if (shirq_restore(pci_get_drvdata(pdev)))
		return PCI_ERS_RESULT_DISCONNECT;
	return PCI_ERS_RESULT_RECOVERED;
}

static void shirq_error_over(struct pci_dev *pdev)
{
	shirq_continue(pci_get_drvdata(pdev), SHIRQ_EVENT_RESET);
}

const struct pci_error_handlers shirq_error_handlers = {
	.error_detected = shirq_error_detected,
	.slot_reset = shirq_slot_reset,
	.resume = shirq_error_over,
	.reset_prepare = shirq_reset_prepare,
	.reset_done = shirq_reset_done,
};
