/*
 * Schedules: actions on a device at given virtual times.
 *
 * The file's format is specified in SPEC.md, "Schedule".
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_MISC_SHIRQ_SCHEDULE_H
#define HW_MISC_SHIRQ_SCHEDULE_H

#include "migration/vmstate.h"

#define SHIRQ_SCHEDULE_MAX      1000000

/* Part of the VM's state and of the event log: append only. */
typedef enum ShirqAction {
    SHIRQ_DO_RAISE,
    SHIRQ_DO_LOWER,
    SHIRQ_DO_MASK,
    SHIRQ_DO_UNMASK,
    SHIRQ_DO_RESET,
    SHIRQ_DO_SET,
    SHIRQ_DO_NOTE,
    SHIRQ_DO_WHERE,
    SHIRQ_DO_STOP,
    SHIRQ_DO_TURN,
    SHIRQ_DO_BOOT_INTERRUPT,
    SHIRQ_ACTIONS,
} ShirqAction;

typedef struct ShirqEntry {
    uint64_t time;              /* in ns; since the doorbell if relative */
    uint64_t argument;
    uint32_t line;              /* of the file, from 1 */
    uint16_t setting;           /* the property that SHIRQ_DO_SET sets */
    uint8_t action;
    bool relative;
} ShirqEntry;

typedef struct ShirqSchedule {
    ShirqEntry *entry;          /* by time: absolute ones, then relative ones */
    int32_t count;              /* signed, for VMSTATE_STRUCT_VARRAY_ALLOC */
    uint32_t absolutes;
    uint32_t next_absolute;
    uint32_t next_relative;
    bool rung;
    int64_t rung_at;
} ShirqSchedule;

/* Load @schedule from the file. On an error, which names the line, keep it. */
bool shirq_schedule_load(ShirqSchedule *schedule, const char *path,
                         uint32_t sources, int64_t now, Error **errp);
void shirq_schedule_clear(ShirqSchedule *schedule);

/*
 * Start the relative entries, from the first one, at @now: the doorbell was
 * written.
 */
void shirq_schedule_ring(ShirqSchedule *schedule, int64_t now);

/* The time of the next entry, or INT64_MAX if there is none. */
int64_t shirq_schedule_due(const ShirqSchedule *schedule);
/* Take the next entry. */
const ShirqEntry *shirq_schedule_take(ShirqSchedule *schedule);
/* Entries that have not been taken, also relative ones before the doorbell. */
uint32_t shirq_schedule_left(const ShirqSchedule *schedule);

/* Whether a loaded state's schedule is consistent. */
bool shirq_schedule_valid(const ShirqSchedule *schedule);

extern const VMStateDescription vmstate_shirq_schedule;

#endif
