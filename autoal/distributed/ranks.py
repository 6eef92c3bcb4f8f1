"""The ranks of a process group and what they tell each other: every collective of the package, each with a timeout."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

MESSAGE_BYTES = 4096  # of a shared text that goes with the first collective
LENGTH_BYTES = 8
FIRST_PAUSE, LONGEST_PAUSE = 2e-5, 2e-3  # seconds between two looks whether a collective is done
GRACE = 1.0  # seconds after which this module gives up what gloo has not given up itself


class RanksError(RuntimeError):
    """Another rank died, hangs or does something else. The group is not to be used any more."""


@dataclass
class Traffic:
    """What the ranks told each other in one call.

    Attributes:
        rounds: How often candidates were exchanged.
        collectives: How many collectives there were.
        rows_sent: Embeddings that went to all ranks, of all ranks together.
        bytes_sent: Bytes that this rank handed in.
    """

    rounds: int = 0
    collectives: int = 0
    rows_sent: int = 0
    bytes_sent: int = 0


@dataclass
class Ranks:
    """The processes that call together; without a group and an initialised ``torch.distributed`` one alone."""

    group: Any = None
    timeout: float = 300.0
    rank: int = 0
    size: int = 1
    device: str = "cpu"
    traffic: Traffic = field(default_factory=Traffic)

    @classmethod
    def of(cls, group: Any, timeout: Any) -> Ranks:
        """The ranks of ``group``, or of the default group if there is one.

        Raises:
            TypeError, ValueError: If ``timeout`` is no positive number of seconds, or this process is not in the group.
        """
        if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
            raise TypeError(f"timeout must be a number of seconds, got {timeout!r}")
        if not timeout > 0:
            raise ValueError(f"timeout must be above 0 seconds; got {timeout}")
        if not (dist.is_available() and dist.is_initialized()):
            if group is not None:
                raise ValueError("group needs torch.distributed to be initialised: call init_process_group first")
            return cls(timeout=timeout)
        rank = dist.get_rank(group)
        if rank < 0:
            raise ValueError("group must be one that this process is in")
        on_host = "cpu:" in str(dist.get_backend_config(group))
        device = "cpu" if on_host else f"cuda:{torch.cuda.current_device()}"
        return cls(group or dist.group.WORLD, timeout, rank, dist.get_world_size(group), device)

    def gather(self, part: Tensor, what: str) -> list[Tensor]:
        """``part`` of every rank, of one shape and dtype on all; ``what`` names it in errors.

        Raises:
            RanksError: If they have not come within the timeout, or a rank is gone.
        """
        if self.size == 1:
            return [part]
        self.traffic.collectives += 1
        self.traffic.bytes_sent += part.nbytes
        part = part.to(self.device).contiguous()
        parts = [torch.empty_like(part) for _ in range(self.size)]
        begin = time.monotonic()
        try:
            self._wait(self._all_gather(parts, part))
        except (RuntimeError, TimeoutError) as error:
            raise RanksError(
                f"rank {self.rank} of {self.size} waited {time.monotonic() - begin:.0f} s (timeout: {self.timeout:g}) "
                f"for {what}, then gave up: a rank died, hangs, failed by itself or is that far behind ({error})"
            ) from error
        return [each.cpu() for each in parts]

    def gather_records(self, records: np.ndarray, most: int, what: str) -> np.ndarray:
        """Structured ``records`` of all ranks, in their order; each has an "id", and no rank has more than ``most``."""
        message = np.zeros(most, records.dtype)
        message["id"] = -1  # where there is none
        message[: len(records)] = records
        if most:
            parts = self.gather(torch.from_numpy(message.view(np.uint8)), what)
            message = np.concatenate([part.numpy().view(records.dtype) for part in parts])
        return message[message["id"] >= 0]

    def share(self, message: dict[str, Any], what: str) -> list[dict[str, Any]]:
        """What every rank has to say, as JSON; short messages take one collective."""
        text = json.dumps(message).encode()
        sent = torch.zeros(MESSAGE_BYTES, dtype=torch.uint8)
        sent[:LENGTH_BYTES] = _bytes(len(text).to_bytes(LENGTH_BYTES, "little"))
        room = MESSAGE_BYTES - LENGTH_BYTES
        sent[LENGTH_BYTES : LENGTH_BYTES + len(text)] = _bytes(text[:room])
        heads = [bytes(each.numpy()) for each in self.gather(sent, what)]
        lengths = [int.from_bytes(head[:LENGTH_BYTES], "little") for head in heads]
        texts = [head[LENGTH_BYTES:] for head in heads]
        if max(lengths) > room:
            rest = torch.zeros(max(lengths) - room, dtype=torch.uint8)
            rest[: max(0, len(text) - room)] = _bytes(text[room:])
            texts = [a + bytes(b.numpy()) for a, b in zip(texts, self.gather(rest, what), strict=True)]
        return [json.loads(text[:length]) for text, length in zip(texts, lengths, strict=True)]

    def _all_gather(self, parts: list[Tensor], part: Tensor) -> Any:
        if self.device != "cpu":
            return dist.all_gather(parts, part, group=self.group, async_op=True)
        from torch.distributed.distributed_c10d import AllgatherOptions  # not in every build of torch

        # With a timeout of its own: as long as gloo waits, and that may be half an hour, the process cannot leave.
        options = AllgatherOptions()
        options.timeout = timedelta(seconds=self.timeout)
        return self.group.allgather([parts], [part], options)

    def _wait(self, work: Any) -> None:
        # Looking now and then, instead of work.wait(): Ctrl-C would wait too, and not every backend has timeouts.
        deadline, pause = time.monotonic() + self.timeout + GRACE, FIRST_PAUSE
        while not work.is_completed():
            if time.monotonic() > deadline:
                raise TimeoutError("the backend has not given up yet: the process may hang when it is to leave")
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        work.wait()


def _bytes(data: bytes) -> Tensor:
    return torch.frombuffer(bytearray(data), dtype=torch.uint8) if data else torch.empty(0, dtype=torch.uint8)
