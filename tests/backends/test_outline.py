"""A file of weights is looked into without torch, and none of its code runs."""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cvtune.backends.outline import Left, read_outline


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch pwned",)


def test_names_and_numbers_are_read_and_the_rest_is_left(tmp_path: Path) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(3))], lr=0.1)
    content = {
        "model": OrderedDict(weight=torch.ones(2, 2)),
        "optimizer": optimizer.state_dict(),
        "input": {"mean": [1.0, 2.0], "order": "RGB"},
        "score": np.float64(0.5),
        "array": np.arange(3),
    }
    torch.save(content, tmp_path / "a.pth")
    torch.save(content, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({**content, "model": {"weight": np.ones(2)}}))
    for name in ("a.pth", "a.pkl"):
        found = read_outline(tmp_path / name)
        assert found["input"] == content["input"]
        assert list(found["model"]) == ["weight"]
        assert isinstance(found["model"]["weight"], Left)
        assert isinstance(found["score"], Left)
    # The old form begins with numbers of its own: nothing is found, nothing fails.
    assert read_outline(tmp_path / "old.pth") == {}


@pytest.mark.parametrize("content", [b"", b"no pickle", pickle.dumps([1]), pickle.dumps({"model": {}})[:-4], b"PK\3\4"])
def test_a_file_of_another_kind_has_no_outline(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.pkl").write_bytes(content)
    assert read_outline(tmp_path / "x.pkl") == {}
    assert read_outline(tmp_path / "absent.pkl") == {}


def test_no_code_of_the_file_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"a": Evil(), "b": 1}))
    assert read_outline(tmp_path / "x.pkl")["b"] == 1
    assert not (tmp_path / "pwned").exists()
