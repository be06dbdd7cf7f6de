/*
 * Register files as data: a description, in text, of which bits of which
 * register show and change which state of a device.
 *
 * The language is specified in SPEC.md, "Describing registers".
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_MISC_SHIRQ_REGS_H
#define HW_MISC_SHIRQ_REGS_H

/* ShirqField.space of what is reached through an index and a data register. */
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
    SHIRQ_SCRATCH,
    SHIRQ_STATES = SHIRQ_SCRATCH + SHIRQ_SCRATCHES,
    /* What has no state of its own. */
    SHIRQ_ACTIVE = SHIRQ_STATES,    /* pending sources that are not masked */
    SHIRQ_ANY,                  /* bit 0: the device wants to assert */
    SHIRQ_CONST,
    SHIRQ_DATA,
    SHIRQ_MARK,
    SHIRQ_DOORBELL,
} ShirqWord;

/* What a write does to the bits that it reaches. */
typedef enum ShirqWrite {
    SHIRQ_RW,                   /* they become what is written */
    SHIRQ_RO,                   /* nothing */
    SHIRQ_W1C,                  /* a 1 clears */
    SHIRQ_W0C,                  /* a 0 clears */
    SHIRQ_W1S,                  /* a 1 sets */
    SHIRQ_WC,                   /* any value clears them all */
} ShirqWrite;

/* Some bits of a register, and what they are a view of. */
typedef struct ShirqField {
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
    ShirqField *field;

    uint32_t sources;           /* those that a register knows */
    uint32_t maskable;
    uint32_t sticky;            /* those that a cause keeps pending */
    uint32_t reset[SHIRQ_STATES];
    uint8_t group;              /* sources of a bit of the summary; 0: none */
    bool latched;               /* the summary is a latch and drives the pin */
    bool gated;
} ShirqRegs;

/* The bits of its word that @field reaches. */
uint32_t shirq_field_cover(const ShirqField *field);

/* A register file, or NULL: an error that names the entry and what is right. */
ShirqRegs *shirq_regs_parse(const char *text, Error **errp);
void shirq_regs_free(ShirqRegs *regs);

/* The description that is known as @name; NULL: there is none. */
const char *shirq_preset(const char *name);
/* Their names, separated by commas. */
char *shirq_preset_names(void);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(ShirqRegs, shirq_regs_free)

#endif
