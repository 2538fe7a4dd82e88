"""MMDetection: its own official configs, the fewest overrides, trained through its own Runner."""
