// SPDX-License-Identifier: GPL-2.0-only
/* On load, prints a call trace (WARN) that contains two functions of this module. */
#include <linux/module.h>

static noinline int complain(int value)
{
	WARN(value, "the value is %d\n", value);
	return 0;
}

static int __init complain_init(void)
{
	int ret;

	ret = complain(7);
	pr_info("loaded\n");
	return ret;
}
module_init(complain_init);

static void __exit complain_exit(void)
{
}
module_exit(complain_exit);

MODULE_DESCRIPTION("A call trace, for tests of what reads it");
MODULE_LICENSE("GPL");
