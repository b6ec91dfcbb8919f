"""09 Temperature: how sure a network is, and how sure it ought to be.

Question: what does dividing the logits by T do to a distribution, to trust in it, and to training?
Measured: entropy over T; calibration before and after fitting T, 8 seeds; T annealed in training, 8 seeds.
Exercises: 09.1 stable_softmax, 09.2 entropy, 09.3 expected_calibration_error, 09.4 fit_temperature.
"""

# %% [markdown]
# ## Softmax with a temperature
# A network ends in logits z, one number for each class. Softmax turns them into probabilities; a temperature
# T first divides them all:
#
#     p_c = e^(z_c / T) / sum over k of e^(z_k / T)

# %%
import warnings

import numpy as np

import minidl.nn.functional as F
from minidl.classroom.claims import claim
from minidl.data import batches, cached_runs, gaussian_noise, load_digits
from minidl.engine.reduce import stable_softmax
from minidl.figures import (
    confidence_histogram,
    curves_with_bands,
    distributions,
    image_grid,
    reliability_diagram,
    save,
)
from minidl.nn.models import mlp
from minidl.train import (
    Adam,
    accuracy,
    expected_calibration_error,
    fit_temperature,
    predict,
    reliability,
)
from minidl.train.intervals import paired_difference, t_interval
from minidl.train.metrics import entropy, mean_loss
from minidl.train.schedules import cosine, exponential, linear

z = np.array([[4.0, 2.0, 1.0, -1.0]])
names = ["cat", "dog", "fox", "bus"]
temperatures = [0.25, 1.0, 3.0, 20.0]
p = np.concatenate([stable_softmax(z, temperature=T) for T in temperatures])  # (4 temperatures, 4 classes)
for T, row in zip(temperatures, p, strict=True):
    print(f"T = {T:5.2f}   p = {np.round(row, 3)}")
save(distributions(p, names, [f"T = {T:g}" for T in temperatures]), "09_temperature/distributions")

assert np.allclose(p.sum(axis=1), 1)
assert (p.argmax(axis=1) == z.argmax()).all(), "no temperature changes which class wins"

# %% [markdown]
# ## It is the logits that are divided
# Only z/T counts: logits and temperature scaled together give the same p. That is also why T belongs inside
# the exponent: probabilities divided by T would not even sum to 1.

# %%
assert np.allclose(stable_softmax(8 * z, temperature=8 * 3.0), stable_softmax(z, temperature=3.0))
inside, outside = stable_softmax(z, temperature=3.0), stable_softmax(z) / 3.0
print(f"e^(z/T): sum {inside.sum():.3f}     p/T: sum {outside.sum():.3f}")

# %% [markdown]
# ## Large logits and small temperatures
# e^(z/T) overflows at once: 4/0.001 = 4000. But softmax does not change when all logits move together, so the
# maximum is subtracted first; then no exponent is above 0. First the maximum, then the division.

# %%
shifted = z - z.max(axis=1, keepdims=True)
with np.errstate(over="ignore", invalid="ignore"):
    naive = np.exp(z / 0.001) / np.exp(z / 0.001).sum()
stable = np.exp(shifted / 0.001) / np.exp(shifted / 0.001).sum()
print("as the formula stands:", naive[0], "    with the maximum subtracted:", stable[0])
assert np.isnan(naive).any() and np.array_equal(stable, stable_softmax(z, temperature=0.001))

# %% [markdown]
# ## The two ends
# T towards 0 leaves the winner, or shares it among winners that tie. T towards infinity makes all classes
# equal.

# %%
tied = np.array([[3.0, 3.0, 1.0, -1.0]])
print("T = 0.001 ", stable_softmax(tied, temperature=0.001)[0])
print("T = 10^6  ", stable_softmax(tied, temperature=1e6)[0].round(6))
assert np.array_equal(stable_softmax(tied, temperature=0.001), [[0.5, 0.5, 0, 0]])
assert np.allclose(stable_softmax(tied, temperature=1e6), 0.25, atol=1e-5)

# %% [markdown]
# ## Entropy: how undecided a distribution is
# H = -sum p log p is 0 for a certain answer and log K where all K classes are equal. It never falls as T
# rises, and its slope has a name:
#
#     dH/dT = Var_p(z) / T³,    the variance of the logits when classes are drawn with probability p

# %%
grid = np.geomspace(0.1, 100, 61)
by_T = np.concatenate([stable_softmax(z, temperature=T) for T in grid])  # (61, 4)
H = entropy(by_T)
save(
    curves_with_bands(
        grid,
        {"entropy": H, "log 4": np.full(len(grid), np.log(4))},
        xlabel="temperature T",
        ylabel="entropy in nats",
        log_x=True,
    ),
    "09_temperature/entropy",
)
assert (np.diff(H) >= -1e-12).all() and H.max() <= np.log(4) + 1e-12

T, h = 2.0, 1e-5
p = stable_softmax(z, temperature=T)
variance = (p * z**2).sum() - (p * z).sum() ** 2
up, down = (entropy(stable_softmax(z, temperature=T + step)).item() for step in (h, -h))
print(f"at T = 2: Var(z)/T³ = {variance / T**3:.8f}     by differences {(up - down) / (2 * h):.8f}")
assert np.isclose(variance / T**3, (up - down) / (2 * h), rtol=1e-5)

