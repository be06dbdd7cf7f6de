/*
 * The event log: all actions of devices, interrupt lines and interrupt
 * controllers, on the virtual clock, in one file that the host maps.
 *
 * The file is little endian: one header of SHIRQ_LOG_HEADER_SIZE bytes, then
 * up to `capacity` entries of 32 bytes.  QEMU is the only writer.  `head` is
 * stored with release semantics after the entry it counts, so a reader that
 * loads it with acquire semantics may use every entry below it while the VM
 * runs.  A full log keeps its beginning and counts the dropped entries.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_MISC_SHIRQ_LOG_H
#define HW_MISC_SHIRQ_LOG_H

#include "qemu/notify.h"
#include "hw/misc/shirq-turns.h"
#include "hw/qdev-core.h"

#define SHIRQ_LOG_MAGIC         "SHIRQLOG"
#define SHIRQ_LOG_VERSION       2
#define SHIRQ_LOG_HEADER_SIZE   65536
#define SHIRQ_LOG_DEVICES       1000
#define SHIRQ_LOG_NAME_SIZE     64

/* ShirqLogEntry.device of entries of the whole VM. */
#define SHIRQ_LOG_VM            0xffff
/* ShirqLogEntry.space for config space; 0..5 are BARs. */
#define SHIRQ_LOG_CONFIG        6
/* ShirqLogEntry.vcpu and .ring when no vCPU is running or it is unknown. */
#define SHIRQ_LOG_NONE          0xff

typedef enum ShirqLogKind {
    /* Of the whole VM (device = SHIRQ_LOG_VM). */
    SHIRQ_LOG_START = 1,        /* the log was opened by a fresh VM */
    SHIRQ_LOG_RESTORED = 2,     /* the VM's state was loaded; value: epoch */
    SHIRQ_LOG_OFF = 3,          /* the log is switched off */
    SHIRQ_LOG_ON = 4,           /* the log is switched on again */
    SHIRQ_LOG_TURN = 5,         /* a vCPU has the turn; offset: reason, value: which */
    /* Of one device. */
    SHIRQ_LOG_RESET = 8,        /* the device was reset */
    SHIRQ_LOG_READ = 9,         /* register read: space, offset, width, value */
    SHIRQ_LOG_WRITE = 10,       /* register write: space, offset, width, value */
    SHIRQ_LOG_PIN = 11,         /* its own INTx pin; offset: 0..3 = INTA..D, value: 0/1 */
    SHIRQ_LOG_RAISE = 12,       /* stimulus: value: source bits that became pending */
    SHIRQ_LOG_LOWER = 13,       /* stimulus: value: source bits withdrawn */
    SHIRQ_LOG_MARK = 14,        /* guest wrote MARK; value: the written value */
    SHIRQ_LOG_MASK = 15,        /* the mask state changed; value: 1 masked, 0 not */
    SHIRQ_LOG_DOORBELL = 16,    /* the doorbell was written; value: the written value */
    SHIRQ_LOG_SCHEDULED = 17,   /* schedule: width: action, offset: line, value */
    SHIRQ_LOG_SETTING = 18,     /* fault property; offset: number, value */
    SHIRQ_LOG_LAND = 19,        /* a posted write arrives: as WRITE */
    SHIRQ_LOG_MESSAGE = 20,     /* MSI; offset: address, value: data */
    SHIRQ_LOG_WHERE = 21,       /* value: the program counter of this vCPU */
    /* Of an interrupt controller; offset: the input's number. */
    SHIRQ_LOG_LINE = 32,        /* level: 0/1; width: cause, see the probe */
    SHIRQ_LOG_LINE_MASK = 33,   /* value: 1 masked, 0 not */
    SHIRQ_LOG_DELIVER = 34,     /* sent to a processor; value: vector */
    SHIRQ_LOG_EOI = 35,         /* the interrupt ended; value: vector */
    SHIRQ_LOG_TRIGGER = 36,     /* value: 1 level-triggered, 0 edge */
} ShirqLogKind;

