# SPDX-License-Identifier: MIT
"""What is built once and cached: QEMU, kernels, the module, the guest's image."""
