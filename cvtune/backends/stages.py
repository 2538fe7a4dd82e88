"""What `model.frozen_stages` counts, whatever the framework: the stem, then strides 4, 8, 16, 32."""

from __future__ import annotations

from cvtune.errors import SpecError

__all__ = ["MOST_STAGES", "check_frozen_stages"]

MOST_STAGES = 4


def check_frozen_stages(stages: int | None, most: int = MOST_STAGES) -> None:
    """Raise SpecError for more stages than there are: `most`, where a backbone ends early (C4 has three)."""
    if stages is not None and not 0 <= stages <= most:
        raise SpecError(f"model.frozen_stages: got {stages}; allowed: 0 (the stem) to {most}, or null for none")
