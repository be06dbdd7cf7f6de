// SPDX-License-Identifier: MIT
/*
 * The user program of a sweep: owns one shirq-edu device, handles its events in
 * one of the ways that shirq offers, and tells the event log of each by the
 * device's MARK register: the low half is the event's status, the high half the
 * low half of its sequence number.
 *
 * With --control it also owns a second device, and for each event of that one
 * does something to the first: what a driver does at any time beside handling
 * interrupts. The control device's MARK tells when that is done.
 *
 * With --useless its irq program does not mask, so that every interrupt of its
 * device is a storm; it arms again after each quarantine.
 *
 * With --mortal it is a child that does so, in whose place a new one comes as
 * often as it ends: killed by the neighbour module, whose victim it makes itself,
 * by its own deed, or because its device is gone.
 *
 * It says nothing after "ready", and asks for no time: what it does depends on
 * the devices alone.
 */
#include "../drivers/edu-set.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static bool mortal;

/* A device that is gone is the end, and for a mortal a natural one. */
static void fail(const char *what, const char *address)
{
	if (mortal && errno == ENODEV)
		_exit(0);
	err(1, "%s %s", what, address);
}

struct card {
	const char *address;
	int fd;
	volatile void *bar;
	size_t length;
	uint32_t arm;
	bool useless;
};

/* Claims rightly, and masks nothing. */
static const struct shirq_op useless[] = {
	SHIRQ_DO_READ(4, 0, 0, INT_ACTIVE, SHIRQ_GONE_IF_ONES),
	SHIRQ_DO_SKIP(SHIRQ_OP_SKIP_NZ, 0, 1),
	SHIRQ_DO_DECLINE,
	SHIRQ_DO_CLAIM,
};

static void map(struct card *card)
{
	card->bar = shirq_map(card->fd, 0, &card->length);
	if (!card->bar)
		fail("mapping", card->address);
}

static void arm(struct card *card)
{
	if (shirq_arm(card->fd, SHIRQ_ARM_SHARED | card->arm))
		fail("arming", card->address);
}

static void own(struct card *card)
{
	struct shirq_programs programs = EDU_SET;

	if (card->useless) {
		programs.irq = useless;
		programs.irq_count = COUNT(useless);
	}
	card->fd = shirq_open(card->address);
	if (card->fd < 0)
		fail("opening", card->address);
	if (shirq_load(card->fd, &programs))
		fail("loading programs of", card->address);
	map(card);
	arm(card);
}

/* Acknowledged first: what is raised from then on asserts again. */
static void handle(struct card *card, const struct shirq_event *event)
{
	if (event->type == SHIRQ_EVENT_QUARANTINED) {
		/* The old mapping is void. */
		munmap((void *)card->bar, card->length);
		arm(card);
		map(card);
		return;
	}
	if (event->type != SHIRQ_EVENT_IRQ)
		errx(3, "an event of type %u", event->type);
	/* What a useless mask lets happen is for the storm breaker to end. */
	if (card->useless)
		return;
	shirq_write32(card->bar, INT_ACK, event->r[0]);
	shirq_write32(card->bar, MARK, (uint32_t)event->seq << 16 | (event->r[0] & 0xffff));
}

static bool next(struct card *card, struct shirq_event *event)
{
	if (!shirq_next(card->fd, event))
		return true;
	/* ENXIO: it is about to be armed again. */
	if (errno == ENXIO)
		sched_yield();
	else if (errno != EAGAIN)
		fail("waiting for an event of", card->address);
	return false;
}

/* The ways to handle events */

static void *by_read(void *argument)
{
	struct card *card = argument;
	struct shirq_event event;

	for (;;)
		if (next(card, &event))
			handle(card, &event);
	return NULL;
}

static void *by_unmask(void *argument)
{
	struct card *card = argument;
	struct shirq_event event;

	for (;;) {
		if (!next(card, &event))
			continue;
		handle(card, &event);
		if (shirq_unmask(card->fd, event.seq) && errno != ENXIO)
			err(1, "unmasking");
	}
	return NULL;
}

static void drain(struct card *card)
{
	struct shirq_event event;

	while (next(card, &event))
		handle(card, &event);
}

