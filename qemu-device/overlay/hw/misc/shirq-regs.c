/*
 * Register files as data: the description language.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bitops.h"
#include "qemu/cutils.h"
#include "qapi/error.h"
#include "hw/misc/shirq-regs.h"

#define MAX_FIELDS      256

/* The words of the language */

static const struct {
    const char *name;
    uint8_t word;
    uint8_t bits;
    bool inverted;
    bool read_only;
    bool write_only;
} words[] = {
    { "status", SHIRQ_STATUS, 32 },
    { "mask", SHIRQ_MASK, 32 },
    { "enable", SHIRQ_MASK, 32, .inverted = true },
    { "active", SHIRQ_ACTIVE, 32, .read_only = true },
    { "any", SHIRQ_ANY, 1, .read_only = true },
    { "cause", SHIRQ_CAUSE, 32 },
    { "summary", SHIRQ_SUMMARY, 32 },
    { "gate", SHIRQ_GATE, 1 },
    { "const", SHIRQ_CONST, 32, .read_only = true },
    { "index", SHIRQ_INDEX, 32 },
    { "data", SHIRQ_DATA, 32 },
    { "scratch0", SHIRQ_SCRATCH, 32 },
    { "scratch1", SHIRQ_SCRATCH + 1, 32 },
    { "scratch2", SHIRQ_SCRATCH + 2, 32 },
    { "scratch3", SHIRQ_SCRATCH + 3, 32 },
    { "scratch4", SHIRQ_SCRATCH + 4, 32 },
    { "scratch5", SHIRQ_SCRATCH + 5, 32 },
    { "scratch6", SHIRQ_SCRATCH + 6, 32 },
    { "scratch7", SHIRQ_SCRATCH + 7, 32 },
    { "liveness", SHIRQ_LIVENESS, 32 },
    { "factorial", SHIRQ_FACTORIAL, 32 },
    { "count", SHIRQ_COUNT, 32 },
    { "payload", SHIRQ_PAYLOAD, 32, .read_only = true },
    { "mark", SHIRQ_MARK, 64, .write_only = true },
    { "doorbell", SHIRQ_DOORBELL, 32, .write_only = true },
};

#define WORD_NAMES \
    "status, mask, enable, active, any, cause, summary, gate, const=VALUE, " \
    "index, data, scratch0 to scratch7, liveness, factorial, count, payload, " \
    "mark, doorbell"

static const struct {
    const char *name;
    ShirqWrite write;
} writes[] = {
    { "rw", SHIRQ_RW },
    { "ro", SHIRQ_RO },
    { "w1c", SHIRQ_W1C },
    { "w0c", SHIRQ_W0C },
    { "w1s", SHIRQ_W1S },
    { "wc", SHIRQ_WC },
};

#define BEHAVIOUR_NAMES \
    "rw, ro, w1c, w0c, w1s, wc, wo, rc, automask, group=N, =VALUE"

uint32_t shirq_field_cover(const ShirqField *field)
{
    return MAKE_64BIT_MASK(field->word_shift, MIN(field->length, 32));
}

/* One entry */

static bool parse_number(const char **at, uint64_t max, uint64_t *value)
{
    return g_ascii_isdigit(**at) && !qemu_strtou64(*at, at, 0, value) &&
        *value <= max;
}

static bool parse_bits(const char **at, unsigned limit, ShirqField *field,
                       Error **errp)
{
    uint64_t high, low;
    const char *start = *at;

    (*at)++;
    if (!parse_number(at, limit - 1, &high)) {
        goto bad;
    }
    low = high;
    if (**at == ':') {
        (*at)++;
        if (!parse_number(at, high, &low)) {
            goto bad;
        }
    }
    if (**at != ']') {
        goto bad;
    }
    (*at)++;
    field->shift = low;
    field->length = high - low + 1;
    return true;

bad:
    error_setg(errp, "'%s' must be [BIT] or [HIGH:LOW], with bits from 0 to %u",
               start, limit - 1);
    return false;
}

