/*
 * The register files of well-known cards, in the description language.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_MISC_SHIRQ_PRESETS_H
#define HW_MISC_SHIRQ_PRESETS_H

/* The description called @name, or NULL. */
const char *shirq_preset(const char *name);
/* Their names, separated by commas. */
char *shirq_preset_names(void);

#endif
