// SPDX-License-Identifier: GPL-2.0-only
/*
 * Makes the inline function of kmod/life.h callable from Python.
 */
#include "life.h"

int after(unsigned int life, enum shirq_turn turn);

int after(unsigned int life, enum shirq_turn turn)
{
	return shirq_after(life, turn);
}
