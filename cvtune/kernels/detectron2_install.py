"""Detectron2 into this Python environment, without a compiler: `tools/install_detectron2.py`.

pip fetches the source archive, so that its settings count (index, mirrors, local folders, proxies, certificates,
passwords); the archive's own `setup.py`, which imports torch and cannot build, is kept from running. Imports no torch.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from cvtune.errors import CvtuneError, DataError, MissingDependencyError, RunError
from cvtune.kernels.detectron2_wheel import ARCHIVE_SHA256, VERSION, build_wheel, patched_files

__all__ = ["fetch_archive", "install", "main"]

PROJECT, RELEASE = "pb1-detectron2", "0.6"
REPOSITORY = "https://github.com/facebookresearch/detectron2.git"
# Packages that an install of Detectron2 must not move to another version.
KEPT = ("torch", "torchvision", "numpy", "opencv-python", "opencv-python-headless", "pillow", "pycocotools")
# pip asks a source archive for its metadata even when it shall only be downloaded. This stands in for setuptools then,
# and answers with name and version.
_METADATA_ONLY = f'''\
from pathlib import Path


class __legacy__:
    @staticmethod
    def prepare_metadata_for_build_wheel(folder, config_settings=None):
        info = Path(folder, "{PROJECT.replace("-", "_")}-{RELEASE}.dist-info")
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\\nName: {PROJECT}\\nVersion: {RELEASE}\\n")
        return info.name
'''


def fetch_archive(folder: Path) -> Path:
    """Download the source archive with pip, from wherever pip is set to look. Runs none of its code.

    Args:
        folder: where it goes; must exist.

    Returns:
        Its path. Its hash is not checked here.

    Raises:
        MissingDependencyError: this Python has no pip.
        RunError: pip did not find it or could not reach it.
    """
    with tempfile.TemporaryDirectory() as stub:
        package = Path(stub, "setuptools")
        package.mkdir()
        (package / "__init__.py").write_text("")
        (package / "build_meta.py").write_text(_METADATA_ONLY)
        environment = {"PIP_RETRIES": "1"} | os.environ | {"PYTHONPATH": stub, "PIP_USE_PEP517": "1"}
        arguments = ["download", "--no-deps", "--no-build-isolation", "--no-binary", PROJECT, "--dest", str(folder)]
        done = _pip([*arguments, f"{PROJECT}=={RELEASE}"], environment)
    archives = list(folder.glob("*.tar.gz"))
    if done.returncode or not archives:
        raise RunError(
            f"{PROJECT} {RELEASE}: pip could not download it: {_reason(done.stderr)}; check the network and pip's "
            "index (python -m pip config list), or give the file: --archive pb1-detectron2-0.6.tar.gz"
        )
    return archives[0]


def install(wheel: Path, constraint: Path | None = None) -> None:
    """Install the wheel and what it needs with pip; the packages in `KEPT` stay as they are.

    Args:
        wheel: the wheel.
        constraint: a file of versions for pip, used as well.

    Raises:
        MissingDependencyError: this Python has no pip.
        RunError: pip failed; the message has its last error.
    """
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder, "kept.txt")
        kept.write_text("".join(f"{name}=={version}\n" for name, version in _kept_versions().items()))
        arguments = ["install", "--quiet", "--constraint", str(kept)]
        arguments += ["--constraint", str(constraint)] if constraint else []
        done = _pip([*arguments, "--force-reinstall", "--no-deps", str(wheel)])
        if not done.returncode:
            done = _pip([*arguments, str(wheel)])
    if done.returncode:
        raise RunError(f"{wheel.name}: pip could not install it: {_reason(done.stderr)}")


def _install_from_git(reference: str) -> None:
    """The official head, whose operators are compiled here: torch is at hand for the build, the packages stay."""
    done = _pip(["install", "--no-build-isolation", f"git+{REPOSITORY}@{reference}"])
    if done.returncode:
        raise RunError(
            f"{REPOSITORY}@{reference}: pip could not build it: {_reason(done.stderr)}; it needs git, a C++ compiler "
            "(with CUDA's for a GPU) and torch; without --from-git no compiler is needed"
        )


def _pip(arguments: list[str], environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    if importlib.util.find_spec("pip") is None:
        raise MissingDependencyError(f"{sys.executable}: has no pip; python -m ensurepip brings it")
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def _reason(stderr: str) -> str:
    """pip's first error line, or the last line that it wrote."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    return (errors or lines[-1:] or ["no reason given"])[0]


