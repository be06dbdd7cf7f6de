// SPDX-License-Identifier: MIT
/*
 * The user program of a sweep. It owns one shirq-edu device and handles its events in
 * one of the ways that shirq offers. It records each event in the event log by a write
 * to the device's MARK register: the low half is the event's status, the high half the
 * low half of the event's sequence number.
 *
 * With --control it also owns a second device. Each event of the second device makes
 * the program carry out a deed on the first device: an operation that a driver may do
 * at any time beside handling interrupts. The n-th --deed is run for source n of the
 * control device. Before, between and after the steps of a deed the program writes
 * their numbers to the control device's MARK, 64 bits wide: a sweep's window begins and
 * ends at these numbers.
 *
 * Each further --control begins another lane: a thread that does the --deeds after it,
 * on the same device and at the same time. --cpu binds the lane of the last --control,
 * and its control device's interrupt, to one processor. Before any --control it binds
 * the device's interrupt and the threads that handle events; --readers binds these
 * threads to another processor. With several lanes, one may take from another what that
 * needs: a --mortal process ends when a call fails.
 *
 * With --visitor the program does not own the first device; only its deeds open it.
 *
 * With --mortal a child process does this, and the parent starts a new child whenever
 * one ends. A child ends by its own deed, or because its device is gone, or because the
 * neighbour module kills it: with --victim the child registers itself at that module.
 * With --reload the parent unloads and reloads shirq.ko before each new child, which
 * requires that the module has no other user.
 *
 * It prints nothing after "ready" and reads no clock: its behaviour depends on
 * the devices alone.
 */
#define _GNU_SOURCE /* for the processors of a thread */
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
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

/* Tell the processor that this thread waits for another one, which may need the processor. */
static void relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

static bool mortal;

/* Whether several lanes do deeds. */
static bool several;

/*
 * Fail. If the device is gone or in quarantine, or another lane has taken it away, a
 * --mortal process ends without an error instead: the next child owns the device anew.
 */
static void fail(const char *what, const char *address)
{
	if (mortal && (several || errno == ENODEV || errno == ENXIO || errno == EIO))
		_exit(0);
	err(1, "%s %s", what, address);
}

/* Whether a call has failed only because another lane has armed or disarmed the device. */
static bool is_taken(void)
{
	return several && (errno == ENXIO || errno == EALREADY);
}

/* SIGBUS: end without an error after an access to a mapping that was revoked. */
static void revoked(int signal)
{
	(void)signal;
	_exit(0);
}

struct card {
	const char *address;
	int fd;
	volatile void *bar;
	size_t length;
	struct shirq_events events;	/* mapped if arm has SHIRQ_ARM_RING */
	uint32_t arm;
	bool useless;
	bool waits;
	bool uio;	/* own it by its UIO face */
};

enum {
	MOST_LANES = 4,
	MOST_DEEDS = 32,	/* sources of a control device */
	NO_CPU = -1,
	WARM_UP = 1 << 15,	/* a source that is no deed's; MARK has the lower 16 */
};

/* A thread that does deeds on `card`; asked[n] is the deed of source n of `control`. */
struct lane {
	struct card control, *card;
	size_t asked[MOST_DEEDS], count;
	int cpu;
};

/* The lane of this thread. */
static _Thread_local struct lane *lane;

/*
 * Mark a step of a deed. The write is 64 bits wide, unlike the mark at the end of an event's
 * handling, which is 32 bits wide.
 */
static void step(uint64_t number)
{
	shirq_write64(lane->control.bar, MARK, number);
}

/* Claims correctly, but does not mask. */
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
	if (shirq_arm(card->fd, SHIRQ_ARM_SHARED | card->arm) && !is_taken())
		fail("arming", card->address);
}

static void load_source(struct card *card, uint32_t source)
{
	struct shirq_programs programs = EDU_SET;

	if (card->useless) {
		programs.irq = useless;
		programs.irq_count = COUNT(useless);
	}
	if (shirq_load_source(card->fd, source, &programs))
		fail("loading programs of", card->address);
}

static void load(struct card *card)
{
	load_source(card, 0);
}

static void fail_to_open(const char *what, const char *address)
{
	/* A visitor owns it: the next child tries again. */
	if (errno == EBUSY && mortal)
		_exit(0);
	fail(what, address);
}

