"""report.html and report.md from a run's files. Needs no framework, no torch, no network."""

from cvtune.report.build import write_report

__all__ = ["write_report"]
