/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SHIRQ_FILE_H
#define SHIRQ_FILE_H

#include <linux/fs.h>

extern const struct file_operations shirq_fops;

#endif /* SHIRQ_FILE_H */
