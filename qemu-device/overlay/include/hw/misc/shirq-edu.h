/*
 * The interface of the device for schedules.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_MISC_SHIRQ_EDU_H
#define HW_MISC_SHIRQ_EDU_H

/*
 * The property @name, which can change while the VM runs, and @text as its
 * value; -1 with an error if there is none, or no such value.
 */
int shirq_edu_parse_setting(const char *name, const char *text,
                            uint64_t *value, Error **errp);

#endif
