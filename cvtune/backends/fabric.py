"""Lightning Fabric as this backend uses it: device, precision, several processes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import nn

from cvtune.errors import RunError

__all__ = ["keep_outputs_in_fp32", "make_fabric", "peak_memory_mb"]

PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
# Box coding, losses and NMS see these modules' outputs; half precision there costs accuracy or goes to NaN.
HEADS = ("rpn.head", "roi_heads.box_predictor", "roi_heads.mask_predictor", "head")


def make_fabric(config: Mapping[str, Any]) -> Fabric:
    """A launched Fabric for the native config's `run` and `train.precision`.

    Raises:
        RunError: CUDA was asked for and is not there.
    """
    run = config["run"]
    if run["device"] == "cuda" and not torch.cuda.is_available():
        raise RunError("run.device: cuda, but torch sees no CUDA device; use `-s run.device=cpu`")
    devices = int(run["devices"])
    fabric = Fabric(
        accelerator=run["device"],
        devices=devices,
        num_nodes=int(run["nodes"]),
        strategy="ddp" if devices * int(run["nodes"]) > 1 else "auto",
        precision=PRECISIONS[config["train"]["precision"]],
    )
    fabric.launch()
    return fabric


def keep_outputs_in_fp32(model: nn.Module) -> None:
    """Make the prediction heads hand out float32, whatever precision they compute in."""

    def to_float(module: nn.Module, arguments: Any, output: Any) -> Any:
        return _float(output)

    modules = dict(model.named_modules())
    for name in HEADS:
        if name in modules:
            modules[name].register_forward_hook(to_float)


def _float(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.float() if value.is_floating_point() else value
    if isinstance(value, list | tuple):
        return type(value)(_float(item) for item in value)
    if isinstance(value, dict):
        return {key: _float(item) for key, item in value.items()}
    return value


def peak_memory_mb(device: torch.device) -> float:
    """Peak memory of this process in MB: the GPU's on CUDA, the resident set on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
