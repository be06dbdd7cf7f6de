/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
#ifndef NAIVE_H
#define NAIVE_H

#include <linux/ioctl.h>

/* Signal this eventfd (an int) after each acknowledgment; -1: signal none. */
#define NAIVE_SET_EVENTFD	_IOW('n', 1, int)

/* Mask the device (an int, 1), or unmask it (0). */
#define NAIVE_SET_MASKED	_IOW('n', 2, int)

#endif /* NAIVE_H */
