"""The progress of a run, read from its log."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from cvtune.progress import RunProgress
from cvtune.runs import RunDir, append_jsonl


def step(number: int) -> dict[str, object]:
    losses = {"loss_box": 0.25}
    record = {"step": number, "epoch": 1, "lr": 0.01, "loss": 0.5, "losses": losses, "seconds": 2.0 * number}
    return {**record, "memory_mb": 900.0}


def evaluation(epoch: int) -> dict[str, object]:
    return {"eval": {"bbox": {"AP": 0.123, "AP50": 0.456}}, "step": 10 * epoch, "epoch": epoch}


def test_a_pipe_gets_lines_with_loss_memory_and_time_left(tmp_path: Path) -> None:
    run, text = RunDir(tmp_path), io.StringIO()
    with RunProgress(run, 100, Console(file=text, width=80)) as progress:
        progress.poll()  # no log yet
        append_jsonl(run.log, step(10))
        progress.poll()
        append_jsonl(run.log, evaluation(1))
        progress.poll()
    said = text.getvalue()
    assert "step 10/100" in said
    assert "loss_box 0.250" in said
    assert "900 MB" in said
    assert "about 3.0 min left" in said  # 90 steps of 2 s
    assert "epoch 1: bbox AP 12.3, AP50 45.6" in said


def test_a_resumed_run_does_not_repeat_its_old_evaluations(tmp_path: Path) -> None:
    run, text = RunDir(tmp_path), io.StringIO()
    for epoch in (1, 2, 3):
        append_jsonl(run.log, evaluation(epoch))
    with RunProgress(run, 100, Console(file=text, width=80)) as progress:
        append_jsonl(run.log, evaluation(4))
        progress.poll()
    said = text.getvalue()
    assert "epoch 1:" not in said
    assert "epoch 4:" in said


def test_a_terminal_gets_a_bar(tmp_path: Path) -> None:
    run, text = RunDir(tmp_path), io.StringIO()
    with RunProgress(run, 100, Console(file=text, width=200, force_terminal=True)) as progress:
        append_jsonl(run.log, step(50))
        progress.poll()
    assert "50/100" in text.getvalue()
