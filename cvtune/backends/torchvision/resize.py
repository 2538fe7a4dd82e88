"""torchvision's input transform with the sizes that it cannot express itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torchvision.models.detection.transform import GeneralizedRCNNTransform

__all__ = ["Resize", "fit_transform"]


class Resize(GeneralizedRCNNTransform):  # type: ignore[misc]
    """GeneralizedRCNNTransform with a size of its own in evaluation, a range of sizes, and padding to a square."""

    def __init__(
        self, own: GeneralizedRCNNTransform, test_short: int | None, as_range: bool, square: int | None
    ) -> None:
        """Take over `own`'s settings.

        Args:
            own: the transform that the model was built with.
            test_short: pixels of the short side in evaluation; None: the last of the training sizes.
            as_range: any whole number between the two training sizes is drawn, not one of them.
            square: pixels; images are scaled to fit into this square and padded to it at right and bottom.
        """
        super().__init__(own.min_size, own.max_size, own.image_mean, own.image_std, own.size_divisible)
        self.test_short, self.as_range, self.square = test_short, as_range, square
        if square is not None:
            self.min_size, self.max_size = (square,), square

    def torch_choice(self, k: Sequence[int]) -> int:
        """A training size: one of `k`, or any between its two ends."""
        if self.as_range:
            return int(torch.randint(min(k), max(k) + 1, (1,)).item())
        return int(super().torch_choice(list(k)))

    def resize(
        self, image: torch.Tensor, target: dict[str, torch.Tensor] | None = None
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor] | None]:
        """Resize one image [3, h, w] and its target."""
        if self.training or self.test_short is None:
            return super().resize(image, target)  # type: ignore[no-any-return]
        sizes, self.min_size = self.min_size, (self.test_short,)
        try:
            return super().resize(image, target)  # type: ignore[no-any-return]
        finally:
            self.min_size = sizes

    def batch_images(self, images: list[torch.Tensor], size_divisible: int = 32) -> torch.Tensor:
        """Pad images to one size: the batch's largest, or the square."""
        batch: torch.Tensor = super().batch_images(images, size_divisible)
        if self.square is None:
            return batch
        height, width = batch.shape[-2:]
        return nn.functional.pad(batch, (0, max(0, self.square - width), 0, max(0, self.square - height)))


def fit_transform(model: nn.Module, image_size: Mapping[str, Any]) -> None:
    """Replace the model's transform where the native config's `image_size` asks for more than it offers."""
    own = model.transform
    assert isinstance(own, GeneralizedRCNNTransform)
    square = image_size["square"]
    if square is not None:
        if image_size["fit"] == "pad":
            model.transform = Resize(own, None, False, square)
        return
    as_range = image_size["sampling"] == "range"
    test_short = image_size["test_short"]
    if as_range or test_short != own.min_size[-1]:
        model.transform = Resize(own, test_short, as_range, None)
