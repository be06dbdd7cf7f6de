/*
 * The configuration space: identity, capabilities, the interrupt-disable and
 * interrupt status bits, power states and the function-level reset.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bitops.h"
#include "qemu/range.h"
#include "qapi/error.h"
#include "hw/misc/shirq-config.h"
#include "hw/misc/shirq-settings.h"
#include "hw/pci/msi.h"
#include "hw/pci/pci.h"
#include "hw/pci/pcie.h"

/* The interrupt-disable bit */

static bool has_disintx(const ShirqConfig *config)
{
    uint64_t mode = config->setting[SHIRQ_SET_DISINTX];

    return mode == SHIRQ_DISINTX_OK || mode == SHIRQ_DISINTX_STUCK;
}

static void set_disintx(ShirqConfig *config, bool set)
{
    uint16_t command = pci_get_word(config->pdev->config + PCI_COMMAND);

    /* The PCI core asserts the pin if only this bit has held it back. */
    pci_default_write_config(config->pdev, PCI_COMMAND,
                             deposit32(command, 10, 1, set), 2);
}

void shirq_config_follow_stuck(ShirqConfig *config)
{
    PCIDevice *pdev = config->pdev;

    if (config->setting[SHIRQ_SET_DISINTX] == SHIRQ_DISINTX_STUCK &&
        pci_irq_disabled(pdev)) {
        pci_word_test_and_clear_mask(pdev->wmask + PCI_COMMAND,
                                     PCI_COMMAND_INTX_DISABLE);
    }
}

void shirq_config_follow_disintx(ShirqConfig *config)
{
    PCIDevice *pdev = config->pdev;
    uint8_t *writable = pdev->wmask + PCI_COMMAND;
    bool set = config->disintx_ignored || pci_irq_disabled(pdev);

    pci_word_test_and_set_mask(writable, PCI_COMMAND_INTX_DISABLE);
    set_disintx(config, set && has_disintx(config));
    if (!has_disintx(config)) {
        pci_word_test_and_clear_mask(writable, PCI_COMMAND_INTX_DISABLE);
    }
    shirq_config_follow_stuck(config);
    config->disintx_ignored = set &&
        config->setting[SHIRQ_SET_DISINTX] == SHIRQ_DISINTX_NO_OP;
    shirq_pin_follow(config->pin);
}

bool shirq_config_is_possible(const ShirqConfig *config)
{
    return (has_disintx(config) || !pci_irq_disabled(config->pdev)) &&
        (!config->disintx_ignored ||
         config->setting[SHIRQ_SET_DISINTX] == SHIRQ_DISINTX_NO_OP);
}

/* Power */

static uint8_t power_state(const ShirqConfig *config)
{
    return config->pm_cap ?
        config->pdev->config[config->pm_cap + PCI_PM_CTRL] &
        PCI_PM_CTRL_STATE_MASK : 0;
}

bool shirq_config_is_asleep(const ShirqConfig *config)
{
    return config->setting[SHIRQ_SET_PM_EFFECTIVE] && power_state(config);
}

static void change_power(ShirqConfig *config, uint8_t before)
{
    uint8_t *control = config->pdev->config + config->pm_cap + PCI_PM_CTRL;
    uint8_t after = power_state(config);

    if (after == 1 || after == 2) {
        /* Only D0 and D3hot are supported. */
        pci_set_byte(control, (*control & ~PCI_PM_CTRL_STATE_MASK) | before);
    } else if (before && !after && config->setting[SHIRQ_SET_PM_EFFECTIVE] &&
               !config->no_soft_reset) {
        pci_device_reset(config->pdev);
    }
}

/* Accesses */

bool shirq_config_is_logged(const ShirqConfig *config, uint32_t offset,
                            int width)
{
    return ranges_overlap(offset, width, PCI_COMMAND, 4) ||
        (config->pm_cap &&
         ranges_overlap(offset, width, config->pm_cap + PCI_PM_CTRL, 2));
}

