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

/* What may be done to a device without an owner: nobody's work is lost by a reset of its own. */
#define SHIRQ_RUNGS_UNOWNED	(SHIRQ_QUIESCE_D3HOT | SHIRQ_QUIESCE_FLR)

/**
 * struct shirq_set - the programs of one IRQ source
 * @mode: enum shirq_mode
 * @program: indexed by enum shirq_program_kind; EXEC's place is empty, and MASK
 *	is if the owner has not given it
 */
struct shirq_set {
	u32			mode;
	struct shirq_program	program[SHIRQ_PROGRAM_MASK + 1];
};

/**
 * struct shirq_stats - counted since the device was bound
 * @claims: interrupts that the irq program claimed
 * @declines: interrupts that it declined
 * @silent: interrupts of the line while the device was masked or quarantined:
 *	the neighbours'
 * @events: events queued
 * @lost: interrupts that became no event: the queue was full, or a quarantine came first
 * @masks: SHIRQ_MASK
 * @unmasks: events, and SHIRQ_MASK, that were unmasked
 * @remasks: the line stormed while the device was masked: the irq program ran
 *	again, and claimed; or DisINTx, by which SHIRQ_MASK had masked, was set again
 * @storms_masked: quarantines for SHIRQ_QUARANTINE_MASKED
 * @storms_rate: quarantines for SHIRQ_QUARANTINE_RATE
 * @line_off: times that the line was masked for a rung
 * @rung_d3hot: times that the device was put to D3hot because it stormed
 * @rung_flr: times that it was reset for that
 * @rung_bus: times that its bus was reset for that
 * @rung_failed: times that no rung was left
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
	u64 line_off;
	u64 rung_d3hot;
	u64 rung_flr;
	u64 rung_bus;
	u64 rung_failed;
};

/**
 * enum shirq_rung - how far a quarantined device was silenced
 * @SHIRQ_RUNG_NONE: it is not quarantined, or was gone before it could be silenced
 * @SHIRQ_RUNG_RELEASED: release program, DisINTx, bus mastering off
 * @SHIRQ_RUNG_D3HOT: in D3hot
 * @SHIRQ_RUNG_FLR: function-level reset
 * @SHIRQ_RUNG_BUS: secondary bus reset
 * @SHIRQ_RUNG_FAILED: nothing helped, or nothing more is allowed
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
 * @desc: the line as the core knows it, while the handler is there
 * @window: handler calls while the device should be silent
 * @strikes: windows in a row that were a storm
 * @rate: claims of an acknowledging device
 * @rung: how far the ladder was climbed
 * @reason: enum shirq_quarantine of the last quarantine, 0 if there was none
 * @line_off: it is masked
 * @due: that was for a storm that the last rung did not end
 * @watched: only until the line is free of the device, which is released
 */
struct shirq_storm {
	struct irq_desc		*desc;
	struct shirq_window	window;
	u32			strikes;
	struct shirq_rate	rate;
	enum shirq_rung		rung;
	u32			reason;
	bool			line_off;
	bool			due;
	bool			watched;
};

struct shirq_dma;

/**
 * struct shirq_device - one bound PCI function
 * @dev: the device in class shirq; holds the memory
 * @cdev: its node
 * @pdev: the function; not to be used once SHIRQ_DEAD
 * @bus: its registers for programs
 * @bar: mappings of its BARs, while it has an owner
 * @pristine: its config space before it was woken last, silent: restored after resets
 * @messages: bounds what the device's owner can have logged; see shirq_warn()
 * @irq_name: what /proc/interrupts shows; a folder of /proc too, so without a slash
 *
 * @mutex: guards what changes at the pace of system calls, @mapping to @recover_by
 * @mapping: of that file, to revoke what it maps
 * @generation: counts revocations: an older mapping is void
 * @queue: SHIRQ_QUEUE events, while it has an owner
 * @neighbour: somebody else had the line when the handler was registered
 * @leaving: without an owner, and to be parked as soon as it answers
 * @recovering: it is SHIRQ_PAUSED since its link had an error
 * @recovered: and that is over, but for what is left to @absent
 * @recover_by: in jiffies, when it is given up otherwise
 *
 * @wait: readers and pollers; woken with shirq_notify()
 * @ladder: what a quarantine leaves to process context
 * @reopen: ends the time that the line is masked
 * @look: runs where the line interrupts, to see whether anything else does
 * @absent: looks after a device that is @gone, or in error recovery; see lifecycle.c
 *
 * @lock: guards what the interrupt sees, @set to @stats, and serialises programs
 *	and all writes to Command, but those of shirq_restore(), which sees to it.
 *	What is read without it, as a hint or under @mutex alone, is read with READ_ONCE().
 *	All but what claims, masks and reads change, @gone, @storm, the queue and @stats
 *	change only under @mutex too; the interrupt itself ends @handling and @armed
 *	and sets @quarantined.
 * @set: the loaded set, or NULL
 * @eventfd: signalled with the waiters, or NULL
 * @dma: whose memory the device may master the bus for, or NULL
 * @quiesce: what SHIRQ_SET_QUIESCE set
 * @requested: the handler is registered, or about to be
 * @irq: on which interrupt: that of @pdev may change while the kernel enables it
 * @irqflags: with which flags
 * @handling: the handler claims interrupts: from before it is registered until the
 *	device is stopped
 * @armed: user space may mask, unmask and wait: from after it is registered
 * @auto_unmask: read() unmasks
 * @masked: the device is masked until @seq is unmasked
 * @owner_masked: by SHIRQ_MASK
 * @held: an interrupt was claimed meanwhile; its event comes when @seq is unmasked
 * @held_ns: when that was; what it captured is in @captured
 * @intx_off: DisINTx was set by SHIRQ_MASK, for want of a mask program
 * @life: enum shirq_life, changed by lifecycle.c alone
 * @quarantined: it stormed, or the handler only watches the line; only SHIRQ_ARM and
 *	close() end it
 * @gone: SHIRQ_DEAD, or a program found all-ones; ends what user space may do, and not
 *	what the handler does
 * @epoch: counts disarms: tells a reader that its armed time is over
 * @head: events queued, ever
 * @tail: events taken from the queue or dropped at disarm, ever
 * @seq: of the last claim or SHIRQ_MASK
 * @delivered: the last @seq that read() delivered
 * @reader: to which thread, or NULL; see shirq_reader()
 * @lost: interrupts that became no event, since armed
 * @regs: of the program that runs
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

/* Log what an owner can cause as often as he likes. */
#define shirq_warn(d, ...)						\
	do {								\
		if (__ratelimit(&(d)->messages))			\
			pci_warn((d)->pdev, __VA_ARGS__);		\
	} while (0)

#endif /* SHIRQ_CORE_H */
