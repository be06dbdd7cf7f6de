/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tracepoints shirq:*, one at each step of an interrupt. All are hit under the device's
 * lock, so they are recorded in the order in which the steps happened.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM shirq

#if !defined(SHIRQ_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define SHIRQ_TRACE_H

#include <linux/tracepoint.h>

#include "core.h"

DECLARE_EVENT_CLASS(shirq_device,
		    TP_PROTO(const struct shirq_device *d),
		    TP_ARGS(d),
		    TP_STRUCT__entry(__field(int, domain)
				     __field(u16, function)
				     __field(u64, seq)
				     __field(bool, masked)),
		    TP_fast_assign(__entry->domain = pci_domain_nr(d->pdev->bus);
				   __entry->function = pci_dev_id(d->pdev);
				   __entry->seq = d->seq;
				   __entry->masked = d->masked;),
		    TP_printk("%04x:%02x:%02x.%d seq=%llu masked=%d",
			      __entry->domain, PCI_BUS_NUM(__entry->function),
			      PCI_SLOT(__entry->function), PCI_FUNC(__entry->function),
			      __entry->seq, __entry->masked)
);

/* The handler was called. */
DEFINE_EVENT(shirq_device, shirq_irq, TP_PROTO(const struct shirq_device *d), TP_ARGS(d));
/* The irq program claimed; seq is the number of this claim. */
DEFINE_EVENT(shirq_device, shirq_claim, TP_PROTO(const struct shirq_device *d), TP_ARGS(d));
/* The irq program declined. */
DEFINE_EVENT(shirq_device, shirq_decline, TP_PROTO(const struct shirq_device *d), TP_ARGS(d));
/* The device is masked, by the irq program or SHIRQ_MASK. */
DEFINE_EVENT(shirq_device, shirq_mask, TP_PROTO(const struct shirq_device *d), TP_ARGS(d));
/* The unmask program is about to run. */
DEFINE_EVENT(shirq_device, shirq_unmask, TP_PROTO(const struct shirq_device *d), TP_ARGS(d));

DECLARE_EVENT_CLASS(shirq_source,
		    TP_PROTO(const struct shirq_message *m),
		    TP_ARGS(m),
		    TP_STRUCT__entry(__field(int, domain)
				     __field(u16, function)
				     __field(u16, source)
				     __field(u64, seq)
				     __field(bool, masked)),
		    TP_fast_assign(__entry->domain = pci_domain_nr(m->d->pdev->bus);
				   __entry->function = pci_dev_id(m->d->pdev);
				   __entry->source = m->source;
				   __entry->seq = m->seq;
				   __entry->masked = m->masked;),
		    TP_printk("%04x:%02x:%02x.%d source=%u seq=%llu masked=%d",
			      __entry->domain, PCI_BUS_NUM(__entry->function),
			      PCI_SLOT(__entry->function), PCI_FUNC(__entry->function),
			      __entry->source, __entry->seq, __entry->masked)
);

/* A message came, and became a claim; seq is its number. */
DEFINE_EVENT(shirq_source, shirq_message_claim, TP_PROTO(const struct shirq_message *m),
	     TP_ARGS(m));
/* A message came, and the irq program declined. */
DEFINE_EVENT(shirq_source, shirq_message_decline, TP_PROTO(const struct shirq_message *m),
	     TP_ARGS(m));
/* A message came while its source was masked, and is held. */
DEFINE_EVENT(shirq_source, shirq_message_hold, TP_PROTO(const struct shirq_message *m), TP_ARGS(m));
/* The source is masked by SHIRQ_MASK. */
DEFINE_EVENT(shirq_source, shirq_message_mask, TP_PROTO(const struct shirq_message *m), TP_ARGS(m));
/* The unmask program of the source, if there is one, is about to run. */
DEFINE_EVENT(shirq_source, shirq_message_unmask, TP_PROTO(const struct shirq_message *m),
	     TP_ARGS(m));

DECLARE_EVENT_CLASS(shirq_queue,
		    TP_PROTO(const struct shirq_device *d, const struct shirq_event *event),
		    TP_ARGS(d, event),
		    TP_STRUCT__entry(__field(int, domain)
				     __field(u16, function)
				     __field(u16, type)
				     __field(u64, seq)
				     __field(u64, lost)),
		    TP_fast_assign(__entry->domain = pci_domain_nr(d->pdev->bus);
				   __entry->function = pci_dev_id(d->pdev);
				   __entry->type = event->type;
				   __entry->seq = event->seq;
				   __entry->lost = event->lost;),
		    TP_printk("%04x:%02x:%02x.%d type=%u seq=%llu lost=%llu",
			      __entry->domain, PCI_BUS_NUM(__entry->function),
			      PCI_SLOT(__entry->function), PCI_FUNC(__entry->function),
			      __entry->type, __entry->seq, __entry->lost)
);

/* An event was queued. */
DEFINE_EVENT(shirq_queue, shirq_event,
	     TP_PROTO(const struct shirq_device *d, const struct shirq_event *event),
	     TP_ARGS(d, event));
/* read() has delivered an event. */
DEFINE_EVENT(shirq_queue, shirq_deliver,
	     TP_PROTO(const struct shirq_device *d, const struct shirq_event *event),
	     TP_ARGS(d, event));

/* The device is quarantined, or a further rung was tried. */
TRACE_EVENT(shirq_quarantine,
	    TP_PROTO(const struct shirq_device *d, unsigned int rung),
	    TP_ARGS(d, rung),
	    TP_STRUCT__entry(__field(int, domain)
			     __field(u16, function)
			     __field(u32, reason)
			     __field(u32, rung)),
	    TP_fast_assign(__entry->domain = pci_domain_nr(d->pdev->bus);
			   __entry->function = pci_dev_id(d->pdev);
			   __entry->reason = d->storm.reason;
			   __entry->rung = rung;),
	    TP_printk("%04x:%02x:%02x.%d reason=%u rung=%u",
		      __entry->domain, PCI_BUS_NUM(__entry->function),
		      PCI_SLOT(__entry->function), PCI_FUNC(__entry->function),
		      __entry->reason, __entry->rung)
);

#endif /* SHIRQ_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
