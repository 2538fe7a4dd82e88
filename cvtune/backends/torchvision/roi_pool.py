"""torchvision's multi-scale RoI pooling over our own RoIAlign."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import nn
from torchvision.ops import MultiScaleRoIAlign
from torchvision.ops.poolers import LevelMapper

from cvtune.kernels.roi_align import roi_align

__all__ = ["FastMultiScaleRoIAlign", "use_fast_roi_align"]


class FastMultiScaleRoIAlign(MultiScaleRoIAlign):  # type: ignore[misc]
    """The same pooling with the same values; only the gradient is computed faster, on a CPU."""

    def forward(
        self, x: Mapping[str, torch.Tensor], boxes: Sequence[torch.Tensor], image_shapes: Sequence[tuple[int, int]]
    ) -> torch.Tensor:
        """Pool [k, c, ph, pw] from the levels of `x`, each region from the one that fits its size (Lin et al. 2017)."""
        features = [level for name, level in x.items() if name in self.featmap_names]
        height = max(shape[0] for shape in image_shapes)
        width = max(shape[1] for shape in image_shapes)
        scales = [_scale(level, height, width) for level in features]
        counts = torch.tensor([len(b) for b in boxes])
        index = torch.repeat_interleave(torch.arange(len(boxes)), counts).to(boxes[0])
        rois = torch.cat([index[:, None], torch.cat(list(boxes))], dim=1)
        settings = (tuple(self.output_size), self.sampling_ratio)
        if len(features) == 1:
            return roi_align(features[0], rois, settings[0], scales[0], settings[1])
        mapper = LevelMapper(
            round(-math.log2(scales[0])), round(-math.log2(scales[-1])), self.canonical_scale, self.canonical_level
        )
        levels = mapper(list(boxes))
        shape = (len(rois), features[0].shape[1], *self.output_size)
        out = features[0].new_zeros(shape)
        for level, (feature, scale) in enumerate(zip(features, scales, strict=True)):
            chosen = torch.where(levels == level)[0]
            out[chosen] = roi_align(feature, rois[chosen], settings[0], scale, settings[1]).to(out.dtype)
        return out


def _scale(feature: torch.Tensor, height: int, width: int) -> float:
    """Feature pixels in an image pixel, to the nearest power of two: images are padded, levels rounded up."""
    sides = zip(feature.shape[-2:], (height, width), strict=True)
    powers = {2.0 ** round(math.log2(level / image)) for level, image in sides}
    return powers.pop() if len(powers) == 1 else 2.0 ** round(math.log2(feature.shape[-2] / height))


def use_fast_roi_align(model: nn.Module) -> None:
    """Replace a model's RoI pooling in place; it has no weights, so checkpoints are not touched."""
    for parent in model.modules():
        for name, child in parent.named_children():
            if type(child) is MultiScaleRoIAlign:
                fast = FastMultiScaleRoIAlign(
                    child.featmap_names,
                    child.output_size,
                    child.sampling_ratio,
                    canonical_scale=child.canonical_scale,
                    canonical_level=child.canonical_level,
                )
                setattr(parent, name, fast)
