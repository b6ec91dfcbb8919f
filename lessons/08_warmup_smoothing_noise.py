"""08 Warmup, smoothing, noise: three small changes of the training loop, and what each is good for.

Question: what do a slow start, softer labels and noisy images change, and what do they not?
Measured: on digits, training after badly mixed batches, calibration, accuracy under noise; 6 to 8 seeds.
Exercises: 08.1 warmed_up, 08.2 smooth_labels, 08.3 cross_entropy_gradient.
"""

# %% [markdown]
# ## The learning rate as a function of the step
# Every schedule here is a plain function of the step, counted from 0. Warmup goes before any of them:
#
#     lr(t) = base · (t + 1) / W  for t < W,   then  schedule(t - W),   with base = schedule(0)

# %%
import numpy as np

import minidl.nn as nn
import minidl.nn.functional as F
from minidl import Tensor, grad
from minidl.classroom.claims import claim
from minidl.data import batches, cached_runs, gaussian_noise, load_digits, salt_and_pepper
from minidl.engine.loss import cross_entropy_gradient, one_hot, smooth_labels
from minidl.engine.reduce import stable_softmax
from minidl.figures import (
    confidence_histogram,
    curves_with_bands,
    image_grid,
    reliability_diagram,
    save,
)
from minidl.nn.models import mlp
from minidl.train import Adam, accuracy, expected_calibration_error, fit, predict, reliability
from minidl.train.intervals import paired_difference, t_interval
from minidl.train.metrics import entropy
from minidl.train.schedules import constant, cosine, exponential, step_decay, with_warmup

steps = np.arange(301)
schedules = {
    "constant": constant(0.03),
    "step_decay": step_decay(0.03, factor=0.5, every=75),
    "exponential": exponential(0.03, 0.001, steps=300),
    "cosine": cosine(0.03, 0.0, steps=300),
    "60 of warmup, cosine": with_warmup(cosine(0.03, 0.0, steps=240), 60),
}
rates = {name: [schedule(int(step)) for step in steps] for name, schedule in schedules.items()}
save(
    curves_with_bands(steps, rates, ylabel="learning rate"),
    "08_warmup_smoothing_noise/schedules",
)

warm = schedules["60 of warmup, cosine"]
print("steps 0, 1, 58, 59, 60, 61:", [round(warm(t), 5) for t in (0, 1, 58, 59, 60, 61)])
assert warm(0) == 0.03 / 60 and warm(59) == warm(60) == 0.03, "it meets the schedule without a jump"

# %% [markdown]
# ## Badly mixed batches
# Data often comes sorted, and a shuffle buffer that is too small leaves the first batches with one class
# each. Here the first 40 batches hold one digit each, the next 230 are mixed well. Each of the first 40 says:
# always answer this one. A large step believes it. After the warmup the learning rate is constant, so the
# runs differ at the beginning only.


# %%
def train_after_bad_batches(seed, lr, warmup_steps, bad_batches):
    rng = np.random.default_rng(seed)
    (images, labels), (test_images, test_labels) = load_digits()
    model = nn.Sequential(
        {
            "conv1": nn.Conv2d(1, 16, 3, padding=1, rng=rng),
            "relu1": nn.ReLU(),
            "pool1": nn.MaxPool2d(2),
            "conv2": nn.Conv2d(16, 32, 3, padding=1, rng=rng),
            "relu2": nn.ReLU(),
            "pool2": nn.MaxPool2d(2),
            "flatten": nn.Flatten(),
            "head": nn.Linear(32 * 2 * 2, 10, rng=rng),
        }
    )
    optimizer = Adam(model.parameters(), lr)
    schedule = with_warmup(constant(lr), warmup_steps)

    of_class = [np.flatnonzero(labels == digit) for digit in range(10)]
    early = [rng.choice(of_class[i % 10], 64) for i in range(bad_batches)]
    pairs = [(images[rows], labels[rows]) for rows in early]
    for _epoch in range(10):
        pairs += batches(images, labels, 64, rng=rng)

    losses = []
    for step, (x, y) in enumerate(pairs):
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.lr = schedule(step)
        optimizer.step()
        losses.append(loss.item())
    active = predict(model[:5], test_images) > 0  # conv1 ... relu2: (N, 32, 4, 4)
    dead = np.mean(~active.any(axis=(0, 2, 3)))
    right = accuracy(predict(model, test_images), test_labels)
    return {"losses": np.array(losses), "accuracy": np.array(right), "dead": np.array(dead)}


def after_bad_batches(lr, warmup_steps, bad_batches):
    recipe = {"lr": lr, "warmup_steps": warmup_steps, "bad_batches": bad_batches}
    recipes = [{"seed": seed, **recipe} for seed in range(8)]
    return cached_runs("08_bad_batches", recipes, train_after_bad_batches)


