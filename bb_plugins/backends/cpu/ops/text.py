"""Ops on text, which is an array of Python's strings."""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise
from typing import Any

import numpy as np

from bb_plugins.backends.cpu.node import Array, Kernel, Node


def concat(a: Array, b: Array) -> Array:
    """Join texts."""
    return np.asarray(np.strings.add(a.astype(np.str_), b.astype(np.str_))).astype(object)


def split(node: Node) -> Kernel:
    """Cut texts at a delimiter; rows of fewer parts are filled with empty ones."""
    delimiter, most = node.text("delimiter", "") or None, int(node.get("maxsplit", -1))

    def run(x: Array) -> tuple[Array, Array]:
        parts = [str(text).split(delimiter, most) for text in x.reshape(-1)]
        wide = max(map(len, parts), default=0)
        out = np.full((len(parts), wide), "", object)
        for row, found in zip(out, parts, strict=True):
            row[: len(found)] = found
        return out.reshape(*x.shape, wide), np.array([len(p) for p in parts], np.int64).reshape(x.shape)

    return run


def full_match(node: Node) -> Kernel:
    """Say which texts a regular expression matches from end to end."""
    pattern = re.compile(node.text("pattern", ""))
    return lambda x: np.array([pattern.fullmatch(str(t)) is not None for t in x.reshape(-1)], np.bool_).reshape(x.shape)


def normalize(node: Node) -> Kernel:
    """Leave out words, change case; what is left empty goes."""
    case, exact = node.text("case_change_action", "NONE"), node.flag("is_case_sensitive")
    change = {"LOWER": str.lower, "UPPER": str.upper}.get(case, str)
    fold = str if exact else str.lower
    stops = {fold(_plain(w)) for w in node.get("stopwords", ())}

    def run(x: Array) -> Array:
        kept = [change(text) for text in map(_plain, x.reshape(-1)) if fold(text) not in stops]
        out = np.array(kept or [""], object)
        return out.reshape(1, -1) if x.ndim == 2 else out

    return run


def _plain(text: Any) -> str:
    """Take accents off."""
    apart = unicodedata.normalize("NFKD", str(text))
    return "".join(c for c in apart if not unicodedata.combining(c))


def tf_idf(node: Node) -> Kernel:
    """Count runs of words, with gaps if `max_skip_count` lets them, each counted in a column of its own."""
    least, most = int(node.attributes["min_gram_length"]), int(node.attributes["max_gram_length"])
    skips, mode = int(node.attributes["max_skip_count"]), node.text("mode", "TF")
    columns = node.ints("ngram_indexes") or ()
    grams = _grams(node)
    weights = np.array(node.get("weights", ()), np.float32)

    def count(words: Array) -> Array:
        out = np.zeros(max(columns) + 1, np.float32)
        for size in range(least, most + 1):
            for gap in range(1, (skips if size > 1 else 0) + 2):
                for start in range(len(words) - (size - 1) * gap):
                    place = grams.get(tuple(words[start : start + (size - 1) * gap + 1 : gap].tolist()))
                    if place is not None:
                        out[columns[place]] += 1
        return out

    def run(x: Array) -> Array:
        counts = np.stack([count(row) for row in x]) if x.ndim == 2 else count(x.reshape(-1))
        if mode == "TF":
            return counts
        found = (counts > 0).astype(np.float32) if mode == "IDF" else counts
        return np.asarray(found * weights[: found.shape[-1]] if weights.size else found, np.float32)

    return run


def _grams(node: Node) -> dict[tuple[Any, ...], int]:
    """Return each run of words with its number."""
    pool = node.get("pool_int64s") or node.get("pool_strings") or ()
    starts = (*(node.ints("ngram_counts") or ()), len(pool))
    found: dict[tuple[Any, ...], int] = {}
    number = 0
    for size, (start, end) in enumerate(pairwise(starts), 1):
        for at in range(start, end, size):
            found.setdefault(tuple(pool[at : at + size]), number)
            number += 1
    return found
