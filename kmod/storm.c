// SPDX-License-Identifier: GPL-2.0-only
/*
 * The storm breaker: keeps a device bound to shirq from occupying a shared line.
 *
 * The handler judges a line by its own calls while the device is masked. Each such call
 * is either for a neighbour, which handles it, or unhandled. The core counts unhandled
 * interrupts, to shut down lines that are stuck (kernel/irq/spurious.c); the breaker
 * acts on that count long before the core does. A window is SHIRQ_WINDOW calls of the
 * handler while the device is masked. The window is a storm if the count grew before
 * more than three quarters of these calls. A neighbour that handles its own interrupts
 * never raises the count, whatever its rate.
 *
 * After a window that is a storm, the irq program runs again, as for any other
 * interrupt. If the program declines, the device is not to blame. If the program
 * claims, this proves that the device storms, and the program has also masked the
 * device. The program never runs without its writes: reading may clear a register, so
 * the values read must be delivered in an event.
 *
 * These are the rungs. A rung is tried when a window after the previous rung is a
 * storm:
 *
 *	in the interrupt	mask again, by the irq program; or by DisINTx, if
 *				SHIRQ_MASK had set it and somebody cleared it
 *				quarantine: bus mastering off, release program, DisINTx
 *	in the worker		D3hot, function-level reset, bus reset
 *
 * The worker takes only the rungs that the owner allows. The line is masked so that the
 * worker gets processor time. The mask lasts only for SHIRQ_LINE_OFF_US: a reset waits
 * for 100 ms and more, and the neighbours must not wait that long. If the line storms
 * again during the reset, the next window masks it again. The core shuts a line down
 * when it has counted more than SHIRQ_CORE_LIMIT unhandled interrupts in
 * SHIRQ_CORE_WINDOW, and counts anew after 100 ms without an unhandled interrupt. So
 * when that limit is near, the mask lasts for SHIRQ_LINE_OFF_LONG_US. The limit is
 * never near if a neighbour on the line is busy enough. Only a window that begins after
 * the end of a rung leads to the next rung. After the last rung the handler declines
 * and does nothing more.
 *
 * A storm may begin within a window. So the device is masked again within 2 windows, it
 * is quarantined within 3, and the line is masked within 4, which is fewer than 5,000
 * calls.
 *
 * The irq program of a device that asserts may decline, because it does not look at all
 * sources. The breaker blames such a device by evidence. After every SHIRQ_WINDOW
 * unhandled interrupts of the line it asks a device that declines for Interrupt Status. If
 * the device asserts, and its program declines once more, the device is quarantined. A
 * device that is masked at that time is masked by DisINTx as well. Devices older than PCI
 * 2.3 have no Interrupt Status.
 *
 * An acknowledging device claims every interrupt of its storm, so the core counts none
 * as unhandled. The breaker judges it only by its rate, over SHIRQ_RATE_WINDOW claims.
 * The device is quarantined within 2 of these windows, and the line is masked one
 * SHIRQ_WINDOW later. The same holds for a device with a ring, in addition: its owner can
 * unmask without a call, as fast as it likes.
 *
 * A released device is watched in the same way, until the line was idle for a moment. A
 * storm proves that the next rung is needed.
 *
 * With the kernel parameter noirqdebug the core counts nothing, and only
 * acknowledging devices are watched.
 */
#include <linux/interrupt.h>
#include <linux/irq.h>
#include <linux/irqdesc.h>
#include <linux/workqueue.h>

#include "event.h"
#include "hw.h"
#include "source.h"
#include "storm.h"
#include "trace.h"

/**
 * shirq_quarantine() - silence a device that stormed, and notify its owner
 * @d: the device, @lock held, with an owner and a set
 * @reason: reason for the quarantine
 * @captured: r0..r3 at the claim that proved the storm, or NULL
 */
void shirq_quarantine(struct shirq_device *d, enum shirq_quarantine reason, const u64 *captured)
{
	lockdep_assert_held(&d->lock);
	d->quarantined = true;
	shirq_clear_master(d);
	shirq_stop(d);
	shirq_window_clear(&d->storm.window);
	d->storm.due = false;
	d->storm.reason = reason;
	d->storm.rung = SHIRQ_RUNG_RELEASED;
	switch (reason) {
	case SHIRQ_QUARANTINE_MASKED:
		d->stats.storms_masked++;
		break;
	case SHIRQ_QUARANTINE_RATE:
		d->stats.storms_rate++;
		break;
	case SHIRQ_QUARANTINE_DECLINED:
		d->stats.storms_declined++;
		break;
	case SHIRQ_QUARANTINE_OTHER_LINE:
		d->stats.storms_elsewhere++;
		break;
	}
	trace_shirq_quarantine(d, d->storm.rung);
	shirq_notice(d, SHIRQ_EVENT_QUARANTINED, reason, captured);
	queue_work(system_highpri_wq, &d->ladder);
}

