// SPDX-License-Identifier: MIT
/*
 * The peer for vfio-pci: an eventfd signals each interrupt, and a call unmasks
 * it.
 */
#include "peer.h"

#include <err.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/vfio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

static int open_device(const struct peer *peer)
{
	struct vfio_group_status status = { .argsz = sizeof(status) };
	char group_name[NAME_MAX], path[PATH_MAX];
	int container, group, device;

	container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
	if (container < 0)
		err(1, "opening /dev/vfio/vfio");
	peer_link(peer, "iommu_group", group_name, sizeof(group_name));
	snprintf(path, sizeof(path), "/dev/vfio/%s", group_name);
	group = open(path, O_RDWR | O_CLOEXEC);
	if (group < 0)
		err(1, "opening %s", path);
	if (ioctl(group, VFIO_GROUP_GET_STATUS, &status))
		err(1, "reading the status of the IOMMU group");
	if (!(status.flags & VFIO_GROUP_FLAGS_VIABLE))
		errx(1, "IOMMU group %s has functions with other drivers", group_name);
	if (ioctl(group, VFIO_GROUP_SET_CONTAINER, &container))
		err(1, "adding the IOMMU group to a container");
	if (ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
		err(1, "choosing the IOMMU's type");
	device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, peer->address);
	if (device < 0)
		err(1, "opening %s", peer->address);
	return device;
}

static volatile void *map(int device)
{
	struct vfio_region_info region = {
		.argsz = sizeof(region),
		.index = VFIO_PCI_BAR0_REGION_INDEX,
	};
	void *memory;

	if (ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &region))
		err(1, "reading the region of BAR 0");
	memory = mmap(NULL, region.size, PROT_READ | PROT_WRITE, MAP_SHARED, device, region.offset);
	if (memory == MAP_FAILED)
		err(1, "mapping BAR 0");
	return memory;
}

static void set_trigger(int device, int trigger)
{
	char buffer[sizeof(struct vfio_irq_set) + sizeof(trigger)]
		__attribute__((aligned(__alignof__(struct vfio_irq_set))));
	struct vfio_irq_set *set = (struct vfio_irq_set *)buffer;

	*set = (struct vfio_irq_set) {
		.argsz = sizeof(buffer),
		.flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
		.index = VFIO_PCI_INTX_IRQ_INDEX,
		.count = 1,
	};
	memcpy(set->data, &trigger, sizeof(trigger));
	if (ioctl(device, VFIO_DEVICE_SET_IRQS, set))
		err(1, "enabling the interrupt");
}

static void remove_trigger(int device)
{
	struct vfio_irq_set set = {
		.argsz = sizeof(set),
		.flags = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER,
		.index = VFIO_PCI_INTX_IRQ_INDEX,
	};

	if (ioctl(device, VFIO_DEVICE_SET_IRQS, &set))
		err(1, "disabling the interrupt");
}

static struct vfio_irq_set set_mask = {
	.argsz = sizeof(set_mask),
	.flags = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_MASK,
	.index = VFIO_PCI_INTX_IRQ_INDEX,
	.count = 1,
};
static struct vfio_irq_set unmask = {
	.argsz = sizeof(unmask),
	.flags = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_UNMASK,
	.index = VFIO_PCI_INTX_IRQ_INDEX,
	.count = 1,
};
static int device;

static void mask(bool masked)
{
	if (ioctl(device, VFIO_DEVICE_SET_IRQS, masked ? &set_mask : &unmask))
		err(1, "masking");
}

int main(int argc, char **argv)
{
	unsigned long seen = 0;
	volatile void *regs;
	struct peer peer;
	int trigger;
	uint64_t fired;
	uint32_t status;

	peer_parse(&peer, argc, argv);
	device = open_device(&peer);
	regs = map(device);
	trigger = eventfd(0, EFD_CLOEXEC);
	if (trigger < 0)
		err(1, "creating an eventfd");
	set_trigger(device, trigger);
	peer_write(regs, INT_MASK_CLEAR, ALL);
	peer_control(&peer, regs, &(struct peer_verbs) { .mask = mask });
	peer_armed(&peer);

	while (!peer.count || seen < peer.count) {
		if (read(trigger, &fired, sizeof(fired)) != sizeof(fired))
			err(1, "waiting for an interrupt");
		peer_awake(&peer, regs);
		status = peer_status(&peer, regs);
		peer_acknowledge(&peer, regs, status);
		peer_event(&peer, status);
		seen++;
		if (ioctl(device, VFIO_DEVICE_SET_IRQS, &unmask))
			err(1, "unmasking");
		if (peer.swap) {
			remove_trigger(device);
			set_trigger(device, trigger);
			peer_swapped();
		}
	}
	return 0;
}
