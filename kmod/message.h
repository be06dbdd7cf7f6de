/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SHIRQ_MESSAGE_H
#define SHIRQ_MESSAGE_H

#include "core.h"

struct shirq_message *shirq_message(const struct shirq_device *d, unsigned int source);
int shirq_set_messages(struct shirq_device *d, unsigned int *count);
void shirq_free_vectors(struct shirq_device *d);
void shirq_drop_messages(struct shirq_device *d);
int shirq_arm_message(struct shirq_message *m, u32 flags);
int shirq_disarm_message(struct shirq_message *m);
int shirq_mask_message(struct shirq_device *d, unsigned int source, u64 *seq);
int shirq_unmask_message(struct shirq_device *d, unsigned int source, u64 seq);
int shirq_unmask_taken(struct shirq_message *m);

#endif /* SHIRQ_MESSAGE_H */
