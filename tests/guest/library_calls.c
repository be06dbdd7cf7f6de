// SPDX-License-Identifier: MIT
/*
 * Makes every call of the C library on a shirq-edu device that has no other driver.
 * Usage: library_calls ADDRESS [ERRNO]: with an errno, makes the call shirq_bind() alone, which must fail with it.
 */
#include "../../guest/drivers/edu-set.h"
#include "check.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#define FAILS(call, number)	CHECK((call) == -1 && errno == (number))

static const struct shirq_op mask[] = {
	SHIRQ_DO_CONST(SHIRQ_OP_LOAD, 0, ALL),
	SHIRQ_DO_WRITE(4, 0, INT_MASK_SET, 0, 0),
};
static const struct shirq_op out_of_bounds[] = {
	SHIRQ_DO_CONST(SHIRQ_OP_LOAD, 0, ALL),
	SHIRQ_DO_READ(4, 0, 0, 0x1000, 0),
};
/* r0 = ID, then r1 += r0. */
static const struct shirq_op add[] = {
	SHIRQ_DO_READ(4, 0, 0, ID, 0),
	SHIRQ_DO_REG(SHIRQ_OP_ADD, 1, 0),
};

static uint32_t flags(int fd)
{
	struct shirq_info info;

	CHECK(!shirq_get_info(fd, &info));
	return info.flags;
}

static void programs_are_taken_and_refused(int fd)
{
	struct shirq_programs set = EDU_SET;

	set.release = mask;
	set.release_count = COUNT(mask);
	set.mask = out_of_bounds;
	set.mask_count = COUNT(out_of_bounds);
	FAILS(shirq_load(fd, &set), EINVAL);
	CHECK(set.refused_program == SHIRQ_PROGRAM_MASK && set.refused_index == 1 &&
	      set.refused_reason == SHIRQ_REFUSED_BOUNDS);
	FAILS(shirq_arm(fd, SHIRQ_ARM_SHARED), ENOEXEC);
	set.mask = mask;
	set.mask_count = COUNT(mask);
	CHECK(!shirq_load(fd, &set));
}

static void registers_are_reached_each_way(int fd, volatile void *bar)
{
	uint64_t regs[SHIRQ_REGS] = { [1] = 2 };
	struct shirq_exec refused;
	uint64_t value;

	CHECK(!shirq_pread(fd, 0, ID, 4, &value) && value == shirq_read32(bar, ID));
	CHECK(!shirq_pread(fd, 0, ID, 2, &value) && value == shirq_read16(bar, ID));
	CHECK(!shirq_pread(fd, 0, ID + 1, 1, &value) && value == shirq_read8(bar, ID + 1));
	CHECK(!shirq_pwrite(fd, 0, LIVENESS, 4, 0x12345678) && shirq_read32(bar, LIVENESS) == 0xedcba987);
	shirq_write32(bar, LIVENESS, 1);
	CHECK(!shirq_pread(fd, 0, LIVENESS, 4, &value) && value == 0xfffffffe);
	FAILS(shirq_pread(fd, 0, ID, 3, &value), EINVAL);
	FAILS(shirq_pread(fd, 0, ID, 16, &value), EINVAL);
	FAILS(shirq_pread(fd, SHIRQ_BARS, ID, 4, &value), EINVAL);
	FAILS(shirq_pwrite(fd, 0, 0x1000, 4, 0), EINVAL);

	CHECK(!shirq_exec(fd, add, COUNT(add), regs, NULL));
	CHECK(regs[0] == shirq_read32(bar, ID) && regs[1] == regs[0] + 2);
	FAILS(shirq_exec(fd, out_of_bounds, COUNT(out_of_bounds), regs, &refused), EINVAL);
	CHECK(refused.error_index == 1 && refused.error_reason == SHIRQ_REFUSED_BOUNDS);
}

static void settings_are_made(int fd)
{
	CHECK(!(flags(fd) & SHIRQ_INFO_MASTER));
	CHECK(!shirq_set_master(fd, 1) && flags(fd) & SHIRQ_INFO_MASTER);
	CHECK(!shirq_set_master(fd, 0) && !(flags(fd) & SHIRQ_INFO_MASTER));
	CHECK(!shirq_set_quiesce(fd, SHIRQ_QUIESCE_D3HOT | SHIRQ_QUIESCE_FLR, SHIRQ_QUIESCE_FLR, 1000));
	FAILS(shirq_set_quiesce(fd, 0x80, 0, 0), EINVAL);
	FAILS(shirq_set_quiesce(fd, 0, SHIRQ_QUIESCE_D3HOT, 0), EINVAL);
	CHECK(!shirq_set_quiesce(fd, SHIRQ_QUIESCE_D3HOT, 0, 0));
	FAILS(shirq_remove_uio(fd), ENOENT);
	FAILS(shirq_add_uio(fd, "edu", "", 0), EINVAL);
	CHECK(!shirq_add_uio(fd, "edu", "7", SHIRQ_UIO_UNMASK_BY_READ));
	FAILS(shirq_add_uio(fd, "edu", "7", 0), EEXIST);
	CHECK(!shirq_remove_uio(fd));
}

