"""Weights alone in few bits: groups of them with one scale each, packed without gaps (Q8, Q4, ... of files).

A network of billions of weights waits for memory, not for arithmetic: its weights are stored in few bits and
made floats again when a layer runs. Each run of 32 weights that one output reads has a scale of its own, so
that an outlier spoils its own group alone. In files of language models this is Q8_0 and Q4_0.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidl.compress.fused import ConvReLU2d
from minidl.compress.kinds import runs_as
from minidl.compress.qat import Reweighted
from minidl.compress.quantize import check_reals
from minidl.engine.checks import check_array, check_instance, check_int, positive_int, require
from minidl.engine.tensor import Tensor
from minidl.nn import layers as nn
from minidl.nn.containers import Sequential
from minidl.nn.module import Module

LARGEST_SCALE = float(np.finfo(np.float16).max)

# ---- integers of few bits without gaps


def pack(q: Any, bits: int) -> np.ndarray:
    """Integers of 2 to 8 bits with a sign, one behind the other: uint8 (ceil(q.size bits / 8),).

    The lowest bits of a byte come first: of 4 bits two lie in a byte, of 2 bits four, and one of 3, 5, 6 or 7
    bits may lie in two bytes. Negative ones are two's complements. The last byte is filled up with zeros.
    """
    check_int("bits", bits, 2, 8)
    half = 2 ** (bits - 1)
    q = check_array("q", q, kind="integer", empty=True, low=-half, high=half - 1)
    fields = q.astype(np.int8).view(np.uint8).reshape(-1, 1)
    return np.packbits(np.unpackbits(fields, axis=1, count=bits, bitorder="little"), bitorder="little")


def unpack(packed: Any, bits: int, count: int) -> np.ndarray:
    """The first ``count`` integers that ``pack`` has packed: int8 (count,)."""
    check_int("bits", bits, 2, 8)
    check_int("count", count, 0)
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
    """A weight (O, ...) in groups along what one output reads: what ``quantize_groups`` gives.

    packed: its integers, see ``pack``.  scales: float16 (O, groups a row).  shape: of the weight.
    bytes: what the two take.
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
    """A weight (O, ...) with a scale for each run of ``group_size`` weights of a row, the last one shorter.

        S = float16(max |w| / qmax) of the group        Q = clip(round(w / S), -qmax, qmax),
        qmax = 2^(bits-1) - 1

    A row is all that one output reads; a group as long as a row is one scale a channel.  bits: 2 … 8.
    Bytes: ceil(weights bits / 8) + 2 groups. Where S is 0 in float16, so are the group's weights.
    ValueError where S is beyond float16.
    """
    qmax = 2 ** (check_int("bits", bits, 2, 8) - 1) - 1
    weight = check_reals("weight", check_array("weight", weight))
    require(weight.ndim >= 2, f"weight must be (O, ...) with what each output reads, got {weight.shape}")
    size = min(positive_int("group_size", group_size), weight[0].size)
    rows = weight.reshape(len(weight), -1)
    missing = -rows.shape[1] % size
    groups = np.pad(rows, ((0, 0), (0, missing))).reshape(len(rows), -1, size)
    exact = np.abs(groups).max(axis=2).astype(np.float64) / qmax
    fits = exact.max() <= LARGEST_SCALE
    require(fits, f"float16 holds scales up to {LARGEST_SCALE:g}, the largest is {exact.max():.3g}")
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
    """``module`` without its weight, which is stored as a GroupedWeight and made floats in each forward."""

    packed: np.ndarray
    scales: np.ndarray

    def __init__(self, module: nn.Conv2d | nn.Linear, bits: int, group_size: int) -> None:
        grouped = quantize_groups(module.weight.data, bits, group_size)
        self.module = copy.deepcopy(module)
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
    """A copy in which the weight of each Conv2d and Linear is stored in groups, for inference; all else stays
    as it is. See ``quantize_groups``; ``integer.model_bytes`` counts what it takes.

    Fold BatchNorm first (``fuse``), and correct the means afterwards (``correct_biases``). ValueError for
    forward hooks on what is packed, and for layers that compute with their weight in a way of their own.
    """
    whole = Sequential({"model": copy.deepcopy(check_instance("model", model, Module))})
    packed: dict[Module, PackedWeights] = {}
    for path, layer in list(whole.named_modules()):
        if isinstance(layer, nn.Conv2d | nn.Linear):
            is_plain = runs_as(layer, nn.Conv2d, ConvReLU2d, nn.Linear) and not layer._hooks
            name = path.removeprefix("model.")
            require(is_plain, f"{name}: a hook or a forward of its own would not see packed weights")
            packed[layer] = PackedWeights(layer, bits, group_size)
    require(len(packed) > 0, "the model has no Conv2d and no Linear: there are no weights to pack")
    for parent in list(whole.modules()):
        for name, child in parent.named_children():
            if child in packed and not isinstance(parent, PackedWeights):
                setattr(parent, name, packed[child])
    return whole.layer("model")
