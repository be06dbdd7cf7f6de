/*
 * The interface of the device for schedules.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_MISC_SHIRQ_EDU_H
#define HW_MISC_SHIRQ_EDU_H

/*
 * Look up the run-time property @name and convert @text to its value; -1 with
 * an error if the property or the value is unknown.
 */
int shirq_edu_parse_setting(const char *name, const char *text,
                            uint64_t *value, Error **errp);

#endif
