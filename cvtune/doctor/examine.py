"""Everything the doctor looks at, in the order in which one failure explains the next."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from cvtune.doctor.data import check_data, check_fit
from cvtune.doctor.learn import check_learning, check_time
from cvtune.doctor.line import Line
from cvtune.doctor.machine import check_environment, check_memory
from cvtune.errors import CvtuneError, MissingDependencyError
from cvtune.host import probe_host
from cvtune.report.text import plural
from cvtune.runs import RunDir, write_json
from cvtune.spec_file import errors_with_lines, load_spec, spec_to_json
from cvtune.training import plan_run, read_recipe, translate_plan
from cvtune.worker import write_native

__all__ = ["examine"]


def examine(
    spec_path: Path,
    overrides: Sequence[str] = (),
    trial: bool = True,
    images: int = 6,
    steps: int = 120,
    minutes: float = 10.0,
) -> Iterator[Line]:
    """Say what is right and wrong with a spec, its data and this machine; nothing is left behind.

    Args:
        spec_path: the spec. overrides: `KEY=VALUE` texts.
        trial: whether to train: one step for the memory, a few for the time, `steps` on `images` images.
        minutes: the limit of each trial.

    Yields:
        Lines, as soon as they are known.

    Raises:
        SpecError: the spec itself is wrong.
    """
    spec = load_spec(spec_path, overrides)
    with tempfile.TemporaryDirectory(prefix="cvtune-doctor-") as name:
        folder = Path(name)
        run = RunDir(folder / "plan")
        write_json(run.spec, spec_to_json(spec))
        task, host = "detect", None
        try:
            found = probe_host(spec.backend)
        except MissingDependencyError as error:
            yield _failed("environment", error)
        else:
            host = found
            yield from check_environment(spec, found)
        try:
            task = read_recipe(spec, run).task
        except CvtuneError as error:
            yield _failed("plan", error)
        yield from _tried("data", lambda: check_data(spec, task))
        try:
            with errors_with_lines(spec_path, overrides):
                plan = plan_run(spec, run, complete=host is not None and trial)
                if host is not None and trial:
                    write_native(run, translate_plan(spec, run, plan))
        except CvtuneError as error:
            yield _failed("plan", error)
            return
        classes = plural(len(plan.class_map), "class", "classes")
        yield Line("ok", "plan", f"{len(plan.values)} settings, {classes}: cvtune plan shows them")
        yield from _tried("data", lambda: check_fit(run, plan))
        if host is None or not trial:
            return
        limit, batch = 60 * minutes, int(plan["data.batch_size"])
        fixed = [*overrides, f"data.batch_size={batch}"]
        yield from _tried("memory", lambda: check_memory(spec, run, found, batch))
        yield from _tried("time", lambda: check_time(spec_path, fixed, run, plan, folder, limit))
        yield from _tried("learning", lambda: check_learning(spec_path, fixed, run, plan, folder, images, steps, limit))


def _tried(topic: str, look: Callable[[], Iterator[Line]]) -> Iterator[Line]:
    """The lines of a check; an error that it raises is its last line."""
    try:
        yield from look()
    except CvtuneError as error:
        yield _failed(topic, error)


def _failed(topic: str, error: CvtuneError) -> Line:
    """An error's own words: they end with the fix."""
    seen, _, fix = str(error).replace("\n", " | ").rpartition("; ")
    return Line("error", topic, seen or fix, fix if seen else "")