static void open_card(struct card *card)
{
	card->fd = shirq_open(card->address);
	if (card->fd < 0)
		fail_to_open("opening", card->address);
	if (!card->waits)
		fcntl(card->fd, F_SETFL, O_NONBLOCK);
}

static void map_ring(struct card *card)
{
	if (shirq_ring_map(card->fd, &card->events))
		fail("mapping the ring of", card->address);
}

/* Close a device that was loaded and mapped, and give it a UIO face instead. Returns the number of that. */
static int give_face(struct card *card)
{
	/* An earlier owner may have died before it took its face away. */
	int number, none = shirq_remove_uio(card->fd);

	if (none && errno != ENOENT)
		fail("taking the UIO face away from", card->address);
	number = shirq_add_uio(card->fd, "sweep", "1", 0);
	if (number < 0)
		fail("giving a UIO face to", card->address);
	munmap((void *)card->bar, card->length);
	close(card->fd);
	return number;
}

static void open_face(struct card *card, int number)
{
	char path[32];

	snprintf(path, sizeof(path), "/dev/uio%d", number);
	card->fd = open(path, O_RDWR | O_CLOEXEC);
	if (card->fd < 0)
		fail_to_open("opening the UIO face of", card->address);
}

/* Page N of a UIO device maps BAR N: this is BAR 0. */
static void map_face(struct card *card)
{
	void *bar = mmap(NULL, card->length, PROT_READ | PROT_WRITE, MAP_SHARED, card->fd, 0);

	if (bar == MAP_FAILED)
		fail("mapping the UIO face of", card->address);
	card->bar = bar;
}

static void own(struct card *card)
{
	open_card(card);
	load(card);
	map(card);
	if (card->uio) {
		open_face(card, give_face(card));
		map_face(card);
		return;
	}
	arm(card);
	if (card->arm & SHIRQ_ARM_RING)
		map_ring(card);
}

/*
 * Handle an event. Acknowledge before MARK is written, so that sources raised from then
 * on assert again.
 */
static void handle(struct card *card, const struct shirq_event *event)
{
	/*
	 * Do not map anew in a --mortal process: another thread may be about to use the old
	 * mapping.
	 */
	if (event->type == SHIRQ_EVENT_QUARANTINED && mortal)
		_exit(0);
	if (event->type == SHIRQ_EVENT_LINE_OFF || event->type == SHIRQ_EVENT_LINE_ON)
		return;
	if (event->type != SHIRQ_EVENT_IRQ) {
		/* The kernel has revoked the old mapping. */
		munmap((void *)card->bar, card->length);
		arm(card);
		map(card);
		return;
	}
	/*
	 * Do not acknowledge, because the storm breaker must end the storm.
	 */
	if (card->useless)
		return;
	shirq_write32(card->bar, INT_ACK, event->r[0]);
	shirq_write32(card->bar, MARK, (uint32_t)event->seq << 16 | (event->r[0] & 0xffff));
}

static bool next(struct card *card, struct shirq_event *event)
{
	if (!shirq_next(card->fd, event))
		return true;
	/* ENXIO: another thread, perhaps on another processor, is about to arm the device again. */
	if (errno == ENXIO) {
		relax();
		sched_yield();
	} else if (errno != EAGAIN)
		fail("waiting for an event of", card->address);
	return false;
}

/* Wait for an event in poll(), and handle it. */
static void take_next(struct card *card, struct shirq_event *event)
{
	do
		poll(&(struct pollfd){ .fd = card->fd, .events = POLLIN }, 1, -1);
	while (!next(card, event));
	handle(card, event);
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
			fail("unmasking", card->address);
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

	if (fd < 0 || shirq_set_eventfd(card->fd, fd))
		err(1, "setting the eventfd");
	/*
	 * Drain first: an eventfd does not report events that were queued before it was set.
	 */
	for (;;) {
		drain(card);
		if (eventfd_read(fd, &count))
			err(1, "reading the eventfd");
	}
	return NULL;
}

/* Handle what is in the ring. Returns whether there was anything. */
static bool drain_ring(struct card *card)
{
	struct shirq_event event;
	bool any = false;

	while (shirq_ring_next(&card->events, &event)) {
		handle(card, &event);
		if (shirq_ring_unmask(&card->events, event.seq))
			fail("unmasking", card->address);
		any = true;
	}
	return any;
}

