"""A label and an id in the 8 bytes of an int64, as two int32, so that ids take no memory."""

import torch
from jaxtyping import Int64
from torch import Tensor


def packed(labels: Int64[Tensor, " n"], ids: Int64[Tensor, " n"]) -> Int64[Tensor, " n"]:
    """Labels and ids, both from 0 to 2³¹ - 1, on the device of the labels."""
    return torch.stack([labels, ids.to(labels.device)], dim=1).to(torch.int32).view(torch.int64)[:, 0]


def labels_of(pairs: Int64[Tensor, " n"]) -> Int64[Tensor, " n"]:
    """The labels in what `packed` gave."""
    return pairs[:, None].view(torch.int32)[:, 0].long()


def ids_of(pairs: Int64[Tensor, " n"]) -> Int64[Tensor, " n"]:
    """The ids in what `packed` gave."""
    return pairs[:, None].view(torch.int32)[:, 1].long()
