/* SPDX-License-Identifier: MIT */
/*
 * What the peers share: one driver of a shirq-edu device for each interface
 * that Linux has for interrupts in user space, with one command line and one
 * output, so that they can be compared. Each loop is what a careful user of its
 * interface would write.
 */
#ifndef PEER_H
#define PEER_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* qemu-device/SPEC.md; ENABLE only where a case describes it */
#define INT_ENABLE	0x20
#define INT_STATUS	0x24
#define INT_MASK	0x28
#define INT_ACTIVE	0x2c
#define INT_ACK		0x64
#define INT_MASK_SET	0x68
#define INT_MASK_CLEAR	0x6c
#define MARK		0x70
#define ALL		0xffffffff

/* A bit of ENABLE that is no source's: what user space changes there. */
#define ENABLE_OTHER	0x100

struct peer {
	const char *address;
	/* Print nothing for events. */
	bool quiet;
	/* Tell the device's MARK register of each interrupt, and serve nothing but interrupts. */
	bool mark;
	/* Do not arm if the line would be shared. */
	bool exclusive;
	/* End after so many events; 0: go on. */
	unsigned long count;
	/* Programs for the kernel, as struct shirq_op; NULL: those of the edu preset. */
	const char *programs;
};

/* Fill it in from the command line, or end. */
void peer_parse(struct peer *peer, int argc, char **argv);

/* Say that interrupts are served from now on. */
void peer_armed(void);

/* The last part of the path that a link in the device's folder points to, such as its IOMMU group. */
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

/* To be called as soon as the interface has told of an interrupt. */
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
 * Serve lines on standard input in a thread of its own: `read` and `write` are
 * the two halves of a read-modify-write of ENABLE, anything may come between
 * them. With change() it is done at once, at `write`.
 */
void peer_control(volatile void *regs, void (*change)(void));

#endif /* PEER_H */
