// SPDX-License-Identifier: GPL-2.0-only
/*
 * Makes one call of a function of the kernel late: the call has begun, and the processor then waits
 * while others go on. So the function of a timer finds what has happened since the timer called it.
 */
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/processor.h>
#include <linux/timekeeping.h>

/* Longer than any test needs, and shorter than the kernel takes for a lockup. */
#define LATE_NS	(5 * NSEC_PER_SEC)

static char *function;
module_param(function, charp, 0444);
MODULE_PARM_DESC(function, "name of the function, such as shirq:shirq_watch");

static bool begun;
module_param(begun, bool, 0444);
MODULE_PARM_DESC(begun, "the function was called, and waits");

static bool go;
module_param(go, bool, 0644);
MODULE_PARM_DESC(go, "let it go on");

static int late(struct kprobe *probe, struct pt_regs *regs)
{
	u64 end = ktime_get_mono_fast_ns() + LATE_NS;

	if (READ_ONCE(go))
		return 0;
	WRITE_ONCE(begun, true);
	while (!READ_ONCE(go) && ktime_get_mono_fast_ns() < end)
		cpu_relax();
	return 0;
}

static struct kprobe probe = { .pre_handler = late };

static int __init late_init(void)
{
	probe.symbol_name = function;
	return register_kprobe(&probe);
}
module_init(late_init);

static void __exit late_exit(void)
{
	unregister_kprobe(&probe);
}
module_exit(late_exit);

MODULE_DESCRIPTION("A function that begins late, for tests of races");
MODULE_LICENSE("GPL");
