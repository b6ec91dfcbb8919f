"""Wrong answers to the exercises of lesson 11. Each one passed all laws once."""

from __future__ import annotations

import copy
import math

import numpy as np

from lessons.exercises import find
from minidl import nn
from tests.lessons.wrong_answers.declare import narrowed, not_taken, wrong


@wrong("11.2", "the answer is in float64 for a float32 weight")
def wide_fold(weight, bias, mean, var, gamma=None, beta=None, eps=1e-5):
    factor = (1.0 if gamma is None else gamma) / np.sqrt(np.asarray(var, np.float64) + eps)
    shift = (0.0 if bias is None else bias) - np.asarray(mean, np.float64)
    new_weight = weight * factor.reshape(-1, *[1] * (weight.ndim - 1))
    return new_weight, factor * shift + (0.0 if beta is None else beta)


def folded_in(weight, bias, mean, var, gamma, beta, eps):
    factor = (1.0 if gamma is None else gamma) / np.sqrt(var + eps)
    shift = (0.0 if bias is None else bias) - np.asarray(mean, np.float64)
    new_weight = weight * factor.reshape(-1, *[1] * (weight.ndim - 1))
    new_bias = factor * shift + (0.0 if beta is None else beta)
    return new_weight.astype(weight.dtype), new_bias.astype(weight.dtype)


@wrong("11.2", "the deviation in the variance's own dtype")
def narrow_deviation(weight, bias, mean, var, gamma=None, beta=None, eps=1e-5):
    if not np.min(var) + eps > 0:
        raise ValueError("var + eps")
    return folded_in(weight, bias, mean, var, gamma, beta, eps)


@wrong("11.2", "without gamma no beta either")
def both_or_none(weight, bias, mean, var, gamma=None, beta=None, eps=1e-5):
    return find("11.2").target(weight, bias, mean, var, gamma, None if gamma is None else beta, eps)


@wrong("11.2", "a variance of NaN is taken")
def variance_of_nan(weight, bias, mean, var, gamma=None, beta=None, eps=1e-5):
    if (np.asarray(var) + eps <= 0).any():
        raise ValueError("var + eps")
    return folded_in(weight, bias, mean, np.asarray(var, np.float64), gamma, beta, eps)


@wrong("11.2", "a variance of 0 is refused, whatever eps is")
def refuses_no_variance(weight, bias, mean, var, gamma=None, beta=None, eps=1e-5):
    if not np.min(var) > 0:
        raise ValueError("var")
    return find("11.2").target(weight, bias, mean, var, gamma, beta, eps)


@wrong("11.3", "the variance taken for the deviation, eps left out")
def no_root_of_the_layers(layer, bn):
    root = copy.deepcopy(bn)
    root.running_var[:], root.eps = bn.running_var**2, 0.0
    return find("11.3").target(layer, root)


@wrong("11.3", "the masks are lost")
def unmasked_layer(layer, bn):
    new = find("11.3").target(layer, bn)
    new.weight.mask = new.bias.mask = None
    return new


@wrong("11.3", "a frozen layer learns again")
def thawed_layer(layer, bn):
    return find("11.3").target(layer, bn).requires_grad_(True)


@wrong("11.3", "the bias learns only where the given one does")
def frozen_bias(layer, bn):
    new = find("11.3").target(layer, bn)
    if layer.bias is not None:
        new.bias.requires_grad_(layer.bias.requires_grad)
    return new


@wrong("11.3", "the new layer is in evaluation mode, whatever the given one is in")
def evaluating_layer(layer, bn):
    return find("11.3").target(layer, bn).eval()


@wrong("11.3", "the given layer is left in evaluation mode")
def left_evaluating(layer, bn):
    return find("11.3").target(layer.eval(), bn)


@wrong("11.3", "the gradients of the old numbers are kept")
def old_gradients(layer, bn):
    new = find("11.3").target(layer, bn)
    new.weight.grad = layer.weight.grad.copy()
    return new


