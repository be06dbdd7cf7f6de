/* SPDX-License-Identifier: MIT */
/*
 * libshirq: the calls of shirq.ko as C functions.
 *
 * Functions that return int return 0, or -1 with errno set as described in
 * kmod/shirq.h.
 */
#ifndef LIBSHIRQ_H
#define LIBSHIRQ_H

#include <stddef.h>
#include <stdint.h>

#include "../../kmod/shirq.h"

/* Operations, as initialisers of struct shirq_op. */
#define SHIRQ_DO_READ(width_, dst_, space_, offset_, flags_) \
	{ .code = SHIRQ_OP_READ, .dst = (dst_), .width = (width_), .space = (space_), \
	  .flags = (flags_), .imm = (offset_) }
#define SHIRQ_DO_WRITE(width_, space_, offset_, src_, flags_) \
	{ .code = SHIRQ_OP_WRITE, .src = (src_), .width = (width_), .space = (space_), \
	  .flags = (flags_), .imm = (offset_) }
#define SHIRQ_DO_CONST(code_, dst_, constant_) \
	{ .code = (code_), .dst = (dst_), .imm = (constant_) }
#define SHIRQ_DO_REG(code_, dst_, src_) \
	{ .code = (code_), .dst = (dst_), .src = (src_), .flags = SHIRQ_SRC_REG }
#define SHIRQ_DO_SKIP(code_, src_, skip_) \
	{ .code = (code_), .src = (src_), .skip = (skip_) }
#define SHIRQ_DO_CLAIM		{ .code = SHIRQ_OP_CLAIM }
#define SHIRQ_DO_DECLINE	{ .code = SHIRQ_OP_DECLINE }

/* A set of programs; refused_* are set when shirq_load() fails with EINVAL. */
struct shirq_programs {
	enum shirq_mode mode;
	const struct shirq_op *irq, *unmask, *release;
	size_t irq_count, unmask_count, release_count;
	/* Optional: for shirq_mask(); without a mask program it uses the interrupt-disable bit. */
	const struct shirq_op *mask;
	size_t mask_count;
	enum shirq_program_kind refused_program;
	uint32_t refused_index;
	enum shirq_reason refused_reason;
};

/*
 * Bind the function with this PCI address, such as "0000:00:04.0", to shirq.ko. The function stays bound to its driver
 * if the call fails with ENXIO, because it has no interrupt pin, or with ENODEV, because shirq.ko is not loaded. If
 * shirq.ko refuses the function, the call fails with EIO, and gives the function back to its usual driver.
 */
int shirq_bind(const char *address);

/* Unbind the function, and let the kernel bind it to its usual driver. */
int shirq_unbind(const char *address);

/*
 * Open the device as its owner. Returns a descriptor for read(), poll() and
 * close(), or -1.
 */
int shirq_open(const char *address);

/*
 * Functions without _source are about source 0, the line. Their twins take the number of a source: 0, or from 1 on a
 * message.
 */
int shirq_get_info(int fd, struct shirq_info *info);
int shirq_get_source_info(int fd, uint32_t source, struct shirq_info *info);

/*
 * Use up to *count of the device's messages, MSI-X or MSI, as sources from 1 on, and set *count to how many there are.
 * 0 frees them. Messages need shirq_set_master().
 */
int shirq_set_messages(int fd, uint32_t *count);

int shirq_load(int fd, struct shirq_programs *programs);
int shirq_load_source(int fd, uint32_t source, struct shirq_programs *programs);
int shirq_arm(int fd, uint32_t flags);
int shirq_arm_source(int fd, uint32_t source, uint32_t flags);
int shirq_disarm(int fd);
int shirq_disarm_source(int fd, uint32_t source);
int shirq_unmask(int fd, uint64_t seq);
int shirq_unmask_source(int fd, uint32_t source, uint64_t seq);
int shirq_set_master(int fd, int on);

