/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SHIRQ_CORE_H
#define SHIRQ_CORE_H

#include <linux/cdev.h>
#include <linux/device.h>
#include <linux/eventfd.h>
#include <linux/fs.h>
#include <linux/hrtimer.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/pid.h>
#include <linux/ratelimit.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "breaker.h"
#include "life.h"
#include "program.h"

#define SHIRQ_QUEUE	SHIRQ_RING_EVENTS	/* events; a power of two */

/* Rungs for a device without an owner: there is nobody whose state a reset could destroy. */
#define SHIRQ_RUNGS_UNOWNED	(SHIRQ_QUIESCE_D3HOT | SHIRQ_QUIESCE_FLR)

/**
 * struct shirq_store - a store of a constant to a register that user space may map
 * @bar: number of the BAR
 * @width: bytes; 0 if there is no such store
 * @offset: of the register
 * @value: the constant
 */
struct shirq_store {
	u32	bar;
	u32	width;
	u64	offset;
	u32	value;
};

/**
 * struct shirq_set - the programs of one IRQ source
 * @mode: enum shirq_mode
 * @program: indexed by enum shirq_program_kind; the entry of EXEC is unused; the entry
 *	of MASK is empty if the owner loaded no mask program
 * @keeps: a program uses one of r4..r7, which the programs of a set share
 * @saved: the last program that changed @kept has masked the device
 * @kept: r4..r7 as the last program left them
 * @store: the store that the unmask program is; see shirq_find_store()
 */
struct shirq_set {
	u32			mode;
	struct shirq_program	program[SHIRQ_PROGRAM_MASK + 1];
	bool			keeps;
	bool			saved;
	u64			kept[SHIRQ_REGS - SHIRQ_KEPT];
	struct shirq_store	store;
};

/**
 * struct shirq_stats - counters since the device was bound
 * @claims: interrupts that the irq program claimed
 * @declines: interrupts that the irq program declined
 * @silent: interrupts of the line while the device was masked or quarantined; normally
 *	they come from neighbours
 * @events: events queued
 * @lost: interrupts for which no event was queued, because the queue was full or a
 *	quarantine came first
 * @masks: calls of SHIRQ_MASK
 * @unmasks: unmasks, of events and after SHIRQ_MASK
 * @remasks: times that the device was masked again, because the line stormed while it was
 *	masked: by the irq program, which claimed again, or by DisINTx
 * @storms_masked: quarantines for SHIRQ_QUARANTINE_MASKED
 * @storms_rate: quarantines for SHIRQ_QUARANTINE_RATE
 * @storms_declined: quarantines for SHIRQ_QUARANTINE_DECLINED
 * @storms_elsewhere: quarantines for SHIRQ_QUARANTINE_OTHER_LINE
 * @line_off: times that the line was masked so that a worker could take a rung
 * @rung_d3hot: times that the device was put to D3hot because it stormed
 * @rung_flr: function-level resets because it stormed
 * @rung_bus: resets of its bus because it stormed
 * @rung_failed: times that no rung was left
 * @line_given_up: times that the core was found to have disabled the line for good
 */
struct shirq_stats {
	u64 claims;
	u64 declines;
	u64 silent;
	u64 events;
	u64 lost;
	u64 masks;
	u64 unmasks;
	u64 remasks;
	u64 storms_masked;
	u64 storms_rate;
	u64 storms_declined;
	u64 storms_elsewhere;
	u64 line_off;
	u64 rung_d3hot;
	u64 rung_flr;
	u64 rung_bus;
	u64 rung_failed;
	u64 line_given_up;
};

/**
 * enum shirq_rung - how far a quarantined device was silenced
 * @SHIRQ_RUNG_NONE: not quarantined, or gone before it could be silenced
 * @SHIRQ_RUNG_RELEASED: release program, DisINTx, bus mastering off
 * @SHIRQ_RUNG_D3HOT: in D3hot
 * @SHIRQ_RUNG_FLR: function-level reset
 * @SHIRQ_RUNG_BUS: secondary bus reset
 * @SHIRQ_RUNG_FAILED: no rung ended the storm, or the owner allows no further rung
 */