static void *by_poll(void *argument)
{
	struct card *card = argument;
	struct pollfd ready = { .fd = card->fd, .events = POLLIN };

	fcntl(card->fd, F_SETFL, O_NONBLOCK);
	for (;;) {
		if (poll(&ready, 1, -1) < 0)
			err(1, "polling");
		drain(card);
	}
	return NULL;
}

static void *by_epoll(void *argument)
{
	struct card *card = argument;
	struct epoll_event ready = { .events = EPOLLIN | EPOLLET };
	int fd = epoll_create1(0);

	fcntl(card->fd, F_SETFL, O_NONBLOCK);
	if (fd < 0 || epoll_ctl(fd, EPOLL_CTL_ADD, card->fd, &ready))
		err(1, "adding to an epoll set");
	for (;;) {
		if (epoll_wait(fd, &ready, 1, -1) < 0)
			err(1, "waiting for the epoll set");
		drain(card);
	}
	return NULL;
}

static void *by_eventfd(void *argument)
{
	struct card *card = argument;
	int fd = eventfd(0, 0);
	eventfd_t count;

	fcntl(card->fd, F_SETFL, O_NONBLOCK);
	if (fd < 0 || shirq_set_eventfd(card->fd, fd))
		err(1, "setting the eventfd");
	for (;;) {
		if (eventfd_read(fd, &count))
			err(1, "reading the eventfd");
		drain(card);
	}
	return NULL;
}

static const struct {
	const char *name;
	void *(*run)(void *card);
	uint32_t arm;
	int threads;
} ways[] = {
	{ "read", by_read, SHIRQ_ARM_AUTO_UNMASK, 1 },
	{ "two-readers", by_read, SHIRQ_ARM_AUTO_UNMASK, 2 },
	{ "unmask", by_unmask, 0, 1 },
	{ "poll", by_poll, SHIRQ_ARM_AUTO_UNMASK, 1 },
	{ "epoll", by_epoll, SHIRQ_ARM_AUTO_UNMASK, 1 },
	{ "eventfd", by_eventfd, SHIRQ_ARM_AUTO_UNMASK, 1 },
};

/* What the control device asks for */

static void hold(struct card *card)
{
	uint64_t seq;

	if (shirq_mask(card->fd, &seq))
		err(1, "masking");
	shirq_write32(card->bar, LIVENESS, seq);
	if (shirq_unmask(card->fd, seq))
		err(1, "unmasking");
}

/*
 * Source 8 is switched off and on again, in the register that the irq program
 * writes too. What to change in it comes in r1, and what it became goes in r0:
 * both are registers of the irq program as well.
 */
static void modify(struct card *card)
{
	static const struct shirq_op off[] = {
		SHIRQ_DO_READ(4, 0, 0, INT_MASK, 0),
		SHIRQ_DO_REG(SHIRQ_OP_OR, 0, 1),
		SHIRQ_DO_WRITE(4, 0, INT_MASK, 0, 0),
	};
	static const struct shirq_op on[] = {
		SHIRQ_DO_READ(4, 0, 0, INT_MASK, 0),
		SHIRQ_DO_REG(SHIRQ_OP_AND, 0, 1),
		SHIRQ_DO_WRITE(4, 0, INT_MASK, 0, 0),
	};
	uint64_t set[SHIRQ_REGS] = { 0, 0x100 }, clear[SHIRQ_REGS] = { 0, 0xfffffeff };

	if (shirq_exec(card->fd, off, COUNT(off), set, NULL) ||
	    shirq_exec(card->fd, on, COUNT(on), clear, NULL))
		err(1, "executing");
	if (!(set[0] & 0x100) || clear[0] & 0x100)
		errx(3, "a register became 0x%llx, then 0x%llx", (unsigned long long)set[0],
		     (unsigned long long)clear[0]);
}

static void rearm(struct card *card)
{
	if (shirq_disarm(card->fd))
		err(1, "disarming");
	arm(card);
}

/* As another program may, by mistake: the bit is the kernel's. */
static void toggle(struct card *card)
{
	static int config = -1;
	char path[128];
	uint16_t command;

	if (config < 0) {
		snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/config", card->address);
		config = open(path, O_RDWR);
	}
	if (pread(config, &command, 2, 4) != 2)
		err(1, "reading Command");
	command |= 0x400;
	if (pwrite(config, &command, 2, 4) != 2)
		err(1, "setting DisINTx");
	command &= ~0x400;
	if (pwrite(config, &command, 2, 4) != 2)
		err(1, "clearing DisINTx");
}

