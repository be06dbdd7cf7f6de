/*
 * The run-time properties of the device, as data: names, values and limits.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "qemu/timer.h"
#include "qapi/error.h"
#include "hw/misc/shirq-settings.h"

#define MAX_NS          (10 * NANOSECONDS_PER_SECOND)
#define MIN_STORM_NS    100

static const char *const off_on[] = { "off", "on", NULL };

#define CHOICE(...) .names = (const char *const[]) { __VA_ARGS__, NULL }

const ShirqSettingInfo shirq_setting_info[SHIRQ_SETTINGS] = {
    [SHIRQ_SET_DISINTX] = {
        "disintx", "how Command's interrupt-disable bit behaves",
        CHOICE("ok", "read-only", "no-op", "stuck") },
    [SHIRQ_SET_INTX_STATUS] = {
        "intx-status", "Status' interrupt status bit",
        CHOICE("auto", "ok", "zero", "one") },
    [SHIRQ_SET_INTX_PIN] = {
        "intx-pin", "the interrupt pin (while the VM is stopped)",
        CHOICE("A", "B", "C", "D", "none"), .stopped = true },
    [SHIRQ_SET_DEAD] = {
        "dead", "what reads as all-ones and ignores writes",
        CHOICE("off", "bars", "all") },
    [SHIRQ_SET_POSTED] = {
        "posted", "how long writes are under way",
        CHOICE("off", "until-read", "delayed") },
    [SHIRQ_SET_POSTED_NS] = {
        "posted-ns", "how long at most, for posted=delayed, in ns",
        .min = 1, .max = MAX_NS, .reset = 1000 },
    [SHIRQ_SET_DEASSERT_DELAY_NS] = {
        "deassert-delay-ns", "how long the pin stays asserted, in ns",
        .max = MAX_NS },
    [SHIRQ_SET_STATUS_LAG_NS] = {
        "status-lag-ns", "how late registers show a change, in ns",
        .max = MAX_NS },
    [SHIRQ_SET_STORM_NS] = {
        "storm-ns", "period of a storm in ns, 0 for none",
        .min = MIN_STORM_NS, .max = MAX_NS, .or_zero = true },
    [SHIRQ_SET_STORM_SOURCES] = {
        "storm-sources", "sources that storm, as bits",
        .min = 1, .max = UINT32_MAX, .reset = 1, .sources = true },
    [SHIRQ_SET_REASSERT] = {
        "reassert", "sources that are pending again once acknowledged, as bits",
        .max = UINT32_MAX, .sources = true },
    [SHIRQ_SET_RESET_DISINTX] = {
        "reset-disintx", "the interrupt-disable bit after a reset",
        .names = off_on },
    [SHIRQ_SET_RESET_STATUS] = {
        "reset-status", "sources that are pending after a reset, as bits",
        .max = UINT32_MAX, .sources = true },
    [SHIRQ_SET_RESET_UNMASKED] = {
        "reset-unmasked", "sources that are not masked after a reset, as bits",
        .max = UINT32_MAX, .sources = true },
    [SHIRQ_SET_PM_EFFECTIVE] = {
        "pm-effective", "whether D3hot silences and resets",
        .names = off_on, .reset = 1 },
    [SHIRQ_SET_FLR_EFFECTIVE] = {
        "flr-effective", "whether a function-level reset resets",
        .names = off_on, .reset = 1 },
    [SHIRQ_SET_PIN_STUCK] = {
        "pin-stuck", "whether an asserted pin waits for the next raise to fall",
        .names = off_on },
    [SHIRQ_SET_INTX_WITH_MSI] = {
        "intx-with-msi", "whether the pin asserts although MSI is enabled",
        .names = off_on },
    [SHIRQ_SET_PAYLOAD_LAG_NS] = {
        "payload-lag-ns", "how late registers show the payload, in ns",
        .max = MAX_NS },
};

/* One value */

static bool is_number_allowed(const ShirqSettingInfo *info, uint64_t value)
{
    return (value >= info->min && value <= info->max) ||
        (info->or_zero && !value);
}

bool shirq_setting_allows(int id, uint64_t value)
{
    const ShirqSettingInfo *info = &shirq_setting_info[id];
    uint64_t choices = 0;

    if (!info->names) {
        return is_number_allowed(info, value);
    }
    while (info->names[choices]) {
        choices++;
    }
    return value < choices;
}

