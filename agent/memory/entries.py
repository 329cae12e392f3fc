"""What every memory asks of the samples that it is given."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from agent.errors import InvalidSetting

NONE = torch.empty(0, dtype=torch.int64)
"""Ids of no entries."""


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
        keys: of the samples.
        labels: from 0 to n_classes - 1.
        ids: names of the entries, 0 to 2³¹ - 1.
        n_classes: number of classes.
        key_length: of the keys stored before; None if there are none.

    Raises:
        InvalidSetting: non-finite keys, keys of another length than those stored, not as many keys as labels and ids,
            or a label or id out of range.
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
    """Refuse keys that are not finite, or of another length than those stored.

    Raises:
        InvalidSetting: such keys.
    """
    if not bool(torch.isfinite(largest(keys)).all()):
        raise InvalidSetting("expected finite keys, got NaN or infinity; was the learner's training finite?")
    if key_length is not None and keys.shape[1] != key_length:
        raise InvalidSetting(f"expected keys of {key_length} numbers like those stored, got {keys.shape[1]}")


def normalized(keys: Float[Tensor, "n length"]) -> Float[Tensor, "n length"]:
    """Keys of length 1 in float32; a key of zeros stays one."""
    keys = keys.float()
    magnitude = largest(keys)[:, None]
    scaled = keys / torch.where(magnitude > 0, magnitude, 1)  # squares neither overflow nor vanish
    return scaled.div_(scaled.norm(dim=1, keepdim=True).clamp_min_(1e-12))


def largest(keys: Float[Tensor, "n length"]) -> Float[Tensor, " n"]:
    """Magnitude of the largest number of each key, without a copy of them; NaN if one is."""
    low, high = keys.aminmax(dim=1)
    return torch.maximum(-low, high)