static void info(struct card *card)
{
	struct shirq_info info;
	uint32_t status;

	if (shirq_get_info(card->fd, &info) || pread(card->fd, &status, 4, INT_STATUS) != 4)
		err(1, "looking at the device");
}

/* The kernel closes what is open. */
static void leave(struct card *card)
{
	(void)card;
	_exit(0);
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0 || write(fd, text, strlen(text)) < 0 || close(fd))
		err(1, "writing %s to %s", text, path);
}

/* As an administrator does; the thread that reads its events ends the process. */
static void unbind(struct card *card)
{
	write_file("/sys/bus/pci/drivers/shirq/unbind", card->address);
	for (;;)
		pause();
}

/* Whoever was before may have been deprived of it. */
static void bind(const struct card *card)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/bus/pci/drivers/shirq/%s", card->address);
	if (access(path, F_OK))
		write_file("/sys/bus/pci/drivers_probe", card->address);
}

static const struct {
	const char *name;
	void (*run)(struct card *card);
} deeds[] = {
	{ "mask", hold },
	{ "exec", modify },
	{ "rearm", rearm },
	{ "disintx", toggle },
	{ "look", info },
	{ "exit", leave },
	{ "unbind", unbind },
};

static void usage(FILE *out, const char *self)
{
	size_t i;

	fprintf(out, "usage: %s [--mortal] [--useless] [--how WAY] [--control ADDRESS --deed DEED] ADDRESS\nWAY:",
		self);
	for (i = 0; i < COUNT(ways); i++)
		fprintf(out, " %s", ways[i].name);
	fprintf(out, "\nDEED:");
	for (i = 0; i < COUNT(deeds); i++)
		fprintf(out, " %s", deeds[i].name);
	fprintf(out, "\n");
}

/* Returns in a child, and in each that follows it. */
static void live_again(void)
{
	int status, fd;
	pid_t pid;

	/* Only the first of them has somebody who listens to it. */
	signal(SIGPIPE, SIG_IGN);
	for (;;) {
		pid = fork();
		if (pid < 0)
			err(1, "forking");
		if (!pid)
			break;
		if (waitpid(pid, &status, 0) != pid)
			err(1, "waiting for the child");
	}
	fd = open("/sys/module/neighbour/parameters/pid", O_WRONLY);
	if (fd >= 0) {
		dprintf(fd, "%d", getpid());
		close(fd);
	}
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "how", required_argument, NULL, 'h' },
		{ "control", required_argument, NULL, 'c' },
		{ "deed", required_argument, NULL, 'd' },
		{ "mortal", no_argument, NULL, 'm' },
		{ "useless", no_argument, NULL, 'u' },
		{ 0 },
	};
	struct card card = {}, control = { .arm = SHIRQ_ARM_AUTO_UNMASK };
	size_t way = 0, deed = COUNT(deeds), i;
	struct shirq_event event;
	pthread_t thread;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'h') {
			for (way = 0; way < COUNT(ways) && strcmp(ways[way].name, optarg); way++)
				;
		} else if (option == 'd') {
			for (deed = 0; deed < COUNT(deeds) && strcmp(deeds[deed].name, optarg); deed++)
				;
		} else if (option == 'c') {
			control.address = optarg;
		} else if (option == 'm') {
			mortal = true;
		} else if (option == 'u') {
			card.useless = true;
		} else {
			way = COUNT(ways);
		}
	}
	if (optind != argc - 1 || way == COUNT(ways) || !control.address != (deed == COUNT(deeds))) {
		usage(stderr, argv[0]);
		return 2;
	}

	card.address = argv[optind];
	card.arm = ways[way].arm;
	if (mortal) {
		live_again();
		bind(&card);
	}
	own(&card);
	for (i = 0; i < (size_t)ways[way].threads - !control.address; i++)
		if (pthread_create(&thread, NULL, ways[way].run, &card))
			errx(1, "no thread");
	if (control.address)
		own(&control);
	puts("ready");
	fflush(stdout);
	if (!control.address)
		ways[way].run(&card);
	for (;;) {
		if (!next(&control, &event))
			continue;
		deeds[deed].run(&card);
		handle(&control, &event);
	}
}
