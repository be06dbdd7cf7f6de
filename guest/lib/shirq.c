// SPDX-License-Identifier: MIT
#define _FILE_OFFSET_BITS 64

#include "shirq.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static int write_file(const char *path, const char *text)
{
	size_t length = strlen(text);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t written;

	if (fd < 0)
		return -1;
	written = write(fd, text, length);
	/* close() must not overwrite the errno of the write. */
	int saved = errno;
	close(fd);
	errno = saved;
	return written == (ssize_t)length ? 0 : -1;
}

/* Return whether the function is bound to shirq. */
static int is_bound(const char *address)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "/sys/bus/pci/drivers/shirq/%s", address);
	return access(path, F_OK) == 0;
}

/* Unbind the function from its present driver. */
static int give_up(const char *address)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver/unbind", address);
	return write_file(path, address) && errno != ENOENT ? -1 : 0;
}

static int set_override(const char *address, const char *driver)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver_override", address);
	return write_file(path, driver);
}

/* Let the kernel bind the function, which is not bound, to its usual driver. */
static int give_back(const char *address)
{
	return set_override(address, "\n") ? -1 : write_file("/sys/bus/pci/drivers_probe", address);
}

/* Return whether config space says that the function has no interrupt pin. */
static int has_no_pin(const char *address)
{
	const off_t interrupt_pin = 0x3d;
	char path[PATH_MAX];
	unsigned char pin;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/config", address);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	ssize_t got = pread(fd, &pin, 1, interrupt_pin);
	close(fd);
	return got == 1 && pin == 0;
}

int shirq_bind(const char *address)
{
	if (is_bound(address))
		return 0;
	if (access("/sys/bus/pci/drivers/shirq", F_OK)) {
		errno = ENODEV;
		return -1;
	}
	if (has_no_pin(address)) {
		errno = ENXIO;
		return -1;
	}
	if (set_override(address, "shirq"))
		return -1;
	if (!give_up(address) && !write_file("/sys/bus/pci/drivers_probe", address)) {
		if (is_bound(address))
			return 0;
		errno = EIO;
	}
	/* Giving the function back must not overwrite the errno of the failure. */
	int saved = errno;
	give_back(address);
	errno = saved;
	return -1;
}

int shirq_unbind(const char *address)
{
	return give_up(address) ? -1 : give_back(address);
}

int shirq_open(const char *address)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "/dev/shirq/%s", address);
	return open(path, O_RDWR | O_CLOEXEC);
}

int shirq_get_source_info(int fd, uint32_t source, struct shirq_info *info)
{
	*info = (struct shirq_info) { .size = sizeof(*info), .source = source };
	return ioctl(fd, SHIRQ_GET_INFO, info);
}

int shirq_get_info(int fd, struct shirq_info *info)
{
	return shirq_get_source_info(fd, 0, info);
}

int shirq_set_messages(int fd, uint32_t *count)
{
	struct shirq_messages messages = { .size = sizeof(messages), .count = *count };
	int ret = ioctl(fd, SHIRQ_SET_MESSAGES, &messages);

	if (!ret)
		*count = messages.count;
	return ret;
}

int shirq_load(int fd, struct shirq_programs *programs)
{
	return shirq_load_source(fd, 0, programs);
}

int shirq_load_source(int fd, uint32_t source, struct shirq_programs *programs)
{
	struct shirq_load load = {
		.size = sizeof(load),
		.source = source,
		.mode = programs->mode,
		.irq = (uintptr_t)programs->irq,
		.unmask = (uintptr_t)programs->unmask,
		.release = (uintptr_t)programs->release,
		.irq_count = programs->irq_count,
		.unmask_count = programs->unmask_count,
		.release_count = programs->release_count,
		.mask = (uintptr_t)programs->mask,
		.mask_count = programs->mask_count,
	};
	int ret = ioctl(fd, SHIRQ_LOAD, &load);

	programs->refused_program = load.error_program;
	programs->refused_index = load.error_index;
	programs->refused_reason = load.error_reason;
	return ret;
}

int shirq_arm(int fd, uint32_t flags)
{
	return shirq_arm_source(fd, 0, flags);
}

int shirq_arm_source(int fd, uint32_t source, uint32_t flags)
{
	struct shirq_arm arm = { .size = sizeof(arm), .source = source, .flags = flags };

	return ioctl(fd, SHIRQ_ARM, &arm);
}

int shirq_disarm(int fd)
{
	return shirq_disarm_source(fd, 0);
}

