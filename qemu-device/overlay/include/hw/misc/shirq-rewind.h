/*
 * Rewinding: a VM returns to a savepoint inside its own process.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_MISC_SHIRQ_REWIND_H
#define HW_MISC_SHIRQ_REWIND_H

#include "migration/vmstate.h"

/*
 * True while a savepoint's state is being loaded. RAM is restored page by page
 * then, and the translations of each changed page are dropped with it.
 */
extern bool shirq_rewinding;

/*
 * State that no migration carries, because it belongs to the process: a part of
 * every savepoint from now on, loaded before the state of the devices. A
 * description without fields only gets its post_load called, to drop what is
 * under way.
 */
void shirq_rewind_register(const VMStateDescription *vmsd, void *opaque);
void shirq_rewind_unregister(void *opaque);

#endif
