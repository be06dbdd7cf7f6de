/*
 * How accesses reach the device: its BARs, posted writes, a dead device, and
 * the log of accesses.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_MISC_SHIRQ_ACCESS_H
#define HW_MISC_SHIRQ_ACCESS_H

#include "exec/memory.h"
#include "hw/misc/shirq-card.h"
#include "hw/misc/shirq-config.h"
#include "migration/vmstate.h"

#define SHIRQ_BARS      6
#define SHIRQ_POSTED    64

typedef struct ShirqAccess ShirqAccess;

typedef struct ShirqBar {
    ShirqAccess *access;
    MemoryRegion region;
    char *text;                 /* the property */
    uint32_t size;              /* 0: none */
    uint8_t type;               /* of PCI_BASE_ADDRESS_* */
} ShirqBar;

/* A write that has not reached the device. */
typedef struct ShirqPosted {
    uint64_t value;
    int64_t due;
    uint32_t offset;
    uint8_t bar;
    uint8_t width;
} ShirqPosted;

struct ShirqAccess {
    PCIDevice *pdev;
    const uint64_t *setting;
    ShirqCard *card;
    ShirqConfig *config;

    ShirqBar bar[SHIRQ_BARS];
    ShirqPosted posted[SHIRQ_POSTED];
    uint32_t posted_first;
    uint32_t posted_count;
    QEMUTimer posted_timer;

    uint64_t reads;
    uint64_t writes;
};

/* To be filled in first: pdev, setting, card, config. */
void shirq_access_init(ShirqAccess *access);
void shirq_access_exit(ShirqAccess *access);
/* Read what the properties say of BARs; then whether @regs fit into them. */
bool shirq_access_parse_bars(ShirqAccess *access, Error **errp);
bool shirq_access_check_regs(const ShirqAccess *access, const ShirqRegs *regs,
                             Error **errp);
void shirq_access_register_bars(ShirqAccess *access);

uint32_t shirq_access_config_read(ShirqAccess *access, uint32_t offset,
                                  int width);
void shirq_access_config_write(ShirqAccess *access, uint32_t offset,
                               uint32_t value, int width);

/* Let posted writes reach the device, or lose them. */
void shirq_access_land(ShirqAccess *access);
void shirq_access_lose(ShirqAccess *access);

extern const VMStateDescription vmstate_shirq_access;
/* Whether a loaded queue of posted writes can be one. */
bool shirq_access_is_possible(const ShirqAccess *access);

#endif
