/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SHIRQ_MAP_H
#define SHIRQ_MAP_H

#include <linux/mm.h>

#include "core.h"

/* A mapping's page offset: the number of the BAR, and below it the page within the BAR. */
#define SHIRQ_PGOFF_SHIFT	(SHIRQ_MMAP_SHIFT - PAGE_SHIFT)

/**
 * struct shirq_wanted - a mapping that mmap() asks for
 * @page: first page, within the BAR
 * @count: pages
 * @shared: MAP_SHARED
 */
struct shirq_wanted {
	pgoff_t		page;
	unsigned long	count;
	bool		shared;
};

/*
 * Map as decrypted: registers are not encrypted, even where memory is (SEV, TDX).
 * Return: the protection of a mapping of registers.
 */
static inline pgprot_t shirq_map_prot(pgprot_t prot)
{
	return pgprot_decrypted(pgprot_noncached(prot));
}

int shirq_may_map(struct shirq_device *d, const struct shirq_wanted *wanted, u64 pages,
		  unsigned long *generation);
void shirq_map(struct vm_area_struct *vma);
vm_fault_t shirq_map_fault(struct shirq_device *d, struct vm_fault *vmf,
			   unsigned long generation);

#endif /* SHIRQ_MAP_H */
