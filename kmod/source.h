/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SHIRQ_SOURCE_H
#define SHIRQ_SOURCE_H

#include "core.h"

enum shirq_outcome shirq_run_keeping(struct shirq_device *d, enum shirq_program_kind kind,
				     u64 *captured);
void shirq_load(struct shirq_device *d, struct shirq_set *set);
struct shirq_set *shirq_copy_set(const struct shirq_device *d);
void shirq_storm_begin(struct shirq_device *d);
void shirq_storm_watch(struct shirq_device *d);
void shirq_quiesce(struct shirq_device *d);
void shirq_quiesce_again(struct shirq_device *d);
void shirq_lose_held(struct shirq_device *d);
void shirq_stop(struct shirq_device *d);
void shirq_lose(struct shirq_device *d);
void shirq_set_gone(struct shirq_device *d);
void shirq_claim(struct shirq_device *d, u64 time_ns, const u64 *captured);
int shirq_enable(struct shirq_device *d);
int shirq_mask(struct shirq_device *d, u64 *seq);
int shirq_unmask(struct shirq_device *d, u64 seq);
int shirq_unmask_delivered(struct shirq_device *d);
int shirq_exec(struct shirq_device *d, const struct shirq_program *program, u64 *regs,
	       bool kept);

/**
 * shirq_run_set() - run a program of the loaded set
 * @d: the device, @lock held, with a set
 * @kind: kind of the program
 * @captured: r0..r3 at the claim; NULL for a program that cannot claim
 *
 * Return: how the program ended.
 */
static inline enum shirq_outcome shirq_run_set(struct shirq_device *d,
					       enum shirq_program_kind kind, u64 *captured)
{
	lockdep_assert_held(&d->lock);
	/*
	 * Zero only the registers that a claim captures: the program writes any other
	 * register before it reads it.
	 */
	if (captured)
		memset(d->regs, 0, SHIRQ_EVENT_REGS * sizeof(d->regs[0]));
	if (unlikely(d->set->keeps))
		return shirq_run_keeping(d, kind, captured);
	return shirq_run(&d->set->program[kind], &d->bus, d->regs, captured);
}

#endif /* SHIRQ_SOURCE_H */
