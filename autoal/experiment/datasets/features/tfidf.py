"""TF-IDF of words, projected on singular vectors: features of texts in seconds."""

from __future__ import annotations

import numpy as np

WIDTH = 256
VERSION = 1  # of what is computed here; names the cached file


def embed(train: list[str], test: list[str]) -> np.ndarray:
    """Features [N + M, D] float32 of the training texts, then the test texts; D at most 256; fitted to the former."""
    from sklearn.decomposition import TruncatedSVD  # half a second, which every worker process would wait for
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(
        sublinear_tf=True, min_df=2 if len(train) > 1000 else 1, max_df=0.5, stop_words="english"
    )
    words = vectorizer.fit_transform(train)
    projection = TruncatedSVD(min(WIDTH, words.shape[1] - 1, words.shape[0] - 1), random_state=0).fit(words)
    parts = (projection.transform(part) for part in (words, vectorizer.transform(test)))
    return np.concatenate(list(parts)).astype(np.float32)