static bool parse_location(const char *text, ShirqField *field, Error **errp)
{
    const char *at = text;
    uint64_t value;

    if (g_str_has_prefix(at, "ind")) {
        field->space = SHIRQ_INDIRECT;
        at += 3;
    } else if (g_str_has_prefix(at, "bar") && at[3] >= '0' && at[3] <= '5') {
        field->space = at[3] - '0';
        at += 4;
    } else {
        goto bad;
    }
    if (*at++ != '+' || !parse_number(&at, UINT32_MAX, &value)) {
        goto bad;
    }
    field->offset = value;
    if (*at++ != '/' || !parse_number(&at, 64, &value)) {
        goto bad;
    }
    if (value != 8 && value != 16 && value != 32 && value != 64) {
        error_setg(errp, "the width is %" PRIu64 ", and must be 8, 16 or 32, "
                   "or 64 of a mark", value);
        return false;
    }
    field->width = value / 8;
    field->length = value;
    if (g_str_has_prefix(at, "le") || g_str_has_prefix(at, "be")) {
        field->big_endian = *at == 'b';
        at += 2;
    }
    if (*at == '[' && !parse_bits(&at, value, field, errp)) {
        return false;
    }
    if (*at) {
        goto bad;
    }
    if (field->space != SHIRQ_INDIRECT && field->offset % field->width) {
        error_setg(errp, "offset 0x%x is not a multiple of the width, %u bytes",
                   field->offset, field->width);
        return false;
    }
    return true;

bad:
    error_setg(errp, "'%s' is no place: write one such as bar0+0x24/32, "
               "bar1+0x3e/16be[7:4] or ind+3/16, with bar0 to bar5 or ind",
               text);
    return false;
}

static bool parse_value(const char *text, ShirqField *field, Error **errp)
{
    const char *at = text;
    uint64_t value;

    if (!parse_number(&at, MAKE_64BIT_MASK(0, MIN(field->length, 32)),
                      &value) || *at) {
        error_setg(errp, "the value '%s' must be a number that fits into %u "
                   "bits", text, field->length);
        return false;
    }
    field->value = value;
    field->has_value = true;
    return true;
}

static bool parse_word(const char *text, ShirqField *field, Error **errp)
{
    g_autofree char *name = g_strndup(text, strcspn(text, "[="));
    const char *at = text + strlen(name);
    unsigned bits = 0;
    int i;

    for (i = 0; i < ARRAY_SIZE(words); i++) {
        if (!strcmp(words[i].name, name)) {
            bits = words[i].bits;
            field->word = words[i].word;
            field->inverted = words[i].inverted;
            field->write = words[i].read_only ? SHIRQ_RO : SHIRQ_RW;
            field->write_only = words[i].write_only;
            break;
        }
    }
    if (!bits || (field->word == SHIRQ_CONST) != (*at == '=')) {
        error_setg(errp, "'%s' is not a state that a register shows: "
                   "write one of " WORD_NAMES, text);
        return false;
    }
    if (*at == '=') {
        return parse_value(at + 1, field, errp);
    }
    if (bits == 32) {
        field->word_shift = field->word == SHIRQ_INDEX ||
            field->word == SHIRQ_DATA ? 0 : field->shift;
    }
    if (*at == '[') {
        ShirqField place;

        if (!parse_bits(&at, bits, &place, errp)) {
            return false;
        }
        if (*at || place.length != 1) {
            error_setg(errp, "'%s' must name the lowest bit alone, such as "
                       "%s[0]", text, name);
            return false;
        }
        field->word_shift = place.shift;
    }
    if (field->word_shift + field->length > bits) {
        error_setg(errp, "'%s' has %u bits, of which %u from bit %u on are "
                   "asked for", name, bits, field->length, field->word_shift);
        return false;
    }
    return true;
}

