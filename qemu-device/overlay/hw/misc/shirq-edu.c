/*
 * A PCI function that drives a shared, level-triggered interrupt on demand. Its
 * properties describe the card that it imitates, and the faults of that card.
 *
 * This file makes the device of its parts: see hw/misc/shirq-edu.h. Its
 * registers and properties are specified in SPEC.md.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "hw/misc/shirq-edu.h"
#include "hw/misc/shirq-log.h"
#include "hw/misc/shirq-rewind.h"
#include "hw/pci/pci.h"
#include "hw/qdev-properties.h"
#include "hw/resettable.h"

#define SHIRQ_EDU_DEVICE_ID     0x11e9

void shirq_edu_follow(ShirqEdu *s)
{
    shirq_pin_want(&s->pin, shirq_card_wants(&s->card) &&
                   !shirq_config_is_asleep(&s->config) &&
                   PCI_DEVICE(s)->enabled);
}

static void card_changed(DeviceState *dev)
{
    shirq_edu_follow(SHIRQ_EDU(dev));
}

static void card_raised(DeviceState *dev)
{
    shirq_pin_raised(&SHIRQ_EDU(dev)->pin);
}

/* Configuration space */

static uint32_t shirq_edu_config_read(PCIDevice *pdev, uint32_t offset,
                                      int width)
{
    return shirq_access_config_read(&SHIRQ_EDU(pdev)->access, offset, width);
}

static void shirq_edu_config_write(PCIDevice *pdev, uint32_t offset,
                                   uint32_t value, int width)
{
    ShirqEdu *s = SHIRQ_EDU(pdev);

    shirq_access_config_write(&s->access, offset, value, width);
    /* The power state may have changed, or MSI been switched on or off. */
    shirq_edu_follow(s);
}

/* Reset */

void shirq_edu_reset_registers(ShirqEdu *s)
{
    shirq_access_lose(&s->access);
    shirq_card_reset(&s->card);
    shirq_pin_reset(&s->pin);
}

static void shirq_edu_reset_hold(Object *obj, ResetType type)
{
    ShirqEdu *s = SHIRQ_EDU(obj);

    shirq_log_event(DEVICE(s), SHIRQ_LOG_RESET, 0, 0);
    shirq_config_reset(&s->config);
    shirq_edu_reset_registers(s);
}

static void shirq_edu_reset_exit(Object *obj, ResetType type)
{
    ShirqEdu *s = SHIRQ_EDU(obj);

    /*
     * Stay silent if the slot resets the function because it is switched off.
     */
    if (PCI_DEVICE(s)->enabled) {
        shirq_config_come_up(&s->config);
        shirq_card_come_up(&s->card);
    }
}

/* Life */

static void log_state(Notifier *notifier, void *data)
{
    ShirqEdu *s = container_of(notifier, ShirqEdu, state_notifier);

    if (!s->card.masked) {
        shirq_log_event(DEVICE(s), SHIRQ_LOG_MASK, 0, 0);
    }
}

static void shirq_edu_realize(PCIDevice *pdev, Error **errp)
{
    ERRP_GUARD();
    ShirqEdu *s = SHIRQ_EDU(pdev);

    if (!shirq_access_parse_bars(&s->access, errp)) {
        return;
    }
    if (!shirq_access_check_regs(&s->access, s->card.regs, errp)) {
        error_prepend(errp, "shirq-edu: property '%s': ",
                      s->preset ? "preset" : "registers");
        return;
    }
    if (!shirq_edu_check_settings(s, errp) ||
        !shirq_config_realize(&s->config, errp)) {
        return;
    }
    shirq_access_register_bars(&s->access);
    shirq_card_realize(&s->card);
    shirq_pin_realize(&s->pin);
    shirq_config_follow_disintx(&s->config);
    s->state_notifier.notify = log_state;
    shirq_log_add_state_notifier(&s->state_notifier);
    shirq_rewind_register(&vmstate_shirq_edu_properties, s);
}

/* A function with the capability of PCI Express has 4 KiB of config space. */
static void shirq_edu_dc_realize(DeviceState *dev, Error **errp)
{
    if (SHIRQ_EDU(dev)->config.pcie) {
        PCI_DEVICE(dev)->cap_present |= QEMU_PCI_CAP_EXPRESS;
    }
    SHIRQ_EDU_GET_CLASS(dev)->parent_realize(dev, errp);
}

static void shirq_edu_exit(PCIDevice *pdev)
{
    ShirqEdu *s = SHIRQ_EDU(pdev);

    notifier_remove(&s->state_notifier);
    shirq_rewind_unregister(s);
    shirq_pin_exit(&s->pin);
    shirq_access_exit(&s->access);
    shirq_card_exit(&s->card);
    timer_del(&s->schedule_timer);
    shirq_config_exit(&s->config);
}

