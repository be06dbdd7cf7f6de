/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SHIRQ_IOCTL_H
#define SHIRQ_IOCTL_H

#include <linux/fs.h>

struct io_uring_cmd;

long shirq_ioctl(struct file *file, unsigned int cmd, unsigned long address);
int shirq_uring_cmd(struct io_uring_cmd *cmd, unsigned int issue_flags);

#endif /* SHIRQ_IOCTL_H */
