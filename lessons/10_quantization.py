"""10 Quantization: a network in integers of few bits.

Question: how few bits does a weight or an activation need, and what does rounding to them cost?
Measured: the error against S/2; accuracy and bytes from 32 bits down to 2 on digits and made shapes, 5 seeds;
what retraining wins back, against a control; integer inference against float in answers and in time.
Exercises: 10.1 affine_scale, 10.2 round_to_integers, 10.3 FakeQuantize.
"""

# %% [markdown]
# ## A real number as an integer
# An integer Q stands for the real S (Q - Z): S is the step between neighbours, Z the integer that means 0.
#
#     symmetric:  Q = clip(round(r / S)),      S = max|r| / qmax,                  Z = 0
#     affine:     Q = clip(round(r / S) + Z),  S = (rmax - rmin) / (qmax - qmin),  Z = round(qmin - rmin / S)

# %%
import time

import numpy as np

from minidl import Tensor, no_grad
from minidl.classroom.claims import claim
from minidl.compress.fuse import fuse
from minidl.compress.integer import (
    compare_layers,
    convert,
    fixed_point_multiplier,
    fixed_point_multiply,
    model_bytes,
    quantize_model,
    requantize,
)
from minidl.compress.qat import prepare_qat
from minidl.compress.quantize import (
    affine_params,
    channel_absmax,
    dequantize,
    fake_quantize,
    packed_bytes,
    quantize,
    sqnr,
    symmetric_params,
)
from minidl.data import cached_runs, random_rotation
from minidl.figures import curves_with_bands, save
from minidl.figures.quantization import levels_histogram, number_lines, rounding_error
from minidl.train import Adam, evaluate, fit
from minidl.train.intervals import paired_difference, t_interval
from minidl.train.networks import digits_network, digits_split, shapes_images, shapes_network
from minidl.train.schedules import cosine

r = np.float32([-1.3, -0.8, -0.33, 0, 0.12, 0.55, 1.1, 1.62, 2.0, 2.6])
symmetric = symmetric_params(2.0, bits=4)  # for reals in [-2, 2]: -7 … 7
affine = affine_params(-1.0, 2.0, bits=4, signed=False)  # for reals in [-1, 2]: 0 … 15
lines = {}
for name, params in (("symmetric", symmetric), ("affine", affine)):
    print(f"{name:10} S = {params.scale:.4f}  Z = {params.zero_point}  Q = {quantize(r, params)}")
    integers = np.arange(params.qmin, params.qmax + 1, dtype=params.dtype)
    title = f"{name}, 4 bits: S = {params.scale:.3f}, Z = {params.zero_point}"
    lines[title] = dequantize(integers, params), integers, quantize(r, params)
save(number_lines(r, lines), "10_quantization/number_lines")
assert dequantize(quantize(0.0, affine), affine) == 0, "0 is always exact: padding and ReLU give many"

# %% [markdown]
# ## The error: at most half a step
# A convolution's weights, BatchNorm already folded in (lesson 11). Inside the range the error is a saw
# between -S/2 and S/2, beyond it grows. Nothing says how *often* it is how large, so look.

# %%
train, held_out, test = digits_split()
SEEDS = range(5)
networks = [digits_network(seed) for seed in SEEDS]
folded = fuse(networks[0])  # conv + bn + relu as one layer each
weights = folded.layer("block2.conv").weight.data  # (32, 16, 3, 3)

absmax = channel_absmax(weights)
params = symmetric_params(absmax, bits=4)
error = weights - dequantize(quantize(weights, params), params)
eps = np.finfo(np.float32).eps
print(f"S/2 = {params.scale / 2:.4f}   worst error {np.abs(error).max():.4f}")
rms, spread_evenly = np.sqrt(np.mean(error**2)), params.scale / 12**0.5
print(f"root mean square {rms:.4f}; if errors are spread evenly, S/√12 = {spread_evenly:.4f}")
assert np.abs(error).max() <= params.scale / 2 + 4 * eps * absmax

clipping = symmetric_params(absmax / 2, bits=4)  # half the range: half the step, and some are clipped
clipped_error = weights - fake_quantize(weights, clipping)
save(
    rounding_error(weights, clipped_error, clipping.scale, title="4 bits, range half of max |r|"),
    "10_quantization/rounding_error",
)

# %% [markdown]
# ## One bit is 6 decibels
# Signal to quantization noise, sqnr = 10 log10(sum r² / sum error²). Half the step is a quarter of the noise:
# 6.02 dB for each bit, as long as there are levels enough.

# %%
for bits in (16, 8, 6, 4, 3, 2):
    print(f"Q{bits:<2}  sqnr {sqnr(weights, symmetric_params(absmax, bits)):6.2f} dB")
