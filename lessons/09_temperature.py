# %% [markdown]
# # 09 Temperature
# A network ends in logits. What does it do to the answer, to the trust in it, and to
# training, if we divide all logits by a number T, the temperature?
#
# Exercises: 09.1 stable_softmax, 09.2 entropy, 09.3 expected_calibration_error,
# 09.4 fit_temperature.

# %%
import numpy as np

import minidl.nn.functional as F
from lessons import PICTURES, study
from minidl import data, figures
from minidl.classroom.claims import claim
from minidl.engine.reduce import stable_softmax
from minidl.figures import curves_with_bands, save
from minidl.nn.models import imagenet_names, mlp
from minidl.train import (
    Adam,
    expected_calibration_error,
    fit,
    fit_temperature,
    predict,
    reliability,
)
from minidl.train.calibration import entropy, mean_loss
from minidl.train.schedules import constant, cosine, exponential, linear
from minidl.transfer import photograph_features

# %% [markdown]
# ## One photograph at three temperatures
# The real network, EfficientNet-Lite0, looks at a cat. Its 1,000 logits $z$ become
# probabilities by the softmax. A temperature $T$ divides the logits first:
#
# $$p_i = \frac{e^{z_i / T}}{\sum_j e^{z_j / T}}$$
#
# $T = 1$ is the usual softmax. The figure shows the four likeliest names, and how much
# is left for the 996 others.

# %%
photographs, names = photograph_features(), imagenet_names()
keys = [f"{path.parent.name}/{path.name}" for path in photographs.files]
z = photographs.logits[keys.index("photos/chelsea.webp")].astype(np.float64)  # (1000,)

temperatures = (0.5, 1.0, 2.0)
best = np.argsort(-z)[:4]
answers = []
for T in temperatures:
    p = np.exp(z / T) / np.exp(z / T).sum()
    answers.append([*p[best], 1 - p[best].sum()])
cat, _ = data.load_picture(PICTURES / "photos" / "chelsea.webp")
labels = [*(names[i] for i in best), "996 others"]
figure = figures.answers_by_temperature(cat, np.array(answers), labels, temperatures)
alt = "A cat, and its four likeliest names at three temperatures"
save(figure, "09_temperature/cat", alt=alt)

# %% [markdown]
# The order of the names is the same at every temperature, because all logits are
# divided by the same positive number. At a low temperature the network is more sure. A
# high temperature spreads the probability over all classes: at $T = 2$ four fifths lie
# on the 996 others.
#
# ## Two names compared
# Divide the formula for class $i$ by the formula for class $j$. The sum cancels:
#
# $$\frac{p_i}{p_j} = e^{(z_i - z_j) / T}$$
#
# So only the difference of two logits counts, and $T$ divides this difference. As $T$
# grows, the ratio goes to 1. Three things follow. The same number can be subtracted
# from all logits, and $p$ does not change. Only the ratio $z/T$ matters: a network that
# is trained at a fixed $T = 2$ can learn logits twice as large, and then gives the same
# $p$. And the logits are divided, not the probabilities, which would not sum to 1.

# %%
i, j = best[:2]
for T in temperatures:
    p = stable_softmax(z, temperature=T)
    assert np.isclose(p[i] / p[j], np.exp((z[i] - z[j]) / T))
    print(f"T = {T}: {names[i]} / {names[j]} = {p[i] / p[j]:.2f}")
assert np.allclose(stable_softmax(z - 5, temperature=2.0), p)
assert np.allclose(stable_softmax(2 * z, temperature=2 * 2.0), p)

# %% [markdown]
# ## Small temperatures overflow
# The number $e^{z/T}$ is too large for a computer if $T$ is small. So we subtract the
# largest logit $m$ from all logits first. Then no exponent is above 0:
#
# $$p_i = \frac{e^{(z_i - m) / T}}{\sum_j e^{(z_j - m) / T}}, \qquad m = \max_j z_j$$

# %%
T, m = 0.01, z.max()
with np.errstate(over="ignore", invalid="ignore"):
    naive = np.exp(z / T) / np.exp(z / T).sum()
stable = np.exp((z - m) / T) / np.exp((z - m) / T).sum()
print("as the formula stands:", naive.max(), "   with m subtracted:", stable.max())
assert np.isnan(naive).any() and np.allclose(stable, stable_softmax(z, temperature=T))

# %% [markdown]
# ## Entropy: how undecided an answer is
# The *entropy* of an answer says how far its probability is spread over the classes:
#
# $$H = -\sum_i p_i \log p_i$$
#
# $H$ is 0 for a certain answer and $\log 1000 = 6.9$ if all 1,000 classes are equally
# likely. $H$ rises with $T$. Its slope is the variance of $z$ under $p$ (class $i$
# counts with the weight $p_i$), divided by $T^3$:
#
# $$\frac{dH}{dT} = \frac{\mathrm{Var}_p(z)}{T^3}$$
#
# If all logits are equal, the variance is 0 and $H$ does not change.

