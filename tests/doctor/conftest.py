"""A backend without torch, whose worker runs in this process, and which behaves as a test wants."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image, ImageDraw

import cvtune.doctor.machine
import cvtune.doctor.trial
import cvtune.host
import cvtune.training
from cvtune import errors, worker
from cvtune.backends import BACKENDS
from cvtune.backends.base import Detection, Host
from cvtune.errors import MissingDependencyError, RunError
from cvtune.runs import RunDir, append_jsonl, read_json

TOY = Path(__file__).parents[1] / "backends" / "toy" / "cvtune_toy.py"


@pytest.fixture
def toy(load_script: Callable[[Path], ModuleType], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """What the backend does; a test changes it: losses, step_seconds, memory, host, found, fails."""
    module = load_script(TOY)
    behaviour: dict[str, Any] = {
        "loss": lambda step: 2.0 / step,
        "step_seconds": 0.5,
        "memory": 1 << 20,
        "host": {},
        "found": True,
        "fails": None,
        "missing": False,
        "corners": False,
        "trained": [],
    }
    own_train, own_predict = module.train, module.predict

    def probe() -> Host:
        if behaviour["missing"]:
            raise MissingDependencyError("backend toy: not installed: toys; run pip install toys")
        return Host(**{**vars(module_probe()), **behaviour["host"]})

    def module_probe() -> Host:
        return Host("1.0", "cpu", 1, "toy", 1 << 30, 1, False, {"torch": "none"}, {"toy._C": "compiled"})

    def train(run: RunDir, resume: bool) -> None:
        if behaviour["fails"]:
            raise RunError(behaviour["fails"])
        values = {key: entry["value"] for key, entry in read_json(run.plan)["values"].items()}
        behaviour["trained"].append(values)
        own_train(run, resume)
        run.log.unlink()
        for step in range(1, int(values["train.iterations"]) + 1):
            record = {"step": step, "epoch": 1, "lr": 1.0, "loss": behaviour["loss"](step), "losses": {}}
            append_jsonl(run.log, record | {"seconds": behaviour["step_seconds"] * step, "memory_mb": 1.0})
            if run.stop.exists():
                break

    monkeypatch.setattr(module, "probe", probe)
    monkeypatch.setattr(module, "train", train)
    monkeypatch.setattr(module, "step_memory", lambda run: behaviour["memory"])

    def predict(*arguments: Any) -> Iterator[Detection]:
        for found in own_predict(*arguments) if behaviour["found"] else ():
            x, y, w, h = found.bbox_xywh
            yield replace(found, bbox_xywh=(x, y, x + w, y + h)) if behaviour["corners"] else found

    monkeypatch.setattr(module, "predict", predict)
    monkeypatch.setitem(sys.modules, "cvtune_toy", module)
    monkeypatch.setitem(BACKENDS, "toy", "cvtune_toy")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def run_here(backend: str, verb: str, run: RunDir, *arguments: str, **options: Any) -> None:
        options.get("on_poll", lambda: None)()
        run.error.unlink(missing_ok=True)
        run.path.mkdir(parents=True, exist_ok=True)
        if worker.main([verb, str(run.path), *arguments]):
            record = read_json(run.error)
            raise getattr(errors, record["type"])(record["message"])

    for user in (cvtune.doctor.machine, cvtune.doctor.trial, cvtune.host, cvtune.training):
        monkeypatch.setattr(user, "run_worker", run_here)
    return behaviour


@pytest.fixture
def write_spec(tmp_path: Path) -> Callable[..., Path]:
    """write_spec(images=40, **changes): a spec for coloured squares; changes are dotted keys with `__` for the dot."""

    def write(images: int = 40, spoil: Callable[[str, dict[str, Any]], None] = lambda *_: None, **changes: Any) -> Path:
        for split, count in (("train", images), ("val", 8)):
            folder = tmp_path / split
            folder.mkdir(exist_ok=True)
            record: dict[str, Any] = {"images": [], "annotations": [], "categories": []}
            record["categories"] = [{"id": 1, "name": "red"}, {"id": 2, "name": "blue"}]
            for i in range(1, count + 1):
                # Grey patches, different on each image: no two are near copies.
                grey = np.random.default_rng([count, i]).integers(100, 255, (6, 6), np.uint8)
                picture = Image.fromarray(grey).resize((96, 96), Image.Resampling.NEAREST).convert("RGB")
                for k, colour in enumerate(((200, 30, 30), (30, 30, 200))):
                    x, y = 4 + 46 * k, (7 * i) % 50
                    ImageDraw.Draw(picture).rectangle([x, y, x + 39, y + 39], fill=colour)
                    box = {"id": 2 * i + k, "image_id": i, "category_id": k + 1, "bbox": [x, y, 40, 40]}
                    record["annotations"].append(box)
                picture.save(folder / f"{i}.png")
                record["images"].append({"id": i, "file_name": f"{i}.png", "width": 96, "height": 96})
            spoil(split, record)
            (tmp_path / f"{split}.json").write_text(json.dumps(record))
        spec: dict[str, Any] = {
            "name": "examined",
            "backend": "toy",
            "model": {"family": "colour", "weights": "none"},
            "data": {
                "train": {"annotations": "train.json", "images": "train"},
                "val": {"annotations": "val.json", "images": "val"},
                "batch_size": 2,
            },
        }
        for key, value in changes.items():
            at = spec
            *path, last = key.split("__")
            for part in path:
                at = at.setdefault(part, {})
            at[last] = value
        target = tmp_path / "spec.yaml"
        target.write_text(yaml.safe_dump(spec))
        assert os.listdir(tmp_path / "train")
        return target

    return write
