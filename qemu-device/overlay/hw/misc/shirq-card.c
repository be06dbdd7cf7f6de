/*
 * The card itself: its words, its interrupt sources, its mask, and the stimuli
 * that change them.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bitops.h"
#include "hw/misc/shirq-card.h"
#include "hw/misc/shirq-log.h"

static int64_t now_ns(void)
{
    return qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL);
}

/* What follows from the words */

uint32_t shirq_card_groups(const ShirqCard *card, uint32_t sources)
{
    uint32_t groups = 0;

    while (sources) {
        groups |= BIT(ctz32(sources) / card->regs->group);
        sources &= sources - 1;
    }
    return groups;
}

static uint32_t active_sources(const ShirqCard *card)
{
    return card->word[SHIRQ_STATUS] & ~card->word[SHIRQ_MASK];
}

bool shirq_card_asserts(const ShirqCard *card, uint32_t active)
{
    return (card->regs->latched ? card->word[SHIRQ_SUMMARY] : active) != 0;
}

bool shirq_card_wants(const ShirqCard *card)
{
    return card->word[SHIRQ_GATE] &&
        shirq_card_asserts(card, active_sources(card));
}

static void conclude(ShirqCard *card)
{
    if (card->regs->latched) {
        card->word[SHIRQ_SUMMARY] |=
            shirq_card_groups(card, active_sources(card));
    }
    card->changed(card->dev);
}

static void conclude_mask(ShirqCard *card)
{
    bool masked = !card->word[SHIRQ_GATE] ||
        !(card->regs->sources & ~card->word[SHIRQ_MASK]);

    if (masked != card->masked) {
        card->masked = masked;
        shirq_log_event(card->dev, SHIRQ_LOG_MASK, 0, masked);
    }
    conclude(card);
}

/* Changes */

void shirq_card_settle(ShirqCard *card)
{
    uint32_t differ = card->seen ^ card->word[SHIRQ_STATUS];
    int64_t now = now_ns();
    int64_t settled = now - card->setting[SHIRQ_SET_STATUS_LAG_NS];

    while (differ) {
        int source = ctz32(differ);

        if (card->changed_at[source] <= settled) {
            card->seen ^= BIT(source);
        }
        differ &= differ - 1;
    }
    if (card->raised_at <=
        now - (int64_t)card->setting[SHIRQ_SET_PAYLOAD_LAG_NS]) {
        card->payload = card->number;
    }
}

static void set_status(ShirqCard *card, uint32_t status)
{
    uint32_t changed = card->word[SHIRQ_STATUS] ^ status;
    int64_t now = now_ns();

    shirq_card_settle(card);
    card->word[SHIRQ_STATUS] = status;
    while (changed) {
        card->changed_at[ctz32(changed)] = now;
        changed &= changed - 1;
    }
}

void shirq_card_raise(ShirqCard *card, uint32_t sources)
{
    uint32_t status = card->word[SHIRQ_STATUS];

    if (!sources) {
        return;
    }
    card->raises++;
    shirq_log_event(card->dev, SHIRQ_LOG_RAISE, 0, sources & ~status);
    card->word[SHIRQ_CAUSE] |= sources & card->regs->sticky;
    set_status(card, status | sources);
    card->word[SHIRQ_COUNT]++;
    card->number++;
    card->raised_at = now_ns();
    card->raised(card->dev);
    conclude(card);
}

void shirq_card_lower(ShirqCard *card, uint32_t sources)
{
    uint32_t status = card->word[SHIRQ_STATUS];

    if (!sources) {
        return;
    }
    shirq_log_event(card->dev, SHIRQ_LOG_LOWER, 0, sources & status);
    card->word[SHIRQ_CAUSE] &= ~sources;
    set_status(card, status & ~sources);
    conclude(card);
}

void shirq_card_acknowledge(ShirqCard *card, uint32_t sources)
{
    uint32_t cleared = sources & card->word[SHIRQ_STATUS] &
        ~card->word[SHIRQ_CAUSE];

    card->acks++;
    set_status(card, card->word[SHIRQ_STATUS] & ~cleared);
    conclude(card);
    shirq_card_raise(card, cleared & card->setting[SHIRQ_SET_REASSERT]);
}

void shirq_card_set_word(ShirqCard *card, ShirqWord word, uint32_t value)
{
    card->word[word] = value;
    conclude_mask(card);
}

/* The storm */

static void storm(void *opaque)
{
    ShirqCard *card = opaque;

    timer_mod(&card->storm_timer,
              now_ns() + card->setting[SHIRQ_SET_STORM_NS]);
    shirq_card_raise(card, card->setting[SHIRQ_SET_STORM_SOURCES] &
                     card->regs->sources);
}

void shirq_card_follow_storm(ShirqCard *card)
{
    if (card->setting[SHIRQ_SET_STORM_NS]) {
        timer_mod(&card->storm_timer,
                  now_ns() + card->setting[SHIRQ_SET_STORM_NS]);
    } else {
        timer_del(&card->storm_timer);
    }
}

/* State and life */

const VMStateDescription vmstate_shirq_card = {
    .name = "shirq-edu/card",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (const VMStateField[]) {
        VMSTATE_UINT32_ARRAY(word, ShirqCard, SHIRQ_STATES),
        VMSTATE_UINT32(seen, ShirqCard),
        VMSTATE_INT64_ARRAY(changed_at, ShirqCard, 32),
        VMSTATE_BOOL(masked, ShirqCard),
        VMSTATE_UINT32(number, ShirqCard),
        VMSTATE_INT64(raised_at, ShirqCard),
        VMSTATE_UINT32(payload, ShirqCard),
        VMSTATE_TIMER(storm_timer, ShirqCard),
        VMSTATE_UINT64(raises, ShirqCard),
        VMSTATE_UINT64(acks, ShirqCard),
        VMSTATE_END_OF_LIST()
    }
};

void shirq_card_init(ShirqCard *card)
{
    timer_init_ns(&card->storm_timer, QEMU_CLOCK_VIRTUAL, storm, card);
}

void shirq_card_realize(ShirqCard *card)
{
    card->masked = true;
    memcpy(card->word, card->regs->reset, sizeof(card->word));
    shirq_card_follow_storm(card);
}

void shirq_card_exit(ShirqCard *card)
{
    timer_del(&card->storm_timer);
}

void shirq_card_reset(ShirqCard *card)
{
    set_status(card, 0);
    card->seen = 0;
    card->number = 0;
    card->payload = 0;
    memcpy(card->word, card->regs->reset, sizeof(card->word));
    conclude_mask(card);
}

void shirq_card_come_up(ShirqCard *card)
{
    uint32_t unmasked = card->setting[SHIRQ_SET_RESET_UNMASKED];

    if (unmasked) {
        card->word[SHIRQ_GATE] = 1;
        shirq_card_set_word(card, SHIRQ_MASK,
                            card->word[SHIRQ_MASK] & ~unmasked);
    }
    shirq_card_raise(card, card->setting[SHIRQ_SET_RESET_STATUS]);
}
