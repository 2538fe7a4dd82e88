"""Go over MMDetection's official configs: translate for 3 classes, build, load, two steps, predict.

python benchmarks/zoo_mmdet.py [CONFIG ...]

For each config for detection or instance segmentation on images: translate a spec with three classes; build the model;
load a state dict of the official shapes (80 classes, or the config's own number) at random, which proves that the heads
are dropped and the rest loads; take two training steps on two small images, one of them without objects; predict. The
loss must be finite and weights of the head must move. Results go to runs/zoo_mmdet.jsonl, where a sweep that was ended
goes on, and as a table to docs/zoo_mmdet.md; configs that are named are tried anew, whatever is known of them. The last
line reads "works N of M".
"""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent))

from zoo_sweep import arguments, find_named, sweep, tell_left_out, write_table

from cvtune.backends.mmdet.translate_model import official_classes
from cvtune.backends.mmdet.zoo import find_config, left_out, read_official, zoo_names
from cvtune.errors import CvtuneError, SpecError, UnsupportedError

CLASSES = ("circle", "square", "triangle")
SIZE = 256
SAMPLED, PROPOSED = 64, 200  # regions an image


def main() -> None:
    options = arguments(__doc__, "runs/zoo_mmdet.jsonl", "docs/zoo_mmdet.md")
    names, excluded = configs(find_named(options, find_config))
    tell_left_out(options, excluded)
    from cvtune.kernels.finder import install

    install()
    import mmdet.datasets
    import mmdet.engine
    import mmdet.evaluation
    import mmdet.models  # noqa: F401  imported once, before the forks
    import torch

    torch.set_num_threads(1)
    results = sweep(options, names, attempt)
    if not options.names and str(options.table) != "-":
        write_table(
            options.table,
            "MMDetection's zoo",
            f"What `python benchmarks/zoo_mmdet.py` found: every official config for detection or instance "
            f"segmentation on images, translated for {len(CLASSES)} classes at {SIZE} px, two training steps on two "
            f"images (one without objects), prediction; with at most {PROPOSED} regions proposed and {SAMPLED} sampled "
            "an image, on a CPU, with stand-ins for MMCV's compiled operators. "
            f"Tried: {len(results)} of {len(names)}.",
            results,
            excluded,
            ("parameters", "dropped"),
        )
    works = sum(result["outcome"] == "works" for result in results)
    print(f"works {works} of {len(results)}")


def configs(wanted: list[str]) -> tuple[list[str], dict[str, str]]:
    """Configs to sweep, one of each kind of model first and then by size; and those left out, with the reason."""
    excluded: dict[str, str] = {}
    kinds: dict[str, list[str]] = {}
    for name in wanted or zoo_names():
        try:
            content = read_official(name).content
        except UnsupportedError:
            excluded[name] = "a part of other configs, without a model"
            continue
        except (SpecError, CvtuneError):
            excluded[name] = "based on a file that the package lacks"
            continue
        reason = left_out(content)
        if reason:
            excluded[name] = reason
        else:
            kinds.setdefault(str(content["model"]["type"]), []).append(name)
    first = [min(names, key=_size) for names in kinds.values()]
    rest = sorted((n for names in kinds.values() for n in names if n not in first), key=_size)
    return first + rest, excluded


def _size(name: str) -> tuple[int, str]:
    """A guess at the size of a model from its name, so that small ones come first."""
    for rank, marks in enumerate((("_r18", "r34", "tiny", "nano", "_s_", "light", "mobilenet"), ("r50", "_m_"))):
        if any(mark in name for mark in marks):
            return rank, name
    return 2, name


