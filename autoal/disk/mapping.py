"""Files mapped into memory side by side, so that several of them are one array without a copy.

A range of addresses is reserved and each file is mapped over its part of it. Only whole pages can be mapped, so all
parts but the last must be as long as whole pages, and begin on one in their files.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from torch import Tensor

from autoal import checks
from autoal.disk.layout import NotMappableError

# The kernel serves files by pages of this size where addresses and places in the file agree modulo it.
HUGE_PAGE = 1 << 21
MAP_FIXED = 0x10  # the same on Linux and macOS; Python's mmap cannot name an address and has no such constant
MAP_FAILED = ctypes.c_void_p(-1).value


@dataclass(frozen=True)
class Part:
    """``length`` bytes of an open file from ``offset`` on."""

    file: BinaryIO
    offset: int
    length: int


def mapped(parts: Sequence[Part]) -> Tensor:
    """[bytes] uint8, the parts one after the other; read-only memory that goes with the last tensor on it.

    The caller has compared the parts with the sizes of their files. A file that shrinks later ends the process when
    what it lost is read, as with every memory map.

    Raises:
        NotMappableError: If parts are no whole pages.
        OSError: If the system refuses.
    """
    lead = parts[0].offset % mmap.PAGESIZE
    end = lead
    for part in parts:
        if part is not parts[0] and (end % mmap.PAGESIZE or part.offset % mmap.PAGESIZE):
            raise NotMappableError(f"{part.file.name} and the file before it do not meet at a memory page")
        end += part.length
    # Nobody can write to it, so it counts as no memory; Python's object unmaps all of it, whatever lies there by then.
    reserved = mmap.mmap(-1, end + HUGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=mmap.PROT_READ)
    memory = np.frombuffer(reserved, np.uint8)
    begin = (parts[0].offset - lead - memory.ctypes.data) % HUGE_PAGE
    place = memory.ctypes.data + begin
    for part in parts:
        ahead = lead if part is parts[0] else 0
        _map_at(place, part.file, part.offset - ahead, part.length + ahead)
        place += part.length + ahead
    return checks.tensor_of(memory[begin + lead : begin + end])


def _map_at(address: int, file: BinaryIO, offset: int, length: int) -> None:
    flags = mmap.MAP_PRIVATE | MAP_FIXED
    if _mmap(address, length, mmap.PROT_READ, flags, file.fileno(), offset) == MAP_FAILED:
        number = ctypes.get_errno()
        hint = ": raise vm.max_map_count, or write fewer shards" if number == errno.ENOMEM else ""
        raise OSError(number, f"{os.strerror(number)}: {length:,} bytes cannot be mapped{hint}", file.name)


_mmap = ctypes.CDLL(None, use_errno=True).mmap
_mmap.restype = ctypes.c_void_p
_mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_longlong)