static void take_from_ring(struct card *card)
{
	while (!drain_ring(card))
		if (shirq_wait(&card->events, 0, UINT64_MAX))
			fail("waiting for the ring of", card->address);
}

static void *by_ring(void *argument)
{
	for (;;)
		take_from_ring(argument);
	return NULL;
}

/* Mask the device by its UIO face, or unmask it. */
static void tell_face(struct card *card, int32_t on)
{
	if (write(card->fd, &on, sizeof(on)) != sizeof(on))
		fail("writing to the UIO face of", card->address);
}

/* Wait for an interrupt as a UIO program does, which learns how many there were, and handle what is pending. */
static void take_face(struct card *card)
{
	struct shirq_event event = { .type = SHIRQ_EVENT_IRQ };
	uint32_t count;

	if (read(card->fd, &count, sizeof(count)) != sizeof(count))
		fail("reading the UIO face of", card->address);
	event.seq = count;
	event.r[0] = shirq_read32(card->bar, INT_STATUS);
	handle(card, &event);
	tell_face(card, 1);
}

static void *by_uio(void *argument)
{
	for (;;)
		take_face(argument);
	return NULL;
}

static const struct {
	const char *name;
	void *(*run)(void *card);
	uint32_t arm;
	int threads;
	bool waits;	/* in read() */
} ways[] = {
	{ "read", by_read, SHIRQ_ARM_AUTO_UNMASK, 1, true },
	{ "two-readers", by_read, SHIRQ_ARM_AUTO_UNMASK, 2, true },
	{ "unmask", by_unmask, 0, 1, true },
	{ "poll", by_poll, SHIRQ_ARM_AUTO_UNMASK, 1, false },
	{ "epoll", by_epoll, SHIRQ_ARM_AUTO_UNMASK, 1, false },
	{ "eventfd", by_eventfd, SHIRQ_ARM_AUTO_UNMASK, 1, false },
	{ "ring", by_ring, SHIRQ_ARM_RING, 1, false },
	{ "uio", by_uio, 0, 1, true },
	/*
	 * This mode has no thread: the thread that does the deeds polls both
	 * devices.
	 */
	{ "alone", by_poll, SHIRQ_ARM_AUTO_UNMASK, 0, false },
};

/* Deeds requested by the control device */

static void hold(struct card *card)
{
	uint64_t seq;

	step(1);
	if (shirq_mask(card->fd, &seq)) {
		if (is_taken())
			return;
		fail("masking", card->address);
	}
	step(2);
	shirq_write32(card->bar, LIVENESS, seq);
	step(3);
	if (shirq_unmask(card->fd, seq) && !is_taken())
		fail("unmasking", card->address);
	step(4);
}

/*
 * Switch source 8 off and on again, in the register that the irq program writes
 * too. r1 holds the bits to change, and r0 returns the new value: the irq program
 * also uses r0 and r1.
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

	step(1);
	if (shirq_exec(card->fd, off, COUNT(off), set, NULL) ||
	    shirq_exec(card->fd, on, COUNT(on), clear, NULL))
		fail("executing a program at", card->address);
	step(2);
	if (!(set[0] & 0x100) || clear[0] & 0x100)
		errx(3, "a register became 0x%llx, then 0x%llx", (unsigned long long)set[0],
		     (unsigned long long)clear[0]);
}

static void rearm(struct card *card)
{
	step(1);
	if (shirq_disarm(card->fd) && !is_taken())
		fail("disarming", card->address);
	step(2);
	arm(card);
	step(3);
}

/* Close and open the device. No thread may read it meanwhile. */
static void reopen(struct card *card)
{
	munmap((void *)card->bar, card->length);
	step(1);
	close(card->fd);
	step(2);
	open_card(card);
	step(3);
	load(card);
	step(4);
	map(card);
	step(5);
	arm(card);
	step(6);
}

/* The path of a sysfs file or link of the device; valid until the next call. */
static const char *attribute(const struct card *card, const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", card->address, name);
	return path;
}

