"""Splitting so that every part gets its share of each class, where images have several classes and stay in groups."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence

import numpy as np

__all__ = ["assign_stratified"]


def assign_stratified(
    groups: Sequence[str], labels: Sequence[Mapping[Hashable, int]], shares: Mapping[str, float], seed: int = 0
) -> list[str]:
    """A part for each item's group, in the order of iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011).

    The class that has the fewest objects left goes first: its groups, those with most of them first. Where the authors
    look at that class alone, here a group goes to the part where it brings all classes and the number of images nearest
    to their shares: the sum over both of (missing / total)^2 / share falls most. Ties go by a hash of (seed, part,
    group). Groups without objects come last. No part stays empty where there are as many groups as parts.

    Args:
        groups: one group name an item.
        labels: class -> objects, of each item.
        shares: part -> its share, 0..1, of sum 1.
        seed: another seed gives another split where there is a choice.
    """
    names = list(shares)
    columns = {label: i for i, label in enumerate(sorted({label for found in labels for label in found}, key=repr))}
    images = Counter(groups)
    order = sorted(images, key=lambda group: _hash(seed, "", group))
    row = {group: i for i, group in enumerate(order)}
    counts = np.zeros((len(order), len(columns) + 1), np.float64)  # the last column: images
    counts[:, -1] = [images[group] for group in order]
    for group, found in zip(groups, labels, strict=True):
        for label, n in found.items():
            counts[row[group], columns[label]] += n
    share = np.array([max(shares[name], 1e-9) for name in names])
    total = counts.sum(axis=0)
    weight = 1 / np.maximum(total, 1) ** 2 / share[:, None]  # [parts, columns]
    missing = share[:, None] * total
    part_of = np.full(len(order), -1)

    def give(place: int) -> None:
        gain = ((2 * missing - counts[place]) * counts[place] * weight).sum(axis=1)
        best = np.flatnonzero(gain >= gain.max() - 1e-12)
        part = max(best, key=lambda p: _hash(seed, names[p], order[place]))
        part_of[place] = part
        missing[part] -= counts[place]

    while True:
        left = counts[part_of < 0, :-1].sum(axis=0)
        if not left.any():
            break
        rarest = int(np.where(left > 0, left, np.inf).argmin())
        having = np.flatnonzero((part_of < 0) & (counts[:, rarest] > 0))
        for place in having[np.argsort(-counts[having, rarest], kind="stable")]:
            give(int(place))
    for place in np.flatnonzero(part_of < 0):
        give(int(place))
    for part in range(len(names)):
        if len(order) >= len(names) and not (part_of == part).any():
            fullest = int(np.bincount(part_of, minlength=len(names)).argmax())
            part_of[np.flatnonzero(part_of == fullest)[0]] = part
    return [names[part_of[row[group]]] for group in groups]


def _hash(seed: int, part: str, group: str) -> bytes:
    return hashlib.blake2b(f"{seed}\0{part}\0{group}".encode(), digest_size=8).digest()
