/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SHIRQ_LIFECYCLE_H
#define SHIRQ_LIFECYCLE_H

#include <linux/fs.h>
#include "core.h"

int shirq_adopt(struct shirq_device *d);
int shirq_own(struct shirq_device *d, struct address_space *mapping);
void shirq_disown(struct shirq_device *d);
void shirq_retire(struct shirq_device *d);
void shirq_pause(struct shirq_device *d, bool recovering);
void shirq_calm_early(struct shirq_device *d);
void shirq_continue(struct shirq_device *d, enum shirq_event_type type);
void shirq_recovered(struct shirq_device *d);
void shirq_give_up(struct shirq_device *d);
void shirq_lifecycle_init(struct shirq_device *d);

#endif /* SHIRQ_LIFECYCLE_H */
