"""Checks of classes: known, learnable, in balance, and numbered as their names say."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from cvtune.data.checked import Checked, CheckedPart, Example
from cvtune.data.coco import Id

__all__ = ["imbalance", "not_in_train", "shifted", "unknown", "unused"]

RARE = 0.01  # of the objects of the most frequent class
# A first class that is rightly without objects.
BACKGROUND = re.compile(r"^_*(background|bg|ignore|void|none)_*$", re.IGNORECASE)


def unknown(data: Checked) -> Iterator[Example]:
    """Objects of a class that no list names."""
    return data.of_codes("class-unknown")


def shifted(data: Checked) -> Iterator[Example]:
    """Sets that number classes from 0, where 0 is never used but the last number is, or the one after it."""
    categories = {category.id: category.name for part in data.own for category in part.dataset.categories}
    numbers = [number for number in categories if isinstance(number, int)]
    if len(numbers) < 2 or len(numbers) < len(categories) or sorted(numbers) != list(range(len(numbers))):
        return
    if BACKGROUND.match(categories[0]):
        return
    used: Counter[Id] = Counter(a.category_id for part in data.own for a in part.dataset.annotations)
    beyond = Counter(
        int(found[1])
        for part in data.own
        for event in part.events
        if event.code == "class-unknown" and (found := re.match(r"class (\d+)$", event.category or ""))
    )
    last = max(numbers)
    if used[0] or not (beyond or all(used[number] for number in range(1, last + 1))):
        return
    if beyond and set(beyond) != {last + 1}:
        return
    ids = f"ids {min((n for n, c in used.items() if c), default=last + 1)} to {last + 1 if beyond else last} are used"
    yield data.own[0].example(f"{ids}, 0 ({categories[0]!r}) never; the names run from 0 to {last}")


def not_in_train(data: Checked) -> Iterator[Example]:
    """Classes of other parts that the part named train has no object of."""
    train = [part for part in data.own if part.name and re.match(r"(.*_)?train(ing|val)?\d*$", part.name.lower())]
    if len(train) != 1:
        return
    learnt = _counts(train[0])
    for part in data.own:
        if part is train[0]:
            continue
        for name, count in _counts(part).items():
            if name not in learnt:
                yield part.example(f"{name}: {count:,} objects")


def imbalance(data: Checked) -> Iterator[Example]:
    """Classes that are rare against the most frequent one."""
    counts = _all(data)
    if not counts:
        return
    (top, most), *_ = counts.most_common(1)
    for name, count in counts.items():
        if count < RARE * most:
            yield data.own[0].example(f"{name}: {count:,} objects, {top}: {most:,}")


def unused(data: Checked) -> Iterator[Example]:
    """Classes that no object has."""
    counts = _all(data)
    for name in dict.fromkeys(category.name for part in data.own for category in part.dataset.categories):
        if not counts[name]:
            yield data.own[0].example(name)


def _counts(part: CheckedPart) -> Counter[str]:
    return Counter(part.names[annotation.category_id] for annotation in part.objects)


def _all(data: Checked) -> Counter[str]:
    total: Counter[str] = Counter()
    for part in data.own:
        total.update(_counts(part))
    return total
