// SPDX-License-Identifier: MIT
/*
 * Drives a device by io_uring. Usage: uring ADDRESS SCENE; prints what the scene finds. No other
 * process may own the device, which must be a shirq-edu.
 */
#define _GNU_SOURCE
#include "../../guest/drivers/edu-set.h"
#include "check.h"

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

#define ENTRIES		8
#define READ_MULTISHOT	49	/* IORING_OP_READ_MULTISHOT, since Linux 6.7 */
#define EVENT		sizeof(struct shirq_event)

static int device, ring;
static volatile void *bar;
static struct io_uring_sqe *entries;
static struct io_uring_cqe *ends;
static uint32_t *slots, *sent, *done, *taken;

static void make_ring(void)
{
	struct io_uring_params params = { 0 };
	int both = PROT_READ | PROT_WRITE;
	char *queue;

	ring = syscall(SYS_io_uring_setup, ENTRIES, &params);
	CHECK(ring >= 0 && params.features & IORING_FEAT_SINGLE_MMAP);
	queue = mmap(NULL, params.cq_off.cqes + params.cq_entries * sizeof(*ends), both, MAP_SHARED,
		     ring, IORING_OFF_SQ_RING);
	entries = mmap(NULL, ENTRIES * sizeof(*entries), both, MAP_SHARED, ring, IORING_OFF_SQES);
	CHECK(queue != MAP_FAILED && entries != MAP_FAILED);
	slots = (uint32_t *)(queue + params.sq_off.array);
	sent = (uint32_t *)(queue + params.sq_off.tail);
	done = (uint32_t *)(queue + params.cq_off.tail);
	taken = (uint32_t *)(queue + params.cq_off.head);
	ends = (struct io_uring_cqe *)(queue + params.cq_off.cqes);
}

static void submit(const struct io_uring_sqe *entry)
{
	uint32_t slot = *sent % ENTRIES;

	entries[slot] = *entry;
	slots[slot] = slot;
	__atomic_store_n(sent, *sent + 1, __ATOMIC_RELEASE);
	CHECK(syscall(SYS_io_uring_enter, ring, 1, 0, 0, NULL, 0) == 1);
}

/* Return true if something has completed. */
static bool completed(void)
{
	return __atomic_load_n(done, __ATOMIC_ACQUIRE) != *taken;
}

/* Wait for the next completion. The kernel has twice as many of them as entries. */
static struct io_uring_cqe next(void)
{
	struct io_uring_cqe end;

	CHECK(completed() ||
	      !syscall(SYS_io_uring_enter, ring, 0, 1, IORING_ENTER_GETEVENTS, NULL, 0));
	end = ends[*taken % (2 * ENTRIES)];
	__atomic_store_n(taken, *taken + 1, __ATOMIC_RELEASE);
	return end;
}

/* Submit a READ. Offset 0 is BAR 0 for pread(), and events for io_uring. */
static void submit_read(struct shirq_event *event, unsigned int flags, int rw_flags)
{
	submit(&(struct io_uring_sqe){
		.opcode = IORING_OP_READ,
		.flags = flags,
		.fd = device,
		.addr = (uintptr_t)event,
		.len = EVENT,
		.rw_flags = rw_flags,
	});
}

static int call(unsigned int number, const void *argument)
{
	struct io_uring_sqe entry = {
		.opcode = IORING_OP_URING_CMD,
		.fd = device,
		.cmd_op = number,
	};
	uint64_t address = (uintptr_t)argument;

	memcpy(entry.cmd, &address, sizeof(address));
	submit(&entry);
	return next().res;
}

static bool masked(void)
{
	struct shirq_info info;

	CHECK(!shirq_get_info(device, &info));
	return info.flags & SHIRQ_INFO_MASKED;
}

/* Return true if an io_uring worker, which the kernel names iou-wrk-*, exists. */
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

static void arm(uint32_t flags)
{
	struct shirq_programs set = EDU_SET;

	CHECK(!shirq_load(device, &set));
	CHECK(!shirq_arm(device, SHIRQ_ARM_SHARED | flags));
}

static int unmask(uint64_t seq)
{
	struct shirq_unmask argument = { .size = sizeof(argument), .seq = seq };

	return call(SHIRQ_UNMASK, &argument);
}

/* A driver's loop: each READ unmasks the event of the last one, on a blocking descriptor. */
static void serve(void)
{
	struct shirq_event event;
	unsigned int number;

	arm(SHIRQ_ARM_AUTO_UNMASK);
	for (number = 1; number <= 3; number++) {
		submit_read(&event, 0, 0);
		CHECK(!completed());
		shirq_write32(bar, INT_RAISE, 1u << number);
		CHECK(next().res == EVENT);
		CHECK(event.seq == number && event.r[0] == 1u << number && masked());
		shirq_write32(bar, INT_ACK, event.r[0]);
	}
	puts("served");
}