levels = {}
for bits in (8, 4, 2):
    params = symmetric_params(absmax, bits)
    levels[f"Q{bits}"] = dequantize(np.arange(params.qmin, params.qmax + 1, dtype=np.int8), params)
save(levels_histogram(weights, levels), "10_quantization/levels")

# %% [markdown]
# ## Symmetric or affine: what a ReLU gives
# Nothing below 0: a symmetric range wastes half its levels. Affine puts all of them where the numbers are,
# and wins a bit.

# %%
with no_grad():
    activations = folded[:2](train[0][:256]).data  # after block2's ReLU: (256, 32, 4, 4)
highest = activations.max()
for bits in (8, 4):
    db = {
        "symmetric": sqnr(activations, symmetric_params(highest, bits)),
        "affine": sqnr(activations, affine_params(0.0, highest, bits)),
    }
    print(f"Q{bits}  " + "   ".join(f"{name} {value:.2f} dB" for name, value in db.items()))
    claim(f"affine wins a bit on ReLU outputs, Q{bits}", 4 < db["affine"] - db["symmetric"] < 9, db)

# %% [markdown]
# ## One scale for all, or one for each channel
# Folding BatchNorm multiplies each filter by its own γ/σ, so filters differ in size. With one S for all, the
# smallest of them have few levels left; a scale per output channel costs 4 bytes each.

# %%
sizes = channel_absmax(weights, axis=0)  # (32,)
one = symmetric_params(absmax, bits=4)
each = symmetric_params(sizes, bits=4, axis=0)
print(f"largest |w| of a filter: from {sizes.min():.2f} to {sizes.max():.2f}")
print(
    f"levels of the smallest filter: {len(np.unique(quantize(weights, one)[sizes.argmin()]))} of 15, "
    f"with its own scale {len(np.unique(quantize(weights, each)[sizes.argmin()]))}"
)
print(f"sqnr per tensor {sqnr(weights, one):.2f} dB, per channel {sqnr(weights, each):.2f} dB")
assert (each.scale <= one.scale).all()

# %% [markdown]
# ## Q32, Q16, Q8, Q6, Q4, Q3, Q2
# The whole network, nothing retrained. Rounded are the weights alone, or also all activations, in ranges that
# 256 training images fixed (those of smallest squared error; lesson 11 compares ways to choose).

# %%
BITS = (16, 8, 6, 4, 3, 2)
WAYS = {
    "weights, per tensor": (False, False),
    "weights, per channel": (True, False),
    "and activations": (True, True),
}


def rounded_accuracies(seed, data, bits, ways):
    """Test accuracies (1 + bits, ways), the first row that of the floats."""
    if data == "digits":
        model, (images, _), tested = digits_network(seed), digits_split()[0], digits_split()[2]
    else:
        model, rng = shapes_network(seed), np.random.default_rng(1000 + seed)
        images, tested = shapes_images(256, rng=rng)[0], shapes_images(1000, rng=rng)[:2]
    rows = [[evaluate(model, *tested).accuracy] * len(ways)]
    for b in bits:
        row = []
        for per_channel, rounds_activations in ways:
            options = {"weight_bits": b, "activation_bits": b if rounds_activations else 32}
            rounded = prepare_qat(model, images[:256], per_channel=per_channel, **options)
            row.append(evaluate(rounded, *tested).accuracy)
        rows.append(row)
    return {"accuracies": np.array(rows)}


tables = {}
for data in ("digits", "shapes"):
    recipe = {"data": data, "bits": list(BITS), "ways": [list(way) for way in WAYS.values()]}
    runs = cached_runs("10_rounded", [{"seed": seed, **recipe} for seed in SEEDS], rounded_accuracies)
    tables[data] = np.array([run["accuracies"] for run in runs])  # (seeds, 1 + bits, ways)
    print(f"{data}, mean of {len(runs)} networks\n     " + "".join(f"{way:>22}" for way in WAYS))
    for i, b in enumerate((32, *BITS)):
        print(f"Q{b:<4}" + "".join(f"{accuracy:22.1%}" for accuracy in tables[data][:, i].mean(axis=0)))
    curves = {name: tables[data][:, :1:-1, i] for i, name in enumerate(WAYS)}  # Q2 … Q8
    curves["float"] = np.repeat(tables[data][:, :1, 0], len(BITS) - 1, axis=1)
    labels = {"xlabel": "bits", "ylabel": "test accuracy", "title": data}
    figure = curves_with_bands(np.array(BITS[:0:-1]), curves, **labels)
    figure.axes[0].set_ylim(0, 1.01)  # five networks' t-interval knows nothing of the 1
    save(figure, f"10_quantization/{data}")

