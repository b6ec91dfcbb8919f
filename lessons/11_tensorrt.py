# %% [markdown]
# # 11 TensorRT: calibration and fusion
# TensorRT is a library of NVIDIA. It takes a trained network and makes a program for a
# graphics card out of it. It saves work in two ways: numbers of fewer bits, and fewer
# steps for the same result. Which real number should the largest integer stand for? And
# which steps can be merged without changing the answers? This page shows both ideas on
# the processor, with NumPy. TensorRT itself does not run here.
#
# Exercises: 11.1 coarser, 11.2 folded, 11.3 fold_batchnorm, 11.4 divergence.

# %%
from importlib.util import find_spec
from time import perf_counter

import numpy as np

from lessons import PICTURES, study
from minidl import figures
from minidl.compress import calibrate, precision, quantize
from minidl.compress.branches import merge_parallel_convs
from minidl.compress.flow import cost, observe
from minidl.compress.fuse import folded, fuse
from minidl.compress.fused import ConvReLU2d
from minidl.data import load_picture
from minidl.engine.reduce import stable_softmax
from minidl.export import to_onnx
from minidl.figures import save
from minidl.figures.thresholds import integer_panels, saturation_lines, threshold_panels
from minidl.nn.containers import Skip
from minidl.nn.layers import Conv2d
from minidl.nn.models import imagenet_names, imagenet_network, inception_block
from minidl.train import predict

# %% [markdown]
# ## Saturate or not
# An early layer of the real network, EfficientNet-Lite0, sees a koala and gives 75,264
# real numbers, its *activations*. They must become integers of 8 bits.

# %%
network, names = imagenet_network(), imagenet_names()
koala = load_picture(PICTURES / "marsupials" / "koala.webp")[0][np.newaxis]
fused = fuse(network, koala)  # what this does: the second half of this page
layer = {"project": fused.layer("_blocks.1._project_conv")}
r = observe(fused, koala, layer, lambda name, output: output.data)["project"]

T_max = np.abs(r).max()  # of the 75,264 numbers that this layer gives
T_99 = np.percentile(np.abs(r), 99)
some = np.quantile(r, [0, 0.001, 0.01, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 0.99, 0.999, 1])
choices = {"no saturation, T = max |r|": T_max, "saturate, T = percentile 99": T_99}
figure = saturation_lines(some, choices)
save(figure, "11_tensorrt/saturate", alt="Integers without and with saturation")

# %% [markdown]
# The picture shows twelve activations and the integers that they become. The rare large
# ones are chosen on purpose: four of the twelve are beyond 17.4 or -17.4, but only 1%
# of all.
#
# Above, nothing is cut off: the largest $|r|$ is that of -37.6, which becomes -127. But
# the step between two integers is 0.30. Below, a *threshold* $T = 17.4$ becomes 127,
# and the step is 0.14. Numbers above $T$ become 127 too, and numbers below $-T$ become
# -127, whether they are -18 or -37: they *saturate*. The choice of $T$ is called
# *calibration*. (The calibration of [lesson 09](09_temperature.py) is another one, that
# of probabilities.)

# %% [markdown]
# ## What does each type span?
# A type of numbers has a largest number and a smallest one above 0.

# %%
print(f"{'':6}{'lowest':>12}{'highest':>12}{'smallest above 0':>20}")
for row in precision.dynamic_range_table():
    low, high = (f"{end:.1e}" if abs(end) > 1e9 else f"{end:.0f}" for end in row[1:3])
    print(f"{row.name:6}{low:>12}{high:>12}{row.smallest:20.3g}")

x = [65504, 65520, 6e-8, 2e-8]
with np.errstate(over="ignore"):
    x16 = np.array(x).astype(np.float16)
print(f"{x} in FP16: {x16.tolist()}")
assert x16[0] == 65504 and np.isinf(x16[1]) and x16[2] == 2.0**-24 and x16[3] == 0