/* Silence the device; pass seq to shirq_unmask() to undo it. */
int shirq_mask(int fd, uint64_t *seq);
int shirq_mask_source(int fd, uint32_t source, uint64_t *seq);

/* Signal events through an eventfd; -1 for none. */
int shirq_set_eventfd(int fd, int eventfd);
int shirq_set_source_eventfd(int fd, uint32_t source, int eventfd);

/* Set the SHIRQ_QUIESCE_* that a quarantine (rungs) and close() (release) may use; max_rate 0 is the default. */
int shirq_set_quiesce(int fd, uint32_t rungs, uint32_t release, uint32_t max_rate);

/* Make the device a UIO device, SHIRQ_UIO_UNMASK_BY_READ or 0, once it is closed; returns N of /dev/uioN. */
int shirq_add_uio(int fd, const char *name, const char *version, uint32_t flags);

int shirq_remove_uio(int fd);

/* Run a one-shot program; regs are in and out. refused, unless NULL, is set to the call's struct, with its error_*. */
int shirq_exec(int fd, const struct shirq_op *ops, size_t count, uint64_t regs[SHIRQ_REGS],
	       struct shirq_exec *refused);

/*
 * Wait for one event. Returns 0, or -1 with the errno of read(). To wait with a
 * timeout, poll() the descriptor. poll() does not unmask the last event, so call
 * shirq_unmask() before.
 */
int shirq_next(int fd, struct shirq_event *event);

/* Map the whole pages of a memory BAR, and set length. Returns NULL with errno set if the BAR cannot be mapped. */
volatile void *shirq_map(int fd, unsigned int bar, size_t *length);

/* One access of width bytes (1, 2, 4, 8) to any BAR, serialised with the programs. */
int shirq_pread(int fd, unsigned int bar, uint64_t offset, unsigned int width, uint64_t *value);
int shirq_pwrite(int fd, unsigned int bar, uint64_t offset, unsigned int width, uint64_t value);

/*
 * Barriers that order memory accesses against register accesses. A store to a register
 * often makes the device read memory, and the value of a register often says that the
 * device has written memory: neither the compiler nor the processor may reorder
 * accesses across these barriers.
 */
#if defined(__x86_64__) || defined(__i386__)
#define SHIRQ_DMA_RMB()	__asm__ volatile("" : : : "memory")
#define SHIRQ_DMA_WMB()	__asm__ volatile("" : : : "memory")
#elif defined(__aarch64__)
#define SHIRQ_DMA_RMB()	__asm__ volatile("dmb oshld" : : : "memory")
#define SHIRQ_DMA_WMB()	__asm__ volatile("dmb oshst" : : : "memory")
#elif defined(__riscv)
#define SHIRQ_DMA_RMB()	__asm__ volatile("fence i, r" : : : "memory")
#define SHIRQ_DMA_WMB()	__asm__ volatile("fence w, o" : : : "memory")
#elif defined(__arm__) && __ARM_ARCH >= 7
#define SHIRQ_DMA_RMB()	__asm__ volatile("dmb osh" : : : "memory")
#define SHIRQ_DMA_WMB()	__asm__ volatile("dmb oshst" : : : "memory")
#elif defined(__powerpc__)
#define SHIRQ_DMA_RMB()	__asm__ volatile("sync" : : : "memory")
#define SHIRQ_DMA_WMB()	__asm__ volatile("sync" : : : "memory")
#elif defined(__loongarch__)
#define SHIRQ_DMA_RMB()	__asm__ volatile("dbar 0" : : : "memory")
#define SHIRQ_DMA_WMB()	__asm__ volatile("dbar 0" : : : "memory")
#else
/* The strongest barrier that the compiler has. */
#define SHIRQ_DMA_RMB()	__sync_synchronize()
#define SHIRQ_DMA_WMB()	__sync_synchronize()
#endif

/* Convert a little-endian register to a number, and the other way round. */
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define SHIRQ_LITTLE(bits, value) \
	((bits) == 8 ? (value) : (bits) == 16 ? __builtin_bswap16(value) : \
	 (bits) == 32 ? __builtin_bswap32(value) : __builtin_bswap64(value))
