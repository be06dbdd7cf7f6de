/*
 * How the card's wish to assert reaches the processor: the function's interrupt
 * pin, or its message.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "hw/misc/shirq-log.h"
#include "hw/misc/shirq-pin.h"
#include "hw/misc/shirq-settings.h"
#include "hw/pci/msi.h"
#include "hw/pci/pci.h"
#include "trace.h"

void shirq_pin_follow(ShirqPin *pin)
{
    bool level = pin->driven && !pci_irq_disabled(pin->pdev);

    if (level != pin->level) {
        pin->level = level;
        pin->asserts += level;
        trace_shirq_edu_pin(DEVICE(pin->pdev)->canonical_path, level);
    }
}

static void drive(ShirqPin *pin, bool level)
{
    timer_del(&pin->deassert_timer);
    pin->driven = level;
    pci_set_irq(pin->pdev, level);
    shirq_pin_follow(pin);
}

static void send_message(ShirqPin *pin)
{
    MSIMessage message = msi_get_message(pin->pdev, 0);

    shirq_log_event(DEVICE(pin->pdev), SHIRQ_LOG_MESSAGE, message.address,
                    message.data);
    msi_notify(pin->pdev, 0);
}

void shirq_pin_want(ShirqPin *pin, bool wanted)
{
    bool by_message = msi_enabled(pin->pdev);
    bool intx = wanted && !by_message;
    bool began = wanted && !pin->wanted;
    uint64_t delay = pin->setting[SHIRQ_SET_DEASSERT_DELAY_NS];

    pin->wanted = wanted;
    if (intx || !pin->driven || !delay) {
        drive(pin, intx);
    } else if (!timer_pending(&pin->deassert_timer)) {
        timer_mod(&pin->deassert_timer,
                  qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL) + delay);
    }
    /* Send the message last: it can be a write to this device. */
    if (began && by_message) {
        send_message(pin);
    }
}

static void fall(void *opaque)
{
    drive(opaque, false);
}

void shirq_pin_fall_now(ShirqPin *pin)
{
    if (timer_pending(&pin->deassert_timer)) {
        fall(pin);
    }
}

static void set_number(ShirqPin *pin)
{
    pci_config_set_interrupt_pin(pin->pdev->config,
                                 pin->setting[SHIRQ_SET_INTX_PIN] + 1);
}

void shirq_pin_move(ShirqPin *pin)
{
    bool driven = pin->driven;

    drive(pin, false);
    set_number(pin);
    drive(pin, driven);
}

bool shirq_pin_is_possible(const ShirqPin *pin)
{
    uint8_t number = pin->pdev->config[PCI_INTERRUPT_PIN];

    return number >= 1 && number <= PCI_NUM_PINS;
}

void shirq_pin_loaded(ShirqPin *pin, uint64_t *number)
{
    *number = pin->pdev->config[PCI_INTERRUPT_PIN] - 1;
    pin->level = pin->driven && !pci_irq_disabled(pin->pdev);
}

void shirq_pin_init(ShirqPin *pin)
{
    timer_init_ns(&pin->deassert_timer, QEMU_CLOCK_VIRTUAL, fall, pin);
}

void shirq_pin_realize(ShirqPin *pin)
{
    set_number(pin);
}

void shirq_pin_exit(ShirqPin *pin)
{
    timer_del(&pin->deassert_timer);
}