# %%
grid = np.geomspace(0.1, 10, 41)
curves = {}
shown = {"zebra": "mammals/zebra", "cat": "photos/chelsea", "ostrich": "birds/ostrich"}
for name, key in shown.items():
    logits = photographs.logits[keys.index(f"{key}.webp")].astype(np.float64)
    curves[name] = [entropy(stable_softmax(logits, temperature=T)) for T in grid]
curves["log 1000, the most"] = np.full(41, np.log(1000))
figure = curves_with_bands(
    grid,
    curves,
    xlabel="temperature T",
    ylabel="entropy H in nats",
    title="The entropy rises with the temperature",
    log_x=True,
)
save(figure, "09_temperature/entropy", alt="Entropy of three photographs over T")

T, h = 1.5, 1e-4
p = stable_softmax(z, temperature=T)
slope = ((p * z**2).sum() - (p * z).sum() ** 2) / T**3
up, down = (entropy(stable_softmax(z, temperature=T + step)) for step in (h, -h))
differences = (up - down) / (2 * h)
print(f"slope at T = {T}: {slope:.3f}, by differences {differences:.3f}")
assert np.isclose(slope, differences, rtol=1e-4)

# %% [markdown]
# Towards $T = 0$ one name remains, and $H$ goes to 0. At $T = 1$ the network is sure of
# the zebra. For the ostrich it spreads the probability over many names. The curve of
# the cat is flat around $T = 0.5$, near $\log 3 = 1.1$, the largest entropy of three
# names: there three names of cats have nearly all of the probability.
#
# ## Does the confidence equal the accuracy?
# The *confidence* of an answer is its largest probability. Of all answers with 80%
# confidence, 80% should be right. Then the network is *calibrated*. We sort the
# answers into bins by confidence and compare the confidence with the accuracy in each
# bin. The expected calibration error is the mean distance (Naeini et al. 2015); $n_b$
# of the $N$ answers fall into bin $b$:
#
# $$\mathrm{ECE} = \sum_b \frac{n_b}{N} |\mathrm{accuracy}_b - \mathrm{confidence}_b|$$
#
# 102 of our photographs show something that has a name among the 1,000. Where several
# names are right, we take the likeliest of them.

# %%
table = data.picture_classes(PICTURES)
rows, right = [], []
for row, key in enumerate(keys):
    known = [names.index(name) for name in table[key]]
    if known:
        rows.append(row)
        right.append(max(known, key=lambda k: photographs.logits[row, k]))
logits, labels = photographs.logits[rows].astype(np.float64), np.array(right)

p = stable_softmax(logits)  # (102, 1000)
confidence, is_right = p.max(axis=1), p.argmax(axis=1) == labels
print(len(labels), "photographs")
claim(
    "the real network is less sure than it could be",
    is_right.mean() - confidence.mean() > 0.08,
    {"accuracy": is_right.mean(), "confidence": confidence.mean()},
)
one_name = np.array([len(table[keys[row]]) == 1 for row in rows])
print(f"{one_name.sum()} photographs with one right name: ", end="")
print(f"accuracy {is_right[one_name].mean():.2f}, ", end="")
print(f"confidence {confidence[one_name].mean():.2f}")

# %% [markdown]
# The network is right more often than its confidence says. Are several right names the
# reason, because they share the probability? No: the photographs with one right name
# show the same. A possible reason is that the network was trained with smoothed labels
# ([lesson 08](08_warmup_smoothing_noise.py)). This was not measured.

# %% [markdown]
# ## One number lowers the calibration error
# Temperature scaling (Guo et al. 2017) looks for the one $T$ that makes the loss
# smallest on photographs that are held out. Here $y_n$ is the right class of photograph
# $n$, and $p_{n, y_n}(T)$ is its probability at the temperature $T$:
#
# $$T^* = \arg\min_T \; -\frac{1}{N} \sum_n \log p_{n, y_n}(T)$$
#
# No answer changes, only the confidence does. We fit $T$ on half of the photographs and
# look at the other half. The dots should lie on the dashed line. The figure and its ECE
# use 5 bins, because 51 photographs are few. Elsewhere on this page ECE has 15 bins.

# %%
order = np.random.default_rng(0).permutation(len(labels))
fitted, others = order[:51], order[51:]
T = fit_temperature(logits[fitted], labels[fitted])
tables = {}
for temperature in (1.0, T):
    p = stable_softmax(logits[others], temperature=temperature)
    ece = expected_calibration_error(p, labels[others], bins=5)
    title = f"T = {temperature:.2f}: ECE {ece:.2f}"
    tables[title] = reliability(p, labels[others], bins=5)
