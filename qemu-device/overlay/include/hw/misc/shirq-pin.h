/*
 * How the card's wish to assert reaches the processor: the function's interrupt
 * pin, or its message. Nothing else calls pci_set_irq() and msi_notify().
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_MISC_SHIRQ_PIN_H
#define HW_MISC_SHIRQ_PIN_H

#include "hw/pci/pci_device.h"
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
 * Assert or deassert, by the pin or, if MSI is enabled, by a message. A pin
 * falls late if the settings say so.
 */
void shirq_pin_want(ShirqPin *pin, bool wanted);
/* Let a pin that is about to fall do so at once. */
void shirq_pin_fall_now(ShirqPin *pin);
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

#endif
