// SPDX-License-Identifier: GPL-2.0-only
/*
 * Access to the registers: the check whether the owner may access them, and the locks
 * that keep the handler, resets and unbinding out during an access.
 */
#include <linux/mm.h>

#include "access.h"

/**
 * shirq_lock_resets() - take the mutex, and the lock that excludes resets by others
 * @d: the device
 *
 * The PCI core holds the config access lock around a reset, and the callbacks of the
 * reset, shirq_pause() and shirq_continue(), take the mutex inside of that lock. So any
 * path that may reset the device, or must not run during a reset by others, takes the
 * config access lock before the mutex.
 */
void shirq_lock_resets(struct shirq_device *d)
{
	pci_cfg_access_lock(d->pdev);
	mutex_lock(&d->mutex);
}

/**
 * shirq_unlock_resets() - undo shirq_lock_resets()
 * @d: the device
 */
void shirq_unlock_resets(struct shirq_device *d)
{
	mutex_unlock(&d->mutex);
	pci_cfg_access_unlock(d->pdev);
}

/**
 * shirq_enter() - take the mutex, unless the device is gone
 * @d: the device
 *
 * Return: 0, or -ENODEV without the mutex.
 */
int shirq_enter(struct shirq_device *d)
{
	mutex_lock(&d->mutex);
	if (!READ_ONCE(d->gone))
		return 0;
	mutex_unlock(&d->mutex);
	return -ENODEV;
}

/**
 * shirq_lock_registers() - take the mutex and the lock
 * @d: the device
 *
 * System calls hold both locks while they access registers, so that the device is not
 * quiesced, reset or unbound during the access.
 */
void shirq_lock_registers(struct shirq_device *d)
	__acquires(&d->lock)
{
	mutex_lock(&d->mutex);
	spin_lock_irq(&d->lock);
}

/**
 * shirq_unlock_registers() - undo shirq_lock_registers()
 * @d: the device
 */
void shirq_unlock_registers(struct shirq_device *d)
	__releases(&d->lock)
{
	spin_unlock_irq(&d->lock);
	mutex_unlock(&d->mutex);
}

/*
 * Return 0 if the owner may access the registers, otherwise an errno. Access is denied
 * in quarantine, because the owner could re-enable the source.
 */
int shirq_check_access(const struct shirq_device *d)
{
	lockdep_assert_held(&d->lock);
	if (d->gone)
		return -ENODEV;
	return d->life & SHIRQ_PAUSED || d->quarantined || pci_channel_offline(d->pdev) ? -EIO : 0;
}

/**
 * shirq_revoke() - invalidate all mappings of registers: a later access gets SIGBUS
 * @d: the device, @mutex held
 */
void shirq_revoke(struct shirq_device *d)
{
	lockdep_assert_held(&d->mutex);
	d->generation++;
	if (d->mapping)
		unmap_mapping_range(d->mapping, 0, SHIRQ_MMAP_OFFSET(SHIRQ_BARS), 1);
}
