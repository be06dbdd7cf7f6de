# SPDX-License-Identifier: MIT
"""The binding's structs and constants equal those of kmod/shirq.h, as compiled by a C compiler."""

from __future__ import annotations

import ctypes
import enum
import re
import subprocess
from pathlib import Path

import pytest

from shirq import abi

KMOD = Path(__file__).parents[3] / "kmod"
HEADER = (KMOD / "shirq.h").read_text()

STRUCTS: dict[str, type[ctypes.Structure]] = {
    name.removesuffix("Struct").lower(): value
    for name, value in vars(abi).items()
    if isinstance(value, type) and issubclass(value, ctypes.Structure)
}

# The enums of the binding, by the prefix of their constants in the header.
FAMILIES: dict[str, type[enum.IntEnum] | type[enum.IntFlag]] = {
    "SHIRQ_OP_": abi.Code,
    "SHIRQ_PROGRAM_": abi.ProgramKind,
    "SHIRQ_MODE_": abi.Mode,
    "SHIRQ_REFUSED_": abi.Reason,
    "SHIRQ_EVENT_": abi.EventType,
    "SHIRQ_QUARANTINE_": abi.Quarantine,
    "SHIRQ_QUIESCE_": abi.Quiesce,
    "SHIRQ_FEATURE_": abi.Feature,
    "SHIRQ_BAR_": abi.BarFlag,
    "SHIRQ_INFO_": abi.InfoFlag,
    "SHIRQ_STATE_": abi.State,
    "SHIRQ_ARM_": abi.ArmFlag,
    "SHIRQ_EXEC_": abi.ExecFlag,
    "SHIRQ_UIO_": abi.UioFlag,
    "SHIRQ_RING_": abi.RingState,
}

CONSTANTS: dict[str, int] = {
    **{f"SHIRQ_{flag.name}": int(flag) for flag in abi.OpFlag},
    "SHIRQ_OK": abi.Reason.OK,
    "SHIRQ_REGS": abi.REGS,
    "SHIRQ_MAX_OPS": abi.MAX_OPS,
    "SHIRQ_MAX_IRQ_ACCESSES": abi.MAX_IRQ_ACCESSES,
    "SHIRQ_EVENT_REGS": abi.EVENT_REGS,
    "SHIRQ_KEPT": abi.KEPT,
    "SHIRQ_BARS": abi.BARS,
    "SHIRQ_SPACE_CONFIG": abi.CONFIG_SPACE,
    "SHIRQ_MMAP_SHIFT": abi.MMAP_SHIFT,
    "SHIRQ_CONFIG_DISINTX_OFFSET": abi.CONFIG_DISINTX_OFFSET,
    "SHIRQ_CONFIG_DISINTX_BIT": abi.CONFIG_DISINTX_BIT,
    "SHIRQ_GET_INFO": abi.GET_INFO,
    "SHIRQ_LOAD": abi.LOAD,
    "SHIRQ_ARM": abi.ARM,
    "SHIRQ_DISARM": abi.DISARM,
    "SHIRQ_UNMASK": abi.UNMASK,
    "SHIRQ_EXEC": abi.EXEC,
    "SHIRQ_SET_MASTER": abi.SET_MASTER,
    "SHIRQ_MASK": abi.MASK,
    "SHIRQ_SET_EVENTFD": abi.SET_EVENTFD,
    "SHIRQ_SET_QUIESCE": abi.SET_QUIESCE,
    "SHIRQ_SET_UIO": abi.SET_UIO,
    "SHIRQ_UIO_NAME": abi.UIO_NAME,
    "SHIRQ_DEFAULT_RATE": abi.DEFAULT_RATE,
    "SHIRQ_SET_MESSAGES": abi.SET_MESSAGES,
    "SHIRQ_MAX_MESSAGES": abi.MAX_MESSAGES,
    "SHIRQ_MMAP_RING": abi.MMAP_RING,
    "SHIRQ_MMAP_CONSUMER": abi.MMAP_CONSUMER,
    "SHIRQ_RING_EVENTS": abi.RING_EVENTS,
    "SHIRQ_WAIT": abi.WAIT,
}


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """Return every struct size, field offset, field size and constant of the binding, as the C compiler computes it."""
    folder = tmp_path_factory.mktemp("abi")
    expressions = {f"sizeof {name}": f"sizeof(struct shirq_{name})" for name in STRUCTS}
    for name, struct in STRUCTS.items():
        for field_name, *_ in struct._fields_:
            expressions[f"offset {name}.{field_name}"] = f"offsetof(struct shirq_{name}, {field_name})"
            expressions[f"size {name}.{field_name}"] = f"sizeof(((struct shirq_{name} *)0)->{field_name})"
    for name in CONSTANTS:
        expressions[name] = name
    for prefix, family in FAMILIES.items():
        for member in family:
            if member is not abi.Reason.OK:
                expressions[f"{prefix}{member.name}"] = f"{prefix}{member.name}"
    lines = "".join(f'printf("{key}=%lld\\n", (long long)({value}));\n' for key, value in expressions.items())
    source = folder / "probe.c"
    source.write_text(f'#include <stddef.h>\n#include <stdio.h>\n#include "shirq.h"\nint main(void) {{\n{lines}}}\n')
    program = folder / "probe"
    subprocess.run(["cc", "-Wall", "-Werror", f"-I{KMOD}", "-o", program, source], check=True, timeout=600)
    output = subprocess.run([program], check=True, capture_output=True, text=True, timeout=300).stdout
    return {key: int(value) for key, value in (line.split("=") for line in output.splitlines())}


