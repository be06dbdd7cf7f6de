/*
 * What a schedule does to the device, and when.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "qapi/error.h"
#include "hw/core/cpu.h"
#include "hw/misc/shirq-edu.h"
#include "hw/misc/shirq-log.h"
#include "hw/misc/shirq-probe.h"
#include "hw/misc/shirq-turns.h"
#include "hw/pci/pci.h"
#include "system/runstate.h"

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
    ShirqCard *card = &s->card;
    uint32_t sources = entry->argument & card->regs->sources;

    shirq_log_access(DEVICE(s), SHIRQ_LOG_SCHEDULED, 0, entry->action,
                     entry->line, entry->argument);
    switch (entry->action) {
    case SHIRQ_DO_RAISE:
        shirq_card_raise(card, sources);
        break;
    case SHIRQ_DO_LOWER:
        shirq_card_lower(card, sources);
        break;
    case SHIRQ_DO_MASK:
        shirq_card_set_word(card, SHIRQ_MASK,
                            card->word[SHIRQ_MASK] | sources);
        break;
    case SHIRQ_DO_UNMASK:
        shirq_card_set_word(card, SHIRQ_MASK,
                            card->word[SHIRQ_MASK] & ~sources);
        break;
    case SHIRQ_DO_RESET:
        pci_device_reset(PCI_DEVICE(s));
        break;
    case SHIRQ_DO_SET:
        if (!shirq_edu_change_setting(s, entry->setting, entry->argument,
                                      &err)) {
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
    case SHIRQ_DO_BOOT_INTERRUPT:
        if (!shirq_probe_set_boot(entry->argument, &err)) {
            warn_reportf_err(err, "schedule, line %u: ", entry->line);
        }
        break;
    }
}

void shirq_edu_follow_schedule(ShirqEdu *s)
{
    int64_t due = shirq_schedule_due(&s->schedule);

    if (due == INT64_MAX) {
        timer_del(&s->schedule_timer);
    } else {
        timer_mod(&s->schedule_timer, due);
    }
}

static void schedule_due(void *opaque)
{
    ShirqEdu *s = opaque;
    int64_t now = qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL);

    while (shirq_schedule_due(&s->schedule) <= now) {
        act(s, shirq_schedule_take(&s->schedule));
    }
    shirq_edu_follow_schedule(s);
}

void shirq_edu_ring(DeviceState *dev)
{
    ShirqEdu *s = SHIRQ_EDU(dev);

    shirq_schedule_ring(&s->schedule, qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL));
    shirq_edu_follow_schedule(s);
}

void shirq_edu_init_schedule(ShirqEdu *s)
{
    timer_init_ns(&s->schedule_timer, QEMU_CLOCK_VIRTUAL, schedule_due, s);
}