/*
 * io_uring waits also on an O_NONBLOCK descriptor. With RWF_NOWAIT, a READ ends at once; it has
 * unmasked nevertheless.
 */
static void nonblocking(void)
{
	struct shirq_event event;

	arm(SHIRQ_ARM_AUTO_UNMASK);
	CHECK(!fcntl(device, F_SETFL, O_NONBLOCK));
	submit_read(&event, 0, 0);
	CHECK(!completed());
	shirq_write32(bar, INT_RAISE, 4);
	CHECK(next().res == EVENT && event.r[0] == 4);
	shirq_write32(bar, INT_ACK, 4);
	CHECK(masked());
	submit_read(&event, 0, RWF_NOWAIT);
	CHECK(next().res == -EAGAIN && !masked());
	puts("nonblocking");
}

/* Of two READs in flight, the second unmasks the event of the first, which still asserts. */
static void second(void)
{
	struct shirq_event event[2];

	arm(SHIRQ_ARM_AUTO_UNMASK);
	submit_read(&event[0], 0, 0);
	submit_read(&event[1], 0, 0);
	shirq_write32(bar, INT_RAISE, 4);
	CHECK(next().res == EVENT && next().res == EVENT);
	CHECK(event[0].seq + event[1].seq == 3 && event[0].r[0] == 4 && event[1].r[0] == 4);
	puts("second");
}

/* Two READs in flight, whose events are unmasked by commands. */
static void commands(void)
{
	const struct shirq_op twice[] = {
		{ .code = SHIRQ_OP_ADD, .flags = SHIRQ_SRC_REG, .dst = 2, .src = 2 },
	};
	struct shirq_exec exec = {
		.size = sizeof(exec),
		.count = 1,
		.ops = (uintptr_t)twice,
		.regs = { 0, 0, 21 },
	};
	struct shirq_event event[2];
	int first;

	arm(0);
	submit_read(&event[0], 0, 0);
	submit_read(&event[1], 0, 0);
	shirq_write32(bar, INT_RAISE, 4);
	CHECK(next().res == EVENT);
	first = !event[0].seq;
	CHECK(event[first].seq == 1 && masked() && !completed());
	shirq_write32(bar, INT_ACK, 4);
	CHECK(!unmask(1) && !masked());
	shirq_write32(bar, INT_RAISE, 8);
	CHECK(next().res == EVENT && event[!first].seq == 2 && event[!first].r[0] == 8);
	shirq_write32(bar, INT_ACK, 8);
	CHECK(unmask(7) == -EINVAL && masked());
	CHECK(!unmask(2) && !masked());
	/* UNMASK is made when it is submitted; EXEC may wait for the end of a reset. */
	CHECK(!worker_lives());
	CHECK(!call(SHIRQ_EXEC, &exec) && exec.regs[2] == 42);
	CHECK(worker_lives());
	CHECK(call(SHIRQ_UNMASK, NULL) == -EFAULT);
	CHECK(call(_IO(SHIRQ_IOCTL, 0x7f), &exec) == -ENOTTY);
	puts("commands");
}

/*
 * Memory of which half is there: an event goes to the whole of it if the rest can be faulted in, and
 * stays queued if not. io_uring writes no register, and nothing reads less than an event.
 */
static void refusals(void)
{
	size_t page = sysconf(_SC_PAGESIZE);
	char *pages = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct shirq_event event, *half = (struct shirq_event *)(pages + page - EVENT / 2);
	struct io_uring_sqe entry = {
		.opcode = IORING_OP_WRITE, .fd = device, .addr = (uintptr_t)&event, .len = 4,
	};

	CHECK(pages != MAP_FAILED);
	pages[0] = 1;
	arm(0);
	shirq_write32(bar, INT_RAISE, 4);
	submit_read(half, 0, 0);
	CHECK(next().res == EVENT && half->seq == 1 && half->r[0] == 4 && !half->r[3]);
	shirq_write32(bar, INT_ACK, 4);
	CHECK(!unmask(1) && !munmap(pages + page, page));
	shirq_write32(bar, INT_RAISE, 8);
	submit_read(half, 0, 0);
	CHECK(next().res == -EFAULT);
	submit_read(&event, 0, 0);
	CHECK(next().res == EVENT && event.seq == 2 && event.r[0] == 8);
	submit(&entry);
	CHECK(next().res == -EINVAL);
	entry.opcode = IORING_OP_READ;
	submit(&entry);
	CHECK(next().res == -EINVAL);
	/* A READ that waits ends when the device is disarmed. */
	submit_read(&event, 0, 0);
	CHECK(!completed() && !shirq_disarm(device) && next().res == -ENXIO);
	puts("refused");
}

/*
 * A ring alone holds the device, which is armed, and the process ends. The kernel puts the ring
 * away a moment later.
 */
static void registered(void)
{
	arm(0);
	CHECK(!syscall(SYS_io_uring_register, ring, IORING_REGISTER_FILES, &device, 1));
	CHECK(!close(device));
	puts("registered");
}