/* Set and clear DisINTx, which the kernel owns, as another program may do by mistake. */
static void toggle(struct card *card)
{
	static _Thread_local int config = -1;
	uint16_t command;

	if (config < 0)
		config = open(attribute(card, "config"), O_RDWR | O_CLOEXEC);
	step(1);
	if (pread(config, &command, 2, 4) != 2)
		err(1, "reading Command");
	command |= 0x400;
	if (pwrite(config, &command, 2, 4) != 2)
		err(1, "setting DisINTx");
	step(2);
	command &= ~0x400;
	if (pwrite(config, &command, 2, 4) != 2)
		err(1, "clearing DisINTx");
	step(3);
}

static void look(struct card *card)
{
	struct shirq_info info;
	uint32_t status;

	step(1);
	if (shirq_get_info(card->fd, &info))
		fail("reading the info of", card->address);
	step(2);
	if (pread(card->fd, &status, 4, INT_STATUS) != 4)
		fail("reading a register of", card->address);
	step(3);
	shirq_write32(card->bar, LIVENESS, status);
	shirq_read32(card->bar, LIVENESS);
	step(4);
}

/* Read all events without waiting, beside the thread that waits for them. */
static void take(struct card *card)
{
	step(1);
	drain(card);
	step(2);
}

/*
 * As another program: own the device if it is free, and wait for an interrupt by an
 * eventfd.
 */
static void visit(struct card *card)
{
	struct card mine = { .address = card->address };
	eventfd_t count;
	int fd;

	mine.fd = shirq_open(mine.address);
	if (mine.fd < 0)
		return;
	fcntl(mine.fd, F_SETFL, O_NONBLOCK);
	fd = eventfd(0, EFD_CLOEXEC);
	step(1);
	load(&mine);
	map(&mine);
	if (fd < 0 || shirq_set_eventfd(mine.fd, fd))
		err(1, "setting an eventfd of %s", mine.address);
	/* What the last owner has left to do now must not concern this one. */
	relax();
	arm(&mine);
	shirq_write32(mine.bar, INT_RAISE, 1);
	if (eventfd_read(fd, &count))
		err(1, "reading the eventfd of %s", mine.address);
	drain(&mine);
	step(2);
	munmap((void *)mine.bar, mine.length);
	close(mine.fd);
	close(fd);
	step(3);
}

static void settings(struct card *card)
{
	int fd = eventfd(0, EFD_CLOEXEC);

	if (fd < 0)
		err(1, "creating an eventfd");
	step(1);
	if (shirq_set_eventfd(card->fd, fd))
		fail("setting the eventfd of", card->address);
	step(2);
	if (shirq_set_eventfd(card->fd, -1))
		fail("removing the eventfd of", card->address);
	step(3);
	if (shirq_set_quiesce(card->fd, SHIRQ_QUIESCE_D3HOT, 0, SHIRQ_DEFAULT_RATE))
		fail("setting how to quiesce", card->address);
	step(4);
	close(fd);
}

static void master(struct card *card)
{
	step(1);
	if (shirq_set_master(card->fd, 1))
		fail("switching on bus mastering of", card->address);
	step(2);
	if (shirq_set_master(card->fd, 0))
		fail("switching off bus mastering of", card->address);
	step(3);
}

/* Use a message of the device instead of its line, and go back. No thread may read it meanwhile. */
static void message(struct card *card)
{
	struct shirq_event event;
	uint32_t count = 1, none = 0;

	if (shirq_disarm(card->fd))
		fail("disarming", card->address);
	step(1);
	if (shirq_set_messages(card->fd, &count))
		fail("allocating messages of", card->address);
	step(2);
	load_source(card, 1);
	if (shirq_set_master(card->fd, 1))
		fail("switching on bus mastering of", card->address);
	step(3);
	if (shirq_arm_source(card->fd, 1, SHIRQ_ARM_AUTO_UNMASK))
		fail("arming a message of", card->address);
	step(4);
	shirq_write32(card->bar, INT_RAISE, 1);
	take_next(card, &event);
	step(5);
	if (shirq_disarm_source(card->fd, 1))
		fail("disarming a message of", card->address);
	step(6);
	if (shirq_set_messages(card->fd, &none))
		fail("freeing the messages of", card->address);
	step(7);
	if (shirq_set_master(card->fd, 0))
		fail("switching off bus mastering of", card->address);
	arm(card);
	step(8);
}

