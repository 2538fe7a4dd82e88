"""What the verbs that need a spec, a run or scores do. No printing but through a console that is handed in."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cvtune.errors import CvtuneError, SpecError, UnsupportedError
from cvtune.runs import RunDir, open_run, write_json

if TYPE_CHECKING:
    from rich.console import Console

    from cvtune.backends.base import NativeConfig
    from cvtune.doctor import Line
    from cvtune.evaluation.comparison import Comparison
    from cvtune.evaluation.why import Explanation
    from cvtune.plan import Plan
    from cvtune.training import Start

__all__ = [
    "backends",
    "compare",
    "doctor",
    "evaluate",
    "explain",
    "models",
    "plan",
    "predict",
    "report",
    "train",
    "train_seeds",
    "translate",
    "watch",
    "watch_once",
    "zoo",
]


def plan(spec_path: Path, overrides: Sequence[str] = ()) -> Plan:
    """The resolved plan, without a run directory; machine-dependent values are pending unless a probe is cached."""
    from cvtune.spec_file import errors_with_lines, load_spec
    from cvtune.training import plan_run

    spec = load_spec(spec_path, overrides)
    with tempfile.TemporaryDirectory(prefix="cvtune-plan-") as folder, errors_with_lines(spec_path, overrides):
        return plan_run(spec, RunDir(Path(folder)))


def translate(spec_path: Path, overrides: Sequence[str] = ()) -> NativeConfig:
    """The native config of a spec, with the list of what differs from the official one."""
    from cvtune.spec_file import errors_with_lines, load_spec, spec_to_json
    from cvtune.training import plan_run, translate_plan

    spec = load_spec(spec_path, overrides)
    with tempfile.TemporaryDirectory(prefix="cvtune-translate-") as folder, errors_with_lines(spec_path, overrides):
        run = RunDir(Path(folder))
        write_json(run.spec, spec_to_json(spec))
        return translate_plan(spec, run, plan_run(spec, run, complete=True))


def train(
    spec_path: Path,
    overrides: Sequence[str] = (),
    resume: bool = False,
    overwrite: bool = False,
    find_lr: bool = False,
    console: Console | None = None,
) -> RunDir:
    """Fine-tune, score, report; returns the run directory."""
    from rich.console import Console

    from cvtune.training import Start, run_training

    start = Start(resume, overwrite, find_lr)
    return run_training(spec_path, overrides, start, console or Console(quiet=True))


def train_seeds(
    spec_path: Path,
    count: int,
    overrides: Sequence[str] = (),
    start: Start | None = None,
    console: Console | None = None,
) -> Path:
    """Train with several seeds; returns the file with mean and spread of the scores."""
    from rich.console import Console

    from cvtune.seeds import train_seeds as run_seeds
    from cvtune.training import Start

    return run_seeds(spec_path, count, overrides, start or Start(), console or Console(quiet=True))


def watch(path: Path, port: int = 0, open_browser: bool = False, say: Callable[[str], None] = print) -> None:
    """Serve the page of a run, which need not have begun, until an interrupt; `say` gets the address.

    Raises:
        SpecError: there is no such folder, nor one that it could come to lie in; or the port cannot be used.
    """
    from cvtune.watch import WatchServer

    run = RunDir(Path(path).resolve())
    # The first run of a folder makes runs/ too.
    if not run.path.is_dir() and (run.path.exists() or not run.path.parent.parent.is_dir()):
        raise SpecError(f"{path}: no such run directory; `cvtune train SPEC` makes runs/<name>")
    server = WatchServer(run, port)
    with contextlib.suppress(KeyboardInterrupt):  # how this verb ends
        if not run.record.exists():
            say(f"{path}: nothing is there yet; the page waits for it")
        say(f"watch: {server.url} (Ctrl-C ends it)")
        if open_browser:
            import webbrowser

            webbrowser.open(server.url)
        server.serve()


def watch_once(path: Path) -> Path:
    """Write the page of a run as it is now, with its pictures, to watch.html in the run directory."""
    from cvtune.watch import write_page

    return write_page(open_run(path))


def evaluate(
    run: Path | None = None,
    gt: Path | None = None,
    pred: Path | None = None,
    engine: Literal["hotcoco", "pycocotools"] = "hotcoco",
    out: Path | None = None,
    split: str | None = None,
    analysis: Path | None = None,
    slices: Sequence[str] = (),
) -> dict[str, Any]:
    """COCO scores of a run, or of any pair of COCO files.

    For a run, a `split` other than the one whose predictions lie there is predicted first. A run gets its
    metrics.json and analysis.json, unless other predictions than its own are scored; for a pair the analysis is written
    where `analysis` says, and the scores have intervals then. `slices`: images to score apart.
    """
    import cvtune.evaluation as evaluation

    if run is not None and gt is not None:
        raise SpecError("eval: give a run directory or --gt GT.json, not both: a run has its own ground truth")
    if run is None:
        if gt is None or pred is None:
            raise SpecError("eval: give a run directory, or both --gt GT.json and --pred PRED.json")
        if slices and analysis is None:
            raise SpecError("eval: --slice needs --analysis FILE, where the scores of the slices are written")
        if analysis is None:
            metrics = evaluation.evaluate(gt, pred, engine=engine, foreign=True)
        else:
            from cvtune.evaluation.analyse import analyse_pair, read_pair
            from cvtune.evaluation.records import no_collection

            with no_collection():
                metrics, analysed = analyse_pair(read_pair(gt, pred, engine), slices)
            write_json(analysis, analysed.to_json())
    else:
        directory = open_run(run)
        split = split or directory.scored_split
        if pred is None and not directory.predictions_of(split).exists():
            from cvtune.training import predict_split
            from cvtune.worker import read_spec

            with directory.locked() as lock:
                out_path = directory.predictions_of(split)
                predict_split(directory, read_spec(directory), split, directory.selected, out_path, lock)
        metrics = evaluation.evaluate_run(directory, pred, split, engine, slices=slices, analysis=analysis)
    if out is not None:
        write_json(out, metrics)
    return metrics


def explain(
    run: Path | None = None,
    gt: Path | None = None,
    pred: Path | None = None,
    out: Path | None = None,
    split: str | None = None,
) -> Explanation:
    """Why a run or a pair of COCO files scores low; written to `out`.

    By default a run's explanation lies in the run, unless other predictions than its own are explained.
    """
    from cvtune.evaluation.why import explain as explain_pair
    from cvtune.evaluation.why import explain_run

    if run is not None:
        directory = open_run(run)
        explanation = explain_run(directory, pred, split)
        if pred is None:
            out = out or directory.explanation_of(split or directory.scored_split)
    elif gt is not None and pred is not None:
        explanation = explain_pair(gt, pred)
    else:
        raise SpecError("eval --explain: give a run directory, or both --gt GT.json and --pred PRED.json")
    if out is not None:
        write_json(out, explanation.to_json())
    return explanation


def compare(a: Path, b: Path, gt: Path | None = None, split: str | None = None, out: Path | None = None) -> Comparison:
    """Whether B is better than A, with intervals: two runs, or two files of predictions and their ground truth."""
    from cvtune.evaluation.comparison import compare_files, compare_runs

    if gt is not None and split is not None:
        raise SpecError("compare: --split is of runs; leave it out with --gt")
    comparison = compare_files(gt, a, b) if gt is not None else compare_runs(open_run(a), open_run(b), split)
    if out is not None:
        write_json(out, comparison.to_json())
    return comparison


def predict(
    run: Path,
    images: Sequence[str],
    out: Path,
    draw: Path | None = None,
    score_threshold: float | None = None,
    checkpoint: Path | None = None,
) -> Path:
    """Predict images, folders, globs or COCO files; write COCO results, and drawings where asked."""
    from cvtune.inference import predict_files

    return predict_files(open_run(run), images, out, draw, score_threshold, checkpoint)


def report(
    runs: Sequence[Path],
    out: Path | None = None,
    gt: Path | None = None,
    pred: Path | None = None,
    images: Path | None = None,
) -> tuple[Path, ...]:
    """Write report.html, .md and .json of one run, of several side by side, or of two files without a run."""
    from cvtune.report import Files, write_file_report, write_report

    if gt is None and pred is None and images is None:
        return write_report([open_run(run) for run in runs], out)
    if runs:
        raise SpecError("report: give run directories or --gt GT.json --pred PRED.json, not both")
    if gt is None or pred is None:
        raise SpecError("report: give run directories, or both --gt GT.json and --pred PRED.json")
    return write_file_report(Files(gt, pred, images), out)


def doctor(
    spec_path: Path,
    overrides: Sequence[str] = (),
    trial: bool = True,
    images: int = 6,
    steps: int = 120,
    minutes: float = 10.0,
) -> Iterator[Line]:
    """What is right and wrong before a training, line after line; see `cvtune.doctor.examine`."""
    from cvtune.doctor import examine

    return examine(spec_path, overrides, trial, images, steps, minutes)


def backends() -> list[dict[str, Any]]:
    """One row a backend: what is installed, on which device, with which kernels, and how to get what is missing."""
    from cvtune.backends import backend_names, load_backend
    from cvtune.host import probe_host

    rows = []
    for name in backend_names():
        row: dict[str, Any] = {
            "name": name,
            "installed": False,
            "version": None,
            "device": None,
            "kernels": {},
            "problem": None,
            "install": getattr(load_backend(name), "install", f"pip install 'cvtune[{name}]'"),
        }
        try:
            host = probe_host(name)
        except CvtuneError as error:
            row["problem"] = str(error)
        else:
            row |= {
                "installed": True,
                "version": host.backend_version,
                "device": host.device_name,
                "kernels": dict(host.kernels),
                "problem": "; ".join(host.problems) or None,
            }
        rows.append(row)
    return rows


def zoo(backend: str) -> list[dict[str, Any]]:
    """One row for each official config that `model.zoo` may name, with its published AP and weights.

    Raises:
        UnsupportedError: the backend's models are all among its families.
    """
    from cvtune.backends import load_backend

    listed = getattr(load_backend(backend), "zoo", None)
    if listed is None:
        raise UnsupportedError(f"models --zoo: backend {backend} has no zoo beside its families; leave --zoo out")
    keys = ("box_ap", "mask_ap", "weights")
    return [{"config": name, **{key: facts.get(key) for key in keys}} for name, facts in listed().items()]


def models(backend: str = "torchvision") -> list[dict[str, Any]]:
    """One row for each family and backbone of a backend, with size and published AP of official configs."""
    from cvtune.backends import load_backend

    rows = []
    for info in load_backend(backend).models().values():
        for backbone, config in info.backbones.items():
            published = info.published.get(config or "", {})
            rows.append(
                {
                    "family": info.family,
                    "task": info.task,
                    "backbone": backbone + (" (default)" if backbone == info.default_backbone else ""),
                    "config": config,
                    "parameters": published.get("parameters"),
                    "box_ap": published.get("box_ap"),
                    "mask_ap": published.get("mask_ap"),
                    "weights": published.get("weights"),
                }
            )
    return rows