enum shirq_rung {
	SHIRQ_RUNG_NONE,
	SHIRQ_RUNG_RELEASED,
	SHIRQ_RUNG_D3HOT,
	SHIRQ_RUNG_FLR,
	SHIRQ_RUNG_BUS,
	SHIRQ_RUNG_FAILED,
};

/**
 * struct shirq_storm - the storm breaker of one device; see storm.c
 * @desc: the core's descriptor of the line, while the handler is registered
 * @window: handler calls while the device should be silent
 * @strikes: windows in a row that were a storm
 * @looked: the core's count of unhandled interrupts when Interrupt Status was looked at
 * @rate: claims of an acknowledging device
 * @rung: the last rung taken
 * @reason: enum shirq_quarantine of the last quarantine, 0 if there was none
 * @line_off: the line is masked
 * @due: the line was masked because the last rung did not end the storm
 * @watched: the device is released; the watch ends when it no longer asserts the line
 * @given_up: the core has disabled the line because nobody handled its interrupts, and
 *	only polls the handlers; see shirq_line_polled()
 * @polled_ns: time of the first of the last looks in a row at a disabled line, or 0
 * @polled_count: the core's count of interrupts at that time
 * @suspect_line: line that stormed at the last look of the watch, or 0
 * @suspect_unhandled: its count of unhandled interrupts when it was first suspected, or
 *	when the trial began
 * @suspect_looks: looks since it was first suspected; in the trial, those that are left
 * @on_trial: DisINTx is set to see whether @suspect_line is silent then
 * @innocent_of: the line of the last trial, which stormed on, or 0
 */
struct shirq_storm {
	struct irq_desc		*desc;
	struct shirq_window	window;
	u32			strikes;
	u32			looked;
	struct shirq_rate	rate;
	enum shirq_rung		rung;
	u32			reason;
	bool			line_off;
	bool			due;
	bool			watched;
	bool			given_up;
	u64			polled_ns;
	u32			polled_count;
	unsigned int		suspect_line;
	u32			suspect_unhandled;
	unsigned int		suspect_looks;
	bool			on_trial;
	unsigned int		innocent_of;
};

struct shirq_dma;
struct shirq_face;
struct shirq_device;

/**
 * struct shirq_message - a message of the function, MSI or MSI-X, as an IRQ source
 * @d: the device
 * @source: number of the source, from 1
 * @irq: the interrupt's number
 * @name: the name in /proc/interrupts, without a slash
 *
 * All fields below are guarded by @lock of the device. To change @set, @requested and
 * @queue, hold its @mutex too.
 * @set: the loaded set, or NULL: then each message is an event
 * @eventfd: signalled for each event of this source, or NULL
 * @queue: SHIRQ_QUEUE events
 * @head: number of events that were ever queued
 * @tail: number of events that were ever taken from the queue, or dropped at disarm
 * @requested: the handler is registered, or is about to be registered
 * @handling: the handler takes messages: from before it is registered until the source or
 *	the device is stopped
 * @armed: user space may mask and unmask: from after the handler is registered
 * @auto_unmask: read() unmasks
 * @masked: the source is masked until @seq is unmasked
 * @held: a message came while the source was masked; it is handled at the unmask
 * @off: the interrupt is disabled: by SHIRQ_MASK, or because the source was stopped
 * @seq: number of the last claim or SHIRQ_MASK
 * @delivered: the last @seq that read() delivered
 * @reader: the thread that got @delivered, or NULL
 * @lost: messages since SHIRQ_ARM for which no event was queued
 * @held_ns: time of the held message
 * @captured: r0..r3 at the claim; zero without a set
 * @rate: messages, whether masked, claimed or declined
 */
struct shirq_message {
	struct shirq_device	*d;
	unsigned int		source;
	unsigned int		irq;
	char			name[48];

	struct shirq_set	*set;
	struct eventfd_ctx	*eventfd;
	struct shirq_event	*queue;
	u32			head;
	u32			tail;
	bool			requested;
	bool			handling;
	bool			armed;
	bool			auto_unmask;
	bool			masked;
	bool			held;
	bool			off;
	u64			seq;
	u64			delivered;
	struct pid		*reader;
	u64			lost;
	u64			held_ns;
	u64			captured[SHIRQ_EVENT_REGS];
	struct shirq_rate	rate;
};

