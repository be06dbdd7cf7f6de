/*
 * The run-time properties of the device, as data: names, values and limits.
 *
 * They are specified in SPEC.md, "Faults". A device keeps the values in an
 * array of SHIRQ_SETTINGS numbers; its parts read them there.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_MISC_SHIRQ_SETTINGS_H
#define HW_MISC_SHIRQ_SETTINGS_H

#include "qapi/visitor.h"

/* By their number in the event log: append only. */
typedef enum ShirqSetting {
    SHIRQ_SET_DISINTX,
    SHIRQ_SET_INTX_STATUS,
    SHIRQ_SET_INTX_PIN,
    SHIRQ_SET_DEAD,
    SHIRQ_SET_POSTED,
    SHIRQ_SET_POSTED_NS,
    SHIRQ_SET_DEASSERT_DELAY_NS,
    SHIRQ_SET_STATUS_LAG_NS,
    SHIRQ_SET_STORM_NS,
    SHIRQ_SET_STORM_SOURCES,
    SHIRQ_SET_REASSERT,
    SHIRQ_SET_RESET_DISINTX,
    SHIRQ_SET_RESET_STATUS,
    SHIRQ_SET_RESET_UNMASKED,
    SHIRQ_SET_PM_EFFECTIVE,
    SHIRQ_SET_FLR_EFFECTIVE,
    SHIRQ_SET_PIN_STUCK,
    SHIRQ_SET_INTX_WITH_MSI,
    SHIRQ_SET_PAYLOAD_LAG_NS,
    SHIRQ_SETTINGS,
} ShirqSetting;

enum {
    SHIRQ_DISINTX_OK,
    SHIRQ_DISINTX_READ_ONLY,
    SHIRQ_DISINTX_NO_OP,
    SHIRQ_DISINTX_STUCK,
};
enum {
    SHIRQ_INTX_STATUS_AUTO,
    SHIRQ_INTX_STATUS_OK,
    SHIRQ_INTX_STATUS_ZERO,
    SHIRQ_INTX_STATUS_ONE,
};
/* The pins have the numbers from 0 on. */
enum { SHIRQ_PIN_NONE = 4 };
enum { SHIRQ_DEAD_OFF, SHIRQ_DEAD_BARS, SHIRQ_DEAD_ALL };
enum { SHIRQ_POSTED_OFF, SHIRQ_POSTED_UNTIL_READ, SHIRQ_POSTED_DELAYED };

/* A choice among @names, or a number from @min to @max, or 0 if @or_zero. */
typedef struct ShirqSettingInfo {
    const char *name;
    const char *description;
    const char *const *names;
    uint64_t min;
    uint64_t max;
    bool or_zero;
    uint64_t reset;             /* its default */
    bool stopped;               /* settable only while the VM is stopped */
    bool sources;               /* bits of sources */
} ShirqSettingInfo;

extern const ShirqSettingInfo shirq_setting_info[SHIRQ_SETTINGS];

/* Whether the setting @id can have @value. */
bool shirq_setting_allows(int id, uint64_t value);

/*
 * Look up the property @name, which must be settable while the VM runs, and
 * convert @text to its value; -1 with an error if either is unknown.
 */
int shirq_setting_parse(const char *name, const char *text, uint64_t *value,
                        Error **errp);

/* The value as a string or a number; false with an error. */
bool shirq_setting_visit(Visitor *v, int id, uint64_t *value, Error **errp);

/*
 * Whether the values fit together, and to a device with @sources and, if so,
 * the capabilities of power management, PCI Express and MSI.
 */
bool shirq_settings_check(const uint64_t *setting, uint32_t sources, bool pm,
                          bool pcie, bool msi, Error **errp);

#endif