save(
    figures.reliability_diagram(tables, title="The real network, 51 photographs"),
    "09_temperature/reliability",
    alt="Confidence and accuracy before and after the temperature is fitted",
)
for number in ("fitted T", "ECE at T = 1", "ECE at the fitted T"):
    study("09_temperature", f"real: {number}")

# %% [markdown]
# How small can ECE get with only 51 photographs? As an experiment we replace the true
# classes by random classes, drawn from $p$ at the fitted $T$. For these classes the
# network is calibrated by construction. Its ECE is not 0, because 51 draws are few.

# %%
rng, by_chance = np.random.default_rng(0), []
for _draw in range(200):
    drawn = np.array([rng.choice(1000, p=row) for row in p])  # right with probability p
    by_chance.append(expected_calibration_error(p, drawn))
print(f"ECE of a calibrated network, 51 photographs: {np.mean(by_chance):.2f}")

# %% [markdown]
# This network is *under*confident: its fitted $T$ is below 1, in the mean 0.67. The
# study splits the photographs in eight ways: ECE falls from 0.19 to 0.09. What is left
# is no more than chance gives a calibrated network. In the right panel two dots are far
# from the line. But they stand for three and four answers, and their intervals reach
# the line. (The intervals of the study say little about other photographs, since all
# splits are of the same 102.)
#
# ## An overconfident network
# A small network memorises 400 noisy digits. On held-out digits its confidence is 0.84,
# but its accuracy only 0.59.

# %%
(digits, which), (test_digits, test_which) = data.load_digits()
rng = np.random.default_rng(0)
noisy = data.gaussian_noise(0.5)(digits, rng)
order = rng.permutation(len(noisy))
parts = {"training images": order[:400], "held-out images": order[-600:]}

model, epochs = mlp(64, 128, 10, rng=rng), 150
optimizer = Adam(model.parameters(), lr=3e-3)
options = {"epochs": epochs, "optimizer": optimizer, "rng": rng, "progress": False}
options["schedule"] = cosine(3e-3, 0.0, epochs * 7)  # 7 batches of 64 hold 400 images
fit(model, (noisy[order[:400]], which[order[:400]]), **options)

grid = np.geomspace(0.2, 20, 41)
curves = {}
for part, rows in parts.items():
    z = predict(model, noisy[rows]).astype(np.float64)
    curves[part] = [mean_loss(z, which[rows], T) for T in grid]
    p = stable_softmax(z)
    share = np.mean(p.argmax(axis=1) == which[rows])
    print(f"{part}: accuracy {share:.2f}, confidence {p.max(axis=1).mean():.2f}")

# %%
figure = curves_with_bands(
    grid,
    curves,
    xlabel="temperature T",
    ylabel="loss",
    title="The loss has a minimum only on held-out images",
    log_x=True,
)
T = fit_temperature(z, which[order[-600:]])  # z of the held-out images
figure.axes[0].axvline(T, color="black", linestyle=":")
figure.axes[0].text(1.05 * T, 5, f"fitted T = {T:.1f}")
save(figure, "09_temperature/loss_over_T", alt="Only the held-out loss has a minimum")
for where in ("T = 1", "the fitted T", "T fitted on training images"):
    study("09_temperature", f"digits: ECE at {where}")

# %% [markdown]
# A temperature above 1 repairs most of the overconfidence: in the study ECE falls from
# 0.25 to 0.06. But $T$ must be fitted on images that were held out. On the training
# images every answer is right. There the loss only falls as $T$ falls, and it has no
# minimum. A $T$ that is fitted there makes ECE larger, 0.39.

# %% [markdown]
# ## Annealing the temperature during training
# The lecture changes $T$ like a learning rate. Early in training $T$ is high, so that
# the model does not trust its own answers yet. Then $T$ falls slowly to 1. This is
# called *annealing*, as for metal that cools slowly. Here $T$ falls along a line over
# $S$ steps:
#
# $$T_s = T_0 + (1 - T_0) \, \frac{s}{S}$$

# %%
S = 240
s = np.arange(S + 1)
line, curve, power = linear(4.0, 1.0, S), cosine(4.0, 1.0, S), exponential(4.0, 1.0, S)
assert np.isclose(line(60), 4.0 + (1 - 4.0) * 60 / S)
figure = curves_with_bands(
    s,
    {
        "linear": np.array([line(step) for step in s]),
        "cosine": np.array([curve(step) for step in s]),
        "exponential": np.array([power(step) for step in s]),
    },
    ylabel="temperature T",
    title="Three ways from T = 4 down to 1",
)
save(figure, "09_temperature/annealing", alt="The temperature T falls from 4 to 1")