/*
 * Hold an interrupt of a device that SHIRQ_MASK has masked: its event is queued when the
 * owner unmasks with the number that SHIRQ_MASK returned. This claim does not prove a
 * storm of the device: the program may have run only because a neighbour stormed.
 */
static void shirq_hold(struct shirq_device *d, u64 time_ns)
{
	/* If @held is set, a decline came in between: two claims in a row would quarantine. */
	shirq_lose_held(d);
	d->held = true;
	d->held_ns = time_ns;
}

/* Return: true if the interrupt came from this device. */
static bool shirq_mask_again(struct shirq_device *d, u64 time_ns)
{
	u64 *captured = d->captured;

	/* Restore the mask of SHIRQ_MASK. This is not an interrupt for the owner. */
	if (d->intx_off && shirq_disintx_again(d)) {
		d->stats.remasks++;
		return false;
	}
	switch (shirq_run_set(d, SHIRQ_PROGRAM_IRQ, captured)) {
	case SHIRQ_CLAIMED:
		break;
	case SHIRQ_GONE:
		shirq_lose(d);
		return false;
	default:
		d->storm.strikes = 0;
		/*
		 * A source that the program does not know may assert: mask it too, until
		 * the device is unmasked. That proves nothing yet: Interrupt Status may
		 * show sources that are masked.
		 */
		if (shirq_asserts(d) && shirq_disintx_again(d)) {
			d->intx_off = true;
			d->stats.remasks++;
		}
		return false;
	}
	if (++d->storm.strikes > 1) {
		shirq_quarantine(d, SHIRQ_QUARANTINE_MASKED, captured);
	} else {
		d->stats.remasks++;
		if (d->owner_masked)
			shirq_hold(d, time_ns);
		else
			shirq_claim(d, time_ns, captured);
	}
	return true;
}

static void shirq_close_line(struct shirq_device *d)
{
	d->storm.line_off = true;
	d->stats.line_off++;
	disable_irq_nosync(d->irq);
	d->storm.due = true;
	queue_work(system_highpri_wq, &d->ladder);
	queue_work(system_highpri_wq, &d->reopen);
}

/**
 * shirq_storm_silent() - handle an interrupt that came while masked or quarantined
 * @d: the device, handler registered
 * @time_ns: time of the interrupt
 *
 * Context: interrupt, @lock held.
 * Return: true if the interrupt came from this device.
 */
bool shirq_storm_silent(struct shirq_device *d, u64 time_ns)
{
	struct shirq_storm *storm = &d->storm;

	lockdep_assert_held(&d->lock);
	d->stats.silent++;
	if (storm->rung == SHIRQ_RUNG_FAILED ||
	    !shirq_window_call(&storm->window, READ_ONCE(storm->desc->irqs_unhandled)))
		return false;
	/* Mask again, by the irq program: SHIRQ_MASK may have masked by other means. */
	if (!d->quarantined && !pci_channel_offline(d->pdev))
		return shirq_mask_again(d, time_ns);
	if (!shirq_disintx_again(d))
		shirq_close_line(d);
	return false;
}

/**
 * shirq_storm_claimed() - record a claim, and quarantine if claims come too fast
 * @d: the device, not masked
 * @time_ns: time of the interrupt
 * @captured: r0..r3 at the claim
 *
 * Context: interrupt, @lock held.
 */
void shirq_storm_claimed(struct shirq_device *d, u64 time_ns, const u64 *captured)
{
	lockdep_assert_held(&d->lock);
	shirq_claim(d, time_ns, captured);
	/* With a ring no call is needed to unmask: nothing but the rate bounds its owner. */
	if ((d->set->mode == SHIRQ_MODE_ACKNOWLEDGES || d->ringing) &&
	    shirq_rate_claim(&d->storm.rate, time_ns, d->quiesce.max_rate))
		shirq_quarantine(d, SHIRQ_QUARANTINE_RATE, captured);
}

/**
 * shirq_storm_blames() - quarantine a device that asserts although its program declined
 * @d: the device, not masked
 * @time_ns: time of the interrupt
 *
 * The device may have asserted after the program has read its registers: the program runs
 * again before its device is blamed.
 *
 * Context: interrupt, @lock held.
 * Return: true if the second run claimed.
 */
bool shirq_storm_blames(struct shirq_device *d, u64 time_ns)
{
	lockdep_assert_held(&d->lock);
	if (!shirq_asserts(d))
		return false;
	switch (shirq_run_set(d, SHIRQ_PROGRAM_IRQ, d->captured)) {
	case SHIRQ_CLAIMED:
		shirq_storm_claimed(d, time_ns, d->captured);
		return true;
	case SHIRQ_GONE:
		shirq_lose(d);
		return false;
	default:
		if (shirq_asserts(d))
			shirq_quarantine(d, SHIRQ_QUARANTINE_DECLINED, NULL);
		return false;
	}
}
