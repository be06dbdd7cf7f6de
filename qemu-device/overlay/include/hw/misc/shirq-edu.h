/*
 * The device as a whole: a PCI function made of a card, its configuration
 * space, its pin, the accesses to them, and a schedule.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_MISC_SHIRQ_EDU_H
#define HW_MISC_SHIRQ_EDU_H

#include "hw/misc/shirq-access.h"
#include "hw/misc/shirq-card.h"
#include "hw/misc/shirq-config.h"
#include "hw/misc/shirq-pin.h"
#include "hw/misc/shirq-schedule.h"
#include "hw/misc/shirq-settings.h"

#define TYPE_SHIRQ_EDU "shirq-edu"
OBJECT_DECLARE_TYPE(ShirqEdu, ShirqEduClass, SHIRQ_EDU)

struct ShirqEduClass {
    PCIDeviceClass parent_class;

    DeviceRealize parent_realize;
};

struct ShirqEdu {
    PCIDevice parent_obj;

    uint64_t setting[SHIRQ_SETTINGS];
    ShirqCard card;
    ShirqPin pin;
    ShirqConfig config;
    ShirqAccess access;
    ShirqSchedule schedule;
    QEMUTimer schedule_timer;
    Notifier state_notifier;

    char *preset;               /* NULL: `registers` was set */
    const char *described_by;   /* the property that -device gave, if any */
    char *schedule_path;

    /* In a saved state and in a savepoint: see shirq-state.c. */
    uint32_t state_text_size;
    uint8_t *state_text;
    uint64_t saved_setting[SHIRQ_SETTINGS];
    uint32_t saved_texts_size;
    uint8_t *saved_texts;
};

/* shirq-edu.c */

/* Let the pin follow all that it depends on. */
void shirq_edu_follow(ShirqEdu *s);
/* Reset the registers, but not the configuration space. */
void shirq_edu_reset_registers(ShirqEdu *s);

/* shirq-change.c: changes from outside, each with its check and its effects */

bool shirq_edu_check_settings(ShirqEdu *s, Error **errp);
bool shirq_edu_change_setting(ShirqEdu *s, int id, uint64_t value,
                              Error **errp);
/* Let a setting that has changed take effect. */
void shirq_edu_apply_setting(ShirqEdu *s, int id);
/*
 * Replace the register file; the new one starts in the reset state. @name is
 * the property that is set, @preset NULL or the name of the preset.
 */
bool shirq_edu_change_registers(ShirqEdu *s, const char *name,
                                const char *preset, const char *text,
                                Error **errp);
bool shirq_edu_change_schedule(ShirqEdu *s, const char *path, Error **errp);

/* shirq-actions.c: what a schedule does to the device */

void shirq_edu_init_schedule(ShirqEdu *s);
void shirq_edu_ring(DeviceState *dev);
/* Let the timer expire when the next entry is due. */
void shirq_edu_follow_schedule(ShirqEdu *s);

/* shirq-properties.c: the properties of QOM that exist at run time */

void shirq_edu_add_properties(ObjectClass *klass);

/* shirq-state.c: the saved state, and what a savepoint has besides */

extern const VMStateDescription vmstate_shirq_edu;
extern const VMStateDescription vmstate_shirq_edu_properties;

#endif
