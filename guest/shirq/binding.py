# SPDX-License-Identifier: MIT
"""Bind PCI functions to the module and give them back, by driver_override."""

from __future__ import annotations

import contextlib
import errno
import re
from pathlib import Path

from shirq.abi import UIO_NAME
from shirq.errors import ShirqError
from shirq.system import NO_PIN, pin_of

_ADDRESS = re.compile(r"[0-9a-f]{4,}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]")


def check_address(address: str) -> str:
    """Return the address if it is a full PCI address. Raises ValueError."""
    if not _ADDRESS.fullmatch(address):
        raise ValueError(f"{address!r} is no PCI address: write it in full, such as 0000:00:04.0 (lspci -D shows them)")
    return address


def check_uio_name(text: str) -> bytes:
    """Return a name or version of a UIO device as the kernel takes it. Raises ValueError."""
    if not (text.isascii() and text.isprintable() and 0 < len(text) < UIO_NAME):
        raise ValueError(f"{text!r}: a name or version of a UIO device has 1 to {UIO_NAME - 1} characters of ASCII")
    return text.encode()


def _function(address: str, sysfs: Path) -> Path:
    function = sysfs / "bus/pci/devices" / check_address(address)
    if not function.is_dir():
        raise ShirqError(errno.ENODEV, f"there is no PCI function {address} (lspci -D lists them)")
    return function


def bound_driver(address: str, sysfs: Path = Path("/sys")) -> str | None:
    """The name of the driver bound to the function, or None. Raises ShirqError if there is no such function."""
    link = _function(address, sysfs) / "driver"
    return link.readlink().name if link.is_symlink() else None


def _write(path: Path, text: str, doing: str) -> None:
    try:
        path.write_text(text)
    except OSError as error:
        raise ShirqError.explain(error.errno or errno.EIO, doing, {errno.EACCES: "only root may do that"}) from None


def _give_up(address: str, sysfs: Path) -> None:
    driver = bound_driver(address, sysfs)
    if driver is not None:
        _write(_function(address, sysfs) / "driver/unbind", address, f"unbinding {address} from {driver}")


def bind(address: str, driver: str = "shirq", sysfs: Path = Path("/sys")) -> None:
    """Unbind the function from its present driver and bind it to `driver`; do nothing if it is bound there already.

    Raises ShirqError if the function or the driver is missing, or the driver refuses the function. A function without
    an interrupt pin is refused for shirq, which serves INTx, before it is unbound from its driver. One that the driver
    refuses is given back as by `unbind`.
    """
    function = _function(address, sysfs)
    if bound_driver(address, sysfs) == driver:
        return
    if not (sysfs / "bus/pci/drivers" / driver).is_dir():
        raise ShirqError(errno.ENODEV, f"the driver {driver} is not loaded: insmod {driver}.ko first")
    doing = f"binding {address} to {driver}"
    if driver == "shirq" and pin_of((function / "config").read_bytes()) is None:
        raise ShirqError(errno.ENXIO, f"{doing}: {NO_PIN}: shirq serves INTx")
    _write(function / "driver_override", driver, doing)
    try:
        _give_up(address, sysfs)
        _write(sysfs / "bus/pci/drivers_probe", address, doing)
        if bound_driver(address, sysfs) != driver:
            raise ShirqError(errno.EIO, f"{driver} did not take {address}: the kernel log says why")
    except ShirqError:
        with contextlib.suppress(ShirqError):
            _give_back(address, sysfs)
        raise


def unbind(address: str, sysfs: Path = Path("/sys")) -> None:
    """Unbind the function, clear driver_override, and let the kernel probe the function's usual driver."""
    _give_up(address, sysfs)
    _give_back(address, sysfs)


def _give_back(address: str, sysfs: Path) -> None:
    doing = f"giving {address} back"
    _write(_function(address, sysfs) / "driver_override", "\n", doing)
    _write(sysfs / "bus/pci/drivers_probe", address, doing)
