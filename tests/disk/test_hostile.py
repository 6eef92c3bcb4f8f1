"""Files that lie about themselves: refused by a ValueError, whatever they hold; what is opened can be read."""

import json
import math
import struct
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mutations import HUGE, changed

from autoal import Pool
from autoal.disk import hostile, npy, tensors

MANY = settings(max_examples=300)


def opens_or_refuses(name, data, *, others=()):
    """Opens a file of these bytes in every way: a ValueError, or numbers that are all there."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(data)
        for read in (
            lambda: Pool.open(path).x,
            lambda: Pool.open(path, copy=None).x,
            *(lambda o=o: o(path) for o in others),
        ):
            try:
                found = read()
            except ValueError as error:
                assert str(path) in str(error)
            else:
                assert found.nbytes <= 4 * len(data), "more numbers than bytes"
                np.asarray(found).tobytes()


def npy_file(text, body, version=1, length=None):
    header = text.encode("latin-1", "replace")
    size = len(header) if length is None else length
    return b"\x93NUMPY" + bytes([version, 0]) + size.to_bytes(2 if version == 1 else 4, "little") + header + body


LOAD = (npy.load,)
DESCR = [
    "'<f4'",
    "'>f4'",
    "'<f2'",
    "'<f8'",
    "'|u1'",
    "'|O'",
    "'<f3'",
    "'<f0'",
    "'<U0'",
    "'|V4'",
    "[('a', '<f4')]",
    "'<i8'",
    "<f4",
]


@MANY
@given(
    descr=st.sampled_from(DESCR),
    order=st.sampled_from(["True", "False", "0", "'False'"]),
    shape=st.lists(st.sampled_from(HUGE), max_size=4) | st.lists(st.integers(0, 3), max_size=12),
    body=st.none() | st.sampled_from([0, 1, 4, 16, 24, 64]),
    version=st.sampled_from([1, 1, 2, 3, 0, 4]),
    length=st.none() | st.none() | st.integers(0, 2**16 - 1),
)
def test_npy_headers(descr, order, shape, body, version, length):
    axes = "".join(f"{axis}, " for axis in shape)
    text = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': ({axes}), }}"
    right = 4 * math.prod(shape)
    whole = bytes(right if body is None and 0 <= right < 10_000 else body or 0)
    opens_or_refuses("a.npy", npy_file(text, whole, version, length), others=LOAD)


@MANY
@given(
    data=st.binary(max_size=60), head=st.sampled_from([b"", b"\x93NUMPY\x01\x00", b"\x93NUMPY\x02\x00", b"PK\x03\x04"])
)
def test_npy_of_random_bytes(data, head):
    opens_or_refuses("a.npy", head + data, others=LOAD)


def flipped(whole, changes):
    data = bytearray(whole)
    for place, value in changes:
        data[place % len(data)] = value
    return bytes(data)


CHANGES = st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), min_size=1, max_size=4)
WHOLE = npy_file(
    "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }".ljust(118), np.ones(6, np.float32).tobytes()
)


@MANY
@given(changes=CHANGES, cut=st.integers(0, 200))
def test_npy_of_changed_bytes(changes, cut):
    opens_or_refuses("a.npy", flipped(WHOLE, changes)[: cut or None], others=LOAD)


def test_npy_is_read_as_numpy_reads_it(tmp_path):
    for dtype in ("<f4", ">f4", "<f2", "<f8", "u1", "<i8", ">i2", "?", "<U3", "S2"):
        for shape in ((), (3,), (2, 3), (0, 3), (2, 3, 4)):
            for order in "CF":
                array = np.ones(shape, dtype, order)
                np.save(tmp_path / "a.npy", array)
                found = npy.load(tmp_path / "a.npy")
                assert found.dtype == array.dtype and np.array_equal(found, array)
    for version in ((1, 0), (2, 0), (3, 0)):
        with (tmp_path / "v.npy").open("wb") as file:
            np.lib.format.write_array(file, np.ones((2, 3)), version=version)
        assert npy.load(tmp_path / "v.npy").shape == (2, 3)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (-2, 3), }", "no plain array"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4), }", "larger than any memory"),
        ("{'descr': '|O', 'fortran_order': False, 'shape': (2, 3), }", "no plain numbers"),
        ("{'descr': '<f4', 'descr': '<f4', 'shape': (2, 3), }", "no plain array"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 4), }", "promises"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }", "promises"),
        ("(" * 9000, "no plain array"),
        ("__import__('os').abort()", "no plain array"),
    ],
)
def test_npy_says_what_is_wrong(tmp_path, text, words):
    (tmp_path / "a.npy").write_bytes(npy_file(text, bytes(24)))
    with pytest.raises(ValueError, match=words):
        npy.load(tmp_path / "a.npy")


def tensor_file(header, body=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


TENSOR = {"x": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}


@MANY
@given(
    header=changed(TENSOR),
    body=st.sampled_from([0, 23, 24, 25, 48]),
    length=st.none() | st.sampled_from([x for x in HUGE if 0 <= x < 2**64]),
)
def test_safetensors_headers(header, body, length):
    data = tensor_file(header, bytes(body), length)
    opens_or_refuses("a.safetensors", data)


@MANY
@given(data=st.binary(max_size=60), changes=CHANGES)
def test_safetensors_of_random_and_changed_bytes(data, changes):
    opens_or_refuses("a.safetensors", data)
    opens_or_refuses("a.safetensors", tensor_file(data))
    opens_or_refuses("a.safetensors", flipped(tensor_file(TENSOR, bytes(24)), changes))


@MANY
@given(header=changed(TENSOR), body=st.sampled_from([24, 48]))
def test_no_header_is_taken_that_the_safetensors_package_refuses(header, body):
    package = pytest.importorskip("safetensors.numpy")
    data = tensor_file(header, bytes(body))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.safetensors")
        path.write_bytes(data)
        with hostile.opened(path) as file:
            try:
                found = tensors.read_header(file)
            except ValueError:
                return
    if "BF16" not in str(header):  # numpy has none
        assert {name: layout.shape for name, layout in found.items()} == {
            name: array.shape for name, array in package.load(data).items()
        }


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\0" * 7, "too short"),
        (tensor_file(TENSOR, bytes(24), 2**63), "its header has"),
        (tensor_file(b'{"x": 1, "x": 2}'), "a key comes twice"),
        (tensor_file(b'{"a":' * 100_000), "nested too deeply"),
        (tensor_file(b'{"x": ' + b"9" * 5000 + b"}"), "no JSON"),
        (tensor_file(b"\xff{}"), "does not begin as one"),
        (tensor_file(b'{"x": NaN}'), "NaN is no JSON"),
        (tensor_file(TENSOR, bytes(25)), "promises"),
        (tensor_file(TENSOR, bytes(23)), "promises"),
        (tensor_file({**TENSOR, "y": TENSOR["x"]}, bytes(24)), "overlap"),
        (tensor_file({"x": {**TENSOR["x"], "data_offsets": [4, 28]}}, bytes(28)), "gap"),
        (tensor_file({"x": {**TENSOR["x"], "shape": [2**32, 2**32]}}, bytes(24)), "other bytes than its shape"),
        (tensor_file({"x": {**TENSOR["x"], "shape": [2.0, 3]}}, bytes(24)), "must be an integer"),
        (tensor_file({"x": {**TENSOR["x"], "shape": [True, 6]}}, bytes(24)), "must be an integer"),
        (tensor_file({"x": {**TENSOR["x"], "shape": [-2, -3]}}, bytes(24)), "at least 0"),
        (tensor_file({"x": {**TENSOR["x"], "more": 0}}, bytes(24)), "'more' is unknown"),
        (tensor_file({"x": {**TENSOR["x"], "dtype": "F31"}}, bytes(24)), "dtype that is not read"),
    ],
)
def test_safetensors_says_what_is_wrong(tmp_path, data, words):
    path = tmp_path / "a.safetensors"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=words):
        Pool.open(path)
