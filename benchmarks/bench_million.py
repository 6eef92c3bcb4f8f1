"""Selections of 10,000 from a file of a million rows, end to end through autoal.ops: time, memory, evaluations.

Each op runs in a process of its own. Two figures tell what memory that took beyond what the process held before: its
own, watched while it runs, and the most that was resident (VmHWM: unlike ru_maxrss it knows nothing of the process
that started this one), where pages of the file count that were looked at and may be dropped at any time. Linux only.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from harness import Benchmark, pool

from autoal import ops
from autoal.ops import native

PART = 100_000  # rows that are made and written together
MB = 1e6


def write_pool(path: Path, n: int, d: int, c: int) -> None:
    """embeddings.npy [N, D] and logits.npy [N, C] float32, a part at a time."""
    embeddings = np.lib.format.open_memmap(path / "embeddings.npy", "w+", np.float32, (n, d))
    logits = np.lib.format.open_memmap(path / "logits.npy", "w+", np.float32, (n, c))
    for start in range(0, n, PART):
        rows = min(PART, n - start)
        embeddings[start : start + rows] = pool("embedding", rows, d, seed=start).numpy()
        logits[start : start + rows] = 3 * np.random.default_rng(start).standard_normal((rows, c), np.float32)


CALLS: dict[str, Callable[[Any, Any, int], Any]] = {
    "kcenter_greedy": lambda x, logits, k: ops.kcenter_greedy(x, k, first=0),
    "kcenter_greedy, cosine": lambda x, logits, k: ops.kcenter_greedy(x, k, first=0, metric="cosine"),
    "kmeanspp": lambda x, logits, k: ops.kmeanspp(x, k),
    "gradient_kmeanspp": lambda x, logits, k: ops.gradient_kmeanspp(logits, x, k),
    "coverage_greedy, 1,000 targets": lambda x, logits, k: ops.coverage_greedy(x, k, targets=1000),
}


def memory(kind: str) -> float:
    """Bytes of this process: "RssAnon" its own in memory, "VmRSS" with pages of files, "VmHWM" the most of these."""
    lines = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    return 1024.0 * int(lines[kind].split()[0])


def child(name: str, folder: Path, k: int, threads: int, connection: Any) -> None:
    """One selection's process: sends what it took."""
    ops.set_num_threads(threads)
    x, logits = (np.load(folder / f"{part}.npy", mmap_mode="r") for part in ("embeddings", "logits"))
    CALLS[name](x[:2000], logits[:2000], 30)  # what is loaded and set up once
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM starts anew
    own, all_pages, largest, done = memory("RssAnon"), memory("VmRSS"), [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            largest[0] = max(largest[0], memory("RssAnon"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    native.take_counts()
    cpu, wall = time.process_time(), time.perf_counter()
    picks = CALLS[name](x, logits, k)
    seconds, cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
    done.set()
    watcher.join()
    assert len(set(picks.tolist())) == k, "not k different rows"
    row = {
        "op": name,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "share_of_evaluations": sum(native.take_counts()) / (len(x) * k),
        "own_mb": max(0.0, largest[0] - own) / MB,
        "resident_mb": (memory("VmHWM") - all_pages) / MB,
    }
    connection.send(row)


def in_own_process(*arguments: Any) -> dict[str, Any]:
    """What a selection took; RuntimeError if its process failed."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=child, args=(*arguments, sender))
    process.start()
    sender.close()  # so that the end of the child ends the waiting
    try:
        return receiver.recv()
    except EOFError:
        raise RuntimeError(f"{arguments[0]} failed; its error is printed above") from None
    finally:
        process.join()


def main() -> None:
    """Writes the pool, then all ops, one after the other."""
    bench = Benchmark("million")
    n, d, c, k = (20_000, 64, 10, 200) if bench.quick else (1_000_000, 512, 100, 10_000)
    rows = []
    with tempfile.TemporaryDirectory(prefix="autoal-million-") as name:
        folder = Path(name)
        write_pool(folder, n, d, c)
        file_mb = (folder / "embeddings.npy").stat().st_size / MB
        print(f"{n:,} x {d} float32 in a file of {file_mb:,.0f} MB, C={c}, k={k:,}, {bench.threads} threads")
        for op in CALLS:
            row = in_own_process(op, folder, k, bench.threads)
            rows.append(row)
            times = f"{row['seconds']:8.2f} s {row['cpu_seconds']:8.2f} CPU s"
            megabytes = f"{row['own_mb']:7.0f} MB own, {row['resident_mb']:7.0f} MB with file pages"
            print(f"{op:32s} {times} {megabytes} {row['share_of_evaluations']:9.3g} of N k evaluations", flush=True)
    bench.write({"n": n, "d": d, "c": c, "k": k, "rows": rows})


if __name__ == "__main__":
    main()
