/*
 * Schedules: actions on a device at given virtual times.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "qapi/error.h"
#include "system/cpu-timers.h"
#include "hw/misc/shirq-probe.h"
#include "hw/misc/shirq-schedule.h"
#include "hw/misc/shirq-settings.h"
#include "hw/misc/shirq-turns.h"

/*
 * A VM does not run for so long, and adding this to a time does not overflow.
 */
#define MAX_TIME        (INT64_MAX / 4)

static const struct {
    const char *name;
    unsigned words;             /* that follow */
} actions[SHIRQ_ACTIONS] = {
    [SHIRQ_DO_RAISE] = { "raise", 1 },
    [SHIRQ_DO_LOWER] = { "lower", 1 },
    [SHIRQ_DO_MASK] = { "mask", 1 },
    [SHIRQ_DO_UNMASK] = { "unmask", 1 },
    [SHIRQ_DO_RESET] = { "reset", 0 },
    [SHIRQ_DO_SET] = { "set", 2 },
    [SHIRQ_DO_NOTE] = { "note", 1 },
    [SHIRQ_DO_WHERE] = { "where", 0 },
    [SHIRQ_DO_STOP] = { "stop", 0 },
    [SHIRQ_DO_TURN] = { "turn", 1 },
    [SHIRQ_DO_BOOT_INTERRUPT] = { "boot-interrupt", 1 },
};

#define ACTION_NAMES \
    "raise SOURCES, lower SOURCES, mask SOURCES, unmask SOURCES, reset, " \
    "set PROPERTY VALUE, note NUMBER, where, stop, turn CPU, " \
    "boot-interrupt LINE"

static bool parse_time(const char *text, int64_t now, ShirqEntry *entry,
                       Error **errp)
{
    if ((*text != '@' && *text != '+') ||
        qemu_strtou64(text + 1, NULL, 0, &entry->time) ||
        entry->time > MAX_TIME) {
        error_setg(errp, "'%s' is no time: write @NS, of the virtual clock, or "
                   "+NS, after the doorbell", text);
        return false;
    }
    entry->relative = *text == '+';
    if (!entry->relative && entry->time < now) {
        error_setg(errp, "%s is past: it is @%" PRId64 " now", text, now);
        return false;
    }
    return true;
}

static bool is_vcpu(uint64_t index)
{
    return index <= INT_MAX && qemu_get_cpu(index);
}

static bool parse_vcpu(const char *text, bool number, uint64_t index,
                       Error **errp)
{
    if (!shirq_turns_enabled()) {
        error_setg(errp, "'turn' needs vCPUs that take turns: start the VM "
                   "with -icount shift=N,sleep=off");
        return false;
    }
    if (!number || !is_vcpu(index)) {
        error_setg(errp, "'%s' must be the number of a vCPU, from 0", text);
        return false;
    }
    return true;
}

static bool parse_argument(char **words, uint32_t sources, ShirqEntry *entry,
                           Error **errp)
{
    bool number = !words[0] || !qemu_strtou64(words[0], NULL, 0,
                                              &entry->argument);
    int setting;

    switch (entry->action) {
    case SHIRQ_DO_RESET:
        return true;
    case SHIRQ_DO_WHERE:
    case SHIRQ_DO_STOP:
        if (!icount_enabled()) {
            error_setg(errp, "'%s' is between two instructions: start the VM "
                       "with -icount", actions[entry->action].name);
        }
        return icount_enabled();
    case SHIRQ_DO_SET:
        setting = shirq_setting_parse(words[0], words[1], &entry->argument,
                                      errp);
        entry->setting = setting;
        return setting >= 0;
    case SHIRQ_DO_NOTE:
        if (!number) {
            error_setg(errp, "'%s' must be a number of 64 bits", words[0]);
        }
        return number;
    case SHIRQ_DO_TURN:
        return parse_vcpu(words[0], number, entry->argument, errp);
    case SHIRQ_DO_BOOT_INTERRUPT:
        if (!shirq_probe_has_boot()) {
            error_setg(errp, "this machine has no interrupt controller with "
                       "boot interrupts");
            return false;
        }
        if (!number) {
            error_setg(errp, "'%s' must be the number of a line", words[0]);
        }
        return number;
    default:
        if (!number || !entry->argument || entry->argument & ~(uint64_t)sources) {
            error_setg(errp, "'%s' must be the sources as bits of 0x%x, and "
                       "not 0", words[0], sources);
            return false;
        }
        return true;
    }
}

