// SPDX-License-Identifier: GPL-2.0-only
/*
 * The function as hardware: config space, BARs, power state, resets. This file does not
 * depend on the device's owner, or on whether it is armed.
 */
#include <linux/io.h>
#include <linux/irq.h>
#include <linux/slab.h>

#include "compat.h"
#include "hw.h"

/* The device as programs see it */

static u64 shirq_config_read(struct pci_dev *pdev, u64 offset, unsigned int width)
{
	u32 dword;
	u16 word;
	u8 byte;

	switch (width) {
	case 1:
		pci_read_config_byte(pdev, offset, &byte);
		return byte;
	case 2:
		pci_read_config_word(pdev, offset, &word);
		return word;
	default:
		pci_read_config_dword(pdev, offset, &dword);
		return dword;
	}
}

static u64 shirq_bus_read(const struct shirq_bus *bus, unsigned int space, u64 offset,
			  unsigned int width)
{
	const struct shirq_device *d = container_of_const(bus, struct shirq_device, bus);

	if (space == SHIRQ_SPACE_CONFIG)
		return shirq_config_read(d->pdev, offset, width);

	switch (width) {
	case 1:
		return ioread8(d->bar[space] + offset);
	case 2:
		return ioread16(d->bar[space] + offset);
	case 4:
		return ioread32(d->bar[space] + offset);
#ifdef CONFIG_64BIT
	case 8:
		return readq(d->bar[space] + offset);
#endif
	}
	return ~0ull;
}

static void shirq_bus_write(const struct shirq_bus *bus, unsigned int space, u64 offset,
			    unsigned int width, u64 value)
{
	const struct shirq_device *d = container_of_const(bus, struct shirq_device, bus);

	/* The verifier allows only writes of one byte to config space. */
	if (space == SHIRQ_SPACE_CONFIG) {
		pci_write_config_byte(d->pdev, offset, value);
		return;
	}

	switch (width) {
	case 1:
		iowrite8(value, d->bar[space] + offset);
		break;
	case 2:
		iowrite16(value, d->bar[space] + offset);
		break;
	case 4:
		iowrite32(value, d->bar[space] + offset);
		break;
#ifdef CONFIG_64BIT
	case 8:
		writeq(value, d->bar[space] + offset);
		break;
#endif
	}
}

/* Return how many messages the function can have: of MSI-X, or of MSI if it has no MSI-X. */
static unsigned int shirq_count_messages(struct pci_dev *pdev)
{
	int count = pci_msix_vec_count(pdev);

	if (count <= 0)
		count = pci_msi_vec_count(pdev);
	return clamp(count, 0, SHIRQ_MAX_MESSAGES);
}

/**
 * shirq_describe() - describe the device's spaces to programs
 * @d: the device, enabled
 */
void shirq_describe(struct shirq_device *d)
{
	struct shirq_space *space = d->bus.space;
	unsigned int i;

	d->bus.read = shirq_bus_read;
	d->bus.write = shirq_bus_write;
	for (i = 0; i < SHIRQ_BARS; i++) {
		unsigned long flags = pci_resource_flags(d->pdev, i);

		if (!pci_resource_len(d->pdev, i) || flags & IORESOURCE_UNSET ||
		    !(flags & (IORESOURCE_MEM | IORESOURCE_IO)))
			continue;
		space[i].size = pci_resource_len(d->pdev, i);
		space[i].kind = IS_ENABLED(CONFIG_64BIT) && flags & IORESOURCE_MEM_64 ?
				SHIRQ_SPACE_WIDE : SHIRQ_SPACE_PLAIN;
	}
	d->most_messages = shirq_count_messages(d->pdev);
	space[SHIRQ_SPACE_CONFIG].size = d->pdev->cfg_size;
	space[SHIRQ_SPACE_CONFIG].kind = SHIRQ_SPACE_PCI_CONFIG;
}

/**
 * shirq_unmap_bars() - undo shirq_map_bars()
 * @d: the device, @mutex held, without a set
 */
void shirq_unmap_bars(struct shirq_device *d)
{
	unsigned int i;

	for (i = 0; i < SHIRQ_BARS; i++) {
		if (d->bar[i])
			pci_iounmap(d->pdev, d->bar[i]);
		d->bar[i] = NULL;
		d->bus.memory[i] = NULL;
	}
}

/**
 * shirq_map_bars() - map all BARs for programs
 * @d: the device, @mutex held
 *
 * Return: 0, or -ENOMEM with none mapped.
 */
