/*
 * A PCI function that drives a shared, level-triggered interrupt on demand. Its
 * properties describe the card that it imitates, and the faults of that card.
 *
 * Its registers and properties are specified in SPEC.md.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bitops.h"
#include "qemu/bswap.h"
#include "qemu/cutils.h"
#include "qemu/error-report.h"
#include "qemu/range.h"
#include "qemu/timer.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "qapi/visitor.h"
#include "hw/misc/shirq-edu.h"
#include "hw/misc/shirq-log.h"
#include "hw/misc/shirq-regs.h"
#include "hw/misc/shirq-rewind.h"
#include "hw/misc/shirq-schedule.h"
#include "hw/misc/shirq-turns.h"
#include "hw/pci/msi.h"
#include "hw/pci/pci.h"
#include "hw/pci/pci_device.h"
#include "hw/pci/pcie.h"
#include "hw/core/cpu.h"
#include "hw/qdev-properties.h"
#include "hw/resettable.h"
#include "migration/vmstate.h"
#include "system/runstate.h"
#include "trace.h"

#define TYPE_SHIRQ_EDU "shirq-edu"
OBJECT_DECLARE_TYPE(ShirqEdu, ShirqEduClass, SHIRQ_EDU)

#define SHIRQ_EDU_DEVICE_ID     0x11e9
#define BARS                    6
#define MAX_BAR                 (16 * MiB)
#define MAX_PORT_BAR            256
#define MAX_NS                  (10 * NANOSECONDS_PER_SECOND)
#define MIN_STORM_NS            100
#define POSTED                  64

/* The run-time properties, by their number in the event log: append only. */
typedef enum SettingId {
    SET_DISINTX,
    SET_INTX_STATUS,
    SET_INTX_PIN,
    SET_DEAD,
    SET_POSTED,
    SET_POSTED_NS,
    SET_DEASSERT_DELAY_NS,
    SET_STATUS_LAG_NS,
    SET_STORM_NS,
    SET_STORM_SOURCES,
    SET_REASSERT,
    SET_RESET_DISINTX,
    SET_RESET_STATUS,
    SET_RESET_UNMASKED,
    SET_PM_EFFECTIVE,
    SET_FLR_EFFECTIVE,
    SETTINGS,
} SettingId;

enum { DISINTX_OK, DISINTX_READ_ONLY, DISINTX_NO_OP, DISINTX_STUCK };
enum { INTX_STATUS_AUTO, INTX_STATUS_OK, INTX_STATUS_ZERO, INTX_STATUS_ONE };
enum { DEAD_OFF, DEAD_BARS, DEAD_ALL };
enum { POSTED_OFF, POSTED_UNTIL_READ, POSTED_DELAYED };

typedef struct ShirqBar {
    ShirqEdu *edu;
    MemoryRegion region;
    char *text;                 /* the property */
    uint32_t size;              /* 0: none */
    uint8_t type;               /* of PCI_BASE_ADDRESS_* */
} ShirqBar;

/* A write that has not reached the device. */
typedef struct ShirqPosted {
    uint64_t value;
    int64_t due;
    uint32_t offset;
    uint8_t bar;
    uint8_t width;
} ShirqPosted;

struct ShirqEduClass {
    PCIDeviceClass parent_class;

    DeviceRealize parent_realize;
};

struct ShirqEdu {
    PCIDevice parent_obj;

    Notifier state_notifier;
    ShirqBar bar[BARS];
    uint32_t vendor_id;
    uint32_t device_id;
    uint32_t revision;
    uint32_t class_code;
    uint32_t subsystem_vendor_id;
    uint32_t subsystem_id;
    bool pm;
    bool no_soft_reset;
    bool pcie;
    bool msi;
    uint8_t pm_cap;

    ShirqRegs *regs;
    char *preset;               /* NULL: `registers` was set */
    const char *described_by;   /* the property that -device gave, if any */
    char *schedule_path;
    uint64_t setting[SETTINGS];

    uint32_t word[SHIRQ_STATES];
    /* The status as registers show it, and when each source last changed. */
    uint32_t seen;
    int64_t changed_at[32];

    bool masked;
    bool wanted;                /* the device wants to assert */
    bool driven;                /* the pin's level in the PCI core */
    bool pin;                   /* after the interrupt-disable bit */
    bool resetting;
    bool disintx_ignored;       /* the bit was written as 1, without effect */

    ShirqPosted posted[POSTED];
    uint32_t posted_first;
    uint32_t posted_count;

    ShirqSchedule schedule;

    QEMUTimer deassert_timer;
    QEMUTimer posted_timer;
    QEMUTimer storm_timer;
    QEMUTimer schedule_timer;

    uint32_t state_text_size;
    uint8_t *state_text;
    /* What a savepoint has: see vmstate_properties. */
    uint64_t saved_setting[SETTINGS];
    uint32_t saved_texts_size;
    uint8_t *saved_texts;

    uint64_t raises;
    uint64_t asserts;
    uint64_t acks;
    uint64_t reads;
    uint64_t writes;
};

static int64_t now_ns(void)
{
    return qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL);
}

/* Sources, mask, pin */

/*
 * Let registers show the bits that have been unchanged for longer than the
 * status lag.
 */
static void settle(ShirqEdu *s)
{
    uint32_t differ = s->seen ^ s->word[SHIRQ_STATUS];
    int64_t settled = now_ns() - s->setting[SET_STATUS_LAG_NS];

    while (differ) {
        int source = ctz32(differ);

        if (s->changed_at[source] <= settled) {
            s->seen ^= BIT(source);
        }
        differ &= differ - 1;
    }
}

static void set_status(ShirqEdu *s, uint32_t status)
{
    uint32_t changed = s->word[SHIRQ_STATUS] ^ status;
    int64_t now = now_ns();

    settle(s);
    s->word[SHIRQ_STATUS] = status;
    while (changed) {
        s->changed_at[ctz32(changed)] = now;
        changed &= changed - 1;
    }
}

/* One bit for every group that contains one of @sources. */
static uint32_t groups_of(ShirqEdu *s, uint32_t sources)
{
    uint32_t groups = 0;

    while (sources) {
        groups |= BIT(ctz32(sources) / s->regs->group);
        sources &= sources - 1;
    }
    return groups;
}

static uint32_t active_sources(ShirqEdu *s)
{
    return s->word[SHIRQ_STATUS] & ~s->word[SHIRQ_MASK];
}

static bool asserts_any(ShirqEdu *s, uint32_t active)
{
    return (s->regs->latched ? s->word[SHIRQ_SUMMARY] : active) != 0;
}

static bool is_asleep(ShirqEdu *s)
{
    return s->pm_cap && s->setting[SET_PM_EFFECTIVE] &&
        (PCI_DEVICE(s)->config[s->pm_cap + PCI_PM_CTRL] &
         PCI_PM_CTRL_STATE_MASK);
}

/* Record the level of the pin, which the PCI core drives and logs. */
static void follow_pin(ShirqEdu *s)
{
    bool pin = s->driven && !pci_irq_disabled(PCI_DEVICE(s));

    if (pin != s->pin) {
        s->pin = pin;
        s->asserts += pin;
        trace_shirq_edu_pin(DEVICE(s)->canonical_path, pin);
    }
}

static void drive_pin(ShirqEdu *s, bool level)
{
    timer_del(&s->deassert_timer);
    s->driven = level;
    pci_set_irq(PCI_DEVICE(s), level);
    follow_pin(s);
}

static void send_message(ShirqEdu *s)
{
    MSIMessage message = msi_get_message(PCI_DEVICE(s), 0);

    shirq_log_event(DEVICE(s), SHIRQ_LOG_MESSAGE, message.address,
                    message.data);
    msi_notify(PCI_DEVICE(s), 0);
}

/* Derive the pin from the state of the registers; nothing else drives it. */
static void update_pin(ShirqEdu *s)
{
    bool wanted, began, by_message = msi_enabled(PCI_DEVICE(s)), intx;

    if (s->regs->latched) {
        s->word[SHIRQ_SUMMARY] |= groups_of(s, active_sources(s));
    }
    wanted = s->word[SHIRQ_GATE] && asserts_any(s, active_sources(s)) &&
        !is_asleep(s) && PCI_DEVICE(s)->enabled;
    intx = wanted && !by_message;
    began = wanted && !s->wanted;
    s->wanted = wanted;
    if (intx || !s->driven || s->resetting ||
        !s->setting[SET_DEASSERT_DELAY_NS]) {
        drive_pin(s, intx);
    } else if (!timer_pending(&s->deassert_timer)) {
        timer_mod(&s->deassert_timer,
                  now_ns() + s->setting[SET_DEASSERT_DELAY_NS]);
    }
    /* Send the message last: it can be a write to this device. */
    if (began && by_message) {
        send_message(s);
    }
}

static void deassert_late(void *opaque)
{
    drive_pin(opaque, false);
}

