"""What the worker saw of the machine is remembered as long as it can be true."""

from __future__ import annotations

from pathlib import Path

import pytest

from cvtune import host
from cvtune.backends.base import Host
from cvtune.host import cached_host, probe_host
from cvtune.runs import RunDir, write_json

SEEN = Host("1", "cpu", 1, "a CPU", 2**30, 2, False, {"torch": "2"}, {"ops": "compiled"}, ("slow",))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed packages; the cache is another, and the worker answers SEEN."""
    (tmp_path / "site").mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(str(tmp_path / "site"))

    def worker(backend: str, verb: str, run: RunDir, *arguments: str) -> None:
        assert (verb, arguments) == ("probe", ("--backend", backend))
        write_json(run.path / "host.json", SEEN.to_json())

    monkeypatch.setattr(host, "run_worker", worker)
    assert cached_host("torchvision") is None
    assert probe_host("torchvision") == SEEN
    return tmp_path / "site"


def test_a_probe_is_remembered_for_its_backend(site: Path) -> None:
    assert cached_host("torchvision") == SEEN
    assert cached_host("detectron2") is None


@pytest.mark.parametrize("package", ["torch-3.0.dist-info", "of_any_backend-1.egg-info", "editable.egg-link"])
def test_a_probe_is_forgotten_when_a_package_comes(site: Path, package: str) -> None:
    (site / package).mkdir()
    assert cached_host("torchvision") is None
    (site / package).rmdir()
    assert cached_host("torchvision") == SEEN


@pytest.mark.parametrize("name", ["CUDA_VISIBLE_DEVICES", "CVTUNE_KERNELS", "CVTUNE_PYTHON_TORCHVISION"])
def test_a_probe_is_forgotten_when_the_machine_looks_different(
    site: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "1")
    assert cached_host("torchvision") is None