/* Bit @bit of the byte at @at, in a value of @width bytes from @offset on. */
static uint32_t bit_of(uint32_t at, int bit, uint32_t offset, int width)
{
    return range_covers_byte(offset, width, at) ?
        BIT((at - offset) * 8 + bit) : 0;
}

static uint32_t disintx_bit(uint32_t offset, int width)
{
    return bit_of(PCI_COMMAND + 1, 2, offset, width);
}

/*
 * At each write to the MSI capability that leaves MSI enabled, the PCI core
 * deasserts the pin. It does not if it sees no such capability.
 */
static void write_space(ShirqConfig *config, uint32_t offset, uint32_t value,
                        int width)
{
    PCIDevice *pdev = config->pdev;
    uint32_t msi = pdev->cap_present & QEMU_PCI_CAP_MSI;

    if (shirq_pin_ignores_msi(config->pin)) {
        pdev->cap_present &= ~msi;
    }
    pci_default_write_config(pdev, offset, value, width);
    pdev->cap_present |= msi;
}

uint32_t shirq_config_read(ShirqConfig *config, uint32_t offset, int width)
{
    uint32_t value = pci_default_read_config(config->pdev, offset, width);
    uint32_t status = bit_of(PCI_STATUS, 3, offset, width);
    uint64_t mode = config->setting[SHIRQ_SET_INTX_STATUS];

    if (config->disintx_ignored) {
        value |= disintx_bit(offset, width);
    }
    if (mode == SHIRQ_INTX_STATUS_ONE) {
        value |= status;
    } else if (mode == SHIRQ_INTX_STATUS_ZERO ||
               (mode == SHIRQ_INTX_STATUS_AUTO &&
                config->setting[SHIRQ_SET_DISINTX] ==
                SHIRQ_DISINTX_READ_ONLY)) {
        value &= ~status;
    }
    return value;
}

void shirq_config_write(ShirqConfig *config, uint32_t offset, uint32_t value,
                        int width)
{
    PCIDevice *pdev = config->pdev;
    uint32_t disintx = disintx_bit(offset, width);
    uint8_t power = power_state(config);

    write_space(config, offset, value, width);
    if (disintx && config->setting[SHIRQ_SET_DISINTX] == SHIRQ_DISINTX_NO_OP) {
        config->disintx_ignored = value & disintx;
    }
    shirq_config_follow_stuck(config);
    shirq_pin_follow(config->pin);
    if (power_state(config) != power) {
        change_power(config, power);
    }
    if (config->pcie) {
        uint8_t *control = pdev->config + pdev->exp.exp_cap + PCI_EXP_DEVCTL;

        if (pci_word_test_and_clear_mask(control, PCI_EXP_DEVCTL_BCR_FLR) &&
            config->setting[SHIRQ_SET_FLR_EFFECTIVE]) {
            pci_device_reset(pdev);
        }
    }
}

/* Reset */

void shirq_config_reset(ShirqConfig *config)
{
    PCIDevice *pdev = config->pdev;

    config->disintx_ignored = false;
    if (config->setting[SHIRQ_SET_DISINTX] == SHIRQ_DISINTX_STUCK) {
        pci_word_test_and_set_mask(pdev->wmask + PCI_COMMAND,
                                   PCI_COMMAND_INTX_DISABLE);
    }
    if (config->pm_cap) {
        pci_word_test_and_clear_mask(pdev->config + config->pm_cap +
                                     PCI_PM_CTRL, PCI_PM_CTRL_STATE_MASK);
    }
}

void shirq_config_come_up(ShirqConfig *config)
{
    if (!config->setting[SHIRQ_SET_RESET_DISINTX]) {
        return;
    }
    if (config->setting[SHIRQ_SET_DISINTX] == SHIRQ_DISINTX_NO_OP) {
        config->disintx_ignored = true;
    } else {
        set_disintx(config, true);
        shirq_config_follow_stuck(config);
        shirq_pin_follow(config->pin);
    }
}

/* Life */

