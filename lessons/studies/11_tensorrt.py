"""11 TensorRT: which threshold keeps the answers

The real network: EfficientNet-Lite0, BatchNorm and ReLU6 fused into the convolutions.
The weights stay floats. The output of each convolution and of each sum of a skip
connection, 58 places, is rounded to 8 or 4 bits. What comes out of a ReLU6 is never
negative and gets unsigned integers, everything else signed ones.

A seed draws 40 of the 108 photographs of animals in lessons/pictures, at 160 x 160.
Each gets a background of its own: 8 x 8 random colours with smooth changes between
them. On 20 photographs a calibrator chooses one threshold for each place. On the other
20 we count how many answers (the likeliest of 1,000 names) are still those of the float
network. On grey: all 40 photographs have the same light grey background.

Clipped, not rounded: the activations are cut off at the thresholds for 8 bits and stay
floats. FP16: the activations become floats of 16 bits and go back to 32.
"""

import functools

import numpy as np

from minidl import Tensor
from minidl.classroom.claims import claim
from minidl.compress.calibrate import (
    Histogram,
    entropy_threshold,
    max_threshold,
    mse_threshold,
    percentile_threshold,
)
from minidl.compress.flow import observe
from minidl.compress.fuse import fuse
from minidl.compress.fused import ConvReLU2d
from minidl.compress.quantize import affine_params, fake_quantize, symmetric_params
from minidl.data import lesson_pictures, load_picture, picture_files
from minidl.nn.containers import Skip
from minidl.nn.layers import Conv2d
from minidl.nn.models import imagenet_network
from minidl.train import predict
from minidl.train.intervals import paired_difference, t_interval

SEEDS = 6
SETTINGS = {"size": 160, "calibrate": 20, "test": 20}
ANIMALS = {
    "amphibians",
    "birds",
    "fish",
    "insects",
    "mammals",
    "marsupials",
    "reptiles",
}
BITS = (8, 4)
CALIBRATORS = ("max", "percentile 99.9", "percentile 99", "error", "entropy")


@functools.cache
def fused_network():
    size = SETTINGS["size"]
    return fuse(imagenet_network(), np.zeros((1, 3, size, size), np.float32))


def places(network):
    """The modules whose outputs are rounded, by their paths."""
    named = network.named_modules()
    return {path: module for path, module in named if isinstance(module, Conv2d | Skip)}


def smooth_colours(rng, size):
    """Random colours at 8 x 8 places and everything between them, (3, size, size)."""
    place = np.linspace(0, 7, size)[:, np.newaxis]
    weights = np.maximum(1 - np.abs(place - np.arange(8)), 0)  # (size, 8)
    return (weights @ rng.random((3, 8, 8)) @ weights.T).astype(np.float32)


def animals(seed, on_grey):
    """The photographs that calibrate, and those that test."""
    files = [p for p in picture_files(lesson_pictures()) if p.parent.name in ANIMALS]
    rng = np.random.default_rng(seed)
    size, first = SETTINGS["size"], SETTINGS["calibrate"]
    images = []
    for i in rng.permutation(len(files))[: first + SETTINGS["test"]]:
        background = {} if on_grey else {"background": smooth_colours(rng, size)}
        images.append(load_picture(files[i], size, **background)[0])
    return np.stack(images[:first]), np.stack(images[first:])


def threshold(calibrator, histogram, bits):
    if calibrator == "max":
        return max_threshold(histogram)
    if calibrator == "error":
        return mse_threshold(histogram, bits)
    if calibrator == "entropy":
        return entropy_threshold(histogram, bits)
    return percentile_threshold(histogram, float(calibrator.split()[1]))


def thresholds(calibrator, histograms, bits):
    """One for each place. All 2^bits unsigned integers stand for what a ReLU6 gives,
    as if there were one bit more."""
    found = {}
    for path, module in places(fused_network()).items():
        more = isinstance(module, ConvReLU2d)
        found[path] = threshold(calibrator, histograms[path], bits + more)
    return found


def rounded(module, T, bits):
    """The step of a hook: the output on its grid."""
    if isinstance(module, ConvReLU2d):
        params = affine_params(0.0, T, bits, signed=False)
    else:
        params = symmetric_params(T, bits)
    return functools.partial(fake_quantize, params=params)


def clipped(T):
    return lambda output: output.clip(-T, T)


def in_16_bits(output):
    return Tensor(output.data.astype(np.float16).astype(np.float32))


def changed(change, module, inputs, output):
    """A forward hook: what it returns takes the output's place."""
    return change(output)


class Trial:
    """The histograms of one set of photographs, and how many answers a change keeps."""

    def __init__(self, seed, on_grey=False):
        self.network = fused_network()
        self.at = places(self.network)
        to_calibrate, self.to_test = animals(seed, on_grey)
        self.histograms = observe(
            self.network,
            to_calibrate,
            self.at,
            lambda path, output: Histogram().add(output.data),
        )
        self.answers = predict(self.network, self.to_test).argmax(axis=1)

    def kept(self, changes):
        """The share of answers kept when each place's output is changed."""
        hooks = []
        for path, change in changes.items():
            hook = functools.partial(changed, change)
            hooks.append(self.at[path].register_forward_hook(hook))
        same = predict(self.network, self.to_test).argmax(axis=1) == self.answers
        for hook in hooks:
            hook.remove()
        return float(same.mean())

    def kept_rounded(self, calibrator, bits):
        chosen = thresholds(calibrator, self.histograms, bits)
        return self.kept(
            {path: rounded(self.at[path], T, bits) for path, T in chosen.items()}
        )


def measure(seed):
    trial, grey = Trial(seed), Trial(seed, on_grey=True)
    numbers = {"FP16": trial.kept(dict.fromkeys(trial.at, in_16_bits))}
    for bits in BITS:
        for calibrator in CALIBRATORS:
            kept = trial.kept_rounded(calibrator, bits)
            numbers[f"{bits} bits, {calibrator}"] = kept
    cut = thresholds("percentile 99", trial.histograms, 8)
    numbers["percentile 99, clipped, not rounded"] = trial.kept(
        {path: clipped(T) for path, T in cut.items()}
    )
    for calibrator in ("max", "entropy"):
        kept = grey.kept_rounded(calibrator, 8)
        numbers[f"8 bits, {calibrator}, on grey"] = kept
    return numbers


def claims(results):
    def gain(after, before):
        return paired_difference(results[after], results[before])

    kept = t_interval(results["FP16"])
    claim("FP16 keeps the answers", kept.low > 0.95, {"kept": kept})
    kept = t_interval(results["8 bits, max"])
    claim("8 bits, no saturation: nearly all stay", kept.low > 0.9, {"kept": kept})
    loss = gain("8 bits, max", "8 bits, percentile 99")
    claim("8 bits: percentile 99 loses", loss.low > 0.16, {"loss": loss})
    rest = gain("percentile 99, clipped, not rounded", "8 bits, percentile 99")
    claim(
        "8 bits: what percentile 99 loses it loses by clipping",
        bool(rest.low > -0.1 and rest.high < 0.1),
        {"rounding takes": rest},
    )
    for calibrator in ("error", "entropy"):
        more = gain(f"4 bits, {calibrator}", "4 bits, max")
        claim(f"4 bits: {calibrator} keeps more", more.low > 0.13, {"more": more})
    loss = gain("8 bits, max, on grey", "8 bits, entropy, on grey")
    claim("8 bits, on grey: entropy loses", loss.low > 0.22, {"loss": loss})
