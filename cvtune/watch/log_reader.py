"""log.jsonl read bit by bit: a long run's log is parsed once, not at every look."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import IO, Any

__all__ = ["LogReader"]


class LogReader:
    """Keeps the records of a log that grows, and begins anew where it was replaced, as a resume does."""

    def __init__(self, path: Path) -> None:
        """The file need not exist yet."""
        self.path = path
        self.records: list[dict[str, Any]] = []
        self.offset, self.inode = 0, -1

    def poll(self) -> list[dict[str, Any]]:
        """All whole records so far; a line that is not JSON, or no record, is left out."""
        try:
            with open(self.path, "rb") as file:
                self._read(file)
        except OSError:
            self.records, self.offset, self.inode = [], 0, -1
        return self.records

    def _read(self, file: IO[bytes]) -> None:
        found = os.fstat(file.fileno())
        if found.st_ino != self.inode or found.st_size < self.offset:
            self.records, self.offset, self.inode = [], 0, found.st_ino
        file.seek(self.offset)
        content = file.read()
        end = content.rfind(b"\n") + 1  # the last line may be half written
        self.offset += end
        for line in content[:end].splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict) and isinstance(record.get("step"), int):
                self.records.append(record)
