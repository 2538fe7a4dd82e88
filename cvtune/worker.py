"""``python -m cvtune.worker VERB RUN_DIR``: the one process that imports a framework. Files in, files out."""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from cvtune.backends import load_backend
from cvtune.backends.base import Backend, NativeConfig, PredictImage
from cvtune.errors import CvtuneError
from cvtune.plan import Plan
from cvtune.predictions import save_predictions, to_results
from cvtune.runs import RunDir, read_json, write_json, write_text
from cvtune.spec import Spec

__all__ = ["main", "parent_is_gone", "read_spec", "write_native"]


def read_spec(run: RunDir) -> Spec:
    """The resolved spec in the run directory."""
    return Spec.model_validate(read_json(run.spec))


def write_native(run: RunDir, native: NativeConfig) -> None:
    """Write the native file, the short one that inherits where there is one, the overrides and the extras."""
    write_text(run.path / native.file_name, native.text)
    if native.delta is not None:
        write_text(run.path / native.file_name.replace("config.", "config_delta."), native.delta)
    write_json(run.overrides, [vars(override) for override in native.overrides])
    write_json(run.extras, native.extras)


def parent_is_gone() -> bool:
    """Whether the process that started this worker has ended (it set CVTUNE_PARENT_PID)."""
    parent = os.environ.get("CVTUNE_PARENT_PID")
    if parent is None:
        return False
    try:
        os.kill(int(parent), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; on failure leave `error.json` (type, message) and return the error's exit status."""
    parser = argparse.ArgumentParser(prog="cvtune.worker", description=__doc__)
    parser.add_argument("verb", choices=["probe", "recipe", "translate", "measure", "find-lr", "train", "predict"])
    parser.add_argument("run", type=Path)
    parser.add_argument("--backend", help="probe: which backend")
    parser.add_argument("--resume", action="store_true", help="train: go on from checkpoints/last.pth")
    parser.add_argument("--request", type=Path, help="predict: JSON with checkpoint, images, output")
    arguments = parser.parse_args(argv)
    run = RunDir(arguments.run.resolve())
    try:
        _VERBS[arguments.verb](run, arguments)
    except CvtuneError as error:
        return _report(run, type(error).__name__, str(error), error.exit_status)
    except MemoryError as error:
        return _report(run, "RunError", f"out of memory: {error}; try a smaller data.batch_size", 1)
    except KeyboardInterrupt:
        return _report(run, "RunError", "interrupted; `--resume` goes on from the last checkpoint", 1)
    except Exception as error:
        traceback.print_exc()
        return _report(
            run, "RunError", f"{type(error).__name__}: {error}; the traceback is in {run.path}/worker.log", 1
        )
    return 0


def _report(run: RunDir, kind: str, message: str, status: int) -> int:
    print(f"error: {message}", file=sys.stderr)
    # The first process to fail speaks for all: what the others see is its consequence.
    if not run.error.exists():
        write_json(run.error, {"type": kind, "message": message})
    return status


def _backend(run: RunDir) -> Backend:
    return load_backend(read_json(run.spec)["backend"])


def _probe(run: RunDir, arguments: argparse.Namespace) -> None:
    write_json(run.path / "host.json", load_backend(arguments.backend).probe().to_json())


def _recipe(run: RunDir, arguments: argparse.Namespace) -> None:
    write_json(run.recipe, _backend(run).recipe(read_spec(run)).to_json())


def _translate(run: RunDir, arguments: argparse.Namespace) -> None:
    plan = Plan.from_json(read_json(run.plan))
    write_native(run, _backend(run).translate(plan))


def _measure(run: RunDir, arguments: argparse.Namespace) -> None:
    write_json(run.path / "measured.json", {"step_memory": _backend(run).step_memory(run)})


def _find_lr(run: RunDir, arguments: argparse.Namespace) -> None:
    write_json(run.lr_trial, _backend(run).find_lr(run))


def _train(run: RunDir, arguments: argparse.Namespace) -> None:
    _backend(run).train(run, arguments.resume)


def _predict(run: RunDir, arguments: argparse.Namespace) -> None:
    request = json.loads(arguments.request.read_text())
    images = [PredictImage(image["id"], Path(image["path"])) for image in request["images"]]
    source_ids = {image["id"]: image.get("source_id", image["id"]) for image in request["images"]}
    class_map = run.class_map()
    detections = _backend(run).predict(run, Path(request["checkpoint"]), images)
    results = to_results(detections, class_map, source_ids)
    save_predictions(results, Path(request["output"]), class_map)


_VERBS = {
    "probe": _probe,
    "recipe": _recipe,
    "translate": _translate,
    "measure": _measure,
    "find-lr": _find_lr,
    "train": _train,
    "predict": _predict,
}

if __name__ == "__main__":
    sys.exit(main())