#else
#define SHIRQ_LITTLE(bits, value)	(value)
#endif

/*
 * Load or store a little-endian register in a mapped BAR, with one access. Memory reads
 * after shirq_read*() happen after the access to the register; memory writes before
 * shirq_write*() are visible to the device when the access reaches it.
 */
#define SHIRQ_ACCESSORS(bits) \
	static inline uint##bits##_t shirq_read##bits(const volatile void *bar, size_t offset) \
	{ \
		uint##bits##_t value = \
			*(const volatile uint##bits##_t *)((const volatile char *)bar + offset); \
\
		SHIRQ_DMA_RMB(); \
		return SHIRQ_LITTLE(bits, value); \
	} \
	static inline void shirq_write##bits(volatile void *bar, size_t offset, uint##bits##_t value) \
	{ \
		SHIRQ_DMA_WMB(); \
		*(volatile uint##bits##_t *)((volatile char *)bar + offset) = \
			SHIRQ_LITTLE(bits, value); \
	}

SHIRQ_ACCESSORS(8)
SHIRQ_ACCESSORS(16)
SHIRQ_ACCESSORS(32)
SHIRQ_ACCESSORS(64)

/* A mapped ring: see struct shirq_ring. One thread at a time uses it. */
struct shirq_events {
	int fd;
	const struct shirq_ring *ring;
	struct shirq_consumer *consumer;
	volatile void *bar;	/* that of the register by which to unmask; NULL: there is none */
	size_t bar_length;
	uint32_t tail;		/* number of events taken */
};

/*
 * Map the ring of a device that was armed with SHIRQ_ARM_RING, also if it was stopped since then. If the device is
 * stopped, its registers are unmapped: unmap and map the ring anew after the next shirq_arm(). shirq_ring_unmask() gets
 * SIGBUS if the device is stopped during the call.
 */
int shirq_ring_map(int fd, struct shirq_events *events);
int shirq_ring_unmap(struct shirq_events *events);

/* Take the next event. Returns whether there was one. Makes no system call, and unmasks nothing. */
static inline int shirq_ring_next(struct shirq_events *events, struct shirq_event *event)
{
	if (__atomic_load_n(&events->ring->head, __ATOMIC_ACQUIRE) == events->tail)
		return 0;
	*event = events->ring->event[events->tail % SHIRQ_RING_EVENTS];
	__atomic_store_n(&events->consumer->tail, ++events->tail, __ATOMIC_RELEASE);
	return 1;
}

/*
 * Let the device assert again after an event, by a store if there is a register for it, otherwise by shirq_unmask().
 * Does nothing if seq is not the last claim. Fails as SHIRQ_UNMASK does if the device is not armed any more. After a
 * loss, pass the ring's seq.
 */
static inline int shirq_ring_unmask(struct shirq_events *events, uint64_t seq)
{
	/* A device that was stopped must stay silent: the call says that it was. */
	if (!events->bar || __atomic_load_n(&events->ring->state, __ATOMIC_RELAXED) != SHIRQ_RING_ARMED)
		return shirq_unmask(events->fd, seq);
	if (__atomic_load_n(&events->ring->seq, __ATOMIC_RELAXED) != seq)
		return 0;
	__atomic_store_n(&events->consumer->unmasked, seq, __ATOMIC_RELEASE);
	shirq_write32(events->bar, events->ring->store_offset, events->ring->store_value);
	return 0;
}

/*
 * Wait until there is an event: look for one for spin_ns nanoseconds, then sleep for timeout_ns at most (UINT64_MAX: no
 * limit). Unmasks nothing. Returns 0, or -1 with the errno of SHIRQ_WAIT.
 */
int shirq_wait(struct shirq_events *events, uint64_t spin_ns, uint64_t timeout_ns);

#endif /* LIBSHIRQ_H */
