/*
 * The line probe: logs the pins of PCI functions, and the inputs of interrupt
 * controllers, in the event log.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "qemu/queue.h"
#include "hw/misc/shirq-log.h"
#include "hw/misc/shirq-probe.h"
#include "hw/pci/pci.h"
#include "hw/pci/pci_device.h"
#include "migration/vmstate.h"

struct ShirqController {
    const char *name;
    int first;
    int32_t count;
    ShirqStateFn *state;
    ShirqBootFn *boot;
    void *opaque;
    /* One bit for each input: its values in the log, to log only changes. */
    unsigned long *high;
    unsigned long *level_triggered;
    unsigned long *unmasked;
    /* One bit for each input: whether a pin has ever driven it. */
    unsigned long *by_pin;
    QTAILQ_ENTRY(ShirqController) next;
};

static QTAILQ_HEAD(, ShirqController) controllers =
    QTAILQ_HEAD_INITIALIZER(controllers);

/* The cause of a line's level, in the width of a LINE entry. */
typedef enum Cause {
    CAUSE_OTHER = 0,
    CAUSE_PIN = 1,              /* the change of the pin that was logged last */
    CAUSE_FORMER_PIN = 2,       /* a pin, before the log began anew */
} Cause;

static bool pin_moves;
static bool controller_drives;
static bool stating;

/*
 * A restored log tells which lines pins have driven before. No interrupt
 * controller has this in its state.
 */
static const VMStateDescription vmstate_controller = {
    .name = "shirq-probe",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (const VMStateField[]) {
        VMSTATE_BITMAP(by_pin, ShirqController, 1, count),
        VMSTATE_END_OF_LIST()
    }
};

ShirqController *shirq_controller_new(const char *name, int first, int count,
                                      ShirqStateFn *state, void *opaque)
{
    ShirqController *c = g_new0(ShirqController, 1);

    c->name = name;
    c->first = first;
    c->count = count;
    c->state = state;
    c->opaque = opaque;
    c->high = bitmap_new(count);
    c->level_triggered = bitmap_new(count);
    c->unmasked = bitmap_new(count);
    c->by_pin = bitmap_new(count);
    vmstate_register_any(NULL, &vmstate_controller, c);
    QTAILQ_INSERT_TAIL(&controllers, c, next);
    return c;
}

static void append(ShirqController *c, ShirqLogKind kind, uint8_t width,
                   int input, uint64_t value)
{
    if (shirq_log_enabled()) {
        shirq_log_controller(c->name, kind, width, c->first + input, value);
    }
}

/* Store the bit of @input that is in the log; returns whether it changes. */
static bool changes(ShirqController *c, unsigned long *logged, int input,
                    bool bit)
{
    assert(input >= 0 && input < c->count);
    if (!shirq_log_enabled() || test_bit(input, logged) == bit) {
        return false;
    }
    change_bit(input, logged);
    return true;
}

void shirq_controller_offer_boot(ShirqController *c, ShirqBootFn *boot)
{
    c->boot = boot;
}

static ShirqController *with_boot(void)
{
    ShirqController *c;

    QTAILQ_FOREACH(c, &controllers, next) {
        if (c->boot) {
            return c;
        }
    }
    return NULL;
}

bool shirq_probe_has_boot(void)
{
    return with_boot();
}

bool shirq_probe_set_boot(uint64_t input, Error **errp)
{
    ShirqController *c = with_boot();

    return c->boot(c->opaque, input, errp);
}

void shirq_probe_by_controller(bool by_controller)
{
    controller_drives = by_controller;
}

void shirq_probe_line(ShirqController *c, int input, bool level)
{
    bool by_pin = pin_moves && !controller_drives;
    Cause cause = by_pin ? CAUSE_PIN : CAUSE_OTHER;

    if (by_pin) {
        set_bit(input, c->by_pin);
    } else if (stating && test_bit(input, c->by_pin)) {
        cause = CAUSE_FORMER_PIN;
    }
    if (changes(c, c->high, input, level)) {
        append(c, SHIRQ_LOG_LINE, cause, input, level);
    }
}

void shirq_probe_trigger(ShirqController *c, int input, bool level_triggered)
{
    if (changes(c, c->level_triggered, input, level_triggered)) {
        append(c, SHIRQ_LOG_TRIGGER, 0, input, level_triggered);
    }
}

void shirq_probe_mask(ShirqController *c, int input, bool masked)
{
    if (changes(c, c->unmasked, input, !masked)) {
        append(c, SHIRQ_LOG_LINE_MASK, 0, input, masked);
    }
}

void shirq_probe_deliver(ShirqController *c, int input, uint64_t vector)
{
    append(c, SHIRQ_LOG_DELIVER, 0, input, vector);
}

void shirq_probe_eoi(ShirqController *c, int input, uint64_t vector)
{
    append(c, SHIRQ_LOG_EOI, 0, input, vector);
}

void shirq_probe_pin(PCIDevice *dev, int pin, bool level)
{
    shirq_log_event(DEVICE(dev), SHIRQ_LOG_PIN, pin, level);
    pin_moves = true;
}

void shirq_probe_pin_moved(void)
{
    pin_moves = false;
}

static int log_pins(Object *obj, void *opaque)
{
    PCIDevice *dev = (PCIDevice *)object_dynamic_cast(obj, TYPE_PCI_DEVICE);
    int pin;

    if (dev && dev->irq_state && !pci_irq_disabled(dev)) {
        for (pin = 0; pin < PCI_NUM_PINS; pin++) {
            if (extract32(dev->irq_state, pin, 1)) {
                shirq_log_event(DEVICE(dev), SHIRQ_LOG_PIN, pin, 1);
            }
        }
    }
    return 0;
}

static void log_state(Notifier *notifier, void *data)
{
    ShirqController *c;

    object_child_foreach_recursive(object_get_root(), log_pins, NULL);
    stating = true;
    QTAILQ_FOREACH(c, &controllers, next) {
        bitmap_zero(c->high, c->count);
        bitmap_zero(c->level_triggered, c->count);
        bitmap_zero(c->unmasked, c->count);
        c->state(c->opaque);
    }
    stating = false;
}

static Notifier state_notifier = { .notify = log_state };

static void register_probe(void)
{
    shirq_log_add_state_notifier(&state_notifier);
}

type_init(register_probe)
