"""What can be wrong with a data set: a table of checks, each a function that yields what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from cvtune.data import check_boxes, check_classes, check_images, check_masks
from cvtune.data.checked import Checked, CheckedPart, Example
from cvtune.data.image_facts import look_at_images
from cvtune.data.parts import Part, Parts, read_parts
from cvtune.meter import stage

__all__ = ["CHECKS", "Check", "Finding", "Report", "check_dataset", "run_checks"]

Severity = Literal["error", "warning", "note"]
ORDER = {"error": 0, "warning": 1, "note": 2}
# A report names this many examples of each finding.
EXAMPLES = 100


@dataclass(frozen=True, slots=True)
class Check:
    """One check: its id, how bad a finding is, what it means, and the function that looks."""

    id: str
    severity: Severity
    meaning: str
    look: Callable[[Checked], Iterator[Example]]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found: how many, and the first hundred."""

    check: Check
    count: int
    examples: tuple[Example, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        examples = [
            {
                key: value
                for key in ("part", "file", "annotation", "detail")
                if (value := getattr(example, key)) is not None
            }
            for example in self.examples
        ]
        check = self.check
        return {
            "id": check.id,
            "severity": check.severity,
            "count": self.count,
            "meaning": check.meaning,
            "examples": examples,
        }


@dataclass(frozen=True)
class Report:
    """All findings, the worst first, and what was looked at."""

    format: str
    evidence: str
    images: Mapping[str, int]
    annotations: Mapping[str, int]
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> int:
        """How many checks of severity "error" found something."""
        return sum(finding.check.severity == "error" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "format": self.format,
            "evidence": self.evidence,
            "images": dict(self.images),
            "annotations": dict(self.annotations),
            "errors": self.errors,
            "findings": [finding.to_json() for finding in self.findings],
        }

    def summary(self) -> str:
        """One line."""
        counts = {level: sum(f.check.severity == level for f in self.findings) for level in ORDER}
        said = ", ".join(f"{n} {level}{'s' if n != 1 else ''}" for level, n in counts.items())
        return f"{said} in {sum(self.images.values()):,} images and {sum(self.annotations.values()):,} annotations"


CHECKS: Mapping[str, Check] = MappingProxyType(
    {
        check.id: check
        for check in (
            Check(
                "image-unreadable",
                "error",
                "The image file is damaged, cut off, or no image.",
                check_images.unreadable,
            ),
            Check(
                "image-missing",
                "error",
                "The image file was not found; `cvtune convert --copy` takes one inside an annotation file out.",
                check_images.missing,
            ),
            Check(
                "image-size-differs",
                "error",
                "The stated size is neither the file's nor that of the image turned by EXIF.",
                check_images.size_differs,
            ),
            Check("image-leak", "error", "The same image is in two parts of the set.", check_images.leaks),
            Check(
                "image-near-leak",
                "warning",
                "Images of two parts show the same, by perceptual hash: a copy of another quality, or the next frame.",
                check_images.near_leaks,
            ),
            Check(
                "image-duplicate",
                "warning",
                "Several files of one part have the same content.",
                check_images.duplicates,
            ),
            Check(
                "image-unlabeled",
                "warning",
                "An image that no annotation file names lies among the others, or it has no label file.",
                check_images.unlabeled,
            ),
            Check(
                "label-unmatched",
                "error",
                "A label file belongs to no image.",
                check_images.unmatched_labels,
            ),
            Check(
                "image-exif-turned",
                "note",
                "EXIF turns the image; the detail says which size the annotations have.",
                check_images.exif_turned,
            ),
            Check("image-empty", "note", "The image has no objects.", check_images.empty),
            Check("box-outside", "error", "The box lies outside its image.", check_boxes.outside),
            Check(
                "box-sticks-out",
                "warning",
                "The box sticks out of its image by a pixel or more.",
                check_boxes.sticks_out,
            ),
            Check("box-zero-area", "error", "The box has no width or no height.", check_boxes.zero_area),
            Check("box-tiny", "warning", "A side of the box is shorter than 2 pixels.", check_boxes.tiny),
            Check("box-giant", "warning", "The box covers 95 % of its image or more.", check_boxes.giant),
            Check("box-doubled", "warning", "Two objects of one class have the same box.", check_boxes.doubled),
            Check(
                "box-overlapping",
                "warning",
                "Boxes of one class overlap with an IoU of 0.85 or more, so they may be one object.",
                check_boxes.overlapping,
            ),
            Check(
                "annotation-lost",
                "error",
                "Reading leaves the object or the image out for another reason, which the detail names.",
                check_boxes.lost,
            ),
            Check(
                "shape-without-area",
                "note",
                "The shape is a point or a line, which is no object to detect, and is left out.",
                check_boxes.without_area,
            ),
            Check(
                "mask-box-differs",
                "warning",
                "The box is not that of the mask: a side is off by more than 2 pixels and 5 %.",
                check_masks.box_differs,
            ),
            Check("mask-crossing", "warning", "A polygon crosses itself.", check_masks.crossing),
            Check("mask-partly", "warning", "Some objects have a mask, others none.", check_masks.partly),
            Check(
                "class-unknown",
                "error",
                "The class is not in the list of classes.",
                check_classes.unknown,
            ),
            Check(
                "class-ids-shifted",
                "warning",
                "Class ids look shifted by one against the names.",
                check_classes.shifted,
            ),
            Check(
                "class-not-in-train",
                "error",
                "The class occurs in another part, but not in the training part.",
                check_classes.not_in_train,
            ),
            Check(
                "class-imbalance",
                "warning",
                "The class has less than a hundredth of the objects of the most frequent one.",
                check_classes.imbalance,
            ),
            Check("class-unused", "note", "The class is listed, but has no object.", check_classes.unused),
        )
    }
)
"""Check id -> check. To add a check is to add a function and a line here."""


def check_dataset(
    path: Path,
    format: str = "auto",
    images: Path | None = None,
    subset: str | None = None,
    origin: Literal["auto", 0, 1] = "auto",
    against: Sequence[Path] = (),
) -> Report:
    """Read a data set with its images and run every check; nothing is written.

    Args:
        path: annotations in any known format: a file or a folder.
        format: the format's name, or "auto".
        images: where the images are; else they are searched around the annotations.
        subset: a named part, which is then checked alone; else all parts are checked, and against each other.
        origin: where pixels start, for formats that leave it open.
        against: other data sets, whose images must not be in this one.

    Raises:
        DataError: a data set is wrong or of no known format.
    """
    own = read_parts(path, format, images, subset, origin)
    others = [read_parts(other) for other in against]
    parts = [_part(own, part) for part in own.parts]
    parts += [_part(other, part, other=True) for other in others for part in other.parts]
    files = [image.path for part in parts for image in part.dataset.images if image.path is not None]
    whole = subset is None and not _has_siblings(Path(path))
    return run_checks(Checked(own.format, tuple(parts), look_at_images(files), whole), own.evidence)


def run_checks(data: Checked, evidence: str = "") -> Report:
    """Run every check on what was read."""
    findings = []
    with stage("checking", len(CHECKS)) as current:
        for check in CHECKS.values():
            found = list(check.look(data))
            if found:
                findings.append(Finding(check, len(found), tuple(found[:EXAMPLES])))
            current.advance()
    findings.sort(key=lambda finding: ORDER[finding.check.severity])
    return Report(
        data.format,
        evidence,
        {part.name or "all": len(part.dataset.images) for part in data.own},
        {part.name or "all": len(part.dataset.annotations) for part in data.own},
        tuple(findings),
    )


def _has_siblings(path: Path) -> bool:
    """Whether other annotation files may lie beside a file."""
    beside = path.parent.iterdir() if path.is_file() else ()
    return any(other.suffix == path.suffix and other.name not in {path.name, "receipt.json"} for other in beside)


def _part(source: Parts, part: Part, other: bool = False) -> CheckedPart:
    name = part.name
    if other:
        name = f"{source.path}{'/' + name if name else ''}"
    return CheckedPart(name, part.dataset, part.receipt.events, part.receipt.files, other)
