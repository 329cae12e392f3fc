"""Tables of lifetimes in Parquet: a row for each, with every setting, metric and cost."""

import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from agent.errors import RunError

Kind = Literal["text", "integer", "number", "truth"]
_TYPES = {"text": pa.string(), "integer": pa.int64(), "number": pa.float64(), "truth": pa.bool_()}


def table_bytes(columns: Mapping[str, Kind], rows: Iterable[Mapping[str, Any]]) -> bytes:
    """A Parquet file; the same rows and the same version of Arrow give the same bytes.

    Args:
        columns: the kind of each column, in their order.
        rows: values by column; None, or no value, is null.
    """
    listed = list(rows)
    arrays = [pa.array([row.get(name) for row in listed], _TYPES[kind]) for name, kind in columns.items()]
    file = io.BytesIO()
    pq.write_table(pa.table(arrays, names=list(columns)), file)
    return file.getvalue()


def read_table(path: Path) -> list[dict[str, Any]]:
    """The rows of a Parquet file.

    Raises:
        RunError: the file is missing, or is no Parquet file.
    """
    try:
        rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    except FileNotFoundError:
        raise RunError(f"expected a table of lifetimes at {path}, found none; run the sweep first") from None
    except (OSError, pa.ArrowException) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise RunError(f"expected a table of lifetimes at {path}, got: {reason}; run the sweep again") from None
    return rows


def kind_of(annotation: Any) -> Kind:
    """The kind of a column for values of an annotated type; a union that no other kind holds is a text."""
    types = {each for each in (get_args(annotation) or (annotation,)) if each is not NoneType}
    kinds: dict[frozenset[Any], Kind] = {
        frozenset({bool}): "truth",
        frozenset({int}): "integer",
        frozenset({float}): "number",
        frozenset({int, float}): "number",
    }
    return kinds.get(frozenset(types), "text")
