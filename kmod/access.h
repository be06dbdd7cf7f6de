/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SHIRQ_ACCESS_H
#define SHIRQ_ACCESS_H

#include "core.h"

void shirq_lock_resets(struct shirq_device *d);
void shirq_unlock_resets(struct shirq_device *d);
int shirq_enter(struct shirq_device *d);
void shirq_lock_registers(struct shirq_device *d);
void shirq_unlock_registers(struct shirq_device *d);
int shirq_check_access(const struct shirq_device *d);
void shirq_revoke(struct shirq_device *d);

#endif /* SHIRQ_ACCESS_H */