/* Take events from a ring, and go back. No thread may read the device meanwhile. */
static void ring(struct card *card)
{
	if (shirq_disarm(card->fd))
		fail("disarming", card->address);
	step(1);
	if (shirq_arm(card->fd, SHIRQ_ARM_SHARED | SHIRQ_ARM_RING))
		fail("arming with a ring", card->address);
	step(2);
	map_ring(card);
	step(3);
	/* Without a program that masks, an interrupt would end the deed. */
	if (!card->useless) {
		shirq_write32(card->bar, INT_RAISE, 1);
		take_from_ring(card);
	}
	step(4);
	if (shirq_disarm(card->fd))
		fail("disarming", card->address);
	step(5);
	shirq_ring_unmap(&card->events);
	arm(card);
	step(6);
}

/* Use the device by its UIO face, and go back. No thread may read it meanwhile. */
static void face(struct card *card)
{
	int number = give_face(card);

	step(1);
	open_face(card, number);
	step(2);
	map_face(card);
	step(3);
	if (!card->useless) {
		shirq_write32(card->bar, INT_RAISE, 1);
		take_face(card);
	}
	step(4);
	tell_face(card, 0);
	step(5);
	tell_face(card, 1);
	step(6);
	munmap((void *)card->bar, card->length);
	close(card->fd);
	step(7);
	own(card);
	if (shirq_remove_uio(card->fd))
		fail("taking the UIO face away from", card->address);
	step(8);
}

/* Exit without closing the device: the kernel closes the open files. */
static void leave(struct card *card)
{
	(void)card;
	step(1);
	_exit(0);
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0 || write(fd, text, strlen(text)) < 0 || close(fd))
		err(1, "writing %s to %s", text, path);
}

/* Unbind the device, as an administrator does; the thread that reads its events ends the process. */
static void unbind(struct card *card)
{
	step(1);
	write_file("/sys/bus/pci/drivers/shirq/unbind", card->address);
	for (;;)
		pause();
}

/* Remove the device, as an administrator does before a card is pulled. */
static void unplug(struct card *card)
{
	step(1);
	write_file(attribute(card, "remove"), "1");
	for (;;)
		pause();
}

/*
 * Bind the device, which the previous child may have unbound, after a rescan if that
 * child has removed it.
 */
static void bind(const struct card *card)
{
	if (access(attribute(card, ""), F_OK))
		write_file("/sys/bus/pci/rescan", "1");
	if (shirq_bind(card->address))
		err(1, "binding %s", card->address);
}

/* Arm a device that was just bound. No thread may read it meanwhile. */
static void arm_first(struct card *card)
{
	munmap((void *)card->bar, card->length);
	close(card->fd);
	write_file("/sys/bus/pci/drivers/shirq/unbind", card->address);
	bind(card);
	open_card(card);
	load(card);
	map(card);
	step(1);
	arm(card);
	step(2);
}

/* Reset the device, as an administrator does. No thread may read the device meanwhile. */
static void reset(struct card *card)
{
	step(1);
	write_file(attribute(card, "reset"), "1");
	step(2);
}

/* Suspend the system until the devices sleep; then the kernel resumes by itself. */
static void suspend(struct card *card)
{
	(void)card;
	write_file("/sys/power/pm_test", "devices");
	write_file("/sys/module/suspend/parameters/pm_test_delay", "0");
	step(1);
	write_file("/sys/power/state", "freeze");
	step(2);
}

/* Halt the system. This must be the last deed: it never returns. */
static void halt(struct card *card)
{
	(void)card;
	step(1);
	reboot(RB_HALT_SYSTEM);
	err(1, "halting");
}

static char **arguments;

/* exec() of the same program in the same process. */
static void replace(struct card *card)
{
	char **word;

	/* Do not fork again: the parent process exists already. */
	for (word = arguments; *word; word++)
		if (!strcmp(*word, "--mortal"))
			*word = "--reborn";
	step(1);
	execv("/proc/self/exe", arguments);
	err(1, "executing the owner of %s anew", card->address);
}

static const struct {
	const char *name;
	void (*run)(struct card *card);
} deeds[] = {
	{ "mask", hold },
	{ "exec", modify },
	{ "rearm", rearm },
	{ "reopen", reopen },
	{ "disintx", toggle },
	{ "look", look },
	{ "take", take },
	{ "visit", visit },
	{ "settings", settings },
	{ "master", master },
	{ "message", message },
	{ "ring", ring },
	{ "uio", face },
	{ "exit", leave },
	{ "execve", replace },
	{ "unbind", unbind },
	{ "unplug", unplug },
	{ "arm-first", arm_first },
	{ "reset", reset },
	{ "suspend", suspend },
	{ "halt", halt },
};

