/*
 * The register files of well-known cards, in the description language.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "hw/misc/shirq-presets.h"

#define BENCH \
    "bar0+0x70/32 mark; bar0+0x70/64 mark; bar0+0x74/32 doorbell;"

#define AHCI_PORT(n, status, enable) \
    "bar0+" status "/32[7:0] status[" n "] w1c;" \
    "bar0+" enable "/32[7:0] enable[" n "];"

static const struct {
    const char *name;
    const char *text;
} presets[] = {
    { "edu",
      "bar0+0x00/32 const=0x020000ed;"
      "bar0+0x04/32 liveness;"
      "bar0+0x08/32 factorial;"
      "bar0+0x24/32 status ro;"
      "bar0+0x28/32 mask;"
      "bar0+0x2c/32 active;"
      "bar0+0x60/32 status w1s wo;"
      "bar0+0x64/32 status w1c wo;"
      "bar0+0x68/32 mask w1s wo;"
      "bar0+0x6c/32 mask w1c wo;"
      BENCH },
    { "plx9050",
      "bar0+0x4c/32[0] enable[0];"          /* INTCSR */
      "bar0+0x4c/32[1] scratch0[0];"
      "bar0+0x4c/32[2] status[0] ro;"
      "bar0+0x4c/32[3] enable[1];"
      "bar0+0x4c/32[4] scratch0[1];"
      "bar0+0x4c/32[5] status[1] ro;"
      "bar0+0x4c/32[6] gate;"
      "bar0+0x4c/32[7] status[2];"
      "bar0+0x100/32[1:0] status w1c;"      /* the card's own logic */
      BENCH },
    { "e1000-like",
      "bar0+0xc0/32[30:0] status w1c rc;"   /* ICR */
      "bar0+0xc0/32[31] any;"
      "bar0+0xc8/32[30:0] status w1s wo;"   /* ICS */
      "bar0+0xd0/32[30:0] enable w1s;"      /* IMS */
      "bar0+0xd8/32[30:0] enable w1c wo;"   /* IMC */
      BENCH },
    { "rtl8139-like",
      "bar1+0x3c/16 enable;"                /* IMR */
      "bar1+0x3e/16 status w1c;"            /* ISR */
      BENCH },
    { "nvme-like",
      "bar0+0x0c/32 mask w1s =0;"           /* INTMS */
      "bar0+0x10/32 mask w1c;"              /* INTMC */
      "bar0+0x14/32[0] gate;"               /* CC.EN */
      "bar0+0x14/32[31:1] scratch0;"
      "bar0+0x1004/32[0] status[0] wc wo;"  /* CQ0HDBL */
      "bar0+0x100c/32[0] status[1] wc wo;"  /* CQ1HDBL */
      BENCH },
    { "ahci-like",
      "bar0+0x04/32[1] gate;"               /* GHC.IE */
      "bar0+0x04/32[31] const=1;"           /* GHC.AE */
      "bar0+0x08/32[3:0] summary w1c group=8;"  /* IS */
      "bar0+0x0c/32 const=0xf;"             /* PI */
      AHCI_PORT("0", "0x110", "0x114")
      AHCI_PORT("8", "0x190", "0x194")
      AHCI_PORT("16", "0x210", "0x214")
      AHCI_PORT("24", "0x290", "0x294")
      BENCH },
    { "pcnet-like",
      "bar1+0x10/16 data;"                  /* RDP */
      "bar1+0x12/16 index;"                 /* RAP */
      "ind+0/16[5:0] scratch0;"             /* CSR0 */
      "ind+0/16[6] gate;"
      "ind+0/16[7] any;"
      "ind+0/16[14:8] status[8] w1c;"
      "ind+3/16[14:8] mask[8] =0;"          /* CSR3 */
      BENCH },
};

const char *shirq_preset(const char *name)
{
    int i;

    for (i = 0; i < ARRAY_SIZE(presets); i++) {
        if (!strcmp(presets[i].name, name)) {
            return presets[i].text;
        }
    }
    return NULL;
}

char *shirq_preset_names(void)
{
    GString *names = g_string_new(presets[0].name);
    int i;

    for (i = 1; i < ARRAY_SIZE(presets); i++) {
        g_string_append_printf(names, ", %s", presets[i].name);
    }
    return g_string_free(names, false);
}
