"""What `model.frozen_stages` counts, whatever the framework: the stem, then strides 4, 8, 16, 32."""

from __future__ import annotations

__all__ = ["MOST_STAGES"]

MOST_STAGES = 4
