/* SPDX-License-Identifier: MIT */
/*
 * Common code of the stress programs: random choices that a seed makes repeatable,
 * marks in the event log, and failure reports.
 */
#ifndef SHIRQ_TORTURE_H
#define SHIRQ_TORTURE_H

#include <stdint.h>

/* Choices: the same seed gives the same numbers, in the same order. */
struct choices {
	uint64_t state;
	uint64_t digest;
};

struct choices choices_of(uint64_t seed);

/* A number of 64 random bits. */
uint64_t draw(struct choices *from);

/* A number below limit, which is not 0. */
uint64_t below(struct choices *from, uint64_t limit);

/*
 * Marks, written to the MARK register of a device that has no driver: the host
 * finds them in the event log, among the devices' entries. Each mark names an
 * attempt. From MARK_GONE to the next MARK_OWN the device under test has no owner.
 */
enum mark {
	MARK_OWN	= 1,	/* the device may have an owner, and assert, from here on */
	MARK_END	= 2,	/* the owner's end begins */
	MARK_GONE	= 3,	/* the owner's end is complete: the pin is low */
};

void map_marks(const char *address);
void mark(enum mark what, uint32_t attempt);

/* Print "FAIL attempt: what" and count the failure. The program continues. */
void fail(uint32_t attempt, const char *what, ...) __attribute__((format(printf, 2, 3)));
extern unsigned int failures;

/* Write a text to a file, as `echo` does. Returns 0, or -1 with errno set. */
int put(const char *path, const char *text);

/* The first word in a file, valid until the next call. Ends the program if the file cannot be read. */
const char *word_of(const char *path);

/* Sleep. A signal does not end the sleep. */
void pass_time(uint64_t us);

#endif /* SHIRQ_TORTURE_H */
