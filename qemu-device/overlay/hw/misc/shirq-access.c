/*
 * How accesses reach the device: its BARs, posted writes, a dead device, and
 * the log of accesses.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bitops.h"
#include "qemu/cutils.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "hw/misc/shirq-access.h"
#include "hw/misc/shirq-log.h"
#include "hw/misc/shirq-view.h"
#include "hw/pci/pci.h"
#include "trace.h"

#define MAX_BAR         (16 * MiB)
#define MAX_PORT_BAR    256

static const char *path_of(const ShirqAccess *access)
{
    return DEVICE(access->pdev)->canonical_path;
}

static void log_access(ShirqAccess *access, ShirqLogKind kind, uint8_t space,
                       unsigned width, uint64_t offset, uint64_t value)
{
    shirq_log_access(DEVICE(access->pdev), kind, space, width, offset, value);
}

/* Posted writes */

static void land_first(ShirqAccess *access)
{
    ShirqPosted write = access->posted[access->posted_first];
    const ShirqField *reg = shirq_regs_find(access->card->regs, write.bar,
                                            write.offset, write.width);

    access->posted_first = (access->posted_first + 1) % SHIRQ_POSTED;
    access->posted_count--;
    log_access(access, SHIRQ_LOG_LAND, write.bar, write.width, write.offset,
               write.value);
    shirq_view_write(access->card, reg, write.value);
}

static void follow_posted(ShirqAccess *access)
{
    const ShirqPosted *first = &access->posted[access->posted_first];

    if (access->posted_count && first->due != INT64_MAX) {
        timer_mod(&access->posted_timer, first->due);
    } else {
        timer_del(&access->posted_timer);
    }
}

static void land_due(void *opaque)
{
    ShirqAccess *access = opaque;
    int64_t now = qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL);

    while (access->posted_count &&
           access->posted[access->posted_first].due <= now) {
        land_first(access);
    }
    follow_posted(access);
}

void shirq_access_land(ShirqAccess *access)
{
    while (access->posted_count) {
        land_first(access);
    }
    timer_del(&access->posted_timer);
}

void shirq_access_lose(ShirqAccess *access)
{
    access->posted_count = 0;
    timer_del(&access->posted_timer);
}

static void post(ShirqAccess *access, ShirqPosted write)
{
    if (access->posted_count == SHIRQ_POSTED) {
        land_first(access);
    }
    write.due = INT64_MAX;
    if (access->setting[SHIRQ_SET_POSTED] == SHIRQ_POSTED_DELAYED) {
        write.due = qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL) +
            access->setting[SHIRQ_SET_POSTED_NS];
    }
    access->posted[(access->posted_first + access->posted_count++) %
                   SHIRQ_POSTED] = write;
    follow_posted(access);
}

/* BARs */

static bool is_dead(const ShirqAccess *access)
{
    return access->setting[SHIRQ_SET_DEAD] != SHIRQ_DEAD_OFF ||
        shirq_config_is_asleep(access->config);
}

static uint64_t read_bar(void *opaque, hwaddr offset, unsigned width)
{
    ShirqBar *bar = opaque;
    ShirqAccess *access = bar->access;
    uint8_t space = bar - access->bar;
    uint64_t value = MAKE_64BIT_MASK(0, 8 * width);
    const ShirqField *reg = NULL;

    access->reads++;
    if (!is_dead(access)) {
        shirq_access_land(access);
        reg = shirq_regs_find(access->card->regs, space, offset, width);
        value = shirq_view_peek(access->card, reg);
    }
    trace_shirq_edu_read(path_of(access), offset, width, value);
    log_access(access, SHIRQ_LOG_READ, space, width, offset, value);
    shirq_view_touch(access->card, reg);
    return value;
}

static void write_bar(void *opaque, hwaddr offset, uint64_t value,
                      unsigned width)
{
    ShirqBar *bar = opaque;
    ShirqAccess *access = bar->access;
    uint8_t space = bar - access->bar;
    const ShirqField *reg = shirq_regs_find(access->card->regs, space, offset,
                                            width);

    access->writes++;
    trace_shirq_edu_write(path_of(access), offset, width, value);
    log_access(access, SHIRQ_LOG_WRITE, space, width, offset, value);
    if (is_dead(access)) {
        return;
    }
    if (access->setting[SHIRQ_SET_POSTED] != SHIRQ_POSTED_OFF &&
        !shirq_view_is_bench(reg)) {
        post(access, (ShirqPosted) {
            .value = value, .offset = offset, .bar = space, .width = width });
    } else {
        shirq_view_write(access->card, reg, value);
    }
}