def attempt(name: str) -> dict[str, Any]:
    """Try one config; returns facts about it, raises where it fails."""
    folder = Path(tempfile.mkdtemp(prefix="cvtune-zoo-"))
    try:
        return _attempt(name, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _attempt(name: str, folder: Path) -> dict[str, Any]:
    import torch
    from mmengine.config import Config

    from cvtune.backends.mmdet import trial
    from cvtune.backends.mmdet.detections import detections_of
    from cvtune.backends.mmdet.predict import test_pipeline
    from cvtune.backends.mmdet.runner import build_model, read_config
    from cvtune.backends.mmdet.weights import load_weights
    from cvtune.training import plan_run, translate_plan
    from cvtune.worker import write_native

    torch.manual_seed(0)
    run, spec = _prepare(name, folder)
    plan = plan_run(spec, run, complete=True)
    write_native(run, translate_plan(spec, run, plan))
    _with_fewer_regions(run.config)
    official = read_official(name)
    config = read_config(run)
    other = Config(official.copy())
    if official_classes(official.content) != len(CLASSES):
        weights = folder / "official.pth"
        model = build_model(_without_downloads(other))
        model.init_weights()
        load_weights(model, {"kind": "none"})
        torch.save({"state_dict": model.state_dict()}, weights)
        record = {"kind": "path", "value": str(weights), "sha256": None, "scope": "detector"}
    step, batches, model = trial._trial(run, heaviest=True)
    dropped = 0
    if official_classes(official.content) != len(CLASSES):
        report = load_weights(model, record)
        dropped = len(report.skipped)
        others = [line for line in report.skipped if "other classes" not in line[1] and "num_batches" not in line[0]]
        if others and not _no_counterpart(others):
            raise AssertionError(f"tensors without a counterpart: {others[:3]}")
        weights.unlink()
    before = {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad and "head" in n}
    for _ in range(2):
        loss = step(next(batches), None)
        if not math.isfinite(loss):
            raise AssertionError(f"a loss is not finite: {loss}")
    moved = [n for n, p in model.named_parameters() if n in before and not torch.equal(before[n], p.detach())]
    if not moved:
        raise AssertionError("no weight of the head has moved")
    model.eval()
    import cv2
    from mmengine.dataset import pseudo_collate

    images = json.loads(run.data("val").read_text())["images"]
    found = 0
    for image in images:
        data = test_pipeline(config)({"img": cv2.imread(image["file_name"]), "img_id": 0})
        with torch.no_grad():
            sample = model.test_step(pseudo_collate([data]))[0]
        found += len(list(detections_of(image["id"], sample)))
    parameters = sum(p.numel() for p in model.parameters())
    return {"parameters": f"{parameters / 1e6:.1f} M", "dropped": dropped, "loss": loss, "detections": found}


def _with_fewer_regions(path: Path) -> None:
    """Let a two-stage model propose and sample fewer regions: the same code in a fraction of the time."""
    from mmengine.config import Config

    from cvtune.backends.edits import config_text
    from cvtune.backends.mmdet.zoo import walk

    config = Config.fromfile(path, import_custom_modules=False).to_dict()
    for keys, node in walk(config["model"]):
        proposes = "rpn" in keys or "rpn_proposal" in keys
        if isinstance(node.get("num"), int) and "pos_fraction" in node:
            node["num"] = min(node["num"], SAMPLED)
        for key, most in (("max_per_img", PROPOSED), ("nms_pre", 2 * PROPOSED)):
            if proposes and isinstance(node.get(key), int):
                node[key] = min(node[key], most)
    path.write_text(config_text(config, ""))


def _no_counterpart(skipped: list[tuple[str, str]]) -> bool:
    """Whether what was not used belongs to a branch that is taken away, since it needs labels of the background."""
    return all("semantic" in name for name, _ in skipped)


def _without_downloads(config: Any) -> Any:
    """The official config for one process: nothing is fetched, batch norm is not synchronized."""
    from cvtune.backends.edits import Edits
    from cvtune.backends.mmdet.translate_model import pretrained_places
    from cvtune.backends.mmdet.zoo import walk

    edits = Edits(config.to_dict())
    for path in pretrained_places(edits):
        edits.remove(path, "model.weights")
    for path, node in list(walk(edits.config["model"])):
        if node.get("type") in ("SyncBN", "MMSyncBN"):
            edits.set(("model", *path, "type"), "BN", "model.norm")
    return type(config)(edits.config)


def _prepare(name: str, folder: Path) -> tuple[Any, Any]:
    """A run directory with two images of shapes, one of them empty, and a spec for the config."""
    from cvtune.backends.mmdet.image_size import official_size
    from cvtune.runs import RunDir
    from cvtune.spec import Spec

    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "datasets"))
    from shapes import make_shapes

    make_shapes(folder / "shapes", train=2, val=1, size=SIZE, seed=1)
    path = folder / "shapes/train.json"
    record = json.loads(path.read_text())
    empty = record["images"][1]["id"]
    record["annotations"] = [a for a in record["annotations"] if a["image_id"] != empty]
    path.write_text(json.dumps(record))
    content = read_official(name).content
    square = official_size(content)["data.image_size.square"]
    side = square if "SSDAnchorGenerator" in str(content["model"]) else SIZE  # SSD is made for one size
    source = {s: {"annotations": folder / f"shapes/{s}.json", "images": folder / f"shapes/images/{s}"}
              for s in ("train", "val")}  # fmt: skip
    spec = Spec.model_validate(
        {
            "name": "zoo",
            "backend": "mmdet",
            "model": {"zoo": name, "weights": "none"},
            "data": {
                **source,
                "classes": list(CLASSES),
                "batch_size": 2,
                "image_size": {"square": side} if square else {"short": SIZE, "long": SIZE},
            },
            "run": {"device": "cpu"},
        }
    )
    return RunDir(folder / "run"), spec


if __name__ == "__main__":
    main()
