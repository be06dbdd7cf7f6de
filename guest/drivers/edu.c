// SPDX-License-Identifier: MIT
/*
 * Reference driver for the shirq-edu device: acknowledges every interrupt in
 * user space and prints a line for it.
 */
#include "edu-set.h"

#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int device;
static volatile sig_atomic_t stopped;

/*
 * Disarm the device, which ends a read() that blocks now or later. A flag alone is not
 * enough: this handler may run just before read() blocks.
 */
static void stop(int signal)
{
	int saved = errno;

	(void)signal;
	stopped = 1;
	shirq_disarm(device);
	errno = saved;
}

static void usage(FILE *out, const char *self)
{
	fprintf(out,
		"usage: %s [options] ADDRESS\n"
		"ADDRESS is a PCI address such as 0000:00:04.0\n"
		"  --count N     stop after N interrupts (default: go on until SIGTERM)\n"
		"  --exclusive   refuse to share the line\n"
		"  --bind        bind the function to shirq first\n"
		"  --log FILE    write events to FILE instead of standard output\n",
		self);
}

static void load(int fd)
{
	struct shirq_programs programs = EDU_SET;

	if (!shirq_load(fd, &programs))
		return;
	if (errno == EINVAL && programs.refused_reason)
		errx(1, "program %d refused at operation %" PRIu32 ": reason %d of enum shirq_reason",
		     programs.refused_program, programs.refused_index, programs.refused_reason);
	err(1, "loading programs");
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "count", required_argument, NULL, 'c' },
		{ "exclusive", no_argument, NULL, 'e' },
		{ "bind", no_argument, NULL, 'b' },
		{ "log", required_argument, NULL, 'l' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	uint32_t sharing = SHIRQ_ARM_SHARED;
	unsigned long count = 0, seen = 0;
	struct sigaction action = { .sa_handler = stop };
	struct shirq_event event;
	volatile void *bar;
	bool bind = false;
	size_t length;
	int option;
	char *rest;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			errno = 0;
			count = strtoul(optarg, &rest, 0);
			if (errno || rest == optarg || *rest || *optarg == '-' || !count)
				errx(2, "--count %s: write a number from 1 on", optarg);
			break;
		case 'e':
			sharing = SHIRQ_ARM_EXCLUSIVE;
			break;
		case 'b':
			bind = true;
			break;
		case 'l':
			if (!freopen(optarg, "w", stdout))
				err(1, "opening %s", optarg);
			break;
		case 'h':
			usage(stdout, argv[0]);
			return 0;
		default:
			usage(stderr, argv[0]);
			return 2;
		}
	}
	if (optind != argc - 1) {
		usage(stderr, argv[0]);
		return 2;
	}

	setlinebuf(stdout);
	if (bind && shirq_bind(argv[optind]))
		err(1, "binding %s to shirq", argv[optind]);
	device = shirq_open(argv[optind]);
	if (device < 0)
		err(1, "opening /dev/shirq/%s", argv[optind]);
	load(device);
	bar = shirq_map(device, 0, &length);
	if (!bar)
		err(1, "mapping BAR 0");
	if (shirq_arm(device, sharing | SHIRQ_ARM_AUTO_UNMASK))
		err(1, "arming");
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	puts("armed");

	while (!count || seen < count) {
		if (shirq_next(device, &event)) {
			if (stopped)
				break;
			err(1, "waiting for an event");
		}
		if (event.type != SHIRQ_EVENT_IRQ)
			continue;
		shirq_write32(bar, INT_ACK, event.r[0]);
		printf("event seq=%" PRIu64 " status=0x%" PRIx64 " lost=%" PRIu64 "\n",
		       (uint64_t)event.seq, (uint64_t)event.r[0], (uint64_t)event.lost);
		seen++;
	}
	if (!stopped && shirq_disarm(device))
		err(1, "disarming");
	close(device);
	return 0;
}
