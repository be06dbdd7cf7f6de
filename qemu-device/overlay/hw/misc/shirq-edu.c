/*
 * A PCI function that drives a shared, level-triggered interrupt on demand.
 *
 * Its registers and properties are specified in SPEC.md.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "qemu/range.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "qapi/visitor.h"
#include "hw/misc/shirq-log.h"
#include "hw/pci/pci.h"
#include "hw/pci/pci_device.h"
#include "migration/vmstate.h"
#include "trace.h"

#define TYPE_SHIRQ_EDU "shirq-edu"
OBJECT_DECLARE_SIMPLE_TYPE(ShirqEdu, SHIRQ_EDU)

#define SHIRQ_EDU_DEVICE_ID     0x11e9
#define SHIRQ_EDU_BAR           0
#define SHIRQ_EDU_BAR_SIZE      (4 * KiB)
#define SHIRQ_EDU_VERSION       0x020000ed
#define ALL_SOURCES             UINT32_MAX

enum {
    REG_ID = 0x00,
    REG_LIVENESS = 0x04,
    REG_FACTORIAL = 0x08,
    REG_INT_STATUS = 0x24,
    REG_INT_MASK = 0x28,
    REG_INT_ACTIVE = 0x2c,
    REG_INT_RAISE = 0x60,
    REG_INT_ACK = 0x64,
    REG_INT_MASK_SET = 0x68,
    REG_INT_MASK_CLEAR = 0x6c,
    REG_MARK = 0x70,
};

typedef enum Disintx {
    DISINTX_OK,
    DISINTX_READ_ONLY,
    DISINTX__MAX,
} Disintx;

static const char *const disintx_names[DISINTX__MAX + 1] = {
    [DISINTX_OK] = "ok",
    [DISINTX_READ_ONLY] = "read-only",
};

struct ShirqEdu {
    PCIDevice parent_obj;

    MemoryRegion bar;
    Notifier state_notifier;

    Disintx disintx;

    uint32_t liveness;
    uint32_t factorial;
    uint32_t status;
    uint32_t mask;

    /* What the bus sees: after the interrupt-disable bit. */
    bool pin;

    uint64_t raises;
    uint64_t asserts;
    uint64_t acks;
    uint64_t reads;
    uint64_t writes;
};

/* Interrupt logic */

static uint32_t active_sources(ShirqEdu *s)
{
    return s->status & ~s->mask;
}

static bool pin_level(ShirqEdu *s)
{
    return active_sources(s) && !pci_irq_disabled(PCI_DEVICE(s));
}

/* Follow the pin, which the PCI core drives and logs. */
static void follow_pin(ShirqEdu *s)
{
    bool pin = pin_level(s);

    if (pin != s->pin) {
        s->pin = pin;
        s->asserts += pin;
        trace_shirq_edu_pin(DEVICE(s)->canonical_path, pin);
    }
}

static void update_pin(ShirqEdu *s)
{
    pci_set_irq(PCI_DEVICE(s), active_sources(s) != 0);
    follow_pin(s);
}

static void raise_sources(ShirqEdu *s, uint32_t sources)
{
    s->raises++;
    shirq_log_event(DEVICE(s), SHIRQ_LOG_RAISE, 0, sources & ~s->status);
    s->status |= sources;
    update_pin(s);
}

static void lower_sources(ShirqEdu *s, uint32_t sources)
{
    shirq_log_event(DEVICE(s), SHIRQ_LOG_LOWER, 0, sources & s->status);
    s->status &= ~sources;
    update_pin(s);
}

static void acknowledge(ShirqEdu *s, uint32_t sources)
{
    s->acks++;
    s->status &= ~sources;
    update_pin(s);
}

static void set_mask(ShirqEdu *s, uint32_t mask)
{
    bool was_masked = s->mask == ALL_SOURCES;
    bool masked = mask == ALL_SOURCES;

    s->mask = mask;
    if (masked != was_masked) {
        shirq_log_event(DEVICE(s), SHIRQ_LOG_MASK, 0, masked);
    }
    update_pin(s);
}

/* Registers */

static uint32_t factorial(uint32_t n)
{
    uint32_t product = 1;

    /* 34 factors in a row are a multiple of 2^32. */
    while (n && product) {
        product *= n--;
    }
    return product;
}

