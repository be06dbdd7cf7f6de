// SPDX-License-Identifier: MIT
/*
 * The peer for guest/modules/naive: read() waits for the pending sources,
 * write() acknowledges and unmasks.
 */
#include "peer.h"

#include <err.h>
#include <fcntl.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	unsigned long seen = 0;
	struct peer peer;
	uint32_t status;
	int device;

	peer_parse(&peer, argc, argv);
	device = open("/dev/naive", O_RDWR | O_CLOEXEC);
	if (device < 0)
		err(1, "opening /dev/naive");
	peer_control(peer_map(&peer), NULL);
	peer_armed();

	while (!peer.count || seen < peer.count) {
		if (read(device, &status, sizeof(status)) != sizeof(status))
			err(1, "waiting for an interrupt");
		if (write(device, &status, sizeof(status)) != sizeof(status))
			err(1, "acknowledging");
		peer_event(&peer, status);
		seen++;
	}
	return 0;
}
