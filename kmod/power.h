/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SHIRQ_POWER_H
#define SHIRQ_POWER_H

#include <linux/pci.h>
#include <linux/pm.h>

extern const struct dev_pm_ops shirq_pm_ops;
extern const struct pci_error_handlers shirq_error_handlers;

#endif /* SHIRQ_POWER_H */
