"""What starting costs: which modules each way in imports. Times are measured in benchmarks, not here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FRAMEWORKS = {"torch", "torchvision", "lightning", "mmdet", "mmcv", "mmengine", "detectron2", "albumentations"}
HEAVY = {"numpy", "cv2", "PIL", "pycocotools", "hotcoco", "pydantic", "yaml", "jinja2", "matplotlib", "rich.console"}
DATA_VERBS = ["init", "convert", "check", "stats", "split", "merge", "draw"]
VERBS = [
    *DATA_VERBS,
    "plan",
    "translate",
    "doctor",
    "train",
    "watch",
    "eval",
    "predict",
    "report",
    "backends",
    "models",
]

PROBE = """
import atexit, json, sys
atexit.register(lambda: print("\\nMODULES " + json.dumps(sorted(sys.modules))))
"""


def modules_after(code: str, cwd: Path = ROOT, status: int = 0) -> set[str]:
    """The modules that an interpreter has imported when `code` has ended."""
    command = [sys.executable, "-c", PROBE + code]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)
    line = next((line for line in done.stdout.splitlines() if line.startswith("MODULES ")), None)
    assert done.returncode == status, done.stderr
    assert line is not None, done.stdout
    return set(json.loads(line.removeprefix("MODULES ")))


def cvtune(*arguments: str) -> str:
    """Code that runs the command line as its entry point does."""
    return f"from cvtune.cli import main; main({list(arguments)!r})"


def write_data(folder: Path) -> Path:
    """A spec on a COCO set of four images of one colour."""
    from PIL import Image

    images, annotations = [], []
    for i in range(1, 5):
        Image.new("RGB", (64, 48), (20 * i, 40, 60)).save(folder / f"{i}.png")
        images.append({"id": i, "file_name": f"{i}.png", "width": 64, "height": 48})
        annotations.append(
            {"id": i, "image_id": i, "category_id": 1, "bbox": [4, 4, 20, 10], "area": 200, "iscrowd": 0}
        )
    coco = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "thing"}]}
    (folder / "train.json").write_text(json.dumps(coco))
    path = folder / "spec.yaml"
    path.write_text(
        "name: start\nmodel: {family: faster_rcnn, weights: none}\n"
        "data: {train: train.json, split: {val: 0.5}, batch_size: 1}\n"
    )
    return path


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_imports_next_to_nothing(option: str) -> None:
    assert not modules_after(cvtune(option)) & (FRAMEWORKS | HEAVY)


@pytest.mark.parametrize("verb", VERBS)
def test_a_verbs_help_imports_next_to_nothing(verb: str) -> None:
    # Newer versions of typer read a verb's arguments with pydantic.
    assert not modules_after(cvtune(verb, "--help")) & (FRAMEWORKS | HEAVY - {"pydantic"})


def test_import_cvtune_imports_next_to_nothing() -> None:
    modules = modules_after("import cvtune; cvtune.SpecError; cvtune.__version__")
    assert not modules & (FRAMEWORKS | HEAVY | {"typer"})
    assert not {name for name in modules if name.startswith("cvtune.")} - {"cvtune.errors"}


def test_the_doctor_imports_no_framework_in_its_own_process(tmp_path: Path) -> None:
    assert not modules_after(cvtune("doctor", str(write_data(tmp_path)), "--no-trial")) & FRAMEWORKS


def test_a_mistake_in_the_spec_is_told_without_a_framework(tmp_path: Path) -> None:
    spec = write_data(tmp_path)
    spec.write_text(spec.read_text() + "trian: {}\n")
    assert not modules_after(cvtune("train", str(spec)), status=2) & FRAMEWORKS


@pytest.mark.parametrize("verb", ["plan", "models"])
def test_plan_and_models_import_no_framework(verb: str, tmp_path: Path) -> None:
    spec = write_data(tmp_path)
    arguments = ["plan", str(spec), "--json"] if verb == "plan" else ["models", "--json"]
    modules = modules_after(cvtune(*arguments), cwd=tmp_path)
    assert "cvtune.backends.torchvision" in modules
    assert not modules & FRAMEWORKS


def test_reading_a_spec_imports_no_framework_and_no_arrays(tmp_path: Path) -> None:
    spec = write_data(tmp_path)
    modules = modules_after(f"import cvtune; cvtune.load_spec({str(spec)!r})")
    assert not modules & (FRAMEWORKS | {"cv2", "PIL", "pycocotools", "hotcoco", "rich.console"})


def test_evaluation_needs_no_framework(tmp_path: Path) -> None:
    write_data(tmp_path)
    (tmp_path / "p.json").write_text(
        json.dumps([{"image_id": 1, "category_id": 1, "bbox": [4, 4, 20, 10], "score": 0.9}])
    )
    arguments = ["eval", "--gt", str(tmp_path / "train.json"), "--pred", str(tmp_path / "p.json")]
    assert not modules_after(cvtune(*arguments)) & FRAMEWORKS
