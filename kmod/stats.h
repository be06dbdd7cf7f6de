/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SHIRQ_STATS_H
#define SHIRQ_STATS_H

#include <linux/sysfs.h>

extern const struct attribute_group *shirq_groups[];

#endif /* SHIRQ_STATS_H */
