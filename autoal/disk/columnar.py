"""Matrices in Parquet and Arrow files and in Hugging Face data sets: one column of lists, or several of numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autoal import checks
from autoal.disk import hostile

SUFFIXES = (".parquet", ".arrow", ".feather")
SAVED = "state.json"  # in the folder that save_to_disk of Hugging Face's datasets makes
MAX_STATE = 1 << 20
BATCH_ROWS = 1024
READ_AHEAD = 1 << 20  # and nothing before it is asked for: else a row group, which may be all of the file, is in memory
OLDEST = 16  # before 14.0.1 files could run code (CVE-2023-47248); numpy 2 needs 16

Batches = Callable[[int], Iterator[np.ndarray]]
Piece = tuple[int, Callable[[], Iterable[Any]]]  # so many rows, and record batches of them


def is_dataset(value: Any) -> bool:
    """Whether it is a data set of Hugging Face's datasets, which is not imported for that."""
    return all(hasattr(value, name) for name in ("with_format", "features", "iter", "select_columns"))


def of_dataset(dataset: Any, columns: Sequence[str] | None) -> tuple[str, Batches]:
    """What tells the data set from others, and its rows in batches from any row on.

    Raises:
        MissingExtraError: If pyarrow is not installed.
    """
    arrow = _arrow()
    chosen = dataset if columns is None else dataset.select_columns(list(columns))

    def batches(start: int) -> Iterator[np.ndarray]:
        rest = chosen.select(range(start, len(chosen))) if hasattr(chosen, "select") else chosen.skip(start)
        for table in rest.with_format("arrow").iter(batch_size=BATCH_ROWS):
            names = _chosen(table.schema, columns, "x", arrow)
            for batch in table.to_batches():
                yield _matrix(batch, names, "x", arrow)

    return f"data set {getattr(dataset, '_fingerprint', '')}, columns {columns}", batches


def of_files(paths: Sequence[Path], columns: Sequence[str] | None) -> Batches:
    """The rows of the files, one file after the other, in batches from any row on.

    Raises:
        MissingExtraError: If pyarrow is not installed.
    """
    arrow = _arrow()

    def batches(start: int) -> Iterator[np.ndarray]:
        for path in paths:
            try:
                schema, pieces = (_parquet if path.suffix == ".parquet" else _ipc)(path, columns, arrow)
                names = _chosen(schema, columns, str(path), arrow)
                for rows, read in pieces:
                    if start < rows:
                        for batch in read():
                            if start < len(batch):
                                yield _matrix(batch.slice(start), names, str(path), arrow)
                            start = max(0, start - len(batch))
                    else:
                        start -= rows
            except (arrow.ArrowException, OSError) as error:
                raise ValueError(f"{path} cannot be read: {str(error).partition(chr(10))[0]}") from None

    return batches


def saved_files(folder: Path) -> list[Path]:
    """The files of a data set that save_to_disk wrote.

    Raises:
        ValueError: If the folder's state is damaged, or names files elsewhere.
    """
    state = folder / SAVED
    with hostile.opened(state) as file:
        listed = hostile.json_object(file.read(MAX_STATE)).get("_data_files")
    names = [entry.get("filename") if isinstance(entry, dict) else None for entry in listed or ()]
    if not names or any(not isinstance(name, str) or Path(name).name != name or name == ".." for name in names):
        raise ValueError(f"{state} names no files of its folder")
    return [folder / str(name) for name in names]


def _parquet(path: Path, columns: Sequence[str] | None, arrow: Any) -> tuple[Any, Iterator[Piece]]:
    """Schema and row groups of a Parquet file."""
    import pyarrow.parquet

    file = pyarrow.parquet.ParquetFile(path, buffer_size=READ_AHEAD, pre_buffer=False)
    names = _chosen(file.schema_arrow, columns, str(path), arrow)

    def read(group: int) -> Iterable[Any]:
        return file.iter_batches(BATCH_ROWS, row_groups=[group], columns=names, use_threads=False)

    groups = range(file.num_row_groups)
    return file.schema_arrow, ((file.metadata.row_group(group).num_rows, lambda g=group: read(g)) for group in groups)


