/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SHIRQ_CORE_H
#define SHIRQ_CORE_H

#include <linux/cdev.h>
#include <linux/device.h>
#include <linux/eventfd.h>
#include <linux/fs.h>
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

#define SHIRQ_QUEUE	256	/* events; a power of two */

/* Rungs allowed for a device without an owner: a function-level reset then loses nobody's work. */
#define SHIRQ_RUNGS_UNOWNED	(SHIRQ_QUIESCE_D3HOT | SHIRQ_QUIESCE_FLR)

/**
 * struct shirq_set - the programs of one IRQ source
 * @mode: enum shirq_mode
 * @program: indexed by enum shirq_program_kind; the entry of EXEC is unused, that of
 *	MASK is empty if the owner has loaded none
 * @keeps: a program reads a register that another one has left
 * @kept: r4..r7 as the last program left them
 */
struct shirq_set {
	u32			mode;
	struct shirq_program	program[SHIRQ_PROGRAM_MASK + 1];
	bool			keeps;
	u64			kept[SHIRQ_REGS - SHIRQ_KEPT];
};

/**
 * struct shirq_stats - counted since the device was bound
 * @claims: interrupts that the irq program claimed
 * @declines: interrupts that it declined
 * @silent: interrupts of the line while the device was masked or quarantined; they should
 *	be those of neighbours
 * @events: events queued
 * @lost: interrupts that became no event: the queue was full, or a quarantine came first
 * @masks: SHIRQ_MASK
 * @unmasks: events, and SHIRQ_MASK, that were unmasked
 * @remasks: the line stormed while the device was masked: the irq program ran
 *	again, and claimed; or DisINTx, by which SHIRQ_MASK had masked, was set again
 * @storms_masked: quarantines for SHIRQ_QUARANTINE_MASKED
 * @storms_rate: quarantines for SHIRQ_QUARANTINE_RATE
 * @storms_declined: quarantines for SHIRQ_QUARANTINE_DECLINED
 * @line_off: times that the line was masked for a rung
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
 * @SHIRQ_RUNG_FAILED: no rung ended the storm, or no further one is allowed
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
 * @watched: the device is released; watch only until it no longer asserts the line
 * @given_up: the core has disabled the line because nobody handled its interrupts, and
 *	only polls the handlers; see shirq_line_polled()
 * @polled_ns: time of the first of the last handler calls in a row on a disabled line,
 *	or 0
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
};

struct shirq_dma;

/**
 * struct shirq_device - one bound PCI function
 * @dev: the device in class shirq; holds the memory
 * @cdev: its node
 * @pdev: the function; not to be used once SHIRQ_DEAD
 * @bus: its registers for programs
 * @bar: mappings of its BARs, while it has an owner
 * @pristine: its config space, in the silent state, saved before the last wake-up;
 *	restored after resets
 * @messages: rate limit of the messages that the owner can cause; see shirq_warn()
 * @irq_name: the name in /proc/interrupts; also the name of a folder in /proc, so
 *	without a slash
 *
 * @mutex: guards @mapping to @recover_by, which change in process context
 * @mapping: address space of the owner's file, to revoke its mappings
 * @generation: counts revocations: an older mapping is void
 * @queue: SHIRQ_QUEUE events, while it has an owner
 * @neighbour: another handler was on the line when ours was registered
 * @leaving: without an owner; to be parked as soon as the device answers
 * @recovering: SHIRQ_PAUSED because of an error of its link
 * @recovered: the recovery is over, except for the part left to @absent
 * @recover_by: in jiffies: when the device is given up unless it has recovered
 *
 * @wait: readers and pollers; woken with shirq_notify()
 * @ladder: work of a quarantine that needs process context
 * @reopen: timer that unmasks the line
 * @look: runs on the CPU that takes the line's interrupts, to see whether other work
 *	gets to run there
 * @revival: while the core has given the line up, looks whether it works again
 * @absent: polls a device that is @gone, or in error recovery; see lifecycle.c
 *
 * @lock: guards the fields that the interrupt uses, @set to @stats, and serialises
 *	programs and all writes to Command, except those of shirq_restore(), which
 *	repairs a race itself. Reads without it, as a hint or under @mutex alone, use
 *	READ_ONCE(). Most of these fields change only under @mutex too; the exceptions
 *	are those that claims, masks and reads change, @gone, @storm, the queue and
 *	@stats. The interrupt itself may clear @handling and @armed and set @quarantined.
 * @set: the loaded set, or NULL
 * @eventfd: signalled with the waiters, or NULL
 * @dma: the watched address space for which bus mastering is on, or NULL
 * @quiesce: the settings of SHIRQ_SET_QUIESCE
 * @requested: the handler is registered, or about to be
 * @irq: the registered interrupt number: that of @pdev may change while the kernel
 *	enables it
 * @irqflags: flags with which the handler is registered
 * @handling: the handler claims interrupts: from before it is registered until the
 *	device is stopped
 * @armed: user space may mask, unmask and wait: from after the handler is registered
 * @auto_unmask: read() unmasks
 * @masked: the device is masked until @seq is unmasked
 * @owner_masked: SHIRQ_MASK has masked the device
 * @held: an interrupt was claimed while the owner masked; its event is queued when @seq
 *	is unmasked
 * @held_ns: time of that claim; its captured registers are in @captured
 * @intx_off: DisINTx was set by SHIRQ_MASK, because no mask program is loaded
 * @life: enum shirq_life, changed by lifecycle.c alone
 * @quarantined: the device stormed, or the handler only watches the line; ended only by
 *	SHIRQ_ARM and close()
 * @gone: SHIRQ_DEAD, or a program found all-ones; all calls of user space fail, but the
 *	handler goes on
 * @epoch: counts disarms, so that a reader notices that the device was disarmed
 *	meanwhile
 * @head: events queued, ever
 * @tail: events taken from the queue or dropped at disarm, ever
 * @seq: of the last claim or SHIRQ_MASK
 * @delivered: the last @seq that read() delivered
 * @reader: the thread that got @delivered, or NULL; see shirq_reader()
 * @lost: interrupts that became no event, since armed
 * @regs: registers of the running program
 * @captured: r0..r3 at the claim of the irq program
 * @storm: see there
 * @stats: see there
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

	/* at the pace of system calls */
	struct mutex		mutex;
	struct address_space	*mapping;
	unsigned long		generation;
	struct shirq_event	*queue;
	bool			neighbour;
	bool			leaving;
	bool			recovering;
	bool			recovered;
	unsigned long		recover_by;

	/* readers and workers */
	wait_queue_head_t	wait;
	struct work_struct	ladder;
	struct work_struct	reopen;
	struct work_struct	look;
	struct delayed_work	revival;
	struct delayed_work	absent;

	/* the interrupt */
	spinlock_t		lock;
	struct shirq_set	*set;
	struct eventfd_ctx	*eventfd;
	struct shirq_dma	*dma;
	struct shirq_quiesce	quiesce;
	bool			requested;
	bool			handling;
	bool			armed;
	bool			auto_unmask;
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
	struct shirq_storm	storm;
	struct shirq_stats	stats;
};

/* Log a message that an owner can cause at will, rate-limited. */
#define shirq_warn(d, ...)						\
	do {								\
		if (__ratelimit(&(d)->messages))			\
			pci_warn((d)->pdev, __VA_ARGS__);		\
	} while (0)

#endif /* SHIRQ_CORE_H */
