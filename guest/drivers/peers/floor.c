// SPDX-License-Identifier: MIT
/*
 * The peer for guest/modules/floor: read() unmasks and waits.
 */
#include "peer.h"

#include <err.h>
#include <fcntl.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	unsigned long seen = 0;
	volatile void *regs;
	struct peer peer;
	uint32_t status;
	int device;

	peer_parse(&peer, argc, argv);
	device = open("/dev/floor", O_RDWR | O_CLOEXEC);
	if (device < 0)
		err(1, "opening /dev/floor");
	regs = peer_map(&peer);
	peer_armed(&peer);

	while (!peer.count || seen < peer.count) {
		if (read(device, &status, sizeof(status)) != sizeof(status))
			err(1, "waiting for an interrupt");
		peer_awake(&peer, regs);
		peer_write(regs, INT_ACK, status);
		peer_event(&peer, status);
		seen++;
	}
	return 0;
}
