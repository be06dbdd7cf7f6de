/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
#ifndef NAIVE_H
#define NAIVE_H

#include <linux/ioctl.h>

/* Signal this eventfd (an int) after each answer; -1: none any more. */
#define NAIVE_SET_EVENTFD	_IOW('n', 1, int)

#endif /* NAIVE_H */
