"""11 TensorRT: where to saturate, and one kernel instead of three.

Question: which real number should the largest integer stand for, and what makes the same network faster?
Measured: test accuracy of five ways to choose that number, at 8 to 2 bits, on clean images and on images with
a heavy tail, over 5 seeds; launches, bytes and time of an inception block before and after fusion.
Exercises: 11.1 coarser, 11.2 bins_holding, 11.3 divergence, 11.4 folded.
"""

# %% [markdown]
# ## How much does each type span?
# INT8 has 255 steps for what FP32 spreads over 83 powers of ten. Nothing of a network needs that range, but
# somebody has to say which part of it the 255 steps shall cover: that is calibration.

# %%
import time
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from minidl import no_grad
from minidl.classroom.claims import claim
from minidl.compress.branches import merge_parallel_convs
from minidl.compress.calibrate import (
    Histogram,
    entropy_threshold,
    kl_curve,
    max_threshold,
    mse_curve,
    mse_threshold,
    percentile_threshold,
)
from minidl.compress.flow import cost
from minidl.compress.fuse import folded, fuse
from minidl.compress.fused import ConvReLU2d
from minidl.compress.quantize import (
    affine_params,
    dynamic_range_table,
    fake_quantize,
    sqnr,
    symmetric_params,
)
from minidl.data import cached_runs
from minidl.export import to_onnx
from minidl.figures import curves_with_bands, draw_model, image_grid, save
from minidl.figures.thresholds import integer_panels, threshold_panels
from minidl.nn.models import inception_block
from minidl.train import evaluate
from minidl.train.intervals import paired_difference, t_interval
from minidl.train.networks import digits_network, digits_split

print(f"{'':6}{'lowest':>12}{'highest':>12}{'smallest above 0':>20}")
for row in dynamic_range_table():
    print(f"{row.name:6}{row.lowest:12.4g}{row.highest:12.4g}{row.smallest:20.3g}")

# %% [markdown]
# ## A heavy tail
# The digits, and the same with 0.4% of the pixels eight times brighter, as a camera's hot pixels would be.
# Thresholds are chosen on held-out images, accuracies are those of the test images. The networks were trained
# on clean ones.

# %%
SEEDS = range(5)
_, held_out, test = digits_split()


def brighter(images, seed, share=0.004, factor=8):
    hot = np.random.default_rng(seed).random(images.shape) < share
    return np.where(hot, factor * images, images).astype(np.float32)


heavy_images = brighter(held_out[0], seed=100)
hit = heavy_images.max(axis=(1, 2, 3)) > 2
print(
    f"brightest pixel {held_out[0].max():.0f}, with the tail {heavy_images.max():.0f}"
)
print(f"{hit.mean():.0%} of the images have a pixel above 2")
save(
    image_grid(heavy_images[hit][:8, 0], columns=8, vmin=0.0, vmax=2.0),
    "11_tensorrt/hot_pixels",
)

model = fuse(
    digits_network(0)
)  # BatchNorm and ReLU are within the convolutions now: below, how
with no_grad():
    activation = model.layer("block1.conv")(
        heavy_images
    ).data  # (288, 16, 8, 8), after the ReLU
histogram = Histogram().add(activation)
print(
    f"activation: 99% are below {np.percentile(activation, 99):.2f}, the largest is {histogram.max:.2f}"
)

# %% [markdown]
# ## To saturate or not
# Without saturation |max| becomes 127, so one outlier makes the step S = T / 127 coarse for all. With a
# threshold T < |max| what lies beyond becomes 127 too, and the rest is rounded finely. T can be a percentile,
# or leave the smallest squared error, or lose the least information: KL(P || Q), where P is the histogram up
# to T with the tail in its last bin, and Q what 128 levels make of it. Where no number lies near T, Q has
# nothing where P has the tail: infinite, so the curve has gaps.

# %%
thresholds = {
    "|max|": max_threshold(histogram),
    "entropy": entropy_threshold(histogram, bits=8),
    "error": mse_threshold(histogram, bits=8),
    "percentile 99": percentile_threshold(histogram, 99),
}
save(threshold_panels(histogram, thresholds), "11_tensorrt/thresholds")
extremes = {name: thresholds[name] for name in ("|max|", "percentile 99")}
save(integer_panels(activation, extremes), "11_tensorrt/integers")