static bool choose(const ShirqSettingInfo *info, const char *text,
                   uint64_t *value, Error **errp)
{
    g_autofree char *allowed = NULL;

    for (*value = 0; info->names[*value]; (*value)++) {
        if (!strcmp(info->names[*value], text)) {
            return true;
        }
    }
    allowed = g_strjoinv(", ", (char **)info->names);
    error_setg(errp, "shirq-edu: property '%s' must be one of %s, not '%s'",
               info->name, allowed, text);
    return false;
}

static bool check_number(const ShirqSettingInfo *info, uint64_t value,
                         Error **errp)
{
    if (is_number_allowed(info, value)) {
        return true;
    }
    error_setg(errp, "shirq-edu: property '%s' must be %s%" PRIu64 " to %"
               PRIu64 ", not %" PRIu64, info->name,
               info->or_zero ? "0 or " : "", info->min, info->max, value);
    return false;
}

int shirq_setting_parse(const char *name, const char *text, uint64_t *value,
                        Error **errp)
{
    const ShirqSettingInfo *info = shirq_setting_info;
    int id;

    for (id = 0; id < SHIRQ_SETTINGS; id++, info++) {
        if (!strcmp(info->name, name) && !info->stopped) {
            break;
        }
    }
    if (id == SHIRQ_SETTINGS) {
        error_setg(errp, "'%s' is no property that can be set while the VM "
                   "runs", name);
        return -1;
    }
    if (info->names) {
        return choose(info, text, value, errp) ? id : -1;
    }
    if (qemu_strtou64(text, NULL, 0, value)) {
        error_setg(errp, "shirq-edu: property '%s' must be a number, not '%s'",
                   name, text);
        return -1;
    }
    return check_number(info, *value, errp) ? id : -1;
}

bool shirq_setting_visit(Visitor *v, int id, uint64_t *value, Error **errp)
{
    const ShirqSettingInfo *info = &shirq_setting_info[id];
    g_autofree char *text = NULL;

    if (!info->names) {
        return visit_type_uint64(v, info->name, value, errp) &&
            (!visit_is_input(v) || check_number(info, *value, errp));
    }
    if (!visit_is_input(v)) {
        text = g_strdup(info->names[*value]);
    }
    return visit_type_str(v, info->name, &text, errp) &&
        (!visit_is_input(v) || choose(info, text, value, errp));
}

/* All values */

bool shirq_settings_check(const uint64_t *setting, uint32_t sources, bool pm,
                          bool pcie, bool msi, Error **errp)
{
    int i;

    for (i = 0; i < SHIRQ_SETTINGS; i++) {
        uint64_t unknown = setting[i] & ~(uint64_t)sources;

        if (shirq_setting_info[i].sources && unknown &&
            (i != SHIRQ_SET_STORM_SOURCES || setting[SHIRQ_SET_STORM_NS])) {
            error_setg(errp, "shirq-edu: property '%s' names the sources 0x%"
                       PRIx64 ", and the device has 0x%x",
                       shirq_setting_info[i].name, unknown, sources);
            return false;
        }
    }
    if (setting[SHIRQ_SET_RESET_DISINTX] &&
        setting[SHIRQ_SET_DISINTX] == SHIRQ_DISINTX_READ_ONLY) {
        error_setg(errp, "shirq-edu: property 'reset-disintx' must be off with "
                   "disintx=read-only, which has no such bit");
    } else if (!setting[SHIRQ_SET_PM_EFFECTIVE] && !pm) {
        error_setg(errp, "shirq-edu: property 'pm-effective' must be on "
                   "without pm=on, which makes the capability");
    } else if (!setting[SHIRQ_SET_FLR_EFFECTIVE] && !pcie) {
        error_setg(errp, "shirq-edu: property 'flr-effective' must be on "
                   "without pcie=on, which makes the capability");
    } else if (setting[SHIRQ_SET_INTX_WITH_MSI] && !msi) {
        error_setg(errp, "shirq-edu: property 'intx-with-msi' must be off "
                   "without msi=on, which makes the capability");
    } else {
        return true;
    }
    return false;
}