@pytest.mark.parametrize("name", STRUCTS)
def test_a_struct_has_the_layout_of_the_header(probe: dict[str, int], name: str) -> None:
    struct = STRUCTS[name]
    assert ctypes.sizeof(struct) == probe[f"sizeof {name}"]
    for field_name, *_ in struct._fields_:
        descriptor = getattr(struct, field_name)
        assert descriptor.offset == probe[f"offset {name}.{field_name}"], field_name
        assert descriptor.size == probe[f"size {name}.{field_name}"], field_name


def test_every_struct_of_the_header_is_known_with_every_field() -> None:
    declared = {
        match[1]: set(re.findall(r"\b(\w+)(?:\[\w+\])?;", re.sub(r"/\*.*?\*/", "", match[2], flags=re.S)))
        for match in re.finditer(r"^struct shirq_(\w+) \{\n(.*?)^\};", HEADER, flags=re.M | re.S)
    }
    assert declared == {name: {field_name for field_name, *_ in struct._fields_} for name, struct in STRUCTS.items()}


@pytest.mark.parametrize("prefix", FAMILIES)
def test_a_family_of_numbers_is_that_of_the_header(probe: dict[str, int], prefix: str) -> None:
    members = {member.name: int(member) for member in FAMILIES[prefix] if member is not abi.Reason.OK}
    assert members == {name: probe[f"{prefix}{name}"] for name in members}
    declared = set(re.findall(rf"^\s(?:#define )?{prefix}(\w+)\s*=|^#define {prefix}(\w+)\s+0x", HEADER, flags=re.M))
    assert {first or second for first, second in declared} == set(members)


def test_constants_are_those_of_the_header(probe: dict[str, int]) -> None:
    assert {name: probe[name] for name in CONSTANTS} == CONSTANTS


# The last field and the size of the first version of each ioctl's argument. They must never change.
FIRST_VERSION = {
    "info": ("bar", 152),
    "load": ("error_reason", 64),
    "arm": ("reserved", 16),
    "disarm": ("reserved", 16),
    "unmask": ("reserved", 24),
    "exec": ("regs", 96),
    "master": ("on", 8),
    "mask": ("reserved", 24),
    "eventfd": ("flags", 16),
    "quiesce": ("max_rate", 16),
    "uio": ("version", 144),
    "wait": ("flags", 24),
}


@pytest.mark.parametrize("name", FIRST_VERSION)
def test_first_version_of_an_argument_keeps_its_size(probe: dict[str, int], name: str) -> None:
    """The size of the first version of an ioctl's argument never changes."""
    last, size = FIRST_VERSION[name]
    assert probe[f"offset {name}.{last}"] + probe[f"size {name}.{last}"] == size
    assert f"#define SHIRQ_{name.upper()}_V1" in (KMOD / "ioctl.c").read_text()
    assert re.search(rf"#define SHIRQ_{name.upper()}_V1\s+{size}\n", (KMOD / "ioctl.c").read_text())


def test_an_event_is_64_bytes_and_an_operation_16(probe: dict[str, int]) -> None:
    assert (probe["sizeof event"], probe["sizeof op"]) == (64, 16)


def test_the_header_is_the_same_for_32_bit_programs() -> None:
    """Every field is at a multiple of its own size, so that compilers for 32 and 64 bits add no padding."""
    for name, struct in STRUCTS.items():
        end = 0
        for field_name, kind, *_ in struct._fields_:
            descriptor = getattr(struct, field_name)
            assert descriptor.offset == end, f"there is padding before {name}.{field_name}"
            assert descriptor.offset % ctypes.alignment(kind) == 0
            end = descriptor.offset + descriptor.size
        assert end == ctypes.sizeof(struct), f"there is padding at the end of {name}"
