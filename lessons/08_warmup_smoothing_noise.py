# %% [markdown]
# # 08 Warmup, label smoothing, noise
# Unlucky first batches can break a training. How can we prevent that? How do we keep a
# network from being too sure of its answers? And what does it help to add noise to the
# images? Three small changes of the training give the answers.
#
# Exercises: 08.1 warmed_up, 08.2 smooth_labels, 08.3 cross_entropy_gradient.
#
# ## Warmup: start with a small learning rate
# The learning rate η depends on the step t, counted from 0. During the first W steps it
# grows from nearly 0 to its full value. This is the **warmup**. After that, any
# schedule follows: a constant rate, or one that falls along a cosine.
#
# $$\eta(t) = \eta_0\, \frac{t + 1}{W} \quad \text{for } t < W, \qquad
# \eta(t) = \text{schedule}(t - W) \quad \text{for } t \ge W, \qquad
# \eta_0 = \text{schedule}(0)$$

# %%
import numpy as np

import minidl.nn.functional as F
from lessons import study
from minidl import Tensor, grad, nn
from minidl.classroom.claims import claim
from minidl.data import batches, gaussian_noise, load_digits
from minidl.engine.loss import cross_entropy_gradient, one_hot, smooth_labels
from minidl.engine.reduce import stable_softmax
from minidl.figures import bars_with_intervals, curves_with_bands, image_grid, save
from minidl.nn.models import mlp
from minidl.train import Adam, accuracy, predict
from minidl.train.schedules import constant, cosine, with_warmup

schedules = {
    "cosine": cosine(0.03, 0.0, steps=270),
    "100 steps of warmup, then cosine": with_warmup(cosine(0.03, 0.0, steps=170), 100),
}
rates = {}
for name, eta in schedules.items():
    rates[name] = [eta(t) for t in range(271)]
figure = curves_with_bands(np.arange(271), rates, ylabel="learning rate")
save(
    figure,
    "08_warmup_smoothing_noise/warmup",
    alt="The learning rate rises for 100 steps and then falls along a cosine",
)

# %% [markdown]
# ## Batches that are badly mixed
# Data often lies in files sorted by class. When it is shuffled too little, the first
# batches hold one class each. Here the first 40 batches have one digit each, and the
# next 230 are mixed well. The picture shows eight images from each of the first three
# batches and from batch 41. What does a network learn from the first batch? Always
# answer 0.

# %%
(images, labels), (test_images, test_labels) = load_digits()


def badly_mixed(rng):
    """40 batches of one digit each, then ten epochs of mixed batches."""
    pairs = []
    for i in range(40):
        rows = rng.choice(np.flatnonzero(labels == i % 10), 64)
        pairs.append((images[rows], labels[rows]))
    for _ in range(10):
        pairs += batches(images, labels, 64, rng=rng)
    return pairs


pairs = badly_mixed(np.random.default_rng(0))
shown = [pairs[i][0][:8] for i in (0, 1, 2, 40)]
titles = []
for number in (1, 2, 3, 41):
    titles += [f"batch {number}"] + [""] * 7
figure = image_grid(np.concatenate(shown), titles, columns=8)
save(
    figure,
    "08_warmup_smoothing_noise/batches",
    alt="Images of four batches: zeros, ones, twos, and mixed digits",
)

# %% [markdown]
# ## What do the bad batches do to a training?
# Two networks start from the same weights and see the same batches. One of them starts
# with the full learning rate of 0.03, the other with warmup.


# %%
def trained_on(pairs, schedule, seed):
    """A network of two convolutions after one step a batch, and its losses."""
    rng = np.random.default_rng(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, rng=rng),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1, rng=rng),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * 2 * 2, 10, rng=rng),
    )
    optimizer, losses = Adam(model.parameters(), lr=schedule(0)), []
    for t, (x, y) in enumerate(pairs):
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.lr = schedule(t)
        optimizer.step()
        losses.append(loss.item())
    return model, losses