static void shirq_edu_init(Object *obj)
{
    ShirqEdu *s = SHIRQ_EDU(obj);
    int i;

    for (i = 0; i < SHIRQ_SETTINGS; i++) {
        s->setting[i] = shirq_setting_info[i].reset;
    }
    /* Each part knows the settings and the parts below it. */
    s->card.dev = DEVICE(s);
    s->card.setting = s->setting;
    s->card.changed = card_changed;
    s->card.raised = card_raised;
    s->card.rung = shirq_edu_ring;
    s->pin.pdev = PCI_DEVICE(s);
    s->pin.setting = s->setting;
    s->config.pdev = PCI_DEVICE(s);
    s->config.setting = s->setting;
    s->config.pin = &s->pin;
    s->access.pdev = PCI_DEVICE(s);
    s->access.setting = s->setting;
    s->access.card = &s->card;
    s->access.config = &s->config;
    shirq_card_init(&s->card);
    shirq_pin_init(&s->pin);
    shirq_access_init(&s->access);
    shirq_edu_init_schedule(s);
    object_property_set_str(obj, "preset", "edu", &error_abort);
    s->described_by = NULL;
}

static void shirq_edu_finalize(Object *obj)
{
    ShirqEdu *s = SHIRQ_EDU(obj);

    shirq_schedule_clear(&s->schedule);
    shirq_regs_free(s->card.regs);
    g_free(s->preset);
    g_free(s->schedule_path);
    g_free(s->state_text);
    g_free(s->saved_texts);
}

/* Class */

static const Property build_time[] = {
    DEFINE_PROP_STRING("bar0", ShirqEdu, access.bar[0].text),
    DEFINE_PROP_STRING("bar1", ShirqEdu, access.bar[1].text),
    DEFINE_PROP_STRING("bar2", ShirqEdu, access.bar[2].text),
    DEFINE_PROP_STRING("bar3", ShirqEdu, access.bar[3].text),
    DEFINE_PROP_STRING("bar4", ShirqEdu, access.bar[4].text),
    DEFINE_PROP_STRING("bar5", ShirqEdu, access.bar[5].text),
    DEFINE_PROP_UINT32("vendor-id", ShirqEdu, config.vendor_id,
                       PCI_VENDOR_ID_QEMU),
    DEFINE_PROP_UINT32("device-id", ShirqEdu, config.device_id,
                       SHIRQ_EDU_DEVICE_ID),
    DEFINE_PROP_UINT32("revision", ShirqEdu, config.revision, 0x10),
    DEFINE_PROP_UINT32("class-code", ShirqEdu, config.class_code,
                       PCI_CLASS_OTHERS << 8),
    DEFINE_PROP_UINT32("subsystem-vendor-id", ShirqEdu,
                       config.subsystem_vendor_id,
                       PCI_SUBVENDOR_ID_REDHAT_QUMRANET),
    DEFINE_PROP_UINT32("subsystem-id", ShirqEdu, config.subsystem_id,
                       PCI_SUBDEVICE_ID_QEMU),
    DEFINE_PROP_BOOL("pm", ShirqEdu, config.pm, false),
    DEFINE_PROP_BOOL("no-soft-reset", ShirqEdu, config.no_soft_reset, false),
    DEFINE_PROP_BOOL("pcie", ShirqEdu, config.pcie, false),
    DEFINE_PROP_BOOL("msi", ShirqEdu, config.msi, false),
};

static void shirq_edu_class_init(ObjectClass *klass, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(klass);
    PCIDeviceClass *k = PCI_DEVICE_CLASS(klass);
    ResettableClass *rc = RESETTABLE_CLASS(klass);

    k->realize = shirq_edu_realize;
    k->exit = shirq_edu_exit;
    k->config_read = shirq_edu_config_read;
    k->config_write = shirq_edu_config_write;
    k->vendor_id = PCI_VENDOR_ID_QEMU;
    k->device_id = SHIRQ_EDU_DEVICE_ID;
    k->class_id = PCI_CLASS_OTHERS;
    dc->desc = "PCI function that drives a shared interrupt on demand";
    dc->vmsd = &vmstate_shirq_edu;
    device_class_set_parent_realize(dc, shirq_edu_dc_realize,
                                    &SHIRQ_EDU_CLASS(klass)->parent_realize);
    device_class_set_props(dc, build_time);
    rc->phases.hold = shirq_edu_reset_hold;
    rc->phases.exit = shirq_edu_reset_exit;
    set_bit(DEVICE_CATEGORY_MISC, dc->categories);
    shirq_edu_add_properties(klass);
}

static const TypeInfo shirq_edu_types[] = {
    {
        .name = TYPE_SHIRQ_EDU,
        .parent = TYPE_PCI_DEVICE,
        .instance_size = sizeof(ShirqEdu),
        .instance_init = shirq_edu_init,
        .instance_finalize = shirq_edu_finalize,
        .class_size = sizeof(ShirqEduClass),
        .class_init = shirq_edu_class_init,
        .interfaces = (InterfaceInfo[]) {
            { INTERFACE_PCIE_DEVICE },
            { INTERFACE_CONVENTIONAL_PCI_DEVICE },
            { }
        },
    },
};

DEFINE_TYPES(shirq_edu_types)
