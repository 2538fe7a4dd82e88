"""The `cvtune` command: one function a verb, no logic. `cvtune --help` imports no more than these files and typer."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from cvtune import cli_data  # its verbs come first in the help
from cvtune.cli_parts import AsJson, app, console, print_json, print_table, shown, verb

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
        out = verbs.train_seeds(spec, seeds, overrides or (), resume, overwrite, find_lr, console())
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


@verb("cvtune eval runs/my-run --split test", "cvtune eval --gt val.json --pred predictions.json -o metrics.json")
def eval_(
    run: Annotated[Path | None, typer.Argument(metavar="RUN", show_default=False, help="A run directory.")] = None,
    gt: Annotated[Path | None, typer.Option(metavar="FILE", help="Ground truth in COCO's form.")] = None,
    pred: Annotated[Path | None, typer.Option(metavar="FILE", help="Predictions in COCO's results form.")] = None,
    engine: Annotated[Engine, typer.Option(help="What computes the scores.")] = Engine.hotcoco,
    split: Annotated[Split | None, typer.Option(help="Which part of the run's data; default: test, else val.")] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", metavar="FILE", help="Write the scores as JSON.")] = None,
) -> None:
    """Compute COCO's scores of a run, or of any pair of COCO files."""
    from cvtune import verbs
    from cvtune.evaluation.table import metrics_table

    metrics = verbs.evaluate(run, gt, pred, engine.value, out, split.value if split else None)
    console().print(metrics_table(metrics))


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


@verb("cvtune report runs/my-run", "cvtune report runs/a runs/b -o comparison")
def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", show_default=False, help="Run directories.")],
    out: Annotated[Path | None, typer.Option("-o", "--out", metavar="DIR", help="Default: the run's folder.")] = None,
) -> None:
    """Write the report of one run, or of several side by side."""
    from cvtune import verbs

    for path in verbs.report(runs, out):
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
    given = sys.argv[1:] if arguments is None else arguments
    # So that "run with --debug" holds wherever it is written.
    if "--debug" in given:
        given = ["--debug", *(word for word in given if word != "--debug")]
    app(args=given, prog_name="cvtune")
    sys.exit(0)
