/*
 * Turns: which vCPU runs when several are emulated in one thread.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "qemu/timer.h"
#include "exec/cpu-common.h"
#include "hw/misc/shirq-log.h"
#include "hw/misc/shirq-turns.h"
#include "migration/vmstate.h"
#include "system/cpu-timers.h"
#include "system/cpus.h"
#include "system/replay.h"
#include "tcg-accel-ops-icount.h"

/* The end of a turn that its owner has given up. */
#define YIELDED         0

typedef struct Turn {
    uint32_t owner;             /* cpu_index */
    int64_t end;                /* virtual time in ns, or YIELDED */
} Turn;

static Turn turn;

int64_t shirq_turn_ns = SHIRQ_TURN_DEFAULT_NS;

bool shirq_turns_enabled(void)
{
    return icount_enabled() && !icount_sleeps() &&
        replay_mode == REPLAY_MODE_NONE;
}

static bool can_run(CPUState *cpu)
{
    return cpu_can_run(cpu) && (!cpu->halted || cpu_has_work(cpu));
}

/* A vCPU that is alone keeps the turn for ever. */
static bool is_alone(void)
{
    return !CPU_NEXT(first_cpu);
}

static int64_t now_ns(void)
{
    return qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL);
}

/* The owner, or the first vCPU if the owner was unplugged. */
static CPUState *owner_of_turn(void)
{
    return qemu_get_cpu(turn.owner) ?: first_cpu;
}

static void begin_turn(CPUState *cpu, ShirqTurnReason reason)
{
    CPUState *before = owner_of_turn();

    turn.owner = cpu->cpu_index;
    turn.end = now_ns() + shirq_turn_ns;
    if (cpu != before) {
        shirq_log_turn(before, turn.owner, reason);
    }
}

CPUState *shirq_turns_pick(void)
{
    CPUState *owner = owner_of_turn();
    CPUState *cpu = owner;
    ShirqTurnReason reason = turn.end == YIELDED ? SHIRQ_TURN_YIELD :
        SHIRQ_TURN_QUANTUM;

    if (!can_run(owner)) {
        reason = SHIRQ_TURN_HALT;
    } else if (is_alone() || now_ns() < turn.end) {
        return owner;
    }
    do {
        cpu = CPU_NEXT(cpu) ?: first_cpu;
        if (can_run(cpu)) {
            begin_turn(cpu, reason);
            return cpu;
        }
    } while (cpu != owner);
    return NULL;
}

int64_t shirq_turns_budget(void)
{
    int64_t deadline = qemu_clock_deadline_ns_all(QEMU_CLOCK_VIRTUAL,
                                                  QEMU_TIMER_ATTR_ALL);
    int64_t budget = is_alone() ? INT32_MAX : turn.end - now_ns();

    if (deadline >= 0) {
        budget = MIN(budget, deadline);
    }
    return icount_round(budget);
}

void shirq_turns_ran(int reason)
{
    if (reason == EXCP_YIELD) {
        turn.end = YIELDED;
    }
}

void shirq_turns_give(unsigned index)
{
    CPUState *cpu = qemu_get_cpu(index);

    if (cpu) {
        begin_turn(cpu, SHIRQ_TURN_SCHEDULE);
    }
}

/* After a reset, the first vCPU has the turn. */
static void log_owner(Notifier *notifier, void *data)
{
    if (turn.owner) {
        shirq_log_turn(NULL, turn.owner, SHIRQ_TURN_STATE);
    }
}

static Notifier state_notifier = { .notify = log_owner };

/* A vCPU that is alone has no turns to keep. */
static bool is_needed(void *opaque)
{
    return !is_alone();
}

static int check_owner(void *opaque, int version_id)
{
    if (!qemu_get_cpu(turn.owner)) {
        error_report("the turn of the loaded state is that of vCPU %" PRIu32
                     ", which this VM does not have", turn.owner);
        return -EINVAL;
    }
    return 0;
}

static const VMStateDescription vmstate_turn = {
    .name = "shirq-turn",
    .version_id = 1,
    .minimum_version_id = 1,
    .needed = is_needed,
    .post_load = check_owner,
    .fields = (const VMStateField[]) {
        VMSTATE_UINT32(owner, Turn),
        VMSTATE_INT64(end, Turn),
        VMSTATE_END_OF_LIST()
    }
};

void shirq_turns_init(void)
{
    turn.end = shirq_turn_ns;
    vmstate_register(NULL, 0, &vmstate_turn, &turn);
    shirq_log_add_state_notifier(&state_notifier);
}
