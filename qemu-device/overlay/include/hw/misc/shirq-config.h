/*
 * The configuration space: identity, capabilities, the interrupt-disable and
 * interrupt status bits, power states and the function-level reset.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_MISC_SHIRQ_CONFIG_H
#define HW_MISC_SHIRQ_CONFIG_H

#include "hw/misc/shirq-pin.h"

typedef struct ShirqConfig {
    PCIDevice *pdev;
    const uint64_t *setting;
    ShirqPin *pin;

    /* Properties. */
    uint32_t vendor_id;
    uint32_t device_id;
    uint32_t revision;
    uint32_t class_code;
    uint32_t subsystem_vendor_id;
    uint32_t subsystem_id;
    bool pm;
    bool no_soft_reset;
    bool pcie;
    bool msi;

    uint8_t pm_cap;             /* 0: none */
    bool disintx_ignored;       /* the bit was written as 1, without effect */
} ShirqConfig;

/* To be filled in first: pdev, setting, pin, and the properties. */
bool shirq_config_realize(ShirqConfig *config, Error **errp);
void shirq_config_exit(ShirqConfig *config);

void shirq_config_reset(ShirqConfig *config);
/*
 * Set the interrupt-disable bit if it is set after a reset. Call this at the
 * end of the reset: before, the PCI core deasserts every pin and clears
 * Command.
 */
void shirq_config_come_up(ShirqConfig *config);

/* Whether an access concerns Command, Status or PMCSR. */
bool shirq_config_is_logged(const ShirqConfig *config, uint32_t offset,
                            int width);
uint32_t shirq_config_read(ShirqConfig *config, uint32_t offset, int width);
/* This can reset the function. */
void shirq_config_write(ShirqConfig *config, uint32_t offset, uint32_t value,
                        int width);

/* Whether it is in a power state in which it neither answers nor asserts. */
bool shirq_config_is_asleep(const ShirqConfig *config);
/* Let the interrupt-disable bit behave as the settings say. */
void shirq_config_follow_disintx(ShirqConfig *config);
/* Make a stuck interrupt-disable bit read-only if it is set. */
void shirq_config_follow_stuck(ShirqConfig *config);
/* Whether a loaded interrupt-disable bit fits its behaviour. */
bool shirq_config_is_possible(const ShirqConfig *config);

#endif
