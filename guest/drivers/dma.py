# SPDX-License-Identifier: MIT
"""Memory for a card's DMA, on a machine without an IOMMU: one huge page, whose physical address is known.

A huge page is contiguous, is never swapped and stays where it is. With an IOMMU, use VFIO instead.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import mmap
import os
from pathlib import Path
from typing import Final

import shirq

SIZE: Final = 2 << 20
_MAP_HUGETLB: Final = 0x40000
_COUNT: Final = Path("/proc/sys/vm/nr_hugepages")
_PRESENT: Final = 1 << 63
_FRAME: Final = (1 << 55) - 1


class Memory:
    """`SIZE` bytes of memory: the driver accesses them as `bytes`, the card from the address `physical` on."""

    def __init__(self) -> None:
        """Raises ShirqError if no huge page is available, or if its physical address is not visible."""
        self.bytes = self._map()
        frame = self._frame(ctypes.addressof(ctypes.c_char.from_buffer(self.bytes)))
        self.physical = frame * mmap.PAGESIZE

    @staticmethod
    def _map() -> mmap.mmap:
        flags = mmap.MAP_SHARED | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE | _MAP_HUGETLB
        with contextlib.suppress(OSError):
            return mmap.mmap(-1, SIZE, flags)
        try:
            _COUNT.write_text(str(int(_COUNT.read_text()) + 1))
            return mmap.mmap(-1, SIZE, flags)
        except OSError as error:
            text = "no huge page: see /proc/sys/vm/nr_hugepages, and CONFIG_HUGETLBFS"
            raise shirq.ShirqError(error.errno or errno.ENOMEM, text) from None

    @staticmethod
    def _frame(address: int) -> int:
        fd = os.open("/proc/self/pagemap", os.O_RDONLY)
        try:
            entry = int.from_bytes(os.pread(fd, 8, address // mmap.PAGESIZE * 8), "little")
        finally:
            os.close(fd)
        if not entry & _PRESENT or not entry & _FRAME:
            raise shirq.ShirqError(errno.EPERM, "the physical address of memory is hidden: CAP_SYS_ADMIN is needed")
        return entry & _FRAME
