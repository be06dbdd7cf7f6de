// SPDX-License-Identifier: MIT
#include "peer.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

static void usage(FILE *out, const char *self)
{
	fprintf(out,
		"usage: %s [options] ADDRESS\n"
		"ADDRESS is the PCI address of a function that is bound to the interface's driver\n"
		"  --quiet           print nothing for events\n"
		"  --mark            write the device's MARK register at each event\n"
		"  --count N         end after N events (default: go on)\n"
		"  --exclusive       refuse to share the line, if the interface can do that\n"
		"  --patient         read the status again while it is zero\n"
		"  --before OFFSET   write all-ones to this register before acknowledging\n"
		"  --after OFFSET    write all-ones to this register after acknowledging\n"
		"  --swap            remove and restore the eventfd while interrupts come\n"
		"  --control         also take commands from standard input; see peer.h\n"
		"  --programs FILE   load these programs, if the interface uses programs\n"
		"  --ring NS         take events from a ring, if the interface has one, and look for each for NS\n"
		"                    nanoseconds before the driver sleeps\n"
		"  --poll NS         after an event, leave the device masked, and look every NS nanoseconds whether\n"
		"                    there is more to do; unmask when there is not\n"
		"  --fifo PRIORITY   run under SCHED_FIFO once armed\n",
		self);
}

void peer_parse(struct peer *peer, int argc, char **argv)
{
	static const struct option options[] = {
		{ "quiet", no_argument, NULL, 'q' },
		{ "mark", no_argument, NULL, 'm' },
		{ "count", required_argument, NULL, 'c' },
		{ "exclusive", no_argument, NULL, 'e' },
		{ "patient", no_argument, NULL, 'P' },
		{ "before", required_argument, NULL, 'b' },
		{ "after", required_argument, NULL, 'a' },
		{ "swap", no_argument, NULL, 's' },
		{ "control", no_argument, NULL, 'C' },
		{ "programs", required_argument, NULL, 'p' },
		{ "ring", required_argument, NULL, 'r' },
		{ "poll", required_argument, NULL, 'o' },
		{ "fifo", required_argument, NULL, 'f' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	char *end;
	int option;

	*peer = (struct peer) { 0 };
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'q':
			peer->quiet = true;
			break;
		case 'm':
			peer->mark = true;
			break;
		case 'c':
			peer->count = strtoul(optarg, &end, 0);
			if (!peer->count || *end)
				errx(2, "--count %s: write a number from 1 on", optarg);
			break;
		case 'e':
			peer->exclusive = true;
			break;
		case 'P':
			peer->patient = true;
			break;
		case 'b':
			peer->before = strtoul(optarg, NULL, 0);
			break;
		case 'a':
			peer->after = strtoul(optarg, NULL, 0);
			break;
		case 's':
			peer->swap = true;
			break;
		case 'C':
			peer->control = true;
			break;
		case 'p':
			peer->programs = optarg;
			break;
		case 'r':
			peer->ring = true;
			peer->spin_ns = strtoull(optarg, &end, 0);
			if (*end)
				errx(2, "--ring %s: write nanoseconds", optarg);
			break;
		case 'o':
			peer->poll_ns = strtoull(optarg, &end, 0);
			if (!peer->poll_ns || peer->poll_ns >= 1000000000 || *end)
				errx(2, "--poll %s: write nanoseconds, from 1 to 999999999", optarg);
			break;
		case 'f':
			peer->fifo = strtol(optarg, &end, 0);
			if (peer->fifo < 1 || peer->fifo > 99 || *end)
				errx(2, "--fifo %s: write a priority, from 1 to 99", optarg);
			break;
		case 'h':
			usage(stdout, argv[0]);
			exit(0);
		default:
			usage(stderr, argv[0]);
			exit(2);
		}
	}
	if (optind != argc - 1) {
		usage(stderr, argv[0]);
		exit(2);
	}
	peer->address = argv[optind];
	setlinebuf(stdout);
}

void peer_armed(const struct peer *peer)
{
	const struct sched_param parameters = { .sched_priority = peer->fifo };

	puts("armed");
	if (peer->fifo && sched_setscheduler(0, SCHED_FIFO, &parameters))
		err(1, "running under SCHED_FIFO");
}

void peer_swapped(void)
{
	puts("swapped");
}

void peer_link(const struct peer *peer, const char *name, char *target, size_t size)
{
	char path[PATH_MAX], full[PATH_MAX];
	ssize_t length;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", peer->address, name);
	length = readlink(path, full, sizeof(full) - 1);
	if (length < 0)
		err(1, "reading %s", path);
	full[length] = 0;
	snprintf(target, size, "%s", strrchr(full, '/') + 1);
}

volatile void *peer_map(const struct peer *peer)
{
	char path[PATH_MAX];
	void *memory;
	int fd;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource0", peer->address);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		err(1, "opening %s", path);
	memory = mmap(NULL, sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		err(1, "mapping %s", path);
	close(fd);
	return memory;
}

static void control(volatile void *regs, const struct peer_verbs *verbs)
{
	uint32_t value = 0;
	char line[16];

	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = 0;
		if (!strcmp(line, "read")) {
			if (!verbs->change)
				value = peer_read(regs, INT_ENABLE);
		} else if (!strcmp(line, "write")) {
			if (verbs->change)
				verbs->change();
			else
				peer_write(regs, INT_ENABLE, value ^ ENABLE_OTHER);
		} else if (!strcmp(line, "mask") || !strcmp(line, "unmask")) {
			verbs->mask(*line == 'm');
		} else {
			warnx("%s is none of read, write, mask, unmask", line);
			continue;
		}
		printf("done %s\n", line);
	}
}

void peer_control(const struct peer *peer, volatile void *regs, const struct peer_verbs *verbs)
{
	pid_t parent = getpid(), child;

	if (!peer->control)
		return;
	child = fork();
	switch (child) {
	case -1:
		err(1, "forking");
	case 0:
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() == parent)
			control(regs, verbs);
		_exit(0);
	}
	/*
	 * Use a separate process group, so that signals that stop the driver do not stop the child.
	 * Not the child does this, because such a signal may come before it runs.
	 */
	if (setpgid(child, child))
		err(1, "giving the control process its own group");
}
