/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SHIRQ_WATCH_H
#define SHIRQ_WATCH_H

#include "core.h"

void shirq_watch_begin(struct shirq_device *d);
void shirq_watch_end(struct shirq_device *d);
void shirq_watch_init(struct shirq_device *d);

#endif /* SHIRQ_WATCH_H */