def _kept_versions() -> dict[str, str]:
    versions = {}
    for name in KEPT:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _installed() -> str | None:
    """What there is of Detectron2 here: a version, or a path where there is no distribution."""
    try:
        return importlib.metadata.version("detectron2")
    except importlib.metadata.PackageNotFoundError:
        spec = importlib.util.find_spec("detectron2")
        return f"at {spec.origin}" if spec else None


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="install_detectron2.py",
        description=f"Install Detectron2 {RELEASE} as {VERSION}: pure Python, with a listed set of changes.",
    )
    parser.add_argument("--archive", type=Path, help="a downloaded pb1-detectron2-0.6.tar.gz, instead of asking pip")
    parser.add_argument("--wheel-dir", type=Path, metavar="DIR", help="only build the wheel, into DIR")
    parser.add_argument("--dry-run", action="store_true", help="fetch, check and list the changes; install nothing")
    parser.add_argument("--force", action="store_true", help="replace what is installed")
    parser.add_argument("--constraint", type=Path, metavar="FILE", help="versions for pip, such as constraints.txt")
    parser.add_argument(
        "--from-git",
        metavar="REF",
        nargs="?",
        const="main",
        help="the official repository at REF (main) instead; compiles, needs git and a C++ compiler",
    )
    return parser.parse_args(argv)


def _run(options: argparse.Namespace) -> None:
    present = None if options.wheel_dir or options.dry_run else _installed()
    if present and not options.force:
        note = "nothing to do" if present == VERSION else f"left as it is; --force replaces it by {VERSION}"
        print(f"Detectron2 {present} is installed: {note}")
        return
    if options.constraint and not options.constraint.is_file():
        raise DataError(f"--constraint: no such file, got {str(options.constraint)!r}")
    if options.from_git:
        if options.dry_run:
            print(f"would run: pip install --no-build-isolation git+{REPOSITORY}@{options.from_git}")
            return
        _install_from_git(options.from_git)
        print(f"Installed Detectron2 {_version_of_a_new_process()} from {REPOSITORY}@{options.from_git}")
        return
    with tempfile.TemporaryDirectory() as folder:
        archive = options.archive or fetch_archive(Path(folder))
        if options.dry_run:
            made = patched_files(archive, ARCHIVE_SHA256)[1]
        else:
            wheel, made = build_wheel(archive, options.wheel_dir or Path(folder, "wheel"), ARCHIVE_SHA256)
        print(f"{archive.name}: sha256 {ARCHIVE_SHA256} as expected")
        for patch in made:
            print(f"  {patch.file}: {patch.name}: {patch.why}")
        if options.dry_run:
            print(f"{len(made)} changes match; nothing was installed")
        elif options.wheel_dir:
            print(f"Wrote {wheel}")
        else:
            install(wheel, options.constraint)
            print(f"Installed Detectron2 {VERSION} with {len(made)} changes; its operators: {_operators()}")


def _version_of_a_new_process() -> str:
    code = "import detectron2; print(detectron2.__version__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.strip() or f"(does not import: {_reason(done.stderr)})"


def _operators() -> str:
    """Where a new process finds detectron2._C."""
    if importlib.util.find_spec("torch") is None:
        return "not checked, torch is not installed: pip install 'cvtune[detectron2]'"
    code = "import detectron2._C as operators; print(operators.__file__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        return f"do not import: {done.stderr.strip().splitlines()[-1]}"
    path = done.stdout.strip()
    return "cvtune's stand-ins" if path.endswith(".py") else f"compiled, {path}"


def main(argv: list[str] | None = None) -> int:
    """Run the command line; one line on stderr says what went wrong.

    Returns:
        The exit status: 0 done, 1 the download or the installation failed, 2 an argument or the archive is wrong, 3 pip
        is missing.
    """
    try:
        _run(_parse(argv))
    except CvtuneError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    return 0
