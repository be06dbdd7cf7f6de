/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SHIRQ_ARM_H
#define SHIRQ_ARM_H

#include "core.h"

int shirq_arm(struct shirq_device *d, u32 flags);
int shirq_disarm(struct shirq_device *d);
void shirq_wake_quarantined(struct shirq_device *d);
void shirq_halt(struct shirq_device *d);
void shirq_let_go(struct shirq_device *d);
bool shirq_withdraw(struct shirq_device *d);

#endif /* SHIRQ_ARM_H */
