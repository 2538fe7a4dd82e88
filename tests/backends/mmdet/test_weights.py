"""Starting weights of MMDetection's models."""

from __future__ import annotations

import subprocess
import sys

import pytest

OFFSETS = """
from cvtune.kernels.finder import install
install()
from mmdet.models.backbones import ResNet
from torch import nn
from cvtune.backends.mmdet.weights import load_weights

model = nn.Module()
model.backbone = ResNet(50, dcn=dict(type="DCN", deform_groups=1), stage_with_dcn=(False, True, True, True))
model.backbone.init_weights()
offsets = [v for k, v in model.backbone.named_parameters() if "conv_offset.weight" in k]
assert len(offsets) == 13
print(any(v.abs().max() > 0 for v in offsets))
load_weights(model, {"kind": "none", "value": None, "sha256": None, "scope": None})
print(any(v.abs().max() > 0 for v in offsets))
"""


@pytest.mark.train
def test_deformable_convolutions_start_as_plain_ones() -> None:
    done = subprocess.run([sys.executable, "-c", OFFSETS], capture_output=True, text=True)
    assert done.stdout.split()[-2:] == ["True", "False"], done.stderr[-2000:]
