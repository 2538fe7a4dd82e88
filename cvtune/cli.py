"""The `cvtune` command: one function a verb, no logic. `cvtune --help` imports no more than these files and typer."""

from __future__ import annotations

import atexit
import gc
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from cvtune import cli_data  # its verbs come first in the help
from cvtune.cli_parts import AsJson, app, console, folds, print_json, print_table, shown, verb

if TYPE_CHECKING:
    from cvtune.evaluation.comparison import Difference

__all__ = ["app", "cli_data", "main"]


class Engine(StrEnum):
    """Who computes the scores."""

    hotcoco = "hotcoco"
    pycocotools = "pycocotools"


class Split(StrEnum):
    """A part of a run's data that can be scored."""

    val = "val"
    test = "test"


SpecFile = Annotated[Path, typer.Argument(metavar="SPEC", show_default=False, help="The spec file.")]
Run = Annotated[Path, typer.Argument(metavar="RUN", show_default=False, help="A run directory, runs/NAME.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("-s", "--set", metavar="KEY=VALUE", help="Override a key of the spec; may be given again."),
]
Trust = Annotated[
    bool, typer.Option("--trust-checkpoint", help="Read weights whose file would run code; only from those you trust.")
]


def _version(asked: bool) -> None:
    if asked:
        import cvtune

        typer.echo(f"cvtune {cvtune.__version__}")
        raise typer.Exit


@app.callback()
def _global(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks (or set CVTUNE_DEBUG=1).")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    if debug:
        os.environ["CVTUNE_DEBUG"] = "1"


@verb("cvtune plan spec.yaml", "cvtune plan spec.yaml -s train.recipe=official --json")
def plan(spec: SpecFile, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Print every value that a training would use, with its reason."""
    from cvtune import verbs

    made = verbs.plan(spec, overrides or ())
    if as_json:
        print_json(made.to_json())
        return
    rows = [[key, shown(value), made.reasons[key]] for key, value in made.values.items()]
    print_table(["key", "value", "reason"], rows)


@verb("cvtune translate spec.yaml -o config.yaml", "cvtune translate spec.yaml --diff")
def translate(
    spec: SpecFile,
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="FILE", help="Write it; default: print it.")
    ] = None,
    diff: Annotated[
        bool, typer.Option("--diff", help="Print what differs from the official config, and what asked for it.")
    ] = False,
) -> None:
    """Translate a spec to the framework's own config."""
    from cvtune import verbs

    native = verbs.translate(spec, overrides or ())
    if out is not None:
        from cvtune.runs import write_text

        write_text(out, native.text)
    if diff:
        rows = [[o.key, shown(o.official), shown(o.value), o.asked_by, o.kind] for o in native.overrides]
        print_table(["key", "official", "value", "asked by", "kind"], rows)
        print_table(
            ["not in the file", "value", "done by"],
            [
                [field, shown(extra.get("value")), shown(extra.get("mechanism"))]
                for field, extra in native.extras.items()
            ],
        )
    elif out is None:
        sys.stdout.write(native.text)


@verb("cvtune doctor spec.yaml", "cvtune doctor spec.yaml --no-trial --json")
def doctor(
    spec: SpecFile,
    overrides: Overrides = None,
    trial: Annotated[bool, typer.Option("--trial/--no-trial", help="Train a little: memory, time, learning.")] = True,
    images: Annotated[int, typer.Option(min=1, max=64, help="How many images the model must learn by heart.")] = 6,
    steps: Annotated[int, typer.Option(min=4, help="In how many steps.")] = 120,
    minutes: Annotated[float, typer.Option(min=0.1, help="The limit of each trial.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Look for what would spoil a training: data, environment, memory, time, learning; exit status 1 on errors."""
    from cvtune import verbs

    lines = []
    for line in verbs.doctor(spec, overrides or (), trial, images, steps, minutes):
        lines.append(line)
        if not as_json:
            colour = {"ok": "green", "warning": "yellow", "error": "red"}[line.level]
            typer.echo(f"{typer.style(f'{line.level:8}', fg=colour)}{line.topic:12} {line.seen}")
            if line.fix:
                typer.echo(f"{'':20} fix: {line.fix}")
    counts = {level: sum(line.level == level for line in lines) for level in ("error", "warning", "ok")}
    if as_json:
        print_json({"errors": counts["error"], "lines": [line.to_json() for line in lines]})
    else:
        typer.echo(", ".join(f"{n} {level}{'s' if n != 1 and level != 'ok' else ''}" for level, n in counts.items()))
    if counts["error"]:
        raise typer.Exit(1)


@verb(
    "cvtune train spec.yaml",
    "cvtune train spec.yaml -s train.epochs=3 -s data.batch_size=4 --overwrite",
    "cvtune train spec.yaml --seeds 3",
)
def train(
    spec: SpecFile,
    overrides: Overrides = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped or killed.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Delete an earlier run of this name.")] = False,
    find_lr: Annotated[bool, typer.Option("--find-lr", help="Find the learning rate by a short trial first.")] = False,
    seeds: Annotated[
        int, typer.Option("--seeds", metavar="N", help="Train N times, seed by seed; mean and spread of the scores.")
    ] = 1,
    trust_checkpoint: Trust = False,
) -> None:
    """Fine-tune, score and report; results are in runs/NAME."""
    from cvtune import verbs

    _trust(trust_checkpoint)
    if seeds != 1:
        from cvtune.training import Start

        out = verbs.train_seeds(spec, seeds, overrides or (), Start(resume, overwrite, find_lr), console())
        typer.echo(f"scores: {out}\nreport: {out.with_suffix('.html')}")
        return
    run = verbs.train(spec, overrides or (), resume, overwrite, find_lr, console())
    typer.echo(f"report: {run.path / 'report.html'}")


@verb("cvtune watch runs/my-run", "cvtune watch runs/my-run --port 8000 --open", "cvtune watch runs/my-run --once")
def watch(
    run: Run,
    port: Annotated[int, typer.Option(metavar="N", min=0, max=65535, help="Default: a free one.")] = 0,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    once: Annotated[
        bool, typer.Option("--once", help="Write the page as it is now to RUN/watch.html instead of serving it.")
    ] = False,
) -> None:
    """Show a run while it trains: curves, progress, sample predictions, on a page of this machine alone."""
    from cvtune import verbs

    if once:
        typer.echo(f"page: {verbs.watch_once(run)}")
        return
    verbs.watch(run, port, open_browser, typer.echo)


@verb(
    "cvtune eval runs/my-run --split test",
    "cvtune eval runs/my-run --explain",
    "cvtune eval --gt val.json --pred predictions.json -o metrics.json",
)
def eval_(
    run: Annotated[Path | None, typer.Argument(metavar="RUN", show_default=False, help="A run directory.")] = None,
    gt: Annotated[Path | None, typer.Option(metavar="FILE", help="Ground truth in COCO's form.")] = None,
    pred: Annotated[Path | None, typer.Option(metavar="FILE", help="Predictions in COCO's results form.")] = None,
    engine: Annotated[Engine, typer.Option(help="What computes the scores.")] = Engine.hotcoco,
    split: Annotated[Split | None, typer.Option(help="Which part of the run's data; default: test, else val.")] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", metavar="FILE", help="Write the scores as JSON.")] = None,
    analysis: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write what stands behind the scores; a run does anyway.")
    ] = None,
    slices: Annotated[
        list[str] | None,
        typer.Option(
            "--slice",
            metavar="FILE|ATTRIBUTE",
            help="Score parts of the images apart: listed in a file, or by folder, ...",
        ),
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Say why the score is low, with evidence.")] = False,
) -> None:
    """Compute COCO's scores of a run, or of any pair of COCO files."""
    from cvtune import verbs
    from cvtune.errors import CvtuneError, SpecError
    from cvtune.evaluation.table import metrics_lines, metrics_table

    part = split.value if split else None
    try:
        metrics = verbs.evaluate(run, gt, pred, engine.value, out, part, analysis, slices or ())
        if folds():
            console().print(metrics_table(metrics))
        else:
            typer.echo(metrics_lines(metrics))
    except CvtuneError as error:
        # What cannot be scored is what most needs an explanation.
        if not explain or isinstance(error, SpecError):
            raise
        typer.echo(f"not scored: {error}", err=True)
    if explain:
        from cvtune.evaluation.why import explanation_table

        beside = out.with_name("explanation.json") if out else None
        console().print(explanation_table(verbs.explain(run, gt, pred, beside, part)))


@verb("cvtune compare runs/a runs/b", "cvtune compare a.json b.json --gt val.json --json")
def compare(
    a: Annotated[Path, typer.Argument(metavar="A", show_default=False, help="A run, or predictions with --gt.")],
    b: Annotated[Path, typer.Argument(metavar="B", show_default=False, help="What is compared with it.")],
    gt: Annotated[Path | None, typer.Option(metavar="FILE", help="Ground truth, for two files of predictions.")] = None,
    split: Annotated[Split | None, typer.Option(help="Which part of the runs' data; default: test, else val.")] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="FILE", help="Write the comparison as JSON.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say whether B is better than A, with 95 % intervals from the same draws of images."""
    from cvtune import verbs

    told = verbs.compare(a, b, gt, split.value if split else None, out)
    if as_json:
        print_json(told.to_json())
        return

    def row(name: str, one: Difference) -> list[str]:
        spread = "-" if one.interval is None else f"{100 * one.interval[0]:+.1f} to {100 * one.interval[1]:+.1f}"
        return [name, f"{100 * one.a:.1f}", f"{100 * one.b:.1f}", f"{100 * one.difference:+.1f}", spread]

    for title, figures in (("x100", told.figures), ("AP of class", told.per_class)):
        columns = [title, "A", "B", "difference", "95 % interval"]
        print_table(columns, [row(name, figure) for name, figure in figures.items()])
    for line in (told.sentence, *told.notes):
        typer.echo(line)


@verb(
    "cvtune predict runs/my-run photos/ -o predictions.json --draw drawn",
    "cvtune predict runs/my-run 'photos/*.jpg' -o predictions.json --score-threshold 0.5",
)
def predict(
    run: Run,
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGES...", show_default=False, help="Files, folders, globs, COCO files.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE", help="Where to write COCO results.")] = Path(
        "predictions.json"
    ),
    draw: Annotated[Path | None, typer.Option(metavar="DIR", help="Draw the predictions into this folder.")] = None,
    score_threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="Leave out predictions below it; default: the model's own.")
    ] = None,
    checkpoint: Annotated[Path | None, typer.Option(metavar="FILE", help="Default: the run's best.")] = None,
    trust_checkpoint: Trust = False,
) -> None:
    """Predict images with a trained run."""
    from cvtune import verbs

    _trust(trust_checkpoint)
    typer.echo(f"predictions: {verbs.predict(run, images, out, draw, score_threshold, checkpoint)}")


@verb(
    "cvtune report runs/my-run",
    "cvtune report runs/a runs/b -o comparison",
    "cvtune report --gt val.json --pred predictions.json --images val2017 -o report",
)
def report(
    runs: Annotated[
        list[Path] | None, typer.Argument(metavar="RUN...", show_default=False, help="Run directories.")
    ] = None,
    gt: Annotated[Path | None, typer.Option(metavar="FILE", help="Without a run: ground truth in COCO's form.")] = None,
    pred: Annotated[Path | None, typer.Option(metavar="FILE", help="Predictions, as eval takes them.")] = None,
    images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The folder of the images; default: near the ground truth.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="DIR", help="Default: the run's or predictions' folder.")
    ] = None,
) -> None:
    """Write the report of one run, of several side by side, or of predictions without a run."""
    from cvtune import verbs

    for path in verbs.report(runs or (), out, gt, pred, images):
        typer.echo(f"report: {path}")


@verb("cvtune backends", "cvtune backends --json")
def backends(as_json: AsJson = False) -> None:
    """Say what is installed, with which kernels, and how to get what is missing."""
    from cvtune import verbs

    rows = verbs.backends()
    if as_json:
        print_json(rows)
        return
    for row in rows:
        row["get it with"] = None if row["installed"] else row["install"]
    columns = ["name", "version", "device", "kernels", "problem", "get it with"]
    print_table(columns, [[shown(row[column]) for column in columns] for row in rows])


@verb("cvtune models", "cvtune models --backend torchvision --json")
def models(
    backend: Annotated[str, typer.Option(metavar="NAME", help="Which backend's.")] = "torchvision",
    zoo: Annotated[bool, typer.Option("--zoo", help="Every official config that model.zoo may name.")] = False,
    as_json: AsJson = False,
) -> None:
    """List a backend's models with their size and published AP."""
    from cvtune import verbs

    rows = verbs.zoo(backend) if zoo else verbs.models(backend)
    if as_json:
        print_json(rows)
        return
    columns = ["config", "box_ap", "mask_ap"]
    if not zoo:
        columns = ["family", "task", "backbone", "config", "parameters", "box_ap", "mask_ap"]
    print_table(columns, [[shown(row[column]) for column in columns] for row in rows])


def _trust(asked: bool) -> None:
    """Tell the worker, which inherits the environment; nothing is written to a file."""
    if asked:
        os.environ["CVTUNE_TRUST_CHECKPOINT"] = "1"


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line; ends with 0 done, 1 failed, 2 wrong spec, data or arguments, 3 missing dependency."""
    # The system takes the memory back at the end; a last search for cycles would take a tenth of a second.
    atexit.register(gc.freeze)
    given = sys.argv[1:] if arguments is None else arguments
    # So that "run with --debug" holds wherever it is written.
    if "--debug" in given:
        given = ["--debug", *(word for word in given if word != "--debug")]
    app(args=given, prog_name="cvtune")
    sys.exit(0)
