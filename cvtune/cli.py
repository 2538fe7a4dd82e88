"""The `cvtune` command: one function a verb, no logic. `cvtune --help` imports no more than this file and typer."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, NoReturn, ParamSpec

import typer

__all__ = ["app", "main"]

P = ParamSpec("P")

# Plain help: rich's takes three times as long to start.
app = typer.Typer(
    name="cvtune",
    help="Fine-tune object detectors and instance segmenters from one spec file.",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="First steps: cvtune init DATASET, then cvtune plan spec.yaml, then cvtune train spec.yaml.",
)


class Engine(StrEnum):
    """Who computes the scores."""

    hotcoco = "hotcoco"
    pycocotools = "pycocotools"


class Split(StrEnum):
    """A part of a run's data that can be scored."""

    val = "val"
    test = "test"


class Origin(StrEnum):
    """Where pixel coordinates start."""

    auto = "auto"
    zero = "0"
    one = "1"


SpecFile = Annotated[Path, typer.Argument(metavar="SPEC", show_default=False, help="The spec file.")]
Run = Annotated[Path, typer.Argument(metavar="RUN", show_default=False, help="A run directory, runs/NAME.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("-s", "--set", metavar="KEY=VALUE", help="Override a key of the spec; may be given again."),
]
Trust = Annotated[
    bool, typer.Option("--trust-checkpoint", help="Read weights whose file would run code; only from those you trust.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def _verb(*examples: str) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Make a function a verb: add its examples to its help, and turn errors into one line and an exit status."""

    def decorate(function: Callable[P, None]) -> Callable[P, None]:
        @wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> None:
            try:
                function(*args, **kwargs)
            except BrokenPipeError:
                raise
            except (Exception, KeyboardInterrupt) as error:
                _fail(error)

        # \b keeps the lines as they are.
        epilog = "\n  ".join(["\b\nExamples:", *examples])
        return app.command(function.__name__.strip("_"), epilog=epilog)(run)

    return decorate


def _fail(error: BaseException) -> NoReturn:
    """Print an error, a line each, and leave with its exit status."""
    from cvtune.errors import CvtuneError

    if type(error).__module__.startswith(("typer", "click")):
        # Usage errors and exits are typer's to end; it carries click inside or stands on it, by version.
        raise error
    debug = os.environ.get("CVTUNE_DEBUG", "") not in ("", "0")
    if debug:
        import traceback

        traceback.print_exception(error)
    if isinstance(error, KeyboardInterrupt):
        typer.echo("interrupted", err=True)
        raise typer.Exit(130)
    if isinstance(error, CvtuneError):
        for line in str(error).splitlines():
            typer.echo(f"error: {line}", err=True)
        raise typer.Exit(error.exit_status)
    more = "" if debug else "; this is a bug in cvtune: run with --debug to see where"
    typer.echo(f"error: {type(error).__name__}: {' '.join(str(error).split())}{more}", err=True)
    raise typer.Exit(1)


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


@_verb("cvtune init path/to/dataset -o spec.yaml", "cvtune init train.json --family mask_rcnn --force")
def init(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", show_default=False, help="A file or folder.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The spec file to write.")] = Path("spec.yaml"),
    family: Annotated[str | None, typer.Option(help="The model's family; default: by whether there are masks.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Look at a data set and write a commented spec for it."""
    from cvtune.init import write_first_spec

    for line in write_first_spec(dataset, out, family, force):
        typer.echo(line)


@_verb("cvtune convert VOCdevkit/VOC2012 -o data", "cvtune convert labels --from voc --to coco -o data --dry-run")
def convert(
    src: Annotated[Path, typer.Argument(metavar="SRC", show_default=False, help="Annotations: a file or folder.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DST", show_default=False, help="The folder to write.")],
    from_format: Annotated[str, typer.Option("--from", metavar="FORMAT", help="The source's format.")] = "auto",
    to_format: Annotated[str, typer.Option("--to", metavar="FORMAT", help="The format to write.")] = "coco",
    images: Annotated[Path | None, typer.Option(metavar="DIR", help="The images; default: searched for.")] = None,
    subset: Annotated[str | None, typer.Option(metavar="NAME", help="A named part, such as train.")] = None,
    origin: Annotated[Origin, typer.Option(help="Where pixel coordinates start.")] = Origin.auto,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write nothing, print the receipt.")] = False,
) -> None:
    """Convert annotations and print the receipt: what was kept, repaired and dropped, and why."""
    from cvtune import verbs

    start: Any = {Origin.auto: "auto", Origin.zero: 0, Origin.one: 1}[origin]
    receipt = verbs.convert(src, out, from_format, to_format, images, subset, start, dry_run)
    _console().print(receipt.table())


@_verb("cvtune plan spec.yaml", "cvtune plan spec.yaml -s train.recipe=official --json")
def plan(spec: SpecFile, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Print every value that a training would use, with its reason."""
    from cvtune import verbs

    made = verbs.plan(spec, overrides or ())
    if as_json:
        _print_json(made.to_json())
        return
    rows = [[key, _shown(value), made.reasons[key]] for key, value in made.values.items()]
    _print_table(["key", "value", "reason"], rows)


@_verb("cvtune translate spec.yaml -o config.yaml", "cvtune translate spec.yaml --diff")
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
        rows = [[o.key, _shown(o.official), _shown(o.value), o.asked_by, o.kind] for o in native.overrides]
        _print_table(["key", "official", "value", "asked by", "kind"], rows)
        _print_table(
            ["not in the file", "value", "done by"],
            [
                [field, _shown(extra.get("value")), _shown(extra.get("mechanism"))]
                for field, extra in native.extras.items()
            ],
        )
    elif out is None:
        sys.stdout.write(native.text)


@_verb("cvtune train spec.yaml", "cvtune train spec.yaml -s train.epochs=3 -s data.batch_size=4 --overwrite")
def train(
    spec: SpecFile,
    overrides: Overrides = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped or killed.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Delete an earlier run of this name.")] = False,
    find_lr: Annotated[bool, typer.Option("--find-lr", help="Find the learning rate by a short trial first.")] = False,
    trust_checkpoint: Trust = False,
) -> None:
    """Fine-tune, score and report; results are in runs/NAME."""
    from cvtune import verbs

    _trust(trust_checkpoint)
    run = verbs.train(spec, overrides or (), resume, overwrite, find_lr, _console())
    typer.echo(f"report: {run.path / 'report.html'}")


@_verb("cvtune eval runs/my-run --split test", "cvtune eval --gt val.json --pred predictions.json -o metrics.json")
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
    _console().print(metrics_table(metrics))


@_verb(
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


@_verb("cvtune report runs/my-run", "cvtune report runs/a runs/b -o comparison")
def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", show_default=False, help="Run directories.")],
    out: Annotated[Path | None, typer.Option("-o", "--out", metavar="DIR", help="Default: the run's folder.")] = None,
) -> None:
    """Write the report of one run, or of several side by side."""
    from cvtune import verbs

    for path in verbs.report(runs, out):
        typer.echo(f"report: {path}")


@_verb("cvtune backends", "cvtune backends --json")
def backends(as_json: AsJson = False) -> None:
    """Say what is installed, with which kernels, and how to get what is missing."""
    from cvtune import verbs

    rows = verbs.backends()
    if as_json:
        _print_json(rows)
        return
    for row in rows:
        row["get it with"] = None if row["installed"] else row["install"]
    columns = ["name", "version", "device", "kernels", "problem", "get it with"]
    _print_table(columns, [[_shown(row[column]) for column in columns] for row in rows])


@_verb("cvtune models", "cvtune models --backend torchvision --json")
def models(
    backend: Annotated[str, typer.Option(metavar="NAME", help="Which backend's.")] = "torchvision",
    zoo: Annotated[bool, typer.Option("--zoo", help="Every official config that model.zoo may name.")] = False,
    as_json: AsJson = False,
) -> None:
    """List a backend's models with their size and published AP."""
    from cvtune import verbs

    rows = verbs.zoo(backend) if zoo else verbs.models(backend)
    if as_json:
        _print_json(rows)
        return
    columns = ["config", "box_ap", "mask_ap"]
    if not zoo:
        columns = ["family", "task", "backbone", "config", "parameters", "box_ap", "mask_ap"]
    _print_table(columns, [[_shown(row[column]) for column in columns] for row in rows])


def _trust(asked: bool) -> None:
    """Tell the worker, which inherits the environment; nothing is written to a file."""
    if asked:
        os.environ["CVTUNE_TRUST_CHECKPOINT"] = "1"


def _console() -> Any:
    from rich.console import Console

    # Into a file or pipe rich would fold at 80 columns.
    folded = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(width=None if folded else 160)


def _print_json(record: Any) -> None:
    import json

    sys.stdout.write(json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def _print_table(columns: list[str], rows: list[list[str]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, box=SIMPLE_HEAD)
    for row in rows:
        # Text, not markup: values hold square brackets.
        table.add_row(*map(Text, row))
    if rows:
        _console().print(table)


def _shown(value: Any) -> str:
    """A value in a table's cell."""
    if value is None or value == [] or value == () or value == {}:
        return "-"
    if isinstance(value, dict) and value.get("pending"):
        return f"? {value['rule']}"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_shown(inner)}" for key, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_shown, value))
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line; ends with 0 done, 1 failed, 2 wrong spec, data or arguments, 3 missing dependency."""
    given = sys.argv[1:] if arguments is None else arguments
    # So that "run with --debug" holds wherever it is written.
    if "--debug" in given:
        given = ["--debug", *(word for word in given if word != "--debug")]
    app(args=given, prog_name="cvtune")
    sys.exit(0)
