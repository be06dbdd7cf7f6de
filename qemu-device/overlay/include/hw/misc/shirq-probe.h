/*
 * The line probe: logs the pins of PCI functions, and the inputs of interrupt
 * controllers, in the event log.
 *
 * Every model of an interrupt controller whose inputs are to be logged makes a
 * ShirqController and calls the functions below. They speak of inputs, levels,
 * trigger modes, masks, deliveries and ends of interrupt only, so that any
 * controller can use them. The PCI core calls the functions on pins.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_MISC_SHIRQ_PROBE_H
#define HW_MISC_SHIRQ_PROBE_H

#include "hw/pci/pci.h"

typedef struct ShirqController ShirqController;

/* Pass the present level, trigger mode and mask of every input to the probe. */
typedef void ShirqStateFn(void *opaque);

/*
 * Make the probe of a controller with @count inputs. Input 0 has the number
 * @first in the log. @name is the controller's name in the log, a string that
 * is never freed; controllers whose inputs have different numbers may share it.
 *
 * Until the controller says otherwise, its inputs are low, edge-triggered and
 * masked. @state is called where the log begins anew.
 */
ShirqController *shirq_controller_new(const char *name, int first, int count,
                                      ShirqStateFn *state, void *opaque);

/*
 * Set the input that is high while another one is high and masked; 0: none.
 * Returns false with @errp set if it cannot be this one.
 */
typedef bool ShirqBootFn(void *opaque, uint64_t input, Error **errp);

/* Offer boot interrupts: @boot is called with the controller's @opaque. */
void shirq_controller_offer_boot(ShirqController *c, ShirqBootFn *boot);

/* Whether a controller has boot interrupts. */
bool shirq_probe_has_boot(void);

/* Set the boot interrupt of the first controller that has one. */
bool shirq_probe_set_boot(uint64_t input, Error **errp);

/* Whether inputs are driven by the controller itself, and not by a pin. */
void shirq_probe_by_controller(bool by_controller);

/* The functions below accept a value that the input already has. */

/* @input is driven to @level. */
void shirq_probe_line(ShirqController *c, int input, bool level);

/* @input follows its level, or it is edge-triggered. */
void shirq_probe_trigger(ShirqController *c, int input, bool level_triggered);

/* Interrupts of @input are held back, for whatever reason. */
void shirq_probe_mask(ShirqController *c, int input, bool masked);

/* The interrupt of @input is sent to a processor as @vector. */
void shirq_probe_deliver(ShirqController *c, int input, uint64_t vector);

/* The interrupt of @input, which was delivered as @vector, has ended. */
void shirq_probe_eoi(ShirqController *c, int input, uint64_t vector);

/*
 * The INTx pin of @dev, from 0, changes to @level. Until shirq_probe_pin_moved()
 * all changes of lines are its effects.
 */
void shirq_probe_pin(PCIDevice *dev, int pin, bool level);
void shirq_probe_pin_moved(void);

#endif
