/*
 * How the card's wish to assert reaches the processor: the function's interrupt
 * pin, or its message. Nothing else calls pci_set_irq() and msi_notify().
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_MISC_SHIRQ_PIN_H
#define HW_MISC_SHIRQ_PIN_H

#include "hw/pci/pci_device.h"
#include "migration/vmstate.h"
#include "qemu/timer.h"

typedef struct ShirqPin {
    PCIDevice *pdev;
    const uint64_t *setting;

    bool wanted;                /* the function wants to assert */
    bool driven;                /* the pin's level in the PCI core */
    bool level;                 /* after the interrupt-disable bit */
    QEMUTimer deassert_timer;

    uint64_t asserts;
} ShirqPin;

/* To be filled in first: pdev, setting. */
void shirq_pin_init(ShirqPin *pin);
void shirq_pin_realize(ShirqPin *pin);
void shirq_pin_exit(ShirqPin *pin);

/*
 * Assert or deassert, by the pin, by a message if MSI is enabled, or by both. A
 * pin falls late, or does not fall, if the settings say so.
 */
void shirq_pin_want(ShirqPin *pin, bool wanted);
/* A source was raised, and shirq_pin_want() follows: a stuck pin falls. */
void shirq_pin_raised(ShirqPin *pin);
/* Let a pin that the settings alone keep asserted fall at once. */
void shirq_pin_reset(ShirqPin *pin);
/* Whether the pin does not fall when MSI is enabled. */
bool shirq_pin_ignores_msi(const ShirqPin *pin);
/* Record the level: the interrupt-disable bit may have changed. */
void shirq_pin_follow(ShirqPin *pin);

/* Give Interrupt Pin the value that the settings say, with the level. */
void shirq_pin_move(ShirqPin *pin);
/*
 * Take all that is not part of a loaded state from this state. The state must
 * have passed shirq_pin_is_possible().
 */
void shirq_pin_loaded(ShirqPin *pin, uint64_t *number);
bool shirq_pin_is_possible(const ShirqPin *pin);

extern const VMStateDescription vmstate_shirq_pin;

#endif
