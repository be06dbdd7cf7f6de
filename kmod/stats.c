// SPDX-License-Identifier: GPL-2.0-only
/* The sysfs attributes of a device. */
#include <linux/interrupt.h>
#include <linux/irq.h>
#include <linux/math64.h>

#include "hw.h"
#include "stats.h"

static struct shirq_device *shirq_of(struct device *dev)
{
	return container_of(dev, struct shirq_device, dev);
}

static ssize_t shirq_stat_show(struct device *dev, size_t offset, char *buf)
{
	struct shirq_device *d = shirq_of(dev);
	u64 value;

	spin_lock_irq(&d->lock);
	value = *(u64 *)((char *)&d->stats + offset);
	spin_unlock_irq(&d->lock);
	return sysfs_emit(buf, "%llu\n", value);
}

#define SHIRQ_STAT(_name)								\
static ssize_t _name##_show(struct device *dev, struct device_attribute *attr, char *buf) \
{											\
	return shirq_stat_show(dev, offsetof(struct shirq_stats, _name), buf);		\
}											\
static DEVICE_ATTR_RO(_name)

SHIRQ_STAT(claims);
SHIRQ_STAT(declines);
SHIRQ_STAT(silent);
SHIRQ_STAT(events);
SHIRQ_STAT(lost);
SHIRQ_STAT(masks);
SHIRQ_STAT(unmasks);
SHIRQ_STAT(remasks);
SHIRQ_STAT(storms_masked);
SHIRQ_STAT(storms_rate);
SHIRQ_STAT(storms_declined);
SHIRQ_STAT(storms_elsewhere);
SHIRQ_STAT(line_off);
SHIRQ_STAT(rung_d3hot);
SHIRQ_STAT(rung_flr);
SHIRQ_STAT(rung_bus);
SHIRQ_STAT(rung_failed);
SHIRQ_STAT(line_given_up);

static struct attribute *shirq_stats_attrs[] = {
	&dev_attr_claims.attr,
	&dev_attr_declines.attr,
	&dev_attr_silent.attr,
	&dev_attr_events.attr,
	&dev_attr_lost.attr,
	&dev_attr_masks.attr,
	&dev_attr_unmasks.attr,
	&dev_attr_remasks.attr,
	&dev_attr_storms_masked.attr,
	&dev_attr_storms_rate.attr,
	&dev_attr_storms_declined.attr,
	&dev_attr_storms_elsewhere.attr,
	&dev_attr_line_off.attr,
	&dev_attr_rung_d3hot.attr,
	&dev_attr_rung_flr.attr,
	&dev_attr_rung_bus.attr,
	&dev_attr_rung_failed.attr,
	&dev_attr_line_given_up.attr,
	NULL
};

static const struct attribute_group shirq_stats_group = {
	.name = "stats",
	.attrs = shirq_stats_attrs,
};

/*
 * State and quarantine in a word or two, for tools that look for the device that
 * asserts a line.
 */

static const char *shirq_state_name(const struct shirq_device *d)
{
	const struct shirq_message *m;
	bool loaded = d->set;

	lockdep_assert_held(&d->lock);
	if (!(d->life & SHIRQ_OWNED))
		return "parked";
	if (d->gone)
		return "gone";
	if (d->life & SHIRQ_PAUSED)
		return "paused";
	if (d->quarantined)
		return "quarantined";
	if (d->armed)
		return d->masked ? "masked" : "armed";
	if (d->messages_armed)
		return "armed";
	shirq_for_each_message(m, d)
		loaded = loaded || m->set;
	return loaded ? "loaded" : "open";
}

static ssize_t state_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct shirq_device *d = shirq_of(dev);
	const char *name;

	spin_lock_irq(&d->lock);
	name = shirq_state_name(d);
	spin_unlock_irq(&d->lock);
	return sysfs_emit(buf, "%s\n", name);
}
static DEVICE_ATTR_RO(state);

static const char *const shirq_reasons[] = {
	[0] = "none",
	[SHIRQ_QUARANTINE_MASKED] = "masked",
	[SHIRQ_QUARANTINE_RATE] = "rate",
	[SHIRQ_QUARANTINE_DECLINED] = "declined",
	[SHIRQ_QUARANTINE_OTHER_LINE] = "other-line",
};

static const char *const shirq_rung_names[] = {
	[SHIRQ_RUNG_NONE] = "over",
	[SHIRQ_RUNG_RELEASED] = "released",
	[SHIRQ_RUNG_D3HOT] = "d3hot",
	[SHIRQ_RUNG_FLR] = "flr",
	[SHIRQ_RUNG_BUS] = "bus",
	[SHIRQ_RUNG_FAILED] = "failed",
};

/* Return the state of the line of a device without a handler. */
static const char *shirq_line_name(const struct shirq_device *d)
{
	if (!shirq_has_line(d))
		return "none";
	if (!irq_has_action(shirq_line(d)))
		return "unused";
	return irqd_irq_disabled(irq_get_irq_data(shirq_line(d))) ? "disabled" : "on";
}

/* Show the last quarantine: its reason, and its last rung or "over". */
static ssize_t quarantine_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct shirq_device *d = shirq_of(dev);
	enum shirq_rung rung;
	u32 reason;

	spin_lock_irq(&d->lock);
	reason = d->storm.reason;
	rung = d->storm.rung;
	spin_unlock_irq(&d->lock);
	if (!reason)
		return sysfs_emit(buf, "none\n");
	return sysfs_emit(buf, "%s %s\n", shirq_reasons[reason], shirq_rung_names[rung]);
}
static DEVICE_ATTR_RO(quarantine);

/*
 * The line: "none", "unused" (no handler), "on", "off SECONDS" (the core has given it up;
 * since when, by CLOCK_MONOTONIC), or "disabled" (by the core or by a driver, seen from a
 * device without a handler).
 */
static ssize_t line_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct shirq_device *d = shirq_of(dev);
	bool requested, given_up;
	u64 since_us;

	spin_lock_irq(&d->lock);
	requested = d->requested;
	given_up = d->storm.given_up;
	since_us = div_u64(d->storm.polled_ns, NSEC_PER_USEC);
	spin_unlock_irq(&d->lock);
	if (given_up) {
		u32 us;
		u64 s = div_u64_rem(since_us, USEC_PER_SEC, &us);

		return sysfs_emit(buf, "off %llu.%06u\n", s, us);
	}
	return sysfs_emit(buf, "%s\n", requested ? "on" : shirq_line_name(d));
}
static DEVICE_ATTR_RO(line);

static struct attribute *shirq_attrs[] = {
	&dev_attr_state.attr,
	&dev_attr_quarantine.attr,
	&dev_attr_line.attr,
	NULL
};

static const struct attribute_group shirq_group = {
	.attrs = shirq_attrs,
};

const struct attribute_group *shirq_groups[] = {
	&shirq_group,
	&shirq_stats_group,
	NULL
};
