"""Embeddings and logits of any model in, the next samples to label out. No training loop, no GPU needed."""

import numpy as np

import autoal

rng = np.random.default_rng(0)
embeddings = rng.standard_normal((20_000, 64)).astype(np.float32)  # [N, D] of your encoder
logits = embeddings @ rng.standard_normal((64, 5)).astype(np.float32)  # [N, C] of your classifier
labeled = rng.choice(20_000, 100, replace=False)  # what has a label already
labels = logits[labeled].argmax(axis=1)

outputs = autoal.Outputs(logits=logits, embeddings=embeddings)
query = autoal.select(outputs, 50, strategy="autoal", labeled=labeled, labels=labels, seed=0)

print("label these next:", query.indices[:10], "...")
print("votes of the candidate strategies:", query.provenance["votes"][:10], "...")
print("weights of the candidate strategies:", {k: round(v, 2) for k, v in query.strategy_weights.items()})
print("seconds:", {k: round(v, 2) for k, v in query.timings.items()})
