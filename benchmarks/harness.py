"""What the benchmarks share: arguments, data sets, timing, and a table in which every answer was checked first.

A peer that makes k passes for k picks is timed for few and for some more, and the line through both is continued; the
table marks it with ``*``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from real_pools import real_pools
from torch import Tensor

from autoal import ops
from autoal.ops import native

POOLS = ("gaussian", "sphere", "mixture", "embedding", "heavy")


FEW, MORE = 5, 15  # picks


@dataclass(frozen=True)
class PerPick:
    """A peer that takes a start, and the same again for each pick: ``call(number of picks)``, wanted for ``picks``.

    ``repeats`` as in ``Benchmark.seconds``: 0 for calls that take seconds.
    """

    call: Callable[[int], Any]
    picks: int
    repeats: int = 2


@dataclass(frozen=True)
class Row:
    """One line of the table: how long ``who`` took for ``case``."""

    case: str
    who: str
    seconds: float
    ratio: float  # to ours: above 1, ours is faster
    extrapolated: bool
    gb_per_s: float | None = None  # of the bytes that must be read at least once (per pass, where there are passes)
    gflop_per_s: float | None = None  # of what was computed
    compared: float | None = None  # pairs of rows, over those that one pass per pick compares


class Benchmark:
    """Runs cases, prints a table and writes it down."""

    def __init__(self, title: str) -> None:
        parser = argparse.ArgumentParser(description=title)
        parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
        parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
        parser.add_argument("--threads", type=int, default=ops.backends()["cpu"]["threads"], help="for all, peers too")
        parser.add_argument("--out", type=Path, help="a JSON file for the results")
        options = parser.parse_args()
        if options.device == "cuda" and not ops.backends()["cuda"]["live"]:
            parser.error(f"no CUDA: {ops.backends()['cuda']['reason']}")
        self.title, self.device, self.quick, self.out = title, options.device, options.quick, options.out
        self.threads = options.threads
        ops.set_num_threads(self.threads)
        torch.set_num_threads(self.threads)
        if (faiss := faiss_or_none()) is not None:
            faiss.omp_set_num_threads(self.threads)
        self.rows: list[Row] = []
        self.roofs = self._roofs()

    def seconds(self, call: Callable[[], Any], repeats: int) -> float:
        """Shortest wall time of ``repeats`` calls after one that warms up; of one cold call if ``repeats`` is 0."""
        if repeats:
            call()
        times = []
        for _ in range(max(1, repeats)):
            self._wait()
            start = time.perf_counter()
            call()
            self._wait()
            times.append(time.perf_counter() - start)
        return min(times)

    def case(
        self,
        name: str,
        ours: Callable[[], Any],
        peers: dict[str, Callable[[], Any] | PerPick],
        *,
        check: Callable[[], None],
        n_bytes: float,
        pairs: float | None = None,
        flops_per_pair: float = 0.0,
        repeats: int = 3,
    ) -> None:
        """Checks the answer, then times ours and the peers.

        Args:
            name: Of the case.
            ours: The call.
            peers: By name.
            check: Raises where an answer is wrong.
            n_bytes: That ours must read at least; per pass, where there are passes.
            pairs: Of rows, that one pass per pick compares; ours are counted (on the CPU).
            flops_per_pair: Operations for one of them; 0: no rate is told.
            repeats: See ``seconds``.
        """
        check()
        native.take_counts()
        base = self.seconds(ours, repeats)
        counted = sum(native.take_counts()) / (repeats + 1 if repeats else 1)
        compared = counted / pairs if pairs and self.device == "cpu" else None
        rate = counted * flops_per_pair / base / 1e9 if compared and flops_per_pair else None
        self._add(Row(name, "autoal", base, 1.0, False, n_bytes / base / 1e9, rate, compared))
        for who, peer in peers.items():
            if isinstance(peer, PerPick):
                few, more = (self.seconds(lambda n=n, peer=peer: peer.call(n), peer.repeats) for n in (FEW, MORE))
                took = few + max(0.0, more - few) / (MORE - FEW) * (peer.picks - FEW)
            else:
                took = self.seconds(peer, repeats)
            self._add(Row(name, who, took, took / base, isinstance(peer, PerPick)))

    def finish(self) -> None:
        """Writes the results with where they come from."""
        self.write({"rows": [asdict(row) for row in self.rows]})

    def write(self, results: dict[str, Any]) -> None:
        """Results and where they come from, if a file was asked for."""
        if self.out is None:
            return
        self.out.parent.mkdir(parents=True, exist_ok=True)
        self.out.write_text(json.dumps({"benchmark": self.title, **self._origin(), **results}, indent=1) + "\n")

    def _add(self, row: Row) -> None:
        if not self.rows:
            print(f"{self.title}: {self.device}, {self.threads} threads; ratio = time / ours; * = extrapolated")
            print(f"this machine: {self.roofs['gb_per_s']:.1f} GB/s read, {self.roofs['gflop_per_s']:.0f} GFLOP/s")
        mark = "*" if row.extrapolated else " "
        line = f"{row.case:60s} {row.who:22s} {1000 * row.seconds:12.2f} ms{mark} {row.ratio:9.2f}x"
        for value, unit in ((row.gb_per_s, "GB/s"), (row.gflop_per_s, "GFLOP/s"), (row.compared, "of all pairs")):
            line += f" {value:9.3g} {unit}" if value is not None else ""
        print(line, flush=True)
        self.rows.append(row)

    def _roofs(self) -> dict[str, float]:
        """What this machine reads and multiplies at best with these threads: a sum over 512 MB, a product of 2048^2.

        On CUDA 2 GB and 8192^2, what it copies (bytes read and written), and bfloat16 products.
        """
        large = self.device == "cuda" and not self.quick
        numbers = torch.ones(1 << (22 if self.quick else 29 if large else 27), device=self.device)
        square = torch.ones(8192 if large else 2048, 8192 if large else 2048, device=self.device)
        roofs = {
            "gb_per_s": 4e-9 * len(numbers) / self.seconds(numbers.sum, 3),
            "gflop_per_s": 2e-9 * len(square) ** 3 / self.seconds(lambda: square @ square, 3),
        }
        if self.device == "cuda":
            other, half = torch.empty_like(numbers), square.bfloat16()
            roofs["copied_gb_per_s"] = 8e-9 * len(numbers) / self.seconds(lambda: other.copy_(numbers), 3)
            roofs["bfloat16_gflop_per_s"] = 2e-9 * len(square) ** 3 / self.seconds(lambda: half @ half, 3)
        return roofs

    def _wait(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()

    def _origin(self) -> dict[str, Any]:
        live = ops.backends()
        on_cuda = self.device == "cuda"
        name = torch.cuda.get_device_name() if on_cuda else platform.processor() or platform.machine()
        describe = ("git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12")
        driver = ("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
        return {
            "commit": os.environ.get("COMMIT") or printed_by(*describe) or "unknown",
            "device": name,
            **({"driver": printed_by(*driver), "cuda": torch.version.cuda} if on_cuda else {}),
            "isa": live["cpu"]["isa"],
            "threads": self.threads,
            "roofs": self.roofs,
            "quick": self.quick,
            "torch": torch.__version__,
            "faiss": live["faiss"]["version"],
            "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }


def printed_by(*command: str) -> str:
    """What a command prints; nothing where it fails or is not there."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def faiss_or_none() -> Any:
    """The module FAISS, or None where it is not installed."""
    try:
        import faiss
    except ImportError:
        return None
    return faiss