def _ipc(path: Path, columns: Sequence[str] | None, arrow: Any) -> tuple[Any, Iterator[Piece]]:
    """Schema and record batches of an Arrow file, or of a stream, as data sets are saved."""
    memory = arrow.memory_map(str(path))
    try:
        reader = arrow.ipc.open_file(memory)
        batches = (reader.get_batch(number) for number in range(reader.num_record_batches))
    except arrow.ArrowInvalid:
        memory.seek(0)
        reader = arrow.ipc.open_stream(memory)
        batches = iter(reader)

    def read(batch: Any) -> Iterator[Any]:
        return (batch.slice(first, BATCH_ROWS) for first in range(0, len(batch), BATCH_ROWS))

    return reader.schema, ((len(batch), lambda b=batch: read(b)) for batch in batches)


def _chosen(schema: Any, columns: Sequence[str] | None, name: str, arrow: Any) -> list[str]:
    """The columns that make the matrix: those named, else the one of lists, else all, if all are floats."""
    kinds = {field.name: field.type for field in schema}
    if columns is not None:
        if missing := [column for column in columns if column not in kinds]:
            raise ValueError(f"columns {', '.join(missing)} are not in {name}, which has {_listed(kinds)}")
        return list(columns)
    lists = [column for column, kind in kinds.items() if _is_list(kind, arrow)]
    if len(lists) == 1:
        return lists
    if not lists and kinds and all(arrow.types.is_floating(kind) for kind in kinds.values()):
        return list(kinds)
    raise ValueError(f"columns must be given to read {name}, which has {_listed(kinds)}: name those of the embeddings")


def _matrix(batch: Any, names: list[str], name: str, arrow: Any) -> np.ndarray:
    """[n, D] of the columns of a record batch."""
    arrays = [batch.column(column) for column in names]
    for column, array in zip(names, arrays, strict=True):
        array.validate(full=True)  # offsets of lists may point anywhere
        if array.null_count:
            raise ValueError(f"column {column!r} of {name} has rows without a value: remove or fill them")
    if len(names) == 1 and _is_list(arrays[0].type, arrow):
        widths = arrow.compute.unique(arrow.compute.list_value_length(arrays[0])).to_pylist()
        if len(widths) > 1:
            raise ValueError(f"column {names[0]!r} of {name} must hold lists of one length, got {sorted(widths)[:2]}")
        return _numbers(arrays[0].flatten(), names[0], name, arrow).reshape(len(batch), -1)
    return np.stack([_numbers(array, column, name, arrow) for column, array in zip(names, arrays, strict=True)], axis=1)


def _numbers(array: Any, column: str, name: str, arrow: Any) -> np.ndarray:
    if not (arrow.types.is_floating(array.type) or arrow.types.is_integer(array.type)):
        raise ValueError(f"column {column!r} of {name} must hold numbers or lists of them, got {array.type}")
    if array.null_count:
        raise ValueError(f"column {column!r} of {name} has numbers that are missing: remove or fill them")
    return np.asarray(array.to_numpy(zero_copy_only=False))


def _is_list(kind: Any, arrow: Any) -> bool:
    return bool(arrow.types.is_list(kind) or arrow.types.is_large_list(kind) or arrow.types.is_fixed_size_list(kind))


def _listed(kinds: dict[str, Any]) -> str:
    shown = ", ".join(f"{column} ({kind})" for column, kind in list(kinds.items())[: checks.MAX_NAMED_ROWS])
    return f"{shown}, ... ({len(kinds)} in all)" if len(kinds) > checks.MAX_NAMED_ROWS else shown


def _arrow() -> Any:
    try:
        import pyarrow
        import pyarrow.compute
        import pyarrow.ipc
    except ImportError:
        raise checks.MissingExtraError("pyarrow", "data", "reading Parquet, Arrow and data sets") from None
    if int(pyarrow.__version__.partition(".")[0]) < OLDEST:
        raise checks.MissingExtraError(f"pyarrow>={OLDEST}", "data", "reading Parquet, Arrow and data sets")
    return pyarrow
