"""Parts of files side by side in memory."""

import gc
import mmap

import numpy as np
import pytest

from autoal.disk import mapping
from autoal.disk.layout import NotMappableError
from autoal.disk.mapping import Part, mapped

PAGE = mmap.PAGESIZE


@pytest.fixture
def files(tmp_path):
    opened = []
    for number in range(3):
        path = tmp_path / f"{number}.bin"
        path.write_bytes(np.random.default_rng(number).bytes(5 * PAGE + 100))
        opened.append(path.open("rb"))
    yield opened
    for file in opened:
        file.close()


def maps(name):
    with open("/proc/self/maps") as lines:
        return [line for line in lines if name in line]


def test_parts_follow_each_other(files):
    parts = [Part(files[0], PAGE, 2 * PAGE), Part(files[1], 0, PAGE), Part(files[2], 3 * PAGE, PAGE + 7)]
    expected = b"".join((part.file.seek(part.offset), part.file.read(part.length))[1] for part in parts)
    assert mapped(parts).numpy().tobytes() == expected


def test_a_single_part_may_begin_anywhere(files):
    whole = files[0].read()
    for offset, length in ((0, 5), (1, PAGE), (PAGE - 1, 2), (PAGE + 3, 3 * PAGE + 90), (5 * PAGE + 99, 1)):
        assert mapped([Part(files[0], offset, length)]).numpy().tobytes() == whole[offset : offset + length]


@pytest.mark.parametrize("offset", [0, 128, PAGE + 1, 3 * PAGE])
def test_addresses_agree_with_places_in_the_file_so_that_huge_pages_can_serve(files, offset):
    assert mapped([Part(files[0], offset, 100)]).data_ptr() % mapping.HUGE_PAGE == offset


@pytest.mark.parametrize(
    "parts", [[(0, PAGE + 1), (0, 5)], [(0, PAGE), (1, 5)], [(1, PAGE), (0, 5)], [(0, PAGE), (0, 100), (0, 5)]]
)
def test_parts_that_are_no_whole_pages_do_not_meet(files, parts):
    with pytest.raises(NotMappableError, match="do not meet at a memory page"):
        mapped([Part(file, *part) for file, part in zip(files, parts, strict=False)])


def test_the_range_is_given_back_whole(files):
    name = files[0].name.rpartition("/")[2]
    before = len(maps("/" + name))
    x = mapped([Part(file, 0, 2 * PAGE) for file in files])
    part = x[PAGE : 3 * PAGE]
    assert all(len(maps(file.name)) == 1 for file in files)
    del x
    gc.collect()
    assert len(maps(files[1].name)) == 1, "a view keeps all of it"
    del part
    gc.collect()
    assert not any(maps(file.name) for file in files) and len(maps("/" + name)) == before


def test_a_refusal_of_the_system_names_the_file(files, monkeypatch):
    calls = []

    def refusing(*arguments):
        calls.append(arguments)
        mapping.ctypes.set_errno(12)
        return mapping.MAP_FAILED

    monkeypatch.setattr(mapping, "_mmap", refusing)
    with pytest.raises(OSError, match=r"8,192 bytes cannot be mapped: raise vm\.max_map_count") as caught:
        mapped([Part(files[0], 0, 8192)])
    assert caught.value.filename == files[0].name
