"""The data checks that matter for a spec: its parts against each other, its task, its model's anchors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from cvtune.data.anchors import DEFAULT_ANCHORS, compare_with_anchors
from cvtune.data.checked import Checked, CheckedPart
from cvtune.data.checks import Finding, run_checks
from cvtune.data.coco import load_coco
from cvtune.data.formats import ReadSource, read_source
from cvtune.data.image_facts import look_at_images
from cvtune.data.receipt import Receipt
from cvtune.doctor.line import Level, Line
from cvtune.plan import Plan
from cvtune.report.text import plural
from cvtune.runs import RunDir
from cvtune.spec import DataSpec, Spec

__all__ = ["check_data", "check_fit"]

FEW_OBJECTS, FEW_IMAGES = 10, 30
# Above these shares of all objects the model's view of them is said to be bad.
UNMATCHED, TINY = 0.3, 0.2
LEFT_OUT = {"box-outside", "box-zero-area", "annotation-lost", "label-unmatched"}
BAD_IMAGES = {"image-unreadable", "image-missing", "image-size-differs"}
FIXES: Mapping[str, str] = {
    "image-unreadable": "mend or remove the files, or data.skip_bad_images: true",
    "image-missing": "correct data.*.images, or data.skip_bad_images: true",
    "image-size-differs": "correct width and height in the annotations, or data.skip_bad_images: true",
    "image-leak": "remove them from one part, or split anew: data.split with by: prefix",
    "image-near-leak": "keep images of one scene in one part: data.split with by: prefix",
    "image-duplicate": "remove the copies; where data.split makes the parts, they may land in two of them",
    "class-not-in-train": "add images of that class to data.train, or list data.classes without it",
    "class-ids-shifted": "compare names and ids: cvtune draw shows them on images",
    "class-imbalance": "add images of the rare classes; their AP is a guess else",
    "mask-partly": "data.missing_masks: box (masks from boxes) or drop",
    "box-zero-area": "it is left out of the training; mend it in the source",
    "box-outside": "it is left out of the training; mend it in the source",
    "annotation-lost": "it is left out of the training; cvtune check lists all of them",
    "box-doubled": "remove one of the two: the model is punished for finding only one",
    "box-overlapping": "look at them (cvtune draw): two boxes of one object lower AP",
    "box-tiny": "a larger data.image_size, or remove them",
}


def check_data(spec: Spec, task: str) -> Iterator[Line]:
    """Read every source with its images and run `cvtune check`'s checks, the parts of the spec against each other.

    Args:
        spec: the spec. task: "detect" leaves out what is wrong with masks.

    Raises:
        DataError: a source cannot be read.
    """
    checked = _read(spec.data)
    report = run_checks(checked)
    images, objects = sum(report.images.values()), sum(report.annotations.values())
    parts = ", ".join(f"{name} {n:,}" for name, n in report.images.items())
    yield Line("ok", "data", f"{images:,} images ({parts}), {objects:,} objects read")
    for finding in report.findings:
        level = _level(finding, spec.data, task)
        if level != "ok":
            check = finding.check
            example = str(finding.examples[0])
            seen = f"{check.id}: {plural(finding.count, 'time')}: {check.meaning} First: {example}"
            yield Line(level, "data", seen, FIXES.get(check.id, "cvtune check lists all of them"))


def check_fit(run: RunDir, plan: Plan) -> Iterator[Line]:
    """How many objects each class has to learn from, and how large they are for the model.

    Args:
        run: a run directory with its canonical data. plan: the plan; values that wait for the machine may be missing.
    """
    train = load_coco(run.data("train"))
    counts = Counter(plan.class_map.names[int(a.category_id) - 1] for a in train.annotations if not a.iscrowd)
    rare = [f"{name} ({counts[name]})" for name in plan.class_map.names if counts[name] < FEW_OBJECTS]
    if len(train.images) < FEW_IMAGES:
        seen = f"only {len(train.images)} training images"
        yield Line("warning", "data", seen, "annotate more: figures of so few images swing by tens of points")
    if rare:
        seen = f"classes with fewer than {FEW_OBJECTS} training objects: {', '.join(rare[:8])}"
        more = f" and {len(rare) - 8} more" if len(rare) > 8 else ""
        yield Line("warning", "data", seen + more, "annotate more of them, or list data.classes without them")
    keys = ("short", "long", "test_short", "square", "fit")
    size = {key: plan.get(f"data.image_size.{key}") for key in keys}
    own_anchors = "anchor" in str(plan.get("native") or "").lower()
    anchors = None if own_anchors else DEFAULT_ANCHORS.get(str(plan.get("model.family")))
    fit = compare_with_anchors(train, size, anchors)
    if not fit.objects or fit.unmatched is None or fit.below_half is None:
        return
    unmatched, tiny = fit.unmatched / fit.objects, fit.below_half / fit.objects
    if unmatched > UNMATCHED or tiny > TINY:
        seen = (
            f"at {fit.image_size}, {100 * tiny:.0f} % of the objects are smaller than half of the smallest anchor "
            f"({fit.smallest_anchor:g} px) and {100 * unmatched:.0f} % fit no anchor (best IoU below 0.5)"
        )
        fix = "a larger data.image_size, or smaller anchors in native" if tiny > TINY else "other ratios in native"
        yield Line("warning", "data", seen, fix)
    else:
        yield Line("ok", "data", f"at {fit.image_size}, {100 * (1 - unmatched):.0f} % of the objects fit an anchor")


def _read(data: DataSpec) -> Checked:
    shared: dict[Any, Any] = {}
    parts = []
    for name, sources in (("train", data.train), ("val", data.val), ("test", data.test)):
        for i, source in enumerate(sources):
            receipt = Receipt()
            where = ReadSource(source.annotations, source.images, source.subset, source.origin, shared)
            dataset = read_source(where, source.format, receipt)
            parts.append(
                CheckedPart(name if not i else f"{name}, source {i + 1}", dataset, receipt.events, receipt.files)
            )
    files = [image.path for part in parts for image in part.dataset.images if image.path is not None]
    return Checked("", tuple(parts), look_at_images(files))


def _level(finding: Finding, data: DataSpec, task: str) -> Level:
    """How bad a finding is for this spec; notes are fine."""
    check = finding.check
    if check.severity == "note" or (task == "detect" and check.id.startswith("mask-")):
        return "ok"
    if check.id in LEFT_OUT or (check.id in BAD_IMAGES and data.skip_bad_images):
        return "warning"  # it is left out of the training, and the receipt says so
    if check.id == "mask-partly":
        return "error" if data.missing_masks == "error" else "ok"
    return check.severity
