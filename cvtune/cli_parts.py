"""What all verbs of the command line share: the application, errors and exit statuses, printing."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, ParamSpec

import typer

if TYPE_CHECKING:
    from cvtune.data.receipt import Receipt

__all__ = ["AsJson", "app", "console", "folds", "print_json", "print_receipt", "print_table", "shown", "verb"]

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


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def verb(*examples: str) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Make a function a verb: add its examples to its help, and turn errors into one line and an exit status."""

    def decorate(function: Callable[P, None]) -> Callable[P, None]:
        @wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> None:
            from cvtune.meter import shown_on

            try:
                with shown_on(_progress_console):
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


def console() -> Any:
    """A console on stdout."""
    from rich.console import Console

    # Into a file or pipe rich would fold at 80 columns.
    return Console(width=None if folds() else 160)


def folds() -> bool:
    """Whether stdout has a width: a terminal, or what says that it is one."""
    return sys.stdout.isatty() or "COLUMNS" in os.environ


def print_receipt(receipt: Receipt) -> None:
    """Print a receipt: a table on a terminal, a line a reason into a file or pipe."""
    if sys.stdout.isatty():
        console().print(receipt.table())
        return
    for line in receipt.summary_lines():
        typer.echo(line)


def _progress_console() -> Any:
    from rich.console import Console

    return Console(stderr=True)


def print_json(record: Any) -> None:
    """Print JSON on stdout."""
    import json

    sys.stdout.write(json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def print_table(columns: list[str], rows: list[list[str]]) -> None:
    """Print a table, unless it has no rows: plain lines into a file or pipe."""
    if not rows:
        return
    if not folds():
        from cvtune.plain_table import plain_table

        typer.echo(plain_table(columns, rows))
        return
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, box=SIMPLE_HEAD)
    for row in rows:
        # Text, not markup: values hold square brackets.
        table.add_row(*map(Text, row))
    console().print(table)


def shown(value: Any) -> str:
    """A value in a table's cell."""
    if value is None or value == [] or value == () or value == {}:
        return "-"
    if isinstance(value, dict) and value.get("pending"):
        return f"? {value['rule']}"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {shown(inner)}" for key, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(shown, value))
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:g}" if isinstance(value, float) else str(value)
