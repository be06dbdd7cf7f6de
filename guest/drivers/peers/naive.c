// SPDX-License-Identifier: MIT
/*
 * The peer for guest/modules/naive: read() waits for the pending sources,
 * write() acknowledges and unmasks.
 */
#include "peer.h"
#include "../../modules/naive/naive.h"

#include <err.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

static int device;

static void mask(bool masked)
{
	int value = masked;

	if (ioctl(device, NAIVE_SET_MASKED, &value))
		err(1, "masking");
}

static void set_eventfd(int channel)
{
	if (ioctl(device, NAIVE_SET_EVENTFD, &channel))
		err(1, "setting the eventfd");
}

int main(int argc, char **argv)
{
	unsigned long seen = 0;
	volatile void *regs;
	struct peer peer;
	uint32_t status;
	int channel;

	peer_parse(&peer, argc, argv);
	device = open("/dev/naive", O_RDWR | O_CLOEXEC);
	if (device < 0)
		err(1, "opening /dev/naive");
	regs = peer_map(&peer);
	channel = peer.swap ? eventfd(0, EFD_CLOEXEC) : -1;
	if (peer.swap)
		set_eventfd(channel);
	peer_control(&peer, regs, &(struct peer_verbs) { .mask = mask });
	peer_armed(&peer);

	while (!peer.count || seen < peer.count) {
		if (read(device, &status, sizeof(status)) != sizeof(status))
			err(1, "waiting for an interrupt");
		if (peer.before)
			peer_write(regs, peer.before, ALL);
		if (write(device, &status, sizeof(status)) != sizeof(status))
			err(1, "acknowledging");
		peer_event(&peer, status);
		seen++;
		if (peer.swap) {
			set_eventfd(seen % 2 ? -1 : channel);
			peer_swapped();
		}
	}
	return 0;
}
