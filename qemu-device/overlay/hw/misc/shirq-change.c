/*
 * Changes of the device from outside: its settings, its register file, its
 * schedule. Each is checked first, and refused as a whole; then it takes
 * effect.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "hw/misc/shirq-edu.h"
#include "hw/misc/shirq-log.h"
#include "system/runstate.h"

static bool check_stopped(ShirqEdu *s, const char *name, Error **errp)
{
    if (DEVICE(s)->realized && runstate_is_running()) {
        error_setg(errp, "shirq-edu: property '%s' can only be set while the "
                   "VM is stopped: stop it first", name);
        return false;
    }
    return true;
}

/* Settings */

bool shirq_edu_check_settings(ShirqEdu *s, Error **errp)
{
    return shirq_settings_check(s->setting, s->card.regs->sources,
                                s->config.pm, s->config.pcie, s->config.msi,
                                errp);
}

void shirq_edu_apply_setting(ShirqEdu *s, int id)
{
    switch (id) {
    case SHIRQ_SET_DISINTX:
        shirq_config_follow_disintx(&s->config);
        break;
    case SHIRQ_SET_INTX_PIN:
        shirq_pin_move(&s->pin);
        shirq_edu_follow(s);
        break;
    case SHIRQ_SET_POSTED:
        if (s->setting[SHIRQ_SET_POSTED] == SHIRQ_POSTED_OFF) {
            shirq_access_land(&s->access);
        }
        break;
    case SHIRQ_SET_DEASSERT_DELAY_NS:
    case SHIRQ_SET_PIN_STUCK:
    case SHIRQ_SET_INTX_WITH_MSI:
        shirq_edu_follow(s);
        break;
    case SHIRQ_SET_STORM_NS:
        shirq_card_follow_storm(&s->card);
        break;
    }
}

bool shirq_edu_change_setting(ShirqEdu *s, int id, uint64_t value,
                              Error **errp)
{
    const ShirqSettingInfo *info = &shirq_setting_info[id];
    uint64_t before = s->setting[id];

    if (info->stopped && !check_stopped(s, info->name, errp)) {
        return false;
    }
    if (id == SHIRQ_SET_STATUS_LAG_NS || id == SHIRQ_SET_PAYLOAD_LAG_NS) {
        /* Show what is old enough by the former lag. */
        shirq_card_settle(&s->card);
    }
    s->setting[id] = value;
    if (!DEVICE(s)->realized) {
        return true;
    }
    if (!shirq_edu_check_settings(s, errp)) {
        s->setting[id] = before;
        return false;
    }
    shirq_log_event(DEVICE(s), SHIRQ_LOG_SETTING, id, value);
    shirq_edu_apply_setting(s, id);
    return true;
}

/* Registers */

bool shirq_edu_change_registers(ShirqEdu *s, const char *name,
                                const char *preset, const char *text,
                                Error **errp)
{
    ERRP_GUARD();
    g_autoptr(ShirqRegs) regs = shirq_regs_parse(text, errp);
    ShirqRegs *before = s->card.regs;

    if (!regs) {
        error_prepend(errp, "shirq-edu: property '%s': ", name);
        return false;
    }
    if (!DEVICE(s)->realized) {
        /*
         * QEMU sets properties in no defined order, so neither can override the
         * other.
         */
        if (s->described_by && strcmp(s->described_by, name)) {
            error_setg(errp, "shirq-edu: properties 'preset' and 'registers' "
                       "describe the same: give one of them");
            return false;
        }
        s->described_by = name;
    } else {
        if (!check_stopped(s, name, errp)) {
            return false;
        }
        if (!shirq_access_check_regs(&s->access, regs, errp)) {
            error_prepend(errp, "shirq-edu: property '%s': ", name);
            return false;
        }
        s->card.regs = regs;
        if (!shirq_edu_check_settings(s, errp)) {
            s->card.regs = before;
            return false;
        }
    }
    s->card.regs = g_steal_pointer(&regs);
    shirq_regs_free(before);
    g_free(s->preset);
    s->preset = g_strdup(preset);
    if (DEVICE(s)->realized) {
        shirq_log_event(DEVICE(s), SHIRQ_LOG_RESET, 0, 0);
        shirq_edu_reset_registers(s);
    }
    return true;
}

/* Schedule */

bool shirq_edu_change_schedule(ShirqEdu *s, const char *path, Error **errp)
{
    ERRP_GUARD();

    if (!DEVICE(s)->realized) {
        error_setg(errp, "shirq-edu: 'schedule' cannot be set now: set it with "
                   "qom-set once the device exists, while the VM is stopped");
        return false;
    }
    if (!check_stopped(s, "schedule", errp)) {
        return false;
    }
    if (!*path) {
        shirq_schedule_clear(&s->schedule);
    } else if (!shirq_schedule_load(&s->schedule, path,
                                    s->card.regs->sources,
                                    qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL),
                                    errp)) {
        error_prepend(errp, "shirq-edu: property 'schedule', '%s': ", path);
        return false;
    }
    g_free(s->schedule_path);
    s->schedule_path = g_strdup(path);
    shirq_edu_follow_schedule(s);
    return true;
}
