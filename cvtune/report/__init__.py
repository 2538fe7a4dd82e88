"""report.html, report.md and report.json from a run's files. Needs no framework, no torch, no network."""

from cvtune.report.build import write_file_report, write_report
from cvtune.report.facts import Files

__all__ = ["Files", "write_file_report", "write_report"]
