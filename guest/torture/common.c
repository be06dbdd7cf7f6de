// SPDX-License-Identifier: MIT
#define _GNU_SOURCE
#include "torture.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "../drivers/edu.h"

#define ATTEMPT_BITS	24

unsigned int failures;

static volatile uint32_t *marks;

/* Choices: random numbers by splitmix64, and an FNV-1a digest of the numbers. */

struct choices choices_of(uint64_t seed)
{
	return (struct choices) { .state = seed, .digest = 0xcbf29ce484222325 };
}

uint64_t draw(struct choices *from)
{
	uint64_t z = from->state += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	z ^= z >> 31;
	from->digest = (from->digest ^ z) * 0x100000001b3;
	return z;
}

uint64_t below(struct choices *from, uint64_t limit)
{
	return draw(from) % limit;
}

void map_marks(const char *address)
{
	char path[PATH_MAX];
	void *bar;
	int fd;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/enable", address);
	if (put(path, "1"))
		err(1, "%s", path);
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource0", address);
	fd = open(path, O_RDWR | O_CLOEXEC);
	bar = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (bar == MAP_FAILED)
		err(1, "%s", path);
	close(fd);
	marks = bar;
}

void mark(enum mark what, uint32_t attempt)
{
	marks[MARK / sizeof(*marks)] = (uint32_t)what << ATTEMPT_BITS | attempt;
}

void fail(uint32_t attempt, const char *what, ...)
{
	va_list arguments;

	__atomic_add_fetch(&failures, 1, __ATOMIC_RELAXED);
	flockfile(stdout);
	printf("FAIL %u: ", attempt);
	va_start(arguments, what);
	vprintf(what, arguments);
	va_end(arguments);
	putchar('\n');
	fflush(stdout);
	funlockfile(stdout);
}

int put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t written;
	int saved;

	if (fd < 0)
		return -1;
	written = write(fd, text, strlen(text));
	saved = errno;
	close(fd);
	errno = saved;
	return written < 0 ? -1 : 0;
}

const char *word_of(const char *path)
{
	static char word[64];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length = fd < 0 ? -1 : read(fd, word, sizeof(word) - 1);

	if (length < 0)
		err(1, "%s", path);
	close(fd);
	word[length] = 0;
	word[strcspn(word, " \n")] = 0;
	return word;
}

void pass_time(uint64_t us)
{
	struct timespec left = { .tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000 };

	while (nanosleep(&left, &left) && errno == EINTR)
		;
}
