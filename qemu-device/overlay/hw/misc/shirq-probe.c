/*
 * The line probe: logs interrupt lines and the I/O APIC in the event log.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bitops.h"
#include "hw/intc/ioapic.h"
#include "hw/misc/shirq-log.h"
#include "hw/misc/shirq-probe.h"
#include "hw/pci/pci.h"
#include "hw/pci/pci_device.h"

/*
 * One bit for each GSI: the values in the log, so that only changes are logged.
 */
static uint64_t lines_high;
static uint64_t lines_unmasked;

QEMU_BUILD_BUG_ON(MAX_IOAPICS * IOAPIC_NUM_PINS > 64);

static bool changes(uint64_t *known, int gsi, bool value)
{
    bool was = extract64(*known, gsi, 1);

    *known = deposit64(*known, gsi, 1, value);
    return was != value;
}

/* ISA's interrupt 0 is wired to input 2. */
static int gsi_of_irq(IOAPICCommonState *s, int irq)
{
    return s->gsi_base + (irq ? irq : 2);
}

void shirq_probe_line(IOAPICCommonState *s, int irq, int level)
{
    int gsi = gsi_of_irq(s, irq);

    if (shirq_log_enabled() && changes(&lines_high, gsi, level)) {
        shirq_log_event(NULL, SHIRQ_LOG_LINE, gsi, !!level);
    }
}

static void probe_mask(IOAPICCommonState *s, int pin)
{
    bool masked = s->ioredtbl[pin] & IOAPIC_LVT_MASKED;
    int gsi = s->gsi_base + pin;

    /* KVM's in-kernel I/O APIC changes its entries without notifying QEMU. */
    if (shirq_log_enabled() && object_dynamic_cast(OBJECT(s), TYPE_IOAPIC) &&
        changes(&lines_unmasked, gsi, !masked)) {
        shirq_log_event(NULL, SHIRQ_LOG_LINE_MASK, gsi, masked);
    }
}

void shirq_probe_entry(IOAPICCommonState *s, int pin, uint64_t before)
{
    probe_mask(s, pin);
    if (before & ~s->ioredtbl[pin] & IOAPIC_LVT_REMOTE_IRR) {
        shirq_probe_eoi(s, pin, before & IOAPIC_VECTOR_MASK);
    }
}

void shirq_probe_deliver(IOAPICCommonState *s, int pin, uint8_t vector)
{
    shirq_log_event(NULL, SHIRQ_LOG_DELIVER, s->gsi_base + pin, vector);
}

void shirq_probe_eoi(IOAPICCommonState *s, int pin, uint8_t vector)
{
    shirq_log_event(NULL, SHIRQ_LOG_EOI, s->gsi_base + pin, vector);
}

static void log_pins(PCIDevice *dev)
{
    int pin;

    if (dev->irq_state && !pci_irq_disabled(dev)) {
        for (pin = 0; pin < PCI_NUM_PINS; pin++) {
            if (extract32(dev->irq_state, pin, 1)) {
                shirq_log_event(DEVICE(dev), SHIRQ_LOG_PIN, pin, 1);
            }
        }
    }
}

static void log_lines(IOAPICCommonState *s)
{
    int i;

    for (i = 0; i < IOAPIC_NUM_PINS; i++) {
        if (s->irq_level[i]) {
            shirq_probe_line(s, i, 1);
        }
        probe_mask(s, i);
    }
}

static int log_object(Object *obj, void *opaque)
{
    if (object_dynamic_cast(obj, TYPE_PCI_DEVICE)) {
        log_pins(PCI_DEVICE(obj));
    } else if (object_dynamic_cast(obj, TYPE_IOAPIC_COMMON)) {
        log_lines(IOAPIC_COMMON(obj));
    }
    return 0;
}

static void log_state(Notifier *notifier, void *data)
{
    lines_high = 0;
    lines_unmasked = 0;
    object_child_foreach_recursive(object_get_root(), log_object, NULL);
}

static Notifier state_notifier = { .notify = log_state };

static void register_probe(void)
{
    shirq_log_add_state_notifier(&state_notifier);
}

type_init(register_probe)
