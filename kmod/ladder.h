/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SHIRQ_LADDER_H
#define SHIRQ_LADDER_H

#include "core.h"

void shirq_sleep(struct shirq_device *d);
int shirq_reset_function(struct shirq_device *d, u32 rung);
int shirq_watch_wake(struct shirq_device *d);
bool shirq_storm_released(struct shirq_device *d);
void shirq_storm_settle(struct shirq_device *d, u32 rungs);
void shirq_ladder_init(struct shirq_device *d);

#endif /* SHIRQ_LADDER_H */
