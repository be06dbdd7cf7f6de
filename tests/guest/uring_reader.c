// SPDX-License-Identifier: MIT
/*
 * Checks that an event read by an io_uring worker belongs to the first thread of the process: the
 * next read() of that thread unmasks the event, a read() of another thread does not.
 * Usage: uring_reader ADDRESS. The device must be a shirq-edu that no other process owns.
 */
#define _GNU_SOURCE
#include "../../guest/drivers/edu-set.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CHECK(what) \
	do { \
		if (!(what)) { \
			fprintf(stderr, "%d: %s: %s\n", __LINE__, #what, strerror(errno)); \
			exit(1); \
		} \
	} while (0)

static int device;

/* Make an io_uring worker read() the device once; returns the result of that read(). */
static int read_by_worker(void *to, size_t length)
{
	struct io_uring_params params = { 0 };
	int ring = syscall(SYS_io_uring_setup, 1, &params);
	int both = PROT_READ | PROT_WRITE;
	struct io_uring_sqe *entry;
	struct io_uring_cqe *end;
	uint32_t *at, *tail;
	char *sent, *done;

	CHECK(ring >= 0);
	sent = mmap(NULL, params.sq_off.array + params.sq_entries * sizeof(*at), both, MAP_SHARED,
		    ring, IORING_OFF_SQ_RING);
	done = mmap(NULL, params.cq_off.cqes + params.cq_entries * sizeof(*end), both, MAP_SHARED,
		    ring, IORING_OFF_CQ_RING);
	entry = mmap(NULL, params.sq_entries * sizeof(*entry), both, MAP_SHARED, ring,
		     IORING_OFF_SQES);
	CHECK(sent != MAP_FAILED && done != MAP_FAILED && entry != MAP_FAILED);

	*entry = (struct io_uring_sqe) {
		.opcode = IORING_OP_READ,
		.flags = IOSQE_ASYNC,
		.fd = device,
		.off = -1,
		.addr = (uintptr_t)to,
		.len = length,
	};
	at = (uint32_t *)(sent + params.sq_off.array);
	tail = (uint32_t *)(sent + params.sq_off.tail);
	*at = 0;
	__atomic_store_n(tail, 1, __ATOMIC_RELEASE);
	CHECK(syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) == 1);
	tail = (uint32_t *)(done + params.cq_off.tail);
	CHECK(__atomic_load_n(tail, __ATOMIC_ACQUIRE) == 1);
	end = (struct io_uring_cqe *)(done + params.cq_off.cqes);
	return end->res;
}

/* Return true if the io_uring worker, which the kernel names iou-wrk-*, still exists. */
static bool worker_lives(void)
{
	DIR *threads = opendir("/proc/self/task");
	char path[300], name[32] = "";
	bool found = false;
	struct dirent *thread;
	FILE *file;

	CHECK(threads);
	while ((thread = readdir(threads))) {
		snprintf(path, sizeof(path), "/proc/self/task/%s/comm", thread->d_name);
		file = fopen(path, "re");
		if (!file)
			continue;
		if (fgets(name, sizeof(name), file) && !strncmp(name, "iou-wrk-", 8))
			found = true;
		fclose(file);
	}
	closedir(threads);
	return found;
}

static bool masked(void)
{
	struct shirq_info info;

	CHECK(!shirq_get_info(device, &info));
	return info.flags & SHIRQ_INFO_MASKED;
}

static void *nothing_to_read(void *unused)
{
	struct shirq_event event;

	CHECK(read(device, &event, sizeof(event)) == -1 && errno == EAGAIN);
	return unused;
}

int main(int argc, char **argv)
{
	struct shirq_programs set = EDU_SET;
	struct pollfd ready;
	struct shirq_event event;
	volatile void *bar;
	pthread_t other;
	size_t length;

	CHECK(argc == 2);
	device = shirq_open(argv[1]);
	CHECK(device >= 0);
	bar = shirq_map(device, 0, &length);
	CHECK(bar && !shirq_load(device, &set));
	CHECK(!shirq_arm(device, SHIRQ_ARM_SHARED | SHIRQ_ARM_AUTO_UNMASK));
	shirq_write32(bar, INT_RAISE, 4);
	ready = (struct pollfd) { .fd = device, .events = POLLIN };
	CHECK(poll(&ready, 1, -1) == 1);
	CHECK(read_by_worker(&event, sizeof(event)) == sizeof(event));
	CHECK(event.seq == 1 && event.r[0] == 4);
	CHECK(worker_lives());
	shirq_write32(bar, INT_ACK, 4);

	CHECK(!fcntl(device, F_SETFL, O_NONBLOCK));
	CHECK(!pthread_create(&other, NULL, nothing_to_read, NULL) && !pthread_join(other, NULL));
	CHECK(masked());
	nothing_to_read(NULL);
	CHECK(!masked());
	puts("done");
	return 0;
}
