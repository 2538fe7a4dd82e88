"""Parquet and Arrow files through pyarrow, some columns and some rows at a time."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cvtune.errors import DataError, MissingDependencyError

__all__ = ["ArrowFile", "has_pyarrow", "open_arrow"]

PARQUET, ARROW = b"PAR1", b"ARROW1"
STREAM = b"\xff\xff\xff\xff"  # every message of Arrow's stream begins so
ROWS = 1024
BUFFER = 1 << 20  # bytes


@dataclass(frozen=True)
class ArrowFile:
    """A file and its columns, pyarrow's schema with the metadata that writers leave there."""

    path: Path
    schema: Any

    def batches(self, columns: Sequence[str], rows: int = ROWS) -> Iterator[dict[str, list[Any]]]:
        """Column -> values, of some rows at a time; no other column is read.

        Args:
            columns: names; ``image.path`` is a field of a column of structs.
            rows: at most so many at a time.

        Raises:
            DataError: the file is damaged.
        """
        import pyarrow.compute as compute

        batches = _of_parquet(self.path, columns, rows) if _is_parquet(self.path) else _of_arrow(self.path, rows)
        with _one_line(self.path):
            for batch in batches:
                found: dict[str, list[Any]] = {}
                for column in columns:
                    top, *fields = [column] if column in self.schema.names else column.split(".")
                    values = batch.column(batch.schema.get_field_index(top))
                    for field in fields:
                        values = compute.struct_field(values, field)
                    found[column] = values.to_pylist()
                yield found


def has_pyarrow() -> bool:
    """Whether pyarrow is installed."""
    return importlib.util.find_spec("pyarrow") is not None


def open_arrow(path: Path) -> ArrowFile:
    """Read a file's schema.

    Raises:
        DataError: it is neither Parquet nor Arrow, or damaged.
        MissingDependencyError: pyarrow is not installed.
    """
    if not has_pyarrow():
        kind = "Arrow" if path.suffix.lower() == ".arrow" else "Parquet"
        raise MissingDependencyError(
            f"{path}: {kind} needs pyarrow, which is not installed: pip install 'cvtune[parquet]'"
        )
    with _one_line(path):
        if _is_parquet(path):
            from pyarrow import parquet

            with parquet.ParquetFile(path) as file:
                return ArrowFile(path, file.schema_arrow)
        with _arrow_reader(path) as reader:
            return ArrowFile(path, reader.schema)


def _is_parquet(path: Path) -> bool:
    with open(path, "rb") as stream:
        return stream.read(4) == PARQUET


def _of_parquet(path: Path, columns: Sequence[str], rows: int) -> Iterator[Any]:
    from pyarrow import parquet

    # Without a buffer all images of a row group, and with several groups at once all of the file, would be in memory.
    with parquet.ParquetFile(path, buffer_size=BUFFER, pre_buffer=False) as file:
        for group in range(file.num_row_groups):
            yield from file.iter_batches(rows, [group], list(columns), use_threads=False)


def _of_arrow(path: Path, rows: int) -> Iterator[Any]:
    with _arrow_reader(path) as reader:
        batches = (reader.get_batch(i) for i in range(getattr(reader, "num_record_batches", 0)))
        for batch in batches if hasattr(reader, "get_batch") else reader:
            for start in range(0, batch.num_rows, rows):
                yield batch.slice(start, rows)


@contextlib.contextmanager
def _arrow_reader(path: Path) -> Iterator[Any]:
    """A reader of Arrow's stream, as Hugging Face's `save_to_disk` writes it, or of its file form."""
    import pyarrow

    with pyarrow.memory_map(str(path)) as source:
        head = source.read(len(ARROW))
        source.seek(0)
        if head != ARROW and head[:4] != STREAM:
            raise ValueError("it is neither Parquet nor Arrow")
        with pyarrow.ipc.open_file(source) if head == ARROW else pyarrow.ipc.open_stream(source) as reader:
            yield reader


@contextlib.contextmanager
def _one_line(path: Path) -> Iterator[None]:
    """What pyarrow raises on damaged files, as an error of one line."""
    import pyarrow

    try:
        yield
    except (OSError, ValueError, LookupError, OverflowError, MemoryError, pyarrow.ArrowException) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: cannot be read as a table: {reason:.200}; export it again") from error
