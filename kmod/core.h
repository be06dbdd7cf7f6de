/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SHIRQ_CORE_H
#define SHIRQ_CORE_H

#include <linux/cdev.h>
#include <linux/device.h>
#include <linux/fs.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/spinlock.h>
#include <linux/wait.h>

#include "program.h"

#define SHIRQ_QUEUE	256	/* events; a power of two */

/**
 * struct shirq_set - the programs of one IRQ source
 * @mode: enum shirq_mode
 * @program: indexed by enum shirq_program_kind, but EXEC
 */
struct shirq_set {
	u32			mode;
	struct shirq_program	program[SHIRQ_PROGRAM_RELEASE + 1];
};

/**
 * struct shirq_stats - counted since the device was bound
 * @claims: interrupts that the irq program claimed
 * @declines: interrupts that it declined
 * @events: events queued
 * @lost: events dropped because the queue was full
 * @unmasks: events that were unmasked
 */
struct shirq_stats {
	u64 claims;
	u64 declines;
	u64 events;
	u64 lost;
	u64 unmasks;
};

/**
 * struct shirq_device - one bound PCI function
 * @dev: the device in class shirq; holds the memory
 * @cdev: its node
 * @pdev: the function; not to be used once @dead
 * @bus: its registers for programs
 * @bar: mappings of its BARs, while it has an owner
 * @pristine: its config space at bind, silent: restored at each open
 * @irq_name: what /proc/interrupts shows; a folder of /proc too, so without a slash
 *
 * @mutex: guards what changes at the pace of system calls, @dead to @neighbour
 * @dead: it was unbound or shut down: nothing may touch it any more
 * @owned: a file is open
 * @mapping: of that file, to revoke what it maps
 * @queue: SHIRQ_QUEUE events, while it has an owner
 * @neighbour: somebody else had the line when it was armed
 *
 * @read_mutex: held while an event is on its way to the reader
 * @wait: readers and pollers; woken when an event is queued, and when @armed
 *	or @gone changes
 *
 * @lock: guards what the interrupt sees, @set to @stats, and serialises programs
 *	and all writes to Command. @set and @armed change only under @mutex too.
 * @set: the loaded set, or NULL
 * @armed: interrupts become events
 * @auto_unmask: read() unmasks
 * @masked: the device is masked for event @seq
 * @gone: @dead, or a program found all-ones
 * @epoch: counts disarms: tells a reader that its armed time is over
 * @head: events queued, ever
 * @tail: events taken from the queue or dropped at disarm, ever
 * @seq: of the last claim
 * @delivered: the last @seq that read() delivered
 * @lost: events dropped since armed
 * @stats: see there
 */
struct shirq_device {
	struct device		dev;
	struct cdev		cdev;
	struct pci_dev		*pdev;
	struct shirq_bus	bus;
	void __iomem		*bar[SHIRQ_BARS];
	struct pci_saved_state	*pristine;
	char			irq_name[32];

	/* at the pace of system calls */
	struct mutex		mutex;
	bool			dead;
	bool			owned;
	struct address_space	*mapping;
	struct shirq_event	*queue;
	bool			neighbour;

	/* readers */
	struct mutex		read_mutex;
	wait_queue_head_t	wait;

	/* the interrupt */
	spinlock_t		lock;
	struct shirq_set	*set;
	bool			armed;
	bool			auto_unmask;
	bool			masked;
	bool			gone;
	u32			epoch;
	u32			head;
	u32			tail;
	u64			seq;
	u64			delivered;
	u64			lost;
	struct shirq_stats	stats;
};

/* main.c */
int shirq_unpark(struct shirq_device *d);
void shirq_park(struct shirq_device *d);

/* file.c */
extern const struct file_operations shirq_fops;

/* irq.c */
bool shirq_has_line(const struct shirq_device *d);
int shirq_check(const struct shirq_device *d);
int shirq_load(struct shirq_device *d, struct shirq_set *set);
int shirq_arm(struct shirq_device *d, u32 flags);
void shirq_silence(struct shirq_device *d);
int shirq_unmask(struct shirq_device *d, u64 seq);
int shirq_unmask_delivered(struct shirq_device *d, u32 *epoch);
int shirq_exec(struct shirq_device *d, const struct shirq_program *program, u64 *regs);
void shirq_set_disintx(struct shirq_device *d, bool on);
void shirq_set_gone(struct shirq_device *d);

#endif /* SHIRQ_CORE_H */
