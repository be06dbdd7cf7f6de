/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The life cycle of a device, as a table of its states and of the events that change
 * them, the turns. lifecycle.c carries out the turns.
 *
 * This file uses nothing of the kernel but its error numbers. So it also builds on a
 * host, where a test checks the table, and a tool prints it for docs/lifecycle.md.
 */
#ifndef SHIRQ_LIFE_H
#define SHIRQ_LIFE_H

#include <linux/errno.h>

/**
 * enum shirq_life - state of a device, as bits; a device without any of these is parked
 * @SHIRQ_OWNED: a file is open
 * @SHIRQ_PAUSED: the system sleeps, or the device is being reset by someone other than its
 *	owner
 * @SHIRQ_DEAD: the device was unbound or shut down, and must not be accessed any more
 */
enum shirq_life {
	SHIRQ_PARKED	= 0,
	SHIRQ_OWNED	= 1,
	SHIRQ_PAUSED	= 2,
	SHIRQ_DEAD	= 4,
};

#define SHIRQ_LIVES	6

/**
 * enum shirq_turn - an event that changes the state of a device
 * @SHIRQ_TURN_OPEN: open()
 * @SHIRQ_TURN_CLOSE: the last reference to the owner's file was dropped
 * @SHIRQ_TURN_PAUSE: the system is about to sleep, or a reset or the recovery from an
 *	error begins
 * @SHIRQ_TURN_CONTINUE: the reason for the pause has ended
 * @SHIRQ_TURN_GIVE_UP: the link is lost permanently, or did not recover from its error
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

/* The turn cannot happen: for example, there is no close() without an owner. */
#define SHIRQ_NEVER	(-EINVAL)

/**
 * shirq_after() - the state of a device after a turn
 * @life: its state
 * @turn: the turn
 *
 * Return: enum shirq_life, or a negative errno if the turn is refused.
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