static void follow_mask(ShirqEdu *s)
{
    bool masked = !s->word[SHIRQ_GATE] ||
        !(s->regs->sources & ~s->word[SHIRQ_MASK]);

    if (masked != s->masked) {
        s->masked = masked;
        shirq_log_event(DEVICE(s), SHIRQ_LOG_MASK, 0, masked);
    }
    update_pin(s);
}

static void raise_sources(ShirqEdu *s, uint32_t sources)
{
    uint32_t status = s->word[SHIRQ_STATUS];

    if (!sources) {
        return;
    }
    s->raises++;
    shirq_log_event(DEVICE(s), SHIRQ_LOG_RAISE, 0, sources & ~status);
    s->word[SHIRQ_CAUSE] |= sources & s->regs->sticky;
    set_status(s, status | sources);
    update_pin(s);
}

static void lower_sources(ShirqEdu *s, uint32_t sources)
{
    uint32_t status = s->word[SHIRQ_STATUS];

    if (!sources) {
        return;
    }
    shirq_log_event(DEVICE(s), SHIRQ_LOG_LOWER, 0, sources & status);
    s->word[SHIRQ_CAUSE] &= ~sources;
    set_status(s, status & ~sources);
    update_pin(s);
}

static void acknowledge(ShirqEdu *s, uint32_t sources)
{
    uint32_t cleared = sources & s->word[SHIRQ_STATUS] & ~s->word[SHIRQ_CAUSE];
    uint32_t again = cleared & s->setting[SET_REASSERT];

    s->acks++;
    set_status(s, s->word[SHIRQ_STATUS] & ~cleared);
    update_pin(s);
    if (again) {
        raise_sources(s, again);
    }
}

static void set_mask(ShirqEdu *s, uint32_t mask)
{
    s->word[SHIRQ_MASK] = mask;
    follow_mask(s);
}

/* The schedule and the storm */

static void follow_schedule(ShirqEdu *s)
{
    int64_t due = shirq_schedule_due(&s->schedule);

    if (due == INT64_MAX) {
        timer_del(&s->schedule_timer);
    } else {
        timer_mod(&s->schedule_timer, due);
    }
}

static void ring_doorbell(ShirqEdu *s, uint64_t value)
{
    shirq_log_event(DEVICE(s), SHIRQ_LOG_DOORBELL, 0, value);
    shirq_schedule_ring(&s->schedule, now_ns());
    follow_schedule(s);
}

static void storm(void *opaque)
{
    ShirqEdu *s = opaque;

    timer_mod(&s->storm_timer, now_ns() + s->setting[SET_STORM_NS]);
    raise_sources(s, s->setting[SET_STORM_SOURCES] & s->regs->sources);
}

static void follow_storm(ShirqEdu *s)
{
    if (s->setting[SET_STORM_NS]) {
        timer_mod(&s->storm_timer, now_ns() + s->setting[SET_STORM_NS]);
    } else {
        timer_del(&s->storm_timer);
    }
}

/* Reset */

static void lose_posted(ShirqEdu *s)
{
    s->posted_count = 0;
    timer_del(&s->posted_timer);
}

static void reset_registers(ShirqEdu *s)
{
    s->resetting = true;
    lose_posted(s);
    set_status(s, 0);
    s->seen = 0;
    memcpy(s->word, s->regs->reset, sizeof(s->word));
    follow_mask(s);
    s->resetting = false;
}

/* Make a stuck interrupt-disable bit read-only as soon as it is set. */
static void follow_stuck(ShirqEdu *s)
{
    PCIDevice *pdev = PCI_DEVICE(s);

    if (s->setting[SET_DISINTX] == DISINTX_STUCK && pci_irq_disabled(pdev)) {
        pci_word_test_and_clear_mask(pdev->wmask + PCI_COMMAND,
                                     PCI_COMMAND_INTX_DISABLE);
    }
}

/*
 * Set the state in which the device leaves a reset. Call this at the end of the
 * reset: before, the PCI core deasserts every pin and clears Command.
 */
static void come_up(ShirqEdu *s)
{
    PCIDevice *pdev = PCI_DEVICE(s);
    uint32_t unmasked = s->setting[SET_RESET_UNMASKED];

    if (s->setting[SET_RESET_DISINTX]) {
        if (s->setting[SET_DISINTX] == DISINTX_NO_OP) {
            s->disintx_ignored = true;
        } else {
            pci_default_write_config(pdev, PCI_COMMAND,
                                     pci_get_word(pdev->config + PCI_COMMAND) |
                                     PCI_COMMAND_INTX_DISABLE, 2);
            follow_stuck(s);
            follow_pin(s);
        }
    }
    if (unmasked) {
        s->word[SHIRQ_GATE] = 1;
        set_mask(s, s->word[SHIRQ_MASK] & ~unmasked);
    }
    if (s->setting[SET_RESET_STATUS]) {
        raise_sources(s, s->setting[SET_RESET_STATUS]);
    }
}

static void shirq_edu_reset_hold(Object *obj, ResetType type)
{
    ShirqEdu *s = SHIRQ_EDU(obj);
    PCIDevice *pdev = PCI_DEVICE(obj);

    shirq_log_event(DEVICE(s), SHIRQ_LOG_RESET, 0, 0);
    s->disintx_ignored = false;
    if (s->setting[SET_DISINTX] == DISINTX_STUCK) {
        pci_word_test_and_set_mask(pdev->wmask + PCI_COMMAND,
                                   PCI_COMMAND_INTX_DISABLE);
    }
    if (s->pm_cap) {
        pci_word_test_and_clear_mask(pdev->config + s->pm_cap + PCI_PM_CTRL,
                                     PCI_PM_CTRL_STATE_MASK);
    }
    reset_registers(s);
}

static void shirq_edu_reset_exit(Object *obj, ResetType type)
{
    ShirqEdu *s = SHIRQ_EDU(obj);

    /*
     * Stay silent if the slot resets the function because it is switched off.
     */
    if (PCI_DEVICE(s)->enabled) {
        come_up(s);
    }
}

/* Registers */

static uint32_t factorial(uint32_t n)
{
    uint32_t product = 1;

    /*
     * The product of 34 consecutive factors is a multiple of 2^32: it is 0
     * here.
     */
    while (n && product) {
        product *= n--;
    }
    return product;
}

/* The bits of a word as registers show them. */
static uint32_t view(ShirqEdu *s, const ShirqField *field)
{
    uint32_t active;

    settle(s);
    active = s->seen & ~s->word[SHIRQ_MASK];
    switch (field->word) {
    case SHIRQ_STATUS:
        return s->seen;
    case SHIRQ_ACTIVE:
        return active;
    case SHIRQ_ANY:
        return asserts_any(s, active);
    case SHIRQ_SUMMARY:
        return s->regs->latched ? s->word[SHIRQ_SUMMARY] :
            groups_of(s, active);
    case SHIRQ_CONST:
        return field->value;
    case SHIRQ_MARK:
    case SHIRQ_DOORBELL:
        return 0;
    default:
        return s->word[field->word];
    }
}

static uint32_t shown_bits(ShirqEdu *s, const ShirqField *field)
{
    return (view(s, field) ^ (field->inverted ? -1 : 0)) &
        shirq_field_cover(field);
}

static bool is_at(const ShirqField *field, uint8_t space, uint32_t offset,
                  unsigned width)
{
    return field->offset == offset && field->space == space &&
        field->width == width;
}

static uint64_t in_byte_order(const ShirqField *field, uint64_t value)
{
    return field->big_endian ? bswap64(value) >> (64 - 8 * field->width) :
        value;
}

/* The value that a read returns, without its side effects. */
static uint64_t peek_location(ShirqEdu *s, uint8_t space, uint32_t offset,
                              unsigned width)
{
    uint64_t value = 0;
    unsigned i;

    for (i = 0; i < s->regs->count; i++) {
        const ShirqField *field = &s->regs->field[i];
        uint64_t bits;

        if (!is_at(field, space, offset, width) || field->write_only) {
            continue;
        }
        if (field->word == SHIRQ_DATA) {
            bits = peek_location(s, SHIRQ_INDIRECT, s->word[SHIRQ_INDEX],
                                 width);
        } else {
            bits = (uint64_t)(shown_bits(s, field) >> field->word_shift)
                << field->shift;
        }
        value |= in_byte_order(field, bits);
    }
    return value;
}

/*
 * Apply the side effects of a read: it clears bits that it returned, or masks.
 */