print(f"{'8 bits':14}{'T':>8}{'step S':>10}{'saturates':>12}{'SQNR (dB)':>12}")
for name, T in thresholds.items():
    params = symmetric_params(T, bits=8)
    beyond = np.mean(activation > T)
    print(
        f"{name:14}{T:8.2f}{params.scale:10.4f}{beyond:12.3%}{sqnr(activation, params):12.1f}"
    )

candidates, divergences = kl_curve(histogram, bits=8)
_, errors = mse_curve(histogram, bits=8)
assert (
    divergences.min() <= divergences[-1] and errors.min() <= errors[-1]
)  # the last is |max|
for bits in (8, 4, 3):
    T = entropy_threshold(histogram, bits)
    print(
        f"{bits} bits: entropy takes T = {T:.2f}, the error T = {mse_threshold(histogram, bits):.2f}"
    )

# %% [markdown]
# The fewer the levels, the more each is worth, and the lower T goes. There is no canonical number here:
# whoever implements the recipe, with other bins, ends elsewhere on a curve that is this flat.
#
# ## Accuracy by calibrator
# Input and activations after each ReLU are rounded, the weights stay floats. What comes out of a ReLU has one
# sign and takes all 2^b levels, unsigned: twice as many as signed integers have for it, so the calibrators
# are told b + 1 bits. The last row is a control: the input clipped at its percentile 99, *before* anything is
# calibrated, and then no saturation at all.

# %%
BITS = (2, 3, 4, 8)
WAYS = (
    "|max|",
    "percentile 99",
    "percentile 99.9",
    "error",
    "entropy",
    "|max| of clipped input",
)


def threshold_by(way, histogram, bits):
    if way == "error":
        return mse_threshold(histogram, bits)
    if way == "entropy":
        return entropy_threshold(histogram, bits)
    if way.startswith("percentile"):
        return percentile_threshold(histogram, float(way.split()[1]))
    return max_threshold(histogram)


def counting(histogram):
    def hook(module, inputs, output):
        histogram.add(output.data)

    return hook


def rounding(params):
    def hook(module, inputs, output):
        return fake_quantize(output, params)  # takes the output's place

    return hook


def histograms(model, images):
    """Of the input, under "", and of what each fused convolution gives."""
    paths = [
        path for path, module in model.named_modules() if isinstance(module, ConvReLU2d)
    ]
    found = {"": Histogram().add(images)} | {path: Histogram() for path in paths}
    hooks = [
        model.layer(path).register_forward_hook(counting(found[path])) for path in paths
    ]
    with no_grad():
        model(images)
    for hook in hooks:
        hook.remove()
    return found


def rounded_accuracy(model, thresholds, bits, images):
    params = {
        path: affine_params(0.0, T, bits, signed=False)
        for path, T in thresholds.items()
    }
    hooks = [
        model.layer(path).register_forward_hook(rounding(params[path]))
        for path in params
        if path
    ]
    accuracy = evaluate(model, fake_quantize(images, params[""]), test[1]).accuracy
    for hook in hooks:
        hook.remove()
    return accuracy


def calibrator_grid(seed, heavy, bits, ways):
    """ "floats": accuracy in floats, and with the input clipped; "rounded": (ways, bits)."""
    model = fuse(digits_network(seed))
    seen, images = held_out[0], test[0]
    if heavy:
        seen, images = (
            brighter(seen, seed=100 + seed),
            brighter(images, seed=200 + seed),
        )
    limit = np.float32(percentile_threshold(Histogram().add(seen), 99))
    clipped_seen, clipped = np.minimum(seen, limit), np.minimum(images, limit)
    floats = [evaluate(model, x, test[1]).accuracy for x in (images, clipped)]
    plain, after_clipping = histograms(model, seen), histograms(model, clipped_seen)
    accuracies = []
    for way in ways:
        found, shown = (
            (after_clipping, clipped) if "clipped" in way else (plain, images)
        )
        for b in bits:
            chosen = {
                path: threshold_by(way, counts, b + 1) for path, counts in found.items()
            }
            accuracies.append(rounded_accuracy(model, chosen, b, shown))
    return {
        "floats": np.array(floats),
        "rounded": np.array(accuracies).reshape(len(ways), len(bits)),
    }


grids = {}
for heavy in (False, True):
    recipes = [
        {"seed": seed, "heavy": heavy, "bits": list(BITS), "ways": list(WAYS)}
        for seed in SEEDS
    ]
    grids[heavy] = cached_runs("11_calibrators", recipes, calibrator_grid)