static bool parse_behaviour(const char *text, ShirqRegs *regs,
                            ShirqField *field, bool *wrote, Error **errp)
{
    uint64_t value;
    const char *at;
    int i;

    for (i = 0; i < ARRAY_SIZE(writes); i++) {
        if (strcmp(writes[i].name, text)) {
            continue;
        }
        if (*wrote) {
            error_setg(errp, "'%s' contradicts an earlier word: give one "
                       "effect of writes", text);
            return false;
        }
        if (field->write == SHIRQ_RO && writes[i].write != SHIRQ_RO) {
            error_setg(errp, "'%s': these bits are read-only", text);
            return false;
        }
        *wrote = true;
        field->write = writes[i].write;
        return true;
    }
    if (!strcmp(text, "wo")) {
        field->write_only = true;
    } else if (!strcmp(text, "rc")) {
        field->read_clears = true;
    } else if (!strcmp(text, "automask")) {
        field->read_masks = true;
    } else if (*text == '=') {
        if (field->word >= SHIRQ_STATES) {
            error_setg(errp, "'%s': this state has no reset value",
                       text);
            return false;
        }
        return parse_value(text + 1, field, errp);
    } else if (g_str_has_prefix(text, "group=")) {
        at = text + strlen("group=");
        if (field->word != SHIRQ_SUMMARY || !parse_number(&at, 32, &value) ||
            !value || *at) {
            error_setg(errp, "'%s': a summary has group=N, with 1 to 32 "
                       "sources to a bit", text);
            return false;
        }
        if (regs->group && regs->group != value) {
            error_setg(errp, "'%s': another entry has group=%u", text,
                       regs->group);
            return false;
        }
        regs->group = value;
    } else {
        error_setg(errp, "'%s' is not a behaviour: write some of "
                   BEHAVIOUR_NAMES, text);
        return false;
    }
    return true;
}

static bool check_field(const ShirqField *field, Error **errp)
{
    if (field->write_only && (field->read_clears || field->read_masks)) {
        error_setg(errp, "'wo' contradicts a side effect of reads");
    } else if (field->write_only && field->write == SHIRQ_RO) {
        error_setg(errp, "'wo' contradicts 'ro'");
    } else if (field->read_masks && field->word != SHIRQ_STATUS &&
               field->word != SHIRQ_ACTIVE) {
        error_setg(errp, "'automask' is for status and active");
    } else if (field->read_clears && (field->word >= SHIRQ_STATES ||
                                      field->inverted) &&
               field->word != SHIRQ_ACTIVE) {
        error_setg(errp, "'rc' needs bits that a read can clear");
    } else if (field->word == SHIRQ_MARK && field->width < 4) {
        error_setg(errp, "a mark is 32 or 64 bits wide");
    } else if (field->word != SHIRQ_MARK && field->width == 8) {
        error_setg(errp, "a width of 64 is only for a mark");
    } else if (field->word >= SHIRQ_DATA &&
               field->length != field->width * 8) {
        error_setg(errp, "data, mark and doorbell are whole registers");
    } else if (field->space == SHIRQ_INDIRECT && field->word >= SHIRQ_DATA) {
        error_setg(errp, "data, mark and doorbell cannot be indirect");
    } else {
        return true;
    }
    return false;
}

static bool parse_entry(char **tokens, ShirqRegs *regs, ShirqField *field,
                        Error **errp)
{
    bool wrote = false;

    if (!parse_location(tokens[0], field, errp)) {
        return false;
    }
    if (!tokens[1]) {
        error_setg(errp, "the shown state is missing: write one of "
                   WORD_NAMES);
        return false;
    }
    if (!parse_word(tokens[1], field, errp)) {
        return false;
    }
    for (tokens += 2; *tokens; tokens++) {
        if (!parse_behaviour(*tokens, regs, field, &wrote, errp)) {
            return false;
        }
    }
    return check_field(field, errp);
}

/* The whole */

static uint64_t place(uint8_t space, uint32_t offset, uint8_t width)
{
    return (uint64_t)space << 40 | (uint64_t)width << 32 | offset;
}

/* Join the fields of each register, in the order of the description. */
static void index_registers(ShirqRegs *regs)
{
    int i;

    regs->first = g_hash_table_new(g_int64_hash, g_int64_equal);
    for (i = regs->count - 1; i >= 0; i--) {
        ShirqField *field = &regs->field[i];

        field->place = place(field->space, field->offset, field->width);
        field->next = g_hash_table_lookup(regs->first, &field->place);
        g_hash_table_replace(regs->first, &field->place, field);
    }
}

const ShirqField *shirq_regs_find(const ShirqRegs *regs, uint8_t space,
                                  uint32_t offset, uint8_t width)
{
    uint64_t key = place(space, offset, width);

    return g_hash_table_lookup(regs->first, &key);
}