static bool realize_identity(ShirqConfig *config, Error **errp)
{
    const struct {
        const char *name;
        uint32_t value;
        uint32_t limit;
    } ids[] = {
        { "vendor-id", config->vendor_id, UINT16_MAX },
        { "device-id", config->device_id, UINT16_MAX },
        { "revision", config->revision, UINT8_MAX },
        { "class-code", config->class_code, 0xffffff },
        { "subsystem-vendor-id", config->subsystem_vendor_id, UINT16_MAX },
        { "subsystem-id", config->subsystem_id, UINT16_MAX },
    };
    uint8_t *space = config->pdev->config;
    int i;

    for (i = 0; i < ARRAY_SIZE(ids); i++) {
        if (ids[i].value > ids[i].limit) {
            error_setg(errp, "shirq-edu: property '%s' must be 0 to 0x%x, not "
                       "0x%x", ids[i].name, ids[i].limit, ids[i].value);
            return false;
        }
    }
    pci_config_set_vendor_id(space, config->vendor_id);
    pci_config_set_device_id(space, config->device_id);
    pci_config_set_revision(space, config->revision);
    pci_config_set_prog_interface(space, config->class_code & 0xff);
    pci_config_set_class(space, config->class_code >> 8);
    pci_set_word(space + PCI_SUBSYSTEM_VENDOR_ID, config->subsystem_vendor_id);
    pci_set_word(space + PCI_SUBSYSTEM_ID, config->subsystem_id);
    return true;
}

static bool realize_pm(ShirqConfig *config, Error **errp)
{
    PCIDevice *pdev = config->pdev;
    /*
     * Do not use pci_pm_init(): the PCI core would unmap the BARs in D3hot, and
     * unmapped addresses read as zero.
     */
    int cap = pci_add_capability(pdev, PCI_CAP_ID_PM, 0, PCI_PM_SIZEOF, errp);

    if (cap < 0) {
        return false;
    }
    config->pm_cap = cap;
    pci_set_word(pdev->config + cap + PCI_PM_PMC, 3);
    pci_set_word(pdev->config + cap + PCI_PM_CTRL,
                 config->no_soft_reset ? PCI_PM_CTRL_NO_SOFT_RESET : 0);
    pci_set_word(pdev->wmask + cap + PCI_PM_CTRL, PCI_PM_CTRL_STATE_MASK);
    return true;
}

static bool realize_pcie(ShirqConfig *config, Error **errp)
{
    PCIDevice *pdev = config->pdev;

    if (!pci_bus_is_express(pci_get_bus(pdev))) {
        error_setg(errp, "shirq-edu: property 'pcie' must be off on a "
                   "conventional bus");
        return false;
    }
    if (pcie_endpoint_cap_init(pdev, 0) < 0) {
        error_setg(errp, "shirq-edu: property 'pcie': no room for the "
                   "capability");
        return false;
    }
    pcie_cap_flr_init(pdev);
    return true;
}

/*
 * There is one message. The PCI core corrects a guest that asks for more, but
 * not if it sees no capability: see write_space().
 */
static bool realize_msi(ShirqConfig *config, Error **errp)
{
    PCIDevice *pdev = config->pdev;

    if (msi_init(pdev, 0, 1, true, false, errp)) {
        return false;
    }
    pci_word_test_and_clear_mask(pdev->wmask + pdev->msi_cap + PCI_MSI_FLAGS,
                                 PCI_MSI_FLAGS_QSIZE);
    return true;
}

bool shirq_config_realize(ShirqConfig *config, Error **errp)
{
    if (!realize_identity(config, errp)) {
        return false;
    }
    if (config->no_soft_reset && !config->pm) {
        error_setg(errp, "shirq-edu: property 'no-soft-reset' must be off "
                   "without pm=on, which makes the capability");
        return false;
    }
    return (!config->pm || realize_pm(config, errp)) &&
        (!config->msi || realize_msi(config, errp)) &&
        (!config->pcie || realize_pcie(config, errp));
}

void shirq_config_exit(ShirqConfig *config)
{
    if (config->pcie) {
        pcie_cap_exit(config->pdev);
    }
    msi_uninit(config->pdev);
}
