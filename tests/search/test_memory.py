"""A query holds no copy of the pool, however wide its embeddings are."""

import subprocess
import sys

import pytest

N, CLASSES = 20_000, 3
MB = 1e6

# Parts are small, as they are beside a large pool; the graph of neighbors is `ops.knn`'s, which has tests of its own.
QUERY = """
import sys
from pathlib import Path
import numpy as np
from autoal import AutoAL, Outputs, select
from autoal.models import softmax_regression
from autoal.ops import coverage_in_parts
from autoal.search import features
from autoal.search.coverage import variant

softmax_regression.CHUNK, coverage_in_parts.HELD, variant.MOST_TARGETS = 512, 1 << 19, 200
features.neighbor_graph = lambda unit: (np.arange(len(unit))[:, None] + np.arange(1, 11)) % len(unit)

def memory(key):
    status = Path("/proc/self/status").read_text()
    return int(status.split(key + ":")[1].split()[0]) * 1024

def query(x, seed):
    labeled = np.arange(0, 60, 3)
    names = ("margin", "bald")
    return select(Outputs(embeddings=x), 20, AutoAL(names), labeled=labeled, labels=labeled % classes, seed=seed)

n, d, classes = map(int, sys.argv[1:])
rng = np.random.default_rng(0)
query(rng.standard_normal((2000, 8), dtype=np.float32), 0)  # all code is loaded
x = rng.standard_normal((n, d), dtype=np.float32)
before = memory("VmRSS")
Path("/proc/self/clear_refs").write_text("5")  # VmHWM starts anew
query(x, 1)
print(memory("VmHWM") - before)
"""


def beside_the_pool(width):
    """Bytes that a query takes at most."""
    command = [sys.executable, "-W", "ignore", "-c", QUERY, str(N), str(width), str(CLASSES)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux tells the peak of a process's memory")
def test_memory_does_not_grow_with_the_width_of_the_embeddings():
    narrow, wide = beside_the_pool(16), beside_the_pool(1024)
    assert wide - narrow < 0.5 * N * 1024 * 4, f"{narrow / MB:.0f} MB, then {wide / MB:.0f} MB"