/**
 * struct shirq_device - one bound PCI function
 * @dev: the device in class shirq; its reference count keeps this struct allocated
 * @cdev: the character device
 * @pdev: the function; must not be used once the device is SHIRQ_DEAD
 * @bus: its registers for programs
 * @bar: mappings of its BARs, while it has an owner
 * @pristine: copy of its config space in the silent state, saved before the last
 *	wake-up, restored after resets
 * @messages: rate limit of the messages that the owner can cause; see shirq_warn()
 * @irq_name: the name in /proc/interrupts; also the name of a folder in /proc, so
 *	without a slash
 * @most_messages: number of messages that the function can have, at most
 *	SHIRQ_MAX_MESSAGES
 *
 * @mutex: guards @mapping to @recover_by, which change in process context
 * @mapping: address space of the owner's file, or files, to revoke its mappings
 * @generation: counts revocations; a mapping made before the last revocation is void
 * @ring: the memory that the owner may map, while there is an owner: its state and events,
 *	and after it @consumer
 * @consumer: the part of it that the owner may write; the kernel compares its words with
 *	its own, and never uses them otherwise
 * @queue: SHIRQ_QUEUE events, while it has an owner: those of @ring
 * @neighbour: another handler was on the line when ours was registered
 * @leaving: the device has no owner, does not answer, and is parked as soon as it
 *	answers
 * @recovering: the device is SHIRQ_PAUSED because its link had an error
 * @recovered: the recovery is over, except for the part left to @absent
 * @recover_by: time in jiffies at which the device is given up if it has not recovered
 * @vectors: the function's messages are allocated
 *
 * @uio: the UIO face, or NULL; guarded by a mutex of uio.c, and does not change while
 *	@consume is set
 *
 * @wait: readers and pollers; woken with shirq_notify()
 * @ladder: work of a quarantine that needs process context
 * @reopen: timer that unmasks the line
 * @look: does nothing, on the CPU that takes the line's interrupts; once it has run,
 *	that CPU has taken any pending interrupt
 * @revival: checks whether the line works again, after the core has given it up
 * @watch: looks, as long as the device is armed, whether it asserts another line
 * @absent: polls a device that is @gone, or in error recovery; see lifecycle.c
 *
 * @lock: guards the fields that the interrupt uses, @set to @stats. Serialises
 *	programs, and all writes to Command except those of shirq_restore(), which sets
 *	DisINTx again afterwards. Reads without this lock (a hint, or under @mutex
 *	alone) use READ_ONCE(). To change most of these fields, hold @mutex too. The
 *	exceptions are the fields that claims, masks and reads change, @gone, @storm,
 *	the queue and @stats. Also, the interrupt may clear @handling and @armed and set
 *	@quarantined.
 * @set: the loaded set, or NULL
 * @eventfd: signalled whenever the waiters are woken, or NULL
 * @consume: takes the queued events, instead of read(), whenever the waiters are woken; NULL
 *	unless the owner came by the face @uio
 * @dma: the watched address space for which bus mastering is on, or NULL
 * @quiesce: the settings of SHIRQ_SET_QUIESCE
 * @message: the messages that are IRQ sources; @message[n] is source n + 1
 * @message_count: number of them
 * @messages_armed: number of those that are armed
 * @message_events: events in their queues
 * @line_irq: number of the INTx line while messages are allocated, otherwise 0; see
 *	shirq_line()
 * @messages_left: messages were freed while the device did not answer: they are still
 *	enabled there
 * @requested: the handler is registered, or is about to be registered
 * @irq: the registered interrupt number; the number in @pdev may change while the
 *	kernel enables the function
 * @irqflags: flags with which the handler is registered
 * @handling: the handler claims interrupts: from before it is registered until the
 *	device is stopped
 * @armed: user space may mask, unmask and wait: from after the handler is registered
 * @auto_unmask: read() unmasks
 * @ringing: the owner takes the events from @ring; read() fails
 * @masked: the device is masked until @seq is unmasked; with @ringing it may have been
 *	unmasked since, see shirq_see_unmask()
 * @owner_masked: SHIRQ_MASK has masked the device
 * @held: an interrupt was claimed while @owner_masked was set; its event is queued when
 *	@seq is unmasked
 * @held_ns: time of that claim; its captured registers are in @captured
 * @intx_off: DisINTx was set by SHIRQ_MASK, because no mask program is loaded
 * @life: enum shirq_life, changed by lifecycle.c alone
 * @quarantined: the device stormed, which only SHIRQ_ARM and close() end; or the
 *	handler only watches the line
 * @gone: the device is SHIRQ_DEAD or given up, or a program read all-ones; all calls of
 *	user space fail, but the handler continues to work
 * @epoch: counts disarms, so that a reader notices a disarm while it waited
 * @head: number of events that were ever queued
 * @tail: number of events that were ever taken from the queue, or dropped at disarm; with
 *	@ringing, the last valid one that shirq_ring_look() has found in @consumer
 * @seq: number of the last claim or SHIRQ_MASK
 * @delivered: the last @seq that read() delivered
 * @reader: the thread that got @delivered, or NULL; see shirq_reader()
 * @lost: interrupts since SHIRQ_ARM for which no event was queued
 * @regs: registers of the running program
 * @captured: r0..r3 at the claim of the irq program
 * @watched_calls: calls of the handler until @watch looked last
 * @storm: see struct shirq_storm
 * @stats: see struct shirq_stats
 */
