// SPDX-License-Identifier: GPL-2.0-only
/*
 * shirq: user-space drivers for PCI functions on shared interrupt lines.
 *
 * Lock order, outermost first:
 *
 *	device_lock of the PCI function	(driver core: probe, remove, shutdown, resets)
 *	config access lock of the function	(PCI core: resets; shirq_lock_resets())
 *	mmap_lock			(page faults)
 *	shirq_device.mutex		(never touch user memory under it: faults take it)
 *	i_mmap_rwsem			(revoking mappings)
 *	cpu_hotplug_lock		(looking whether the line is quiet)
 *	shirq_device.lock		(interrupt; programs run under it)
 *	wait queue and eventfd locks	(wakeups)
 *
 * The config access lock and mmap_lock are never held together. The config access
 * lock of the bridge comes before the device_lock, so where that may be held it is
 * only tried (shirq_reset_bus()).
 *
 * The interrupt takes none but the last two, so free_irq() may wait for it under
 * the mutex. So may cancel_work_sync() for @reopen, which takes no mutex;
 * @ladder and @absent take it, and are only waited for at the end, without it. The
 * end of an address space (dma.c) takes shirq_device.lock alone.
 *
 * A bound device without an owner is parked; see lifecycle.c.
 */
#include <linux/errno.h>
#include <linux/idr.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/version.h>

#include "core.h"

#define SHIRQ_MINORS	256
/* What a device's owner can have logged in a minute. */
#define SHIRQ_MESSAGES		10
#define SHIRQ_MESSAGES_TIME	(60 * HZ)

static dev_t shirq_devt;
static DEFINE_IDA(shirq_minors);

/* What programs see of the device */

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

	/* The verifier lets one byte through. */
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

static void shirq_describe(struct shirq_device *d)
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

/* The class: /dev/shirq/<PCI address> */

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 2, 0)
static char *shirq_devnode(const struct device *dev, umode_t *mode)
#else
static char *shirq_devnode(struct device *dev, umode_t *mode)
#endif
{
	return kasprintf(GFP_KERNEL, "shirq/%s", dev_name(dev));
}

static struct class shirq_class = {
	.name = "shirq",
	.devnode = shirq_devnode,
	.dev_groups = shirq_groups,
};

static void shirq_free(struct device *dev)
{
	struct shirq_device *d = container_of(dev, struct shirq_device, dev);

	ida_free(&shirq_minors, MINOR(dev->devt));
	kfree(d->pristine);
	kfree(d);
}

/* Binding, by driver_override */

static struct shirq_device *shirq_alloc(struct pci_dev *pdev)
{
	struct shirq_device *d;
	int minor, ret;

	d = kzalloc(sizeof(*d), GFP_KERNEL);
	if (!d)
		return ERR_PTR(-ENOMEM);
	minor = ida_alloc_max(&shirq_minors, SHIRQ_MINORS - 1, GFP_KERNEL);
	if (minor < 0) {
		kfree(d);
		return ERR_PTR(minor);
	}

	d->pdev = pdev;
	mutex_init(&d->mutex);
	spin_lock_init(&d->lock);
	init_waitqueue_head(&d->wait);
	ratelimit_state_init(&d->messages, SHIRQ_MESSAGES_TIME, SHIRQ_MESSAGES);
	shirq_storm_init(d);
	shirq_lifecycle_init(d);
	snprintf(d->irq_name, sizeof(d->irq_name), "shirq:%s", pci_name(pdev));

	device_initialize(&d->dev);
	d->dev.class = &shirq_class;
	d->dev.parent = &pdev->dev;
	d->dev.release = shirq_free;
	d->dev.devt = MKDEV(MAJOR(shirq_devt), minor);
	cdev_init(&d->cdev, &shirq_fops);
	d->cdev.owner = THIS_MODULE;
	ret = dev_set_name(&d->dev, "%s", pci_name(pdev));
	if (ret) {
		put_device(&d->dev);
		return ERR_PTR(ret);
	}
	return d;
}

static int shirq_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct shirq_device *d;
	int ret;

	if (pdev->hdr_type != PCI_HEADER_TYPE_NORMAL)
		return -EINVAL;
	if (!pdev->pin) {
		pci_err(pdev, "has no interrupt pin: vfio-pci drives functions without one\n");
		return -EINVAL;
	}

	d = shirq_alloc(pdev);
	if (IS_ERR(d))
		return PTR_ERR(d);

	ret = pci_enable_device(pdev);
	if (ret)
		goto err_put;
	/* Exclusive: mappings of memory BARs by sysfs or /dev/mem could not be revoked. */
	ret = pci_request_regions_exclusive(pdev, "shirq");
	if (ret)
		goto err_disable;

	shirq_describe(d);
	ret = shirq_save(d);
	if (ret)
		goto err_release;
	shirq_sleep(d);

	pci_set_drvdata(pdev, d);
	ret = cdev_device_add(&d->cdev, &d->dev);
	if (ret)
		goto err_release;
	return 0;

err_release:
	pci_release_regions(pdev);
err_disable:
	pci_disable_device(pdev);
err_put:
	put_device(&d->dev);
	return ret;
}

static void shirq_remove(struct pci_dev *pdev)
{
	struct shirq_device *d = pci_get_drvdata(pdev);

	cdev_device_del(&d->cdev, &d->dev);
	shirq_retire(d);
	pci_release_regions(pdev);
	pci_disable_device(pdev);
	put_device(&d->dev);
}

static void shirq_shutdown(struct pci_dev *pdev)
{
	shirq_retire(pci_get_drvdata(pdev));
}

/* No table: driver_override matches without one, and nothing else shall. */
static struct pci_driver shirq_driver = {
	.name = "shirq",
	.probe = shirq_probe,
	.remove = shirq_remove,
	.shutdown = shirq_shutdown,
	.err_handler = &shirq_error_handlers,
	.driver.pm = pm_sleep_ptr(&shirq_pm_ops),
};

static int __init shirq_init(void)
{
	int ret;

	ret = alloc_chrdev_region(&shirq_devt, 0, SHIRQ_MINORS, "shirq");
	if (ret)
		return ret;
	ret = class_register(&shirq_class);
	if (ret)
		goto err_region;
	ret = pci_register_driver(&shirq_driver);
	if (ret)
		goto err_class;
	return 0;

err_class:
	class_unregister(&shirq_class);
err_region:
	unregister_chrdev_region(shirq_devt, SHIRQ_MINORS);
	return ret;
}
module_init(shirq_init);

static void __exit shirq_exit(void)
{
	pci_unregister_driver(&shirq_driver);
	class_unregister(&shirq_class);
	unregister_chrdev_region(shirq_devt, SHIRQ_MINORS);
	ida_destroy(&shirq_minors);
}
module_exit(shirq_exit);

MODULE_DESCRIPTION("User-space drivers for PCI functions on shared interrupt lines");
MODULE_LICENSE("GPL");
