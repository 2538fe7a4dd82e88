"""How the worker is started: in this environment, in a backend's own, or once a device by torchrun."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from cvtune import errors
from cvtune.errors import CvtuneError, RunError
from cvtune.runs import RunDir, read_json

__all__ = ["in_process", "python_of", "run_worker"]

POLL_SECONDS = 0.25


def python_of(backend: str) -> str:
    """The interpreter that runs this backend: ``CVTUNE_PYTHON_<BACKEND>`` where set, else this one."""
    return os.environ.get(f"CVTUNE_PYTHON_{backend.upper()}", sys.executable)


def in_process(backend: str) -> bool:
    """Whether verbs that import no framework may run in this process instead of a worker."""
    return python_of(backend) == sys.executable


def run_worker(
    backend: str,
    verb: str,
    run: RunDir,
    *arguments: str,
    processes: int = 1,
    lock: int | None = None,
    on_poll: Callable[[], None] = lambda: None,
) -> None:
    """Run ``python -m cvtune.worker VERB RUN_DIR ...`` and wait for it.

    Args:
        backend: whose interpreter runs it.
        verb: probe, recipe, translate, measure, find-lr, train or predict.
        run: the run directory: the worker's only input and output.
        arguments: further arguments of the verb.
        processes: above 1, torchrun starts that many.
        lock: the run directory's lock, to be kept by the worker too.
        on_poll: called a few times a second while the worker runs.

    Raises:
        CvtuneError: the worker's own error, of the same class.
        RunError: the worker died without a word (killed, out of memory); the end of its output is shown.
    """
    run.error.unlink(missing_ok=True)
    command = [python_of(backend), "-m"]
    if processes > 1:
        command += ["torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), "-m"]
    command += ["cvtune.worker", verb, str(run.path), *arguments]
    environment = os.environ | {"CVTUNE_PARENT_PID": str(os.getpid())}
    if processes > 1 and "OMP_NUM_THREADS" not in environment:
        environment["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // processes))
    run.path.mkdir(parents=True, exist_ok=True)
    with open(run.path / "worker.log", "ab") as output:
        start = output.tell()
        try:
            worker = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                pass_fds=() if lock is None else (lock,),
            )
        except OSError as error:
            raise RunError(f"{command[0]}: cannot be started: {error}; set CVTUNE_PYTHON_{backend.upper()}") from error
        _wait(worker, on_poll)
    if worker.returncode:
        _raise_error(run, command, worker.returncode, start)


def _wait(worker: subprocess.Popen[bytes], on_poll: Callable[[], None]) -> None:
    """Wait; an interrupt reaches the worker by the terminal too, so it gets the time to write its checkpoint."""
    try:
        while worker.poll() is None:
            on_poll()
            time.sleep(POLL_SECONDS)
        on_poll()
    except KeyboardInterrupt:
        with contextlib.suppress(subprocess.TimeoutExpired):
            worker.wait(timeout=60)
        raise
    finally:
        if worker.poll() is None:
            worker.kill()
            worker.wait()


def _raise_error(run: RunDir, command: Sequence[str], status: int, start: int) -> None:
    if run.error.exists():
        record = read_json(run.error)
        kind = getattr(errors, record["type"], RunError)
        raise (kind if issubclass(kind, CvtuneError) else RunError)(record["message"])
    end = _tail(run.path / "worker.log", start)
    reason = f"signal {-status}" if status < 0 else f"exit status {status}"
    if status == -9:
        reason += " (killed, perhaps for memory: try a smaller data.batch_size)"
    raise RunError(f"worker `{' '.join(command[1:])}` ended with {reason}; its last output: {end}")


def _tail(path: Path, start: int, lines: int = 5) -> str:
    with open(path, "rb") as file:
        file.seek(start)
        text = file.read().decode(errors="replace").strip()
    return json.dumps(" | ".join(text.splitlines()[-lines:]), ensure_ascii=False) if text else "none"