def pool(name: str, n: int, d: int, seed: int = 0, device: str = "cpu") -> Tensor:
    """Points [n, d] float32 of one of ``POOLS``: easy and hard ones for k-center and D^2 sampling.

    gaussian: isotropic. sphere: the same, normalized. mixture: 1,000 tight clusters. embedding: a power-law spectrum,
    clusters of Zipf sizes, normalized. heavy: norms with heavy tails.
    """
    generator = torch.Generator(device).manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, device=device)

    x = normal(n, d)
    if name == "sphere":
        return torch.nn.functional.normalize(x, dim=1)
    if name == "mixture":
        return 5 * normal(1000, d)[torch.randint(1000, (n,), generator=generator, device=device)] + x
    if name == "embedding":
        zipf = 1 / torch.arange(1, 301.0, device=device)
        clusters = torch.multinomial(zipf, n, replacement=True, generator=generator)
        spectrum = torch.arange(1, d + 1.0, device=device) ** -0.5
        return torch.nn.functional.normalize((normal(300, d)[clusters] + 0.5 * x) * spectrum, dim=1)
    if name == "heavy":
        return x * torch.rand(n, 1, generator=generator, device=device).clamp_min(1e-4).pow(-1.0)
    return x


def pools(n: int, d: int, *, quick: bool) -> Iterator[tuple[str, Tensor]]:
    """Every one of ``POOLS`` at this size, then the real ones, whole if not ``quick``."""
    for name in POOLS:
        yield name, pool(name, n, d)
    for real in real_pools(n, d) if quick else real_pools():
        yield real.name, real.x


def potential(x: Tensor, picks: Tensor) -> float:
    """Mean squared distance of the rows of x [N, D] to the nearest pick: what D^2 sampling keeps low."""
    centers = x[picks]
    tiles = [torch.cdist(part, centers).min(1).values.square().sum() for part in x.split(8192)]
    return float(torch.stack(tiles).sum() / len(x))
