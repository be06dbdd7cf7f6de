// SPDX-License-Identifier: GPL-2.0-only
/* Mappings of memory BARs, which shirq_revoke() makes void. */
#include <linux/errno.h>

#include "access.h"
#include "compat.h"
#include "map.h"

/**
 * shirq_may_map() - check whether a mapping of a BAR is allowed
 * @d: the device
 * @wanted: the mapping
 * @pages: number of pages of this BAR that may be mapped
 * @generation: out: generation of the mapping, for shirq_map_fault()
 *
 * Context: mmap_lock held.
 * Return: 0, or the errno of mmap().
 */
int shirq_may_map(struct shirq_device *d, const struct shirq_wanted *wanted, u64 pages,
		  unsigned long *generation)
{
	int ret;

	if (!wanted->shared)
		return -EINVAL;
	shirq_lock_registers(d);
	ret = shirq_check_access(d);
	if (!ret && wanted->page + wanted->count > pages)
		ret = -EINVAL;
	*generation = d->generation;
	shirq_unlock_registers(d);
	return ret;
}

/**
 * shirq_map() - prepare a mapping of a BAR, whose pages shirq_map_fault() inserts
 * @vma: the mapping, which shirq_may_map() allows; its page offset is as SHIRQ_PGOFF_SHIFT
 *	says
 */
void shirq_map(struct vm_area_struct *vma)
{
	vma->vm_page_prot = shirq_map_prot(vma->vm_page_prot);
	vm_flags_set(vma, VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP);
}

/**
 * shirq_map_fault() - insert a page of a BAR into a mapping that is not void
 * @d: the device
 * @vmf: the page fault, in a mapping whose page offset is as SHIRQ_PGOFF_SHIFT says
 * @generation: generation of the mapping
 *
 * Context: mmap_lock held.
 * Return: of a page fault handler.
 */
vm_fault_t shirq_map_fault(struct shirq_device *d, struct vm_fault *vmf,
			   unsigned long generation)
{
	unsigned int bar = vmf->pgoff >> SHIRQ_PGOFF_SHIFT;
	pgoff_t page = vmf->pgoff & ((1ul << SHIRQ_PGOFF_SHIFT) - 1);
	vm_fault_t ret = VM_FAULT_SIGBUS;
	bool allowed;

	mutex_lock(&d->mutex);
	spin_lock_irq(&d->lock);
	allowed = !shirq_check_access(d) && generation == d->generation;
	spin_unlock_irq(&d->lock);
	/*
	 * If the device is quarantined after the check, the ladder's worker revokes the
	 * mapping once it gets the mutex.
	 */
	if (allowed)
		ret = vmf_insert_pfn(vmf->vma, vmf->address,
				     (pci_resource_start(d->pdev, bar) >> PAGE_SHIFT) + page);
	mutex_unlock(&d->mutex);
	return ret;
}
