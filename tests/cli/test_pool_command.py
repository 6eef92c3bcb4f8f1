"""``autoal pool``: import, info and verify as their user meets them, in bounded memory, killed and given again."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from pools import numbers

from autoal.cli import main

PROGRAM = [sys.executable, "-m", "autoal"]
MIB = 1 << 20


@pytest.fixture
def said(capsys):
    """Runs a command line that must succeed, and gives what it printed."""

    def run(*words):
        assert main([str(word) for word in words]) == 0
        return capsys.readouterr().out

    return run


@pytest.fixture
def bad(capsys):
    """Runs a command line that must fail: exit code 2, one line on stderr with all the words."""

    def check(*argv, words):
        assert main([str(word) for word in argv]) == 2
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1 and lines[0].startswith("autoal: "), lines
        for word in words:
            assert word in lines[0], lines[0]

    return check


def test_import_info_verify_select(tmp_path, said, bad):
    x = numbers()
    np.save(tmp_path / "x.npy", x.astype(np.float64))
    pool, picks = tmp_path / "pool", ["--strategy", "kcenter", "-n", "5"]
    assert "600 rows [64] float32" in said("pool", "import", tmp_path / "x.npy", pool, "--shard-rows", "1")
    assert "3 shards of 256 rows or fewer" in said("pool", "info", pool)
    assert "checksums of 3 shards agree; 600 rows without NaN or Inf" in said("pool", "verify", pool)
    assert said("select", "--embeddings", pool, *picks) == said("select", "--embeddings", tmp_path / "x.npy", *picks)
    assert said("select", "--logits", pool, "--strategy", "margin", "-n", "5").count("\n") == 6
    np.save(tmp_path / "plain.npy", x)
    assert "a single file has no checksums; 600 rows" in said("pool", "verify", tmp_path / "plain.npy")
    said("pool", "import", tmp_path / "x.npy", tmp_path / "half", "--dtype", "float16")
    assert "float16, 76,800 bytes" in said("pool", "info", tmp_path / "half")

    bad("pool", "import", tmp_path / "x.npy", pool, words=["path", "holds a pool already"])
    bad("pool", "import", tmp_path / "none.npy", tmp_path / "new", words=["there is no file or folder"])
    bad("pool", "import", tmp_path / "x.npy", tmp_path / "new", "--columns", "a", words=["columns", "leave them out"])
    bad("pool", "import", tmp_path / "x.npy", tmp_path / "new", "--shard-rows", "0", words=["shard_rows must be"])
    bad("pool", "import", tmp_path / "x.npy", words=["dest", "--help"])
    bad("pool", words=["ACTION"])
    bad("pool", "info", tmp_path / "x.npy", words=["float64", "autoal pool import"])
    bad("select", "--embeddings", tmp_path, *picks, words=["--embeddings", "no manifest.json"])
    shard = pool / "shard-00001.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1] + b"\x01")
    bad("pool", "verify", pool, words=["shard-00001.safetensors hold other bytes"])
    os.truncate(shard, 70_000)
    bad("select", "--embeddings", pool, *picks, words=["--embeddings", "shard-00001.safetensors"])


def test_the_missing_extra_is_named(tmp_path, bad, monkeypatch):
    (tmp_path / "e.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    bad("pool", "import", tmp_path / "e.parquet", tmp_path / "pool", words=["pip install 'autoal[data]'"])
    bad(
        "select",
        "--embeddings",
        tmp_path / "e.parquet",
        "-n",
        "5",
        "--strategy",
        "kcenter",
        words=["--embeddings", "autoal pool import"],
    )


CAPPED = """
import resource, sys
from autoal.cli import main
source, dest, small, cap = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])

def run(path, folder):  # once on a small pool, so that what is loaded and started is loaded and started
    assert main(["pool", "import", path, folder]) == 0
    assert main(["select", "--embeddings", folder, "--strategy", "kcenter", "-n", "20"]) == 0

run(small, small + ".pool")
used = next(int(line.split()[1]) << 10 for line in open("/proc/self/status") if line.startswith("VmData"))
resource.setrlimit(resource.RLIMIT_DATA, (used + cap, used + cap))
try:
    bytearray(2 * cap)
except MemoryError:
    pass
else:
    raise AssertionError("the cap does not hold")
run(source, dest)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
@pytest.mark.parametrize("order", ["C", "F"])
def test_memory_is_bounded_however_large_the_file(tmp_path, order):
    """Written, opened and selected from within an eighth of its size: maps of files that are only read do not count."""
    rows, width = 256 * MIB // 1024, 256
    np.save(tmp_path / "small.npy", numbers(512, width))
    np.lib.format.open_memmap(tmp_path / "large.npy", "w+", np.float32, (rows, width), order == "F")[7] = 1
    words = [tmp_path / "large.npy", tmp_path / "pool", tmp_path / "small.npy", 32 * MIB]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "AUTOAL_NUM_THREADS": "1", "AUTOAL_DEBUG": "1"}
    done = subprocess.run(
        [sys.executable, "-c", CAPPED, *map(str, words)], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert f"{rows:,} rows [256] float32" in done.stdout
    assert "\n7," in done.stdout.partition(f"{rows:,}")[2]


def test_a_killed_import_is_continued_by_the_same_command(tmp_path):
    x = numbers(40_000, 256)
    np.save(tmp_path / "x.npy", x)
    pool = tmp_path / "pool"
    command = [*PROGRAM, "pool", "import", str(tmp_path / "x.npy"), str(pool), "--shard-rows", "512"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while len(list(pool.glob("shard-*"))) < 3:
        assert process.poll() is None
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (pool / "manifest.json").exists()
    first = (pool / "shard-00000.safetensors").stat()
    assert main(["pool", "verify", str(pool)]) == 2
    assert main(command[3:]) == 0 and main(["pool", "verify", str(pool)]) == 0
    assert (pool / "shard-00000.safetensors").stat() == first, "whole shards stay"
    from autoal import Pool

    assert np.array_equal(Pool.open(pool).x.numpy(), x)
    assert not list(pool.glob(".*"))