static bool parse_line(char *line, uint32_t sources, int64_t now,
                       ShirqEntry *entry, Error **errp)
{
    /* Time, action, two arguments, and one word too many. */
    char *words[6] = {};
    char *rest = NULL;
    int count, i;

    words[0] = strtok_r(line, " \t\r", &rest);
    for (count = 1; count < 5; count++) {
        words[count] = strtok_r(NULL, " \t\r", &rest);
        if (!words[count]) {
            break;
        }
    }
    if (!parse_time(words[0], now, entry, errp)) {
        return false;
    }
    for (i = 0; i < SHIRQ_ACTIONS; i++) {
        if (words[1] && !strcmp(actions[i].name, words[1])) {
            break;
        }
    }
    if (i == SHIRQ_ACTIONS || count != 2 + actions[i].words) {
        error_setg(errp, "after the time write one of " ACTION_NAMES);
        return false;
    }
    entry->action = i;
    return parse_argument(words + 2, sources, entry, errp);
}

static int compare(const void *a, const void *b)
{
    const ShirqEntry *left = a, *right = b;

    if (left->relative != right->relative) {
        return left->relative - right->relative;
    }
    if (left->time != right->time) {
        return left->time < right->time ? -1 : 1;
    }
    return left->line < right->line ? -1 : left->line > right->line;
}

static bool parse(char *text, uint32_t sources, int64_t now, GArray *entries,
                  Error **errp)
{
    ERRP_GUARD();
    uint32_t number = 0;
    char *line, *end;

    for (line = text; line; line = end) {
        ShirqEntry entry = { .line = ++number };

        end = strchr(line, '\n');
        if (end) {
            *end++ = '\0';
        }
        line[strcspn(line, "#")] = '\0';
        if (!line[strspn(line, " \t\r")]) {
            continue;
        }
        if (entries->len == SHIRQ_SCHEDULE_MAX) {
            error_setg(errp, "line %u: there are more than %d entries", number,
                       SHIRQ_SCHEDULE_MAX);
            return false;
        }
        if (!parse_line(line, sources, now, &entry, errp)) {
            error_prepend(errp, "line %u: ", number);
            return false;
        }
        g_array_append_val(entries, entry);
    }
    return true;
}

bool shirq_schedule_load(ShirqSchedule *schedule, const char *path,
                         uint32_t sources, int64_t now, Error **errp)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = NULL;
    GArray *entries;
    gsize length;
    int i;

    if (!g_file_get_contents(path, &text, &length, &error)) {
        error_setg(errp, "%s", error->message);
        return false;
    }
    if (strlen(text) != length) {
        error_setg(errp, "it holds a zero byte: a schedule is text");
        return false;
    }
    entries = g_array_new(false, false, sizeof(ShirqEntry));
    if (!parse(text, sources, now, entries, errp)) {
        g_array_free(entries, true);
        return false;
    }
    shirq_schedule_clear(schedule);
    schedule->count = entries->len;
    schedule->entry = (ShirqEntry *)g_array_free(entries, false);
    if (schedule->count) {
        qsort(schedule->entry, schedule->count, sizeof(ShirqEntry), compare);
    }
    for (i = 0; i < schedule->count && !schedule->entry[i].relative; i++) {
        schedule->absolutes++;
    }
    schedule->next_relative = schedule->absolutes;
    return true;
}

void shirq_schedule_clear(ShirqSchedule *schedule)
{
    g_free(schedule->entry);
    memset(schedule, 0, sizeof(*schedule));
}

void shirq_schedule_ring(ShirqSchedule *schedule, int64_t now)
{
    schedule->rung = true;
    schedule->rung_at = now;
    schedule->next_relative = schedule->absolutes;
}

static int64_t due_absolute(const ShirqSchedule *schedule)
{
    return schedule->next_absolute < schedule->absolutes ?
        schedule->entry[schedule->next_absolute].time : INT64_MAX;
}