static uint32_t read_register(ShirqEdu *s, hwaddr offset)
{
    switch (offset) {
    case REG_ID:
        return SHIRQ_EDU_VERSION;
    case REG_LIVENESS:
        return s->liveness;
    case REG_FACTORIAL:
        return s->factorial;
    case REG_INT_STATUS:
        return s->status;
    case REG_INT_MASK:
        return s->mask;
    case REG_INT_ACTIVE:
        return active_sources(s);
    default:
        return 0;
    }
}

static void write_register(ShirqEdu *s, hwaddr offset, uint32_t value)
{
    switch (offset) {
    case REG_LIVENESS:
        s->liveness = ~value;
        break;
    case REG_FACTORIAL:
        s->factorial = factorial(value);
        break;
    case REG_INT_MASK:
        set_mask(s, value);
        break;
    case REG_INT_RAISE:
        raise_sources(s, value);
        break;
    case REG_INT_ACK:
        acknowledge(s, value);
        break;
    case REG_INT_MASK_SET:
        set_mask(s, s->mask | value);
        break;
    case REG_INT_MASK_CLEAR:
        set_mask(s, s->mask & ~value);
        break;
    }
}

static uint64_t shirq_edu_read(void *opaque, hwaddr offset, unsigned width)
{
    ShirqEdu *s = opaque;
    uint64_t value = width == 4 ? read_register(s, offset) : 0;

    s->reads++;
    trace_shirq_edu_read(DEVICE(s)->canonical_path, offset, width, value);
    shirq_log_access(DEVICE(s), SHIRQ_LOG_READ, SHIRQ_EDU_BAR, width, offset,
                     value);
    return value;
}

static void shirq_edu_write(void *opaque, hwaddr offset, uint64_t value,
                            unsigned width)
{
    ShirqEdu *s = opaque;

    s->writes++;
    trace_shirq_edu_write(DEVICE(s)->canonical_path, offset, width, value);
    shirq_log_access(DEVICE(s), SHIRQ_LOG_WRITE, SHIRQ_EDU_BAR, width, offset,
                     value);
    if (offset == REG_MARK && width >= 4) {
        shirq_log_access(DEVICE(s), SHIRQ_LOG_MARK, SHIRQ_EDU_BAR, width,
                         offset, value);
    } else if (width == 4) {
        write_register(s, offset, value);
    }
}

static const MemoryRegionOps shirq_edu_ops = {
    .read = shirq_edu_read,
    .write = shirq_edu_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid = {
        .min_access_size = 1,
        .max_access_size = 8,
        .unaligned = true,
    },
    .impl = {
        .min_access_size = 1,
        .max_access_size = 8,
        .unaligned = true,
    },
};

/* Config space */

static void log_command(ShirqEdu *s, ShirqLogKind kind, uint32_t offset,
                        int width, uint32_t value)
{
    if (ranges_overlap(offset, width, PCI_COMMAND, 4)) {
        shirq_log_access(DEVICE(s), kind, SHIRQ_LOG_CONFIG, width, offset,
                         value);
    }
}

static uint32_t shirq_edu_config_read(PCIDevice *pdev, uint32_t offset,
                                      int width)
{
    ShirqEdu *s = SHIRQ_EDU(pdev);
    uint32_t value = pci_default_read_config(pdev, offset, width);

    if (s->disintx == DISINTX_READ_ONLY &&
        range_covers_byte(offset, width, PCI_STATUS)) {
        value &= ~(PCI_STATUS_INTERRUPT << (PCI_STATUS - offset) * 8);
    }
    log_command(s, SHIRQ_LOG_READ, offset, width, value);
    return value;
}

static void shirq_edu_config_write(PCIDevice *pdev, uint32_t offset,
                                   uint32_t value, int width)
{
    ShirqEdu *s = SHIRQ_EDU(pdev);

    log_command(s, SHIRQ_LOG_WRITE, offset, width, value);
    pci_default_write_config(pdev, offset, value, width);
    follow_pin(s);
}

static void apply_disintx(ShirqEdu *s)
{
    PCIDevice *pdev = PCI_DEVICE(s);
    uint8_t *command = pdev->config + PCI_COMMAND;
    uint8_t *writable = pdev->wmask + PCI_COMMAND;

    if (s->disintx == DISINTX_OK) {
        pci_word_test_and_set_mask(writable, PCI_COMMAND_INTX_DISABLE);
    } else {
        /* Through the PCI core: the pin that the bit held back comes up. */
        pci_default_write_config(pdev, PCI_COMMAND, pci_get_word(command) &
                                 ~PCI_COMMAND_INTX_DISABLE, 2);
        pci_word_test_and_clear_mask(writable, PCI_COMMAND_INTX_DISABLE);
    }
    follow_pin(s);
}