# %% [markdown]
# This is the lecture's table, with the minus sign of -65504 that the slide has lost. In
# FP16 the largest number is 65504, and beyond it is infinity. What is smaller than half
# of $5.96 \cdot 10^{-8}$ becomes 0. This is enough for most activations. INT8 has only
# 256 integers. So an integer $Q$ must stand for $S\,Q$, as in [lesson
# 10](10_quantization.py), with the largest integer 127 for the threshold $T$:
#
# $$S = \frac{T}{127}, \qquad
#   Q = \mathrm{clip}\left(\mathrm{round}\left(\frac{r}{S}\right), -127, 127\right)$$
#
# Without saturation $T = \max |r|$. The integer -128 is left out, so that both sides
# have the same length. The steps of a float grow with the number, but those of an
# integer are the same everywhere. If $T = 500$, the step is 3.9, and an activation of
# 0.01 becomes 0. If $T = 1$, then 0.01 becomes the integer 1, but 500 becomes 127, as
# if it were 1.

# %% [markdown]
# ## Two errors
# All 75,264 activations as integers: saturation uses the integers more evenly, and 1%
# of the numbers become the two integers at the ends. The highest bars come from the
# background of the photograph. It has one colour, so thousands of places give the same
# number.

# %%
figure = integer_panels(r, choices)
save(figure, "11_tensorrt/integers", alt="Two histograms of the integers")

# %% [markdown]
# A number below $T$ is *rounded*. A number above $T$ is *clipped*. Both are errors, and
# $T$ moves error from one kind to the other:
#
# $$\underbrace{\mathrm{mean}\,(r - S\,Q)^2}_{\text{squared error}} =
#   \underbrace{\frac{1}{n} \sum_{|r| \le T} (r - S\,Q)^2}_{\text{rounding}} +
#   \underbrace{\frac{1}{n} \sum_{|r| > T} (|r| - T)^2}_{\text{clipping}}$$

# %%
candidates = np.linspace(8, 36, 57)
clipping, rounding_8, rounding_4 = np.zeros((3, 57))
for i, T in enumerate(candidates):
    clipping[i] = np.mean(np.maximum(np.abs(r) - T, 0) ** 2)
    inside = np.clip(r, -T, T)  # what is clipped lies on T and needs no rounding
    for errors, qmax in ((rounding_8, 127), (rounding_4, 7)):
        S = T / qmax
        errors[i] = np.mean((inside - S * np.round(inside / S)) ** 2)
curves = {"clipping": clipping, "rounding, 8 bits": rounding_8}
curves["rounding, 4 bits"] = rounding_4
words = {"xlabel": "threshold T", "ylabel": "mean squared error"}
words["title"] = "A larger T clips less and rounds more coarsely"
figure = figures.curves_with_bands(candidates, curves, **words, log_y=True)
for bits, rounding_error in ((8, rounding_8), (4, rounding_4)):
    best = candidates[np.argmin(clipping + rounding_error)]  # of both errors together
    figure.axes[0].axvline(best, color="black", linestyle=":")
    figure.axes[0].text(best, 4e-5, f"{bits} bits: \nT = {best:.0f} ", ha="right")
save(figure, "11_tensorrt/two_errors", alt="With T clipping falls and rounding grows")

# %% [markdown]
# The dotted lines stand where the sum of both errors is smallest. With 8 bits rounding
# costs little, so almost nothing should be clipped. With 4 bits the step is 18 times
# larger, and the smallest sum lies at about half of the largest number. So the best
# threshold depends on the number of bits.

# %% [markdown]
# ## Who chooses the threshold?
# A *calibrator* does. It runs the network on a few photographs, without labels. For
# each place in the network it counts in a *histogram* how often $|r|$ falls into each
# bin. Then it takes one of four rules:
#
# - **max**: $T = \max |r|$, no saturation.
# - **percentile**: 99% of all $|r|$ lie below $T$.
# - **error**: the smallest squared error, clipping and rounding together.
# - **entropy**: the smallest loss of information (Migacz 2017).
#
# The last rule compares two distributions. $P$ is the histogram up to $T$, with all
# that saturates in the last bin. $Q$, which was an integer above, is now the histogram
# that one can rebuild from the integers: all bins that share an integer get their mean.
# The Kullback-Leibler divergence is 0 if $Q$ equals $P$. Numbers that are exactly 0 are
# left out, since every grid has a 0.
#
# $$KL(P\,\|\,Q) = \sum_i P_i \log \frac{P_i}{Q_i}$$