for data, table in tables.items():
    loss = paired_difference(table[:, 0, 2], table[:, 1 + BITS.index(8), 2])
    claim(
        f"weights and activations at 8 bits cost less than 0.5 points on {data}",
        loss.high < 0.005,
        {"loss": loss},
    )
at = 1 + BITS.index(3)
gain = paired_difference(tables["digits"][:, at, 1], tables["digits"][:, at, 0])
claim("at 3 bits a scale for each channel helps on digits", gain.low > 0.05, {"gain": gain})
gain = paired_difference(tables["shapes"][:, at, 1], tables["shapes"][:, at, 0])
print(f"on shapes the five networks differ too much to say by how much it helps: {gain}")

# %% [markdown]
# ## Retraining: a gradient through rounding
# Below 4 bits the network breaks, because nobody told it. Tell it: round in the forward pass, and take
# rounding for the identity in the backward pass where nothing was clipped, since its true derivative is 0
# almost everywhere (the straight-through estimator). To see it, break on `self.inside` in
# `FakeQuantize.forward`, `minidl/compress/quantize.py`, and run the next cell.

# %%
x = Tensor(np.float32([0.4, -1.6, 7.4, 9.0]), requires_grad=True)
params = symmetric_params(7.0, bits=4)  # S = 1
y = fake_quantize(x, params)
y.sum().backward()
print(f"x = {x.data}   y = {y.data}   dy/dx = {x.grad}")
assert x.grad.tolist() == [1, 1, 1, 0], "7.4 rounds to 7, the last level; 9 was clipped"

# %% [markdown]
# The network of seed 0 with 2 bits for everything: weights are -S, 0 or S, activations one of four numbers.

# %%
EPOCHS, LR = 10, 3e-3


