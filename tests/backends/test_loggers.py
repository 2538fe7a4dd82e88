"""Trackers: what is logged is read back, a resumed run goes on in the same runs, and none of them stops a training."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cvtune.backends import loggers
from cvtune.backends.journal import Journal
from cvtune.backends.loggers import Loggers, check_loggers
from cvtune.classes import ClassMap
from cvtune.errors import MissingDependencyError, RunError
from cvtune.runs import RunDir, read_json, write_json

NAMES = ["tensorboard", "mlflow", "wandb"]
# A worker that logs steps from its checkpoint on, evaluates after some, and ends well or is killed.
WORKER = """
import os, sys
from pathlib import Path
from cvtune.backends.journal import Journal
from cvtune.runs import RunDir
start, end, killed = map(int, sys.argv[2:5])
journal = Journal(RunDir(Path(sys.argv[1])), ["tensorboard", "mlflow", "wandb"], start)
for step in range(start + 1, end + 1):
    losses = {"loss_box": step / 4, "loss_cls": step / 8}
    journal.step({"step": step, "epoch": 1, "lr": 0.01 * step, "loss": sum(losses.values()), "losses": losses,
                  "seconds": 1.0, "memory_mb": 7.0})
    if step % 2 == 0:
        found = [{"image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9], "score": 0.9}]
        journal.evaluation({"eval": {"bbox": {"AP": step / 100}}, "step": step, "epoch": 1}, found)
if killed:
    os._exit(9)
journal.close()
"""


def make_run(folder: Path) -> RunDir:
    """A run directory with a plan and one validation image."""
    run = RunDir(folder / "runs" / "my-run")
    image = folder / "image.png"
    Image.new("RGB", (32, 24), (90, 90, 90)).save(image)
    images = [{"id": 1, "file_name": str(image), "width": 32, "height": 24}]
    annotations = [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9], "iscrowd": 0, "area": 81}]
    write_json(run.data("val"), {"images": images, "annotations": annotations, "categories": []})
    write_json(run.classes, ClassMap(("cat",), (1,)).to_json())
    values = {"train.optimizer.lr": {"value": 0.02, "reason": "spec"}, "x": {"value": None, "reason": ""}}
    write_json(run.plan, {"values": values})
    return run


def wandb_records(path: Path) -> Iterator[Any]:
    """The records of a W&B file: blocks of 32 kB after a header of 7 bytes, in LevelDB's log format."""
    from wandb.proto import wandb_internal_pb2

    content = path.read_bytes()
    at, record = 7, b""
    while at + 7 <= len(content):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        _, length, kind = struct.unpack("<IHB", content[at : at + 7])
        record += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            message = wandb_internal_pb2.Record()
            message.ParseFromString(record)
            yield message
            record = b""


def wandb_rows(path: Path) -> list[dict[str, Any]]:
    rows = []
    for record in wandb_records(path):
        if record.WhichOneof("record_type") == "history":
            items = record.history.item
            rows.append({"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items})
    return rows


@pytest.mark.train
def test_a_killed_and_resumed_run_is_one_run_in_every_tracker(tmp_path: Path) -> None:
    from mlflow.tracking import MlflowClient
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = make_run(tmp_path)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW", "WANDB"))}
    # Killed after step 5 with a checkpoint at 3; then to the end. No API key anywhere: W&B goes offline by itself.
    environment = {**kept, "HOME": str(tmp_path), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    for arguments, status in ((["0", "5", "1"], 9), (["3", "6", "0"], 0)):
        command = [sys.executable, "-c", WORKER, str(run.path), *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, cwd=Path.cwd())
        assert done.returncode == status, done.stderr
        assert "wandb: offline (UsageError: No API key" in done.stdout
        assert "warning" not in done.stdout
    losses = [3 * step / 8 for step in range(1, 7)]

    events = EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == list(enumerate(losses, start=1))
    assert [e.step for e in events.Images("samples/1")] == [2, 4, 6]
    assert {"losses/loss_box", "lr", "epoch", "memory_mb", "bbox/AP"} <= set(events.Tags()["scalars"])

    memory = read_json(run.loggers)
    os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
    client = MlflowClient(tracking_uri=(run.path / "mlflow").as_uri())
    number = memory["mlflow"]["run_id"]
    found = client.search_runs([client.get_experiment_by_name("cvtune").experiment_id])
    assert [(r.info.run_id, r.info.run_name, r.info.status) for r in found] == [(number, "my-run", "FINISHED")]
    assert [(m.step, m.value) for m in client.get_metric_history(number, "loss")] == list(enumerate(losses, start=1))
    assert [m.step for m in client.get_metric_history(number, "bbox/AP")] == [2, 4, 6]
    assert client.get_run(number).data.params == {"train.optimizer.lr": "0.02"}
    artifacts = [artifact.path for artifact in client.list_artifacts(number, "samples/step-000006")]
    assert artifacts == ["samples/step-000006/1.jpg"]

    files = sorted((run.path / "wandb").glob(f"offline-run-*-{memory['wandb']['id']}/*.wandb"))
    assert len(files) == 2
    rows = wandb_rows(files[1])
    assert [(row["step"], row["loss"]) for row in rows if "loss" in row] == list(enumerate(losses, start=1))[3:]
    assert [row["step"] for row in rows if "bbox/AP" in row] == [4, 6]
    assert len(list(files[1].parent.glob("files/media/images/samples/1*"))) == 2


class Recorder:
    """A tracker that remembers, and breaks at a step."""

    def __init__(self, again: bool, breaks_at: int = 99) -> None:
        self.again, self.breaks_at = again, breaks_at
        self.seen: list[int] = []

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        if step == self.breaks_at:
            raise ConnectionError("no\nserver")
        self.seen.append(step)

    def images(self, paths: Sequence[Path], step: int) -> None:
        self.seen.append(-step)

    def close(self) -> None:
        raise OSError("too late")


def test_what_was_logged_is_logged_again_only_where_it_may_be_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunDir(tmp_path)
    for logged, start in (({"loss": 0, "eval": 0}, 0), ({"loss": 7, "eval": 4}, 3), ({"loss": 5, "eval": 4}, 3)):
        made = {"tensorboard": Recorder(True), "mlflow": Recorder(False)}
        for name, recorder in made.items():
            monkeypatch.setitem(loggers._MAKERS, name, lambda run, step, memory, recorder=recorder: recorder)
        opened = Loggers(run, ["tensorboard", "mlflow"], start, logged)
        for step in range(start + 1, 9):
            opened.send("loss", {"loss": 1.0}, step)
        opened.send("eval", {}, 4, [Path("1.jpg")])
        assert made["tensorboard"].seen == [*range(start + 1, 9), 4, -4]
        # The third process began where the second did, which had logged less than the first when it was killed.
        assert made["mlflow"].seen == ([*range(1, 9), 4, -4] if start == 0 else [8])


def test_a_tracker_that_fails_is_left_out_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken, sound = Recorder(False, breaks_at=2), Recorder(False)
    monkeypatch.setitem(loggers._MAKERS, "mlflow", lambda run, step, memory: broken)
    monkeypatch.setitem(loggers._MAKERS, "wandb", lambda run, step, memory: sound)
    opened = Loggers(RunDir(tmp_path), ["mlflow", "wandb"], 0, {})
    for step in (1, 2, 3):
        opened.send("loss", {"loss": 1.0}, step)
    opened.close()
    assert (broken.seen, sound.seen) == ([1], [1, 2, 3])
    assert capsys.readouterr().out.splitlines() == [
        "warning: mlflow gets nothing more from step 2 on: ConnectionError: no server",
        "warning: wandb was not closed: OSError: too late",
    ]


def test_a_package_that_is_missing_is_named_with_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nowhere_to_be_found").mkdir()  # such as the folder that W&B leaves where it runs
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(loggers.PACKAGES, "mlflow", ("nowhere_to_be_found", "mlflow-skinny"))
    with pytest.raises(MissingDependencyError, match="`pip install mlflow-skinny`") as caught:
        Journal(RunDir(tmp_path), ["tensorboard", "mlflow"], 0)
    assert caught.value.exit_status == 3
    check_loggers(["tensorboard"])


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (ImportError("libx.so"), MissingDependencyError, "wandb is installed but broken: libx.so"),
        (ConnectionError("refused\nby host"), RunError, "wandb cannot be opened: ConnectionError: refused by host"),
    ],
)
def test_a_tracker_that_cannot_be_opened_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: type[Exception], said: str
) -> None:
    def make(*arguments: Any) -> Any:
        raise error

    monkeypatch.setitem(loggers._MAKERS, "wandb", make)
    with pytest.raises(kind, match=said):
        Loggers(RunDir(tmp_path), ["wandb"], 0, {})
    assert not RunDir(tmp_path).loggers.exists()


def test_without_trackers_nothing_is_written(tmp_path: Path) -> None:
    Loggers(RunDir(tmp_path), [], 0, {}).send("loss", {"loss": 1.0}, 1)
    assert list(tmp_path.iterdir()) == []