# %%
counts, saturates = np.array([8, 6, 4, 2]), 3  # four bins below T, and 3 numbers beyond
P = counts + np.array([0, 0, 0, saturates])
Q = np.array([7, 7, 3, 3])  # two integers for four bins: (8 + 6) / 2 and (4 + 2) / 2
P, Q = P / P.sum(), Q / P.sum()  # Q has lost the 3 numbers
KL = np.sum(P * np.log(P / Q))
print(f"KL = {KL:.3f}")
assert np.isclose(KL, calibrate.divergence(counts, saturates, levels=2))

# %% [markdown]
# Now for the real network, with eight animals, none of them a koala. Each gets a
# background of smooth random colours. For the entropy rule a grey background would be a
# mistake, as a section below shows.

# %%
animals = ["birds/seagull", "birds/pelican", "birds/drake", "birds/heron_greatblue"]
animals += ["birds/hen", "mammals/ram", "mammals/orca", "mammals/european_bear"]
rng = np.random.default_rng(0)
place = np.linspace(0, 7, 224)[:, np.newaxis]
weights = np.maximum(1 - np.abs(place - np.arange(8)), 0)  # (224, 8)
on_colours, on_grey = [], []
for name in animals:
    background = weights @ rng.random((3, 8, 8)) @ weights.T  # (3, 224, 224)
    file = PICTURES / f"{name}.webp"
    on_colours.append(load_picture(file, background=background)[0])
    on_grey.append(load_picture(file)[0])
figure = figures.image_grid(np.stack(on_colours), columns=4, title="For calibration")
save(figure, "11_tensorrt/photographs", alt="Eight animals on random colours")

# %%
modules = fused.named_modules()  # a Skip adds its input to its output
places = {path: one for path, one in modules if isinstance(one, Conv2d | Skip)}


def count(name, output):
    return calibrate.Histogram().add(output.data)


histograms = observe(fused, np.stack(on_colours), places, count)
histogram = histograms["_blocks.1._project_conv"]
thresholds = {
    "max": calibrate.max_threshold(histogram),
    "percentile 99": calibrate.percentile_threshold(histogram, 99),
    "error": calibrate.mse_threshold(histogram, bits=8),
    "entropy": calibrate.entropy_threshold(histogram, bits=8),
    "error, 4 bits": calibrate.mse_threshold(histogram, bits=4),
}
figure = threshold_panels(histogram, thresholds)
save(figure, "11_tensorrt/thresholds", alt="A histogram with five thresholds")

# %% [markdown]
# Above: the histogram of our layer and the thresholds of all rules. On this axis each
# label is ten times the one below it. Percentile 99 clips the most. The error's
# threshold for 8 bits is about twice the one for 4 bits. Below: the divergence of every
# candidate. It falls until $T$ is about 40, and then it is flat. In this layer, with 8
# bits, the entropy rule hardly saturates.
#
# ## A background of one colour misleads the entropy rule
# The same animals on light grey:

# %%
grey = observe(fused, np.stack(on_grey), layer, count)["project"]
figure = threshold_panels(grey, {"entropy": calibrate.entropy_threshold(grey, bits=8)})
alt = "On grey some bars are high, and the threshold is at the last of them"
save(figure, "11_tensorrt/thresholds_grey", alt=alt)

# %% [markdown]
# A background of one colour gives the same few activations at thousands of places. They
# are the high bars of the histogram. If $T$ lies just above such a value, the last bin
# of $P$ is high anyway, and what saturates changes it less. Here the divergence is
# smallest at the end of the last high bar: $T = 9.7$ instead of 50.

# %% [markdown]
# ## A whole network in 4 bits
# We round what each of the 58 convolutions and sums gives. 33 of them end in a ReLU6,
# whose output is never negative. They get unsigned integers, 0 to 255 with 8 bits, so
# their steps are half as large: with one bit more for $|r|$. The weights stay floats:
# [lesson 10](10_quantization.py) rounds weights. The thresholds are those of the eight
# animals on colours, the koala stands on grey.


# %%
def likeliest():
    p = stable_softmax(predict(fused, koala))[0]
    return [(names[i], float(p[i])) for i in np.argsort(-p)[:3]]


def rounding(T, bits, positive):
    """A forward hook: what it returns takes the output's place."""
    params = quantize.symmetric_params(T, bits)
    if positive:  # unsigned integers
        params = quantize.affine_params(0.0, T, bits, signed=False)
    return lambda module, inputs, output: quantize.fake_quantize(output, params)


