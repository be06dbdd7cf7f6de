/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SHIRQ_SOURCE_H
#define SHIRQ_SOURCE_H

#include "core.h"

enum shirq_outcome shirq_run_keeping(struct shirq_device *d, struct shirq_set *set,
				     enum shirq_program_kind kind, u64 *captured);
void shirq_load(struct shirq_device *d, struct shirq_set **where, struct shirq_set *set);
struct shirq_set *shirq_copy_set(const struct shirq_device *d);
void shirq_storm_begin(struct shirq_device *d);
void shirq_storm_watch(struct shirq_device *d);
void shirq_quiesce(struct shirq_device *d);
void shirq_quiesce_again(struct shirq_device *d);
void shirq_lose_held(struct shirq_device *d);
void shirq_stop_message(struct shirq_message *m);
void shirq_stop(struct shirq_device *d);
void shirq_lose(struct shirq_device *d);
void shirq_set_gone(struct shirq_device *d);
void shirq_claim(struct shirq_device *d, u64 time_ns, const u64 *captured);
int shirq_enable(struct shirq_device *d);
int shirq_mask(struct shirq_device *d, u64 *seq);
int shirq_unmask(struct shirq_device *d, u64 seq);
void shirq_see_unmask(struct shirq_device *d);
int shirq_unmask_delivered(struct shirq_device *d);
int shirq_exec(struct shirq_device *d, const struct shirq_program *program, u64 *regs,
	       bool kept);

/**
 * shirq_run_of() - run a program of a set
 * @d: the device, @lock held
 * @set: a loaded set of one of its sources
 * @kind: kind of the program
 * @captured: r0..r3 at the claim; NULL for a program that cannot claim
 *
 * Return: how the program ended.
 */
static inline enum shirq_outcome shirq_run_of(struct shirq_device *d, struct shirq_set *set,
					      enum shirq_program_kind kind, u64 *captured)
{
	lockdep_assert_held(&d->lock);
	/*
	 * Zero only the registers that a claim captures: the program writes any other
	 * register before it reads it.
	 */
	if (captured)
		memset(d->regs, 0, SHIRQ_EVENT_REGS * sizeof(d->regs[0]));
	if (unlikely(set->keeps))
		return shirq_run_keeping(d, set, kind, captured);
	return shirq_run(&set->program[kind], &d->bus, d->regs, captured);
}

/**
 * shirq_run_irq_rest() - run the irq program of source 0, whose first read is made already
 * @d: the device, @lock held
 * @first: the value that was read
 * @captured: as for shirq_run_of()
 *
 * Return: how the program ended.
 */
static inline enum shirq_outcome shirq_run_irq_rest(struct shirq_device *d, u32 first,
						    u64 *captured)
{
	lockdep_assert_held(&d->lock);
	memset(d->regs, 0, SHIRQ_EVENT_REGS * sizeof(d->regs[0]));
	return shirq_run_rest(&d->set->program[SHIRQ_PROGRAM_IRQ], &d->bus, d->regs, captured,
			      first);
}

/* shirq_run_of() of the set of source 0. */
static inline enum shirq_outcome shirq_run_set(struct shirq_device *d,
					       enum shirq_program_kind kind, u64 *captured)
{
	return shirq_run_of(d, d->set, kind, captured);
}

#endif /* SHIRQ_SOURCE_H */
