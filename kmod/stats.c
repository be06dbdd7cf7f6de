// SPDX-License-Identifier: GPL-2.0-only
/* The sysfs attributes of a device. */
#include "core.h"
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
SHIRQ_STAT(line_off);
SHIRQ_STAT(rung_d3hot);
SHIRQ_STAT(rung_flr);
SHIRQ_STAT(rung_bus);
SHIRQ_STAT(rung_failed);

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
	&dev_attr_line_off.attr,
	&dev_attr_rung_d3hot.attr,
	&dev_attr_rung_flr.attr,
	&dev_attr_rung_bus.attr,
	&dev_attr_rung_failed.attr,
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
	return d->set ? "loaded" : "open";
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
};

static const char *const shirq_rung_names[] = {
	[SHIRQ_RUNG_NONE] = "over",
	[SHIRQ_RUNG_RELEASED] = "released",
	[SHIRQ_RUNG_D3HOT] = "d3hot",
	[SHIRQ_RUNG_FLR] = "flr",
	[SHIRQ_RUNG_BUS] = "bus",
	[SHIRQ_RUNG_FAILED] = "failed",
};

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

static struct attribute *shirq_attrs[] = {
	&dev_attr_state.attr,
	&dev_attr_quarantine.attr,
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
