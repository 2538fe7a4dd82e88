"""What sweeps over a framework's zoo share: a process a config, limits, results that survive a kill, a table.

A sweep hands in the names, a function that tries one config and returns facts about it, and how to say why a config is
left out. Frameworks are imported once in the parent; each config is tried in a forked child, so that what one leaves
behind (memory, registries, thread pools) is gone with it.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from cvtune.errors import CvtuneError

Try = Callable[[str], dict[str, Any]]


def arguments(description: str, results: str, table: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("names", nargs="*", help="configs to sweep, whether or not they have a result; none: all")
    parser.add_argument("--results", type=Path, default=Path(results), help="JSON lines; a sweep goes on from it")
    parser.add_argument("--table", type=Path, default=Path(table), help="the Markdown table; - for none")
    parser.add_argument("--memory-gb", type=float, default=16.0, help="limit of one config's process")
    parser.add_argument("--seconds", type=float, default=420.0, help="limit of one config's process")
    parser.add_argument("--table-only", action="store_true", help="try nothing; write the table of what was tried")
    parser.add_argument("--again", action="store_true", help="try configs again that have a result")
    parser.add_argument("--failed", action="store_true", help="try configs again that did not work")
    return parser.parse_args()


def find_named(options: argparse.Namespace, find: Callable[[str], str]) -> list[str]:
    """The official configs that the command line names; ends with one line where there is no such config."""
    try:
        return [find(name) for name in options.names]
    except CvtuneError as error:
        sys.exit(f"error: {error}")


def sweep(options: argparse.Namespace, names: Sequence[str], attempt: Try) -> list[dict[str, Any]]:
    """Try the configs that were named, or all without a result yet; returns the results of `names` in their order."""
    options.results.parent.mkdir(parents=True, exist_ok=True)
    known = _read(options.results)
    if options.table_only:
        return [known[name] for name in names if name in known]
    for number, name in enumerate(names, start=1):
        before = known.get(name)
        anew = options.names or options.again or (options.failed and before and before["outcome"] != "works")
        if before and not anew:
            continue
        result = {"config": name, **_in_child(name, attempt, options)}
        known[name] = result
        with open(options.results, "a", encoding="utf-8") as file:
            file.write(json.dumps(result) + "\n")
        print(f"[{number}/{len(names)}] {name}: {result['outcome']} {result.get('reason', '')[:160]}", flush=True)
    return [known[name] for name in names if name in known]


def tell_left_out(options: argparse.Namespace, left_out: Mapping[str, str]) -> None:
    """Say which of the configs that were named are not swept, and why."""
    for name in left_out if options.names else ():
        print(f"{name}: left out: {left_out[name]}", flush=True)


def _read(path: Path) -> dict[str, dict[str, Any]]:
    if not path.exists():
        return {}
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue  # a kill cut it short
        found[record["config"]] = record
    return found


def _in_child(name: str, attempt: Try, options: argparse.Namespace) -> dict[str, Any]:
    """Fork, try, and read what the child wrote into a pipe; kill it beyond its limits."""
    reader, writer = os.pipe()
    start = time.monotonic()
    child = os.fork()
    if child == 0:
        os.close(reader)
        os.setpgid(0, 0)
        try:
            result = {"outcome": "works", **attempt(name)}
        except BaseException as error:  # whatever it is, it is this config's result
            result = {"outcome": "fails", "reason": _reason(error)}
            traceback.print_exc()
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(json.dumps(result).encode())
        os._exit(0)
    os.close(writer)
    killed = _watch(child, options, start)
    with os.fdopen(reader, "rb") as pipe:
        text = pipe.read()
    seconds = round(time.monotonic() - start, 1)
    if killed or not text:
        return {"outcome": "fails", "reason": killed or "the process died", "seconds": seconds}
    return {**json.loads(text), "seconds": seconds}


def _watch(child: int, options: argparse.Namespace, start: float) -> str | None:
    process = psutil.Process(child)
    while True:
        done, _ = os.waitpid(child, os.WNOHANG)
        if done:
            return None
        reason = None
        try:
            if process.memory_info().rss > options.memory_gb * 2**30:
                reason = f"more than {options.memory_gb:g} GB of memory"
        except psutil.NoSuchProcess:
            continue
        if time.monotonic() - start > options.seconds:
            reason = f"more than {options.seconds:g} s"
        if reason:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return reason
        time.sleep(0.1)


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:300]


def write_table(
    path: Path,
    title: str,
    intro: str,
    results: Sequence[Mapping[str, Any]],
    left_out: Mapping[str, str],
    columns: Sequence[str],
) -> None:
    """The Markdown table: works or the reason why not, and the configs that the sweep leaves out, with why."""
    works = sum(result["outcome"] == "works" for result in results)
    lines = [f"# {title}", "", intro, "", f"**Works: {works} of {len(results)}.**", ""]
    lines += [f"| config | outcome | {' | '.join(columns)} | seconds |", "|---|---|" + "---|" * (len(columns) + 1)]
    for result in results:
        outcome = "works" if result["outcome"] == "works" else f"**fails**: {result.get('reason', '')}"
        cells = " | ".join(str(result.get(column, "")) for column in columns)
        lines.append(f"| {result['config']} | {outcome.replace('|', '/')} | {cells} | {result['seconds']:g} |")
    lines += ["", f"## Left out: {len(left_out)}", "", "| why | configs |", "|---|---|"]
    for why, count in sorted(Counter(left_out.values()).items(), key=lambda item: -item[1]):
        named = ", ".join(name for name, reason in left_out.items() if reason == why)
        lines.append(f"| {why} ({count}) | {named} |")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
