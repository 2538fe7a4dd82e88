"""`python -m cvtune.kernels TOOL.py`: the tool, its subprocesses and spawned workers see the stand-ins."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

TOOL = """
import json, multiprocessing, os, subprocess, sys
import beside
from mmcv import _ext

ASK = "from mmcv import _ext; print(_ext.__doc__)"
CHAINED = "import os; print(os.environ['CHAINED'])"

def ask(queue):
    from mmcv import _ext
    queue.put(_ext.__doc__)

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=ask, args=(queue,))
    process.start()
    spawned = queue.get(timeout=50)
    process.join()
    child = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True)
    other = subprocess.run([sys.executable, "-c", CHAINED], capture_output=True, text=True)
    print(json.dumps({"argv": sys.argv, "here": _ext.__doc__, "spawned": spawned, "child": child.stdout.strip(),
                      "chained": other.stdout.strip(), "errors": child.stderr + other.stderr}))
    sys.exit(7)
"""


def run_tool(folder: Path, *arguments: str, path: list[Path]) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(str(p) for p in path), "CVTUNE_KERNELS": "auto"}
    return subprocess.run(
        [sys.executable, "-m", "cvtune.kernels", *arguments],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def make_tool(folder: Path) -> Path:
    packages = folder / "packages"
    for name in ("torch", "mmcv"):
        (packages / name).mkdir(parents=True)
        (packages / name / "__init__.py").touch()
    # A sitecustomize that was there before: it must still run.
    (packages / "sitecustomize.py").write_text("import os; os.environ['CHAINED'] = 'yes'")
    tools = folder / "tools"
    tools.mkdir()
    (tools / "beside.py").touch()
    (tools / "tool.py").write_text(TOOL)
    return packages


def test_the_tool_and_its_processes_see_the_stand_ins(tmp_path: Path) -> None:
    packages = make_tool(tmp_path)
    done = run_tool(tmp_path, "tools/tool.py", "config.py", "--lr", "1", path=[packages, ROOT])
    assert done.returncode == 7, done.stderr
    said = json.loads(done.stdout)
    doc = "cvtune's stand-in for mmcv._ext."
    assert said == {
        "argv": ["tools/tool.py", "config.py", "--lr", "1"],
        "here": doc,
        "spawned": doc,
        "child": doc,
        "chained": "yes",
        "errors": "",
    }


def test_a_checkout_that_is_on_nobodys_path_is_found_by_the_children(tmp_path: Path) -> None:
    packages = make_tool(tmp_path)
    (tmp_path / "ask.py").write_text("from mmcv import _ext; print(_ext.__doc__)")
    startup = ROOT / "cvtune/kernels/startup"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(startup), str(packages)]), "CVTUNE_KERNELS": ""}
    # -S: no site-packages, where cvtune may be installed; what site would do is done by hand.
    code = "import sitecustomize, sys; assert all('kernels' not in p or 'startup' in p for p in sys.path)"
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"{code}; exec(open('ask.py').read())"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "cvtune's stand-in for mmcv._ext.\n", done.stderr


def test_modules_can_be_run_too(tmp_path: Path) -> None:
    packages = make_tool(tmp_path)
    (packages / "asking.py").write_text("import sys; from mmcv import _ext; print(sys.argv[1:], _ext.__doc__)")
    done = run_tool(tmp_path, "-m", "asking", "a", "-b", path=[packages, ROOT])
    assert done.stdout == "['a', '-b'] cvtune's stand-in for mmcv._ext.\n", done.stderr


def test_wrong_arguments(tmp_path: Path) -> None:
    for arguments, words in (((), "usage:"), (("-x",), "usage:"), (("none.py",), "none.py: no such file")):
        done = run_tool(tmp_path, *arguments, path=[ROOT])
        assert done.returncode == 2
        assert words in done.stderr
