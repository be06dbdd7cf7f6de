/* SPDX-License-Identifier: MIT */
#ifndef CHECK_H
#define CHECK_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Ends the program with the place, the condition and errno, unless the condition holds. */
#define CHECK(what) \
	do { \
		if (!(what)) { \
			fprintf(stderr, "%d: %s: %s\n", __LINE__, #what, strerror(errno)); \
			exit(1); \
		} \
	} while (0)

#endif
