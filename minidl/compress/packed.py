"""Store only the weights in few bits: groups with one scale each, packed without gaps (Q8, Q4, ... of files).

A network with billions of weights is slow because of memory, not arithmetic. So its weights are stored in few
bits, and become floats again when a layer runs. Each group of 32 weights of one output has its own scale, so
an outlier only harms its own group. Files of language models call this Q8_0 and Q4_0.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidl.compress.fused import ConvReLU2d
from minidl.compress.layer_kinds import runs_as
from minidl.compress.qat import Reweighted, check_floats
from minidl.compress.quantize import check_reals
from minidl.engine.checks import check_array, check_instance, check_int, positive_int, require
from minidl.engine.tensor import Tensor
from minidl.nn import layers as nn
from minidl.nn.containers import Sequential
from minidl.nn.module import Module

LARGEST_SCALE = float(np.finfo(np.float16).max)

# ---- integers of few bits without gaps


def pack(q: Any, bits: int) -> np.ndarray:
    """Pack signed integers of 2 to 8 bits without gaps: uint8 (ceil(q.size bits / 8),).

    The lowest bits of a byte come first. A byte holds two integers of 4 bits, or four of 2 bits. Integers of
    3, 5, 6 or 7 bits may lie in two bytes. Negative integers are two's complements. Zeros fill up the last
    byte.
    """
    bits = check_int("bits", bits, 2, 8)
    half = 2 ** (bits - 1)
    q = check_array("q", q, kind="integer", empty=True, low=-half, high=half - 1)
    fields = q.astype(np.int8).view(np.uint8).reshape(-1, 1)
    return np.packbits(np.unpackbits(fields, axis=1, count=bits, bitorder="little"), bitorder="little")


def unpack(packed: Any, bits: int, count: int) -> np.ndarray:
    """The first ``count`` integers of a packed array: int8 (count,)."""
    bits, count = check_int("bits", bits, 2, 8), check_int("count", count, 0)
    packed = check_array("packed", packed, "B", kind="integer", empty=True, low=0, high=255)
    needed = packed_size(count, bits)
    require(len(packed) == needed, f"{count} integers of {bits} bits take {needed} bytes, got {len(packed)}")
    ones = np.unpackbits(packed.astype(np.uint8), count=count * bits, bitorder="little")
    fields = np.packbits(ones.reshape(count, bits), axis=1, bitorder="little").reshape(count)
    unused = 8 - bits
    return (fields << unused).view(np.int8) >> unused  # the shift back repeats the sign


def packed_size(count: int, bits: int) -> int:
    return -(-count * bits // 8)


# ---- groups


@dataclass(frozen=True, eq=False)
class GroupedWeight:
    """A weight (O, ...) in groups along its rows: the result of ``quantize_groups``.

    packed: its integers, see ``pack``.  scales: float16 (O, groups per row).  shape: the shape of the weight.
    bytes: the bytes of packed and scales.
    """

    packed: np.ndarray
    scales: np.ndarray
    shape: tuple[int, ...]
    bits: int
    group_size: int

    @property
    def bytes(self) -> int:
        return self.packed.nbytes + self.scales.nbytes


def quantize_groups(weight: Any, bits: int = 4, group_size: int = 32) -> GroupedWeight:
    """Quantize a weight (O, ...) with a scale for each ``group_size`` weights of a row; the last may be
    fewer.

        S = float16(max |w| / qmax) of the group        Q = clip(round(w / S), -qmax, qmax),
        qmax = 2^(bits-1) - 1

    A row holds all weights of one output; a group as long as a row gives one scale per channel.  bits: 2 … 8.
    Bytes: ceil(weights bits / 8) + 2 groups. If S is 0 in float16, the weights of the group become 0.
    ValueError if S is too large for float16.
    """
    bits = int(check_int("bits", bits, 2, 8))
    qmax = 2 ** (bits - 1) - 1
    weight = check_reals("weight", check_array("weight", weight))
    require(weight.ndim >= 2, f"weight must be (O, ...) with at least two axes, got {weight.shape}")
    size = min(positive_int("group_size", group_size), weight[0].size)
    rows = weight.reshape(len(weight), -1)
    missing = -rows.shape[1] % size
    groups = np.pad(rows, ((0, 0), (0, missing))).reshape(len(rows), -1, size)
    exact = np.abs(groups).max(axis=2).astype(np.float64) / qmax
    fits = exact.max() <= LARGEST_SCALE
    require(fits, f"float16 holds scales up to {LARGEST_SCALE:g}, but the largest is {exact.max():.3g}")
    scales = exact.astype(np.float16)
    S = scales.astype(np.float32)[:, :, np.newaxis]
    q = np.clip(np.rint(groups / np.where(S == 0, np.float32(np.inf), S)), -qmax, qmax)
    q = q.reshape(len(rows), -1)[:, : rows.shape[1]].astype(np.int8)
    return GroupedWeight(pack(q, bits), scales, weight.shape, bits, size)


def dequantize_groups(grouped: GroupedWeight) -> np.ndarray:
    """w ≈ S Q, as float32 in the shape of the weight."""
    shape = check_instance("grouped", grouped, GroupedWeight).shape
    q = unpack(grouped.packed, grouped.bits, int(np.prod(shape))).reshape(shape[0], -1)
    S = np.repeat(grouped.scales.astype(np.float32), grouped.group_size, axis=1)[:, : q.shape[1]]
    return (S * q).reshape(shape)


# ---- of a model


class PackedWeights(Reweighted):
    """``module`` with its weight stored as a GroupedWeight. Each forward makes floats of it."""

    packed: np.ndarray
    scales: np.ndarray

    def __init__(self, module: nn.Conv2d | nn.Linear, bits: int, group_size: int) -> None:
        grouped = quantize_groups(module.weight.data, bits, group_size)
        self.module, self.training = copy.deepcopy(module), module.training
        self.module.weight = None  # type: ignore[assignment]  # of the layer only bias and settings are left
        self.shape, self.bits, self.group_size = grouped.shape, bits, grouped.group_size
        self.register_buffer("packed", grouped.packed)
        self.register_buffer("scales", grouped.scales)

    def weights(self) -> tuple[Tensor, Tensor | None]:
        grouped = GroupedWeight(self.packed, self.scales, self.shape, self.bits, self.group_size)
        return Tensor(dequantize_groups(grouped)), self.module.bias

    def extra_repr(self) -> str:
        return f"{self.bits} bits, groups of {self.group_size}"


def pack_weights(model: Module, bits: int = 4, group_size: int = 32) -> Module:
    """A copy for inference, with the weight of each Conv2d and Linear in groups; see ``quantize_groups``.

    The rest stays unchanged. ``integer.model_bytes`` counts the bytes. Fold BatchNorm first (``fuse``), and
    correct the means afterwards (``correct_biases``). ValueError for layers with forward hooks or with their
    own forward, and for a model that is rounded or packed already.
    """
    whole = Sequential({"model": copy.deepcopy(check_floats(model))})
    packed: dict[Module, PackedWeights] = {}
    for path, layer in list(whole.named_modules()):
        if isinstance(layer, nn.Conv2d | nn.Linear):
            is_plain = runs_as(layer, nn.Conv2d, ConvReLU2d, nn.Linear) and not layer._hooks
            what = "has a forward hook or its own forward, which would not see packed weights"
            require(is_plain, f"{path.removeprefix('model.')} {what}")
            packed[layer] = PackedWeights(layer, bits, group_size)
    require(len(packed) > 0, "the model has no Conv2d and no Linear: there are no weights to pack")
    for parent in list(whole.modules()):
        for name, child in parent.named_children():
            if child in packed and not isinstance(parent, PackedWeights):
                setattr(parent, name, packed[child])
    return whole.layer("model")