int shirq_map_bars(struct shirq_device *d)
{
	unsigned int i;

	for (i = 0; i < SHIRQ_BARS; i++) {
		if (d->bus.space[i].kind == SHIRQ_SPACE_NONE)
			continue;
		d->bar[i] = pci_iomap(d->pdev, i, 0);
		if (!d->bar[i]) {
			shirq_unmap_bars(d);
			return -ENOMEM;
		}
		if (pci_resource_flags(d->pdev, i) & IORESOURCE_MEM)
			d->bus.memory[i] = d->bar[i];
	}
	return 0;
}

/**
 * shirq_can_map() - check whether user space may map a BAR
 * @d: the device
 * @bar: number of the BAR, below SHIRQ_BARS
 */
bool shirq_can_map(const struct shirq_device *d, unsigned int bar)
{
	/*
	 * Map only whole pages of this BAR: the rest of a page may belong to another
	 * device.
	 */
	return d->bus.space[bar].kind != SHIRQ_SPACE_NONE &&
	       pci_resource_flags(d->pdev, bar) & IORESOURCE_MEM &&
	       PAGE_ALIGNED(pci_resource_start(d->pdev, bar)) &&
	       d->bus.space[bar].size >= PAGE_SIZE;
}

/* Presence, and permission to assert */

/*
 * Return whether config space answers. If an error froze the link, return false without
 * reading config space.
 */
bool shirq_present(const struct shirq_device *d)
{
	return !pci_channel_offline(d->pdev) && pci_device_is_present(d->pdev);
}

/* Return whether the registers answer. */
bool shirq_answers(const struct shirq_device *d)
{
	return d->pdev->current_state == PCI_D0 && shirq_present(d);
}

/**
 * shirq_asserts() - check whether the device asserts its line
 * @d: the device
 *
 * Asks Interrupt Status, which PCI 2.3 has added.
 *
 * Return: true if the device says so, and may assert; false also for a device without
 * the bit, or without an answer.
 */
bool shirq_asserts(const struct shirq_device *d)
{
	u32 word;

	if (!shirq_answers(d))
		return false;
	/* Command, and Status above it */
	pci_read_config_dword(d->pdev, PCI_COMMAND, &word);
	return !(word & PCI_COMMAND_INTX_DISABLE) && word >> 16 & PCI_STATUS_INTERRUPT;
}

/* Return whether the device has an interrupt line. */
bool shirq_has_line(const struct shirq_device *d)
{
	unsigned int line = shirq_line(d);

	return d->pdev->pin && line && line != IRQ_NOTCONNECTED && irq_get_irq_data(line);
}

/**
 * shirq_set_disintx() - set or clear the interrupt-disable bit
 * @d: the device
 * @on: true: keep the device from asserting
 *
 * Write only the high byte of Command, as programs do, because the low byte has other
 * writers. Has no effect if the device lacks the bit.
 */
void shirq_set_disintx(struct shirq_device *d, bool on)
{
	u8 high;

	lockdep_assert_held(&d->lock);
	pci_read_config_byte(d->pdev, SHIRQ_CONFIG_DISINTX_OFFSET, &high);
	if (on)
		high |= SHIRQ_CONFIG_DISINTX_BIT;
	else
		high &= ~SHIRQ_CONFIG_DISINTX_BIT;
	pci_write_config_byte(d->pdev, SHIRQ_CONFIG_DISINTX_OFFSET, high);
}

/**
 * shirq_disintx_again() - set DisINTx again if somebody else has cleared it
 * @d: the device, @lock held
 *
 * Return: true if DisINTx was clear, and is set now.
 */
bool shirq_disintx_again(struct shirq_device *d)
{
	u16 command;

	if (!shirq_answers(d) || !pci_intx_mask_supported(d->pdev))
		return false;
	pci_read_config_word(d->pdev, PCI_COMMAND, &command);
	if (command & PCI_COMMAND_INTX_DISABLE)
		return false;
	shirq_set_disintx(d, true);
	pci_read_config_word(d->pdev, PCI_COMMAND, &command);
	return command & PCI_COMMAND_INTX_DISABLE;
}

/*
 * Clear bus mastering. Skipped if the device is inaccessible: the recovery restores a
 * copy of Command in which bus mastering is off.
 */
void shirq_clear_master(struct shirq_device *d)
{
	lockdep_assert_held(&d->lock);
	if (shirq_present(d))
		pci_clear_master(d->pdev);
}

/**
 * shirq_clear_messages() - disable the messages of a device that answers again, if they were
 * freed while it did not
 * @d: the device, @lock held
 *
 * A device whose messages are enabled does not assert its pin.
 */
