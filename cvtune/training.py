"""What `cvtune train` does around the worker: data, plan, native file, training, scores, report."""

from __future__ import annotations

import importlib.metadata
import math
import shlex
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from cvtune.backends import load_backend
from cvtune.backends.base import Host, NativeConfig, Override, Recipe
from cvtune.backends.loggers import check_loggers
from cvtune.data.augment import check_augment
from cvtune.data.prepare import Prepared, prepare
from cvtune.errors import CvtuneError, RunError, SpecError
from cvtune.host import cached_host, probe_host
from cvtune.launch import in_process, run_worker
from cvtune.plan import Plan
from cvtune.planner import batch_size_candidates, make_plan
from cvtune.progress import RunProgress
from cvtune.runs import RunDir, read_json, write_json
from cvtune.spec import Spec
from cvtune.spec_file import errors_with_lines, load_spec, spec_hash, spec_to_json
from cvtune.worker import write_native

__all__ = ["Start", "command_of", "plan_run", "predict_split", "read_recipe", "run_training", "translate_plan"]

# Share of the memory that a training step may take: the rest is head-room for EMA, validation and fragmentation.
MEMORY_SHARE = 0.7
# A run directory that has one of these holds results.
RESULTS = ("checkpoints", "log.jsonl", "predictions.json", "metrics.json")


@dataclass(frozen=True)
class Start:
    """How a training begins: what becomes of an earlier run of the name, and whether the rate is found by trial."""

    resume: bool = False
    overwrite: bool = False
    find_lr: bool = False


def run_training(
    spec_path: Path, overrides: Sequence[str], start: Start, console: Console, runs: Path = Path("runs")
) -> RunDir:
    """Run a spec from data to report and return its run directory.

    Args:
        spec_path, overrides: as for `load_spec`.
        start: how it begins.
        console: where the receipt, the progress and the scores are printed.
        runs: the folder of the run directories.

    Raises:
        SpecError: the spec is wrong, or the run directory holds results and neither flag was given.
        MissingDependencyError: a package of `train.loggers` is not installed.
        CvtuneError: whatever the worker reports.
    """
    spec = load_spec(spec_path, overrides)
    if in_process(spec.backend):  # else its own interpreter looks, later
        check_loggers(spec.train.loggers)
    run = RunDir((runs / spec.name).resolve())
    with errors_with_lines(spec_path, overrides), run.locked() as lock:
        resumed = _open(run, spec, start)
        run.stop.unlink(missing_ok=True)
        if not resumed:
            write_json(run.spec, spec_to_json(spec))
            _record_start(run, spec, command_of(spec_path, overrides, start))
            plan = plan_run(spec, run, console, lock=lock, complete=True)
            if start.find_lr:
                plan = _with_found_lr(spec, run, plan, console, lock)
            native = translate_plan(spec, run, plan)
            write_native(run, native)
            _record_plan(run, plan, native)
        plan = Plan.from_json(read_json(run.plan))
        _train(run, spec, plan, resumed, console, lock)
        _score(run, spec, plan, console, lock)
    return run


def plan_run(
    spec: Spec, run: RunDir, console: Console | None = None, lock: int | None = None, complete: bool = False
) -> Plan:
    """Prepare the data in `run`, read the official recipe and resolve the plan; write plan.json.

    `complete`: ask the machine for whatever is pending; else such values stay pending unless a probe is cached.
    """
    if complete and spec.data.augment and in_process(spec.backend):
        # Asks albumentations, which takes seconds to import: not for a mere look at the plan.
        problems = check_augment(spec.data.augment)
        if problems:
            raise SpecError("\n".join(problems))
    recipe = read_recipe(spec, run)
    prepared = prepare(spec, run, task=recipe.task)
    if console:
        for line in prepared.receipt.summary_lines():
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    host = cached_host(spec.backend)
    if complete and host is None:
        host = probe_host(spec.backend)
    plan = _make(spec, prepared, recipe, host)
    if complete and "data.batch_size" in plan.pending:
        assert host is not None
        measured = _measure_batch_size(spec, run, prepared, recipe, host, lock)
        plan = _make(spec, prepared, recipe, host, measured)
    write_json(run.plan, plan.to_json())
    return plan


