/*
 * Register files as data: a text describes the bits of each register, and the
 * state of the device that they show and change.
 *
 * The language is specified in SPEC.md, "Describing registers".
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_MISC_SHIRQ_REGS_H
#define HW_MISC_SHIRQ_REGS_H

/*
 * ShirqField.space of a register that is reached through an index and a data
 * register.
 */
#define SHIRQ_INDIRECT      6
#define SHIRQ_SCRATCHES     8

/* The state that registers are views of, 32 bits each. */
typedef enum ShirqWord {
    SHIRQ_STATUS,               /* pending sources */
    SHIRQ_MASK,                 /* sources that do not assert */
    SHIRQ_CAUSE,                /* conditions that keep a source pending */
    SHIRQ_SUMMARY,              /* groups of sources */
    SHIRQ_GATE,                 /* bit 0: the device may assert */
    SHIRQ_INDEX,                /* offset of the data register */
    SHIRQ_LIVENESS,
    SHIRQ_FACTORIAL,
    SHIRQ_COUNT,                /* raises */
    SHIRQ_SCRATCH,
    SHIRQ_STATES = SHIRQ_SCRATCH + SHIRQ_SCRATCHES,
    /* Values computed from other state. */
    SHIRQ_ACTIVE = SHIRQ_STATES,    /* pending sources that are not masked */
    SHIRQ_ANY,                  /* bit 0: the device wants to assert */
    SHIRQ_CONST,
    SHIRQ_PAYLOAD,              /* the number of the last raise, late */
    SHIRQ_DATA,
    SHIRQ_MARK,
    SHIRQ_DOORBELL,
} ShirqWord;

/* The effect of a write on the bits that it covers. */
typedef enum ShirqWrite {
    SHIRQ_RW,                   /* they take the written value */
    SHIRQ_RO,                   /* nothing */
    SHIRQ_W1C,                  /* a 1 clears */
    SHIRQ_W0C,                  /* a 0 clears */
    SHIRQ_W1S,                  /* a 1 sets */
    SHIRQ_WC,                   /* any value clears them all */
} ShirqWrite;

/* A field: some bits of a register, and the state that they show. */
typedef struct ShirqField {
    struct ShirqField *next;    /* of the same register */
    uint64_t place;             /* space, offset and width as one number */
    uint8_t space;              /* a BAR or SHIRQ_INDIRECT */
    uint8_t width;              /* of the register, in bytes */
    uint8_t shift;              /* lowest bit in the register */
    uint8_t length;             /* in bits */
    uint8_t word;               /* ShirqWord */
    uint8_t word_shift;         /* lowest bit in the word */
    uint8_t write;              /* ShirqWrite */
    bool big_endian;
    bool inverted;
    bool write_only;            /* reads as zero */
    bool read_clears;
    bool read_masks;
    bool has_value;
    uint32_t offset;
    uint32_t value;             /* at reset; of SHIRQ_CONST, always */
} ShirqField;

typedef struct ShirqRegs {
    char *text;
    unsigned count;
    ShirqField *field;          /* in the order of the description */
    GHashTable *first;          /* the first field at each place */

    uint32_t sources;           /* the sources that a register shows */
    uint32_t maskable;
    uint32_t sticky;            /* the sources that a cause keeps pending */
    uint32_t reset[SHIRQ_STATES];
    uint8_t group;              /* sources per summary bit; 0: no summary */
    bool latched;               /* the summary is a latch and drives the pin */
    bool gated;
} ShirqRegs;

/* The bits of its word that @field reaches. */
uint32_t shirq_field_cover(const ShirqField *field);

/*
 * Parse a register file. Returns NULL with an error that names the entry and
 * the expected form.
 */
ShirqRegs *shirq_regs_parse(const char *text, Error **errp);
void shirq_regs_free(ShirqRegs *regs);

/*
 * The first field of the register at a place; @next has the others, in the
 * order of the description. NULL if there is none.
 */
const ShirqField *shirq_regs_find(const ShirqRegs *regs, uint8_t space,
                                  uint32_t offset, uint8_t width);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(ShirqRegs, shirq_regs_free)

#endif
