"""Operators of ours: where a framework's compiled one is missing, or is much slower than it need be."""