def retrain(model, epochs, lr, seed):
    optimizer = Adam(model.parameters(), lr=lr)
    schedule = cosine(lr, 0.0, epochs * -(-len(train[0]) // 64))
    options = {"optimizer": optimizer, "schedule": schedule, "augment": random_rotation(10)}
    fit(model, train, epochs=epochs, rng=np.random.default_rng(seed), progress=False, **options)
    return model


two_bits = prepare_qat(networks[0], train[0][:256], weight_bits=2, activation_bits=2)
before = evaluate(two_bits, *test).accuracy
retrain(two_bits, EPOCHS, LR, seed=0)
print(f"2 bits: test accuracy {before:.1%}, retrained {evaluate(two_bits, *test).accuracy:.1%}")

# %% [markdown]
# Five networks, and the control that such a comparison needs: the *float* network trained as much longer and
# rounded then. If that did as well, it would be the training that helps, not the rounding in it. (Epochs and
# learning rate were chosen on held-out images.)

# %%
SETTINGS = {"Q4": (4, 4), "Q3": (3, 3), "Q2": (2, 2), "Q2, weights only": (2, 32)}


def retrained_accuracies(seed, settings, epochs, lr):
    """Test accuracies (settings, 3): rounded; the float network trained longer, then rounded; retrained."""
    model, images, rows = digits_network(seed), train[0][:256], []
    longer = retrain(fuse(model), epochs, lr, seed)
    for weight_bits, activation_bits in settings:
        bits = {"weight_bits": weight_bits, "activation_bits": activation_bits}
        rounded, control = prepare_qat(model, images, **bits), prepare_qat(longer, images, **bits)
        row = [evaluate(rounded, *test).accuracy, evaluate(control, *test).accuracy]
        rows.append([*row, evaluate(retrain(rounded, epochs, lr, seed), *test).accuracy])
    return {"accuracies": np.array(rows)}


recipe = {"settings": [list(bits) for bits in SETTINGS.values()], "epochs": EPOCHS, "lr": LR}
runs = cached_runs("10_retrained", [{"seed": seed, **recipe} for seed in SEEDS], retrained_accuracies)
accuracies = np.array([run["accuracies"] for run in runs])  # (seeds, settings, 3)
in_float = tables["digits"][:, 0, 0]
for i, name in enumerate(SETTINGS):
    before, control, after = accuracies[:, i].T
    won = paired_difference(after, control)
    back = (after - before).mean() / (in_float - before).mean()
    print(
        f"{name}: rounded {t_interval(before)}, control {t_interval(control)}, retrained {t_interval(after)}"
    )
    print(f"    control less rounded {paired_difference(control, before)}")
    print(f"    retrained less control {won}; {back:.0%} of what rounding lost is back")
    if name != "Q4":
        claim(f"{name}: retraining wins back more than half of the loss", bool(won.low > 0 and back > 0.5))

# %% [markdown]
# At 4 bits there is little to win. Below, what more training of the floats wins is too little for five
# networks to show; training them *rounded* wins most of it back.
#
# ## Integers from the image to the logits
# So far floats stood for integers. Now the integers themselves: products of 8-bit numbers summed in 32 bits,
#
#     Q_y = clip(round(M sum) + Z_y),   sum = Q_bias + sum of Q_w (Q_x - Z_x),   M = S_x S_w / S_y
#
# with one multiplication by a float, M, for each output. ReLU costs nothing: it is the clip at Z_y = qmin.

# %%
integer = quantize_model(networks[0], train[0][:256])
print(integer.report())
agree = (integer(test[0]).data.argmax(axis=1) == networks[0](test[0]).data.argmax(axis=1)).mean()
print(
    f"test accuracy {evaluate(integer, *test).accuracy:.1%}; the answer is the float network's in {agree:.1%}"
)
count = sum(p.size for p in folded.parameters() if p.ndim > 1)
channels = sum(p.size for p in folded.parameters() if p.ndim == 1)  # each has a bias and a scale
stored = model_bytes(integer)
formula = packed_bytes(count, 8, channels)
print(f"stored: {stored:,} bytes instead of {model_bytes(folded):,}; by the formula {formula:,}")
assert stored <= formula + 1024

# %% [markdown]
# A processor without floats holds M as an integer m and a shift, M ≈ m 2^(shift - 31). Its library, gemmlowp,
# rounds twice: a half goes up first, and away from zero then. ONNX rounds the float once, half to even. The
# two seldom differ, and by one step at most.

# %%
M, grid = 1 / 300, symmetric_params(127.0)  # S = 1
sums = np.arange(-30_000, 30_001)
m, shift = fixed_point_multiplier(M)
fixed, real = fixed_point_multiply(sums, m, shift), requantize(sums, M, grid)
print(f"M = {M:.5f}: m = {m}, shift = {shift}; {(fixed != real).mean():.2%} of {len(sums):,} outputs differ")
odd, half = [-3, -1, 1, 3], fixed_point_multiplier(0.5)
print(f"{odd} / 2: gemmlowp {fixed_point_multiply(odd, *half)}, ONNX {requantize(odd, 0.5, grid)}")
assert np.abs(fixed - real).max() <= 1

# %% [markdown]
# The network retrained above becomes integers too. Does it compute what it was trained to? Layer by layer, on
# equal integers at the input: the two may differ by a step where float32 rounds a sum to the other side.

# %%
two_bits_integer = convert(two_bits)
for name, rounded, made in (
    ("8 bits", prepare_qat(networks[0], train[0][:256]), integer),
    ("2 bits, retrained", two_bits, two_bits_integer),
):
    rows = compare_layers(rounded, made, test[0])
    outputs, differ = sum(row.outputs for row in rows), sum(row.differ for row in rows)
    print(f"{name:18} {differ} of {outputs:,} integers differ, by {max(row.largest for row in rows)} at most")
    assert max(row.largest for row in rows) <= 1
print(f"2 bits, retrained: test accuracy as integers {evaluate(two_bits_integer, *test).accuracy:.1%}")

# %% [markdown]
# And in time, against the float network with BatchNorm and ReLU fused, 256 images at once. An integer is a
# quarter of a float, but processors have been made to multiply floats.

# %%
images = test[0][:256]
fused_network = fuse(networks[0])
times = {"float": [], "integer": []}
with no_grad():
    for _ in range(30):  # they take turns, so that whatever else the machine does falls on both
        for name, model in (("float", fused_network), ("integer", integer)):
            begin = time.perf_counter()
            model(images)
            times[name].append(1000 * (time.perf_counter() - begin))
in_floats, in_integers = (np.median(milliseconds) for milliseconds in times.values())
print(f"float {in_floats:.2f} ms, integer {in_integers:.2f} ms: ratio {in_integers / in_floats:.2f}")

# %% [markdown]
# ## The same formula for large models
# bits / 8 bytes a weight, and 8 a channel. Of a language model of 7 or 70 billion weights each channel is
# taken to read 4096 (8192) of them, so scales hardly count. Packed: two 4-bit weights in a byte. (The integer
# model above stores a byte for each weight, whatever its bits.)

# %%
SIZES = {"this network": (count, channels), "7 billion": (7 * 10**9, 7 * 10**9 // 4096)}
SIZES["70 billion"] = 70 * 10**9, 70 * 10**9 // 8192
print("      " + "".join(f"{name:>16}" for name in SIZES))
for bits in (32, *BITS):
    sizes = [packed_bytes(n, bits, rows) for n, rows in SIZES.values()]
    print(f"Q{bits:<5}" + f"{sizes[0]:>13,} B" + "".join(f"{size / 1e9:>13.1f} GB" for size in sizes[1:]))
assert packed_bytes(7 * 10**9, 4) == 3.5e9, "7 billion weights at 4 bits: 3.5 GB, which a telephone holds"
