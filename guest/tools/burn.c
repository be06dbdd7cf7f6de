// SPDX-License-Identifier: MIT
/*
 * Compute for ever, with idle priority, and write the MARK register of a
 * shirq-edu device after every LOOPS steps. The event log then shows how much
 * processor time the rest of the guest leaves. The device must have a driver.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define MARK	0x70
#define LOOPS	1000

int main(int argc, char **argv)
{
	struct sched_param none = {};
	char path[PATH_MAX];
	volatile char *regs;
	int fd;

	if (argc != 2)
		errx(2, "usage: shirq-burn ADDRESS");
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource0", argv[1]);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		err(1, "opening %s", path);
	regs = mmap(NULL, sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (regs == MAP_FAILED)
		err(1, "mapping %s", path);
	if (sched_setscheduler(0, SCHED_IDLE, &none))
		err(1, "taking idle priority");
	puts("burning");
	fflush(stdout);
	for (;;) {
		for (volatile int step = 0; step < LOOPS; step++)
			;
		*(volatile uint32_t *)(regs + MARK) = 0;
	}
}
