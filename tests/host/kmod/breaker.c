// SPDX-License-Identifier: GPL-2.0-only
/*
 * Makes the inline functions of kmod/breaker.h callable from Python.
 */
#include "breaker.h"

bool window_call(struct shirq_window *window, __u32 now);
bool look_due(__u32 *looked, __u32 now);
bool rate_claim(struct shirq_rate *rate, __u64 time_ns, __u32 max_rate);
bool shutdown_is_near(__u32 unhandled, __u32 count);

bool window_call(struct shirq_window *window, __u32 now)
{
	return shirq_window_call(window, now);
}

bool look_due(__u32 *looked, __u32 now)
{
	return shirq_look_due(looked, now);
}

bool rate_claim(struct shirq_rate *rate, __u64 time_ns, __u32 max_rate)
{
	return shirq_rate_claim(rate, time_ns, max_rate);
}

bool shutdown_is_near(__u32 unhandled, __u32 count)
{
	return shirq_shutdown_is_near(unhandled, count);
}