static int64_t due_relative(const ShirqSchedule *schedule)
{
    return schedule->rung && schedule->next_relative < schedule->count ?
        schedule->rung_at + schedule->entry[schedule->next_relative].time :
        INT64_MAX;
}

int64_t shirq_schedule_due(const ShirqSchedule *schedule)
{
    return MIN(due_absolute(schedule), due_relative(schedule));
}

const ShirqEntry *shirq_schedule_take(ShirqSchedule *schedule)
{
    int64_t absolute = due_absolute(schedule);
    int64_t relative = due_relative(schedule);
    bool second = relative < absolute;

    if (relative == absolute) {
        second = schedule->entry[schedule->next_relative].line <
            schedule->entry[schedule->next_absolute].line;
    }
    return &schedule->entry[second ? schedule->next_relative++ :
                            schedule->next_absolute++];
}

uint32_t shirq_schedule_left(const ShirqSchedule *schedule)
{
    return schedule->absolutes - schedule->next_absolute +
        schedule->count - schedule->next_relative;
}

/* Whether a schedule's file could contain @entry. */
static bool is_entry_possible(const ShirqEntry *entry)
{
    if (entry->action >= SHIRQ_ACTIONS || entry->time > MAX_TIME) {
        return false;
    }
    switch (entry->action) {
    case SHIRQ_DO_TURN:
        return is_vcpu(entry->argument);
    case SHIRQ_DO_BOOT_INTERRUPT:
        return shirq_probe_has_boot();
    case SHIRQ_DO_SET:
        /* A run-time property, and a value that it can have. */
        return entry->setting < SHIRQ_SETTINGS &&
            !shirq_setting_info[entry->setting].stopped &&
            shirq_setting_allows(entry->setting, entry->argument);
    default:
        return true;
    }
}

bool shirq_schedule_valid(const ShirqSchedule *schedule)
{
    int i;

    for (i = 0; i < schedule->count; i++) {
        if (!is_entry_possible(&schedule->entry[i])) {
            return false;
        }
    }
    return schedule->next_absolute <= schedule->absolutes &&
        schedule->absolutes <= schedule->next_relative &&
        schedule->next_relative <= schedule->count &&
        schedule->rung_at >= 0 && schedule->rung_at <= MAX_TIME;
}

static const VMStateDescription vmstate_entry = {
    .name = "shirq-schedule/entry",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (const VMStateField[]) {
        VMSTATE_UINT64(time, ShirqEntry),
        VMSTATE_UINT64(argument, ShirqEntry),
        VMSTATE_UINT32(line, ShirqEntry),
        VMSTATE_UINT16(setting, ShirqEntry),
        VMSTATE_UINT8(action, ShirqEntry),
        VMSTATE_BOOL(relative, ShirqEntry),
        VMSTATE_END_OF_LIST()
    }
};

/* Check the count before the entries are loaded: it decides the allocation. */
static bool is_count_possible(void *opaque, int version_id)
{
    ShirqSchedule *schedule = opaque;

    if (schedule->count >= 0 && schedule->count <= SHIRQ_SCHEDULE_MAX) {
        return true;
    }
    shirq_schedule_clear(schedule);
    return false;
}

static int pre_load(void *opaque)
{
    shirq_schedule_clear(opaque);
    return 0;
}

const VMStateDescription vmstate_shirq_schedule = {
    .name = "shirq-schedule",
    .version_id = 1,
    .minimum_version_id = 1,
    .pre_load = pre_load,
    .fields = (const VMStateField[]) {
        VMSTATE_INT32(count, ShirqSchedule),
        VMSTATE_VALIDATE("number of entries", is_count_possible),
        VMSTATE_UINT32(absolutes, ShirqSchedule),
        VMSTATE_UINT32(next_absolute, ShirqSchedule),
        VMSTATE_UINT32(next_relative, ShirqSchedule),
        VMSTATE_BOOL(rung, ShirqSchedule),
        VMSTATE_INT64(rung_at, ShirqSchedule),
        VMSTATE_STRUCT_VARRAY_ALLOC(entry, ShirqSchedule, count, 1,
                                    vmstate_entry, ShirqEntry),
        VMSTATE_END_OF_LIST()
    }
};
