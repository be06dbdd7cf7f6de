/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SHIRQ_IOCTL_H
#define SHIRQ_IOCTL_H

#include <linux/fs.h>

long shirq_ioctl(struct file *file, unsigned int cmd, unsigned long address);

#endif /* SHIRQ_IOCTL_H */