static bool conclude(ShirqRegs *regs, Error **errp)
{
    const ShirqField *data = NULL;
    uint32_t valued = 0;
    bool index = false, summary = false;
    const ShirqField *field;
    unsigned i;

    for (i = 0; i < regs->count; i++) {
        uint32_t cover;

        field = &regs->field[i];
        cover = shirq_field_cover(field);
        switch (field->word) {
        case SHIRQ_STATUS:
            regs->sources |= cover;
            break;
        case SHIRQ_MASK:
            if (field->write != SHIRQ_RO) {
                regs->maskable |= cover;
            }
            break;
        case SHIRQ_CAUSE:
            regs->sticky |= cover;
            break;
        case SHIRQ_SUMMARY:
            summary = true;
            regs->latched |= field->write != SHIRQ_RO || field->read_clears;
            break;
        case SHIRQ_GATE:
            regs->gated = true;
            break;
        case SHIRQ_INDEX:
            index = true;
            break;
        case SHIRQ_DATA:
            if (data && data->width != field->width) {
                error_setg(errp, "the data registers differ in width");
                return false;
            }
            data = field;
            break;
        }
        if (field->has_value && field->word < SHIRQ_STATES) {
            uint32_t value = (field->value ^ (field->inverted ? -1 : 0))
                << field->word_shift & cover;

            regs->reset[field->word] = (regs->reset[field->word] & ~cover)
                | value;
            if (field->word == SHIRQ_MASK) {
                valued |= cover;
            }
        }
    }
    regs->reset[SHIRQ_MASK] |= regs->maskable & ~valued;
    if (!regs->gated) {
        regs->reset[SHIRQ_GATE] = 1;
    }
    if (!regs->sources) {
        error_setg(errp, "no source can be pending: at least one entry must "
                   "show or change status");
    } else if (summary && !regs->group) {
        error_setg(errp, "the summary needs group=N: how many sources a bit "
                   "stands for");
    } else if (index != !!data) {
        error_setg(errp, "index and data registers need each other");
    } else {
        for (i = 0; i < regs->count; i++) {
            field = &regs->field[i];
            if (field->space == SHIRQ_INDIRECT &&
                (!data || field->width != data->width)) {
                error_setg(errp, "an indirect register needs a data register "
                           "of its width");
                return false;
            }
        }
        return true;
    }
    return false;
}

/* A copy of @text without its comments. */
static char *strip_comments(const char *text)
{
    char *copy = g_strdup(text);
    bool comment = false;
    char *c;

    for (c = copy; *c; c++) {
        comment = *c == '#' || (comment && *c != '\n');
        if (comment) {
            *c = ' ';
        }
    }
    return copy;
}

ShirqRegs *shirq_regs_parse(const char *text, Error **errp)
{
    ERRP_GUARD();
    g_autoptr(ShirqRegs) regs = g_new0(ShirqRegs, 1);
    g_autofree char *bare = strip_comments(text);
    g_auto(GStrv) entries = g_strsplit_set(bare, ";\n", -1);
    int i, number = 0;

    regs->text = g_strdup(text);
    regs->field = g_new0(ShirqField, MAX_FIELDS);
    for (i = 0; entries[i]; i++) {
        g_auto(GStrv) raw = NULL;
        g_autofree char **tokens = NULL;
        int from, to = 0;

        g_strstrip(entries[i]);
        if (!*entries[i]) {
            continue;
        }
        number++;
        raw = g_strsplit_set(entries[i], " \t\r", -1);
        tokens = g_new0(char *, g_strv_length(raw) + 1);
        for (from = 0; raw[from]; from++) {
            if (*raw[from]) {
                tokens[to++] = raw[from];
            }
        }
        if (regs->count == MAX_FIELDS) {
            error_setg(errp, "there are more than %d entries", MAX_FIELDS);
            return NULL;
        }
        if (!parse_entry(tokens, regs, &regs->field[regs->count], errp)) {
            error_prepend(errp, "entry %d, '%s': ", number, entries[i]);
            return NULL;
        }
        regs->count++;
    }
    if (!conclude(regs, errp)) {
        return NULL;
    }
    index_registers(regs);
    return g_steal_pointer(&regs);
}

void shirq_regs_free(ShirqRegs *regs)
{
    if (regs) {
        g_clear_pointer(&regs->first, g_hash_table_destroy);
        g_free(regs->text);
        g_free(regs->field);
        g_free(regs);
    }
}
