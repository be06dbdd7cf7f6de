// SPDX-License-Identifier: MIT
/*
 * Makes every call of the C library about messages, on a shirq-edu device that has MSI.
 * Usage: library_messages ADDRESS
 */
#include "../../guest/drivers/edu-set.h"
#include "check.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define FAILS(call, number)	CHECK((call) == -1 && errno == (number))

static struct shirq_info info_of(int fd, uint32_t source)
{
	struct shirq_info info;

	CHECK(!shirq_get_source_info(fd, source, &info));
	return info;
}

static void one_message(int fd, volatile void *bar)
{
	struct shirq_programs set = EDU_SET;
	int counter = eventfd(0, 0);
	struct shirq_event event;
	uint64_t masked, count;

	CHECK(!shirq_load_source(fd, 1, &set));
	CHECK(!shirq_set_source_eventfd(fd, 1, counter));
	CHECK(info_of(fd, 1).state == SHIRQ_STATE_LOADED && info_of(fd, 0).state == SHIRQ_STATE_OPEN);
	CHECK(!shirq_arm_source(fd, 1, 0));
	shirq_write32(bar, INT_RAISE, 0x10);
	CHECK(read(counter, &count, sizeof(count)) == sizeof(count) && count == 1);
	CHECK(!shirq_next(fd, &event) && event.source == 1 && event.r[0] == 0x10);
	CHECK(info_of(fd, 1).flags & SHIRQ_INFO_MASKED);
	shirq_write32(bar, INT_ACK, 0x10);
	CHECK(!shirq_unmask_source(fd, 1, event.seq));
	CHECK(!(info_of(fd, 1).flags & SHIRQ_INFO_MASKED));

	CHECK(!shirq_mask_source(fd, 1, &masked) && masked == event.seq + 1);
	shirq_write32(bar, INT_RAISE, 0x20);
	CHECK(!shirq_unmask_source(fd, 1, masked));
	CHECK(!shirq_next(fd, &event) && event.r[0] == 0x20 && event.seq == masked + 1);
	CHECK(!shirq_disarm_source(fd, 1));
	FAILS(shirq_next(fd, &event), ENXIO);
	close(counter);
}

int main(int argc, char **argv)
{
	uint32_t count = 33;
	volatile void *bar;
	size_t length;
	int fd;

	CHECK(argc == 2);
	fd = shirq_open(argv[1]);
	CHECK(fd >= 0);
	bar = shirq_map(fd, 0, &length);
	CHECK(bar);
	FAILS(shirq_set_messages(fd, &count), EINVAL);
	CHECK(count == 33);
	count = 8;
	CHECK(!shirq_set_messages(fd, &count) && count == 1);
	FAILS(shirq_arm_source(fd, 2, 0), EINVAL);
	CHECK(!shirq_set_master(fd, 1));
	one_message(fd, bar);
	count = 0;
	CHECK(!shirq_set_messages(fd, &count));
	close(fd);
	puts("done");
	return 0;
}
