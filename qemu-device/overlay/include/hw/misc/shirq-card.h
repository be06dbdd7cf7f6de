/*
 * The card itself: its words, its interrupt sources, its mask, and the stimuli
 * that change them. It knows neither PCI nor registers.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_MISC_SHIRQ_CARD_H
#define HW_MISC_SHIRQ_CARD_H

#include "hw/misc/shirq-regs.h"
#include "hw/misc/shirq-settings.h"
#include "hw/qdev-core.h"
#include "migration/vmstate.h"
#include "qemu/timer.h"

typedef struct ShirqCard {
    DeviceState *dev;           /* the log's name for it */
    const uint64_t *setting;
    ShirqRegs *regs;            /* what its registers show */
    /* Called when shirq_card_wants() may have changed. */
    void (*changed)(DeviceState *dev);
    /* Called before that, if sources were raised. */
    void (*raised)(DeviceState *dev);
    /* Called when the doorbell was written. */
    void (*rung)(DeviceState *dev);

    uint32_t word[SHIRQ_STATES];
    /* The status as registers show it, and when each source last changed. */
    uint32_t seen;
    int64_t changed_at[32];
    bool masked;
    /* Raises since the reset, the last one's time, and what registers show. */
    uint32_t number;
    int64_t raised_at;
    uint32_t payload;
    QEMUTimer storm_timer;

    uint64_t raises;
    uint64_t acks;
} ShirqCard;

/* To be filled in first: dev, setting, changed, raised, rung. */
void shirq_card_init(ShirqCard *card);
/* Give it the state after a reset, without any effect. */
void shirq_card_realize(ShirqCard *card);
void shirq_card_exit(ShirqCard *card);

void shirq_card_raise(ShirqCard *card, uint32_t sources);
void shirq_card_lower(ShirqCard *card, uint32_t sources);
void shirq_card_acknowledge(ShirqCard *card, uint32_t sources);
/* Set any word but the status. */
void shirq_card_set_word(ShirqCard *card, ShirqWord word, uint32_t value);

void shirq_card_reset(ShirqCard *card);
/* Set the state in which it leaves a reset. */
void shirq_card_come_up(ShirqCard *card);
/* Let the storm have the period that the settings say. */
void shirq_card_follow_storm(ShirqCard *card);
/*
 * Let registers show what is old enough. Call this before a lag changes, and
 * before @seen or @payload is used.
 */
void shirq_card_settle(ShirqCard *card);

/* One bit for every group that contains one of @sources. */
uint32_t shirq_card_groups(const ShirqCard *card, uint32_t sources);
/* Whether it would assert if @active were its active sources. */
bool shirq_card_asserts(const ShirqCard *card, uint32_t active);
/* Whether it wants to assert: the gate is open and a source is active. */
bool shirq_card_wants(const ShirqCard *card);

extern const VMStateDescription vmstate_shirq_card;

#endif
