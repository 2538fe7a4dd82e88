"""Go over Detectron2's official configs: translate for 3 classes, build, load, two steps, predict.

python benchmarks/zoo_detectron2.py [CONFIG ...]

For each config for detection or instance segmentation on images: build the official model at random and save it as
Detectron2 publishes its own (a .pkl of arrays, with the config's own number of classes); translate a spec with three
classes that starts from that file; build, load (the heads are dropped by name, the rest loads); take two training steps
on two small images, one of them without objects; predict. The loss must be finite and weights of the head must move.
The table goes to docs/zoo_detectron2.md; a sweep that was killed goes on where it was; the last line reads "works N of
M".
"""

from __future__ import annotations

import json
import math
import os
import pickle
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent))

from zoo_sweep import arguments, find_named, sweep, tell_left_out, write_table

from cvtune.backends.detectron2.zoo import config_path, find_config, is_lazy, left_out, zoo_names

CLASSES = ("circle", "square", "triangle")
SIZE = 256
# Residual branches at random, without statistics to keep them in bounds, would double at each of 50 blocks.
BRANCH_SCALE = 0.1


def main() -> None:
    options = arguments(__doc__, "runs/zoo_detectron2.jsonl", "docs/zoo_detectron2.md")
    names, excluded = configs(find_named(options, find_config))
    tell_left_out(options, excluded)
    from cvtune.backends.detectron2.probe import install_kernels

    install_kernels()
    import torch

    from cvtune.backends.detectron2 import predict, trial  # noqa: F401  imported once, before the forks

    torch.set_num_threads(1)
    results = sweep(options, names, attempt)
    if not options.names and str(options.table) != "-":
        write_table(
            options.table,
            "Detectron2's zoo",
            "What `python benchmarks/zoo_detectron2.py` found: every official config, YAML and LazyConfig, for "
            f"detection or instance segmentation on images, translated for {len(CLASSES)} classes at {SIZE} px, loaded "
            "from a checkpoint of the official shapes, two training steps on two images (one without objects), "
            "prediction; on a CPU, with stand-ins for Detectron2's compiled operators.",
            results,
            excluded,
            ("parameters", "loaded", "dropped"),
        )
    works = sum(result["outcome"] == "works" for result in results)
    print(f"works {works} of {len(results)}")


def configs(wanted: list[str]) -> tuple[list[str], dict[str, str]]:
    """Configs to sweep, small ones first; and those left out, with the reason."""
    reasons = {name: left_out(name) for name in wanted or zoo_names()}
    taken = sorted((name for name, reason in reasons.items() if reason is None), key=_size)
    return taken, {name: reason for name, reason in reasons.items() if reason is not None}


def _size(name: str) -> tuple[int, str]:
    """A guess at the size of a model from its name."""
    marks = ("R_50_FPN", "R_101_FPN", "regnet", "X_101", "DC5", "C4")
    return next((rank for rank, mark in enumerate(marks) if mark in name), len(marks)), name


def attempt(name: str) -> dict[str, Any]:
    """Try one config; returns facts about it, raises where it fails."""
    folder = Path(tempfile.mkdtemp(prefix="cvtune-zoo-"))
    try:
        return _attempt(name, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _attempt(name: str, folder: Path) -> dict[str, Any]:
    import torch
    from detectron2.utils.events import EventStorage

    from cvtune.backends.detectron2.predict import detect
    from cvtune.backends.detectron2.trial import Trial
    from cvtune.backends.detectron2.weights import load_weights
    from cvtune.training import plan_run, translate_plan
    from cvtune.worker import write_native

    torch.manual_seed(0)
    run, spec = _prepare(name, folder, _official_checkpoint(name, folder / "model_final.pkl"))
    plan = plan_run(spec, run, complete=True)
    write_native(run, translate_plan(spec, run, plan))
    trial = Trial(run)
    report = load_weights(trial.model, trial.extras["weights"])
    others = [line for line in report.skipped if "number of classes" not in line[1]]
    if others or set(report.missing) - _class_tensors(trial.model):
        raise AssertionError(f"tensors without a counterpart: {others[:3]} {report.missing[:3]}")
    (folder / "model_final.pkl").unlink()
    before = {n: p.detach().clone() for n, p in trial.model.named_parameters() if p.requires_grad and "head" in n}
    batch = trial.heaviest()
    if sorted(len(sample["instances"]) == 0 for sample in batch) != [False, True]:
        raise AssertionError("the batch is to hold one image without objects")
    with EventStorage():
        losses = [trial.step(batch, number) for number in range(2)]
    if not all(map(math.isfinite, losses)):
        raise AssertionError(f"a loss is not finite: {losses}")
    if not any(not torch.equal(before[n], p.detach()) for n, p in trial.model.named_parameters() if n in before):
        raise AssertionError("no weight of the head has moved")
    images = json.loads(run.data("val").read_text())["images"]
    found = list(detect(trial.model, trial.config, [(image["id"], Path(image["file_name"])) for image in images]))
    if any((detection.rle is None) == (plan["task"] == "segment") for detection in found):
        raise AssertionError("masks are missing, or came where there should be none")
    parameters = sum(p.numel() for p in trial.model.parameters())
    return {
        "parameters": f"{parameters / 1e6:.1f} M",
        "loaded": len(report.loaded),
        "dropped": len(report.skipped),
        "loss": losses[-1],
        "detections": len(found),
    }


def _class_tensors(model: Any) -> set[str]:
    """The tensors whose shapes follow the number of classes."""
    from cvtune.backends.detectron2.weights import _CLASS_TENSORS

    return {name for name in model.state_dict() if _CLASS_TENSORS.search(name)}


def _official_checkpoint(name: str, path: Path) -> Path:
    """The official model at random, saved as Detectron2 publishes its own."""
    from detectron2.config import get_cfg

    from cvtune.backends.detectron2.config import build_model, yaml_config
    from cvtune.backends.detectron2.lazy.config import read_lazy_config

    if is_lazy(name):
        config = read_lazy_config(config_path(name))
    else:
        native = get_cfg()
        native.merge_from_file(str(config_path(name)))
        config = yaml_config(native)
    arrays = {n: v.numpy() for n, v in build_model(config).state_dict().items() if "num_batches" not in n}
    for tensor, array in arrays.items():
        if tensor.endswith((".conv3.norm.weight", ".f.c_bn.weight", ".bn3.weight")):
            array *= BRANCH_SCALE
    path.write_bytes(pickle.dumps({"model": arrays, "__author__": "Detectron2 Model Zoo"}))
    return path


def _prepare(name: str, folder: Path, weights: Path) -> tuple[Any, Any]:
    """A run directory with two images of shapes, one of them empty, and a spec for the config."""
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
    source = {s: {"annotations": folder / f"shapes/{s}.json", "images": folder / f"shapes/images/{s}"}
              for s in ("train", "val")}  # fmt: skip
    spec = Spec.model_validate(
        {
            "name": "zoo",
            "backend": "detectron2",
            "model": {"zoo": name, "weights": str(weights)},
            "data": {
                **source,
                "classes": list(CLASSES),
                "batch_size": 2,
                "image_size": {"short": SIZE, "long": SIZE},
            },
            "run": {"device": "cpu"},
        }
    )
    return RunDir(folder / "run"), spec


if __name__ == "__main__":
    main()
