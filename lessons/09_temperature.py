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
from minidl.classroom.claims import claim
from minidl.data import (
    batches,
    gaussian_noise,
    load_digits,
    load_picture,
    picture_classes,
)
from minidl.engine.reduce import stable_softmax
from minidl.figures import answers_picture, curves_with_bands, reliability_diagram, save
from minidl.nn.models import imagenet_names, mlp
from minidl.train import (
    Adam,
    expected_calibration_error,
    fit_temperature,
    predict,
    reliability,
)
from minidl.train.metrics import entropy, mean_loss
from minidl.train.schedules import cosine, exponential, linear
from minidl.transfer import photograph_features

# %% [markdown]
# ## One photograph at three temperatures
# The real network, EfficientNet-Lite0, looks at a cat. Its 1,000 logits $z$ become
# probabilities by the softmax. A temperature $T$ divides the logits first:
#
# $$p_i = \frac{e^{z_i / T}}{\sum_j e^{z_j / T}}$$
#
# $T = 1$ is the usual softmax. Each picture shows the four likeliest names, and how
# much is left for the other 996.

# %%
photographs, names = photograph_features(), imagenet_names()
keys = [f"{path.parent.name}/{path.name}" for path in photographs.files]
z = photographs.logits[keys.index("photos/chelsea.webp")].astype(np.float64)  # (1000,)

temperatures = (0.5, 1.0, 2.0)
answers = []
for T in temperatures:
    p = np.exp(z / T) / np.exp(z / T).sum()
    best = np.argsort(-p)[:4]
    pairs = [(names[i], float(p[i])) for i in best]
    answers.append([*pairs, ("996 others", float(1 - p[best].sum()))])
cat, _ = load_picture(PICTURES / "photos" / "chelsea.webp")
titles = [f"T = {T:g}" for T in temperatures]
save(
    answers_picture(np.stack([cat] * 3), titles, answers),
    "09_temperature/cat",
    alt="A cat, and its four likeliest names at three temperatures",
)

# %% [markdown]
# The order of the names is the same at every temperature, because all logits are
# divided by the same positive number. At a low temperature the network is more sure. A
# high temperature spreads the probability over all classes: at $T = 2$ four fifths lie
# on the 996 others.
#
# ## It is the logits that are divided
# The probabilities divided by $T$ would not sum to 1. And only the ratio $z/T$ counts:
# logits eight times as large at a temperature eight times as high give the same $p$.

# %%
inside, outside = stable_softmax(z, temperature=2.0), stable_softmax(z) / 2.0
print(
    f"softmax(z / 2) sums to {inside.sum():.2f}, softmax(z) / 2 to {outside.sum():.2f}"
)
assert np.allclose(stable_softmax(8 * z, temperature=8 * 2.0), inside)

# %% [markdown]
# ## Small temperatures overflow
# $e^{z/T}$ is too large for a computer already at moderate $z$ and small $T$. The
# softmax stays the same when the same number is subtracted from all logits. So we
# subtract the largest logit $m$ first. Then no exponent is above 0:
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
# The curve of the cat bends near $\log 3 = 1.1$, the entropy of three equally likely
# names: around $T = 0.5$ three names of cats share the answer. Towards $T = 0$ one name
# remains, and $H$ goes to 0.
#
# ## Is the network as often right as it is sure?
# Of all answers with 80% confidence, 80% should be right. Then the network is
# *calibrated*. The confidence of an answer is its largest probability. We sort the
# answers into bins by confidence and compare the confidence with the accuracy in each
# bin. The expected calibration error is the mean distance (Naeini et al. 2015); $n_b$
# of the $N$ answers fall into bin $b$:
#
# $$\mathrm{ECE} = \sum_b \frac{n_b}{N} |\mathrm{accuracy}_b - \mathrm{confidence}_b|$$
#
# 102 of our photographs show something that has a name among the 1,000. Where several
# names are right, we take the likeliest of them.

# %%
table = picture_classes(PICTURES)
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

# %% [markdown]
# ## One number repairs most of the calibration error
# Temperature scaling (Guo et al. 2017) looks for the one $T$ that makes the loss
# smallest on photographs that are held out. Here $y_n$ is the right class of photograph
# $n$, and $p_{n, y_n}(T)$ is its probability at the temperature $T$:
#
# $$T^* = \arg\min_T \; -\frac{1}{N} \sum_n \log p_{n, y_n}(T)$$
#
# No answer changes, only the confidence does. We fit $T$ on half of the photographs and
# look at the other half. The bars should end on the dashed line. For the eye the figure
# has 5 bins; ECE is computed with 15.

# %%
order = np.random.default_rng(0).permutation(len(labels))
fitted, others = order[:51], order[51:]
T = fit_temperature(logits[fitted], labels[fitted])
tables = {}
for temperature in (1.0, T):
    p = stable_softmax(logits[others], temperature=temperature)
    ece = expected_calibration_error(p, labels[others])
    title = f"T = {temperature:.2f}: ECE {ece:.2f}"
    tables[title] = reliability(p, labels[others], bins=5)
save(
    reliability_diagram(tables, title="The real network, 51 photographs"),
    "09_temperature/reliability",
    alt="Confidence and accuracy before and after the temperature is fitted",
)
before = study("09_temperature", "real: ECE at T = 1")
after = study("09_temperature", "real: ECE at the fitted T")

# %% [markdown]
# How small can ECE get with only 51 photographs? We draw the right class of each
# photograph from $p$ at the fitted $T$. Then the network is calibrated, and the ECE
# that is left is chance.

