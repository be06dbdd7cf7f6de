# SPDX-License-Identifier: MIT
"""Looks at the programs of the bug catalogue from outside, as a debugger does."""

from __future__ import annotations

import ctypes
import os
import signal

from guest.scripts.inguest import ADDRESS, libc

# linux/ptrace.h
_TRACEME = 0
_CONT = 7
_SETOPTIONS = 0x4200
_GETEVENTMSG = 0x4201
_TRACEFORK = 2


def group_of_control() -> None:
    """Start a peer whose other process does not get the processor; prints whether that process has its own group."""
    ptrace = libc.ptrace
    output, end = os.pipe()
    peer = os.fork()
    if not peer:
        os.dup2(end, 1)
        ptrace(_TRACEME, 0, None, None)
        os.execvp("peer-shirq", ["peer-shirq", "--control", ADDRESS])
    os.close(end)
    os.waitpid(peer, 0)  # stopped by execve()
    ptrace(_SETOPTIONS, peer, None, ctypes.c_void_p(_TRACEFORK))
    ptrace(_CONT, peer, None, None)
    os.waitpid(peer, 0)  # stopped by fork(), and so is its child
    child = ctypes.c_ulong()
    ptrace(_GETEVENTMSG, peer, None, ctypes.byref(child))
    ptrace(_CONT, peer, None, None)
    with os.fdopen(output) as lines:
        assert lines.readline() == "armed\n"
    print(os.getpgid(child.value) == child.value)
    for each in (child.value, peer):
        os.kill(each, signal.SIGKILL)