# %% [markdown]
# In the training loop the temperature stands beside the learning rate: both are numbers
# that depend on the step. We train on 200 digits for 60 epochs of 4 steps, with $T$
# from 4 to 1 along the line, and with $T = 1$ throughout. Both networks are tested at
# $T = 1$.


# %%
some = order[:200]


def trained(temperature):
    """The network after S steps; in each step T is ``temperature(step)``."""
    rng = np.random.default_rng(0)
    model, rate, step = mlp(64, 128, 10, rng=rng), cosine(3e-3, 0.0, S), 0
    optimizer = Adam(model.parameters(), lr=3e-3)
    for _epoch in range(60):
        for x, y in data.batches(digits[some], which[some], 64, rng=rng):
            T, optimizer.lr = temperature(step), rate(step)
            loss = F.cross_entropy(model(x), y, temperature=T)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
    return model


for name, temperature in (("T = 1", constant(1.0)), ("T from 4 to 1", line)):
    p = stable_softmax(predict(trained(temperature), test_digits).astype(np.float64))
    accuracy = np.mean(p.argmax(axis=1) == test_which)
    print(f"{name}: accuracy {accuracy:.2f}, confidence {p.max(axis=1).mean():.2f}")

# %% [markdown]
# One run proves little. The study trains eight networks each way. Its *short* training
# is the one above. Its *long* training has 150 epochs at a learning rate of 0.03. (With
# other seeds this rate was the best of 0.001, 0.003, 0.01 and 0.03 for both networks.)

# %%
bars = []
for length in ("short", "long"):
    for way in ("T = 1", "T from 4 to 1"):
        bars += [f"{length}: accuracy, {way}", f"{length}: confidence, {way}"]
found = [study("09_temperature", number) for number in bars]
xlabel = "on test images; mean over 8 seeds, 95% intervals"
title = "Annealing makes the network more sure, not more often right"
figure = figures.bars_with_intervals(bars, found, xlabel=xlabel, title=title, zoom=True)
alt = (
    "Accuracy and confidence after short and long training, with and without annealing"
)
save(figure, "09_temperature/annealed", alt=alt)
for length in ("short", "long"):
    study("09_temperature", f"{length}: change of accuracy")
    change = study(
        "09_temperature", f"{length}: ECE, T from 4 to 1", minus=f"{length}: ECE, T = 1"
    )

# %% [markdown]
# Annealing gives no gain in accuracy. In the short training it costs 0.017 ± 0.009, in
# the long training the difference, −0.001 ± 0.007, is within the noise. (In other tasks
# annealing is common, for example where soft choices shall slowly become hard ones:
# Jang et al. 2017.)
#
# In both trainings the network ends with a *higher* confidence. The likely reason: the
# loss depends only on $z/T$. At $T = 4$ the network needs logits four times as large
# for the same confidence. When $T$ has fallen to 1, the logits are still large. Is that
# good or bad? With $T = 1$ throughout, the confidence of the short training, 0.83, is
# below its accuracy of 0.90. There annealing makes ECE smaller, by 0.034. The long
# training ends too sure: 0.96 against 0.92. There annealing makes ECE larger, by 0.023.
#
# ## What to remember
# A temperature divides the logits before the softmax. It changes how sure an answer is,
# and never which answer wins. A low $T$ gives less entropy, a high $T$ gives more. One
# $T$, fitted on held-out data, brings the confidence of a network much nearer to its
# accuracy: below 1 for this real network, above 1 for a network that memorised its
# images. Annealing $T$ along a line during training gave no gain in accuracy on these
# digits. It made calibration better after the short training and worse after the long
# one.
#
# ## Try it
# - Set `temperatures` to 0.1, 1 and 5. Which name of a cat has the most at 0.1, and
#   how much of it remains at 5? (The Egyptian cat has 98% at 0.1 and 0.6% at 5.)
# - Fit $T$ on 10 photographs instead of 51. How far does it move for other seeds of the
#   permutation? (From 0.05 to 0.86 in eight seeds. 0.05 is the lowest $T$ allowed: all
#   ten answers were right.)
# - Train the digits' network for 15 epochs instead of 150. Is its $T$ still above 1?
#   (No, it is 0.68: a network that has not yet memorised its images is underconfident.)
#
# ## Exercises
# `python -m lessons start 09` begins 09.1 `stable_softmax`, 09.2 `entropy`, 09.3
# `expected_calibration_error` and 09.4 `fit_temperature`.
#
# ## Papers
# - Hinton, Vinyals and Dean 2015, Distilling the knowledge in a neural network.
# - Naeini, Cooper and Hauskrecht 2015, Obtaining well calibrated probabilities using
#   Bayesian binning.
# - Guo et al. 2017, On calibration of modern neural networks.
# - Jang, Gu and Poole 2017, Categorical reparameterization with Gumbel-softmax.
