/*
 * What an access to a register does: a register shows and changes the card's
 * words, as the description of its fields says.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bitops.h"
#include "qemu/bswap.h"
#include "hw/misc/shirq-log.h"
#include "hw/misc/shirq-view.h"

/* How a word is shown and changed. */
typedef struct View {
    /* All its bits, as they are; NULL: reads zero. */
    uint32_t (*get)(ShirqCard *card, const ShirqField *field);
    /* A write of @value to the whole register; NULL: nothing. */
    void (*put)(ShirqCard *card, const ShirqField *field, uint64_t value);
} View;

/* The effect of writes */

/* The bits of the word that a write sets and clears, as registers show it. */
typedef struct Change {
    uint32_t set;
    uint32_t clear;
} Change;

static uint32_t bits_of(const ShirqField *field, uint64_t value)
{
    return value >> field->shift << field->word_shift &
        shirq_field_cover(field);
}

static Change change_by(const ShirqField *field, uint64_t value)
{
    uint32_t cover = shirq_field_cover(field);
    uint32_t bits = bits_of(field, value);

    switch (field->write) {
    case SHIRQ_RW:
        return (Change) { .set = bits, .clear = cover & ~bits };
    case SHIRQ_W1S:
        return (Change) { .set = bits };
    case SHIRQ_W1C:
        return (Change) { .clear = bits };
    case SHIRQ_W0C:
        return (Change) { .clear = cover & ~bits };
    case SHIRQ_WC:
        return (Change) { .clear = cover };
    default:
        return (Change) { };
    }
}

/* Views */

static uint32_t inversion(const ShirqField *field)
{
    return field->inverted ? -1 : 0;
}

static uint32_t get_word(ShirqCard *card, const ShirqField *field)
{
    return card->word[field->word];
}

static void put_word(ShirqCard *card, const ShirqField *field, uint64_t value)
{
    Change change = change_by(field, value);
    uint32_t word = card->word[field->word] ^ inversion(field);

    word = (word & ~change.clear) | change.set;
    shirq_card_set_word(card, field->word, word ^ inversion(field));
}

static uint32_t get_status(ShirqCard *card, const ShirqField *field)
{
    return card->seen;
}

/*
 * To set a bit is to raise the source, to clear it is to acknowledge. A plain
 * register is no stimulus for bits that it leaves as they are.
 */
static void put_status(ShirqCard *card, const ShirqField *field,
                       uint64_t value)
{
    Change change = change_by(field, value);
    bool plain = field->write == SHIRQ_RW;

    if (!plain || change.set & ~card->word[SHIRQ_STATUS]) {
        shirq_card_raise(card, change.set);
    }
    if (plain ? card->word[SHIRQ_STATUS] & change.clear :
        field->write != SHIRQ_W1S) {
        shirq_card_acknowledge(card, change.clear);
    }
}

static uint32_t get_active(ShirqCard *card, const ShirqField *field)
{
    return get_status(card, field) & ~card->word[SHIRQ_MASK];
}

static uint32_t get_any(ShirqCard *card, const ShirqField *field)
{
    return shirq_card_asserts(card, get_active(card, field));
}

static uint32_t get_summary(ShirqCard *card, const ShirqField *field)
{
    return card->regs->latched ? card->word[SHIRQ_SUMMARY] :
        shirq_card_groups(card, get_active(card, field));
}

static uint32_t get_const(ShirqCard *card, const ShirqField *field)
{
    return field->value;
}

static uint32_t get_payload(ShirqCard *card, const ShirqField *field)
{
    return card->payload;
}

static void put_liveness(ShirqCard *card, const ShirqField *field,
                         uint64_t value)
{
    card->word[SHIRQ_LIVENESS] = ~bits_of(field, value);
}

static void put_factorial(ShirqCard *card, const ShirqField *field,
                          uint64_t value)
{
    uint32_t n = bits_of(field, value);
    uint32_t product = 1;

    /*
     * The product of 34 consecutive factors is a multiple of 2^32: it is 0
     * here.
     */
    while (n && product) {
        product *= n--;
    }
    card->word[SHIRQ_FACTORIAL] = product;
}

/* The register that the index names. */
static const ShirqField *indirect(ShirqCard *card, const ShirqField *data)
{
    return shirq_regs_find(card->regs, SHIRQ_INDIRECT, card->word[SHIRQ_INDEX],
                           data->width);
}