void shirq_clear_messages(struct shirq_device *d)
{
	struct pci_dev *pdev = d->pdev;
	u16 control;

	lockdep_assert_held(&d->lock);
	if (!d->messages_left || !shirq_answers(d))
		return;
	d->messages_left = false;
	if (pdev->msix_cap) {
		pci_read_config_word(pdev, pdev->msix_cap + PCI_MSIX_FLAGS, &control);
		control &= ~PCI_MSIX_FLAGS_ENABLE;
		pci_write_config_word(pdev, pdev->msix_cap + PCI_MSIX_FLAGS, control);
	}
	if (pdev->msi_cap) {
		pci_read_config_word(pdev, pdev->msi_cap + PCI_MSI_FLAGS, &control);
		control &= ~PCI_MSI_FLAGS_ENABLE;
		pci_write_config_word(pdev, pdev->msi_cap + PCI_MSI_FLAGS, control);
	}
}

/* Power and resets */

/**
 * shirq_wakes_unchanged() - check whether the device keeps its state in D3hot
 * @d: the device, with power management
 *
 * If it does not, waking the device resets it.
 */
bool shirq_wakes_unchanged(const struct shirq_device *d)
{
	u16 control;

	pci_read_config_word(d->pdev, d->pdev->pm_cap + PCI_PM_CTRL, &control);
	return control & PCI_PM_CTRL_NO_SOFT_RESET;
}

/**
 * shirq_save() - save the config space of a device without an owner, in the silent
 * state
 * @d: the device
 *
 * Settings that the PCI core or the administrator made since the device was parked must
 * survive waking, which may reset the device. If the device was reset meanwhile (the
 * enable bits of Command are clear), keep the previous copy.
 *
 * Return: 0, or -ENOMEM.
 */
int shirq_save(struct shirq_device *d)
{
	struct pci_saved_state *state;
	u16 command;

	spin_lock_irq(&d->lock);
	pci_clear_master(d->pdev);
	shirq_set_disintx(d, true);
	pci_read_config_word(d->pdev, PCI_COMMAND, &command);
	spin_unlock_irq(&d->lock);
	if (d->pristine && !(command & (PCI_COMMAND_IO | PCI_COMMAND_MEMORY)))
		return 0;

	pci_save_state(d->pdev);
	state = pci_store_saved_state(d->pdev);
	if (!state)
		return -ENOMEM;
	kfree(d->pristine);
	d->pristine = state;
	return 0;
}

/**
 * shirq_restore() - restore the config space of a device that was reset, leaving it
 * silent
 * @d: the device, in D0
 *
 * pci_restore_state() writes Command without the lock, which cannot be held here. So
 * DisINTx is set again afterwards, under the lock: a concurrent writer of Command may
 * have read the register before the restore, and written the old value back.
 *
 * Return: 0, or -ENOMEM.
 */
int shirq_restore(struct shirq_device *d)
{
	int ret = pci_load_saved_state(d->pdev, d->pristine);

	if (ret)
		return ret;
	pci_restore_state(d->pdev);
	spin_lock_irq(&d->lock);
	shirq_set_disintx(d, true);
	spin_unlock_irq(&d->lock);
	return 0;
}

/*
 * A bus reset is allowed only if the device is alone on its bus. Like any reset behind
 * a bridge, it needs the bridge's config access lock. Only try that lock: its holder is
 * resetting the bus or the bridge, and may be waiting for the config access lock of our
 * device, which nests inside the bridge's.
 */
static int shirq_reset_bus(struct pci_dev *pdev)
{
	struct pci_bus *bus = pdev->bus;

	if (!bus->self || pdev->subordinate || !list_is_singular(&bus->devices) ||
	    pdev->dev_flags & PCI_DEV_FLAGS_NO_BUS_RESET)
		return -ENOTTY;
	if (!pci_cfg_access_trylock(bus->self))
		return -EBUSY;
	/* No check: the call fails if the link comes back late, although the device was reset. */
	pci_bridge_secondary_bus_reset(bus->self);
	pci_cfg_access_unlock(bus->self);
	return 0;
}

/**
 * shirq_reset() - reset the device; afterwards it is in D0, with DisINTx set
 * @d: the device, locked by shirq_lock_resets()
 * @rung: SHIRQ_QUIESCE_FLR or SHIRQ_QUIESCE_BUS
 *
 * Return: 0, -ENOTTY if the device does not support this reset, or another errno.
 */
int shirq_reset(struct shirq_device *d, u32 rung)
{
	struct pci_dev *pdev = d->pdev;
	int ret;

	lockdep_assert_held(&d->mutex);
	pci_set_power_state(pdev, PCI_D0);
	if (rung == SHIRQ_QUIESCE_BUS)
		ret = shirq_reset_bus(pdev);
	else
		ret = pcie_reset_flr(pdev, false);
	/* Restore even if the reset failed: waking from D3hot may have reset the device. */
	shirq_restore(d);
	return ret;
}