def values(runs, name):
    return np.array([run[name] for run in runs])


settings = {
    "sorted, no warmup": after_bad_batches(0.03, 0, 40),
    "sorted, 100 steps of warmup": after_bad_batches(0.03, 100, 40),
    "mixed, no warmup": after_bad_batches(0.03, 0, 0),
    "mixed, 100 steps of warmup": after_bad_batches(0.03, 100, 0),
}
for name, runs in settings.items():
    print(
        f"{name:28} accuracy {t_interval(values(runs, 'accuracy'))}"
        f"   dead filters {values(runs, 'dead').mean():.0%}"
    )


# %%
def smoothed(losses, width=10):
    """The mean of the last ``width`` losses, or of all where there are fewer."""
    sums = np.cumsum(np.pad(losses, ((0, 0), (width, 0))), axis=1)
    counts = np.minimum(np.arange(1, losses.shape[1] + 1), width)
    return (sums[:, width:] - sums[:, :-width]) / counts


sorted_runs = {name: values(runs, "losses") for name, runs in settings.items() if name.startswith("sorted")}
steps = np.arange(40 + 230)
curves = {name: smoothed(losses) for name, losses in sorted_runs.items()}
title = "one class a batch until step 40"
save(
    curves_with_bands(steps, curves, ylabel="training loss, mean of 10 steps", title=title),
    "08_warmup_smoothing_noise/bad_batches",
)

# %% [markdown]
# In most runs without warmup the loss stays at log 10 = 2.3, that of a guess: the first steps drove the
# filters so far that ReLU lets nothing through on any image ("dead" above). Where nothing passes no gradient
# comes back, and good batches cannot repair it. Warmup keeps the steps small until the bad ones are over.

# %%
bad, rescued, plain, warmed = (values(runs, "accuracy") for runs in settings.values())
gain = paired_difference(rescued, bad)
claim("warmup rescues training from badly mixed first batches", gain.low > 0.2, {"gain": gain})
claim("with warmup no run failed", rescued.min() > 0.9, {"lowest accuracy": rescued.min()})
print(
    f"on well mixed batches, at this high rate, warmup changes accuracy by {paired_difference(warmed, plain)}"
)

# %% [markdown]
# ## Is it the warmup, or just the smaller steps?
# A learning rate that is low throughout also survives the bad batches. What warmup gives is a wider choice:
# the accuracy is good up to rates at which the plain start fails.

# %%
rates = [0.001, 0.003, 0.01, 0.03]
sweep = {
    f"{warmup_steps} steps of warmup": np.transpose(
        [values(after_bad_batches(lr, warmup_steps, 40), "accuracy") for lr in rates]
    )
    for warmup_steps in (0, 100)
}
save(
    curves_with_bands(rates, sweep, xlabel="learning rate", ylabel="test accuracy", log_x=True),
    "08_warmup_smoothing_noise/rates",
)
for name, runs in sweep.items():
    print(f"{name:20}", "  ".join(f"{lr:g}: {row.mean():.3f}" for lr, row in zip(rates, runs.T, strict=True)))
without, with_ = sweep.values()
claim(
    "at the low rate 0.003 nothing needs rescue",
    without[:, 1].min() > 0.9,
    {"lowest accuracy without warmup": without[:, 1].min()},
)

# %% [markdown]
# ## Label smoothing: a target that can be reached
# A label says: probability 1. Softmax reaches 1 only with infinite logits, so they grow for ever. Smoothing
# takes a share eps from the label and spreads it over all K classes:
#
#     t = (1 - eps) · onehot + eps / K        dL/dz = p - t        so at the minimum p = t, at finite logits

# %%
eps, K = 0.1, 10
label = np.array([3])
target = smooth_labels(one_hot(label, K, np.float64), eps)
print("target", target[0])
gap = np.log((1 - eps + eps / K) / (eps / K))
print(f"at the minimum the label's logit is {gap:.2f} above the others; the loss is {entropy(target)[0]:.3f}")

z = Tensor(np.random.default_rng(0).normal(size=(1, K)), requires_grad=True)
loss = F.cross_entropy(z, label, label_smoothing=eps)
p = stable_softmax(z.data)
assert np.allclose(grad(loss, z), p - target, atol=1e-6), "the gradient is prediction minus target"
assert np.allclose(cross_entropy_gradient(target, target), 0), "where they are equal nothing moves"

uniform = np.full((1, K), 1 / K)
hard, spread_out = F.cross_entropy(z, label).item(), F.cross_entropy(z, uniform).item()
print(f"smoothed loss {loss.item():.4f} = 0.9 · {hard:.4f} + 0.1 · {spread_out:.4f}")
assert np.isclose(loss.item(), (1 - eps) * hard + eps * spread_out)