def read_recipe(spec: Spec, run: RunDir) -> Recipe:
    """The official recipe, read here or by the backend's own interpreter; write recipe.json."""
    if in_process(spec.backend):
        recipe = load_backend(spec.backend).recipe(spec)
        write_json(run.recipe, recipe.to_json())
        return recipe
    write_json(run.spec, spec_to_json(spec))
    run_worker(spec.backend, "recipe", run)
    return Recipe.from_json(read_json(run.recipe))


def translate_plan(spec: Spec, run: RunDir, plan: Plan) -> NativeConfig:
    """The native config, made here or by the backend's own interpreter."""
    plan.require_complete()
    if in_process(spec.backend):
        return load_backend(spec.backend).translate(plan)
    write_json(run.plan, plan.to_json())
    run_worker(spec.backend, "translate", run)
    overrides = tuple(Override(**record) for record in read_json(run.overrides))
    name = run.config.name
    assert name in {"config.yaml", "config.py"}
    return NativeConfig(name, run.config.read_text(), overrides, read_json(run.extras))  # type: ignore[arg-type]


def predict_split(run: RunDir, spec: Spec, split: str, checkpoint: Path, output: Path, lock: int | None = None) -> None:
    """Predict the canonical images of a split; write COCO results with source ids."""
    data = read_json(run.data(split))
    source = {image["id"]: image["source_id"] for image in read_json(run.images)[split]}
    images = [
        {"id": image["id"], "path": image["file_name"], "source_id": source[image["id"]]} for image in data["images"]
    ]
    request = run.path / "predict.json"
    write_json(request, {"checkpoint": str(checkpoint), "images": images, "output": str(output)})
    try:
        run_worker(spec.backend, "predict", run, "--request", str(request), lock=lock)
    finally:
        request.unlink(missing_ok=True)


def _open(run: RunDir, spec: Spec, start: Start) -> bool:
    """Decide what happens with an existing run directory; True where a run goes on."""
    if start.resume and start.overwrite:
        raise SpecError("--resume and --overwrite exclude each other; give one")
    has_results = any((run.path / name).exists() for name in RESULTS)
    if start.overwrite:
        for entry in run.path.iterdir():
            if entry.name != ".lock":
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        return False
    if not has_results:
        return False
    if not start.resume:
        raise SpecError(
            f"{run.path}: this run directory holds results; `--resume` goes on, `--overwrite` deletes them, "
            "`-s name=...` starts another"
        )
    recorded = read_json(run.record).get("spec_hash") if run.record.exists() else None
    if recorded != spec_hash(spec):
        raise SpecError(
            f"{run.path}: the spec has changed since this run began (hash {spec_hash(spec)}, was {recorded}); "
            "resume with the old spec, or use `--overwrite` or another name"
        )
    return run.last.exists() and run.plan.exists() and run.config.exists()


def command_of(spec_path: Path, overrides: Sequence[str], start: Start) -> str:
    """The command line that does the same, whether a shell, a tool of this repository or Python began it.

    That a checkpoint is trusted is said anew each time, so it is no part of it.
    """
    flags = {"--overwrite": start.overwrite, "--find-lr": start.find_lr}
    words = ["cvtune", "train", str(spec_path), *(word for override in overrides for word in ("-s", override))]
    return shlex.join([*words, *(flag for flag, given in flags.items() if given)])


def _record_start(run: RunDir, spec: Spec, command: str) -> None:
    run.update_record(
        name=spec.name,
        backend=spec.backend,
        command=command,
        spec_hash=spec_hash(spec),
        seed=spec.train.seed,
        started=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        state="planned",
    )


def _record_plan(run: RunDir, plan: Plan, native: NativeConfig) -> None:
    host = plan.host
    run.update_record(
        class_lock=plan.class_map.hash,
        versions={"cvtune": importlib.metadata.version("cvtune"), **(host.versions if host else {})},
        kernels=dict(host.kernels) if host else {},
        native_complete=not native.extras,
    )


def _make(
    spec: Spec, prepared: Prepared, recipe: Recipe, host: Host | None, measured: Mapping[str, Any] | None = None
) -> Plan:
    data = {split: summary.to_json() for split, summary in prepared.summaries.items()}
    return make_plan(spec, data, prepared.class_map, recipe, host, measured)