static void usage(FILE *out, const char *self)
{
	size_t i;

	fprintf(out, "usage: %s [--mortal [--victim] [--reload]] [--useless] [--visitor] [--how WAY] [--cpu CPU [--readers CPU]] [--control ADDRESS [--cpu CPU] --deed DEED...]... ADDRESS\nWAY:",
		self);
	for (i = 0; i < COUNT(ways); i++)
		fprintf(out, " %s", ways[i].name);
	fprintf(out, "\nDEED:");
	for (i = 0; i < COUNT(deeds); i++)
		fprintf(out, " %s", deeds[i].name);
	fprintf(out, "\n");
}

/*
 * Unload shirq.ko and load it again: it binds the devices whose driver_override names it.
 */
static void reload(void)
{
	struct utsname name;
	char path[256];
	int fd;

	if (uname(&name) || syscall(SYS_delete_module, "shirq", O_NONBLOCK))
		err(1, "unloading shirq.ko");
	snprintf(path, sizeof(path), "/lib/modules/%s/extra/shirq.ko", name.release);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || syscall(SYS_finit_module, fd, "", 0))
		err(1, "loading %s", path);
	close(fd);
}

/* Return in each child; the parent starts a new child when one ends, for ever. */
static void live_again(bool reloads)
{
	int status;
	pid_t pid;

	for (;;) {
		pid = fork();
		if (pid < 0)
			err(1, "forking");
		if (!pid)
			break;
		if (waitpid(pid, &status, 0) != pid)
			err(1, "waiting for the child");
		if (reloads)
			reload();
	}
}

/* Let the next interrupt of the neighbour module's devices kill this process. */
static void become_victim(void)
{
	char number[16];

	snprintf(number, sizeof(number), "%d", getpid());
	write_file("/sys/module/neighbour/parameters/pid", number);
}

/* Handle an interrupt that has come or will come, in whatever way the device has, and unmask. */
static void take_one(struct card *card)
{
	struct shirq_event event;

	if (card->uio) {
		take_face(card);
	} else if (card->events.ring) {
		take_from_ring(card);
	} else {
		take_next(card, &event);
		/* The next read() is another thread's, which does not unmask what this one has read. */
		if (shirq_unmask(card->fd, event.seq))
			fail("unmasking", card->address);
	}
}

/* Run this thread, and those that it creates, on one processor. */
static void bind_thread(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		err(1, "binding a thread to processor %d", cpu);
}

/*
 * Deliver the interrupts of an armed device to one processor. Interrupt controllers
 * without remapping move an interrupt when it comes the next time: let it come.
 */
static void bind_interrupt(struct card *card, int cpu)
{
	char number[16], path[64], mask[16];
	int fd = open(attribute(card, "irq"), O_RDONLY);
	ssize_t length = read(fd, number, sizeof(number) - 1);

	if (length <= 0)
		err(1, "reading the interrupt's number of %s", card->address);
	close(fd);
	number[length - 1] = 0;	/* in place of the end of the line */
	snprintf(path, sizeof(path), "/proc/irq/%s/smp_affinity", number);
	snprintf(mask, sizeof(mask), "%x", 1u << cpu);
	write_file(path, mask);
	shirq_write32(card->bar, INT_RAISE, WARM_UP);
	take_one(card);
}

/*
 * Wait until either device has an event, and handle those of `card`.
 */
static void wait_for_either(struct card *card)
{
	struct pollfd ready[] = {
		{ .fd = lane->control.fd, .events = POLLIN },
		{ .fd = card->fd, .events = POLLIN },
	};

	if (poll(ready, COUNT(ready), -1) < 0)
		err(1, "polling");
	if (ready[1].revents)
		drain(card);
}

static size_t find_deed(const char *name)
{
	size_t i;

	for (i = 0; i < COUNT(deeds) && strcmp(deeds[i].name, name); i++)
		;
	return i;
}

static size_t find_way(const char *name)
{
	size_t i;

	for (i = 0; i < COUNT(ways) && strcmp(ways[i].name, name); i++)
		;
	return i;
}