# %%
warm = with_warmup(constant(0.03), 100)
curves = {}
for name, schedule in (("no warmup", constant(0.03)), ("100 steps of warmup", warm)):
    model, losses = trained_on(pairs, schedule, seed=0)
    curves[name] = np.convolve(losses, np.ones(10) / 10, mode="valid")
    right = accuracy(predict(model, test_images), test_labels)
    second = predict(model[:5], test_images)  # (360, 32, 4, 4), after ReLU
    silent = np.mean(~(second > 0).any(axis=(0, 2, 3)))
    print(f"{name:20} accuracy {right:.2f}, filters that are always 0: {silent:.0%}")
steps = np.arange(9, 270)
figure = curves_with_bands(steps, curves, ylabel="loss, mean of 10 steps", log_y=True)
save(
    figure,
    "08_warmup_smoothing_noise/bad_batches",
    alt="Without warmup the loss stays at 2.3, with warmup it falls",
)
claim("with warmup the network learns to read", right > 0.9, {"accuracy": right})

# %% [markdown]
# Without warmup the loss stays at log 10 = 2.3, the loss of a guess. The first steps
# were so large that the filters became 0 on every image: ReLU lets nothing through.
# Where nothing passes, no gradient comes back, so the good batches cannot repair the
# network. Warmup keeps the steps small until the bad batches are over.
#
# One run can be lucky or unlucky. Over eight seeds the accuracy without warmup is 0.20,
# and seven of the eight runs fail. With warmup it is 0.97, and no run fails. A small
# rate of 0.003 needs no rescue: what warmup gives is the freedom to use a large rate
# later on. On batches that are well mixed, the difference stays open: 0.022 ± 0.026.


# %%
def bars_of(names, xlabel):
    """A bar with its interval for each of these numbers of the study."""
    found = [study("08_warmup_smoothing_noise", name) for name in names]
    means = [interval.mean for interval in found]
    lows, highs = [i.low for i in found], [i.high for i in found]
    return bars_with_intervals(names, means, lows, highs, xlabel=xlabel)


names = [
    "accuracy, sorted, rate 0.03, no warmup",
    "accuracy, sorted, rate 0.03, warmup",
    "accuracy, sorted, rate 0.003, no warmup",
    "accuracy, mixed, rate 0.03, no warmup",
    "accuracy, mixed, rate 0.03, warmup",
]
save(
    bars_of(names, "test accuracy"),
    "08_warmup_smoothing_noise/rescued",
    alt="Accuracy over eight seeds with and without warmup",
)

# %% [markdown]
# ## Label smoothing: do not be too sure
# A label says: the probability of this class is 1. A softmax reaches 1 only at infinite
# logits, so training makes the logits grow for ever. **Label smoothing** takes a share
# ε away from the label and gives it to all K classes alike (Szegedy et al. 2016).
#
# $$t_k = (1 - \varepsilon)\, [k = \text{label}] + \frac{\varepsilon}{K}, \qquad
# \frac{\partial L}{\partial z_k} = p_k - t_k$$
#
# The gradient is 0 where the prediction p equals the target t. This is a point with
# finite logits: the logit of the true class lies log((1 − ε + ε/K) / (ε/K)) above the
# others.

# %%
eps, K = 0.1, 10
label = np.array([3])
t = smooth_labels(one_hot(label, K, np.float64), eps)
gap = np.log((1 - eps + eps / K) / (eps / K))
print("target", t[0])
print(f"at the minimum the true logit is {gap:.2f} above the others")

z = Tensor(np.random.default_rng(0).normal(size=(1, K)), requires_grad=True)
loss = F.cross_entropy(z, label, label_smoothing=eps)
p = stable_softmax(z.data)
assert np.allclose(grad(loss, z), p - t, atol=1e-6)
assert np.allclose(cross_entropy_gradient(t, t), 0)

# %% [markdown]
# ## What about the deep minima?
# The lecture says that smoothing keeps the model out of deep local minima of the loss,
# where overfitting is more likely. Here is what happens in a training on 100 images.
# The picture shows how far the true logit lies above the mean of the others, on the
# training images. With hard labels this margin grows and grows: the loss has no lowest
# point, it only gets deeper. With ε = 0.1 the margin stops where the formula says, at
# 4.5.