# %%
relu6 = [path for path, module in places.items() if isinstance(module, ConvReLU2d)]
print(f"{len(places)} places, {len(relu6)} end in a ReLU6")
answers, titles = [likeliest()], ["floats"]
for bits, rule in ((8, "max"), (4, "max"), (4, "error")):
    hooks = []
    for path, module in places.items():
        positive = path in relu6
        T = calibrate.max_threshold(histograms[path])
        if rule == "error":
            # an unsigned integer has one bit more for |r|: True counts as 1
            T = calibrate.mse_threshold(histograms[path], bits + positive)
        hooks.append(module.register_forward_hook(rounding(T, bits, positive)))
    answers.append(likeliest())
    titles.append(f"{bits} bits, {rule}")
    for hook in hooks:
        hook.remove()
figure = figures.answers_picture(np.repeat(koala, 4, 0), titles, answers, columns=2)
save(figure, "11_tensorrt/koala", alt="A koala's answers in floats, 8 and 4 bits")

# %% [markdown]
# At 8 bits the answer is still "koala", without saturation. At 4 bits the max rule
# gives a wrong answer: "indri", with 7%. With the thresholds of the smallest error it
# is "koala" again, with 91%. That is more than with floats: rounding moves a
# probability up or down. One photograph proves nothing, so we need many.
#
# ## Which rule keeps the answers?
# The study draws 20 photographs for calibration and 20 others for a test, six times. It
# counts how many of the network's answers are still those of the floats.

# %%
ways = ["FP16", "8 bits, max", "8 bits, error", "8 bits, entropy"]
ways += ["8 bits, percentile 99.9", "8 bits, percentile 99"]
ways += ["percentile 99, clipped, not rounded", "8 bits, max, on grey"]
ways += ["8 bits, entropy, on grey"]
ways += ["4 bits, max", "4 bits, error", "4 bits, entropy", "4 bits, percentile 99"]
kept = [study("11_tensorrt", way) for way in ways]
xlabel, title = "share of answers kept; 6 draws", "The network, activations rounded"
figure = figures.bars_with_intervals(ways, kept, xlabel=xlabel, title=title, share=True)
save(figure, "11_tensorrt/kept", alt="Share of answers kept by each calibrator")
difference = study("11_tensorrt", "8 bits, entropy", minus="8 bits, max")
difference = study("11_tensorrt", "4 bits, error", minus="4 bits, max")

# %% [markdown]
# FP16 needs no threshold and keeps every answer. At 8 bits the max rule saturates
# nothing and keeps 0.975, 39 answers of 40. No other rule does better. Percentile 99
# keeps only 0.66, and clipping is the reason: if the activations are clipped at the
# same $T$ and not rounded, the share is 0.66 as well. So the few large activations
# matter for the answer. The entropy rule keeps 0.89. Its difference from the max rule,
# -0.083 ± 0.086, is not certain. On grey backgrounds it is: the entropy rule keeps
# 0.56, the max rule 0.99. So grey misleads the entropy rule and not the max rule. (The
# other rules were not measured on grey.)
#
# At 4 bits the max rule keeps 0.31. The other three keep 0.53 to 0.58. Their intervals
# overlap, so this study does not tell which of them is best. But all three saturate,
# and for the error rule that is 0.28 ± 0.09 better than the max rule.
#
# The network matters too. EfficientNet-Lite0 is a variant of EfficientNet (Tan and Le
# 2019) that was made for integers: 33 of the 58 places end in a ReLU6 and give at most
# 6. The others, such as our layer with its 51.4, have no such limit. In a network of
# plain ReLUs more places have none, and saturation may help at 8 bits already. We have
# not tested that.

# %% [markdown]
# ## The un-optimised and the optimised network
# Now the second way: fewer steps. Each module of a network starts at least one program
# on the graphics card, a *kernel* (not the window of a convolution, which has the same
# name). Each start is a *launch*. A kernel reads its input from memory and writes its
# output back. The lecture shows a block of GoogLeNet (Szegedy et al. 2015). Here is one
# with random weights, and what TensorRT would make of it.

# %%
size = (192, 28, 28)
block = inception_block(192, (64, 128, 32, 32), reduce=64, rng=np.random.default_rng(0))
block.eval()
vertical = fuse(block, np.zeros((1, *size), np.float32))
optimised = merge_parallel_convs(vertical)

