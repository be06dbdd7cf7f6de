/*
 * The device's properties of QOM that exist at run time: settings, stimuli,
 * observations, registers and schedule.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/visitor.h"
#include "hw/misc/shirq-edu.h"
#include "hw/misc/shirq-presets.h"

/* Settings */

static void get_setting(Object *obj, Visitor *v, const char *name,
                        void *opaque, Error **errp)
{
    int id = GPOINTER_TO_INT(opaque);

    shirq_setting_visit(v, id, &SHIRQ_EDU(obj)->setting[id], errp);
}

static void set_setting(Object *obj, Visitor *v, const char *name,
                        void *opaque, Error **errp)
{
    int id = GPOINTER_TO_INT(opaque);
    uint64_t value;

    if (shirq_setting_visit(v, id, &value, errp)) {
        shirq_edu_change_setting(SHIRQ_EDU(obj), id, value, errp);
    }
}

/* Registers and schedule */

static char *get_registers(Object *obj, Error **errp)
{
    return g_strdup(SHIRQ_EDU(obj)->card.regs->text);
}

static void set_registers(Object *obj, const char *text, Error **errp)
{
    shirq_edu_change_registers(SHIRQ_EDU(obj), "registers", NULL, text, errp);
}

static char *get_preset(Object *obj, Error **errp)
{
    return g_strdup(SHIRQ_EDU(obj)->preset ?: "");
}

static void set_preset(Object *obj, const char *name, Error **errp)
{
    const char *text = shirq_preset(name);

    if (!text) {
        g_autofree char *names = shirq_preset_names();

        error_setg(errp, "shirq-edu: property 'preset' must be one of %s, "
                   "not '%s'", names, name);
        return;
    }
    shirq_edu_change_registers(SHIRQ_EDU(obj), "preset", name, text, errp);
}

static char *get_schedule(Object *obj, Error **errp)
{
    return g_strdup(SHIRQ_EDU(obj)->schedule_path ?: "");
}

static void set_schedule(Object *obj, const char *path, Error **errp)
{
    shirq_edu_change_schedule(SHIRQ_EDU(obj), path, errp);
}

/* Stimuli and observations */

typedef void Stimulus(ShirqCard *card, uint32_t sources);

static void apply_stimulus(Object *obj, Visitor *v, const char *name,
                           void *opaque, Error **errp)
{
    ShirqCard *card = &SHIRQ_EDU(obj)->card;
    Stimulus *stimulus = opaque;
    uint32_t sources;

    if (!visit_type_uint32(v, name, &sources, errp)) {
        return;
    }
    if (!DEVICE(obj)->realized) {
        error_setg(errp, "shirq-edu: '%s' is for run time: set it with "
                   "qom-set once the device exists", name);
    } else if (!sources) {
        error_setg(errp, "shirq-edu: '%s' takes the sources as bits, "
                   "1 to %" PRIu32 ", not 0", name, card->regs->sources);
    } else if (sources & ~card->regs->sources) {
        error_setg(errp, "shirq-edu: '%s' takes the sources as bits of 0x%x, "
                   "not 0x%x", name, card->regs->sources, sources);
    } else {
        stimulus(card, sources);
    }
}

static bool get_pin(Object *obj, Error **errp)
{
    return SHIRQ_EDU(obj)->pin.level;
}

static void get_u32(Object *obj, Visitor *v, const char *name, void *opaque,
                    Error **errp)
{
    visit_type_uint32(v, name, (void *)obj + (uintptr_t)opaque, errp);
}

static void get_u64(Object *obj, Visitor *v, const char *name, void *opaque,
                    Error **errp)
{
    visit_type_uint64(v, name, (void *)obj + (uintptr_t)opaque, errp);
}

static void get_schedule_left(Object *obj, Visitor *v, const char *name,
                              void *opaque, Error **errp)
{
    uint32_t left = shirq_schedule_left(&SHIRQ_EDU(obj)->schedule);

    visit_type_uint32(v, name, &left, errp);
}

static const struct {
    const char *name;
    const char *type;
    ObjectPropertyAccessor *get;
    size_t offset;
    const char *description;
} readable[] = {
    { "status", "uint32", get_u32,
      offsetof(ShirqEdu, card.word[SHIRQ_STATUS]), "pending sources" },
    { "mask", "uint32", get_u32,
      offsetof(ShirqEdu, card.word[SHIRQ_MASK]), "masked sources" },
    { "posted-writes", "uint32", get_u32,
      offsetof(ShirqEdu, access.posted_count),
      "writes that are under way" },
    { "schedule-left", "uint32", get_schedule_left, 0,
      "entries of the schedule that have not been executed" },
    { "raises", "uint64", get_u64, offsetof(ShirqEdu, card.raises),
      "raise stimuli, from property, register, storm or schedule" },
    { "asserts", "uint64", get_u64, offsetof(ShirqEdu, pin.asserts),
      "rising edges of the pin" },
    { "acks", "uint64", get_u64, offsetof(ShirqEdu, card.acks),
      "accesses that acknowledge" },
    { "reads", "uint64", get_u64, offsetof(ShirqEdu, access.reads),
      "register reads" },
    { "writes", "uint64", get_u64, offsetof(ShirqEdu, access.writes),
      "register writes" },
};

/* Class */

static void add_property(ObjectClass *klass, const char *name,
                         const char *type, ObjectPropertyAccessor *get,
                         ObjectPropertyAccessor *set, void *opaque,
                         const char *description)
{
    object_class_property_add(klass, name, type, get, set, NULL, opaque);
    object_class_property_set_description(klass, name, description);
}

static void add_text(ObjectClass *klass, const char *name,
                     char *(*get)(Object *, Error **),
                     void (*set)(Object *, const char *, Error **),
                     const char *description)
{
    object_class_property_add_str(klass, name, get, set);
    object_class_property_set_description(klass, name, description);
}

void shirq_edu_add_properties(ObjectClass *klass)
{
    int i;

    for (i = 0; i < SHIRQ_SETTINGS; i++) {
        const ShirqSettingInfo *info = &shirq_setting_info[i];

        add_property(klass, info->name, info->names ? "str" : "uint64",
                     get_setting, set_setting, GINT_TO_POINTER(i),
                     info->description);
    }
    for (i = 0; i < ARRAY_SIZE(readable); i++) {
        add_property(klass, readable[i].name, readable[i].type,
                     readable[i].get, NULL,
                     (void *)(uintptr_t)readable[i].offset,
                     readable[i].description);
    }
    add_property(klass, "raise", "uint32", NULL, apply_stimulus,
                 shirq_card_raise, "sources to make pending (run time)");
    add_property(klass, "lower", "uint32", NULL, apply_stimulus,
                 shirq_card_lower, "sources to withdraw (run time)");
    object_class_property_add_bool(klass, "pin", get_pin, NULL);
    object_class_property_set_description(klass, "pin",
        "whether the pin is asserted");
    add_text(klass, "preset", get_preset, set_preset,
             "the card whose registers it has (while the VM is stopped)");
    add_text(klass, "registers", get_registers, set_registers,
             "a description of its registers (while the VM is stopped)");
    add_text(klass, "schedule", get_schedule, set_schedule,
             "file of stimuli in virtual time (while the VM is stopped)");
}
