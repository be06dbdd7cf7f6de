/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The life of a device, as a table. lifecycle.c says what each turn brings about.
 *
 * This file needs nothing of the kernel but its error numbers, and so also builds on
 * a host, where the table is checked, and printed for docs/lifecycle.md.
 */
#ifndef SHIRQ_LIFE_H
#define SHIRQ_LIFE_H

#include <linux/errno.h>

/**
 * enum shirq_life - bits of what a device is in; with none of them it is parked
 * @SHIRQ_OWNED: a file is open
 * @SHIRQ_PAUSED: the system sleeps, or the device is being reset, not by its owner's doing
 * @SHIRQ_DEAD: it was unbound or shut down: nothing may touch it any more
 */
enum shirq_life {
	SHIRQ_PARKED	= 0,
	SHIRQ_OWNED	= 1,
	SHIRQ_PAUSED	= 2,
	SHIRQ_DEAD	= 4,
};

#define SHIRQ_LIVES	6

/**
 * enum shirq_turn - what happens to it
 * @SHIRQ_TURN_OPEN: open()
 * @SHIRQ_TURN_CLOSE: the last reference of the owner's file went
 * @SHIRQ_TURN_PAUSE: the system is about to sleep, a reset or an error's recovery begins
 * @SHIRQ_TURN_CONTINUE: that is over
 * @SHIRQ_TURN_GIVE_UP: the link is lost for good, or nobody recovers from its error
 * @SHIRQ_TURN_RETIRE: unbind, shutdown
 */
enum shirq_turn {
	SHIRQ_TURN_OPEN,
	SHIRQ_TURN_CLOSE,
	SHIRQ_TURN_PAUSE,
	SHIRQ_TURN_CONTINUE,
	SHIRQ_TURN_GIVE_UP,
	SHIRQ_TURN_RETIRE,
	SHIRQ_TURNS,
};

/* Who is not there does not close. */
#define SHIRQ_NEVER	(-EINVAL)

/**
 * shirq_after() - what a turn makes of a device
 * @life: what it is in
 * @turn: what happens to it
 *
 * Return: enum shirq_life; or why the turn does not take place, as a negative errno.
 */
static inline int shirq_after(unsigned int life, enum shirq_turn turn)
{
	static const int after[SHIRQ_LIVES][SHIRQ_TURNS] = {
		[SHIRQ_PARKED] = {
			[SHIRQ_TURN_OPEN]	= SHIRQ_OWNED,
			[SHIRQ_TURN_CLOSE]	= SHIRQ_NEVER,
			[SHIRQ_TURN_PAUSE]	= SHIRQ_PAUSED,
			[SHIRQ_TURN_CONTINUE]	= SHIRQ_PARKED,
			[SHIRQ_TURN_GIVE_UP]	= SHIRQ_PARKED,
			[SHIRQ_TURN_RETIRE]	= SHIRQ_DEAD,
		},
		[SHIRQ_OWNED] = {
			[SHIRQ_TURN_OPEN]	= -EBUSY,
			[SHIRQ_TURN_CLOSE]	= SHIRQ_PARKED,
			[SHIRQ_TURN_PAUSE]	= SHIRQ_OWNED | SHIRQ_PAUSED,
			[SHIRQ_TURN_CONTINUE]	= SHIRQ_OWNED,
			[SHIRQ_TURN_GIVE_UP]	= SHIRQ_OWNED,
			[SHIRQ_TURN_RETIRE]	= SHIRQ_OWNED | SHIRQ_DEAD,
		},
		[SHIRQ_PAUSED] = {
			[SHIRQ_TURN_OPEN]	= -EIO,
			[SHIRQ_TURN_CLOSE]	= SHIRQ_NEVER,
			[SHIRQ_TURN_PAUSE]	= SHIRQ_PAUSED,
			[SHIRQ_TURN_CONTINUE]	= SHIRQ_PARKED,
			[SHIRQ_TURN_GIVE_UP]	= SHIRQ_PARKED,
			[SHIRQ_TURN_RETIRE]	= SHIRQ_DEAD,
		},
		[SHIRQ_OWNED | SHIRQ_PAUSED] = {
			[SHIRQ_TURN_OPEN]	= -EBUSY,
			[SHIRQ_TURN_CLOSE]	= SHIRQ_PAUSED,
			[SHIRQ_TURN_PAUSE]	= SHIRQ_OWNED | SHIRQ_PAUSED,
			[SHIRQ_TURN_CONTINUE]	= SHIRQ_OWNED,
			[SHIRQ_TURN_GIVE_UP]	= SHIRQ_OWNED,
			[SHIRQ_TURN_RETIRE]	= SHIRQ_OWNED | SHIRQ_DEAD,
		},
		[SHIRQ_DEAD] = {
			[SHIRQ_TURN_OPEN]	= -ENODEV,
			[SHIRQ_TURN_CLOSE]	= SHIRQ_NEVER,
			[SHIRQ_TURN_PAUSE]	= -ENODEV,
			[SHIRQ_TURN_CONTINUE]	= -ENODEV,
			[SHIRQ_TURN_GIVE_UP]	= -ENODEV,
			[SHIRQ_TURN_RETIRE]	= SHIRQ_DEAD,
		},
		[SHIRQ_OWNED | SHIRQ_DEAD] = {
			[SHIRQ_TURN_OPEN]	= -ENODEV,
			[SHIRQ_TURN_CLOSE]	= SHIRQ_DEAD,
			[SHIRQ_TURN_PAUSE]	= -ENODEV,
			[SHIRQ_TURN_CONTINUE]	= -ENODEV,
			[SHIRQ_TURN_GIVE_UP]	= -ENODEV,
			[SHIRQ_TURN_RETIRE]	= SHIRQ_OWNED | SHIRQ_DEAD,
		},
	};

	return after[life][turn];
}

#endif /* SHIRQ_LIFE_H */