/* Life */

static void log_state(Notifier *notifier, void *data)
{
    ShirqEdu *s = container_of(notifier, ShirqEdu, state_notifier);

    if (s->mask != ALL_SOURCES) {
        shirq_log_event(DEVICE(s), SHIRQ_LOG_MASK, 0, 0);
    }
}

static void shirq_edu_reset(DeviceState *dev)
{
    ShirqEdu *s = SHIRQ_EDU(dev);

    shirq_log_event(dev, SHIRQ_LOG_RESET, 0, 0);
    s->liveness = 0;
    s->factorial = 0;
    s->status = 0;
    set_mask(s, ALL_SOURCES);
}

static void shirq_edu_realize(PCIDevice *pdev, Error **errp)
{
    ShirqEdu *s = SHIRQ_EDU(pdev);

    pci_config_set_interrupt_pin(pdev->config, 1);
    memory_region_init_io(&s->bar, OBJECT(s), &shirq_edu_ops, s, "shirq-edu",
                          SHIRQ_EDU_BAR_SIZE);
    pci_register_bar(pdev, SHIRQ_EDU_BAR, PCI_BASE_ADDRESS_SPACE_MEMORY,
                     &s->bar);
    apply_disintx(s);
    s->state_notifier.notify = log_state;
    shirq_log_add_state_notifier(&s->state_notifier);
}

/* The PCI core lowers the pin. */
static void shirq_edu_exit(PCIDevice *pdev)
{
    notifier_remove(&SHIRQ_EDU(pdev)->state_notifier);
}

static int shirq_edu_post_load(void *opaque, int version_id)
{
    ShirqEdu *s = opaque;

    if (s->disintx == DISINTX_READ_ONLY && pci_irq_disabled(PCI_DEVICE(s))) {
        error_report("shirq-edu '%s': interrupts are disabled in the loaded "
                     "Command register, which disintx=read-only does not "
                     "allow; set the property when the state is loaded",
                     DEVICE(s)->canonical_path);
        return -EINVAL;
    }
    s->pin = pin_level(s);
    return 0;
}

static const VMStateDescription vmstate_shirq_edu = {
    .name = TYPE_SHIRQ_EDU,
    .version_id = 1,
    .minimum_version_id = 1,
    .post_load = shirq_edu_post_load,
    .fields = (const VMStateField[]) {
        VMSTATE_PCI_DEVICE(parent_obj, ShirqEdu),
        VMSTATE_UINT32(liveness, ShirqEdu),
        VMSTATE_UINT32(factorial, ShirqEdu),
        VMSTATE_UINT32(status, ShirqEdu),
        VMSTATE_UINT32(mask, ShirqEdu),
        VMSTATE_UINT64(raises, ShirqEdu),
        VMSTATE_UINT64(asserts, ShirqEdu),
        VMSTATE_UINT64(acks, ShirqEdu),
        VMSTATE_UINT64(reads, ShirqEdu),
        VMSTATE_UINT64(writes, ShirqEdu),
        VMSTATE_END_OF_LIST()
    }
};

/* Properties */

static char *get_disintx(Object *obj, Error **errp)
{
    return g_strdup(disintx_names[SHIRQ_EDU(obj)->disintx]);
}

static void set_disintx(Object *obj, const char *value, Error **errp)
{
    ShirqEdu *s = SHIRQ_EDU(obj);
    g_autofree char *allowed = NULL;
    int i;

    for (i = 0; i < DISINTX__MAX; i++) {
        if (!strcmp(value, disintx_names[i])) {
            s->disintx = i;
            if (DEVICE(s)->realized) {
                apply_disintx(s);
            }
            return;
        }
    }
    allowed = g_strjoinv(", ", (char **)disintx_names);
    error_setg(errp, "shirq-edu: property 'disintx' must be one of %s, "
               "not '%s'", allowed, value);
}

typedef void Stimulus(ShirqEdu *s, uint32_t sources);

