/*
 * What an access to a register does: a register shows and changes the card's
 * words, as the description of its fields says.
 *
 * Look the register up by shirq_regs_find(). NULL is a place without a
 * register: it reads zero, and a write does nothing.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_MISC_SHIRQ_VIEW_H
#define HW_MISC_SHIRQ_VIEW_H

#include "hw/misc/shirq-card.h"

/* The value that a read returns, without its side effects. */
uint64_t shirq_view_peek(ShirqCard *card, const ShirqField *reg);
/* The side effects of a read: it clears bits that it returned, or masks. */
void shirq_view_touch(ShirqCard *card, const ShirqField *reg);
void shirq_view_write(ShirqCard *card, const ShirqField *reg, uint64_t value);
/* Whether the register is the bench's own, which the card's faults spare. */
bool shirq_view_is_bench(const ShirqField *reg);

#endif
