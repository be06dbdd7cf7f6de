/*
 * The line probe: logs interrupt lines and the I/O APIC in the event log.
 *
 * The I/O APIC calls these functions. The PCI core logs a function's own pin.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_MISC_SHIRQ_PROBE_H
#define HW_MISC_SHIRQ_PROBE_H

#include "hw/intc/ioapic_internal.h"

/* Input @irq is driven to @level, which may be its present level. */
void shirq_probe_line(IOAPICCommonState *s, int irq, int level);

/* The redirection entry of @pin was written; its former value is @before. */
void shirq_probe_entry(IOAPICCommonState *s, int pin, uint64_t before);

/* A message with @vector is being sent for @pin. */
void shirq_probe_deliver(IOAPICCommonState *s, int pin, uint8_t vector);

/* The level interrupt of @pin ended. */
void shirq_probe_eoi(IOAPICCommonState *s, int pin, uint8_t vector);

#endif
