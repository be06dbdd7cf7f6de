/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SHIRQ_STORM_H
#define SHIRQ_STORM_H

#include "core.h"

void shirq_quarantine(struct shirq_device *d, enum shirq_quarantine reason, const u64 *captured);
bool shirq_storm_silent(struct shirq_device *d, u64 time_ns);
void shirq_storm_claimed(struct shirq_device *d, u64 time_ns, const u64 *captured);
bool shirq_storm_declined(struct shirq_device *d, u64 time_ns);

#endif /* SHIRQ_STORM_H */