static const MemoryRegionOps ops = {
    .read = read_bar,
    .write = write_bar,
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

static bool parse_bar(ShirqBar *bar, int number, Error **errp)
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
    uint64_t size;
    int i;

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
        (number == SHIRQ_BARS - 1 || strcmp(bar[1].text, "none"))) {
        error_setg(errp, "shirq-edu: property 'bar%d': a mem64 BAR takes the "
                   "next one's place too, which must be none", number);
        return false;
    }
    return true;
}

bool shirq_access_parse_bars(ShirqAccess *access, Error **errp)
{
    int i;

    for (i = 0; i < SHIRQ_BARS; i++) {
        if (!parse_bar(&access->bar[i], i, errp)) {
            return false;
        }
    }
    return true;
}

bool shirq_access_check_regs(const ShirqAccess *access, const ShirqRegs *regs,
                             Error **errp)
{
    unsigned i;

    for (i = 0; i < regs->count; i++) {
        const ShirqField *field = &regs->field[i];
        const ShirqBar *bar = &access->bar[field->space];

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

void shirq_access_register_bars(ShirqAccess *access)
{
    int i;

    for (i = 0; i < SHIRQ_BARS; i++) {
        ShirqBar *bar = &access->bar[i];

        if (bar->size) {
            memory_region_init_io(&bar->region, OBJECT(access->pdev), &ops,
                                  bar, "shirq-edu", bar->size);
            pci_register_bar(access->pdev, i, bar->type, &bar->region);
        }
    }
}

/* Configuration space */

static void log_config(ShirqAccess *access, ShirqLogKind kind, uint32_t offset,
                       int width, uint32_t value)
{
    if (shirq_config_is_logged(access->config, offset, width)) {
        log_access(access, kind, SHIRQ_LOG_CONFIG, width, offset, value);
    }
}

uint32_t shirq_access_config_read(ShirqAccess *access, uint32_t offset,
                                  int width)
{
    uint32_t value = MAKE_64BIT_MASK(0, 8 * width);

    if (access->setting[SHIRQ_SET_DEAD] != SHIRQ_DEAD_ALL) {
        shirq_access_land(access);
        value = shirq_config_read(access->config, offset, width);
    }
    log_config(access, SHIRQ_LOG_READ, offset, width, value);
    return value;
}

void shirq_access_config_write(ShirqAccess *access, uint32_t offset,
                               uint32_t value, int width)
{
    log_config(access, SHIRQ_LOG_WRITE, offset, width, value);
    if (access->setting[SHIRQ_SET_DEAD] != SHIRQ_DEAD_ALL) {
        shirq_access_land(access);
        shirq_config_write(access->config, offset, value, width);
    }
}

/* State and life */

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

const VMStateDescription vmstate_shirq_access = {
    .name = "shirq-edu/access",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (const VMStateField[]) {
        VMSTATE_STRUCT_ARRAY(posted, ShirqAccess, SHIRQ_POSTED, 1,
                             vmstate_posted, ShirqPosted),
        VMSTATE_UINT32(posted_first, ShirqAccess),
        VMSTATE_UINT32(posted_count, ShirqAccess),
        VMSTATE_TIMER(posted_timer, ShirqAccess),
        VMSTATE_UINT64(reads, ShirqAccess),
        VMSTATE_UINT64(writes, ShirqAccess),
        VMSTATE_END_OF_LIST()
    }
};

bool shirq_access_is_possible(const ShirqAccess *access)
{
    return access->posted_first < SHIRQ_POSTED &&
        access->posted_count <= SHIRQ_POSTED;
}

void shirq_access_init(ShirqAccess *access)
{
    int i;

    for (i = 0; i < SHIRQ_BARS; i++) {
        access->bar[i].access = access;
        access->bar[i].text = g_strdup(i ? "none" : "mem:4096");
    }
    timer_init_ns(&access->posted_timer, QEMU_CLOCK_VIRTUAL, land_due, access);
}

void shirq_access_exit(ShirqAccess *access)
{
    timer_del(&access->posted_timer);
}
