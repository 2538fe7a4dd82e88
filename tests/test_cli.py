"""The command line: arguments reach the verbs, results are printed, errors are one line and an exit status."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import cvtune
from cvtune import cli, verbs
from cvtune.backends.base import NativeConfig, Override, Recipe
from cvtune.classes import ClassMap
from cvtune.data.checked import Example
from cvtune.data.checks import CHECKS, Finding, Report
from cvtune.data.coco import Dataset
from cvtune.data.receipt import Receipt
from cvtune.data.set_stats import SetStats
from cvtune.data.statistics import describe
from cvtune.doctor import Line
from cvtune.errors import CvtuneError, DataError, MissingDependencyError, RunError, SpecError, UnsupportedError
from cvtune.plan import Plan, pending
from cvtune.runs import RunDir
from cvtune.spec import SplitSpec

ROOT = Path(__file__).resolve().parent.parent
COMMANDS: dict[str, Any] = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
# The verbs of data sets are functions of cvtune.data; all others are in cvtune.verbs.
HOMES = {
    "convert": "cvtune.data.convert.convert",
    "check": "cvtune.data.checks.check_dataset",
    "stats": "cvtune.data.set_stats.describe_set",
    "split": "cvtune.data.split_set.split_set",
    "merge": "cvtune.data.merge_sets.merge_sets",
    "draw": "cvtune.data.draw_set.draw_set",
}
DATA_VERBS = ["init", "convert", "check", "stats", "split", "merge", "draw"]
RUN_VERBS = ["plan", "translate", "doctor", "train", "watch", "eval", "compare", "predict", "report"]
VERBS = [*DATA_VERBS, *RUN_VERBS, "backends", "models"]

SCORES = dict.fromkeys(("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"), 0.5)
METRICS = {
    "bbox": {
        **SCORES,
        "per_class": {"cat": {"AP": 0.25, "AP50": 0.5, "AP75": 0.1, "AR100": 0.3, "ground_truth": 7, "detections": 9}},
    },
    "engine": "hotcoco",
    "checked_with": None,
    "split": "val",
    "images": 3,
    "annotations": 7,
    "detections": 9,
    "notes": ["a [note]"],
}
PLAN = Plan(
    {"name": "x", "train.epochs": 12, "train.optimizer.lr": pending("scaled [1, 2]"), "train.loggers": ()},
    {"name": "spec", "train.epochs": "finetune: [a reason]", "train.optimizer.lr": "waits", "train.loggers": "default"},
    ClassMap(("cat",), (1,)),
    {},
    Recipe("c", "s", "detect", 1, {}),
    None,
)
CHECKED = Report(
    "voc",
    "as asked",
    {"train": 3},
    {"train": 7},
    (Finding(CHECKS["box-tiny"], 5, tuple(Example(f"[{i}]", "train", "a.jpg", i) for i in range(5))),),
)
NATIVE = NativeConfig(
    "config.yaml",
    "epochs: 12\n",
    (Override("train.epochs", 26, 12, "train.recipe", "spec"),),
    {"train.ema": {"value": True, "mechanism": "our loop"}},
)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, tuple[Any, ...]]]:
    """The verbs' calls, answered without work."""
    made: list[tuple[str, tuple[Any, ...]]] = []

    def stand_in(name: str, answer: Any) -> None:
        def verb(*arguments: Any) -> Any:
            made.append((name, arguments))
            return answer

        monkeypatch.setattr(HOMES.get(name, f"cvtune.verbs.{name}"), verb)

    row = {"name": "torchvision", "installed": True, "version": "1", "device": "CPU", "kernels": {}, "problem": None}
    away = {
        **row,
        "name": "far",
        "installed": False,
        "version": None,
        "problem": "no [x]",
        "install": "pip install far",
    }
    model = dict.fromkeys(("family", "task", "backbone", "config", "parameters", "box_ap", "mask_ap", "weights"))
    for name, answer in {
        "convert": Receipt(),
        "check": CHECKED,
        "stats": SetStats("voc", {"train": describe(Dataset((), (), ()))}, {}, (Path("sizes.svg"),)),
        "split": (Receipt(), {"train": {"images": 1234, "annotations": 5, "classes": {"cat": 5}}}),
        "merge": Receipt(),
        "draw": [Path(f"{i}.png") for i in range(5)],
        "plan": PLAN,
        "translate": NATIVE,
        "doctor": [Line("ok", "data", "fine"), Line("error", "memory", "too much", "data.batch_size: 2")],
        "train": RunDir(Path("runs/x")),
        "watch": None,
        "watch_once": Path("watch.html"),
        "evaluate": METRICS,
        "predict": Path("p.json"),
        "report": (Path("report.html"), Path("report.md")),
        "backends": [{**row, "install": "pip"}, away],
        "models": [{**model, "family": "fcos", "parameters": 1234567, "box_ap": 0.392}],
    }.items():
        stand_in(name, answer)
    return made