static uint32_t get_data(ShirqCard *card, const ShirqField *field)
{
    return shirq_view_peek(card, indirect(card, field));
}

static void put_data(ShirqCard *card, const ShirqField *field, uint64_t value)
{
    shirq_view_write(card, indirect(card, field), value);
}

static void put_mark(ShirqCard *card, const ShirqField *field, uint64_t value)
{
    shirq_log_access(card->dev, SHIRQ_LOG_MARK, field->space, field->width,
                     field->offset, value);
}

static void put_doorbell(ShirqCard *card, const ShirqField *field,
                         uint64_t value)
{
    shirq_log_event(card->dev, SHIRQ_LOG_DOORBELL, 0, value);
    card->rung(card->dev);
}

static const View views[] = {
    [SHIRQ_STATUS] = { get_status, put_status },
    [SHIRQ_MASK] = { get_word, put_word },
    [SHIRQ_CAUSE] = { get_word, put_word },
    [SHIRQ_SUMMARY] = { get_summary, put_word },
    [SHIRQ_GATE] = { get_word, put_word },
    [SHIRQ_INDEX] = { get_word, put_word },
    [SHIRQ_LIVENESS] = { get_word, put_liveness },
    [SHIRQ_FACTORIAL] = { get_word, put_factorial },
    [SHIRQ_COUNT] = { get_word, put_word },
    [SHIRQ_SCRATCH ... SHIRQ_SCRATCH + SHIRQ_SCRATCHES - 1] = {
        get_word, put_word },
    [SHIRQ_ACTIVE] = { .get = get_active },
    [SHIRQ_ANY] = { .get = get_any },
    [SHIRQ_CONST] = { .get = get_const },
    [SHIRQ_PAYLOAD] = { .get = get_payload },
    [SHIRQ_DATA] = { get_data, put_data },
    [SHIRQ_MARK] = { .put = put_mark },
    [SHIRQ_DOORBELL] = { .put = put_doorbell },
};

/* Registers */

static uint32_t shown_bits(ShirqCard *card, const ShirqField *field)
{
    const View *view = &views[field->word];

    shirq_card_settle(card);
    return (view->get ? view->get(card, field) ^ inversion(field) : 0) &
        shirq_field_cover(field);
}

static uint64_t in_byte_order(const ShirqField *field, uint64_t value)
{
    return field->big_endian ? bswap64(value) >> (64 - 8 * field->width) :
        value;
}

uint64_t shirq_view_peek(ShirqCard *card, const ShirqField *reg)
{
    const ShirqField *field;
    uint64_t value = 0;

    for (field = reg; field; field = field->next) {
        if (!field->write_only) {
            uint64_t bits = shown_bits(card, field) >> field->word_shift;

            value |= in_byte_order(field, bits << field->shift);
        }
    }
    return value;
}

void shirq_view_touch(ShirqCard *card, const ShirqField *reg)
{
    uint32_t acknowledged = 0, masked = 0;
    const ShirqField *field;

    for (field = reg; field; field = field->next) {
        if (field->word == SHIRQ_DATA) {
            shirq_view_touch(card, indirect(card, field));
        }
        if (field->read_masks) {
            masked |= shirq_field_cover(field);
        }
        if (!field->read_clears) {
            continue;
        }
        if (field->word == SHIRQ_STATUS || field->word == SHIRQ_ACTIVE) {
            acknowledged |= shown_bits(card, field);
        } else {
            shirq_card_set_word(card, field->word, card->word[field->word] &
                                ~shown_bits(card, field));
        }
    }
    if (masked) {
        shirq_card_set_word(card, SHIRQ_MASK, card->word[SHIRQ_MASK] | masked);
    }
    if (acknowledged) {
        shirq_card_acknowledge(card, acknowledged);
    }
}

void shirq_view_write(ShirqCard *card, const ShirqField *reg, uint64_t value)
{
    const ShirqField *field;

    for (field = reg; field; field = field->next) {
        if (field->write != SHIRQ_RO && views[field->word].put) {
            views[field->word].put(card, field, in_byte_order(field, value));
        }
    }
}

bool shirq_view_is_bench(const ShirqField *reg)
{
    const ShirqField *field;

    for (field = reg; field; field = field->next) {
        if (field->word == SHIRQ_MARK || field->word == SHIRQ_DOORBELL) {
            return true;
        }
    }
    return false;
}