int shirq_disarm_source(int fd, uint32_t source)
{
	struct shirq_disarm disarm = { .size = sizeof(disarm), .source = source };

	return ioctl(fd, SHIRQ_DISARM, &disarm);
}

int shirq_unmask(int fd, uint64_t seq)
{
	return shirq_unmask_source(fd, 0, seq);
}

int shirq_unmask_source(int fd, uint32_t source, uint64_t seq)
{
	struct shirq_unmask unmask = { .size = sizeof(unmask), .source = source, .seq = seq };

	return ioctl(fd, SHIRQ_UNMASK, &unmask);
}

int shirq_set_master(int fd, int on)
{
	struct shirq_master master = { .size = sizeof(master), .on = on };

	return ioctl(fd, SHIRQ_SET_MASTER, &master);
}

int shirq_mask(int fd, uint64_t *seq)
{
	return shirq_mask_source(fd, 0, seq);
}

int shirq_mask_source(int fd, uint32_t source, uint64_t *seq)
{
	struct shirq_mask mask = { .size = sizeof(mask), .source = source };
	int ret = ioctl(fd, SHIRQ_MASK, &mask);

	if (!ret)
		*seq = mask.seq;
	return ret;
}

int shirq_set_eventfd(int fd, int eventfd)
{
	return shirq_set_source_eventfd(fd, 0, eventfd);
}

int shirq_set_source_eventfd(int fd, uint32_t source, int eventfd)
{
	struct shirq_eventfd set = { .size = sizeof(set), .source = source, .fd = eventfd };

	return ioctl(fd, SHIRQ_SET_EVENTFD, &set);
}

int shirq_set_quiesce(int fd, uint32_t rungs, uint32_t release, uint32_t max_rate)
{
	struct shirq_quiesce quiesce = {
		.size = sizeof(quiesce),
		.rungs = rungs,
		.release = release,
		.max_rate = max_rate,
	};

	return ioctl(fd, SHIRQ_SET_QUIESCE, &quiesce);
}

static int shirq_set_uio(int fd, struct shirq_uio *uio)
{
	uio->size = sizeof(*uio);
	return ioctl(fd, SHIRQ_SET_UIO, uio);
}

int shirq_add_uio(int fd, const char *name, const char *version, uint32_t flags)
{
	struct shirq_uio uio = { .flags = flags };
	int ret;

	/* The kernel refuses a name without an end. */
	memcpy(uio.name, name, strnlen(name, sizeof(uio.name)));
	memcpy(uio.version, version, strnlen(version, sizeof(uio.version)));
	ret = shirq_set_uio(fd, &uio);
	return ret ? ret : (int)uio.number;
}

int shirq_remove_uio(int fd)
{
	struct shirq_uio uio = { .flags = SHIRQ_UIO_OFF };

	return shirq_set_uio(fd, &uio);
}

int shirq_exec(int fd, const struct shirq_op *ops, size_t count, uint64_t regs[SHIRQ_REGS],
	       struct shirq_exec *refused)
{
	struct shirq_exec exec = {
		.size = sizeof(exec),
		.ops = (uintptr_t)ops,
		.count = count,
	};
	int ret;

	memcpy(exec.regs, regs, sizeof(exec.regs));
	ret = ioctl(fd, SHIRQ_EXEC, &exec);
	memcpy(regs, exec.regs, sizeof(exec.regs));
	if (refused)
		*refused = exec;
	return ret;
}

int shirq_next(int fd, struct shirq_event *event)
{
	return read(fd, event, sizeof(*event)) == (ssize_t)sizeof(*event) ? 0 : -1;
}

/* A register's value in the processor's byte order, at each width that it can have. */
union value {
	uint8_t u8;
	uint16_t u16;
	uint32_t u32;
	uint64_t u64;
};

/*
 * The file offset of a register for pread() and pwrite(); -1 with errno set if it is out of
 * range.
 */
static off_t position(unsigned int bar, uint64_t offset, unsigned int width)
{
	if (bar < SHIRQ_BARS && offset < SHIRQ_MMAP_OFFSET(1) &&
	    (width == 1 || width == 2 || width == 4 || width == 8))
		return SHIRQ_MMAP_OFFSET(bar) + offset;
	errno = EINVAL;
	return -1;
}

int shirq_pread(int fd, unsigned int bar, uint64_t offset, unsigned int width, uint64_t *value)
{
	off_t at = position(bar, offset, width);
	union value raw;

	if (at < 0 || pread(fd, &raw, width, at) < 0)
		return -1;
	*value = width == 1 ? raw.u8 : width == 2 ? raw.u16 : width == 4 ? raw.u32 : raw.u64;
	return 0;
}