def run(*arguments: str) -> tuple[int, str, str]:
    """Exit status, stdout, stderr."""
    result = CliRunner().invoke(cli.app, list(arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


REACH: dict[str, tuple[str, str, tuple[Any, ...]]] = {
    "convert": (
        "convert a -o b",
        "convert",
        (Path("a"), Path("b"), "auto", "coco", None, None, "auto", False, False, None),
    ),
    "convert, all": (
        "convert a --out b --from voc --to coco --images c --subset d --origin 1 --dry-run --strict --copy",
        "convert",
        (Path("a"), Path("b"), "voc", "coco", Path("c"), "d", 1, True, True, "copy"),
    ),
    "check": ("check a", "check", (Path("a"), "auto", None, None, "auto", ())),
    "check, all": (
        "check a --from voc --images b --subset c --origin 0 --against d --against e",
        "check",
        (Path("a"), "voc", Path("b"), "c", 0, [Path("d"), Path("e")]),
    ),
    "stats": ("stats a", "stats", (Path("a"), "auto", None, None, "auto", None, None)),
    "stats, all": (
        "stats a --from voc --images b --subset c --origin 1 --plot d --spec e",
        "stats",
        (Path("a"), "voc", Path("b"), "c", 1, Path("d"), PLAN.values),
    ),
    "split": (
        "split a -o b",
        "split",
        (Path("a"), Path("b"), SplitSpec(), False, "auto", None, None, "auto"),
    ),
    "split, all": (
        "split a -o b --val 0.2 --test 0.1 --by prefix --seed 3 --stratify --from voc --images c --subset d --origin 0",
        "split",
        (Path("a"), Path("b"), SplitSpec(val=0.2, test=0.1, by="prefix", seed=3), True, "voc", Path("c"), "d", 0),
    ),
    "merge": ("merge a b -o c", "merge", ([Path("a"), Path("b")], Path("c"), {}, None)),
    "merge, all": (
        "merge a b -o c --rename x=y --rename z=y --images d",
        "merge",
        ([Path("a"), Path("b")], Path("c"), {"x": "y", "z": "y"}, Path("d")),
    ),
    "draw": ("draw a -o b", "draw", (Path("a"), Path("b"), 16, False, "auto", None, None, "auto", 0)),
    "draw, all": (
        "draw a -o b --count 3 --grid --from voc --images c --subset d --origin 1 --seed 4",
        "draw",
        (Path("a"), Path("b"), 3, True, "voc", Path("c"), "d", 1, 4),
    ),
    "plan": ("plan s.yaml", "plan", (Path("s.yaml"), ())),
    "plan, overrides": ("plan s.yaml -s a=1 --set b=[1,2]", "plan", (Path("s.yaml"), ["a=1", "b=[1,2]"])),
    "translate": ("translate s.yaml -s a=1", "translate", (Path("s.yaml"), ["a=1"])),
    "watch": ("watch r", "watch", (Path("r"), 0, False, typer.echo)),
    "watch, all": ("watch r --port 8000 --open", "watch", (Path("r"), 8000, True, typer.echo)),
    "watch once": ("watch r --once", "watch_once", (Path("r"),)),
    "eval a run": ("eval r", "evaluate", (Path("r"), None, None, "hotcoco", None, None, None, ())),
    "eval a split": ("eval r --split test", "evaluate", (Path("r"), None, None, "hotcoco", None, "test", None, ())),
    "eval two files": (
        "eval --gt g.json --pred p.json --engine pycocotools -o m.json",
        "evaluate",
        (None, Path("g.json"), Path("p.json"), "pycocotools", Path("m.json"), None, None, ()),
    ),
    "predict": ("predict r a b", "predict", (Path("r"), ["a", "b"], Path("predictions.json"), None, None, None)),
    "predict, all": (
        "predict r a -o o.json --draw d --score-threshold 0.5 --checkpoint c.pth",
        "predict",
        (Path("r"), ["a"], Path("o.json"), Path("d"), 0.5, Path("c.pth")),
    ),
    "report": ("report r", "report", ([Path("r")], None, None, None, None)),
    "report of several": ("report r q -o o", "report", ([Path("r"), Path("q")], Path("o"), None, None, None)),
    "report of files": ("report --gt g --pred p --images i", "report", ((), None, Path("g"), Path("p"), Path("i"))),
    "backends": ("backends", "backends", ()),
    "models": ("models", "models", ("torchvision",)),
    "models of another": ("models --backend far", "models", ("far",)),
}


@pytest.mark.parametrize("case", REACH)
def test_arguments_reach_the_verb(case: str, calls: list[tuple[str, tuple[Any, ...]]]) -> None:
    line, verb, arguments = REACH[case]
    status, _, errors = run(*shlex.split(line))
    assert (status, errors) == (0, "")
    assert calls[-1] == (verb, arguments)


@pytest.mark.parametrize("flag", [(), ("--resume",), ("--overwrite",), ("--find-lr",)])
def test_flags_reach_train_and_the_report_is_named(flag: tuple[str, ...], calls: list[Any]) -> None:
    status, output, _ = run("train", "s.yaml", "-s", "a=1", *flag)
    assert status == 0
    ((_, (*arguments, console)),) = calls
    expected = ["--resume" in flag, "--overwrite" in flag, "--find-lr" in flag]
    assert arguments == [Path("s.yaml"), ["a=1"], *expected]
    assert hasattr(console, "print")
    assert output == f"report: {Path('runs/x/report.html')}\n"


def test_the_doctor_says_lines_and_ends_with_1_on_errors(calls: list[tuple[str, tuple[Any, ...]]]) -> None:
    status, output, errors = run("doctor", "s.yaml", "-s", "a=1", "--no-trial", "--images", "3", "--steps", "9")
    assert calls == [("doctor", (Path("s.yaml"), ["a=1"], False, 3, 9, 10))]
    assert (status, errors) == (1, "")
    assert output.splitlines() == [
        "ok      data         fine",
        "error   memory       too much",
        "                     fix: data.batch_size: 2",
        "1 error, 0 warnings, 1 ok",
    ]
    status, output, _ = run("doctor", "s.yaml", "--json")
    assert status == 1
    assert json.loads(output)["lines"][1]["fix"] == "data.batch_size: 2"
    assert json.loads(output)["errors"] == 1


@pytest.mark.usefixtures("calls")
def test_results_are_printed_for_people_and_machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")  # a worker of pytest-xdist says 80
    table = run("plan", "s.yaml")[1]
    assert re.search(r"train\.epochs +12 +finetune: \[a reason\]", table)
    assert re.search(r"train\.optimizer\.lr +\? scaled \[1, 2\] +waits", table)
    assert json.loads(run("plan", "s.yaml", "--json")[1]) == json.loads(json.dumps(PLAN.to_json()))
    assert run("translate", "s.yaml")[1] == "epochs: 12\n"
    diff = run("translate", "s.yaml", "--diff")[1]
    assert re.search(r"train\.epochs +26 +12 +train\.recipe +spec", diff)
    assert re.search(r"train\.ema +true +our loop", diff)
    target = tmp_path / "config.yaml"
    assert run("translate", "s.yaml", "-o", str(target))[1] == ""
    assert target.read_text() == "epochs: 12\n"
    scores = run("eval", "r")[1]
    assert re.search(r"AP50 +50\.0", scores)
    assert re.search(r"cat +7 +9 +25\.0", scores)
    assert "a [note]" in scores
    assert run("predict", "r", "a")[1] == "predictions: p.json\n"
    assert run("watch", "r", "--once")[1] == "page: watch.html\n"
    assert run("report", "r")[1] == "report: report.html\nreport: report.md\n"
    backends = run("backends")[1]
    assert re.search(r"far .*no \[x\] +pip install far", backends)
    assert json.loads(run("backends", "--json")[1])[1]["install"] == "pip install far"
    assert re.search(r"fcos .*1,234,567 +0\.392 +-", run("models")[1])
    assert json.loads(run("models", "--json")[1])[0]["parameters"] == 1234567
    assert "0 of 0 images" in run("convert", "a", "-o", "b")[1]
    assert "plot: sizes.svg" in run("stats", "a")[1]
    assert json.loads(run("stats", "a", "--json")[1])["format"] == "voc"
    assert re.search(r"images +1,234", run("split", "a", "-o", "b")[1])
    assert json.loads(run("split", "a", "-o", "b", "--json")[1])["train"]["images"] == 1234
    assert run("draw", "a", "-o", "b")[1] == "drawn: 0.png\ndrawn: 1.png\ndrawn: 2.png\n... 2 more\n"
    checked = run("check", "a")[1]
    assert re.search(r"5 +box-tiny", checked)
    assert "train a.jpg annotation 2: [2]" in checked
    assert "... 2 more" in checked
    assert checked.endswith("0 errors, 1 warning, 0 notes in 3 images and 7 annotations\n")
    assert json.loads(run("check", "a", "--json")[1]) == json.loads(json.dumps(CHECKED.to_json()))


def test_check_ends_with_1_where_it_finds_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    finding = Finding(CHECKS["box-outside"], 1, (Example("x"),))
    monkeypatch.setattr(HOMES["check"], lambda *_: Report("voc", "", {}, {}, (finding,)))
    assert run("check", "a")[0] == 1
    assert run("check", "a", "--json")[0] == 1


ERRORS: list[tuple[BaseException, int, str]] = [
    (SpecError("s.yaml:1: a: wrong\ns.yaml:2: b: wrong"), 2, "error: s.yaml:1: a: wrong\nerror: s.yaml:2: b: wrong\n"),
    (DataError("no data"), 2, "error: no data\n"),
    (UnsupportedError("cannot"), 2, "error: cannot\n"),
    (RunError("failed"), 1, "error: failed\n"),
    (CvtuneError("some"), 1, "error: some\n"),
    (MissingDependencyError("torch"), 3, "error: torch\n"),
    (
        ZeroDivisionError("by\nzero"),
        1,
        "error: ZeroDivisionError: by zero; this is a bug in cvtune: run with --debug to see where\n",
    ),
    (KeyboardInterrupt(), 130, "interrupted\n"),
]


@pytest.mark.parametrize(("error", "status", "message"), ERRORS, ids=lambda value: type(value).__name__)
def test_an_error_is_one_line_and_an_exit_status(
    error: BaseException, status: int, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*arguments: Any) -> None:
        raise error

    monkeypatch.setattr(verbs, "models", fail)
    monkeypatch.delenv("CVTUNE_DEBUG", raising=False)
    with pytest.raises(SystemExit) as ended:
        cli.main(["models"])
    output = capsys.readouterr()
    assert (ended.value.code, output.err, output.out) == (status, message, "")


@pytest.mark.parametrize("words", [["--debug", "models"], ["models", "--debug"]])
def test_debug_shows_the_traceback_wherever_it_is_written(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*arguments: Any) -> None:
        raise DataError("no data")

    monkeypatch.setattr(verbs, "models", fail)
    monkeypatch.setenv("CVTUNE_DEBUG", "0")
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    errors = capsys.readouterr().err
    assert ended.value.code == 2
    assert "Traceback (most recent call last)" in errors
    assert errors.endswith("error: no data\n")


def test_debug_is_also_an_environment_variable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CVTUNE_DEBUG", "1")
    with pytest.raises(SystemExit):
        cli.main(["plan", "no-such.yaml"])
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    "line",
    [
        "",
        "trian s.yaml",
        "train",
        "train s.yaml --nothing",
        "train s.yaml -s",
        "convert a",
        "convert a -o b --origin 2",
        "convert a -o b --copy --link",
        "check",
        "split a",
        "split a -o b --val x",
        "merge -o b",
        "draw a",
        "draw a -o b --count 0",
        "eval r --engine other",
        "eval r --split train",
        "predict r",
        "predict r a --score-threshold 2",
        "report --gt",
        "plan s.yaml t.yaml",
    ],
)
@pytest.mark.usefixtures("calls")
def test_wrong_arguments_end_with_2(line: str) -> None:
    status, output, errors = run(*shlex.split(line))
    assert status == 2
    assert "Usage: " in errors + output or errors.startswith("Error: ")


def test_a_pipe_that_closes_is_no_bug(calls: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(verbs, "models", fail)
    status, _, errors = run("models")
    assert status == 1
    assert "bug" not in errors


def test_the_verbs_are_those_of_the_documentation() -> None:
    assert list(COMMANDS) == VERBS


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_a_verb_shows_examples_that_hold(verb: str) -> None:
    command = COMMANDS[verb]
    status, output, _ = run(verb, "--help")
    assert status == 0
    assert command.help.strip().endswith(".")
    examples = re.findall(rf"^    cvtune ({verb}.*)$", output, re.MULTILINE)
    assert len(examples) >= 2, output
    for example in examples:
        _, *words = shlex.split(example)
        options = {
            option
            for parameter in command.params
            for option in [*parameter.opts, *parameter.secondary_opts]
            if option.startswith("-")
        }
        assert {word for word in words if word.startswith("-")} <= options
        # The command's own parser takes it.
        command.make_context(verb, words)
    for parameter in command.params:
        assert getattr(parameter, "help", None), f"{verb}: {parameter.name} has no help"


def test_the_version_is_the_package_s() -> None:
    assert run("--version") == (0, f"cvtune {cvtune.__version__}\n", "")


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_a_tool(verb: str, tmp_path: Path) -> None:
    tool = ROOT / "tools" / f"{verb}.py"
    assert len(tool.read_text().splitlines()) <= 40
    command = [sys.executable, str(tool), "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"Usage: cvtune {verb} " in done.stdout


def test_no_tool_hides_a_package() -> None:
    code = (
        "import importlib.util, sys; "
        "print([n for n in sys.argv[1:] if n in sys.stdlib_module_names or importlib.util.find_spec(n)])"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code, *VERBS], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_python_m_cvtune_is_the_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cvtune", "plan", "none.yaml"]
    environment = {key: value for key, value in os.environ.items() if key != "CVTUNE_DEBUG"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr == ("error: none.yaml: no such spec file; `cvtune init DATASET -o none.yaml` writes one\n")


@pytest.mark.parametrize("name", cvtune.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(cvtune, name) is not None
    assert name in dir(cvtune)


def test_a_misspelt_name_is_an_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        cvtune.trian  # type: ignore[attr-defined]  # noqa: B018