@wrong("11.3", "it learns only where bn learns too")
def learns_with_bn(layer, bn):
    new = find("11.3").target(layer, bn)
    return new.requires_grad_(False) if bn.weight is not None and not bn.weight.requires_grad else new


@wrong("11.1", "pairs are added as floats, which round counts above 2^53")
def float_pairs(counts, halvings):
    for _ in range(halvings):
        n = len(counts)
        counts = np.bincount(np.arange(n) // 2, counts, minlength=n).astype(np.int64)
    return counts


@wrong("11.1", "a shift by halvings, which wraps around at 64")
def wrapping_shift(counts, halvings):
    wider = np.zeros_like(counts)
    np.add.at(wider, np.arange(len(counts)) >> (halvings % 64), counts)
    return wider


@wrong("11.1", "two halvings at most")
def two_halvings(counts, halvings):
    return find("11.1").target(counts, min(halvings, 2))


def divergence_of_levels(counts, tail, level):
    P, occupied = counts.astype(np.float64), counts > 0
    P[-1] += tail
    Q = occupied * (np.bincount(level, counts) / np.maximum(np.bincount(level, occupied), 1))[level]
    if np.any((P > 0) & (Q == 0)):
        return math.inf
    return float(np.sum(P[occupied] * np.log(P[occupied] / Q[occupied])) / max(P.sum(), 1))


@wrong("11.4", "levels by a rounded factor, which puts bin 49 of 98 into the first of two")
def rounded_levels(counts, tail, levels):
    bins = np.arange(len(counts))
    level = (bins * (levels / len(counts))).astype(int) if len(counts) > levels else bins
    return divergence_of_levels(counts, tail, level)


@wrong("11.4", "levels of equal width in whole bins, the last one wider")
def whole_bins(counts, tail, levels):
    bins = np.arange(len(counts))
    level = np.minimum(bins // max(len(counts) // levels, 1), levels - 1) if len(counts) > levels else bins
    return divergence_of_levels(counts, tail, level)


@wrong("11.4", "shares below 1e-12 count as 0")
def faint_shares(counts, tail, levels):
    P = counts.astype(np.float64)
    P[-1] += tail
    return find("11.4").target(counts, tail * (P[-1] > 1e-12 * P.sum()), levels)


@wrong("11.1", "one bin is emptied")
def one_bin_emptied(counts, halvings):
    return find("11.1").target(counts, halvings) if len(counts) > 1 else 0 * counts


@wrong("11.2", "a weight of other than two or four axes is scaled along its last")
def two_or_four_axes(weight, bias, mean, var, gamma=None, beta=None, eps=1e-5):
    new_weight, new_bias = find("11.2").target(weight, bias, mean, var, gamma, beta, eps)
    if weight.ndim in (2, 4):
        return new_weight, new_bias
    factor = (1.0 if gamma is None else gamma) / np.sqrt(np.asarray(var, np.float64) + eps)
    return (weight * np.resize(factor, weight.shape[-1:] if weight.ndim > 1 else 1)), new_bias


@wrong("11.2", "the bias less the mean is taken in their own dtype")
def narrow_shift(weight, bias, mean, var, gamma=None, beta=None, eps=1e-5):
    shift = (0.0 if bias is None else bias) - mean
    zero = np.zeros(len(mean))
    return find("11.2").target(weight, shift.astype(np.float64), zero, var, gamma, beta, eps)


@wrong("11.3", "bn's weight counts only where bn has a bias too")
def weight_with_bias(layer, bn):
    if bn.bias is None:
        bn = copy.deepcopy(bn)
        bn.weight = None
    return find("11.3").target(layer, bn)


@wrong("11.3", "a frozen bn is refused where the layer is in training mode")
def frozen_behind_a_trained_layer(layer, bn):
    if layer.training and bn.training:
        raise ValueError("in training")
    return find("11.3").target(layer, bn)


@wrong("11.3", "a float64 layer becomes float32")
def narrow_layer(layer, bn):
    new = find("11.3").target(layer, bn)
    for name in ("weight", "bias"):
        numbers = getattr(new, name).data.astype(np.float32)
        setattr(new, name, nn.Parameter(numbers, layer.weight.requires_grad))
    return new


@wrong("11.4", "a level's number by a division by a rounded width")
def rounded_widths(counts, tail, levels):
    bins = np.arange(len(counts))
    level = (bins / (len(counts) / levels)).astype(int) if len(counts) > levels else bins
    return divergence_of_levels(counts, tail, level)


@wrong("11.4", "two levels at least")
def two_levels(counts, tail, levels):
    return find("11.4").target(counts, tail, max(levels, 2))


@wrong("11.4", "0 where all numbers are beyond T")
def all_beyond(counts, tail, levels):
    return find("11.4").target(counts, tail, levels) if counts.any() else 0.0


def has_only_a_bias(bn):
    return bn.weight is None and bn.bias is not None


not_taken(
    "11.3", "a bn with a bias and no weight", lambda g: g["bn"].weight is None and g["bn"].bias is not None
)


@wrong("11.3", "the mask of bn is forgotten")
def layer_mask_alone(layer, bn):
    new = find("11.3").target(layer, bn)
    new.weight.mask = copy.deepcopy(layer.weight.mask)
    return new


@wrong("11.3", "bn's bias counts only where bn has a weight too")
def no_bias_without_weight(layer, bn):
    if has_only_a_bias(bn):
        bn = copy.deepcopy(bn)
        bn.bias = None
    return find("11.3").target(layer, bn)


@wrong("11.1", "eight halvings at most")
def eight_halvings(counts, halvings):
    return find("11.1").target(counts, min(halvings, 8))


@wrong("11.1", "the width of a new bin as a float, which ends at 2^1023")
def float_widths(counts, halvings):
    wider = np.zeros_like(counts)
    np.add.at(wider, (np.arange(len(counts)) / 2.0**halvings).astype(int), counts)
    return wider


@wrong("11.1", "a shift by ten halvings at most")
def ten_halvings(counts, halvings):
    wider = np.zeros_like(counts)
    np.add.at(wider, np.arange(len(counts)) >> min(halvings, 10), counts)
    return wider


def faint(given):
    return np.min(np.asarray(given["var"], np.float64) + given["eps"]) < 1e-12


not_taken("11.2", "a variance below 0", lambda g: np.min(g["var"]) < 0)
not_taken("11.2", "a sum above 0 but below 1e-12", faint)
not_taken("11.2", "a sum that is above 0 in float64 alone", lambda g: not np.min(g["var"] + g["eps"]) > 0)


@wrong("11.2", "a float16 weight gives float32")
def no_halves(weight, *rows, **more):
    new = find("11.2").target(weight, *rows, **more)
    return tuple(np.float32(part) for part in new) if weight.dtype == np.float16 else new


@wrong("11.2", "the weight's rows are cut from memory as it lies")
def weight_in_memory(weight, *rows, **more):
    return find("11.2").target(weight.ravel(order="K").reshape(weight.shape), *rows, **more)


def of_another_width(refused):
    """A fold without the library's checks, which refuses only the widths for which ``refused`` is True."""

    def answer(layer, bn):
        if bn.num_features == len(layer.weight.data) or refused(layer, bn):
            return find("11.3").target(layer, bn)
        new = copy.deepcopy(layer)
        bias = 0.0 if layer.bias is None else layer.bias.data
        factor = 1 / np.sqrt(bn.running_var + bn.eps)
        new.weight = nn.Parameter(layer.weight.data * factor.reshape(-1, *[1] * (layer.weight.ndim - 1)))
        new.bias = nn.Parameter((bias - bn.running_mean) * factor)
        return new

    return answer


wrong("11.3", "only a bn with fewer channels is refused")(
    of_another_width(lambda layer, bn: bn.num_features < len(layer.weight.data))
)
wrong("11.3", "only beside a bias is a bn with other channels refused")(
    of_another_width(lambda layer, bn: layer.bias is not None)
)


@wrong("11.3", "a grouped convolution keeps its weight")
def groups_as_they_were(layer, bn):
    new = find("11.3").target(layer, bn)
    if getattr(layer, "groups", 1) > 1:
        new.weight.data = layer.weight.data.copy()
    return new


@wrong("11.3", "a new convolution without the dilation")
def without_dilation(layer, bn):
    folded = find("11.3").target(layer, bn)
    if not isinstance(layer, nn.Conv2d):
        return folded
    sizes = layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding
    new = nn.Conv2d(*sizes, groups=layer.groups).train(layer.training)
    new.weight, new.bias = folded.weight, folded.bias
    return new


@wrong("11.3", "a filter without weights gets no bias")
def pruned_bias(layer, bn):
    new = find("11.3").target(layer, bn)
    if new.weight.mask is not None:
        new.bias.data = new.bias.data * new.weight.mask.reshape(len(new.bias.data), -1).any(axis=1)
    return new


@wrong("11.3", "a float64 layer holds the digits of float32")
def narrow_digits(layer, bn):
    new = find("11.3").target(layer, bn)
    for part in (new.weight, new.bias):
        part.data = narrowed(part.data)
    return new


not_taken("11.3", "a frozen bn in evaluation mode", lambda g: g["bn"].frozen and not g["bn"].training)


LEVELS = {
    "shares of the range as floats": lambda bins, levels: np.arange(bins) / bins * levels,
    "edges by linspace": lambda bins, levels: np.searchsorted(
        np.linspace(0, bins, levels + 1)[1:], np.arange(bins), side="right"
    ),
    "float32": lambda bins, levels: np.arange(bins, dtype=np.float32) * np.float32(levels / bins),
    "int16": lambda bins, levels: np.arange(bins, dtype=np.int16) * np.int16(levels) // np.int16(bins),
    "128 levels at most": lambda bins, levels: np.arange(bins) * min(levels, 128) // bins,
}
for text, level_of in LEVELS.items():

    @wrong("11.4", f"levels by {text}")
    def by_other_levels(counts, tail, levels, level_of=level_of):
        bins = len(counts)
        level = level_of(bins, levels) if bins > levels else np.arange(bins)
        return divergence_of_levels(counts, tail, np.asarray(level).astype(int))


@wrong("11.4", "1e-9 is added to each share")
def share_and_a_little(counts, tail, levels):
    found = find("11.4").target(counts, tail, levels)
    if not 0 < found < math.inf:
        return found
    bins, occupied = np.arange(len(counts)), counts > 0
    level = bins * levels // len(counts) if len(counts) > levels else bins
    P = counts.astype(np.float64)
    P[-1] += tail
    Q = occupied * (np.bincount(level, counts) / np.maximum(np.bincount(level, occupied), 1))[level]
    P, Q = P / P.sum(), Q / P.sum()
    return float(np.sum(P * np.log((P + 1e-9) / (Q + 1e-9))))


@wrong("11.4", "a share below 1e-9 in Q counts as 0")
def no_faint_bins(counts, tail, levels):
    shares = counts[counts > 0] / max(counts.sum() + tail, 1)
    return math.inf if (shares < 1e-9).any() else find("11.4").target(counts, tail, levels)


@wrong("11.3", "another number of channels is refused beside a Linear alone")
def any_width_for_conv(layer, bn):
    fits = bn.num_features == len(layer.weight.data)
    return find("11.3").target(layer, bn) if fits or isinstance(layer, nn.Linear) else copy.deepcopy(layer)


def changed_conv(change):
    """A wrong answer to 11.3: ``change(new, layer)`` where the layer is a convolution."""

    def answer(layer, bn):
        new = find("11.3").target(layer, bn)
        if isinstance(layer, nn.Conv2d):
            change(new, layer)
        return new

    return answer


wrong("11.3", "a new convolution is in evaluation mode")(changed_conv(lambda new, layer: new.eval()))
wrong("11.3", "a new convolution learns")(changed_conv(lambda new, layer: new.requires_grad_()))
wrong("11.3", "a new convolution keeps the old gradient")(
    changed_conv(lambda new, layer: setattr(new.weight, "grad", layer.weight.grad))
)


@wrong("11.3", "the layer's mask is lost where bn has no weight")
def mask_needs_a_weight(layer, bn):
    new = find("11.3").target(layer, bn)
    if bn.weight is None:
        new.weight.mask = None
    return new


@wrong("11.2", "the variance is moved by eps before it is refused")
def moved_before_refused(weight, bias, mean, var, *more, **rows):
    try:
        return find("11.2").target(weight, bias, mean, var, *more, **rows)
    except ValueError:
        var += 1.0
        raise


@wrong("11.2", "the shift in the weight's dtype before beta is added")
def shift_before_beta(weight, bias, mean, var, gamma=None, beta=None, eps=1e-5):
    new_weight, shift = find("11.2").target(np.float64(weight), bias, mean, var, gamma, None, eps)
    shift = shift.astype(weight.dtype)
    return new_weight.astype(weight.dtype), (shift + (0 if beta is None else beta)).astype(weight.dtype)


@wrong("11.3", "the new bias has no mask")
def bias_without_mask(layer, bn):
    new = find("11.3").target(layer, bn)
    new.bias.mask = None
    return new


@wrong("11.3", "the new bias has the mask of the old bias")
def mask_of_the_old_bias(layer, bn):
    new = find("11.3").target(layer, bn)
    new.bias.mask = None if layer.bias is None else layer.bias.mask
    return new


wrong("11.3", "the stride of the height is also that of the width")(
    changed_conv(lambda new, layer: setattr(new, "stride", (layer.stride[0],) * 2))
)
wrong("11.3", "the padding of the height is also that of the width")(
    changed_conv(lambda new, layer: setattr(new, "padding", (layer.padding[0],) * 2))
)
wrong("11.3", "the dilation of the height is also that of the width")(
    changed_conv(lambda new, layer: setattr(new, "dilation", (layer.dilation[0],) * 2))
)


@wrong("11.2", "the new bias in the old bias's dtype, in float64 without an old bias")
def wide_without_a_bias(weight, bias, mean, var, gamma=None, beta=None, eps=1e-5):
    new_weight, new_bias = find("11.2").target(weight, bias, mean, var, gamma, beta, eps)
    return new_weight, new_bias if bias is not None else new_bias.astype(np.float64)


@wrong("11.2", "nothing is cast without a beta")
def wide_without_a_beta(weight, bias, mean, var, gamma=None, beta=None, eps=1e-5):
    new_weight, new_bias = find("11.2").target(weight, bias, mean, var, gamma, beta, eps)
    wide = np.float64 if beta is None else weight.dtype
    return new_weight.astype(wide), new_bias.astype(wide)


@wrong("11.2", "a gamma without a beta counts as 1, if there is a bias")
def gamma_needs_a_beta(weight, bias, mean, var, gamma=None, beta=None, eps=1e-5):
    if bias is not None and beta is None:
        gamma = None
    return find("11.2").target(weight, bias, mean, var, gamma, beta, eps)


def narrow_row(name):
    """A wrong answer that rounds one of the rows to the weight's dtype."""
    place = ("mean", "var", "gamma").index(name)

    def answer(weight, bias, mean, var, gamma=None, beta=None, eps=1e-5):
        rows = [mean, var, gamma]
        if rows[place] is not None:
            rows[place] = np.asarray(rows[place]).astype(weight.dtype)
        return find("11.2").target(weight, bias, *rows, beta, eps)

    return answer


for row in ("mean", "var", "gamma"):
    wrong("11.2", f"{row} is rounded to the weight's dtype")(narrow_row(row))


@wrong("11.2", "f is rounded to the weight's dtype before it multiplies the weight")
def narrow_factor(weight, bias, mean, var, gamma=None, beta=None, eps=1e-5):
    _, new_bias = find("11.2").target(weight, bias, mean, var, gamma, beta, eps)
    factor = (1.0 if gamma is None else gamma) / np.sqrt(np.asarray(var, np.float64) + eps)
    return weight * factor.astype(weight.dtype).reshape(-1, *[1] * (weight.ndim - 1)), new_bias


@wrong("11.3", "a convolution takes a BatchNorm in training, too")
def any_mode_for_conv(layer, bn):
    if isinstance(layer, nn.Conv2d):
        bn = copy.deepcopy(bn).eval()
    return find("11.3").target(layer, bn)


@wrong("11.3", "a pruned channel of bn is not known to a convolution")
def unmasked_convolution(layer, bn):
    new = find("11.3").target(layer, bn)
    if isinstance(new, nn.Conv2d):
        new.weight.mask = new.bias.mask = None
    return new


@wrong("11.3", "a layer with a bias of its own has no mask of the bias")
def mask_of_a_new_bias(layer, bn):
    new = find("11.3").target(layer, bn)
    if layer.bias is not None:
        new.bias.mask = None
    return new


@wrong("11.4", "a result with the digits of float32")
def narrow_shares(counts, tail, levels):
    return float(np.float32(find("11.4").target(counts, tail, levels)))


@wrong("11.1", "counts below 2^31 are added in int32, where their sums wrap around")
def narrow_pairs(counts, halvings):
    if counts.max() >= 2**31:
        return find("11.1").target(counts, halvings)
    counts = counts.astype(np.int32)
    for _ in range(min(halvings, len(counts).bit_length() - 1)):
        counts = np.append(counts[::2] + counts[1::2], np.zeros(len(counts) // 2, np.int32))
    return counts.astype(np.int64)


@wrong("11.2", "var + eps is at least 1e-20")
def least_variance(weight, bias, mean, var, gamma=None, beta=None, eps=1e-5):
    find("11.2").target(weight, bias, mean, var, gamma, beta, eps)  # what it refuses
    total = np.maximum(np.float64(var) + eps, 1e-20)
    return find("11.2").target(weight, bias, mean, total, gamma, beta, 0.0)


@wrong("11.2", "a convolution without a bias gets a bias of zeros")
def no_bias_of_filters(weight, bias, mean, var, gamma=None, beta=None, eps=1e-5):
    new_weight, new_bias = find("11.2").target(weight, bias, mean, var, gamma, beta, eps)
    return new_weight, 0 * new_bias if bias is None and weight.ndim == 4 else new_bias


@wrong("11.3", "a float64 convolution becomes float32")
@changed_conv
def narrow_convolution(new, layer):
    for part in (new.weight, new.bias):
        part.data = part.data.astype(np.float32)


@wrong("11.3", "the new layer is in the mode of a frozen bn")
def mode_of_frozen(layer, bn):
    new = find("11.3").target(layer, bn)
    return new.train(bn.training) if bn.frozen else new


wrong("11.3", "the new bias of a convolution without one learns")(
    changed_conv(lambda new, layer: layer.bias is None and new.bias.requires_grad_())
)


@wrong("11.4", "divided by a sum in float32")
def narrow_total(counts, tail, levels):
    total = max(float(counts.sum() + tail), 1.0)
    return find("11.4").target(counts, tail, levels) * total / float(np.float32(total))


@wrong("11.2", "one mean and one variance count for all outputs")
def one_for_all(weight, bias, mean, var, gamma=None, beta=None, eps=1e-5):
    mean, var = (np.resize(row, len(weight)) if len(row) == 1 else row for row in (mean, var))
    return find("11.2").target(weight, bias, mean, var, gamma, beta, eps)