struct shirq_device {
	struct device		dev;
	struct cdev		cdev;
	struct pci_dev		*pdev;
	struct shirq_bus	bus;
	void __iomem		*bar[SHIRQ_BARS];
	struct pci_saved_state	*pristine;
	struct ratelimit_state	messages;
	char			irq_name[32];
	unsigned int		most_messages;

	/* guarded by the mutex, used in process context */
	struct mutex		mutex;
	struct address_space	*mapping;
	unsigned long		generation;
	struct shirq_ring	*ring;
	struct shirq_consumer	*consumer;
	struct shirq_event	*queue;
	bool			neighbour;
	bool			leaving;
	bool			recovering;
	bool			recovered;
	unsigned long		recover_by;
	bool			vectors;

	struct shirq_face	*uio;

	/* readers and workers */
	wait_queue_head_t	wait;
	struct work_struct	ladder;
	struct work_struct	reopen;
	struct work_struct	look;
	struct delayed_work	revival;
	struct hrtimer		watch;
	struct delayed_work	absent;

	/* guarded by the lock, used in the interrupt */
	spinlock_t		lock;
	struct shirq_set	*set;
	struct eventfd_ctx	*eventfd;
	void (*consume)(struct shirq_device *d);
	struct shirq_dma	*dma;
	struct shirq_quiesce	quiesce;
	struct shirq_message	*message;
	unsigned int		message_count;
	unsigned int		messages_armed;
	unsigned int		message_events;
	unsigned int		line_irq;
	bool			messages_left;
	bool			requested;
	bool			handling;
	bool			armed;
	bool			auto_unmask;
	bool			ringing;
	bool			masked;
	bool			owner_masked;
	bool			held;
	bool			intx_off;
	u8			life;
	bool			quarantined;
	bool			gone;
	u32			epoch;
	u32			head;
	u32			tail;
	u64			seq;
	u64			delivered;
	struct pid		*reader;
	u64			lost;
	u64			held_ns;
	unsigned int		irq;
	unsigned long		irqflags;
	u64			regs[SHIRQ_REGS];
	u64			captured[SHIRQ_EVENT_REGS];
	u64			watched_calls;
	struct shirq_storm	storm;
	struct shirq_stats	stats;
};

#define shirq_for_each_message(m, d)					\
	for ((m) = (d)->message; (m) < (d)->message + (d)->message_count; (m)++)

/* Log a message with a rate limit: an owner can cause it as often as it likes. */
#define shirq_warn(d, ...)						\
	do {								\
		if (__ratelimit(&(d)->messages))			\
			pci_warn((d)->pdev, __VA_ARGS__);		\
	} while (0)

#endif /* SHIRQ_CORE_H */
