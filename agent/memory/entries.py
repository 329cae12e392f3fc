"""Checks and normalization of keys, labels and ids, for every memory."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from agent.errors import InvalidSetting


def check_entries(
    keys: Float[Tensor, "n length"],
    labels: Int64[Tensor, " n_labels"],
    ids: Int64[Tensor, " n_ids"],
    *,
    n_classes: int,
    key_length: int | None,
) -> None:
    """Refuse samples that no memory can store.

    Args:
        keys: need not be normalized.
        labels: classes, from 0 to n_classes - 1.
        ids: from 0 to 2³¹ - 1.
        n_classes: number of classes.
        key_length: length of the stored keys; None for an empty memory.

    Raises:
        InvalidSetting: labels or ids out of range or of another number than the keys; see also `check_keys`.
    """
    if not len(keys) == len(labels) == len(ids):
        raise InvalidSetting(
            f"expected a label and an id for each key, got {len(keys)} keys, {len(labels)} labels and {len(ids)} ids"
        )
    if not len(keys):
        return
    check_keys(keys, key_length)
    for what, values, n in (("labels", labels, n_classes), ("ids", ids, 2**31)):
        if not 0 <= int(values.min()) <= int(values.max()) < n:
            raise InvalidSetting(f"expected {what} in 0..{n - 1}, got {int(values.min())}..{int(values.max())}")


def check_keys(keys: Float[Tensor, "n length"], key_length: int | None) -> None:
    """Raise InvalidSetting for keys that are not finite, or of another length than those stored."""
    if not bool(torch.isfinite(_largest(keys)).all()):
        raise InvalidSetting(
            "expected finite keys, got NaN or infinity; if the learner's training diverged, lower lr of --recipe"
        )
    if key_length is not None and keys.shape[1] != key_length:
        raise InvalidSetting(f"expected keys of {key_length} numbers like those stored, got {keys.shape[1]}")


def normalized(keys: Float[Tensor, "n length"]) -> Float[Tensor, "n length"]:
    """Keys of L2 norm 1 in float32; a key of zeros does not change."""
    keys = keys.float()
    magnitude = _largest(keys)[:, None]
    scaled = keys / torch.where(magnitude > 0, magnitude, 1)  # so that squares neither overflow nor underflow
    return scaled.div_(scaled.norm(dim=1, keepdim=True).clamp_min_(1e-12))


def _largest(keys: Float[Tensor, "n length"]) -> Float[Tensor, " n"]:
    """Largest magnitude in each key, without a copy of the keys; NaN if the key contains NaN."""
    low, high = keys.aminmax(dim=1)
    return torch.maximum(-low, high)
