/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SHIRQ_MAP_H
#define SHIRQ_MAP_H

#include <linux/mm.h>

#include "core.h"

/* A mapping's page offset: the number of the BAR, and below it the page within the BAR. */
#define SHIRQ_PGOFF_SHIFT	(SHIRQ_MMAP_SHIFT - PAGE_SHIFT)

int shirq_map(struct shirq_device *d, struct vm_area_struct *vma, u64 pages,
	      unsigned long *generation);
vm_fault_t shirq_map_fault(struct shirq_device *d, struct vm_fault *vmf,
			   unsigned long generation);

#endif /* SHIRQ_MAP_H */