# %% [markdown]
# ## What smoothing does, in three situations
# 128 hidden units learn from 100 or 800 clean images, or from 400 under so much noise that the network learns
# them by heart: sure of itself, and often wrong. ECE is the mean distance between confidence and accuracy
# (lesson 09).


# %%
def train_smoothed(seed, labelled, noise, epochs, label_smoothing):
    rng = np.random.default_rng(seed)
    (images, labels), (test_images, test_labels) = load_digits()
    add_noise = gaussian_noise(noise)  # once, before training: the noise is part of the data
    images, test_images = add_noise(images, rng), add_noise(test_images, rng)
    train = rng.permutation(len(images))[:labelled]
    model = mlp(64, 128, 10, rng=rng)
    fit(
        model,
        (images[train], labels[train]),
        epochs=epochs,
        optimizer=Adam(model.parameters(), lr=3e-3),
        schedule=cosine(3e-3, 0.0, epochs * -(-labelled // 64)),
        loss=lambda logits, labels: F.cross_entropy(logits, labels, label_smoothing=label_smoothing),
        rng=rng,
        progress=False,
    )
    return {
        "logits": predict(model, test_images),
        "labels": test_labels,
        "train_accuracy": np.array(accuracy(predict(model, images[train]), labels[train])),
    }


def with_smoothing(labelled, noise, epochs, label_smoothing):
    recipe = {"labelled": labelled, "noise": noise, "epochs": epochs, "label_smoothing": label_smoothing}
    return cached_runs("08_smoothing", [{"seed": seed, **recipe} for seed in range(8)], train_smoothed)


def measures(runs):
    """name -> (seeds,)"""
    p = [stable_softmax(run["logits"].astype(np.float64)) for run in runs]
    right = np.array([accuracy(run["logits"], run["labels"]) for run in runs])
    return {
        "accuracy": right,
        "train - test": np.array([run["train_accuracy"] for run in runs]) - right,
        "confidence": np.array([rows.max(axis=1).mean() for rows in p]),
        "ECE": np.array(
            [expected_calibration_error(rows, run["labels"]) for rows, run in zip(p, runs, strict=True)]
        ),
    }


situations = {"100 clean": (100, 0.0, 150), "800 clean": (800, 0.0, 60), "400 noisy": (400, 0.5, 150)}
hard_runs = {name: with_smoothing(*setting, 0.0) for name, setting in situations.items()}
soft_runs = {name: with_smoothing(*setting, 0.1) for name, setting in situations.items()}
change = {}
for name in situations:
    hard, soft = measures(hard_runs[name]), measures(soft_runs[name])
    for measure in hard:
        change[name, measure] = paired_difference(soft[measure], hard[measure])
        means = f"eps 0: {hard[measure].mean():.3f}   eps 0.1: {soft[measure].mean():.3f}"
        print(f"{name}   {measure:12}   {means}   change {change[name, measure]}")

# %%
histograms, tables = {}, {}
for situation in ("400 noisy", "800 clean"):
    for name, runs in (("eps = 0", hard_runs), ("eps = 0.1", soft_runs)):
        run = runs[situation][0]
        p = stable_softmax(run["logits"].astype(np.float64))
        tables[f"{situation}, {name}"] = reliability(p, run["labels"], bins=10)
        histograms[name] = p.max(axis=1)
title = "800 clean images: how sure the answers are"
save(confidence_histogram(histograms, title=title), "08_warmup_smoothing_noise/confidence")
save(reliability_diagram(tables), "08_warmup_smoothing_noise/reliability")

# %% [markdown]
# Confidence falls, always. Whether that is good depends on what it was: a network that was surer than right
# is better calibrated, one that was fine becomes too modest. The gap between training and test accuracy,
# which smoothing is often said to close, moves a little in either direction.

# %%
claim(
    "smoothing lowers confidence in all three situations",
    all(change[name, "confidence"].high < -0.05 for name in situations),
    {name: change[name, "confidence"] for name in situations},
)
claim(
    "it lowers the ECE of the overconfident networks",
    change["400 noisy", "ECE"].high < -0.05,
    {"change": change["400 noisy", "ECE"]},
)
claim(
    "and raises it where the images are clean",
    all(change[name, "ECE"].low > 0.05 for name in ("100 clean", "800 clean")),
    {name: change[name, "ECE"] for name in ("100 clean", "800 clean")},
)
claim(
    "it does not close the gap between training and test everywhere",
    max(change[name, "train - test"].high for name in situations) > 0,
    {name: change[name, "train - test"] for name in situations},
)

# %% [markdown]
# ## Noise
# Gaussian noise adds σ·n to each pixel; salt and pepper turns a share of the pixels white or black. (Clipped
# to [0, 1] here to be shown. Training does not clip: black could only become brighter, which moves the mean.)

# %%
(images, labels), (test_images, test_labels) = load_digits()
rng = np.random.default_rng(0)
digit = test_images[[0]]
noises = {f"σ = {sigma:g}": gaussian_noise(sigma, clip=True) for sigma in (0.0, 0.2, 0.4, 0.8)}
noises |= {f"salt and\npepper {p:g}": salt_and_pepper(p) for p in (0.1, 0.3)}
examples = np.concatenate([noise(digit, rng) for noise in noises.values()])
save(image_grid(examples, list(noises), columns=6), "08_warmup_smoothing_noise/noise")

# %% [markdown]
# ## What noise does to a linear model
# For a linear model and the squared error the mean effect is known: noise on the inputs adds σ²‖w‖², so it
# punishes large weights, as weight decay does (Bishop 1995).
#
#     E[(w·(x + σn) - y)²] = (w·x - y)² + σ² ‖w‖²

# %%
w, x, y, sigma = rng.normal(size=64), digit.ravel().astype(np.float64), 1.0, 0.2
noisy = x + sigma * rng.standard_normal((200_000, 64))
errors = (noisy @ w - y) ** 2
expected = (x @ w - y) ** 2 + sigma**2 * (w @ w)
standard_error = errors.std() / np.sqrt(len(errors))
print(f"mean of 200,000 draws {errors.mean():.4f} ± {standard_error:.4f}, by the formula {expected:.4f}")
assert abs(errors.mean() - expected) < 5 * standard_error

# %% [markdown]
# ## Training with noise
# The same small network, with fresh noise of σ = 0.2 on every batch or without; tested on images under noise
# from 0 to 0.8.


# %%
def train_with_noise(seed, sigma, epochs, test_sigmas):
    rng = np.random.default_rng(seed)
    train, (test_images, test_labels) = load_digits()
    model = nn.Sequential(
        {
            "conv1": nn.Conv2d(1, 16, 3, padding=1, rng=rng),
            "relu1": nn.ReLU(),
            "pool1": nn.MaxPool2d(2),
            "conv2": nn.Conv2d(16, 32, 3, padding=1, rng=rng),
            "relu2": nn.ReLU(),
            "pool2": nn.MaxPool2d(2),
            "flatten": nn.Flatten(),
            "head": nn.Linear(32 * 2 * 2, 10, rng=rng),
        }
    )
    fit(
        model,
        train,
        epochs=epochs,
        optimizer=Adam(model.parameters(), lr=3e-3),
        schedule=cosine(3e-3, 0.0, epochs * -(-len(train[0]) // 64)),
        augment=gaussian_noise(sigma),
        rng=rng,
        progress=False,
    )
    test_rng = np.random.default_rng(1000 + seed)  # both trainings meet the same noise
    noisy = [gaussian_noise(test_sigma)(test_images, test_rng) for test_sigma in test_sigmas]
    return {"accuracy": np.array([accuracy(predict(model, x), test_labels) for x in noisy])}


test_sigmas = [0.0, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8]
by_training = {}
for name, sigma in {"trained on clean images": 0.0, "trained with σ = 0.2": 0.2}.items():
    recipes = [{"seed": seed, "sigma": sigma, "epochs": 40, "test_sigmas": test_sigmas} for seed in range(6)]
    by_training[name] = values(cached_runs("08_noise", recipes, train_with_noise), "accuracy")  # (6, 7)
save(
    curves_with_bands(test_sigmas, by_training, xlabel="σ of the test images", ylabel="test accuracy"),
    "08_warmup_smoothing_noise/accuracy_under_noise",
)
clean, noisy = by_training.values()
gains = [paired_difference(noisy[:, i], clean[:, i]) for i in range(len(test_sigmas))]
means = zip(test_sigmas, clean.mean(axis=0), noisy.mean(axis=0), gains, strict=True)
for sigma, before, after, gain in means:
    print(f"test noise {sigma:.1f}: {before:.3f} -> {after:.3f}   gain {gain}")

at = test_sigmas.index(0.4)
claim("noise in training raises accuracy under noise of 0.4", gains[at].low > 0.02, {"gain": gains[at]})
claim(
    "on clean images it costs less than two points",
    gains[0].low > -0.02,
    {"change": gains[0]},
)

# %% [markdown]
# ## Step into it
# Break on `return (p * total - target)` in `minidl/engine/loss.py` and call `backward` on a smoothed loss:
# `target` is what the network is asked for, `p` what it answers, and their difference is all that it hears.
