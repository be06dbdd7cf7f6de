# SPDX-License-Identifier: MIT
"""Builds and caches QEMU, kernels, the module and the guest's image."""
