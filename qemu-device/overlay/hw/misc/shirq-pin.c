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

static bool has_pin(const ShirqPin *pin)
{
    return pin->pdev->config[PCI_INTERRUPT_PIN] != 0;
}

static void drive(ShirqPin *pin, bool level)
{
    timer_del(&pin->deassert_timer);
    if (has_pin(pin)) {
        pin->driven = level;
        pci_set_irq(pin->pdev, level);
        shirq_pin_follow(pin);
    }
}

/* Whether the device asserts its pin, and not messages alone. */
static bool is_by_pin(const ShirqPin *pin)
{
    return !msi_enabled(pin->pdev) || pin->setting[SHIRQ_SET_INTX_WITH_MSI];
}

/* The level of the pin if nothing keeps it asserted. */
static bool level_of(const ShirqPin *pin)
{
    return pin->wanted && has_pin(pin) && is_by_pin(pin);
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
    bool began = wanted && !pin->wanted;
    uint64_t delay = pin->setting[SHIRQ_SET_DEASSERT_DELAY_NS];

    pin->wanted = wanted;
    if (level_of(pin) || !pin->driven) {
        drive(pin, level_of(pin));
    } else if (pin->setting[SHIRQ_SET_PIN_STUCK]) {
        timer_del(&pin->deassert_timer);
    } else if (!delay || !is_by_pin(pin)) {
        drive(pin, false);
    } else if (!timer_pending(&pin->deassert_timer)) {
        timer_mod(&pin->deassert_timer,
                  qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL) + delay);
    }
    /* Send the message last: it can be a write to this device. */
    if (began && msi_enabled(pin->pdev)) {
        send_message(pin);
    }
}

void shirq_pin_reset(ShirqPin *pin)
{
    if (pin->driven && !level_of(pin)) {
        drive(pin, false);
    }
}

void shirq_pin_raised(ShirqPin *pin)
{
    if (pin->setting[SHIRQ_SET_PIN_STUCK]) {
        shirq_pin_reset(pin);
    }
}

bool shirq_pin_ignores_msi(const ShirqPin *pin)
{
    return pin->setting[SHIRQ_SET_PIN_STUCK] ||
        pin->setting[SHIRQ_SET_INTX_WITH_MSI];
}

static void fall(void *opaque)
{
    drive(opaque, false);
}

static void set_number(ShirqPin *pin)
{
    uint64_t number = pin->setting[SHIRQ_SET_INTX_PIN];

    pci_config_set_interrupt_pin(pin->pdev->config,
                                 number == SHIRQ_PIN_NONE ? 0 : number + 1);
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
    return pin->pdev->config[PCI_INTERRUPT_PIN] <= PCI_NUM_PINS &&
        (has_pin(pin) || !pin->driven);
}

void shirq_pin_loaded(ShirqPin *pin, uint64_t *number)
{
    *number = has_pin(pin) ? pin->pdev->config[PCI_INTERRUPT_PIN] - 1 :
        SHIRQ_PIN_NONE;
    pin->level = pin->driven && !pci_irq_disabled(pin->pdev);
}

const VMStateDescription vmstate_shirq_pin = {
    .name = "shirq-edu/pin",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (const VMStateField[]) {
        VMSTATE_BOOL(wanted, ShirqPin),
        VMSTATE_BOOL(driven, ShirqPin),
        VMSTATE_TIMER(deassert_timer, ShirqPin),
        VMSTATE_UINT64(asserts, ShirqPin),
        VMSTATE_END_OF_LIST()
    }
};

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