int shirq_pwrite(int fd, unsigned int bar, uint64_t offset, unsigned int width, uint64_t value)
{
	off_t at = position(bar, offset, width);
	union value raw;

	if (width == 1)
		raw.u8 = value;
	else if (width == 2)
		raw.u16 = value;
	else if (width == 4)
		raw.u32 = value;
	else
		raw.u64 = value;
	return at < 0 || pwrite(fd, &raw, width, at) < 0 ? -1 : 0;
}

volatile void *shirq_map(int fd, unsigned int bar, size_t *length)
{
	struct shirq_info info;
	void *memory;

	if (bar >= SHIRQ_BARS) {
		errno = EINVAL;
		return NULL;
	}
	if (shirq_get_info(fd, &info))
		return NULL;
	*length = info.bar[bar].length & ~((size_t)sysconf(_SC_PAGESIZE) - 1);
	memory = mmap(NULL, *length, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		      (off_t)SHIRQ_MMAP_OFFSET(bar));
	return memory == MAP_FAILED ? NULL : memory;
}

/* Whole pages that hold a struct of this size. */
static size_t pages(size_t size)
{
	size_t page = sysconf(_SC_PAGESIZE);

	return (size + page - 1) / page * page;
}

int shirq_ring_map(int fd, struct shirq_events *events)
{
	void *ring = mmap(NULL, pages(sizeof(*events->ring)), PROT_READ, MAP_SHARED, fd,
			  (off_t)SHIRQ_MMAP_OFFSET(SHIRQ_MMAP_RING));
	void *consumer = mmap(NULL, pages(sizeof(*events->consumer)), PROT_READ | PROT_WRITE, MAP_SHARED, fd,
			      (off_t)SHIRQ_MMAP_OFFSET(SHIRQ_MMAP_CONSUMER));

	*events = (struct shirq_events) { .fd = fd };
	if (ring != MAP_FAILED)
		events->ring = ring;
	if (consumer != MAP_FAILED)
		events->consumer = consumer;
	if (!events->ring || !events->consumer)
		goto failed;
	events->tail = __atomic_load_n(&events->consumer->tail, __ATOMIC_RELAXED);
	if (!events->ring->store_width)
		return 0;
	events->bar = shirq_map(fd, events->ring->store_bar, &events->bar_length);
	/* The registers of a device that was stopped cannot be mapped, but its ring has events, and says why. */
	if (events->bar || errno == EIO || errno == ENODEV)
		return 0;
failed:
	/* Unmapping must not overwrite the errno of the mapping. */
	int saved = errno;
	shirq_ring_unmap(events);
	errno = saved;
	return -1;
}

int shirq_ring_unmap(struct shirq_events *events)
{
	int ret = 0;

	if (events->ring)
		ret |= munmap((void *)events->ring, pages(sizeof(*events->ring)));
	if (events->consumer)
		ret |= munmap(events->consumer, pages(sizeof(*events->consumer)));
	if (events->bar)
		ret |= munmap((void *)events->bar, events->bar_length);
	*events = (struct shirq_events) { .fd = events->fd };
	return ret;
}

/* Tell the processor that this is a loop that waits. */
static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield" : : : "memory");
#else
	__asm__ volatile("" : : : "memory");
#endif
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/*
 * Look for an event for so long. Return whether there is one; give up early if none can
 * come any more.
 */
static int look(const struct shirq_events *events, uint64_t spin_ns)
{
	const int looks = 64;	/* between two looks at the clock, which takes longer */
	const uint64_t begin = spin_ns ? now_ns() : 0;

	for (int left = looks; ; left--) {
		if (__atomic_load_n(&events->ring->head, __ATOMIC_ACQUIRE) != events->tail)
			return 1;
		if (!spin_ns ||
		    __atomic_load_n(&events->ring->state, __ATOMIC_ACQUIRE) != SHIRQ_RING_ARMED)
			return 0;
		if (!left) {
			if (now_ns() - begin >= spin_ns)
				return 0;
			left = looks;
		}
		relax();
	}
}

int shirq_wait(struct shirq_events *events, uint64_t spin_ns, uint64_t timeout_ns)
{
	struct shirq_wait wait = { .size = sizeof(wait), .timeout_ns = timeout_ns, .tail = events->tail };

	/* The call looks again: the last events come before the end that was seen. */
	return look(events, spin_ns) ? 0 : ioctl(events->fd, SHIRQ_WAIT, &wait);
}