/* Do the deeds of a lane, for ever. */
static void *work(void *argument)
{
	struct shirq_event event;

	lane = argument;
	if (lane->cpu != NO_CPU)
		bind_thread(lane->cpu);
	for (;;) {
		if (next(&lane->control, &event)) {
			handle(&lane->control, &event);
			if (event.r[0] != WARM_UP)
				deeds[lane->asked[__builtin_ctz(event.r[0])]].run(lane->card);
		} else if (!lane->control.waits) {
			wait_for_either(lane->card);
		}
	}
	return NULL;
}

static void create_thread(void *(*run)(void *argument), void *argument)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, run, argument))
		errx(1, "cannot create a thread");
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "how", required_argument, NULL, 'h' },
		{ "control", required_argument, NULL, 'c' },
		{ "deed", required_argument, NULL, 'd' },
		{ "cpu", required_argument, NULL, 'p' },
		{ "readers", required_argument, NULL, 's' },
		{ "mortal", no_argument, NULL, 'm' },
		{ "reload", no_argument, NULL, 'l' },
		{ "reborn", no_argument, NULL, 'r' },
		{ "useless", no_argument, NULL, 'u' },
		{ "victim", no_argument, NULL, 'v' },
		{ "visitor", no_argument, NULL, 'i' },
		{ 0 },
	};
	static struct lane lanes[MOST_LANES];
	struct card card = {};
	struct lane *last = NULL;
	size_t count = 0, way = 0, i;
	bool reborn = false, reloads = false, victim = false, visitor = false, wrong = false;
	int option, cpu = NO_CPU, readers = NO_CPU;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'h') {
			way = find_way(optarg);
			wrong |= way == COUNT(ways);
		} else if (option == 'd' && last && last->count < COUNT(last->asked)) {
			last->asked[last->count] = find_deed(optarg);
			wrong |= last->asked[last->count++] == COUNT(deeds);
		} else if (option == 'c' && count < COUNT(lanes)) {
			wrong |= last && !last->count;
			last = &lanes[count++];
			last->control.address = optarg;
			last->control.arm = SHIRQ_ARM_AUTO_UNMASK;
			last->card = &card;
			last->cpu = NO_CPU;
		} else if (option == 'p') {
			*(last ? &last->cpu : &cpu) = atoi(optarg);
		} else if (option == 's') {
			readers = atoi(optarg);
		} else if (option == 'm') {
			mortal = true;
		} else if (option == 'l') {
			reloads = true;
		} else if (option == 'r') {
			mortal = reborn = true;
		} else if (option == 'v') {
			victim = true;
		} else if (option == 'u') {
			card.useless = true;
		} else if (option == 'i') {
			visitor = true;
		} else {
			wrong = true;
		}
	}
	if (wrong || optind != argc - 1 || (last && !last->count) || (!last && !ways[way].threads) ||
	    (card.useless && cpu != NO_CPU) || (visitor && (!last || cpu != NO_CPU)) || (readers != NO_CPU && cpu == NO_CPU)) {
		usage(stderr, argv[0]);
		return 2;
	}

	/*
	 * Ignore SIGPIPE: the host reads the output of only the first --mortal child.
	 */
	signal(SIGPIPE, SIG_IGN);
	arguments = argv;
	several = count > 1;
	card.address = argv[optind];
	card.arm = ways[way].arm;
	card.waits = ways[way].waits;
	card.uio = ways[way].run == by_uio;
	if (mortal && !reborn)
		live_again(reloads);
	if (mortal) {
		signal(SIGBUS, revoked);
		bind(&card);
		if (victim)
			become_victim();
	}
	if (!visitor)
		own(&card);
	if (cpu != NO_CPU) {
		bind_interrupt(&card, cpu);
		bind_thread(readers == NO_CPU ? cpu : readers);
	}
	for (i = 0; !visitor && i < (size_t)ways[way].threads - !last; i++)
		create_thread(ways[way].run, &card);
	for (i = 0; i < count; i++) {
		struct card *control = &lanes[i].control;

		/* The first lane also handles the device's events if no thread does. */
		control->waits = i || ways[way].threads;
		own(control);
		if (lanes[i].cpu != NO_CPU)
			bind_interrupt(control, lanes[i].cpu);
		if (i)
			create_thread(work, &lanes[i]);
	}
	puts("ready");
	fflush(stdout);
	if (last)
		work(&lanes[0]);
	ways[way].run(&card);
}