figure = figures.draw_model(block, size, "un-optimised")
save(figure, "11_tensorrt/un_optimised", alt="Twenty kernels in four branches")
print(f"vertically fused: {cost(vertical, size).launches} launches")
figure = figures.draw_model(optimised, size, "vertically and horizontally fused")
save(figure, "11_tensorrt/optimised", alt="Five kernels: three branches begin as one")

# %% [markdown]
# - **Vertically**: convolution, BatchNorm (or bias) and ReLU stand one below the other.
#   They become one kernel.
# - **Horizontally**: three 1×1 convolutions stand side by side and read the same input.
#   They become one convolution with the filters of all three. The input is read once.
# - **Concat**: each branch writes its channels directly to their place in the output.
#   Nothing has to be copied.
#
# From 20 launches to 8 (vertically) and to 5 (horizontally too), and from 11.6 MB to
# 4.0 MB of activations read and written. The convolutions multiply exactly as often as
# before. A BatchNorm or a ReLU computes almost nothing, but it has to read and write
# every number. Fusion removes this reading and writing. The output is the same:

# %%
x = np.random.default_rng(0).normal(size=(2, *size)).astype(np.float32)
y, y_optimised = predict(block, x), predict(optimised, x)
difference = np.abs(y_optimised - y).max()
print(f"largest output {y.max():.1f}, largest difference {difference:.0e}")
assert difference < 1e-4
assert cost(optimised, size).multiply_adds == cost(block, size).multiply_adds

# %% [markdown]
# ## How can BatchNorm disappear?
# After training, BatchNorm multiplies each channel by a constant and adds another one.
# A convolution also multiplies and adds. So its weights $W$ and its bias $b$ can do
# both (Jacob et al. 2018):
#
# $$\gamma\, \frac{W x + b - \mu}{\sqrt{\sigma^2 + \varepsilon}} + \beta
#   = (f\,W)\, x + f\,(b - \mu) + \beta, \qquad
#   f = \frac{\gamma}{\sqrt{\sigma^2 + \varepsilon}}$$
#
# We test this on a block of the real network, at one pixel of the koala. A 1×1
# convolution is a product with a matrix there.

# %%
conv, bn = network.layer("_blocks.2._expand_conv"), network.layer("_blocks.2._bn0")
input_of_block = {"x": network.layer("_blocks.1")}
x = observe(network, koala, input_of_block, lambda name, y: y.data[0, :, 28, 28])["x"]

W, mu, sigma_2 = conv.weight.data, bn.running_mean, bn.running_var  # this conv has no b
gamma, beta, eps = bn.weight.data, bn.bias.data, bn.eps
y = W[:, :, 0, 0] @ x  # (144,), three steps: convolution, ...
y = gamma * (y - mu) / np.sqrt(sigma_2 + eps) + beta  # ... BatchNorm, ...
three = np.clip(y, 0, 6)  # ... ReLU6

new_W, new_b = folded(W, None, mu, sigma_2, gamma, beta, eps)
one = np.clip(new_W[:, :, 0, 0] @ x + new_b, 0, 6)  # one step
print(f"three steps {three[:4].round(3)}, one step {one[:4].round(3)}")
assert np.allclose(one, three, atol=1e-4)

# %% [markdown]
# ## The whole real network
# EfficientNet-Lite0 has no parallel convolutions, so only the vertical fusion applies.
# We count, and we also measure the time on this machine. Plain and fused take turns, so
# that other programs on the machine disturb both alike. The first run is slow, since it
# prepares memory. The median hardly depends on one run.

# %%
before, after = cost(network, (3, 224, 224)), cost(fused, (3, 224, 224))
seconds = np.zeros((15, 2))  # rounds; plain, fused
for times in seconds:
    for i, model in enumerate((network, fused)):
        start = perf_counter()
        logits = predict(model, koala)
        times[i] = perf_counter() - start
medians = 1000 * np.median(seconds, axis=0)
for name, c, ms in zip(("plain", "fused"), (before, after), medians, strict=True):
    print(f"{name}: {c.launches} launches, {c.bytes / 1e6:.0f} MB, median {ms:.0f} ms")
