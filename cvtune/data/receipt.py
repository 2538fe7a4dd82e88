"""Receipt: what a conversion did, so that nothing is lost in silence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["REASONS", "Event", "Receipt"]

Kind = Literal["drop", "repair", "note"]
Classes = Mapping[str, int] | Mapping[str | None, int]

# What is not dropped, but still loses something.
LOSSES = frozenset(
    {
        "box-rounded", "holes-filled", "mask-as-rotated-box", "mask-clipped", "mask-missing-file", "mask-not-read",
        "rotation-lost",
    }
)  # fmt: skip
# Annotations whose shape came out least like it was are named one by one.
WORST = 10
# A terminal's table has this many rows at most, of texts this long.
ROWS, TEXT = 24, 240

# A million repairs of one kind are counted, but not listed one by one; what is dropped is always listed.
LISTED = 1000

REASONS: Mapping[str, str] = MappingProxyType(
    {
        # Boxes
        "box-missing": "The object has no box and no mask to take one from.",
        "box-not-numeric": "A box coordinate is not a finite number.",
        "box-inverted": "The box's right or lower edge lies before its left or upper edge.",
        "box-zero-area": "The box has no area in the file.",
        "box-outside": "The box lies wholly outside its image.",
        "box-clipped": "The box stuck out of its image and was clipped.",
        "box-grown": "The box was narrower than one pixel and was grown to one.",
        "box-replaced": "The format takes the box of an object with a mask from the mask; the stated box differed.",
        "box-rounded": "Box coordinates were rounded to whole pixels.",
        "box-layout-found": "Whether boxes are corners or sizes, in pixels or shares, was decided by evidence.",
        "box-from-mask": "The box was missing and was taken from the mask.",
        "rotation-as-polygon": "A rotated box became a polygon of its four corners, with the upright box around it.",
        "rotation-lost": "A rotated box was replaced by the upright box around it.",
        "origin-found": "Where pixel coordinates start was decided by evidence in the files.",
        "origin-defined": "Where pixel coordinates start is part of the format's definition.",
        "origin-given": "Where pixel coordinates start was said by the user.",
        "origin-assumed": "No box touches an edge, so coordinates were taken to start at 1, as VOC defines them.",
        # Masks, area, crowds
        "box-as-polygon": "A box was written as a polygon of its four corners, since the file holds polygons.",
        "area-filled": "The area was missing and was computed from the mask, or from the box where there is none.",
        "ignore-flag-kept": "Objects that the set's own scores leave out were kept; the flag is among their fields.",
        "ignore-region": "Regions to be ignored whatever the class; COCO has none, so they are no objects.",
        "crowd-dropped": "Crowd regions are left out, as asked by data.crowd.",
        "holes-filled": "A mask's holes cannot be written in this format.",
        "mask-clipped": "The mask or polygon stuck out of its image and was clipped.",
        "mask-degenerate": "A polygon has fewer than three corners or an odd number of coordinates and was left out.",
        "mask-empty": "The mask covers no pixel.",
        "mask-from-box": "The mask was missing; the box stands in for it, as asked by data.missing_masks.",
        "mask-invalid": "The mask cannot be decoded.",
        "mask-lost": "The format written has no masks.",
        "mask-not-read": "The source has masks that are not read.",
        "mask-missing-file": "The file that holds the object's mask was not found.",
        "mask-as-rotated-box": "The format written holds rotated boxes; the smallest one around the mask was written.",
        "mask-hidden": "Objects that are drawn later hide all of it.",
        "mask-matched": "Masks in image files were given to objects by their place, class and the overlap of boxes.",
        "mask-needed": "The format written holds masks alone, and the object has none.",
        "mask-rasterised": "The polygons were turned into a mask of pixels, as the format written needs it.",
        "mask-resized": "The mask image is of another size than its image, as this format allows; it was scaled.",
        "mask-size-differs": "The mask image is not of its image's size.",
        "mask-thresholded": "A mask of one object has grey pixels; those above half of the greatest value are inside.",
        "mask-classes": "The values of a mask image are classes; each connected part was taken for one object.",
        "mask-values": "The values of a mask image were taken for one object each.",
        "mask-void": "Pixels of a border belong to no object and were left out.",
        "masks-overlap": "Masks of one image overlap; they were kept as they are.",
        "surfaces-not-read": "Surfaces, such as road and sky, are no objects.",
        "mask-outlined": "The format written has no masks of pixels; the mask's outline was written.",
        "mask-missing": "The object has no mask and was left out, as asked by data.missing_masks.",
        "parts-bridged": "The format written has one polygon an object; the parts were joined by lines without width.",
        "parts-split": "A polygon joins parts by lines without width; it was read as the parts.",
        "parts-joined": "Shapes of one group were read as the parts of one object.",
        "shape-approximated": "A circle or an ellipse became a polygon of points on it.",
        "shape-unknown": "The kind of shape is not known.",
        "shape-without-area": "Points and lines have no area, so they are no objects to detect.",
        # Classes
        "class-assumed": "No object names a class; all were taken to be of one.",
        "class-found": "Which field holds the class was decided by evidence in the files.",
        "class-placeholder": "A category bears the name of the whole set and stands above all others.",
        "class-renamed": "A class was given another name, as asked.",
        "class-several": "The object names several classes; the first was taken.",
        "classes-lost": "The format written has no list of classes, so those without objects are lost.",
        "classes-alike": "Two class names differ in case, spaces or dashes alone; they were kept apart.",
        "classes-checked": "Images were checked for some classes only; scores take every image for labelled in full.",
        "class-respelled": "The format written cannot hold the class's name as it is.",
        "class-dropped": "The class is not among data.classes.",
        "class-missing": "The object has no class name.",
        "class-not-in-train": "The class occurs here but not in the training data, so it cannot be learned.",
        "class-unknown": "The object's category id is not in the list of categories.",
        "class-without-objects": "The class is listed, but the training data have no object of it.",
        "categories-merged": "Sources number their categories differently; they were joined by name.",
        # Images
        "image-16-bit": "16-bit pixels were reduced to their upper 8 bits, in a copy.",
        "image-alpha": "The alpha channel was left out, in a copy.",
        "image-animated": "The first frame was taken, in a copy.",
        "image-cmyk": "CMYK colours were turned into RGB, in a copy.",
        "image-doubled": "Two entries name the same image, or call two images alike.",
        "image-embedded": "The image lies inside the annotation file alone; `cvtune convert --copy` takes it out.",
        "image-extracted": "Images that lie inside of the annotation files were written as files.",
        "image-empty-dropped": "The image has no objects and was left out, as asked by data.keep_empty_images.",
        "image-exif-ambiguous": "The image is turned by EXIF and its size does not tell whether the boxes are; "
        "they were taken to be drawn on the turned image.",
        "image-exif-ignored": "The annotation's size is that of the stored pixels, so a copy without EXIF was made.",
        "image-exif-turned": "The annotation's size is that of the turned image, so a turned copy was made.",
        "image-ids-renumbered": "Sources share image ids; the images got new ones.",
        "image-missing": "The image file was not found.",
        "image-mode": "An unusual pixel format was turned into 8-bit RGB, in a copy.",
        "image-not-listed": "The annotation belongs to an image that is not listed.",
        "image-palette": "Palette colours were turned into RGB, in a copy.",
        "image-renamed": "The format finds files by the image's name; the image must bear the name given here.",
        "image-rotation-ignored": "The image was turned in the tool; coordinates were read as of the unturned one.",
        "image-size-differs": "The annotation's image size is not that of the file.",
        "image-size-filled": "The image size was missing and was read from the file.",
        "image-size-implausible": "The stated image size is beyond any image.",
        "image-size-missing": "The image's size is not known, and coordinates are shares of it.",
        "image-tags-lost": "Tags and answers about a whole image are not read.",
        "image-unreadable": "The image file is damaged.",
        "train-val-leak": "An image of one split is also in another, so scores will be too high.",
        # Files and everything else
        "annotation-ids-renumbered": "Annotation ids are missing or doubled; new ones were given.",
        "attributes-lost": "The format written has no place for these fields.",
        "count-differs": "The file says another number of objects than it holds.",
        "columns-found": "Which columns hold image, class and box was told by their names.",
        "difficult-kept": "Objects marked difficult were kept as ordinary objects.",
        "file-name-differs": "The annotation names another image file than the one that was found.",
        "file-skipped": "A file in the folder is not an annotation of this format.",
        "images-not-written": "The format finds labels by the place of the image; images are not copied.",
        "keypoints-lost": "Keypoints are not read.",
        "output-removed": "An earlier call wrote the file into this folder; the new result has none of its name.",
        "label-missing": "The image has no labels, or no file of them, and was read as one without objects.",
        "object-doubled": "Objects of one image repeat the same class and coordinates; they were kept.",
        "object-deleted": "The tool keeps the object in the file, marked as deleted.",
        "object-superseded": "Another annotation of the same image, or the tool's own mark, takes its place.",
        "part-missing": "A part that the set's own file names is not there.",
        "parts-lost": "Object parts are not read.",
        "subset-covered": "A part holds what the others hold between them, and was left out.",
        "subset-left-out": "Images that are in no subset were left out.",
        "predictions-left-out": "The file also holds predictions of a model, which are no annotations.",
        "row-malformed": "A line of the file cannot be read.",
        "score-ignored": "The objects carry scores, as predictions do; the scores were kept as a field, not judged.",
        "split-made": "Validation or test images were taken out of the training data.",
        "text-encoding": "The file is not UTF-8; its encoding was guessed.",
        "value-malformed": "A record is not of the form that the format asks for.",
        "value-repaired": "A field was malformed and was read for what it clearly means.",
    }
)


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened at `where` ("Annotations/a.xml object 3").

    `images` and `annotations` are how many of each it is about; `classes` splits lost annotations by class name. `iou`,
    of a mask that changed its representation, is the overlap of before and after, 0..1.
    """

    kind: Kind
    code: str
    where: str
    detail: str
    category: str | None = None
    images: int = 0
    annotations: int = 0
    classes: Mapping[str | None, int] = field(default_factory=dict)
    iou: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types; what is empty is left out."""
        record: dict[str, Any] = {"kind": self.kind, "code": self.code, "where": self.where, "detail": self.detail}
        for key in ("category", "images", "annotations"):
            if getattr(self, key):
                record[key] = getattr(self, key)
        if self.iou is not None:
            record["iou"] = self.iou
        return record


class Receipt:
    """What came in, what went out, and an event for every difference.

    A reader calls `count_in` with what the files hold, whoever writes the result calls `count_out`; in between every
    lost annotation is a `drop` and every lost image a `drop_image`. `check_sums` proves that in = out + dropped.
    A category of None stands for objects without a class name.
    """

    def __init__(self) -> None:
        """Begin empty."""
        self.images_in = 0
        self.images_out = 0
        self.classes_in: Counter[str | None] = Counter()
        self.classes_out: Counter[str | None] = Counter()
        self.events: list[Event] = []
        self.counts: Counter[str] = Counter()  # code -> events, unlisted ones too
        self.worst: list[Event] = []  # the ten masks that changed most, the worst first
        self.files: list[Path] = []  # the annotation files that were read
        self.hashes: dict[Path, tuple[str, int]] = {}  # (sha256, bytes) of those that were read whole
        self._images_dropped = 0
        self._classes_dropped: Counter[str | None] = Counter()
        self._kinds: dict[str, Kind] = {}

    @property
    def annotations_in(self) -> int:
        """How many annotations the sources hold."""
        return self.classes_in.total()

    @property
    def annotations_out(self) -> int:
        """How many annotations were written."""
        return self.classes_out.total()

    @property
    def images_dropped(self) -> int:
        """How many images were lost."""
        return self._images_dropped

    @property
    def classes_dropped(self) -> Counter[str | None]:
        """Class name -> annotations lost."""
        return Counter(self._classes_dropped)

    def count_in(self, images: int = 0, classes: Classes | None = None) -> None:
        """Add what a source holds: images, and annotations by class name."""
        self.images_in += images
        self.classes_in.update(classes or {})

    def count_out(self, images: int = 0, classes: Classes | None = None) -> None:
        """Add what was written: images, and annotations by class name."""
        self.images_out += images
        self.classes_out.update(classes or {})

    def drop(self, code: str, where: str, detail: str, category: str | None = None, count: int = 1) -> None:
        """`count` annotations of one class lost (1 unless they are many of the same kind)."""
        self._add(Event("drop", code, where, detail, category, annotations=count, classes={category: count}))

    def drop_written(self, code: str, where: str, detail: str, category: str | None = None) -> None:
        """One annotation lost that was counted out already: the format that is written cannot hold it."""
        self.classes_out[category] -= 1
        self.drop(code, where, detail, category)

    def drop_image(self, code: str, where: str, detail: str, classes: Classes | None = None) -> None:
        """One image lost, with its annotations, which `classes` counts by class name."""
        lost: Counter[str | None] = Counter()
        lost.update(classes or {})
        self._add(Event("drop", code, where, detail, images=1, annotations=lost.total(), classes=lost))

    def repair(self, code: str, where: str, detail: str, category: str | None = None, iou: float | None = None) -> None:
        """Something kept, but changed; `iou` says how like its mask is to what it was."""
        self._add(Event("repair", code, where, detail, category, iou=iou))

    def note(self, code: str, where: str, detail: str) -> None:
        """Something worth knowing; nothing changed."""
        self._add(Event("note", code, where, detail))

    def forget(self, code: str) -> None:
        """Take the notes of a code back, which are no longer true."""
        self.events = [event for event in self.events if event.code != code]
        self.counts.pop(code, None)

    def _add(self, event: Event) -> None:
        if event.code not in REASONS:
            raise ValueError(f"receipt: unknown code {event.code!r}; add it with its sentence to REASONS")
        self._kinds.setdefault(event.code, event.kind)
        self.counts[event.code] += 1
        self._images_dropped += event.images
        self._classes_dropped.update(event.classes)
        if event.iou is not None:
            self.worst = _least([*self.worst, event])
        if event.kind == "drop" or self.counts[event.code] <= LISTED:
            self.events.append(event)

    def check_sums(self) -> None:
        """Prove that what came in went out or was dropped.

        Raises:
            RuntimeError: it was not, which is a bug in cvtune: the class and the three counts are named.
        """
        counts = [("images", self.images_in, self.images_out, self._images_dropped)]
        for name in {**self.classes_in, **self.classes_out, **self._classes_dropped}:
            label = f"annotations of class {name!r}"
            counts.append((label, self.classes_in[name], self.classes_out[name], self._classes_dropped[name]))
        for what, came, went, dropped in counts:
            if came != went + dropped:
                raise RuntimeError(f"receipt: {came} {what} in, but {went} out and {dropped} dropped: a bug in cvtune")

    @staticmethod
    def merge(*receipts: Receipt) -> Receipt:
        """Sum counts and chain events."""
        merged = Receipt()
        for receipt in receipts:
            merged.count_in(receipt.images_in, receipt.classes_in)
            merged.count_out(receipt.images_out, receipt.classes_out)
            merged.events += receipt.events
            merged.files += receipt.files
            merged.hashes |= receipt.hashes
            merged.worst = _least([*merged.worst, *receipt.worst])
            merged.counts.update(receipt.counts)
            merged._images_dropped += receipt._images_dropped
            merged._classes_dropped.update(receipt._classes_dropped)
            merged._kinds = receipt._kinds | merged._kinds
        return merged

    def to_json(self) -> dict[str, Any]:
        """What `receipt.json` holds.

        `images`, `annotations` and each of `classes`: {in, out, dropped}; `counts`: code -> events; `reasons`: code ->
        sentence, of the codes that occur; `worst_iou`: the ten masks that a change of representation changed most;
        `events`: every drop, and the first 1,000 repairs and notes of a code.
        """
        names = sorted({str(n) for n in (*self.classes_in, *self.classes_out, *self._classes_dropped) if n is not None})
        return {
            "images": {"in": self.images_in, "out": self.images_out, "dropped": self._images_dropped},
            "annotations": {
                "in": self.annotations_in,
                "out": self.annotations_out,
                "dropped": self._classes_dropped.total(),
            },
            "classes": {
                name: {
                    "in": self.classes_in[name],
                    "out": self.classes_out[name],
                    "dropped": self._classes_dropped[name],
                }
                for name in names
            },
            "counts": dict(self.counts.most_common()),
            "reasons": {code: REASONS[code] for code in self.counts},
            "worst_iou": [event.to_json() for event in self.worst],
            "events": [event.to_json() for event in self.events],
        }

    def losses(self) -> list[tuple[str, int, str]]:
        """(code, events, first example) of every reason for which something was lost, if only a field."""
        return [
            (code, n, example)
            for code, kind, n, example in self._rows()
            if kind == "drop" or code in LOSSES or code.endswith("-lost")
        ]

    def summary_lines(self) -> list[str]:
        """A few lines for a terminal: the counts, then one line a code with its first example."""
        lines = [
            f"data: {self.images_out:,} of {self.images_in:,} images, "
            f"{self.annotations_out:,} of {self.annotations_in:,} objects kept"
        ]
        for code, kind, n, example in self._rows():
            more = f" (and {n - 1:,} more)" if n > 1 else ""
            lines.append(f"  {kind} {code}: {REASONS[code]} {example}{more}")
        return lines

    def table(self) -> Table:
        """A rich table: counts on top, then one row a code, 24 at most."""
        from rich.table import Table
        from rich.text import Text

        table = Table("count", "what", "why", "first", title=self.summary_lines()[0], title_justify="left")
        rows = list(self._rows())
        for code, kind, n, example in rows[:ROWS]:
            short = example if len(example) <= TEXT else example[:TEXT] + " ..."
            table.add_row(f"{n:,}", f"{kind} {code}", REASONS[code], Text(short))
        if len(rows) > ROWS:
            table.add_row("", "...", f"{len(rows) - ROWS} more reasons", "in receipt.json")
        return table

    def _rows(self) -> Iterable[tuple[str, Kind, int, str]]:
        """(code, kind, events, first example), drops first, then by count."""
        order = {"drop": 0, "repair": 1, "note": 2}
        first: dict[str, Event] = {}
        for event in self.events:
            first.setdefault(event.code, event)
        for code in sorted(self.counts, key=lambda code: (order[self._kinds[code]], -self.counts[code], code)):
            event = first[code]
            yield code, self._kinds[code], self.counts[code], ": ".join(t for t in (event.where, event.detail) if t)


def _least(events: list[Event]) -> list[Event]:
    """The ten of least overlap."""
    return sorted(events, key=lambda event: 1.0 if event.iou is None else event.iou)[:WORST]