# %%
def margins(eps, seed=0, epochs=150):
    """The margin of the true logit on 100 training images, after each epoch."""
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(images))[:100]
    x, y = images[rows], labels[rows]
    model = mlp(64, 128, 10, rng=rng)
    optimizer, found = Adam(model.parameters(), lr=0.003), []
    for _ in range(epochs):
        for x_batch, y_batch in batches(x, y, 50, rng=rng):
            loss = F.cross_entropy(model(x_batch), y_batch, label_smoothing=eps)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        z = predict(model, x)
        true = z[np.arange(100), y]
        found.append(np.mean(true - (z.sum(axis=1) - true) / 9))
    return found


# %%
curves = {
    "hard labels": margins(0.0),
    "ε = 0.1": margins(0.1),
    "the minimum for ε = 0.1": np.full(150, gap),
}
figure = curves_with_bands(np.arange(1, 151), curves, xlabel="epoch", ylabel="margin")
save(
    figure,
    "08_warmup_smoothing_noise/margin",
    alt="The margin grows with hard labels and stops at 4.5 with smoothing",
)

# %% [markdown]
# So smoothing does close the way to the deepest places. Does this stop overfitting? The
# study compares ε = 0 and ε = 0.1 over eight seeds in three situations: 100 clean
# images, 800 clean images, and 400 images under strong noise. The picture shows the
# change by smoothing. ECE, the expected calibration error, is the mean distance between
# confidence and accuracy ([lesson 09](09_temperature.py)). Less is better.
#
# The accuracy changes by +0.010 ± 0.007 with 800 clean images, by −0.017 ± 0.012 with
# 400 noisy ones, and with 100 images the change stays open. The gap between training
# and test accuracy, which is the usual sign of overfitting, moves by the same amounts
# the other way. So smoothing ends the deep minima, but it does not end overfitting.
#
# Confidence falls in all three situations. This is good for the network under noise,
# whose confidence was higher than its accuracy: its ECE falls by 0.19. It is bad for
# the two others, which were calibrated well: their ECE rises by 0.11 and 0.12.
# Smoothing makes them less sure than they could be.

# %%
names = []
for what in ("accuracy", "training less test accuracy", "ECE"):
    for situation in ("100 clean", "800 clean", "400 noisy"):
        names.append(f"change of {what}, {situation}")
save(
    bars_of(names, "change by label smoothing"),
    "08_warmup_smoothing_noise/smoothing",
    alt="Changes of accuracy and calibration by label smoothing, with intervals",
)

# %% [markdown]
# ## Noise on the images
# Gaussian noise adds σ · n to each pixel, with a fresh n from the normal distribution
# each time. Here is one digit under growing noise. (The picture cuts values off at 0
# and 1. Training does not.)

# %%
rng = np.random.default_rng(0)
digit = test_images[:1]
sigmas = [0.0, 0.1, 0.2, 0.4, 0.8]
examples = [gaussian_noise(sigma, clip=True)(digit, rng)[0] for sigma in sigmas]
figure = image_grid(np.stack(examples), [f"σ = {sigma}" for sigma in sigmas])
save(
    figure,
    "08_warmup_smoothing_noise/noise",
    alt="A digit under noise of five strengths",
)

# %% [markdown]
# For a linear model the mean effect is known exactly. Noise on the inputs adds σ²‖w‖²
# to the squared error, so it punishes large weights, as weight decay does (Bishop
# 1995).
#
# $$\mathbb{E}\left[(w \cdot (x + \sigma n) - y)^2\right] = (w \cdot x - y)^2 +
# \sigma^2 \lVert w \rVert^2$$

# %%
rng = np.random.default_rng(1)
w, x, y, sigma = rng.normal(size=64), digit.ravel().astype(np.float64), 1.0, 0.2
noisy = x + sigma * rng.standard_normal((100_000, 64))
errors = (noisy @ w - y) ** 2
expected = (x @ w - y) ** 2 + sigma**2 * (w @ w)
print(f"mean of 100,000 draws {errors.mean():.2f}, by the formula {expected:.2f}")
assert abs(errors.mean() - expected) < 5 * errors.std() / np.sqrt(len(errors))

