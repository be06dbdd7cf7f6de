// SPDX-License-Identifier: GPL-2.0-only
/*
 * shirq: user-space drivers for PCI functions on shared interrupt lines.
 *
 * Lock order, outermost first:
 *
 *	device_lock of the PCI function	(driver core: probe, remove, shutdown, resets)
 *	shirq_uio_lock			(adding and removing a UIO face)
 *	info_lock of the UIO device	(UIO core: open, close, write, mmap, removal)
 *	config access lock of the function	(PCI core: resets; shirq_lock_resets())
 *	mmap_lock			(page faults)
 *	shirq_device.mutex		(never touch user memory under it: faults take it)
 *	i_mmap_rwsem			(revoking mappings)
 *	shirq_device.lock		(interrupt; programs run under it)
 *	wait queue and eventfd locks	(wakeups)
 *
 * The config access lock and mmap_lock are never held together by a task; but mmap() of a
 * UIO face takes the info_lock, and the shirq_device.mutex in it, under mmap_lock, so
 * nothing that holds the config access lock or the mutex waits for these two, or touches user
 * memory. The config access
 * lock of the bridge comes before the device_lock, so a caller that may hold the
 * device_lock only tries to take the bridge's lock (shirq_reset_bus()).
 *
 * The interrupt takes only the last two, so free_irq() may wait for the interrupt under
 * the mutex. The same holds for cancel_work_sync() on @reopen, @look and @revival, which
 * take no mutex, and for the timer @watch. @ladder and @absent take the mutex, so
 * shirq_adopt() and shirq_retire() wait for them after they have dropped it. The end of an
 * address space (dma.c) takes shirq_device.lock alone.
 *
 * A bound device without an owner is parked; see lifecycle.c.
 */
#include <linux/errno.h>
#include <linux/idr.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "compat.h"
#include "file.h"
#include "hw.h"
#include "ladder.h"
#include "lifecycle.h"
#include "line.h"
#include "power.h"
#include "stats.h"
#include "uio.h"
#include "watch.h"

#define SHIRQ_MINORS	256
/* Maximum of log messages per minute that a device's owner can cause. */
#define SHIRQ_MESSAGES		10
#define SHIRQ_MESSAGES_TIME	(60 * HZ)

static dev_t shirq_devt;

static DEFINE_IDA(shirq_minors);

/* The class: /dev/shirq/<PCI address> */

static char *shirq_devnode(SHIRQ_NAMED struct device *dev, umode_t *mode)
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
	pci_dev_put(d->pdev);
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

	/* Hold a reference: an open file may outlive the function. */
	d->pdev = pci_dev_get(pdev);
	mutex_init(&d->mutex);
	spin_lock_init(&d->lock);
	init_waitqueue_head(&d->wait);
	ratelimit_state_init(&d->messages, SHIRQ_MESSAGES_TIME, SHIRQ_MESSAGES);
	shirq_line_init(d);
	shirq_watch_init(d);
	shirq_ladder_init(d);
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
		pci_err(pdev, "has no interrupt pin, so shirq cannot drive it: use vfio-pci\n");
		return -EINVAL;
	}

	d = shirq_alloc(pdev);
	if (IS_ERR(d))
		return PTR_ERR(d);

	ret = shirq_adopt(d);
	if (ret)
		goto err_put;
	/* Exclusive, because mappings by sysfs or /dev/mem could not be revoked. */
	ret = pci_request_regions_exclusive(pdev, "shirq");
	if (ret)
		goto err_disable;

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
	shirq_uio_remove(d);
	pci_release_regions(pdev);
	pci_disable_device(pdev);
	put_device(&d->dev);
}

static void shirq_shutdown(struct pci_dev *pdev)
{
	shirq_retire(pci_get_drvdata(pdev));
}

/* No ID table: only driver_override may match, and it needs no table. */
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
