// SPDX-License-Identifier: MIT
/*
 * Example of a driver that takes events from a ring, for the shirq-edu device.
 *
 * Usage: edu-ring ADDRESS MODE COUNT
 *
 *	spin	looks for each event for a millisecond, then sleeps
 *	sleep	sleeps until each event
 *	epoll	waits in epoll_wait(), beside other descriptors
 *	poll	leaves the device masked while it has work, as NAPI of Linux does: after an
 *		event it polls the device's status, and unmasks only when there is nothing left
 *
 * Prints a line for each event that it took: its number and the sources that it handled, and at
 * the end the number of system calls that it made to wait.
 */
#include "edu-set.h"

#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

/* Polls in a row that find no work, before the device is unmasked. */
#define IDLE_POLLS	1000

static struct shirq_events events;
static volatile void *bar;
static unsigned long sleeps;

/* Acknowledge the sources that are pending; returns them. */
static uint32_t handle(void)
{
	uint32_t sources = shirq_read32(bar, INT_STATUS);

	if (sources)
		shirq_write32(bar, INT_ACK, sources);
	return sources;
}

/* Handle what comes while the device is masked, until there is no more. */
static uint32_t handle_all(void)
{
	uint32_t handled = 0;

	for (int idle = 0; idle < IDLE_POLLS; idle++) {
		uint32_t sources = handle();

		if (!sources)
			continue;
		handled |= sources;
		idle = 0;
	}
	return handled;
}

/* Return whether an event has come; false if none can come any more. */
static int wait_for_event(const char *mode, int epoll)
{
	struct epoll_event ready;

	if (events.ring->head != events.tail)
		return 1;
	sleeps++;
	if (epoll >= 0)
		return epoll_wait(epoll, &ready, 1, -1) == 1 && ready.events & EPOLLIN;
	return !shirq_wait(&events, strcmp(mode, "sleep") ? 1000000 : 0, UINT64_MAX);
}

static int open_epoll(int fd)
{
	struct epoll_event interest = { .events = EPOLLIN };
	int epoll = epoll_create1(EPOLL_CLOEXEC);

	if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &interest))
		err(1, "epoll");
	return epoll;
}

static void serve(const char *mode, unsigned long count, int epoll)
{
	struct shirq_event event;

	for (unsigned long seen = 0; seen < count && wait_for_event(mode, epoll); ) {
		while (seen < count && shirq_ring_next(&events, &event)) {
			uint32_t handled;

			if (event.type != SHIRQ_EVENT_IRQ)
				continue;
			handled = strcmp(mode, "poll") ? handle() : handle_all();
			printf("%" PRIu64 " %#" PRIx32 "\n", (uint64_t)event.seq, handled);
			fflush(stdout);
			seen++;
			if (shirq_ring_unmask(&events, event.seq))
				err(1, "unmasking");
		}
	}
}

int main(int argc, char **argv)
{
	struct shirq_programs programs = EDU_SET;
	int fd, epoll = -1;
	size_t length;

	if (argc != 4)
		errx(2, "usage: edu-ring ADDRESS spin|sleep|epoll|poll COUNT");
	fd = shirq_open(argv[1]);
	if (fd < 0)
		err(1, "%s", argv[1]);
	bar = shirq_map(fd, 0, &length);
	if (!bar || shirq_load(fd, &programs) || shirq_arm(fd, SHIRQ_ARM_SHARED | SHIRQ_ARM_RING) ||
	    shirq_ring_map(fd, &events))
		err(1, "arming %s with a ring", argv[1]);
	if (!strcmp(argv[2], "epoll"))
		epoll = open_epoll(fd);
	puts("armed");
	fflush(stdout);
	serve(argv[2], strtoul(argv[3], NULL, 0), epoll);
	printf("waits: %lu\n", sleeps);
	return 0;
}