floats = {
    heavy: np.array([grid["floats"] for grid in grids[heavy]]) for heavy in grids
}  # (seeds, 2)
rounded = {
    heavy: np.array([grid["rounded"] for grid in grids[heavy]]) for heavy in grids
}  # and ways, bits

for heavy, name in ((False, "clean"), (True, "heavy-tailed")):
    print(f"\n{name}: accuracy in floats {t_interval(floats[heavy][:, 0])}")
    print(f"{'':24}" + "".join(f"{b:>6} bits" for b in BITS))
    for w, way in enumerate(WAYS):
        print(
            f"{way:24}"
            + "".join(f"{value:11.3f}" for value in rounded[heavy][:, w].mean(axis=0))
        )
    curves = {way: rounded[heavy][:, w] for w, way in enumerate(WAYS)}
    figure = curves_with_bands(
        np.array(BITS), curves, xlabel="bits", ylabel="test accuracy", title=name
    )
    save(figure, f"11_tensorrt/accuracy_{'heavy' if heavy else 'clean'}")

# %% [markdown]
# On clean images 8 bits need no calibrator. With the tail the choice matters the more the fewer the bits; at
# 8 percentile 99 alone stands out. But look at the control.

# %%
at = {b: BITS.index(b) for b in BITS}
for w, way in enumerate(WAYS[1:5], start=1):
    difference = paired_difference(
        rounded[False][:, w, at[8]], rounded[False][:, 0, at[8]]
    )
    close = bool(difference.low > -0.01 and difference.high < 0.01)
    claim(
        f"clean, 8 bits: {way} is within a point of |max|",
        close,
        {"difference": difference},
    )
for b in (4, 3, 2):
    gain = paired_difference(
        rounded[True][:, WAYS.index("entropy"), at[b]], rounded[True][:, 0, at[b]]
    )
    claim(f"heavy-tailed, {b} bits: entropy beats |max|", gain.low > 0, {"gain": gain})

gain = paired_difference(rounded[True][:, 1, at[8]], rounded[True][:, 0, at[8]])
without_rounding = paired_difference(floats[True][:, 1], floats[True][:, 0])
claim("8 bits: saturating at percentile 99 helps", gain.low > 0, {"gain": gain})
claim(
    "and clipping the input helps the network of floats as much: outliers gone, nothing rounded",
    bool(without_rounding.low > 0 and abs(without_rounding.mean - gain.mean) < 0.015),
    {"gain of clipping floats": without_rounding},
)
control = paired_difference(
    rounded[True][:, 5, at[4]], rounded[True][:, WAYS.index("entropy"), at[4]]
)
print(f"4 bits: |max| of clipped input less entropy {control}")
lead = paired_difference(
    rounded[True][:, 1, at[8]], rounded[True][:, WAYS.index("error"), at[8]]
)
claim(
    "8 bits: percentile 99, of the lowest SQNR, beats the error's T",
    lead.low > 0,
    {"lead": lead},
)

# %% [markdown]
# So part of a calibrator's merit is the removal of outliers that hurt the floats as well: with clipped input
# |max| at 4 bits does about what entropy does. And SQNR does not rank thresholds: it counts outliers as
# signal, which mislead the network. A percentile is only as good as the guess of how much is outliers: 99
# cuts these 0.4%, 99.9 keeps them.
#
# ## Three modules in one
# Now the speed. In evaluation BatchNorm multiplies each channel and adds to it, which the convolution before
# it can do as well:
#     gamma (w x + b - mean) / sqrt(var + eps) + beta = (f w) x + f (b - mean) + beta
# with f = gamma / sqrt(var + eps), and the ReLU can clamp each sum before it leaves the cache.

# %%
rng = np.random.default_rng(11)
block = inception_block(16, rng=rng)
for _ in range(20):  # so that the BatchNorms have statistics to fold
    block(rng.normal(size=(16, 16, 16, 16)).astype(np.float32))
block.eval()
images = rng.normal(size=(64, 16, 16, 16)).astype(np.float32)

conv, bn = block.layer("branch1x1.conv"), block.layer("branch1x1.bn")
weight, bias = folded(
    conv.weight.data,
    None,
    bn.running_mean,
    bn.running_var,
    bn.weight.data,
    bn.bias.data,
    bn.eps,
)
pixel = images[0, :, 0, 0]  # (16,); a 1x1 convolution is a product with it
with no_grad():
    three = block.layer("branch1x1")(images[:1]).data[0, :, 0, 0]
