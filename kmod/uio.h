/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SHIRQ_UIO_H
#define SHIRQ_UIO_H

#include "core.h"

int shirq_uio_add(struct shirq_device *d, struct shirq_uio *request);
int shirq_uio_remove(struct shirq_device *d);

#endif /* SHIRQ_UIO_H */
