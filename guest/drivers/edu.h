/* SPDX-License-Identifier: MIT */
/* The shirq-edu device's registers in BAR 0: qemu-device/SPEC.md. */
#ifndef SHIRQ_EDU_H
#define SHIRQ_EDU_H

#define ID		0x00
#define LIVENESS	0x04
#define INT_ENABLE	0x20	/* exists only in zoo cases that describe it */
#define INT_STATUS	0x24
#define INT_MASK	0x28
#define INT_ACTIVE	0x2c
#define INT_RAISE	0x60
#define INT_ACK		0x64
#define INT_MASK_SET	0x68
#define INT_MASK_CLEAR	0x6c
#define MARK		0x70
#define ALL		0xffffffff

#define COUNT(array)	(sizeof(array) / sizeof((array)[0]))

#endif /* SHIRQ_EDU_H */