# %% [markdown]
# ## What noise is good for: four answers
# The lecture gives four reasons to train with noise. The study tests each of them with
# fresh noise of σ = 0.2 on every batch, over eight seeds.
#
# 1. **Noise spoils simple local links.** Each training image gets a mark: one pixel at
#    the border tells the class. A lazy network reads the mark and not the digit. On
#    test images with the mark of a wrong class, the network trained with noise is
#    better by 0.043.
# 2. **The network has to find several links, as with dropout.** When 30% of the pixels
#    are missing, noise and dropout both gain 0.017. When half of the hidden units are
#    missing, dropout gains 0.050, and for noise no gain is established. Against missing
#    pixels noise helps as much as dropout. Against missing units only the help of
#    dropout is established.
# 3. **Noise improves generalisation.** This does not show here: on clean test images
#    the change is −0.003 ± 0.003, with only 100 training images +0.004 ± 0.009.
# 4. **Noise protects.** This is the large effect: +0.085 on images under noise of σ =
#    0.4, and +0.15 on images that an attack has changed
#    ([lesson 18](18_adversarial.py)).
#
# The picture of the mark: a 3 with its mark at the right place, with the mark of a 7,
# and the first one under noise. The noise hides one pixel more easily than a whole
# digit.

# %%
three = test_images[test_labels == 3][:1]
right_mark, wrong_mark = three.copy(), three.copy()
right_mark[0, 0, 1 + 3, 0] = 0.5  # 0 to 4: left border, rows 1 to 5
wrong_mark[0, 0, 1 + 2, 7] = 0.5  # 5 to 9: right border, rows 1 to 5
under_noise = gaussian_noise(0.2, clip=True)(right_mark, np.random.default_rng(0))
examples = np.concatenate([three, right_mark, wrong_mark, under_noise])
titles = ["a 3", "mark of 3", "mark of 7", "mark of 3, noise"]
save(
    image_grid(examples, titles),
    "08_warmup_smoothing_noise/mark",
    alt="A 3 without a mark, with its mark, with a wrong mark, and under noise",
)

# %%
names = [
    "gain on the wrong mark, noise",
    "gain on the wrong mark, dropout",
    "gain on erased pixels, noise",
    "gain on erased pixels, dropout",
    "gain on half of the units, noise",
    "gain on half of the units, dropout",
    "gain on clean images, noise",
    "gain on clean images, 100 labels, noise",
    "gain on noise of 0.4, noise",
    "gain on attacked images, noise",
]
save(
    bars_of(names, "gain of accuracy against training on clean images"),
    "08_warmup_smoothing_noise/gains",
    alt="Gains of accuracy by training with noise or dropout, with intervals",
)

# %% [markdown]
# ## What to remember
# Warmup starts with a small learning rate, so that unlucky first batches cannot break
# the network. Label smoothing asks for a probability below 1, so the logits stay finite
# and the answers become less sure. Whether this helps depends on the network: it
# calibrates a network that is too sure, and it makes a calibrated network less sure
# than it could be. Noise on the images protects from noise and attacks, and it makes
# the network rely less on a single pixel. Better accuracy on clean images did not show.

# %% [markdown]
# ## Try it
# - Set the rate of the training after bad batches to 0.01. Does the start without
#   warmup still fail?
# - Call `margins` with ε = 0.3. Where does the margin stop, and what does the formula
#   say?
# - Use `salt_and_pepper(0.2)` from `minidl.data` for the picture of the mark. Which
#   noise hides the mark better?
#
# ## Exercises
# `python -m lessons start 08` begins the exercises 08.1 warmed_up, 08.2 smooth_labels
# and 08.3 cross_entropy_gradient.
#
# ## Papers
# - C. Bishop (1995): Training with noise is equivalent to Tikhonov regularization.
# - C. Szegedy, V. Vanhoucke, S. Ioffe, J. Shlens, Z. Wojna (2016): Rethinking the
#   Inception architecture for computer vision. (Label smoothing.)
# - P. Goyal et al. (2017): Accurate, large minibatch SGD: training ImageNet in 1 hour.
#   (Warmup.)
# - R. Müller, S. Kornblith, G. Hinton (2019): When does label smoothing help?
