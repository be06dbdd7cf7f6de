/* SPDX-License-Identifier: MIT */
/*
 * Common code of the peers: one driver of a shirq-edu device for each Linux
 * interface for interrupts in user space, with the same command line and
 * output, so that they can be compared. Each loop is written as a careful user
 * of that interface would write it.
 */
#ifndef PEER_H
#define PEER_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "../edu.h"

/* A bit of INT_ENABLE that belongs to no source: user space changes it. */
#define ENABLE_OTHER	0x100

struct peer {
	const char *address;
	/* Print nothing for events. */
	bool quiet;
	/* Write the MARK register at each event. */
	bool mark;
	/* Do not arm if the line would be shared. */
	bool exclusive;
	/* End after this many events; 0: never. */
	unsigned long count;
	/* The status may lag: poll again while it reads as zero. */
	bool patient;
	/* Registers to be cleared before and after the acknowledgement; 0: none. */
	uint32_t before, after;
	/* Remove the eventfd after odd events, restore it after even ones. */
	bool swap;
	/* See peer_control(). */
	bool control;
	/* Programs for the kernel, as struct shirq_op; NULL: those of the edu preset. */
	const char *programs;
	/* Take events from a ring, and look for each for so long before sleeping. */
	bool ring;
	uint64_t spin_ns;
	/*
	 * After an event, leave the device masked, and look at its status again each time that so
	 * many nanoseconds have passed, until it is zero; 0: unmask at once.
	 */
	uint64_t poll_ns;
	/* Priority for SCHED_FIFO; 0: the usual policy. */
	int fifo;
};

/* Fill in the peer from the command line. Exit on an error. */
void peer_parse(struct peer *peer, int argc, char **argv);

/* Print that interrupts are served from now on, and take the priority that was asked for. */
void peer_armed(const struct peer *peer);

/* Print that the eventfd has been removed or restored. */
void peer_swapped(void);

/*
 * Read a link in the device's folder; return the last part of its target, such as the
 * IOMMU group.
 */
void peer_link(const struct peer *peer, const char *name, char *target, size_t size);

/* Map BAR 0 by sysfs, for interfaces that do not map it. */
volatile void *peer_map(const struct peer *peer);

static inline uint32_t peer_read(const volatile void *regs, size_t offset)
{
	return *(const volatile uint32_t *)((const volatile char *)regs + offset);
}

static inline void peer_write(volatile void *regs, size_t offset, uint32_t value)
{
	*(volatile uint32_t *)((volatile char *)regs + offset) = value;
}

/* How often a lagging status is polled. */
#define PATIENCE	1000000

static inline uint32_t peer_status(const struct peer *peer, const volatile void *regs)
{
	uint32_t status = peer_read(regs, INT_STATUS);

	if (peer->patient)
		for (int look = 0; !status && look < PATIENCE; look++)
			status = peer_read(regs, INT_STATUS);
	return status;
}

static inline void peer_acknowledge(const struct peer *peer, volatile void *regs, uint32_t status)
{
	if (peer->before)
		peer_write(regs, peer->before, ALL);
	peer_write(regs, INT_ACK, status);
	if (peer->after)
		peer_write(regs, peer->after, ALL);
}

/* Call this as soon as the interface has reported an interrupt. */
static inline void peer_awake(const struct peer *peer, volatile void *regs)
{
	if (peer->mark)
		peer_write(regs, MARK, 0);
}

static inline void peer_event(const struct peer *peer, uint32_t status)
{
	if (!peer->quiet)
		printf("event status=0x%x\n", status);
}

/*
 * Functions for the commands that --control reads from standard input, in a separate
 * process, so that they also run while the driver is stopped. `read` and `write` are
 * the two halves of a read-modify-write of INT_ENABLE, and other code may run between
 * them; if there is a change(), `write` calls it for the whole change. `mask` and
 * `unmask` call mask(), the interface's own way to mask the device, if it has one.
 */
struct peer_verbs {
	void (*change)(void);
	void (*mask)(bool masked);
};

void peer_control(const struct peer *peer, volatile void *regs, const struct peer_verbs *verbs);

#endif /* PEER_H */
