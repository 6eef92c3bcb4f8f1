"""Memory that ends where nothing may be read."""

from __future__ import annotations

import contextlib
import ctypes
import mmap


@contextlib.contextmanager
def guarded(size):
    """So many bytes, the last of them at the end of a page whose next one may not be read."""
    libc, page = ctypes.CDLL(None, use_errno=True), mmap.PAGESIZE
    pages = (size + page - 1) // page + 1
    memory = mmap.mmap(-1, pages * page)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    guard = ctypes.c_void_p(start + (pages - 1) * page)
    assert libc.mprotect(guard, page, mmap.PROT_READ & 0) == 0, ctypes.get_errno()
    yield (ctypes.c_char * size).from_address(start + (pages - 1) * page - size)
    libc.mprotect(guard, page, mmap.PROT_READ | mmap.PROT_WRITE)
