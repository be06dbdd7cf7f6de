// SPDX-License-Identifier: MIT
/*
 * shirq-mark ADDRESS [COUNT]: writes CLOCK_MONOTONIC, in ns, into the MARK
 * register of an unbound shirq-edu device, COUNT times.  Each write pairs the
 * guest's clock with the event log's.  Several writes are needed because each
 * may be delayed between the reading of the clock and the entry in the log.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define MARK 0x70

static int enable(const char *address)
{
	char path[128];
	int fd, ok;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/enable", address);
	fd = open(path, O_WRONLY);
	ok = fd >= 0 && write(fd, "1", 1) == 1;
	if (fd >= 0)
		close(fd);
	return ok;
}

int main(int argc, char **argv)
{
	volatile uint64_t *mark;
	char path[128];
	void *bar;
	int fd, count;

	count = argc == 3 ? atoi(argv[2]) : 1;
	if (argc < 2 || argc > 3 || count < 1) {
		fprintf(stderr, "usage: shirq-mark ADDRESS [COUNT]\n");
		return 2;
	}
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource0", argv[1]);
	if (!enable(argv[1]) || (fd = open(path, O_RDWR | O_SYNC)) < 0) {
		perror(argv[1]);
		return 1;
	}
	bar = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (bar == MAP_FAILED) {
		perror(path);
		return 1;
	}
	mark = (volatile uint64_t *)((char *)bar + MARK);
	while (count--) {
		struct timespec now;

		clock_gettime(CLOCK_MONOTONIC, &now);
		*mark = now.tv_sec * UINT64_C(1000000000) + now.tv_nsec;
	}
	return 0;
}
