/*
 * Turns: which vCPU runs when several are emulated in one thread.
 *
 * With instruction counting and without sleep, one vCPU owns the turn until it
 * halts, yields (PAUSE), has had it for the quantum, or a schedule gives it to
 * another. So the choice depends on the VM's state alone: the virtual clock,
 * the owner, the end of its turn, and which vCPUs can run. An exit of the
 * owner for any other reason, such as a request by another thread, leaves the
 * turn with it.
 *
 * All functions need the BQL, and all but shirq_turns_enabled() and
 * shirq_turns_init() run in the vCPUs' thread while no vCPU executes.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_MISC_SHIRQ_TURNS_H
#define HW_MISC_SHIRQ_TURNS_H

#include "hw/core/cpu.h"

/* Part of the event log: append only. */
typedef enum ShirqTurnReason {
    SHIRQ_TURN_SCHEDULE,        /* a schedule gave it */
    SHIRQ_TURN_HALT,            /* the owner cannot run */
    SHIRQ_TURN_YIELD,           /* the owner executed PAUSE */
    SHIRQ_TURN_QUANTUM,         /* the owner has had it for the quantum */
    SHIRQ_TURN_STATE,           /* none: a history begins with this owner */
} ShirqTurnReason;

/* The quantum in ns of virtual time. */
#define SHIRQ_TURN_DEFAULT_NS   100000
#define SHIRQ_TURN_MAX_NS       1000000000
extern int64_t shirq_turn_ns;

/* Whether vCPUs take turns. */
bool shirq_turns_enabled(void);

/*
 * Give the first turn to the first vCPU, and make the turn a part of the VM's
 * state. Once, before a vCPU runs.
 */
void shirq_turns_init(void);

/*
 * The vCPU that runs now: the owner or, if its turn is over, the next one that
 * can run, which becomes the owner. NULL if none can run.
 */
CPUState *shirq_turns_pick(void);

/*
 * How many instructions the owner may execute: until its turn ends or a timer
 * is due. 0: a timer is due now.
 */
int64_t shirq_turns_budget(void);

/* The owner has stopped executing because of the exception @reason. */
void shirq_turns_ran(int reason);

/* Give the turn to the vCPU with this index, unless it was unplugged. */
void shirq_turns_give(unsigned index);

#endif
