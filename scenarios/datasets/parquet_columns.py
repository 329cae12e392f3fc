"""Choose the columns of images and labels in Parquet files, and read the labels."""

import json
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Shaped

from agent.errors import DatasetError

if TYPE_CHECKING:
    import pyarrow as pa

_IMAGE_NAMES = ("image", "img", "images", "picture", "photo")
_LABEL_NAMES = ("label", "labels", "class", "target", "category", "fine_label", "coarse_label")
_PLAIN_LABELS = ("label", "labels")
"""Names that are the label's, whatever other columns could be."""


@dataclass(frozen=True)
class Columns:
    """What is read of a data set in Parquet files."""

    image: str
    label: str
    class_names: tuple[str, ...] | None
    """Of labels that are whole numbers, if the files name them."""


def choose_columns(schema: "pa.Schema", origin: str, image: str | None, label: str | None) -> Columns:
    """The columns of images and labels.

    The files may say which columns are images and which are classes, in the metadata that Hugging Face's `datasets`
    writes. If not, types and names decide. A choice between several is left to the user.

    Args:
        schema: of the files.
        origin: where they are, for errors.
        image: the column of images, if the user names it.
        label: the column of labels, if the user names it.

    Raises:
        DatasetError: a column is missing, of another type, or not clear.
    """
    features = _features(schema)
    as_images = [field.name for field in schema if _holds_images(field.type)]
    as_labels = [
        field.name
        for field in schema
        if _holds_labels(field.type) and not field.name.startswith("__index_level_")  # the row names of pandas
    ]
    kinds = {name: feature.get("_type") for name, feature in features.items()}
    images = _chosen("image", image, as_images, _marked(kinds, "Image", as_images), _IMAGE_NAMES, schema, origin)
    labels = _chosen("label", label, as_labels, _marked(kinds, "ClassLabel", as_labels), _LABEL_NAMES, schema, origin)
    names = features.get(labels, {}).get("names")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        names = None
    return Columns(images, labels, None if names is None else tuple(names))


def _features(schema: "pa.Schema") -> dict[str, dict[str, Any]]:
    """The features in the schema's metadata, by column; empty if there are none."""
    with suppress(KeyError, ValueError, TypeError, AttributeError):
        found = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {name: feature for name, feature in found.items() if isinstance(feature, dict)}
    return {}


def _marked(kinds: Mapping[str, Any], kind: str, fitting: list[str]) -> list[str]:
    return [name for name in fitting if kinds.get(name) == kind]


def _holds_images(kind: "pa.DataType") -> bool:
    import pyarrow.types as types

    if types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _holds_images(kind.field("bytes").type)
    return types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind)


def _holds_labels(kind: "pa.DataType") -> bool:
    import pyarrow.types as types

    if types.is_dictionary(kind):
        return _holds_labels(kind.value_type)
    return types.is_integer(kind) or types.is_boolean(kind) or types.is_string(kind) or types.is_large_string(kind)


def _chosen(
    what: str,
    given: str | None,
    fitting: list[str],
    marked: list[str],
    names: Collection[str],
    schema: "pa.Schema",
    origin: str,
) -> str:
    types = {"image": "encoded images (bytes)", "label": "whole numbers or texts, one for each image"}[what]
    if given is not None:
        if given in fitting:
            return given
        got = f"{given} of {schema.field(given).type}" if given in schema.names else f"no {given}"
        raise DatasetError(
            f"expected {given} to be a column of {types} in {origin}, got {got} among {_listed(schema.names)}; name "
            f"another with {what}="
        )
    plain = [name for name in fitting if name in _PLAIN_LABELS] if what == "label" else []
    for candidates in (plain, marked, [name for name in fitting if name in names], fitting):
        if len(candidates) == 1:
            return candidates[0]
        if candidates:
            raise DatasetError(
                f"expected one column of {what}s in {origin}, got {_listed(candidates)}; choose one, as in "
                f"parquet:PATH,{what}={candidates[0]}"
            )
    raise DatasetError(
        f"expected a column of {what}s ({types}) in {origin}, got columns {_listed(schema.names) or 'none'}; name it "
        f"with parquet:PATH,{what}=NAME"
    )


def read_labels(tables: Mapping[Path, Callable[[], "pa.ChunkedArray"]], label: str) -> Shaped[np.ndarray, " n"] | None:
    """The labels in the files of one part, in their order; None if no sample has one (null, or -1 throughout).

    Args:
        tables: reads the column of labels, by file.
        label: name of the column.

    Raises:
        DatasetError: some samples have a label and others have none.
    """
    import pyarrow as pa

    found, n_missing, n = [], 0, 0
    for read in tables.values():
        column = read()
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        n += len(column)
        n_missing += column.null_count
        texts = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
        filled = column.fill_null("" if texts else False if pa.types.is_boolean(column.type) else 0)
        found.append(filled.to_numpy().astype(str if texts else np.int64))
    labels = np.concatenate(found)
    if n and (n_missing == n or (labels.dtype.kind == "i" and bool((labels == -1).all()))):
        return None
    if n_missing:
        first = next(iter(tables))
        raise DatasetError(
            f"expected a label for each sample, got {n_missing} of {n} without one in column {label} of {first}; "
            "remove these rows or label them"
        )
    return labels


def _listed(names: Collection[str]) -> str:
    return ", ".join("".join(c if c.isprintable() else "?" for c in name) for name in names)