static void touch_location(ShirqEdu *s, uint8_t space, uint32_t offset,
                           unsigned width)
{
    uint32_t acknowledged = 0, masked = 0;
    unsigned i;

    for (i = 0; i < s->regs->count; i++) {
        const ShirqField *field = &s->regs->field[i];

        if (!is_at(field, space, offset, width)) {
            continue;
        }
        if (field->word == SHIRQ_DATA) {
            touch_location(s, SHIRQ_INDIRECT, s->word[SHIRQ_INDEX], width);
        }
        if (field->read_masks) {
            masked |= shirq_field_cover(field);
        }
        if (!field->read_clears) {
            continue;
        }
        if (field->word == SHIRQ_STATUS || field->word == SHIRQ_ACTIVE) {
            acknowledged |= shown_bits(s, field);
        } else {
            s->word[field->word] &= ~shown_bits(s, field);
            follow_mask(s);
        }
    }
    if (masked) {
        set_mask(s, s->word[SHIRQ_MASK] | masked);
    }
    if (acknowledged) {
        acknowledge(s, acknowledged);
    }
}

static void write_status(ShirqEdu *s, const ShirqField *field, uint32_t bits,
                         uint32_t cover)
{
    switch (field->write) {
    case SHIRQ_RW:
        if (bits & ~s->word[SHIRQ_STATUS]) {
            raise_sources(s, bits);
        }
        if (s->word[SHIRQ_STATUS] & cover & ~bits) {
            acknowledge(s, cover & ~bits);
        }
        break;
    case SHIRQ_W1S:
        raise_sources(s, bits);
        break;
    case SHIRQ_W1C:
        acknowledge(s, bits);
        break;
    case SHIRQ_W0C:
        acknowledge(s, cover & ~bits);
        break;
    case SHIRQ_WC:
        acknowledge(s, cover);
        break;
    }
}

static void write_word(ShirqEdu *s, const ShirqField *field, uint32_t bits,
                       uint32_t cover)
{
    uint32_t invert = field->inverted ? -1 : 0;
    uint32_t value = s->word[field->word] ^ invert;

    switch (field->write) {
    case SHIRQ_RW:
        value = (value & ~cover) | bits;
        break;
    case SHIRQ_W1S:
        value |= bits;
        break;
    case SHIRQ_W1C:
        value &= ~bits;
        break;
    case SHIRQ_W0C:
        value &= bits | ~cover;
        break;
    case SHIRQ_WC:
        value &= ~cover;
        break;
    }
    s->word[field->word] = value ^ invert;
    follow_mask(s);
}

static void write_location(ShirqEdu *s, uint8_t space, uint32_t offset,
                           unsigned width, uint64_t raw)
{
    unsigned i;

    for (i = 0; i < s->regs->count; i++) {
        const ShirqField *field = &s->regs->field[i];
        uint32_t cover = shirq_field_cover(field);
        uint64_t value;
        uint32_t bits;

        if (!is_at(field, space, offset, width) || field->write == SHIRQ_RO) {
            continue;
        }
        value = in_byte_order(field, raw);
        bits = value >> field->shift << field->word_shift & cover;
        switch (field->word) {
        case SHIRQ_STATUS:
            write_status(s, field, bits, cover);
            break;
        case SHIRQ_DATA:
            write_location(s, SHIRQ_INDIRECT, s->word[SHIRQ_INDEX], width,
                           value);
            break;
        case SHIRQ_LIVENESS:
            s->word[SHIRQ_LIVENESS] = ~bits;
            break;
        case SHIRQ_FACTORIAL:
            s->word[SHIRQ_FACTORIAL] = factorial(bits);
            break;
        case SHIRQ_MARK:
            shirq_log_access(DEVICE(s), SHIRQ_LOG_MARK, space, width, offset,
                             value);
            break;
        case SHIRQ_DOORBELL:
            ring_doorbell(s, value);
            break;
        default:
            write_word(s, field, bits, cover);
        }
    }
}

/* Accesses */

/*
 * The bench's own registers are not part of the card: faults do not delay them.
 */
static bool is_bench_register(ShirqEdu *s, uint8_t space, uint32_t offset,
                              unsigned width)
{
    unsigned i;

    for (i = 0; i < s->regs->count; i++) {
        const ShirqField *field = &s->regs->field[i];

        if (is_at(field, space, offset, width) && field->word >= SHIRQ_MARK) {
            return true;
        }
    }
    return false;
}

static void land_first(ShirqEdu *s)
{
    ShirqPosted write = s->posted[s->posted_first];

    s->posted_first = (s->posted_first + 1) % POSTED;
    s->posted_count--;
    shirq_log_access(DEVICE(s), SHIRQ_LOG_LAND, write.bar, write.width,
                     write.offset, write.value);
    write_location(s, write.bar, write.offset, write.width, write.value);
}

/* A read, and any configuration access, flushes the posted writes before it. */
static void land_all(ShirqEdu *s)
{
    while (s->posted_count) {
        land_first(s);
    }
    timer_del(&s->posted_timer);
}

static void follow_posted(ShirqEdu *s)
{
    if (s->posted_count && s->posted[s->posted_first].due != INT64_MAX) {
        timer_mod(&s->posted_timer, s->posted[s->posted_first].due);
    } else {
        timer_del(&s->posted_timer);
    }
}

static void land_due(void *opaque)
{
    ShirqEdu *s = opaque;
    int64_t now = now_ns();

    while (s->posted_count && s->posted[s->posted_first].due <= now) {
        land_first(s);
    }
    follow_posted(s);
}

static void post(ShirqEdu *s, uint8_t bar, uint32_t offset, unsigned width,
                 uint64_t value)
{
    if (s->posted_count == POSTED) {
        land_first(s);
    }
    s->posted[(s->posted_first + s->posted_count++) % POSTED] = (ShirqPosted) {
        .bar = bar,
        .width = width,
        .offset = offset,
        .value = value,
        .due = s->setting[SET_POSTED] == POSTED_DELAYED ?
            now_ns() + s->setting[SET_POSTED_NS] : INT64_MAX,
    };
    follow_posted(s);
}

static bool is_dead(ShirqEdu *s)
{
    return s->setting[SET_DEAD] != DEAD_OFF || is_asleep(s);
}

static uint64_t shirq_edu_read(void *opaque, hwaddr offset, unsigned width)
{
    ShirqBar *bar = opaque;
    ShirqEdu *s = bar->edu;
    uint8_t space = bar - s->bar;
    bool dead = is_dead(s);
    uint64_t value;

    s->reads++;
    if (!dead) {
        land_all(s);
    }
    value = dead ? MAKE_64BIT_MASK(0, 8 * width) :
        peek_location(s, space, offset, width);
    trace_shirq_edu_read(DEVICE(s)->canonical_path, offset, width, value);
    shirq_log_access(DEVICE(s), SHIRQ_LOG_READ, space, width, offset, value);
    if (!dead) {
        touch_location(s, space, offset, width);
    }
    return value;
}

