"""Selections from a pool that many processes share, each with its own part:

torchrun --nproc-per-node 4 examples/select_over_ranks.py
"""

import time

import numpy as np
import torch.distributed as dist

from autoal import distributed

dist.init_process_group("gloo")
rank, ranks = dist.get_rank(), dist.get_world_size()

# In earnest: each rank maps its own file. Here all draw the same pool and take their part of it.
pool = np.random.default_rng(0).standard_normal((50_000, 64), dtype=np.float32)
shard = np.array_split(pool, ranks)[rank]

begin = time.process_time()
answer = distributed.kcenter_greedy(shard, 1000, checkpoint="picks.json", timeout=60)
seconds = time.process_time() - begin
sampled = distributed.kmeanspp(shard, 1000, timeout=60)
two_rounds = distributed.kcenter_two_rounds(shard, 1000, timeout=60)
uncertain = distributed.top_k(-np.abs(shard[:, 0]), 10, timeout=60)

if rank == 0:
    print(
        "k-center:", answer.indices[:8], "... radius", answer.radius[-1], answer.traffic, f"{seconds:.2f} CPU s a rank"
    )
    print("k-means++:", sampled.indices[:8], "...", sampled.traffic)
    print("in two rounds:", two_rounds.certificate, two_rounds.traffic)
    print("least certain:", uncertain.indices)
dist.destroy_process_group()