print(f"fused takes {np.median(seconds[:, 1] / seconds[:, 0]):.2f} times as long")
difference = np.abs(predict(network, koala) - predict(fused, koala)).max()
print(f"largest logit {logits.max():.1f}, largest difference {difference:.0e}")
assert before.multiply_adds == after.multiply_adds and difference < 1e-3
assert after.launches < before.launches / 2 and after.bytes < before.bytes / 2

# %% [markdown]
# More than half of the launches and bytes are gone. They are counted, and so they are
# the same on every machine: each module reads its inputs once and writes its output
# once. The time is measured and depends on the machine. On the processor the gain is
# small: in our runs the fused network took about 0.8 of the time. Fusion removes only
# the time of BatchNorm and ReLU6. The rest is mostly that of the convolutions, which
# multiply as often as before. On a graphics card launches and bytes have other prices.
# This page does not measure what is gained there.

# %% [markdown]
# ## The network as a file
# TensorRT takes a network as an ONNX file. Many tools read this format: TensorRT, ONNX
# Runtime, and Netron, which draws the network. The nodes of the file are operations.
# ONNX Runtime can save its own, faster version of the network as a second file. The
# extra `onnx` installs what this cell needs.

# %%
if find_spec("onnx") and find_spec("onnxruntime"):
    import onnx
    import onnxruntime as ort

    for i, (name, model) in enumerate({"plain": network, "fused": fused}.items()):
        path = f"out/11_tensorrt/{name}.onnx"
        to_onnx(model, koala, path, class_names=names)
        setup = ort.SessionOptions()
        setup.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        setup.optimized_model_filepath = f"out/11_tensorrt/{name}_runtime.onnx"
        session = ort.InferenceSession(path, setup)
        for file in (path, setup.optimized_model_filepath):
            nodes = [node.op_type for node in onnx.load(file).graph.node]
            counted = [nodes.count("BatchNormalization"), nodes.count("Clip")]
            print(f"{file}: {counted[0]} BatchNormalization, {counted[1]} Clip")
        for _ in range(5):  # the first run prepares memory
            start = perf_counter()
            (logits,) = session.run(None, {"input": koala})
        took = 1000 * (perf_counter() - start)
        print(f"ONNX Runtime takes {took:.0f} ms, minidl {medians[i]:.0f} ms")
        assert np.allclose(logits, predict(model, koala), atol=1e-3)
else:
    print('not shown: this cell needs  python -m pip install -e ".[onnx]"')

# %% [markdown]
# Our fused file has no BatchNormalization. `Clip` is the ReLU6: the format has no
# operation for a convolution with a ReLU6. ONNX Runtime fuses both files when it loads
# them, the plain one too: no BatchNormalization and no Clip is left. The logits are
# minidl's. The times are for one photograph on this machine.

# %% [markdown]
# ## What to remember
# An INT8 number needs a threshold $T$: the real number that 127 stands for. A small $T$
# clips more and rounds more finely. With 8 bits nothing needs to saturate in this
# network, and with 4 bits the threshold decides. A calibrator needs a few photographs
# and no labels; a background of one colour can mislead it. Fusion changes no answer and
# saves no multiplication of a convolution. It saves launches, and bytes that are read
# and written.
#
# ## Try it
# - Take another layer for the opening, such as `"_blocks.14._project_conv"`. How far is
#   its largest number from its percentile 99? (11.7 and 6.9: nearer than in our layer.)
# - Calibrate all places with `on_grey` and `entropy_threshold`, 8 bits. How far does
#   the probability of "koala" fall? (From 79% to between 50% and 65%.)
# - Calibrate with the first animal only. How much smaller is the largest number that
#   the max rule sees? (Hardly: 49.7 instead of 51.4.)
# - Put the block into training mode with `block.train()` and call `fuse`. Why does
#   `fuse` refuse it? (In training a BatchNorm uses the mean and the deviation of each
#   batch. These are no constants, so they cannot be folded.)
#
# ## Exercises
# `python -m lessons start 11` begins 11.1 `coarser`, 11.2 `folded`,
# 11.3 `fold_batchnorm` and 11.4 `divergence`.
#
# ## Papers
# - Jacob et al. 2018, Quantization and training of neural networks for efficient
#   integer-arithmetic-only inference.
# - Migacz 2017, 8-bit inference with TensorRT (slides of a talk).
# - Szegedy et al. 2015, Going deeper with convolutions.
# - Tan and Le 2019, EfficientNet: rethinking model scaling for convolutional neural
#   networks.