one = np.maximum(weight[:, :, 0, 0] @ pixel + bias, 0)
print(
    "conv, BatchNorm, ReLU",
    np.round(three[:4], 4),
    "  one product and a clamp",
    np.round(one[:4], 4),
)
assert np.allclose(one, three, atol=1e-5)

# %% [markdown]
# ## The un-optimised and the optimised network
# Vertically: conv, BatchNorm and ReLU are one. Horizontally: three 1x1 convolutions read the same input, so
# their filters are those of one convolution. And each branch writes straight into its channels of the result,
# which then need not be copied together.

# %%
fused = fuse(block)
optimised = merge_parallel_convs(fused)
stages = {"un-optimised": block, "vertical": fused, "and horizontal": optimised}
for name, stage in stages.items():
    save(
        draw_model(stage, (16, 16, 16), f"inception block, {name}"),
        f"11_tensorrt/{name.replace(' ', '_')}",
    )

with no_grad():
    outputs = {name: stage(images).data for name, stage in stages.items()}
for output in outputs.values():
    assert np.allclose(output, outputs["un-optimised"], atol=1e-5)
largest = max(
    np.abs(output - outputs["un-optimised"]).max() for output in outputs.values()
)
print(
    f"largest difference of an output {largest:.1e}, largest output {outputs['vertical'].max():.1f}"
)


def best_times(models, images, rounds=40):
    """Seconds of the fastest forward pass of each; they take turns, so that all meet the same conditions."""
    times = np.full(len(models), np.inf)
    with no_grad():
        for _ in range(rounds):
            for i, model in enumerate(models):
                start = time.perf_counter()
                model(images)
                times[i] = min(times[i], time.perf_counter() - start)
    return times


times = best_times(list(stages.values()), images)
print(
    f"{'':16}{'launches':>10}{'KB moved':>10}{'multiply-adds':>15}{'ms for 64':>12}{'speed-up':>10}"
)
for (name, stage), seconds in zip(stages.items(), times, strict=True):
    launches, moved, products = cost(stage, (16, 16, 16))
    ratio = times[0] / seconds
    print(
        f"{name:16}{launches:10}{moved / 1024:10.0f}{products:15,}{1000 * seconds:12.2f}{ratio:10.2f}"
    )
assert len({cost(stage, (16, 16, 16)).multiply_adds for stage in stages.values()}) == 1

# %% [markdown]
# Not one multiply-add of the convolutions was saved: the time went into reading and writing what the next
# module wanted to read again. The same holds for the digits' network.

# %%
plain = digits_network(0)
images = np.tile(test[0], (2, 1, 1, 1))[:256]
with no_grad():
    assert np.allclose(fuse(plain)(images).data, plain(images).data, atol=1e-3)
times = best_times([plain, fuse(plain)], images)
print(f"digits, batch 256: {1000 * times[0]:.2f} ms, fused {1000 * times[1]:.2f} ms")
print(f"speed-up {times[0] / times[1]:.2f}; a busy machine shows less")

# %% [markdown]
# ## The network as a file
# TensorRT, ONNX Runtime and Netron read ONNX files. A node of the file is an operation: the fused network has a
# Conv and a Relu where the plain one has Conv, BatchNormalization and Relu. The runtime fuses the file by itself
# as it loads it. The extra `onnx` installs what this cell needs; without it the cell says so.

# %%
if find_spec("onnx") and find_spec("onnxruntime"):
    import onnx
    import onnxruntime

    Path("out/11_tensorrt").mkdir(parents=True, exist_ok=True)
    for name, network in {"plain": plain, "fused": fuse(plain)}.items():
        path = Path("out/11_tensorrt") / f"{name}.onnx"
        to_onnx(network, images[:1], path, class_names=list("0123456789"))
        nodes = Counter(node.op_type for node in onnx.load(path).graph.node)
        print(
            f"{name}.onnx:",
            ", ".join(f"{count} {kind}" for kind, count in nodes.items()),
        )
        session = onnxruntime.InferenceSession(path)
        (logits,) = session.run(None, {"input": images})
        with no_grad():
            assert np.allclose(logits, network(images).data, atol=1e-3)
    begin = time.perf_counter()
    for _ in range(20):
        session.run(None, {"input": images})
    by_runtime = (time.perf_counter() - begin) / 20
    print(
        f"ONNX Runtime, batch 256: {1000 * by_runtime:.2f} ms; minidl, fused: {1000 * times[1]:.2f} ms"
    )
else:
    print('not shown: this cell needs  python -m pip install -e ".[onnx]"')