static void apply_stimulus(Object *obj, Visitor *v, const char *name,
                           void *opaque, Error **errp)
{
    ShirqEdu *s = SHIRQ_EDU(obj);
    Stimulus *stimulus = opaque;
    uint32_t sources;

    if (!visit_type_uint32(v, name, &sources, errp)) {
        return;
    }
    if (!DEVICE(s)->realized) {
        error_setg(errp, "shirq-edu: '%s' is for run time: set it with "
                   "qom-set once the device exists", name);
    } else if (!sources) {
        error_setg(errp, "shirq-edu: '%s' takes the sources as bits, "
                   "1 to 4294967295, not 0", name);
    } else {
        stimulus(s, sources);
    }
}

static bool get_pin(Object *obj, Error **errp)
{
    return SHIRQ_EDU(obj)->pin;
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

static const struct {
    const char *name;
    const char *type;
    ObjectPropertyAccessor *get;
    size_t offset;
    const char *description;
} readable[] = {
    { "status", "uint32", get_u32, offsetof(ShirqEdu, status),
      "pending sources" },
    { "mask", "uint32", get_u32, offsetof(ShirqEdu, mask),
      "masked sources" },
    { "raises", "uint64", get_u64, offsetof(ShirqEdu, raises),
      "raise stimuli, from property or register" },
    { "asserts", "uint64", get_u64, offsetof(ShirqEdu, asserts),
      "rising edges of the pin" },
    { "acks", "uint64", get_u64, offsetof(ShirqEdu, acks),
      "writes to INT_ACK" },
    { "reads", "uint64", get_u64, offsetof(ShirqEdu, reads),
      "register reads" },
    { "writes", "uint64", get_u64, offsetof(ShirqEdu, writes),
      "register writes" },
};

static void shirq_edu_class_properties(ObjectClass *klass)
{
    int i;

    object_class_property_add_str(klass, "disintx", get_disintx, set_disintx);
    object_class_property_set_description(klass, "disintx",
        "how Command's interrupt-disable bit behaves: ok, read-only");
    object_class_property_add(klass, "raise", "uint32", NULL, apply_stimulus,
                              NULL, raise_sources);
    object_class_property_set_description(klass, "raise",
        "sources to make pending (run time)");
    object_class_property_add(klass, "lower", "uint32", NULL, apply_stimulus,
                              NULL, lower_sources);
    object_class_property_set_description(klass, "lower",
        "sources to withdraw (run time)");
    object_class_property_add_bool(klass, "pin", get_pin, NULL);
    object_class_property_set_description(klass, "pin",
        "whether the pin is asserted");
    for (i = 0; i < ARRAY_SIZE(readable); i++) {
        object_class_property_add(klass, readable[i].name, readable[i].type,
                                  readable[i].get, NULL, NULL,
                                  (void *)(uintptr_t)readable[i].offset);
        object_class_property_set_description(klass, readable[i].name,
                                              readable[i].description);
    }
}

static void shirq_edu_init(Object *obj)
{
    SHIRQ_EDU(obj)->mask = ALL_SOURCES;
}

static void shirq_edu_class_init(ObjectClass *klass, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(klass);
    PCIDeviceClass *k = PCI_DEVICE_CLASS(klass);

    k->realize = shirq_edu_realize;
    k->exit = shirq_edu_exit;
    k->config_read = shirq_edu_config_read;
    k->config_write = shirq_edu_config_write;
    k->vendor_id = PCI_VENDOR_ID_QEMU;
    k->device_id = SHIRQ_EDU_DEVICE_ID;
    k->revision = 0x10;
    k->class_id = PCI_CLASS_OTHERS;
    dc->desc = "PCI function that drives a shared interrupt on demand";
    dc->vmsd = &vmstate_shirq_edu;
    device_class_set_legacy_reset(dc, shirq_edu_reset);
    set_bit(DEVICE_CATEGORY_MISC, dc->categories);
    shirq_edu_class_properties(klass);
}

static const TypeInfo shirq_edu_types[] = {
    {
        .name = TYPE_SHIRQ_EDU,
        .parent = TYPE_PCI_DEVICE,
        .instance_size = sizeof(ShirqEdu),
        .instance_init = shirq_edu_init,
        .class_init = shirq_edu_class_init,
        .interfaces = (InterfaceInfo[]) {
            { INTERFACE_CONVENTIONAL_PCI_DEVICE },
            { }
        },
    },
};

DEFINE_TYPES(shirq_edu_types)