# %% [markdown]
# ## Two sorts of networks
# 128 hidden units learn digits, in two situations: from 800 clean images, and from 400 under so much noise
# that all of them can be learned by heart while a test image is often unreadable. 600 further images are held
# out. The loop takes a temperature for each step; it is 1 until the last section.


# %%
def train_network(seed, labelled, noise, epochs, first_temperature):
    rng = np.random.default_rng(seed)
    (images, labels), (test_images, test_labels) = load_digits()
    add_noise = gaussian_noise(noise)  # once, before training: the noise is part of the data
    images, test_images = add_noise(images, rng), add_noise(test_images, rng)
    order = rng.permutation(len(images))
    train, heldout = order[:labelled], order[-600:]

    model = mlp(64, 128, 10, rng=rng)
    optimizer = Adam(model.parameters(), lr=3e-3)
    steps = epochs * -(-labelled // 64)
    learning_rate = cosine(3e-3, 0.0, steps)
    temperature = linear(first_temperature, 1.0, steps)
    step = 0
    for _epoch in range(epochs):
        for x, y in batches(images[train], labels[train], 64, rng=rng):
            loss = F.cross_entropy(model(x), y, temperature=temperature(step))
            optimizer.zero_grad()
            loss.backward()
            optimizer.lr = learning_rate(step)
            optimizer.step()
            step += 1
    parts = {"train": (images[train], labels[train]), "heldout": (images[heldout], labels[heldout])}
    parts["test"] = (test_images, test_labels)
    return {name: predict(model, x) for name, (x, _) in parts.items()} | {
        f"{name}_labels": y for name, (_, y) in parts.items()
    }


def runs(labelled, noise, epochs, first_temperature=1.0):
    recipe = {"labelled": labelled, "noise": noise, "epochs": epochs, "first_temperature": first_temperature}
    return cached_runs("09_temperature", [{"seed": seed, **recipe} for seed in range(8)], train_network)


def probabilities(logits, T=1.0):
    return stable_softmax(logits.astype(np.float64), temperature=T)


def confidence(run, T=1.0):
    return probabilities(run["test"], T).max(axis=1).mean()


def error(run, T=1.0):
    return expected_calibration_error(probabilities(run["test"], T), run["test_labels"])


clean, noisy = runs(800, 0.0, 150), runs(400, 0.5, 150)
for title, group in (("clean, 800", clean), ("noisy, 400", noisy)):
    print(
        f"{title}:  train accuracy {np.mean([accuracy(r['train'], r['train_labels']) for r in group]):.3f}"
        f"   test accuracy {t_interval([accuracy(r['test'], r['test_labels']) for r in group])}"
        f"   mean confidence {t_interval([confidence(r) for r in group])}"
    )

# %% [markdown]
# ## What T shows of a real answer
# The least certain of the right answers of the first clean network. At T = 1 the winner hides the rest; a
# higher T shows what else the network sees in the image. (Lesson 05 teaches a student with exactly that.)

# %%
_, (test_images, _) = load_digits()
run = clean[0]
at_1 = probabilities(run["test"])
right = at_1.argmax(axis=1) == run["test_labels"]
shown = int(np.argmin(np.where(right, at_1.max(axis=1), 1)))
rows = np.concatenate([probabilities(run["test"][[shown]], T) for T in (0.3, 1, 3, 10)])
titles = [f"T = {T:g}, H = {h:.2f}" for T, h in zip((0.3, 1, 3, 10), entropy(rows), strict=True)]
save(distributions(rows, range(10), titles), "09_temperature/one_digit")
save(image_grid(test_images[[shown]], [f"a {run['test_labels'][shown]}"]), "09_temperature/the_digit")

# %% [markdown]
# ## Is it as often right as it is sure?
# Of all answers given with 80% confidence, 80% should be right. The reliability diagram sorts answers into
# bins by confidence and shows the accuracy in each; the expected calibration error is the mean distance:
#
#     ECE = sum over bins of n_b / N · |accuracy_b - confidence_b|
#
# One number T can mend much of it: the T that makes the held-out images' loss smallest.

# %%
run = noisy[0]
T = fit_temperature(run["heldout"], run["heldout_labels"])
before, after = probabilities(run["test"]), probabilities(run["test"], T)
tables = {
    f"T = 1: ECE {error(run):.3f}": reliability(before, run["test_labels"]),
    f"T = {T:.2f}: ECE {error(run, T):.3f}": reliability(after, run["test_labels"]),
}
save(reliability_diagram(tables), "09_temperature/reliability")
histograms = {"T = 1": before.max(axis=1), f"T = {T:.2f}": after.max(axis=1)}
save(confidence_histogram(histograms), "09_temperature/confidence")

assert accuracy(after, run["test_labels"]) == accuracy(before, run["test_labels"])

# %% [markdown]
# The loss over T: one valley, for it is convex in 1/T. On the *training* images there is no valley. All of
# them are right, so the surer the better: T runs to its bound, and makes an overconfident network worse. Fit
# T on images that were held out.

# %%
grid = np.geomspace(0.2, 20, 61)
curves = {}
for title, part in (("held-out images", "heldout"), ("training images", "train")):
    logits, labels = run[part].astype(np.float64), run[f"{part}_labels"]
    curves[title] = [mean_loss(logits, labels, T) for T in grid]
save(
    curves_with_bands(grid, curves, xlabel="temperature T", ylabel="loss", log_x=True),
    "09_temperature/loss_over_T",
)

fitted = [fit_temperature(run["heldout"], run["heldout_labels"]) for run in noisy]
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    fitted_on_train = [fit_temperature(run["train"], run["train_labels"]) for run in noisy]
print(
    f"T fitted on held-out images {t_interval(fitted)}, on training images {max(fitted_on_train):g} at most"
)
print(f"fit_temperature says: {said[0].message}" if said else "")

ece = np.array([error(run) for run in noisy])
ece_fitted = np.array([error(run, T) for run, T in zip(noisy, fitted, strict=True)])
ece_train = np.array([error(run, T) for run, T in zip(noisy, fitted_on_train, strict=True)])
gain, harm = paired_difference(ece, ece_fitted), paired_difference(ece_train, ece)
print(f"ECE of the overconfident networks: {t_interval(ece)}, with T fitted {t_interval(ece_fitted)}")
claim("a fitted T lowers the ECE of overconfident networks", gain.low > 0.05, {"by": gain})
claim("T fitted on the training images raises it", harm.low > 0.03, {"by": harm})

# %% [markdown]
# ## Where there is little to win
# The networks from clean images are nearly calibrated as they are. With 360 test images in 15 bins, chance
# alone puts accuracy and confidence about 0.02 apart, so ECE cannot get much lower.

# %%
fitted = [fit_temperature(run["heldout"], run["heldout_labels"]) for run in clean]
ece = np.array([error(run) for run in clean])
ece_fitted = np.array([error(run, T) for run, T in zip(clean, fitted, strict=True)])
gain = paired_difference(ece, ece_fitted)
print(f"T = {t_interval(fitted)}: ECE {t_interval(ece)}, with T fitted {t_interval(ece_fitted)}")
claim(
    "on calibrated networks a fitted T changes ECE by less than 0.02",
    max(abs(gain.low), abs(gain.high)) < 0.02,
    {"gain": gain},
)

# %% [markdown]
# ## Annealing T during training
# From hot to cold: at first every class gets some of the gradient, at the end only the answer counts. T is a
# schedule like a learning rate. Two hundred clean images, T from 4 to 1 against T = 1 throughout, everything
# compared at T = 1, since the loss's scale changes with T.

# %%
epochs = 60
steps = epochs * -(-200 // 64)
t = np.arange(steps + 1)
shapes = {
    name: [schedule(step) for step in t]
    for name, schedule in {
        "linear, as here": linear(4.0, 1.0, steps),
        "cosine": cosine(4.0, 1.0, steps),
        "exponential": exponential(4.0, 1.0, steps),
    }.items()
}
save(curves_with_bands(t, shapes, ylabel="temperature T"), "09_temperature/annealing")

fixed, annealed = runs(200, 0.0, epochs), runs(200, 0.0, epochs, first_temperature=4.0)
measures = {
    "accuracy": lambda run: accuracy(run["test"], run["test_labels"]),
    "confidence": confidence,
    "size of logits": lambda run: np.abs(run["test"]).mean(),
    "ECE": error,
}
change = {}
for name, measure in measures.items():
    of_fixed, of_annealed = ([measure(run) for run in group] for group in (fixed, annealed))
    change[name] = paired_difference(of_annealed, of_fixed)
    means = f"T = 1: {np.mean(of_fixed):.3f}   4 -> 1: {np.mean(of_annealed):.3f}"
    print(f"{name:15} {means}   change {change[name]}")

# %% [markdown]
# The network only sees z/T in its loss: at T = 4 it grows logits several times as large to be as sure, and
# when T has come down they are still there. So it ends *surer* than the other. That lowers ECE here, where 60
# epochs at T = 1 leave the network underconfident, and raises it on the noisy images. More often right it is
# not: the gain that one hopes for is not there on these digits.

# %%
claim(
    "a network trained from a high T is surer at T = 1",
    change["confidence"].low > 0.03,
    {"by": change["confidence"]},
)
claim("annealing T brings no accuracy here", change["accuracy"].low <= 0, {"change": change["accuracy"]})

fixed, annealed = runs(400, 0.5, epochs), runs(400, 0.5, epochs, first_temperature=4.0)
harm = paired_difference([error(run) for run in annealed], [error(run) for run in fixed])
claim("where a network is overconfident already, annealing T raises its ECE", harm.low > 0.03, {"by": harm})

# %% [markdown]
# ## Step into it
# Break on `np.exp(exponent)` in `minidl/engine/reduce.py`, run the third cell, and look at `exponent`: its
# largest entry is 0 whatever z and T are.