/* One multishot READ gets every event. */
static void multishot(void)
{
	static struct shirq_event events[4];
	struct io_uring_cqe end;
	unsigned int number;

	arm(0);
	submit(&(struct io_uring_sqe){
		.opcode = IORING_OP_PROVIDE_BUFFERS,
		.fd = 4,
		.addr = (uintptr_t)events,
		.len = EVENT,
	});
	CHECK(!next().res);
	submit(&(struct io_uring_sqe){
		.opcode = READ_MULTISHOT, .flags = IOSQE_BUFFER_SELECT, .fd = device,
	});
	if (completed()) {
		CHECK(next().res == -EINVAL);
		puts("no multishot");
		return;
	}
	for (number = 1; number <= 3; number++) {
		shirq_write32(bar, INT_RAISE, 1u << number);
		end = next();
		CHECK(end.res == EVENT && end.flags & IORING_CQE_F_MORE);
		CHECK(events[end.flags >> IORING_CQE_BUFFER_SHIFT].seq == number);
		shirq_write32(bar, INT_ACK, 1u << number);
		CHECK(!unmask(number));
	}
	puts("multishot");
}

static void *nothing_to_read(void *unused)
{
	struct shirq_event event;

	CHECK(read(device, &event, sizeof(event)) == -1 && errno == EAGAIN);
	return unused;
}

/*
 * An event that an io_uring worker has read belongs to the first thread: its next read() unmasks
 * the event, a read() of another thread does not.
 */
static void worker(void)
{
	struct shirq_event event;
	struct pollfd ready;
	pthread_t other;

	arm(SHIRQ_ARM_AUTO_UNMASK);
	shirq_write32(bar, INT_RAISE, 4);
	ready = (struct pollfd){ .fd = device, .events = POLLIN };
	CHECK(poll(&ready, 1, -1) == 1);
	submit_read(&event, IOSQE_ASYNC, 0);
	CHECK(next().res == EVENT);
	CHECK(event.seq == 1 && event.r[0] == 4);
	CHECK(worker_lives());
	shirq_write32(bar, INT_ACK, 4);

	CHECK(!fcntl(device, F_SETFL, O_NONBLOCK));
	CHECK(!pthread_create(&other, NULL, nothing_to_read, NULL) && !pthread_join(other, NULL));
	CHECK(masked());
	nothing_to_read(NULL);
	CHECK(!masked());
	puts("worker");
}

/* SHIRQ_WAIT and a poll, both in flight, complete with an event of the ring. */
static void ring_events(void)
{
	struct shirq_wait wait = { .size = sizeof(wait), .timeout_ns = UINT64_MAX };
	uint64_t address = (uintptr_t)&wait;
	struct io_uring_sqe entry = {
		.opcode = IORING_OP_URING_CMD, .fd = device, .cmd_op = SHIRQ_WAIT, .user_data = 1,
	};
	struct shirq_events events;
	struct shirq_event event;

	arm(SHIRQ_ARM_RING);
	CHECK(!shirq_ring_map(device, &events));
	for (uint32_t number = 1; number <= 3; number++) {
		struct io_uring_cqe ends_of[2];

		wait.tail = events.tail;
		memcpy(entry.cmd, &address, sizeof(address));
		submit(&entry);
		submit(&(struct io_uring_sqe){
			.opcode = IORING_OP_POLL_ADD, .fd = device, .poll32_events = POLLIN,
			.user_data = 2,
		});
		CHECK(!completed());
		shirq_write32(bar, INT_RAISE, 1u << number);
		ends_of[0] = next();
		ends_of[1] = next();
		CHECK(ends_of[0].user_data + ends_of[1].user_data == 3);
		for (int i = 0; i < 2; i++)
			CHECK(ends_of[i].res == (ends_of[i].user_data == 1 ? 0 : POLLIN));
		CHECK(shirq_ring_next(&events, &event) && event.seq == number);
		shirq_write32(bar, INT_ACK, 1u << number);
		CHECK(!shirq_ring_unmask(&events, event.seq));
	}
	puts("ring");
}

static const struct {
	const char *name;
	void (*run)(void);
} scenes[] = {
	{ "serve", serve },	  { "nonblocking", nonblocking }, { "second", second },
	{ "commands", commands }, { "refusals", refusals },	  { "multishot", multishot },
	{ "worker", worker },	  { "registered", registered },	  { "ring", ring_events },
};

int main(int argc, char **argv)
{
	size_t length, i;

	CHECK(argc == 3);
	device = shirq_open(argv[1]);
	CHECK(device >= 0);
	bar = shirq_map(device, 0, &length);
	CHECK(bar);
	make_ring();
	for (i = 0; i < sizeof(scenes) / sizeof(*scenes); i++)
		if (!strcmp(argv[2], scenes[i].name))
			scenes[i].run();
	return 0;
}