typedef struct ShirqLogEntry {
    uint64_t time_ns;           /* QEMU_CLOCK_VIRTUAL */
    uint8_t kind;               /* ShirqLogKind */
    uint8_t space;              /* BAR number or SHIRQ_LOG_CONFIG */
    uint8_t width;              /* bytes */
    uint8_t vcpu;               /* the vCPU that caused it or SHIRQ_LOG_NONE */
    uint16_t device;            /* index into the header's device table */
    uint8_t ring;               /* the vCPU's privilege level, 0..3 */
    uint8_t reserved;
    uint64_t offset;
    uint64_t value;
} ShirqLogEntry;

typedef struct ShirqLogHeader {
    char magic[8];
    uint32_t version;
    uint32_t entry_size;
    uint64_t capacity;          /* entries that fit */
    uint64_t epoch;             /* times that VM state was loaded */
    uint64_t head;              /* entries written, store-release */
    uint64_t dropped;           /* entries that did not fit */
    uint32_t devices;           /* used slots of `device`, store-release */
    uint32_t generation;        /* times that the VM was rewound */
    uint32_t reserved[2];
    /*
     * NUL-terminated: the qdev id, or the QOM path if there is no id; of an
     * interrupt controller, its own name.
     */
    char device[SHIRQ_LOG_DEVICES][SHIRQ_LOG_NAME_SIZE];
} ShirqLogHeader;

QEMU_BUILD_BUG_ON(sizeof(ShirqLogEntry) != 32);
QEMU_BUILD_BUG_ON(sizeof(ShirqLogHeader) > SHIRQ_LOG_HEADER_SIZE);

typedef struct ShirqLog ShirqLog;

/* NULL: the VM has no shirq-log object, or it is switched off. */
extern ShirqLog *shirq_log;

static inline bool shirq_log_enabled(void)
{
    return qatomic_read(&shirq_log) != NULL;
}

/*
 * Append an entry; any thread may call this. @dev is NULL for the VM. The log
 * must be on: use the inline functions below, which check this.
 */
void shirq_log_append(DeviceState *dev, ShirqLogKind kind, uint8_t space,
                      uint8_t width, uint64_t offset, uint64_t value);

/*
 * Append an entry of the interrupt controller @name, a string that is never
 * freed. The log must be on.
 */
void shirq_log_controller(const char *name, ShirqLogKind kind, uint8_t width,
                          uint64_t input, uint64_t value);

static inline void shirq_log_event(DeviceState *dev, ShirqLogKind kind,
                                   uint64_t offset, uint64_t value)
{
    if (shirq_log_enabled()) {
        shirq_log_append(dev, kind, 0, 0, offset, value);
    }
}

static inline void shirq_log_access(DeviceState *dev, ShirqLogKind kind,
                                    uint8_t space, uint8_t width,
                                    uint64_t offset, uint64_t value)
{
    if (shirq_log_enabled()) {
        shirq_log_append(dev, kind, space, width, offset, value);
    }
}

/*
 * Append a WHERE entry for each vCPU. Call this only with instruction counting,
 * in a timer of the virtual clock: no vCPU is running then, so each program
 * counter is exact.
 */
void shirq_log_where(DeviceState *dev);

/*
 * Append a TURN entry: the vCPU with the index @to has the turn. @from had it,
 * or is NULL.
 */
void shirq_log_turn(CPUState *from, unsigned to, ShirqTurnReason reason);

/* A place in the log, to which it returns when the VM is rewound. */
typedef struct ShirqLogPlace {
    uint64_t head;
    uint64_t epoch;
    uint64_t dropped;
    uint32_t devices;
    bool on;
} ShirqLogPlace;

void shirq_log_place(ShirqLogPlace *place);

/*
 * Forget the entries after @place, and begin a new generation: readers must not
 * use what they have read of these entries. Called when the VM has been rewound,
 * while nothing is logged.
 */
void shirq_log_return(const ShirqLogPlace *place);

/*
 * Begin a new epoch because the VM's state was loaded: entries before and after
 * this moment belong to different histories.
 */
void shirq_log_restored(void);

/*
 * @notifier is called after START, RESTORED and ON, to log all state that
 * differs from the reset state.
 */
void shirq_log_add_state_notifier(Notifier *notifier);

#endif
