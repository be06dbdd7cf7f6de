// SPDX-License-Identifier: MIT
/*
 * The peer for uio_pci_generic: read() waits for an interrupt, at which the kernel
 * sets the interrupt-disable bit in Command; the peer clears this bit itself.
 */
#include "peer.h"

#include <dirent.h>
#include <err.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

/* The high byte of Command, and its interrupt-disable bit. */
#define COMMAND_HIGH	5
#define DISABLE		0x04

static int open_uio(const char *address)
{
	char path[PATH_MAX];
	struct dirent *entry;
	int fd = -1;
	DIR *dir;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/uio", address);
	dir = opendir(path);
	if (!dir)
		err(1, "opening %s", path);
	while (fd < 0 && (entry = readdir(dir))) {
		if (strncmp(entry->d_name, "uio", 3))
			continue;
		snprintf(path, sizeof(path), "/dev/%s", entry->d_name);
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			err(1, "opening %s", path);
	}
	closedir(dir);
	if (fd < 0)
		errx(1, "%s has no UIO device", address);
	return fd;
}

static int config;

static void mask(bool masked)
{
	uint8_t command;

	if (pread(config, &command, 1, COMMAND_HIGH) != 1)
		err(1, "reading Command");
	command = masked ? command | DISABLE : command & ~DISABLE;
	if (pwrite(config, &command, 1, COMMAND_HIGH) != 1)
		err(1, "writing Command");
}

int main(int argc, char **argv)
{
	unsigned long seen = 0;
	uint32_t total, status;
	volatile void *regs;
	char path[PATH_MAX];
	struct peer peer;
	uint8_t command;
	int uio;

	peer_parse(&peer, argc, argv);
	uio = open_uio(peer.address);
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/config", peer.address);
	config = open(path, O_RDWR | O_CLOEXEC);
	if (config < 0)
		err(1, "opening %s", path);
	regs = peer_map(&peer);
	if (pread(config, &command, 1, COMMAND_HIGH) != 1)
		err(1, "reading Command");
	command &= ~DISABLE;
	peer_write(regs, INT_MASK_CLEAR, ALL);
	peer_control(&peer, regs, &(struct peer_verbs) { .mask = mask });
	peer_armed(&peer);

	while (!peer.count || seen < peer.count) {
		if (pwrite(config, &command, 1, COMMAND_HIGH) != 1)
			err(1, "clearing the interrupt-disable bit");
		if (read(uio, &total, sizeof(total)) != sizeof(total))
			err(1, "waiting for an interrupt");
		peer_awake(&peer, regs);
		status = peer_status(&peer, regs);
		peer_acknowledge(&peer, regs, status);
		peer_event(&peer, status);
		seen++;
	}
	return 0;
}
