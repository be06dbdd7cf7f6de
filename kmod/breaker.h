/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The decision of the storm breaker: pure arithmetic on counts and times. storm.c acts
 * on the result.
 *
 * This file uses nothing of the kernel but its integer types. So it also builds on a
 * host, where a test compares it with a model of the core's count.
 */
#ifndef SHIRQ_BREAKER_H
#define SHIRQ_BREAKER_H

#ifdef __KERNEL__
#include <linux/math64.h>
#include <linux/types.h>
#else
#include <stdbool.h>
#include <linux/types.h>
#define div_u64(dividend, divisor) ((dividend) / (divisor))
#endif

/* A window's length in handler calls while masked; in claims of an acknowledging device */
#define SHIRQ_WINDOW		900
#define SHIRQ_RATE_WINDOW	1500
/*
 * The core disables a line if more than SHIRQ_CORE_LIMIT of SHIRQ_CORE_WINDOW
 * interrupts were unhandled.
 */
#define SHIRQ_CORE_WINDOW	100000
#define SHIRQ_CORE_LIMIT	99900
#define SHIRQ_PATIENCE		(SHIRQ_CORE_LIMIT - 1000)

/**
 * struct shirq_window - handler calls while the device should be silent
 * @last: the core's count of unhandled interrupts when the handler last ran
 * @entries: handler calls in this window
 * @unhandled: how many of these calls followed an unhandled interrupt
 */
struct shirq_window {
	__u32	last;
	__u32	entries;
	__u32	unhandled;
};

static inline void shirq_window_clear(struct shirq_window *window)
{
	window->entries = 0;
	window->unhandled = 0;
}

/**
 * shirq_window_call() - count a handler call
 * @window: the window
 * @now: the core's count of unhandled interrupts
 *
 * Return: true if the call ends a window that is a storm.
 */
static inline bool shirq_window_call(struct shirq_window *window, __u32 now)
{
	bool suspect;

	if (now != window->last)
		window->unhandled++;
	window->last = now;
	if (++window->entries < SHIRQ_WINDOW)
		return false;
	suspect = window->unhandled > SHIRQ_WINDOW / 4 * 3;
	shirq_window_clear(window);
	return suspect;
}

/**
 * shirq_looked_long_ago() - check whether shirq_look_due() has something to do
 * @looked: the core's count of unhandled interrupts at the last look
 * @now: its count now
 */
static inline bool shirq_looked_long_ago(__u32 looked, __u32 now)
{
	/* Unsigned: a new count of the core is lower, and the difference is huge. */
	return now - looked >= SHIRQ_WINDOW;
}

/**
 * shirq_look_due() - check whether to look at the pin of a device that declines
 * @looked: the core's count of unhandled interrupts at the last look; updated
 * @now: its count now
 *
 * Return: true if SHIRQ_WINDOW interrupts were unhandled since then.
 */
static inline bool shirq_look_due(__u32 *looked, __u32 now)
{
	__u32 since = now - *looked;

	if (!shirq_looked_long_ago(*looked, now))
		return false;
	*looked = now;
	return since <= SHIRQ_CORE_WINDOW;
}

/**
 * struct shirq_rate - claims of an acknowledging device
 * @claims: claims in this window
 * @since_ns: time of the first of these claims
 */
struct shirq_rate {
	__u32	claims;
	__u64	since_ns;
};

/**
 * shirq_rate_claim() - count a claim
 * @rate: the window
 * @time_ns: when the interrupt came
 * @max_rate: interrupts per second that the device may raise
 *
 * Return: true if the claim ends a window whose rate was above @max_rate.
 */
static inline bool shirq_rate_claim(struct shirq_rate *rate, __u64 time_ns, __u32 max_rate)
{
	__u64 least_ns;

	if (!rate->claims++)
		rate->since_ns = time_ns;
	if (rate->claims <= SHIRQ_RATE_WINDOW)
		return false;
	rate->claims = 0;
	least_ns = div_u64(SHIRQ_RATE_WINDOW * 1000000000ull, max_rate);
	return time_ns - rate->since_ns < least_ns;
}

/**
 * shirq_shutdown_is_near() - check whether the core may disable the line within the
 * next window
 * @unhandled: the core's count of unhandled interrupts
 * @count: the core's count of interrupts
 *
 * Return: true if the core would disable the line if all interrupts of that window were
 * unhandled.
 */
static inline bool shirq_shutdown_is_near(__u32 unhandled, __u32 count)
{
	return unhandled > SHIRQ_PATIENCE &&
	       unhandled + (SHIRQ_CORE_WINDOW - count) > SHIRQ_CORE_LIMIT;
}

#endif /* SHIRQ_BREAKER_H */
