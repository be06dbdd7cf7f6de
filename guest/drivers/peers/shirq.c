// SPDX-License-Identifier: MIT
/*
 * The peer for shirq.ko: the kernel runs programs to claim, mask and unmask;
 * each interrupt takes one read(), or with a ring a call only if the driver sleeps.
 */
#include "peer.h"
#include "../edu-set.h"

#include <err.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

/* Change ENABLE by a read-modify-write that is atomic against the interrupt. */
static const struct shirq_op change[] = {
	SHIRQ_DO_READ(4, 0, 0, INT_ENABLE, 0),
	SHIRQ_DO_CONST(SHIRQ_OP_XOR, 0, ENABLE_OTHER),
	SHIRQ_DO_WRITE(4, 0, INT_ENABLE, 0, 0),
};

/* Claims a second: more than any processor handles. */
#define RING_RATE	10000000

static int device;

static void change_enable(void)
{
	uint64_t regs[SHIRQ_REGS] = { 0 };

	if (shirq_exec(device, change, COUNT(change), regs, NULL))
		err(1, "running a program");
}

static void mask(bool masked)
{
	static uint64_t seq;

	if (masked ? shirq_mask(device, &seq) : shirq_unmask(device, seq))
		err(1, masked ? "masking" : "unmasking");
}

static void set_eventfd(int channel)
{
	if (shirq_set_eventfd(device, channel))
		err(1, "setting the eventfd");
}

/*
 * The file has the mode, three counts (irq, unmask, release), and the operations of
 * these programs.
 */
static void read_programs(const char *path, struct shirq_programs *programs)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct {
		uint32_t mode, count[3];
	} head;
	const uint32_t *count = head.count;
	struct shirq_op *ops;
	ssize_t size;

	if (fd < 0 || read(fd, &head, sizeof(head)) != sizeof(head))
		err(1, "reading %s", path);
	size = (count[0] + count[1] + count[2]) * sizeof(*ops);
	ops = malloc(size);
	if (!ops || read(fd, ops, size) != size)
		err(1, "reading %s", path);
	close(fd);
	programs->mode = head.mode;
	programs->irq = ops;
	programs->irq_count = count[0];
	programs->unmask = ops + count[0];
	programs->unmask_count = count[1];
	programs->release = ops + count[0] + count[1];
	programs->release_count = count[2];
}

static void notice(const struct shirq_event *event)
{
	static const char *const names[] = {
		[SHIRQ_EVENT_RESUMED] = "resumed",
		[SHIRQ_EVENT_QUARANTINED] = "quarantined",
		[SHIRQ_EVENT_RESET] = "reset",
		[SHIRQ_EVENT_GONE] = "gone",
		[SHIRQ_EVENT_LINE_OFF] = "line-off",
		[SHIRQ_EVENT_LINE_ON] = "line-on",
	};
	const char *name = event->type < COUNT(names) ? names[event->type] : NULL;

	printf("notice %s flags=0x%x\n", name ? name : "unknown", event->flags);
}

/*
 * Where to continue after SIGBUS: the mapping was revoked, and the next event gives the
 * reason.
 */
static sigjmp_buf revoked;

static void on_sigbus(int number)
{
	siglongjmp(revoked, number);
}

static struct shirq_events events;

static int next(const struct peer *peer, struct shirq_event *event)
{
	if (!peer->ring)
		return shirq_next(device, event);
	while (!shirq_ring_next(&events, event))
		if (shirq_wait(&events, peer->spin_ns, UINT64_MAX))
			return -1;
	return 0;
}

/* Do what comes while the device is masked, as NAPI of Linux does, until there is no more. */
static void poll_device(const struct peer *peer, volatile void *regs)
{
	const struct timespec pause = { .tv_nsec = peer->poll_ns };
	uint32_t status;

	for (;;) {
		nanosleep(&pause, NULL);
		status = peer_read(regs, INT_STATUS);
		if (!status)
			return;
		peer_awake(peer, regs);
		peer_acknowledge(peer, regs, status);
		peer_event(peer, status);
	}
}

int main(int argc, char **argv)
{
	struct shirq_programs programs = EDU_SET;
	struct shirq_event event;
	volatile unsigned long seen = 0;
	volatile void *regs;
	struct peer peer;
	uint32_t status;
	size_t length;
	int channel;

	peer_parse(&peer, argc, argv);
	if (peer.programs)
		read_programs(peer.programs, &programs);
	device = shirq_open(peer.address);
	if (device < 0)
		err(1, "opening /dev/shirq/%s", peer.address);
	if (shirq_load(device, &programs))
		err(1, "loading programs (program %d, operation %u, reason %d)",
		    programs.refused_program, programs.refused_index, programs.refused_reason);
	regs = shirq_map(device, 0, &length);
	if (!regs)
		err(1, "mapping BAR 0");
	/* With a ring, claims are limited to max_rate. */
	if (peer.ring && shirq_set_quiesce(device, SHIRQ_QUIESCE_D3HOT, 0, RING_RATE))
		err(1, "setting the rate");
	if (shirq_arm(device, (peer.ring ? SHIRQ_ARM_RING : SHIRQ_ARM_AUTO_UNMASK) |
		      (peer.exclusive ? SHIRQ_ARM_EXCLUSIVE : SHIRQ_ARM_SHARED)))
		err(1, "arming");
	if (peer.ring && shirq_ring_map(device, &events))
		err(1, "mapping the ring");
	channel = peer.swap ? eventfd(0, EFD_CLOEXEC) : -1;
	if (peer.swap)
		set_eventfd(channel);
	peer_control(&peer, regs, &(struct peer_verbs) { .change = change_enable, .mask = mask });
	peer_armed(&peer);

	/* By default, the kernel may wake a process 50 us later than it asked for. */
	if (peer.poll_ns)
		prctl(PR_SET_TIMERSLACK, 1);
	signal(SIGBUS, on_sigbus);
	sigsetjmp(revoked, 1);
	while (!peer.count || seen < peer.count) {
		if (next(&peer, &event))
			err(1, "waiting for an event");
		if (event.type != SHIRQ_EVENT_IRQ) {
			notice(&event);
			continue;
		}
		peer_awake(&peer, regs);
		status = event.r[0];
		if (peer.patient && !status)
			status = peer_status(&peer, regs);
		peer_acknowledge(&peer, regs, status);
		if (peer.poll_ns)
			poll_device(&peer, regs);
		if (peer.ring && shirq_ring_unmask(&events, event.seq))
			err(1, "unmasking");
		peer_event(&peer, status);
		seen++;
		if (peer.swap) {
			set_eventfd(seen % 2 ? -1 : channel);
			peer_swapped();
		}
	}
	return 0;
}