# %%
rng, by_chance = np.random.default_rng(0), []
for _draw in range(200):
    drawn = np.array([rng.choice(1000, p=row) for row in p])  # right with probability p
    by_chance.append(expected_calibration_error(p, drawn))
print(f"ECE of a calibrated network, 51 photographs: {np.mean(by_chance):.2f}")

# %% [markdown]
# This network is *under*confident, so its $T$ is below 1. The fitted $T$ halves ECE, in
# the mean over eight draws of the halves. What is left, 0.09, is no more than what
# chance gives a calibrated network. (All draws split the same 102 photographs, so their
# intervals say little about other photographs.)
#
# ## An overconfident network
# A small network learns 400 noisy digits by heart. On held-out digits its confidence is
# 0.84, but its accuracy only 0.59. A temperature above 1 repairs most of that, but only
# if it is fitted on images that were held out. On the training images every answer is
# right. There the loss only falls as $T$ falls, and it has no valley.


# %%
def train_digits(labelled, noise, epochs, lr):
    """Logits and labels of the training images and of the held-out images."""
    rng = np.random.default_rng(0)
    (images, labels), _ = load_digits()
    images = gaussian_noise(noise)(images, rng)
    order = rng.permutation(len(images))
    train, held_out = order[:labelled], order[-600:]
    model, steps = mlp(64, 128, 10, rng=rng), epochs * -(-labelled // 64)
    optimizer, rate, step = Adam(model.parameters(), lr=lr), cosine(lr, 0.0, steps), 0
    for _epoch in range(epochs):
        for x, y in batches(images[train], labels[train], 64, rng=rng):
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.lr = rate(step)
            optimizer.step()
            step += 1
    parts = {"training images": train, "held-out images": held_out}
    return {
        part: (predict(model, images[rows]), labels[rows])
        for part, rows in parts.items()
    }


# %%
parts = train_digits(labelled=400, noise=0.5, epochs=150, lr=3e-3)
grid = np.geomspace(0.2, 20, 41)
curves = {}
for part, (part_logits, part_labels) in parts.items():
    curves[part] = [mean_loss(part_logits, part_labels, T) for T in grid]
    p = stable_softmax(part_logits.astype(np.float64))
    share = np.mean(p.argmax(axis=1) == part_labels)
    print(f"{part}: accuracy {share:.2f}, confidence {p.max(axis=1).mean():.2f}")
figure = curves_with_bands(
    grid,
    curves,
    xlabel="temperature T",
    ylabel="loss",
    title="The loss has a valley only on held-out images",
    log_x=True,
)
save(figure, "09_temperature/loss_over_T", alt="Only the held-out loss has a valley")
print(f"T fitted on held-out images: {fit_temperature(*parts['held-out images']):.1f}")
before = study("09_temperature", "digits: ECE at T = 1")
after = study("09_temperature", "digits: ECE at the fitted T")
harm = study("09_temperature", "digits: ECE at T fitted on training images")

# %% [markdown]
# ## Annealing the temperature during training
# The lecture changes $T$ like a learning rate. Early in training $T$ is high, so that
# the model does not trust its own answers yet. Then $T$ falls to 1. Along a line over
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
# Does it help? The study trains on 200 digits, with $T$ from 4 to 1 along the line, and
# with $T = 1$ throughout. Both networks are compared at $T = 1$. The *short* training
# has 60 epochs at a learning rate of 0.003. The *long* training has 150 epochs at a
# rate of 0.03, the best of four for both networks. A change of accuracy below 0 means
# that annealing is worse.

# %%
for length in ("short", "long"):
    study("09_temperature", f"{length}: change of accuracy")
    study("09_temperature", f"{length}: change of confidence")
    study("09_temperature", f"{length}: ECE, T = 1")
    study("09_temperature", f"{length}: ECE, T from 4 to 1")

# %% [markdown]
# Annealing gives no gain in accuracy. In the short training it costs 1.7 points, in the
# long training no difference is left. A possible reason is speed: larger logits take
# longer to learn. But the two trainings differ in the number of epochs *and* in the
# learning rate, so we cannot say which of the two matters.
#
# In both trainings the network ends with a *higher* confidence. Its loss sees only
# $z/T$. At $T = 4$ it must make its logits four times as large to be as sure, and when
# $T$ has come down, large logits are still there. Is that good or bad? With $T = 1$
# throughout, the short training ends not sure enough (confidence 0.83, accuracy 0.90 in
# the study). There annealing makes ECE smaller. The long training ends too sure (0.96
# and 0.92). There annealing makes ECE larger.
#
# ## What to remember
# A temperature divides the logits before the softmax. It changes how sure an answer is,
# and never which answer wins. A low $T$ gives less entropy, a high $T$ gives more. One
# $T$, fitted on held-out data, brings the confidence of a network much nearer to its
# accuracy: below 1 for this real network, above 1 for a network that learned its images
# by heart. Annealing $T$ along a line during training gave no gain in accuracy on these
# digits. It made calibration better after the short training and worse after the long
# one.
#
# ## Try it
# - Set `temperatures` to 0.1, 1 and 5. Which of the three cats wins at 0.1, and how
#   much is left for it at 5?
# - Fit $T$ on 10 photographs instead of 51. How far does it move for other seeds of the
#   permutation?
# - Train the digits' network for 15 epochs instead of 150. Is its $T$ still above 1?
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
