"""The verbs that work on data sets, one function each, no logic."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from cvtune.cli_parts import AsJson, folds, print_json, print_receipt, print_table, verb

__all__ = ["check", "convert", "draw", "init", "merge", "split", "stats"]

# A terminal shows this many examples of each finding; --json has more.
SHOWN = 3
# And of a split this many classes.
MOST_CLASSES = 30


class Origin(StrEnum):
    """Where pixel coordinates start."""

    auto = "auto"
    zero = "0"
    one = "1"


Out = Annotated[Path, typer.Option("-o", "--out", metavar="DST", show_default=False, help="The folder to write.")]
Source = Annotated[Path, typer.Argument(metavar="DATASET", show_default=False, help="A file or folder.")]
FromFormat = Annotated[str, typer.Option("--from", metavar="FORMAT", help="The data set's format.")]
Images = Annotated[Path | None, typer.Option(metavar="DIR", help="The images; default: searched for.")]
Subset = Annotated[str | None, typer.Option(metavar="NAME", help="A named part, such as train.")]
PixelOrigin = Annotated[Origin, typer.Option(help="Where pixel coordinates start.")]


@verb(
    "cvtune init path/to/dataset -o spec.yaml",
    "cvtune init train.json --images photos --backend mmdet --family rtmdet",
)
def init(
    dataset: Source,
    out: Annotated[Path, typer.Option("-o", "--out", help="The spec file to write.")] = Path("spec.yaml"),
    family: Annotated[str | None, typer.Option(help="The model's family; default: by whether there are masks.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    images: Images = None,
    backend: Annotated[str, typer.Option(metavar="NAME", help="What trains.")] = "torchvision",
) -> None:
    """Look at a data set and write a commented spec for it."""
    from cvtune.init import write_first_spec

    for line in write_first_spec(dataset, out, family, force, images, backend):
        typer.echo(line)


@verb("cvtune convert VOCdevkit/VOC2012 -o data", "cvtune convert train.json --to yolo -o data --copy --strict")
def convert(
    src: Annotated[Path, typer.Argument(metavar="SRC", show_default=False, help="Annotations: a file or folder.")],
    out: Out,
    from_format: Annotated[str, typer.Option("--from", metavar="FORMAT", help="The source's format.")] = "auto",
    to_format: Annotated[str, typer.Option("--to", metavar="FORMAT", help="The format to write.")] = "coco",
    images: Images = None,
    subset: Subset = None,
    origin: PixelOrigin = Origin.auto,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write nothing, print the receipt.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse to lose anything.")] = False,
    copy: Annotated[bool, typer.Option("--copy", help="Copy the images too.")] = False,
    link: Annotated[bool, typer.Option("--link", help="Leave symbolic links to the images.")] = False,
) -> None:
    """Convert annotations and print the receipt: what was kept, repaired and dropped, and why."""
    from cvtune.data.convert import convert as convert_set

    if copy and link:
        raise typer.BadParameter("give --copy or --link, not both")
    place: Any = "copy" if copy else "link" if link else None
    receipt = convert_set(src, out, from_format, to_format, images, subset, _pixels(origin), dry_run, strict, place)
    print_receipt(receipt)


@verb("cvtune check VOCdevkit/VOC2012", "cvtune check train.json --images photos --against val.json --json")
def check(
    dataset: Source,
    from_format: FromFormat = "auto",
    images: Images = None,
    subset: Subset = None,
    origin: PixelOrigin = Origin.auto,
    against: Annotated[
        list[Path] | None,
        typer.Option(metavar="OTHER", help="A set whose images must not be in this one; may be given again."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Look for faults in a data set: images, boxes, masks, classes, leaks between parts; exit status 1 on errors."""
    from cvtune.data.checks import check_dataset

    report = check_dataset(dataset, from_format, images, subset, _pixels(origin), against or ())
    if as_json:
        print_json(report.to_json())
    else:
        rows = []
        for finding in report.findings:
            shown = [str(example) for example in finding.examples[:SHOWN]]
            more = [f"... {finding.count - SHOWN:,} more"] if finding.count > SHOWN else []
            about = f"{finding.check.id}\n{finding.check.severity}"
            rows.append([f"{finding.count:,}", about, finding.check.meaning, "\n".join([*shown, *more])])
        print_table(["count", "check", "what it means", "where"], rows)
        typer.echo(report.summary())
    if report.errors:
        raise typer.Exit(1)


