"""Ground truth beside predictions on chosen images, and what is right and wrong on the whole split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cvtune.errors import DataError
from cvtune.report.cards import Card, add_pictures, draw_cards
from cvtune.report.choose import Choice, Seen, choose_images, look_at
from cvtune.report.counts import STEPS, Tally, count_all, whole_scores
from cvtune.report.detections import PictureData
from cvtune.report.matching import match
from cvtune.report.mistakes import MISTAKES, find_mistakes
from cvtune.report.overlay import view_size
from cvtune.report.text import plural, shorten

__all__ = ["Gallery", "make_gallery"]

IOU = 0.5
NO_STEP = STEPS // 2


@dataclass(frozen=True, eq=False)
class Gallery:
    """The cards and the sentences that introduce them; `problem` where there is nothing to show.

    `step`: the threshold that the page starts with, in hundredths. `tally`: what it does on the whole split.
    `page`: what the page's script counts with. `masks`: whether there are any.
    """

    sentence: str = ""
    notes: tuple[str, ...] = ()
    cards: tuple[Card, ...] = ()
    problem: str = ""
    step: int = NO_STEP
    images: int = 0
    tally: Tally | None = None
    classes: tuple[tuple[int, str, int], ...] = ()
    page: Any = None
    masks: bool = False


def make_gallery(data: PictureData | DataError) -> Gallery:
    """Choose and draw the pictures of a split; only those shown are read from disk.

    Boxes of the same class match at IoU 0.5. The page starts with the threshold, in hundredths, that has the best F1
    over all classes.
    """
    if isinstance(data, DataError):
        return Gallery(problem=shorten(data, 300))
    if not data.paths:
        return Gallery(problem="The split has no images.")
    matches = match(data.truth, data.found, len(data.paths), IOU)
    codes = find_mistakes(data.truth, data.found, matches, len(data.paths), IOU)
    counts = count_all(data.truth, data.found, codes, len(data.class_names))
    best = counts.best_step()
    step = NO_STEP if best is None else best
    tally = counts.at(step)
    seen = look_at(data, codes, whole_scores(data.found.score) >= 100 * step)
    chosen = choose_images(seen)
    cards = [_card(data, seen, choice) for choice in chosen]
    cards, cut = draw_cards(data, matches, codes, step, chosen, cards)
    cards = add_pictures(data, chosen, cards)
    notes = _notes(data)
    if cut:
        notes += (f"Of images with more, the {cut} detections with the highest scores are drawn.",)
    names = [shorten(name, 60) for name in data.class_names]
    page = counts.to_json() | {"step": step, "images": len(data.paths)}
    listed = tuple((r["index"], names[r["index"]], r["objects"]) for r in page["classes"] if r["index"] >= 0)
    sentence = _sentence(data, tally, best)
    masks = any("<path" in card.truth or "<path" in card.found for card in cards)
    return Gallery(sentence, notes, tuple(cards), "", step, len(data.paths), tally, listed, page, masks)


def _card(data: PictureData, seen: Seen, choice: Choice) -> Card:
    i = choice.image
    mistakes = tuple((MISTAKES[code][0], int(n[i])) for code, n in seen.mistakes.items() if n[i])
    return Card(
        shorten(data.names[i], 44),
        choice.reason,
        int(seen.objects[i]),
        int(seen.right[i]),
        int(seen.missed[i]),
        int(seen.false[i]),
        mistakes,
        view_size(data.sizes_wh[i]),
    )


def _sentence(data: PictureData, tally: Tally, best: int | None) -> str:
    if not len(data.found):
        return f"There are no predictions: all {plural(tally.missed, 'object')} are missed."
    if best is None:
        return (
            f"No detection matches an object of its class at IoU {IOU}. "
            f"Those with a score of {NO_STEP / STEPS} and more are drawn."
        )
    return (
        f"At scores of {best / STEPS:.2f} and more, where F1 is best ({tally.f1:.2f}), "
        f"{plural(tally.right, 'object')} found, {tally.missed:,} missed, "
        f"{plural(tally.false, 'false detection')} "
        f"on {plural(len(data.paths), 'image')} (boxes of the same class at IoU {IOU})."
    )


def _notes(data: PictureData) -> tuple[str, ...]:
    notes = []
    if data.unknown:
        notes.append(f"{plural(data.unknown, 'prediction')} of images or classes that this split has not: left out.")
    if data.without_box:
        notes.append(f"{plural(data.without_box, 'prediction')} without a box: left out.")
    return tuple(notes)
