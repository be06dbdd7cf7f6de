# SPDX-License-Identifier: MIT
"""compat.h makes one kernel of many: what the module uses exists once in each, also where an update has brought it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from shirq_bench.paths import need_checkout

KMOD = need_checkout("compiling the module's compat.h") / "kmod"

#: What every kernel has, as far as compat.h uses it.
_KERNEL = r"""
#include <stdbool.h>
#include <stddef.h>
#define __user
#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + (c))
#define IS_ENABLED(option) 1
#define READ_ONCE(x) (x)
#define TASK_INTERRUPTIBLE 1
#define ENOTTY 25
#define SET_SYSTEM_SLEEP_PM_OPS(suspend, resume) .on = (suspend)
#define SET_NOIRQ_SYSTEM_SLEEP_PM_OPS(suspend, resume) .noirq = (resume)
typedef int clockid_t;
enum hrtimer_restart { HRTIMER_NORESTART };
enum hrtimer_mode { HRTIMER_MODE_REL };
struct hrtimer { enum hrtimer_restart (*function)(struct hrtimer *timer); };
struct task_struct { int on_rq; unsigned int STATE; };
struct vm_area_struct { unsigned long vm_flags; };
struct pci_dev;
struct eventfd_ctx;
struct iovec { void *iov_base; size_t iov_len; };
struct iov_iter { size_t count; };
struct dev_pm_ops { int (*on)(void), (*noirq)(void); };
void hrtimer_init(struct hrtimer *timer, clockid_t clock, enum hrtimer_mode mode);
void eventfd_signal(struct eventfd_ctx *eventfd, int n);
bool pcie_has_flr(struct pci_dev *pdev);
int pcie_flr(struct pci_dev *pdev);
int put_user(char value, char *to);
bool iter_is_iovec(const struct iov_iter *iter);
size_t iov_iter_count(const struct iov_iter *iter);
struct iovec iov_iter_iovec(const struct iov_iter *iter);
void iov_iter_truncate(struct iov_iter *iter, size_t size);
void iov_iter_advance(struct iov_iter *iter, size_t size);
"""
_USES = r"""
#include "compat.h"
static int nothing(void) { return 0; }
static const struct dev_pm_ops ops = {
    SYSTEM_SLEEP_PM_OPS(nothing, nothing),
    NOIRQ_SYSTEM_SLEEP_PM_OPS(NULL, nothing)
};
const struct dev_pm_ops *pm(void) { return pm_sleep_ptr(&ops); }
size_t once(char *user) { return fault_in_subpage_writeable(user, 64); }
size_t each(struct iov_iter *iter) { return fault_in_iov_iter_writeable(iter, 64); }
"""
_RENAMED = r"""
size_t fault_in_writeable(char *user, size_t size);
size_t fault_in_iov_iter_writeable(const struct iov_iter *iter, size_t size);
"""
_SLEEP = r"""
#define pm_sleep_ptr(ops) (ops)
#define SYSTEM_SLEEP_PM_OPS SET_SYSTEM_SLEEP_PM_OPS
#define NOIRQ_SYSTEM_SLEEP_PM_OPS SET_NOIRQ_SYSTEM_SLEEP_PM_OPS
"""
#: What no update of an old kernel has brought yet.
_NEWER = r"""
static inline void hrtimer_setup(struct hrtimer *timer, enum hrtimer_restart (*function)(struct hrtimer *timer),
                                 clockid_t clock, enum hrtimer_mode mode) { }
static inline void vm_flags_set(struct vm_area_struct *vma, unsigned long flags) { }
static inline void vm_flags_clear(struct vm_area_struct *vma, unsigned long flags) { }
int pcie_reset_flr(struct pci_dev *pdev, bool probe);
"""
#: What differs, by version. The updates of 5.10 and 5.15 have brought some of it to these kernels.
_OWN = {
    (5, 10, 0): "int fault_in_pages_writeable(char *user, int size);",
    (5, 10, 250): "int fault_in_pages_writeable(char *user, int size);" + _SLEEP,
    (5, 10, 999): "int fault_in_pages_writeable(char *user, int size);" + _SLEEP + _NEWER,
    (5, 15, 0): "int fault_in_pages_writeable(char *user, int size);",
    (5, 15, 100): _RENAMED,
    (5, 16, 0): _RENAMED,
    (5, 18, 0): _RENAMED + _SLEEP,
    (5, 19, 0): _RENAMED + _SLEEP + "size_t fault_in_subpage_writeable(char *user, size_t size);",
}


@pytest.mark.parametrize("version", _OWN, ids=lambda version: ".".join(map(str, version)))
def test_what_is_used_exists_once_in_every_kernel(tmp_path: Path, version: tuple[int, int, int]) -> None:
    """The headers are stubs with the declarations of these kernels; the code is compiled, not linked."""
    for name in re.findall(r"(?m)^#include <(.+)>$", (KMOD / "compat.h").read_text()):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    state = "__state" if version >= (5, 14, 0) else "state"
    code = f"#define LINUX_VERSION_CODE KERNEL_VERSION({', '.join(map(str, version))})\n"
    (tmp_path / "kernel.h").write_text(_KERNEL.replace("STATE", state) + code + _OWN[version])
    (tmp_path / "uses.c").write_text(_USES)
    compiled = subprocess.run(
        ["gcc", "-fsyntax-only", "-Wall", "-Werror", "-I", KMOD, "-I", tmp_path, "-include", "kernel.h", "uses.c"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert compiled.returncode == 0, compiled.stderr