@verb("cvtune stats VOCdevkit/VOC2012 --plot plots", "cvtune stats train.json --spec spec.yaml --json")
def stats(
    dataset: Source,
    from_format: FromFormat = "auto",
    images: Images = None,
    subset: Subset = None,
    origin: PixelOrigin = Origin.auto,
    plot: Annotated[Path | None, typer.Option(metavar="DIR", help="Write plots (SVG) into this folder.")] = None,
    spec: Annotated[
        Path | None, typer.Option(metavar="SPEC", help="Compare with this spec's image size and anchors.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Describe a data set: classes, objects an image, sizes and shapes of boxes and images."""
    from cvtune.data.set_stats import describe_set
    from cvtune.verbs import plan

    values = None if spec is None else plan(spec).values
    found = describe_set(dataset, from_format, images, subset, _pixels(origin), plot, values)
    if as_json:
        print_json(found.to_json())
        return
    from cvtune.data.stats_table import stats_tables

    for n, (columns, rows) in enumerate(stats_tables(found)):
        if n and not folds():
            typer.echo()
        print_table(columns, rows)
    for path in found.plots:
        typer.echo(f"plot: {path}")


@verb("cvtune split VOCdevkit/VOC2012 -o data --val 0.2", "cvtune split all.json -o data --by prefix --stratify")
def split(
    dataset: Source,
    out: Out,
    val: Annotated[float, typer.Option(help="Share of the validation images.")] = 0.15,
    test: Annotated[float, typer.Option(help="Share of the test images.")] = 0.0,
    by: Annotated[str, typer.Option(metavar="image|prefix|field:NAME", help="What stays together.")] = "image",
    seed: Annotated[int, typer.Option(help="Another seed gives another split.")] = 0,
    stratify: Annotated[
        bool, typer.Option("--stratify", help="Share out every class too; then new images may move old ones.")
    ] = False,
    from_format: FromFormat = "auto",
    images: Images = None,
    subset: Subset = None,
    origin: PixelOrigin = Origin.auto,
    as_json: AsJson = False,
) -> None:
    """Split a data set into COCO files train.json, val.json and test.json, with a receipt."""
    from cvtune.data.split_set import parse_split, split_set

    how = parse_split(val, test, by, seed)
    receipt, parts = split_set(dataset, out, how, stratify, from_format, images, subset, _pixels(origin))
    if as_json:
        print_json(parts)
        return
    print_receipt(receipt)
    names = list(dict.fromkeys(name for part in parts.values() for name in part["classes"]))
    rows = [[what, *(f"{part[what]:,}" for part in parts.values())] for what in ("images", "annotations")]
    shown = names[:MOST_CLASSES] if folds() else names
    rows += [[name, *(f"{part['classes'][name]:,}" for part in parts.values())] for name in shown]
    if len(shown) < len(names):
        rows.append([f"... {len(names) - len(shown):,} more classes", *[""] * len(parts)])
    print_table(["", *parts], rows)


@verb("cvtune merge a.json b/ -o data", "cvtune merge a b c -o data --rename car=vehicle --rename truck=vehicle")
def merge(
    datasets: Annotated[list[Path], typer.Argument(metavar="DATASET...", show_default=False, help="Files or folders.")],
    out: Out,
    rename: Annotated[
        list[str] | None, typer.Option(metavar="OLD=NEW", help="Rename a class first; may be given again.")
    ] = None,
    images: Images = None,
) -> None:
    """Join data sets of any formats into one COCO file, classes by name, with a receipt."""
    from cvtune.data.merge_sets import merge_sets, parse_renames

    print_receipt(merge_sets(datasets, out, parse_renames(rename or ()), images))


@verb("cvtune draw VOCdevkit/VOC2012 -o sheet.png", "cvtune draw train.json -o drawn --count 50 --images photos")
def draw(
    dataset: Source,
    out: Annotated[
        Path,
        typer.Option("-o", "--out", metavar="DIR|FILE.png", show_default=False, help="A folder, or a grid's file."),
    ],
    count: Annotated[int, typer.Option(min=1, help="How many images.")] = 16,
    grid: Annotated[bool, typer.Option("--grid", help="All in one picture, grid.png of the folder.")] = False,
    from_format: FromFormat = "auto",
    images: Images = None,
    subset: Subset = None,
    origin: PixelOrigin = Origin.auto,
    seed: Annotated[int, typer.Option(help="Another seed chooses other images.")] = 0,
) -> None:
    """Draw boxes and masks on images of a data set."""
    from cvtune.data.draw_set import draw_set

    drawn = draw_set(dataset, out, count, grid, from_format, images, subset, _pixels(origin), seed)
    for path in drawn[:SHOWN]:
        typer.echo(f"drawn: {path}")
    if len(drawn) > SHOWN:
        typer.echo(f"... {len(drawn) - SHOWN:,} more")


def _pixels(origin: Origin) -> Any:
    return {Origin.auto: "auto", Origin.zero: 0, Origin.one: 1}[origin]