static void shirq_edu_write(void *opaque, hwaddr offset, uint64_t value,
                            unsigned width)
{
    ShirqBar *bar = opaque;
    ShirqEdu *s = bar->edu;
    uint8_t space = bar - s->bar;

    s->writes++;
    trace_shirq_edu_write(DEVICE(s)->canonical_path, offset, width, value);
    shirq_log_access(DEVICE(s), SHIRQ_LOG_WRITE, space, width, offset, value);
    if (is_dead(s)) {
        return;
    }
    if (s->setting[SET_POSTED] != POSTED_OFF &&
        !is_bench_register(s, space, offset, width)) {
        post(s, space, offset, width, value);
    } else {
        write_location(s, space, offset, width, value);
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
    bool power = s->pm_cap &&
        ranges_overlap(offset, width, s->pm_cap + PCI_PM_CTRL, 2);

    if (power || ranges_overlap(offset, width, PCI_COMMAND, 4)) {
        shirq_log_access(DEVICE(s), kind, SHIRQ_LOG_CONFIG, width, offset,
                         value);
    }
}

/* Bit @bit of the byte at @at, in a value of @width bytes from @offset on. */
static uint32_t config_bit(uint32_t at, int bit, uint32_t offset, int width)
{
    return range_covers_byte(offset, width, at) ?
        BIT((at - offset) * 8 + bit) : 0;
}

static uint32_t shirq_edu_config_read(PCIDevice *pdev, uint32_t offset,
                                      int width)
{
    ShirqEdu *s = SHIRQ_EDU(pdev);
    uint32_t status = config_bit(PCI_STATUS, 3, offset, width);
    uint32_t value;

    if (s->setting[SET_DEAD] == DEAD_ALL) {
        value = MAKE_64BIT_MASK(0, 8 * width);
    } else {
        land_all(s);
        value = pci_default_read_config(pdev, offset, width);
        if (s->disintx_ignored) {
            value |= config_bit(PCI_COMMAND + 1, 2, offset, width);
        }
        if (s->setting[SET_INTX_STATUS] == INTX_STATUS_ONE) {
            value |= status;
        } else if (s->setting[SET_INTX_STATUS] == INTX_STATUS_ZERO ||
                   (s->setting[SET_INTX_STATUS] == INTX_STATUS_AUTO &&
                    s->setting[SET_DISINTX] == DISINTX_READ_ONLY)) {
            value &= ~status;
        }
    }
    log_command(s, SHIRQ_LOG_READ, offset, width, value);
    return value;
}

static uint8_t power_state(ShirqEdu *s)
{
    return s->pm_cap ? PCI_DEVICE(s)->config[s->pm_cap + PCI_PM_CTRL] &
        PCI_PM_CTRL_STATE_MASK : 0;
}

static void change_power(ShirqEdu *s, uint8_t before)
{
    uint8_t *control = PCI_DEVICE(s)->config + s->pm_cap + PCI_PM_CTRL;
    uint8_t after = power_state(s);

    if (after == 1 || after == 2) {
        /* Only D0 and D3hot are supported. */
        pci_set_byte(control, (*control & ~PCI_PM_CTRL_STATE_MASK) | before);
    } else if (before && !after && s->setting[SET_PM_EFFECTIVE] &&
               !s->no_soft_reset) {
        pci_device_reset(PCI_DEVICE(s));
    }
    update_pin(s);
}

static void shirq_edu_config_write(PCIDevice *pdev, uint32_t offset,
                                   uint32_t value, int width)
{
    ShirqEdu *s = SHIRQ_EDU(pdev);
    uint32_t disintx = config_bit(PCI_COMMAND + 1, 2, offset, width);
    uint8_t power = power_state(s);

    log_command(s, SHIRQ_LOG_WRITE, offset, width, value);
    if (s->setting[SET_DEAD] == DEAD_ALL) {
        return;
    }
    land_all(s);
    pci_default_write_config(pdev, offset, value, width);
    if (disintx && s->setting[SET_DISINTX] == DISINTX_NO_OP) {
        s->disintx_ignored = value & disintx;
    }
    follow_stuck(s);
    follow_pin(s);
    if (power_state(s) != power) {
        change_power(s, power);
    }
    if (s->pcie) {
        uint8_t *control = pdev->config + pdev->exp.exp_cap + PCI_EXP_DEVCTL;

        if (pci_word_test_and_clear_mask(control, PCI_EXP_DEVCTL_BCR_FLR) &&
            s->setting[SET_FLR_EFFECTIVE]) {
            pci_device_reset(PCI_DEVICE(s));
        }
    }
    /* MSI may have been switched on or off. */
    update_pin(s);
}

/* Run-time properties */

static void apply_disintx(ShirqEdu *s)
{
    PCIDevice *pdev = PCI_DEVICE(s);
    uint8_t *writable = pdev->wmask + PCI_COMMAND;
    uint16_t command = pci_get_word(pdev->config + PCI_COMMAND);
    bool set = s->disintx_ignored || command & PCI_COMMAND_INTX_DISABLE;
    uint64_t mode = s->setting[SET_DISINTX];
    bool effective = mode == DISINTX_OK || mode == DISINTX_STUCK;

    /*
     * Write Command through the PCI core, which asserts the pin if only this
     * bit has held it back.
     */
    pci_word_test_and_set_mask(writable, PCI_COMMAND_INTX_DISABLE);
    pci_default_write_config(pdev, PCI_COMMAND,
                             deposit32(command, 10, 1, set && effective), 2);
    if (!effective) {
        pci_word_test_and_clear_mask(writable, PCI_COMMAND_INTX_DISABLE);
    }
    follow_stuck(s);
    s->disintx_ignored = set && mode == DISINTX_NO_OP;
    follow_pin(s);
}

static void apply_pin(ShirqEdu *s)
{
    PCIDevice *pdev = PCI_DEVICE(s);
    bool driven = s->driven;

    drive_pin(s, false);
    pci_config_set_interrupt_pin(pdev->config, s->setting[SET_INTX_PIN] + 1);
    drive_pin(s, driven);
    update_pin(s);
}

static void apply_posted(ShirqEdu *s)
{
    if (s->setting[SET_POSTED] == POSTED_OFF) {
        land_all(s);
    }
}

static void apply_deassert_delay(ShirqEdu *s)
{
    if (!s->setting[SET_DEASSERT_DELAY_NS]) {
        update_pin(s);
    }
}

static const char *const off_on[] = { "off", "on", NULL };

#define CHOICE(...) .names = (const char *const[]) { __VA_ARGS__, NULL }

/* A choice among @names, or a number from @min to @max, or 0 if @or_zero. */
static const struct {
    const char *name;
    const char *description;
    const char *const *names;
    uint64_t min;
    uint64_t max;
    bool or_zero;
    uint64_t reset;             /* its default */
    bool stopped;               /* settable only while the VM is stopped */
    bool sources;               /* bits of sources */
    void (*apply)(ShirqEdu *s);
} settings[SETTINGS] = {
    [SET_DISINTX] = {
        "disintx", "how Command's interrupt-disable bit behaves",
        CHOICE("ok", "read-only", "no-op", "stuck"), .apply = apply_disintx },
    [SET_INTX_STATUS] = {
        "intx-status", "Status' interrupt status bit",
        CHOICE("auto", "ok", "zero", "one") },
    [SET_INTX_PIN] = {
        "intx-pin", "the interrupt pin (while the VM is stopped)",
        CHOICE("A", "B", "C", "D"), .stopped = true, .apply = apply_pin },
    [SET_DEAD] = {
        "dead", "what reads as all-ones and ignores writes",
        CHOICE("off", "bars", "all") },
    [SET_POSTED] = {
        "posted", "how long writes are under way",
        CHOICE("off", "until-read", "delayed"), .apply = apply_posted },
    [SET_POSTED_NS] = {
        "posted-ns", "how long at most, for posted=delayed, in ns",
        .min = 1, .max = MAX_NS, .reset = 1000 },
    [SET_DEASSERT_DELAY_NS] = {
        "deassert-delay-ns", "how long the pin stays asserted, in ns",
        .max = MAX_NS, .apply = apply_deassert_delay },
    [SET_STATUS_LAG_NS] = {
        "status-lag-ns", "how late registers show a change, in ns",
        .max = MAX_NS },
    [SET_STORM_NS] = {
        "storm-ns", "period of a storm in ns, 0 for none",
        .min = MIN_STORM_NS, .max = MAX_NS, .or_zero = true,
        .apply = follow_storm },
    [SET_STORM_SOURCES] = {
        "storm-sources", "sources that storm, as bits",
        .min = 1, .max = UINT32_MAX, .reset = 1, .sources = true },
    [SET_REASSERT] = {
        "reassert", "sources that are pending again once acknowledged, as bits",
        .max = UINT32_MAX, .sources = true },
    [SET_RESET_DISINTX] = {
        "reset-disintx", "the interrupt-disable bit after a reset",
        .names = off_on },
    [SET_RESET_STATUS] = {
        "reset-status", "sources that are pending after a reset, as bits",
        .max = UINT32_MAX, .sources = true },
    [SET_RESET_UNMASKED] = {
        "reset-unmasked", "sources that are not masked after a reset, as bits",
        .max = UINT32_MAX, .sources = true },
    [SET_PM_EFFECTIVE] = {
        "pm-effective", "whether D3hot silences and resets",
        .names = off_on, .reset = 1 },
    [SET_FLR_EFFECTIVE] = {
        "flr-effective", "whether a function-level reset resets",
        .names = off_on, .reset = 1 },
};

/* Whether the settings, the registers and the capabilities fit together. */
static bool check_settings(ShirqEdu *s, Error **errp)
{
    int i;

    for (i = 0; i < SETTINGS; i++) {
        uint64_t unknown = s->setting[i] & ~(uint64_t)s->regs->sources;

        if (settings[i].sources && unknown &&
            (i != SET_STORM_SOURCES || s->setting[SET_STORM_NS])) {
            error_setg(errp, "shirq-edu: property '%s' names the sources 0x%"
                       PRIx64 ", and the device has 0x%x", settings[i].name,
                       unknown, s->regs->sources);
            return false;
        }
    }
    if (s->setting[SET_RESET_DISINTX] &&
        s->setting[SET_DISINTX] == DISINTX_READ_ONLY) {
        error_setg(errp, "shirq-edu: property 'reset-disintx' must be off with "
                   "disintx=read-only, which has no such bit");
    } else if (!s->setting[SET_PM_EFFECTIVE] && !s->pm) {
        error_setg(errp, "shirq-edu: property 'pm-effective' must be on "
                   "without pm=on, which makes the capability");
    } else if (!s->setting[SET_FLR_EFFECTIVE] && !s->pcie) {
        error_setg(errp, "shirq-edu: property 'flr-effective' must be on "
                   "without pcie=on, which makes the capability");
    } else {
        return true;
    }
    return false;
}

static bool check_stopped(ShirqEdu *s, const char *name, Error **errp)
{
    if (DEVICE(s)->realized && runstate_is_running()) {
        error_setg(errp, "shirq-edu: property '%s' can only be set while the "
                   "VM is stopped: stop it first", name);
        return false;
    }
    return true;
}

static bool change_setting(ShirqEdu *s, int id, uint64_t value, Error **errp)
{
    uint64_t before = s->setting[id];

    if (settings[id].stopped && !check_stopped(s, settings[id].name, errp)) {
        return false;
    }
    s->setting[id] = value;
    if (DEVICE(s)->realized) {
        if (!check_settings(s, errp)) {
            s->setting[id] = before;
            return false;
        }
        if (id == SET_STATUS_LAG_NS) {
            /* Update the visible status with the former lag first. */
            s->setting[id] = before;
            settle(s);
            s->setting[id] = value;
        }
        shirq_log_event(DEVICE(s), SHIRQ_LOG_SETTING, id, value);
        if (settings[id].apply) {
            settings[id].apply(s);
        }
    }
    return true;
}

static bool choose(int id, const char *text, uint64_t *value, Error **errp)
{
    g_autofree char *allowed = NULL;

    for (*value = 0; settings[id].names[*value]; (*value)++) {
        if (!strcmp(settings[id].names[*value], text)) {
            return true;
        }
    }
    allowed = g_strjoinv(", ", (char **)settings[id].names);
    error_setg(errp, "shirq-edu: property '%s' must be one of %s, not '%s'",
               settings[id].name, allowed, text);
    return false;
}

static bool is_number_allowed(int id, uint64_t value)
{
    return (value >= settings[id].min && value <= settings[id].max) ||
        (settings[id].or_zero && !value);
}

static bool check_number(int id, uint64_t value, Error **errp)
{
    if (is_number_allowed(id, value)) {
        return true;
    }
    error_setg(errp, "shirq-edu: property '%s' must be %s%" PRIu64 " to %"
               PRIu64 ", not %" PRIu64, settings[id].name,
               settings[id].or_zero ? "0 or " : "", settings[id].min,
               settings[id].max, value);
    return false;
}

int shirq_edu_parse_setting(const char *name, const char *text,
                            uint64_t *value, Error **errp)
{
    int id;

    for (id = 0; id < SETTINGS; id++) {
        if (!strcmp(settings[id].name, name) && !settings[id].stopped) {
            break;
        }
    }
    if (id == SETTINGS) {
        error_setg(errp, "'%s' is no property that can be set while the VM "
                   "runs", name);
        return -1;
    }
    if (settings[id].names) {
        return choose(id, text, value, errp) ? id : -1;
    }
    if (qemu_strtou64(text, NULL, 0, value)) {
        error_setg(errp, "shirq-edu: property '%s' must be a number, not '%s'",
                   name, text);
        return -1;
    }
    return check_number(id, *value, errp) ? id : -1;
}

static void get_setting(Object *obj, Visitor *v, const char *name,
                        void *opaque, Error **errp)
{
    int id = GPOINTER_TO_INT(opaque);
    uint64_t value = SHIRQ_EDU(obj)->setting[id];

    if (settings[id].names) {
        char *text = (char *)settings[id].names[value];

        visit_type_str(v, name, &text, errp);
    } else {
        visit_type_uint64(v, name, &value, errp);
    }
}

static void set_setting(Object *obj, Visitor *v, const char *name,
                        void *opaque, Error **errp)
{
    int id = GPOINTER_TO_INT(opaque);
    uint64_t value;

    if (settings[id].names) {
        g_autofree char *text = NULL;

        if (!visit_type_str(v, name, &text, errp) ||
            !choose(id, text, &value, errp)) {
            return;
        }
    } else if (!visit_type_uint64(v, name, &value, errp) ||
               !check_number(id, value, errp)) {
        return;
    }
    change_setting(SHIRQ_EDU(obj), id, value, errp);
}

/* Schedule */

/*
 * Stop before the next instruction: a stop request alone takes effect some
 * instructions later. The main loop stops the clocks; until then no vCPU
 * advances them.
 */
static void stop_here(void)
{
    CPUState *cpu;

    CPU_FOREACH(cpu) {
        cpu->stopped = true;
        cpu_exit(cpu);
    }
    qemu_system_vmstop_request_prepare();
    qemu_system_vmstop_request(RUN_STATE_PAUSED);
}

static void act(ShirqEdu *s, const ShirqEntry *entry)
{
    Error *err = NULL;
    uint32_t sources = entry->argument & s->regs->sources;

    shirq_log_access(DEVICE(s), SHIRQ_LOG_SCHEDULED, 0, entry->action,
                     entry->line, entry->argument);
    switch (entry->action) {
    case SHIRQ_DO_RAISE:
        raise_sources(s, sources);
        break;
    case SHIRQ_DO_LOWER:
        lower_sources(s, sources);
        break;
    case SHIRQ_DO_MASK:
        set_mask(s, s->word[SHIRQ_MASK] | sources);
        break;
    case SHIRQ_DO_UNMASK:
        set_mask(s, s->word[SHIRQ_MASK] & ~sources);
        break;
    case SHIRQ_DO_RESET:
        pci_device_reset(PCI_DEVICE(s));
        break;
    case SHIRQ_DO_SET:
        if (!change_setting(s, entry->setting, entry->argument, &err)) {
            warn_reportf_err(err, "schedule, line %u: ", entry->line);
        }
        break;
    case SHIRQ_DO_WHERE:
        shirq_log_where(DEVICE(s));
        break;
    case SHIRQ_DO_STOP:
        stop_here();
        break;
    case SHIRQ_DO_TURN:
        shirq_turns_give(entry->argument);
        break;
    }
}

static void schedule_due(void *opaque)
{
    ShirqEdu *s = opaque;
    int64_t now = now_ns();

    while (shirq_schedule_due(&s->schedule) <= now) {
        act(s, shirq_schedule_take(&s->schedule));
    }
    follow_schedule(s);
}

static char *get_schedule(Object *obj, Error **errp)
{
    return g_strdup(SHIRQ_EDU(obj)->schedule_path ?: "");
}

static void set_schedule(Object *obj, const char *path, Error **errp)
{
    ERRP_GUARD();
    ShirqEdu *s = SHIRQ_EDU(obj);

    if (!DEVICE(s)->realized) {
        error_setg(errp, "shirq-edu: 'schedule' cannot be set now: set it with "
                   "qom-set once the device exists, while the VM is stopped");
        return;
    }
    if (!check_stopped(s, "schedule", errp)) {
        return;
    }
    if (!*path) {
        shirq_schedule_clear(&s->schedule);
    } else if (!shirq_schedule_load(&s->schedule, path, s->regs->sources,
                                    now_ns(), errp)) {
        error_prepend(errp, "shirq-edu: property 'schedule', '%s': ", path);
        return;
    }
    g_free(s->schedule_path);
    s->schedule_path = g_strdup(path);
    follow_schedule(s);
}

/* Registers as a property */

static bool check_registers(ShirqEdu *s, const ShirqRegs *regs, Error **errp)
{
    unsigned i;

    for (i = 0; i < regs->count; i++) {
        const ShirqField *field = &regs->field[i];
        const ShirqBar *bar = &s->bar[field->space];

        if (field->space == SHIRQ_INDIRECT) {
            continue;
        }
        if (!bar->size) {
            error_setg(errp, "register bar%d+0x%x: the device has no BAR %d; "
                       "give it one with bar%d=mem:SIZE or bar%d=port:SIZE",
                       field->space, field->offset, field->space,
                       field->space, field->space);
            return false;
        }
        if (field->offset + field->width > bar->size) {
            error_setg(errp, "register bar%d+0x%x: BAR %d ends at 0x%x; give "
                       "it more with bar%d", field->space, field->offset,
                       field->space, bar->size, field->space);
            return false;
        }
        if (field->width == 8 && bar->type & PCI_BASE_ADDRESS_SPACE_IO) {
            error_setg(errp, "register bar%d+0x%x: ports are not 64 bits wide",
                       field->space, field->offset);
            return false;
        }
    }
    return true;
}

/* Replace the register file; the new one starts in the reset state. */
static void exchange_registers(ShirqEdu *s, const char *name,
                               const char *preset, const char *text,
                               Error **errp)
{
    ERRP_GUARD();
    g_autoptr(ShirqRegs) regs = shirq_regs_parse(text, errp);
    ShirqRegs *before = s->regs;

    if (!regs) {
        error_prepend(errp, "shirq-edu: property '%s': ", name);
        return;
    }
    if (!DEVICE(s)->realized) {
        /*
         * QEMU sets properties in no defined order, so neither can override the
         * other.
         */
        if (s->described_by && strcmp(s->described_by, name)) {
            error_setg(errp, "shirq-edu: properties 'preset' and 'registers' "
                       "describe the same: give one of them");
            return;
        }
        s->described_by = name;
    } else {
        if (!check_stopped(s, name, errp)) {
            return;
        }
        if (!check_registers(s, regs, errp)) {
            error_prepend(errp, "shirq-edu: property '%s': ", name);
            return;
        }
        s->regs = regs;
        if (!check_settings(s, errp)) {
            s->regs = before;
            return;
        }
    }
    s->regs = g_steal_pointer(&regs);
    shirq_regs_free(before);
    g_free(s->preset);
    s->preset = g_strdup(preset);
    if (DEVICE(s)->realized) {
        shirq_log_event(DEVICE(s), SHIRQ_LOG_RESET, 0, 0);
        reset_registers(s);
    }
}

static char *get_registers(Object *obj, Error **errp)
{
    return g_strdup(SHIRQ_EDU(obj)->regs->text);
}

static void set_registers(Object *obj, const char *text, Error **errp)
{
    exchange_registers(SHIRQ_EDU(obj), "registers", NULL, text, errp);
}

static char *get_preset(Object *obj, Error **errp)
{
    return g_strdup(SHIRQ_EDU(obj)->preset ?: "");
}

static void set_preset(Object *obj, const char *name, Error **errp)
{
    const char *text = shirq_preset(name);

    if (!text) {
        g_autofree char *names = shirq_preset_names();

        error_setg(errp, "shirq-edu: property 'preset' must be one of %s, "
                   "not '%s'", names, name);
        return;
    }
    exchange_registers(SHIRQ_EDU(obj), "preset", name, text, errp);
}

/* Stimuli and observations */

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
                   "1 to %" PRIu32 ", not 0", name, s->regs->sources);
    } else if (sources & ~s->regs->sources) {
        error_setg(errp, "shirq-edu: '%s' takes the sources as bits of 0x%x, "
                   "not 0x%x", name, s->regs->sources, sources);
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

static void get_schedule_left(Object *obj, Visitor *v, const char *name,
                              void *opaque, Error **errp)
{
    uint32_t left = shirq_schedule_left(&SHIRQ_EDU(obj)->schedule);

    visit_type_uint32(v, name, &left, errp);
}

static const struct {
    const char *name;
    const char *type;
    ObjectPropertyAccessor *get;
    size_t offset;
    const char *description;
} readable[] = {
    { "status", "uint32", get_u32, offsetof(ShirqEdu, word[SHIRQ_STATUS]),
      "pending sources" },
    { "mask", "uint32", get_u32, offsetof(ShirqEdu, word[SHIRQ_MASK]),
      "masked sources" },
    { "posted-writes", "uint32", get_u32, offsetof(ShirqEdu, posted_count),
      "writes that are under way" },
    { "schedule-left", "uint32", get_schedule_left, 0,
      "entries of the schedule that have not been executed" },
    { "raises", "uint64", get_u64, offsetof(ShirqEdu, raises),
      "raise stimuli, from property, register, storm or schedule" },
    { "asserts", "uint64", get_u64, offsetof(ShirqEdu, asserts),
      "rising edges of the pin" },
    { "acks", "uint64", get_u64, offsetof(ShirqEdu, acks),
      "accesses that acknowledge" },
    { "reads", "uint64", get_u64, offsetof(ShirqEdu, reads),
      "register reads" },
    { "writes", "uint64", get_u64, offsetof(ShirqEdu, writes),
      "register writes" },
};

/* Life */

static void log_state(Notifier *notifier, void *data)
{
    ShirqEdu *s = container_of(notifier, ShirqEdu, state_notifier);

    if (!s->masked) {
        shirq_log_event(DEVICE(s), SHIRQ_LOG_MASK, 0, 0);
    }
}

static bool parse_bar(ShirqEdu *s, int number, Error **errp)
{
    static const struct {
        const char *prefix;
        uint8_t type;
        uint32_t min;
        uint32_t max;
    } kinds[] = {
        { "mem:", PCI_BASE_ADDRESS_SPACE_MEMORY, 16, MAX_BAR },
        { "mem64:", PCI_BASE_ADDRESS_SPACE_MEMORY |
          PCI_BASE_ADDRESS_MEM_TYPE_64, 16, MAX_BAR },
        { "port:", PCI_BASE_ADDRESS_SPACE_IO, 4, MAX_PORT_BAR },
    };
    ShirqBar *bar = &s->bar[number];
    uint64_t size;
    int i;

    bar->edu = s;
    if (!strcmp(bar->text, "none")) {
        return true;
    }
    for (i = 0; i < ARRAY_SIZE(kinds); i++) {
        if (g_str_has_prefix(bar->text, kinds[i].prefix) &&
            !qemu_strtou64(bar->text + strlen(kinds[i].prefix), NULL, 0,
                           &size) &&
            size >= kinds[i].min && size <= kinds[i].max &&
            is_power_of_2(size)) {
            bar->size = size;
            bar->type = kinds[i].type;
            break;
        }
    }
    if (!bar->size) {
        error_setg(errp, "shirq-edu: property 'bar%d' must be none, mem:SIZE, "
                   "mem64:SIZE (a power of two from 16 to %" PRIu64 ") or "
                   "port:SIZE (from 4 to %d), not '%s'", number,
                   (uint64_t)MAX_BAR, MAX_PORT_BAR, bar->text);
        return false;
    }
    if (bar->type & PCI_BASE_ADDRESS_MEM_TYPE_64 &&
        (number == BARS - 1 || strcmp(bar[1].text, "none"))) {
        error_setg(errp, "shirq-edu: property 'bar%d': a mem64 BAR takes the "
                   "next one's place too, which must be none", number);
        return false;
    }
    return true;
}

static bool realize_identity(ShirqEdu *s, Error **errp)
{
    static const char *const names[] = {
        "vendor-id", "device-id", "revision", "class-code",
        "subsystem-vendor-id", "subsystem-id",
    };
    const uint32_t values[] = {
        s->vendor_id, s->device_id, s->revision, s->class_code,
        s->subsystem_vendor_id, s->subsystem_id,
    };
    const uint32_t limits[] = {
        UINT16_MAX, UINT16_MAX, UINT8_MAX, 0xffffff, UINT16_MAX, UINT16_MAX,
    };
    uint8_t *config = PCI_DEVICE(s)->config;
    int i;

    for (i = 0; i < ARRAY_SIZE(names); i++) {
        if (values[i] > limits[i]) {
            error_setg(errp, "shirq-edu: property '%s' must be 0 to 0x%x, not "
                       "0x%x", names[i], limits[i], values[i]);
            return false;
        }
    }
    pci_config_set_vendor_id(config, s->vendor_id);
    pci_config_set_device_id(config, s->device_id);
    pci_config_set_revision(config, s->revision);
    pci_config_set_prog_interface(config, s->class_code & 0xff);
    pci_config_set_class(config, s->class_code >> 8);
    pci_set_word(config + PCI_SUBSYSTEM_VENDOR_ID, s->subsystem_vendor_id);
    pci_set_word(config + PCI_SUBSYSTEM_ID, s->subsystem_id);
    return true;
}

static bool realize_capabilities(ShirqEdu *s, Error **errp)
{
    PCIDevice *pdev = PCI_DEVICE(s);
    int cap;

    if (s->no_soft_reset && !s->pm) {
        error_setg(errp, "shirq-edu: property 'no-soft-reset' must be off "
                   "without pm=on, which makes the capability");
        return false;
    }
    if (s->pm) {
        /*
         * Do not use pci_pm_init(): the PCI core would unmap the BARs in D3hot,
         * and unmapped addresses read as zero.
         */
        cap = pci_add_capability(pdev, PCI_CAP_ID_PM, 0, PCI_PM_SIZEOF, errp);
        if (cap < 0) {
            return false;
        }
        s->pm_cap = cap;
        pci_set_word(pdev->config + cap + PCI_PM_PMC, 3);
        pci_set_word(pdev->config + cap + PCI_PM_CTRL,
                     s->no_soft_reset ? PCI_PM_CTRL_NO_SOFT_RESET : 0);
        pci_set_word(pdev->wmask + cap + PCI_PM_CTRL, PCI_PM_CTRL_STATE_MASK);
    }
    if (s->msi && msi_init(pdev, 0, 1, true, false, errp)) {
        return false;
    }
    if (s->pcie) {
        if (!pci_bus_is_express(pci_get_bus(pdev))) {
            error_setg(errp, "shirq-edu: property 'pcie' must be off on a "
                       "conventional bus");
            return false;
        }
        cap = pcie_endpoint_cap_init(pdev, 0);
        if (cap < 0) {
            error_setg(errp, "shirq-edu: property 'pcie': no room for the "
                       "capability");
            return false;
        }
        pcie_cap_flr_init(pdev);
    }
    return true;
}

/*
 * Properties that can change while the VM exists. They are not part of the
 * state, since the VM that loads a state is given its own; a VM that is rewound
 * takes back those of the savepoint.
 */

static int properties_pre_save(void *opaque)
{
    ShirqEdu *s = opaque;
    const char *texts[] = { s->schedule_path ?: "", s->preset ?: "",
                            s->regs->text };
    GByteArray *all = g_byte_array_new();
    int i;

    for (i = 0; i < ARRAY_SIZE(texts); i++) {
        g_byte_array_append(all, (const guint8 *)texts[i],
                            strlen(texts[i]) + 1);
    }
    memcpy(s->saved_setting, s->setting, sizeof(s->setting));
    g_free(s->saved_texts);
    s->saved_texts_size = all->len;
    s->saved_texts = g_byte_array_free(all, false);
    return 0;
}

static int properties_pre_load(void *opaque)
{
    ShirqEdu *s = opaque;

    g_clear_pointer(&s->saved_texts, g_free);
    return 0;
}

static int properties_post_load(void *opaque, int version_id)
{
    ShirqEdu *s = opaque;
    const char *path = (const char *)s->saved_texts;
    const char *preset = path + strlen(path) + 1;
    const char *registers = preset + strlen(preset) + 1;
    int i;

    g_free(s->schedule_path);
    s->schedule_path = *path ? g_strdup(path) : NULL;
    if (strcmp(s->regs->text, registers)) {
        shirq_regs_free(s->regs);
        s->regs = shirq_regs_parse(registers, &error_abort);
    }
    g_free(s->preset);
    s->preset = *preset ? g_strdup(preset) : NULL;
    for (i = 0; i < SETTINGS; i++) {
        if (s->setting[i] != s->saved_setting[i]) {
            s->setting[i] = s->saved_setting[i];
            if (settings[i].apply) {
                settings[i].apply(s);
            }
        }
    }
    return 0;
}

static const VMStateDescription vmstate_properties = {
    .name = "shirq-edu/properties",
    .version_id = 1,
    .minimum_version_id = 1,
    .pre_save = properties_pre_save,
    .pre_load = properties_pre_load,
    .post_load = properties_post_load,
    .fields = (const VMStateField[]) {
        VMSTATE_UINT64_ARRAY(saved_setting, ShirqEdu, SETTINGS),
        VMSTATE_UINT32(saved_texts_size, ShirqEdu),
        VMSTATE_VBUFFER_ALLOC_UINT32(saved_texts, ShirqEdu, 0, NULL,
                                     saved_texts_size),
        VMSTATE_END_OF_LIST()
    }
};

static void shirq_edu_exit(PCIDevice *pdev)
{
    ShirqEdu *s = SHIRQ_EDU(pdev);

    notifier_remove(&s->state_notifier);
    shirq_rewind_unregister(s);
    timer_del(&s->deassert_timer);
    timer_del(&s->posted_timer);
    timer_del(&s->storm_timer);
    timer_del(&s->schedule_timer);
    if (s->pcie) {
        pcie_cap_exit(pdev);
    }
    msi_uninit(pdev);
}

static void shirq_edu_realize(PCIDevice *pdev, Error **errp)
{
    ERRP_GUARD();
    ShirqEdu *s = SHIRQ_EDU(pdev);
    int i;

    for (i = 0; i < BARS; i++) {
        if (!parse_bar(s, i, errp)) {
            return;
        }
    }
    if (!check_registers(s, s->regs, errp)) {
        error_prepend(errp, "shirq-edu: property '%s': ",
                      s->preset ? "preset" : "registers");
        return;
    }
    if (!check_settings(s, errp) || !realize_identity(s, errp) ||
        !realize_capabilities(s, errp)) {
        return;
    }
    for (i = 0; i < BARS; i++) {
        ShirqBar *bar = &s->bar[i];

        if (bar->size) {
            memory_region_init_io(&bar->region, OBJECT(s), &shirq_edu_ops, bar,
                                  "shirq-edu", bar->size);
            pci_register_bar(pdev, i, bar->type, &bar->region);
        }
    }
    pci_config_set_interrupt_pin(pdev->config, s->setting[SET_INTX_PIN] + 1);
    s->masked = true;
    memcpy(s->word, s->regs->reset, sizeof(s->word));
    apply_disintx(s);
    follow_storm(s);
    s->state_notifier.notify = log_state;
    shirq_log_add_state_notifier(&s->state_notifier);
    shirq_rewind_register(&vmstate_properties, s);
}

/* A function with the capability of PCI Express has 4 KiB of config space. */
static void shirq_edu_dc_realize(DeviceState *dev, Error **errp)
{
    ShirqEdu *s = SHIRQ_EDU(dev);

    if (s->pcie) {
        PCI_DEVICE(dev)->cap_present |= QEMU_PCI_CAP_EXPRESS;
    }
    SHIRQ_EDU_GET_CLASS(dev)->parent_realize(dev, errp);
}

/* State */

static int shirq_edu_pre_save(void *opaque)
{
    ShirqEdu *s = opaque;

    g_free(s->state_text);
    s->state_text = (uint8_t *)g_strdup(s->regs->text);
    s->state_text_size = strlen(s->regs->text) + 1;
    return 0;
}

static int shirq_edu_pre_load(void *opaque)
{
    ShirqEdu *s = opaque;

    g_clear_pointer(&s->state_text, g_free);
    return 0;
}

static bool refuse_registers(ShirqEdu *s)
{
    error_report("shirq-edu '%s': the state is of a device with other "
                 "registers; set preset or registers to those before it is "
                 "loaded, and to others afterwards",
                 DEVICE(s)->canonical_path);
    return false;
}

/*
 * Check the size before the text is loaded: a damaged size would allocate that
 * much memory.
 */
static bool is_text_size_right(void *opaque, int version_id)
{
    ShirqEdu *s = opaque;

    return s->state_text_size == strlen(s->regs->text) + 1 ||
        refuse_registers(s);
}

/*
 * Whether a schedule could contain @entry: a property must be a run-time
 * property, and its value allowed.
 */
static bool is_entry_possible(const ShirqEntry *entry)
{
    int id = entry->setting;
    uint64_t choices = 0;

    if (entry->action != SHIRQ_DO_SET) {
        return true;
    }
    if (id >= SETTINGS || settings[id].stopped) {
        return false;
    }
    if (!settings[id].names) {
        return is_number_allowed(id, entry->argument);
    }
    while (settings[id].names[choices]) {
        choices++;
    }
    return entry->argument < choices;
}

static bool is_state_damaged(ShirqEdu *s)
{
    uint8_t pin = PCI_DEVICE(s)->config[PCI_INTERRUPT_PIN];
    int i;

    for (i = 0; i < s->schedule.count; i++) {
        if (!is_entry_possible(&s->schedule.entry[i])) {
            return true;
        }
    }
    return pin < 1 || pin > PCI_NUM_PINS || s->posted_first >= POSTED ||
        s->posted_count > POSTED || !shirq_schedule_valid(&s->schedule);
}

static bool is_state_possible(ShirqEdu *s)
{
    const char *name = DEVICE(s)->canonical_path;
    uint64_t mode = s->setting[SET_DISINTX];
    bool ignored = mode == DISINTX_READ_ONLY || mode == DISINTX_NO_OP;

    if (s->state_text[s->state_text_size - 1] ||
        strcmp((char *)s->state_text, s->regs->text)) {
        return refuse_registers(s);
    }
    if (is_state_damaged(s)) {
        error_report("shirq-edu '%s': the state is damaged", name);
    } else if ((ignored && pci_irq_disabled(PCI_DEVICE(s))) ||
               (s->disintx_ignored && mode != DISINTX_NO_OP)) {
        error_report("shirq-edu '%s': interrupts are disabled in the loaded "
                     "Command register, which disintx=%s does not "
                     "allow; set the property when the state is loaded",
                     name, settings[SET_DISINTX].names[mode]);
    } else {
        return true;
    }
    return false;
}

static int shirq_edu_post_load(void *opaque, int version_id)
{
    ShirqEdu *s = opaque;
    PCIDevice *pdev = PCI_DEVICE(s);

    if (!is_state_possible(s)) {
        return -EINVAL;
    }
    follow_stuck(s);
    /*
     * Take the number and the level of the pin, which the properties report,
     * from the loaded state.
     */
    s->setting[SET_INTX_PIN] = pdev->config[PCI_INTERRUPT_PIN] - 1;
    s->pin = s->driven && !pci_irq_disabled(pdev);
    if (!s->setting[SET_STORM_NS] || !timer_pending(&s->storm_timer)) {
        follow_storm(s);
    }
    return 0;
}

static const VMStateDescription vmstate_posted = {
    .name = "shirq-edu/posted",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (const VMStateField[]) {
        VMSTATE_UINT64(value, ShirqPosted),
        VMSTATE_INT64(due, ShirqPosted),
        VMSTATE_UINT32(offset, ShirqPosted),
        VMSTATE_UINT8(bar, ShirqPosted),
        VMSTATE_UINT8(width, ShirqPosted),
        VMSTATE_END_OF_LIST()
    }
};

static const VMStateDescription vmstate_shirq_edu = {
    .name = TYPE_SHIRQ_EDU,
    .version_id = 2,
    .minimum_version_id = 2,
    .pre_save = shirq_edu_pre_save,
    .pre_load = shirq_edu_pre_load,
    .post_load = shirq_edu_post_load,
    .fields = (const VMStateField[]) {
        VMSTATE_PCI_DEVICE(parent_obj, ShirqEdu),
        VMSTATE_UINT32(state_text_size, ShirqEdu),
        VMSTATE_VALIDATE("size of registers", is_text_size_right),
        VMSTATE_VBUFFER_ALLOC_UINT32(state_text, ShirqEdu, 0, NULL,
                                     state_text_size),
        VMSTATE_UINT32_ARRAY(word, ShirqEdu, SHIRQ_STATES),
        VMSTATE_UINT32(seen, ShirqEdu),
        VMSTATE_INT64_ARRAY(changed_at, ShirqEdu, 32),
        VMSTATE_BOOL(masked, ShirqEdu),
        VMSTATE_BOOL(wanted, ShirqEdu),
        VMSTATE_BOOL(driven, ShirqEdu),
        VMSTATE_BOOL(disintx_ignored, ShirqEdu),
        VMSTATE_STRUCT_ARRAY(posted, ShirqEdu, POSTED, 1, vmstate_posted,
                             ShirqPosted),
        VMSTATE_UINT32(posted_first, ShirqEdu),
        VMSTATE_UINT32(posted_count, ShirqEdu),
        VMSTATE_STRUCT(schedule, ShirqEdu, 1, vmstate_shirq_schedule,
                       ShirqSchedule),
        VMSTATE_TIMER(deassert_timer, ShirqEdu),
        VMSTATE_TIMER(posted_timer, ShirqEdu),
        VMSTATE_TIMER(storm_timer, ShirqEdu),
        VMSTATE_TIMER(schedule_timer, ShirqEdu),
        VMSTATE_UINT64(raises, ShirqEdu),
        VMSTATE_UINT64(asserts, ShirqEdu),
        VMSTATE_UINT64(acks, ShirqEdu),
        VMSTATE_UINT64(reads, ShirqEdu),
        VMSTATE_UINT64(writes, ShirqEdu),
        VMSTATE_END_OF_LIST()
    }
};

/* Class */

static const Property build_time[] = {
    DEFINE_PROP_STRING("bar0", ShirqEdu, bar[0].text),
    DEFINE_PROP_STRING("bar1", ShirqEdu, bar[1].text),
    DEFINE_PROP_STRING("bar2", ShirqEdu, bar[2].text),
    DEFINE_PROP_STRING("bar3", ShirqEdu, bar[3].text),
    DEFINE_PROP_STRING("bar4", ShirqEdu, bar[4].text),
    DEFINE_PROP_STRING("bar5", ShirqEdu, bar[5].text),
    DEFINE_PROP_UINT32("vendor-id", ShirqEdu, vendor_id, PCI_VENDOR_ID_QEMU),
    DEFINE_PROP_UINT32("device-id", ShirqEdu, device_id,
                       SHIRQ_EDU_DEVICE_ID),
    DEFINE_PROP_UINT32("revision", ShirqEdu, revision, 0x10),
    DEFINE_PROP_UINT32("class-code", ShirqEdu, class_code,
                       PCI_CLASS_OTHERS << 8),
    DEFINE_PROP_UINT32("subsystem-vendor-id", ShirqEdu, subsystem_vendor_id,
                       PCI_SUBVENDOR_ID_REDHAT_QUMRANET),
    DEFINE_PROP_UINT32("subsystem-id", ShirqEdu, subsystem_id,
                       PCI_SUBDEVICE_ID_QEMU),
    DEFINE_PROP_BOOL("pm", ShirqEdu, pm, false),
    DEFINE_PROP_BOOL("no-soft-reset", ShirqEdu, no_soft_reset, false),
    DEFINE_PROP_BOOL("pcie", ShirqEdu, pcie, false),
    DEFINE_PROP_BOOL("msi", ShirqEdu, msi, false),
};

static void add_property(ObjectClass *klass, const char *name,
                         const char *type, ObjectPropertyAccessor *get,
                         ObjectPropertyAccessor *set, void *opaque,
                         const char *description)
{
    object_class_property_add(klass, name, type, get, set, NULL, opaque);
    object_class_property_set_description(klass, name, description);
}

static void shirq_edu_class_properties(ObjectClass *klass)
{
    int i;

    for (i = 0; i < SETTINGS; i++) {
        add_property(klass, settings[i].name,
                     settings[i].names ? "str" : "uint64", get_setting,
                     set_setting, GINT_TO_POINTER(i), settings[i].description);
    }
    for (i = 0; i < ARRAY_SIZE(readable); i++) {
        add_property(klass, readable[i].name, readable[i].type,
                     readable[i].get, NULL,
                     (void *)(uintptr_t)readable[i].offset,
                     readable[i].description);
    }
    add_property(klass, "raise", "uint32", NULL, apply_stimulus, raise_sources,
                 "sources to make pending (run time)");
    add_property(klass, "lower", "uint32", NULL, apply_stimulus, lower_sources,
                 "sources to withdraw (run time)");
    object_class_property_add_bool(klass, "pin", get_pin, NULL);
    object_class_property_set_description(klass, "pin",
        "whether the pin is asserted");
    object_class_property_add_str(klass, "preset", get_preset, set_preset);
    object_class_property_set_description(klass, "preset",
        "the card whose registers it has (while the VM is stopped)");
    object_class_property_add_str(klass, "registers", get_registers,
                                  set_registers);
    object_class_property_set_description(klass, "registers",
        "a description of its registers (while the VM is stopped)");
    object_class_property_add_str(klass, "schedule", get_schedule,
                                  set_schedule);
    object_class_property_set_description(klass, "schedule",
        "file of stimuli in virtual time (while the VM is stopped)");
}

static void shirq_edu_init(Object *obj)
{
    ShirqEdu *s = SHIRQ_EDU(obj);
    int i;

    for (i = 0; i < BARS; i++) {
        s->bar[i].text = g_strdup(i ? "none" : "mem:4096");
    }
    for (i = 0; i < SETTINGS; i++) {
        s->setting[i] = settings[i].reset;
    }
    set_preset(obj, "edu", &error_abort);
    s->described_by = NULL;
    timer_init_ns(&s->deassert_timer, QEMU_CLOCK_VIRTUAL, deassert_late, s);
    timer_init_ns(&s->posted_timer, QEMU_CLOCK_VIRTUAL, land_due, s);
    timer_init_ns(&s->storm_timer, QEMU_CLOCK_VIRTUAL, storm, s);
    timer_init_ns(&s->schedule_timer, QEMU_CLOCK_VIRTUAL, schedule_due, s);
}

static void shirq_edu_finalize(Object *obj)
{
    ShirqEdu *s = SHIRQ_EDU(obj);

    shirq_schedule_clear(&s->schedule);
    shirq_regs_free(s->regs);
    g_free(s->preset);
    g_free(s->schedule_path);
    g_free(s->state_text);
    g_free(s->saved_texts);
}

static void shirq_edu_class_init(ObjectClass *klass, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(klass);
    PCIDeviceClass *k = PCI_DEVICE_CLASS(klass);
    ResettableClass *rc = RESETTABLE_CLASS(klass);

    k->realize = shirq_edu_realize;
    k->exit = shirq_edu_exit;
    k->config_read = shirq_edu_config_read;
    k->config_write = shirq_edu_config_write;
    k->vendor_id = PCI_VENDOR_ID_QEMU;
    k->device_id = SHIRQ_EDU_DEVICE_ID;
    k->class_id = PCI_CLASS_OTHERS;
    dc->desc = "PCI function that drives a shared interrupt on demand";
    dc->vmsd = &vmstate_shirq_edu;
    device_class_set_parent_realize(dc, shirq_edu_dc_realize,
                                    &SHIRQ_EDU_CLASS(klass)->parent_realize);
    device_class_set_props(dc, build_time);
    rc->phases.hold = shirq_edu_reset_hold;
    rc->phases.exit = shirq_edu_reset_exit;
    set_bit(DEVICE_CATEGORY_MISC, dc->categories);
    shirq_edu_class_properties(klass);
}

static const TypeInfo shirq_edu_types[] = {
    {
        .name = TYPE_SHIRQ_EDU,
        .parent = TYPE_PCI_DEVICE,
        .instance_size = sizeof(ShirqEdu),
        .instance_init = shirq_edu_init,
        .instance_finalize = shirq_edu_finalize,
        .class_size = sizeof(ShirqEduClass),
        .class_init = shirq_edu_class_init,
        .interfaces = (InterfaceInfo[]) {
            { INTERFACE_PCIE_DEVICE },
            { INTERFACE_CONVENTIONAL_PCI_DEVICE },
            { }
        },
    },
};

DEFINE_TYPES(shirq_edu_types)
