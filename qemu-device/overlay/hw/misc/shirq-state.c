/*
 * The device's saved state, the checks of a state that is loaded, and what a
 * savepoint has besides.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "qapi/error.h"
#include "hw/misc/shirq-edu.h"

/* Checks */

static bool refuse_registers(ShirqEdu *s)
{
    error_report("shirq-edu '%s': the state is of a device with other "
                 "registers; set preset or registers to those before it is "
                 "loaded, and to others afterwards",
                 DEVICE(s)->canonical_path);
    return false;
}

/*
 * Check the size before the text is loaded: a damaged size would allocate that
 * much memory.
 */
static bool is_text_size_right(void *opaque, int version_id)
{
    ShirqEdu *s = opaque;

    return s->state_text_size == strlen(s->card.regs->text) + 1 ||
        refuse_registers(s);
}

static bool is_state_damaged(ShirqEdu *s)
{
    return !shirq_pin_is_possible(&s->pin) ||
        !shirq_access_is_possible(&s->access) ||
        !shirq_schedule_valid(&s->schedule);
}

static bool is_state_possible(ShirqEdu *s)
{
    const char *name = DEVICE(s)->canonical_path;
    uint64_t mode = s->setting[SHIRQ_SET_DISINTX];

    if (s->state_text[s->state_text_size - 1] ||
        strcmp((char *)s->state_text, s->card.regs->text)) {
        return refuse_registers(s);
    }
    if (is_state_damaged(s)) {
        error_report("shirq-edu '%s': the state is damaged", name);
    } else if (!shirq_config_is_possible(&s->config)) {
        error_report("shirq-edu '%s': interrupts are disabled in the loaded "
                     "Command register, which disintx=%s does not "
                     "allow; set the property when the state is loaded", name,
                     shirq_setting_info[SHIRQ_SET_DISINTX].names[mode]);
    } else {
        return true;
    }
    return false;
}

/* The state */

static int state_pre_save(void *opaque)
{
    ShirqEdu *s = opaque;

    g_free(s->state_text);
    s->state_text = (uint8_t *)g_strdup(s->card.regs->text);
    s->state_text_size = strlen(s->card.regs->text) + 1;
    return 0;
}

static int state_pre_load(void *opaque)
{
    ShirqEdu *s = opaque;

    g_clear_pointer(&s->state_text, g_free);
    return 0;
}

static int state_post_load(void *opaque, int version_id)
{
    ShirqEdu *s = opaque;

    if (!is_state_possible(s)) {
        return -EINVAL;
    }
    shirq_config_follow_stuck(&s->config);
    /* The property reports the pin of the loaded state. */
    shirq_pin_loaded(&s->pin, &s->setting[SHIRQ_SET_INTX_PIN]);
    if (!s->setting[SHIRQ_SET_STORM_NS] ||
        !timer_pending(&s->card.storm_timer)) {
        shirq_card_follow_storm(&s->card);
    }
    return 0;
}

const VMStateDescription vmstate_shirq_edu = {
    .name = TYPE_SHIRQ_EDU,
    .version_id = 3,
    .minimum_version_id = 3,
    .pre_save = state_pre_save,
    .pre_load = state_pre_load,
    .post_load = state_post_load,
    .fields = (const VMStateField[]) {
        VMSTATE_PCI_DEVICE(parent_obj, ShirqEdu),
        VMSTATE_UINT32(state_text_size, ShirqEdu),
        VMSTATE_VALIDATE("size of registers", is_text_size_right),
        VMSTATE_VBUFFER_ALLOC_UINT32(state_text, ShirqEdu, 0, NULL,
                                     state_text_size),
        VMSTATE_STRUCT(card, ShirqEdu, 1, vmstate_shirq_card, ShirqCard),
        VMSTATE_STRUCT(pin, ShirqEdu, 1, vmstate_shirq_pin, ShirqPin),
        VMSTATE_BOOL(config.disintx_ignored, ShirqEdu),
        VMSTATE_STRUCT(access, ShirqEdu, 1, vmstate_shirq_access,
                       ShirqAccess),
        VMSTATE_STRUCT(schedule, ShirqEdu, 1, vmstate_shirq_schedule,
                       ShirqSchedule),
        VMSTATE_TIMER(schedule_timer, ShirqEdu),
        VMSTATE_END_OF_LIST()
    }
};

/*
 * Properties that can change while the VM exists. They are not part of the
 * state, since the VM that loads a state is given its own; a VM that is rewound
 * takes back those of the savepoint.
 */

static int properties_pre_save(void *opaque)
{
    ShirqEdu *s = opaque;
    const char *texts[] = { s->schedule_path ?: "", s->preset ?: "",
                            s->card.regs->text };
    GByteArray *all = g_byte_array_new();
    int i;

    for (i = 0; i < ARRAY_SIZE(texts); i++) {
        g_byte_array_append(all, (const guint8 *)texts[i],
                            strlen(texts[i]) + 1);
    }
    memcpy(s->saved_setting, s->setting, sizeof(s->setting));
    g_free(s->saved_texts);
    s->saved_texts_size = all->len;
    s->saved_texts = g_byte_array_free(all, false);
    return 0;
}

static int properties_pre_load(void *opaque)
{
    ShirqEdu *s = opaque;

    g_clear_pointer(&s->saved_texts, g_free);
    return 0;
}

static int properties_post_load(void *opaque, int version_id)
{
    ShirqEdu *s = opaque;
    const char *path = (const char *)s->saved_texts;
    const char *preset = path + strlen(path) + 1;
    const char *registers = preset + strlen(preset) + 1;
    int i;

    g_free(s->schedule_path);
    s->schedule_path = *path ? g_strdup(path) : NULL;
    if (strcmp(s->card.regs->text, registers)) {
        shirq_regs_free(s->card.regs);
        s->card.regs = shirq_regs_parse(registers, &error_abort);
    }
    g_free(s->preset);
    s->preset = *preset ? g_strdup(preset) : NULL;
    for (i = 0; i < SHIRQ_SETTINGS; i++) {
        if (s->setting[i] != s->saved_setting[i]) {
            s->setting[i] = s->saved_setting[i];
            shirq_edu_apply_setting(s, i);
        }
    }
    return 0;
}

const VMStateDescription vmstate_shirq_edu_properties = {
    .name = "shirq-edu/properties",
    .version_id = 1,
    .minimum_version_id = 1,
    .pre_save = properties_pre_save,
    .pre_load = properties_pre_load,
    .post_load = properties_post_load,
    .fields = (const VMStateField[]) {
        VMSTATE_UINT64_ARRAY(saved_setting, ShirqEdu, SHIRQ_SETTINGS),
        VMSTATE_UINT32(saved_texts_size, ShirqEdu),
        VMSTATE_VBUFFER_ALLOC_UINT32(saved_texts, ShirqEdu, 0, NULL,
                                     saved_texts_size),
        VMSTATE_END_OF_LIST()
    }
};