def _measure_batch_size(
    spec: Spec, run: RunDir, prepared: Prepared, recipe: Recipe, host: Host, lock: int | None
) -> dict[str, Any]:
    """Try real steps at rising batch sizes until the next one would not fit; each trial has a process of its own."""
    limit = MEMORY_SHARE * host.memory_bytes
    best = 0
    seen: dict[int, int] = {}
    devices = int(_make(spec, prepared, recipe, host)["run.devices"])
    candidates = batch_size_candidates(recipe.values["data.batch_size"], prepared.summaries["train"].images, devices)
    for batch in candidates:
        if best and _extrapolate(seen, batch) > limit:
            break
        plan = _make(spec, prepared, recipe, host, {"data.batch_size": batch, "reason": "trial"})
        write_json(run.plan, plan.to_json())
        write_native(run, translate_plan(spec, run, plan))
        try:
            run_worker(spec.backend, "measure", run, lock=lock)
        except RunError:
            if not best:
                raise
            break
        seen[batch] = int(read_json(run.path / "measured.json")["step_memory"])
        if seen[batch] > limit:
            break
        best = batch
    (run.path / "measured.json").unlink(missing_ok=True)
    if not best:
        raise RunError(
            f"data.batch_size: a step with one image takes {seen[1] / 2**30:.1f} GiB "
            f"of {host.memory_bytes / 2**30:.1f}; "
            "lower data.image_size or choose a smaller model"
        )
    trials = ", ".join(f"{batch}: {memory / 2**30:.2f} GiB" for batch, memory in seen.items())
    return {"data.batch_size": best, "reason": f"auto: largest tried that fits {limit / 2**30:.1f} GiB ({trials})"}


def _extrapolate(seen: Mapping[int, int], batch: int) -> float:
    """Memory at `batch` by the line through the last two trials, or in proportion after one."""
    sizes = sorted(seen)
    if len(sizes) == 1:
        return seen[sizes[0]] * batch / sizes[0]
    a, b = sizes[-2:]
    return seen[b] + (seen[b] - seen[a]) / (b - a) * (batch - b)


def _with_found_lr(spec: Spec, run: RunDir, plan: Plan, console: Console, lock: int) -> Plan:
    """Find the learning rate by trial and plan again with it."""
    write_native(run, translate_plan(spec, run, plan))
    run_worker(spec.backend, "find-lr", run, lock=lock)
    lr = suggest_lr(read_json(run.lr_trial))
    reason = "--find-lr: a tenth of the rate at which the loss was lowest"
    console.print(f"learning rate: {lr:.3g} (planned {plan['train.optimizer.lr']:.3g}); {reason}", highlight=False)
    data = {split: dict(summary) for split, summary in plan.data.items()}
    measured = {"train.optimizer.lr": lr, "data.batch_size": plan["data.batch_size"], "reason": reason}
    found = make_plan(spec, data, plan.class_map, plan.recipe, plan.host, measured)
    batch = "data.batch_size"
    found = replace(found, reasons={**found.reasons, batch: plan.reasons[batch]})
    write_json(run.plan, found.to_json())
    return found


def suggest_lr(trial: Sequence[Sequence[float]]) -> float:
    """A tenth of the learning rate with the lowest smoothed loss (Smith 2017; fastai's `minimum` rule)."""
    usable = [(lr, loss) for lr, loss in trial if math.isfinite(loss)]
    if not usable:
        raise RunError("--find-lr: no loss was finite, even at the smallest rate; check data and weights")
    return float(f"{min(usable, key=lambda pair: pair[1])[0] / 10:.3g}")


def _train(run: RunDir, spec: Spec, plan: Plan, resume: bool, console: Console, lock: int) -> None:
    processes = int(plan["run.devices"])
    run.update_record(state="training")
    try:
        with RunProgress(run, int(plan["train.iterations"]), console) as progress:
            flags = ["--resume"] if resume else []
            run_worker(spec.backend, "train", run, *flags, processes=processes, lock=lock, on_poll=progress.poll)
    except CvtuneError as error:
        run.update_record(state="failed", error=str(error))
        raise
    except KeyboardInterrupt:
        run.update_record(state="stopped")
        raise


def _score(run: RunDir, spec: Spec, plan: Plan, console: Console, lock: int) -> None:
    """Predict with the best checkpoint, score, report."""
    from cvtune.evaluation import evaluate_run
    from cvtune.evaluation.table import metrics_table
    from cvtune.report import write_report

    split = run.scored_split
    predict_split(run, spec, split, run.selected, run.predictions, lock)
    metrics = evaluate_run(run, split=split, check=True)
    stopped = run.stop.exists()
    run.update_record(state="stopped" if stopped else "done")
    console.print(metrics_table(metrics))
    write_report([run])