static void interrupts_come_as_events(int fd, volatile void *bar)
{
	int counter = eventfd(0, 0);
	struct shirq_event event;
	uint64_t masked, count;

	FAILS(shirq_set_eventfd(fd, STDIN_FILENO), EINVAL);
	CHECK(!shirq_set_eventfd(fd, counter));
	CHECK(!shirq_arm(fd, SHIRQ_ARM_SHARED));
	shirq_write32(bar, INT_RAISE, 0x10);
	CHECK(read(counter, &count, sizeof(count)) == sizeof(count) && count == 1);
	CHECK(!shirq_next(fd, &event) && event.type == SHIRQ_EVENT_IRQ && event.r[0] == 0x10);
	CHECK(flags(fd) & SHIRQ_INFO_MASKED);
	shirq_write32(bar, INT_ACK, 0x10);
	CHECK(!shirq_unmask(fd, event.seq) && !(flags(fd) & SHIRQ_INFO_MASKED));

	CHECK(!shirq_mask(fd, &masked) && masked > event.seq);
	shirq_write32(bar, INT_RAISE, 0x20);
	CHECK(shirq_read32(bar, INT_STATUS) == 0x20 && !shirq_read32(bar, INT_ACTIVE));
	CHECK(!shirq_unmask(fd, event.seq) && flags(fd) & SHIRQ_INFO_MASKED);
	CHECK(!shirq_set_eventfd(fd, -1));
	CHECK(!shirq_unmask(fd, masked));
	CHECK(!shirq_next(fd, &event) && event.r[0] == 0x20);

	CHECK(!shirq_disarm(fd));
	FAILS(shirq_next(fd, &event), ENXIO);
	CHECK(shirq_read32(bar, INT_MASK) == ALL);
	close(counter);
}

static void ring_is_taken_without_calls(int fd, volatile void *bar)
{
	struct shirq_programs set = EDU_SET;
	struct shirq_events events;
	struct shirq_event event;

	shirq_write32(bar, INT_ACK, ALL);
	CHECK(!shirq_load(fd, &set));
	CHECK(!shirq_arm(fd, SHIRQ_ARM_SHARED | SHIRQ_ARM_RING));
	CHECK(!shirq_ring_map(fd, &events) && events.bar && events.ring->state == SHIRQ_RING_ARMED);
	FAILS(shirq_next(fd, &event), EBUSY);
	CHECK(!shirq_ring_next(&events, &event));
	FAILS(shirq_wait(&events, 100000, 0), ETIMEDOUT);
	for (uint32_t source = 1; source <= 4; source *= 2) {
		shirq_write32(bar, INT_RAISE, source);
		CHECK(!shirq_wait(&events, source == 1 ? 0 : UINT64_MAX, UINT64_MAX));
		CHECK(shirq_ring_next(&events, &event) && event.r[0] == source);
		CHECK(!shirq_ring_next(&events, &event) && events.consumer->tail == events.ring->head);
		shirq_write32(bar, INT_ACK, source);
		CHECK(!shirq_ring_unmask(&events, event.seq - 1) && shirq_read32(bar, INT_MASK) == ALL);
		CHECK(!shirq_ring_unmask(&events, event.seq) && !shirq_read32(bar, INT_MASK));
		CHECK(!(flags(fd) & SHIRQ_INFO_MASKED));
	}
	CHECK(!shirq_disarm(fd));
	FAILS(shirq_wait(&events, UINT64_MAX, UINT64_MAX), ENXIO);
	/* Nobody would handle the interrupts of a device that was disarmed. */
	FAILS(shirq_ring_unmask(&events, event.seq), ENXIO);
	CHECK(shirq_read32(bar, INT_MASK) == ALL);
	CHECK(!shirq_ring_unmap(&events) && !events.ring);
}

int main(int argc, char **argv)
{
	volatile void *bar;
	size_t length;
	int fd;

	if (argc == 3) {
		FAILS(shirq_bind(argv[1]), atoi(argv[2]));
		return 0;
	}
	CHECK(argc == 2);
	CHECK(!shirq_unbind(argv[1]));
	FAILS(shirq_open(argv[1]), ENOENT);
	/* 00:00.0 is the host bridge, which has no interrupt pin. */
	FAILS(shirq_bind("0000:00:00.0"), ENXIO);
	CHECK(!shirq_bind(argv[1]));
	CHECK(!shirq_bind(argv[1]));
	fd = shirq_open(argv[1]);
	CHECK(fd >= 0);
	FAILS(shirq_open(argv[1]), EBUSY);
	CHECK(!shirq_map(fd, SHIRQ_BARS, &length) && errno == EINVAL);
	bar = shirq_map(fd, 0, &length);
	CHECK(bar && length == 0x1000);

	programs_are_taken_and_refused(fd);
	registers_are_reached_each_way(fd, bar);
	settings_are_made(fd);
	interrupts_come_as_events(fd, bar);
	ring_is_taken_without_calls(fd, bar);

	munmap((void *)bar, length);
	close(fd);
	CHECK(!shirq_unbind(argv[1]));
	puts("done");
	return 0;
}
