/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SHIRQ_DMA_H
#define SHIRQ_DMA_H

#include <linux/err.h>
#include "core.h"

#ifdef CONFIG_MMU_NOTIFIER
struct shirq_dma *shirq_watch_mm(struct shirq_device *d);
void shirq_unwatch_mm(struct shirq_dma *dma);
#else
/* Bus mastering cannot be enabled: no notifier would tell when the owner's memory is freed. */
static inline struct shirq_dma *shirq_watch_mm(struct shirq_device *d)
{
	return ERR_PTR(-EOPNOTSUPP);
}

static inline void shirq_unwatch_mm(struct shirq_dma *dma)
{
}
#endif

#endif /* SHIRQ_DMA_H */
