# %% [markdown]
# # 08 Warmup, label smoothing, noise
# Unlucky first batches can break a training. How can we prevent that? How do we keep a
# network from being too sure of its answers? And what does it help to add noise to the
# images? Three small changes of the training give the answers.
#
# Exercises: 08.1 warmed_up, 08.2 smooth_labels, 08.3 cross_entropy_gradient, 08.4
# careful_steps.
#
# ## Warmup: start with a small learning rate
# The learning rate η depends on the step t, counted from 0. During the first W steps it
# grows from nearly 0 to its full value. This is the **warmup** (Goyal et al. 2017).
# After that, any schedule follows: a constant rate, or one that falls along a cosine.
#
# $$\eta(t) = \eta_0\, \frac{t + 1}{W} \quad \text{for } t < W, \qquad
# \eta(t) = \text{schedule}(t - W) \quad \text{for } t \ge W, \qquad
# \eta_0 = \text{schedule}(0)$$

# %%
import numpy as np

import minidl.nn.functional as F
from lessons import PICTURES, study
from minidl import Tensor, grad, nn
from minidl.classroom.claims import claim
from minidl.data import batches, gaussian_noise, load_digits, load_picture
from minidl.engine.loss import one_hot, smooth_labels
from minidl.engine.reduce import stable_log_softmax, stable_softmax
from minidl.figures import (
    answers_picture,
    bars_with_intervals,
    curves_with_bands,
    image_grid,
    save,
)
from minidl.nn.models import imagenet_names, imagenet_network, mlp
from minidl.train import Adam, accuracy, predict
from minidl.train.metrics import mean_loss
from minidl.train.schedules import constant, cosine, with_warmup

# %%
W = 100
schedules = {
    "cosine": cosine(0.03, 0.0, steps=270),
    "warmup, then cosine": with_warmup(cosine(0.03, 0.0, steps=170), W),
}
rates = {}
for name, eta in schedules.items():
    rates[name] = [eta(t) for t in range(271)]
assert np.isclose(rates["warmup, then cosine"][49], 0.03 * (49 + 1) / W)
title = "With and without 100 steps of warmup"
figure = curves_with_bands(np.arange(271), rates, ylabel="learning rate η", title=title)
alt = "The learning rate rises for 100 steps and then falls along a cosine"
save(figure, "08_warmup_smoothing_noise/warmup", alt=alt)

# %% [markdown]
# ## What do bad first batches do?
# Data often lies in files sorted by class. When it is shuffled too little, the first
# batches hold one class each. Here each of the first 40 batches has 64 images of one
# digit: 64 zeros, then 64 ones, and so on. The next 230 batches are mixed well. What
# does a network learn from the first batch? Always answer 0.

# %%
(images, labels), (test_images, test_labels) = load_digits()
rng = np.random.default_rng(0)
pairs = []
for i in range(40):
    rows = rng.choice(np.flatnonzero(labels == i % 10), 64)
    pairs.append((images[rows], labels[rows]))
for _ in range(10):
    pairs += batches(images, labels, 64, rng=rng)
for number in (1, 2, 3, 41):
    x, y = pairs[number - 1]
    print(f"labels of batch {number:2}:", *y[:20])

# %% [markdown]
# Two networks start from the same weights and see the same batches. One of them starts
# with the full learning rate of 0.03, the other with 100 steps of warmup.


# %%
def trained_on(pairs, schedule):
    """A network of two convolutions after one step a batch, and its losses."""
    rng = np.random.default_rng(0)
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
starts = {"no warmup": constant(0.03), "warmup": with_warmup(constant(0.03), W)}
curves = {}
for name, schedule in starts.items():
    model, losses = trained_on(pairs, schedule)
    curves[name] = np.convolve(losses, np.ones(10) / 10, mode="valid")
    right = accuracy(predict(model, test_images), test_labels)
    second = predict(model[:5], test_images)  # (360, 32, 4, 4), after ReLU
    silent = np.mean(~(second > 0).any(axis=(0, 2, 3)))
    print(f"{name:10} accuracy {right:.2f}, filters that are always 0: {silent:.0%}")
title = "Training after 40 bad batches"
figure = curves_with_bands(
    np.arange(9, 270), curves, ylabel="loss, mean of 10 steps", title=title
)
alt = "Without warmup the loss stays at 2.3, with warmup it falls to almost 0"
save(figure, "08_warmup_smoothing_noise/bad_batches", alt=alt)
claim("with warmup the network learns to read", right > 0.9, {"accuracy": right})

# %% [markdown]
# Without warmup the loss stays at log 10 = 2.3, the loss of a guess. The first steps
# were so large that all filters of the second layer became 0 on every image: ReLU lets
# nothing through. Where nothing passes, no gradient comes back, so the good batches
# cannot repair the network. Warmup keeps the steps small until the bad batches are
# over.
#
# One run can be lucky or unlucky. The study repeats the training with eight seeds, and
# also with other rates.


# %%
def study_bars(keys, xlabel):
    """A bar with its interval for each of these numbers of the study."""
    found = [study("08_warmup_smoothing_noise", key) for key in keys]
    title = "mean over 8 seeds, 95% t-interval"
    return bars_with_intervals(keys, found, xlabel=xlabel, title=title)


keys = [f"gain by warmup, sorted, rate {rate}" for rate in (0.003, 0.01, 0.03)]
keys.append("gain by warmup, mixed, rate 0.03")
figure = study_bars(keys, "accuracy with warmup less accuracy without")
alt = "Gain of accuracy by warmup at three rates and on mixed batches"
save(figure, "08_warmup_smoothing_noise/rescued", alt=alt)
for start in ("no warmup", "warmup"):
    study("08_warmup_smoothing_noise", f"accuracy, sorted, rate 0.03, {start}")
    study("08_warmup_smoothing_noise", f"silent filters, mixed, rate 0.03, {start}")

# %% [markdown]
# After sorted batches at the rate 0.03, the accuracy is 0.20 without warmup and 0.97
# with it. Seven of the eight runs without warmup fail: they do no better than a guess.
# At 0.01 two of eight fail, so the interval is wide. With warmup no run fails. The
# small rate of 0.003 needs no rescue. What warmup gives is the freedom to use a large
# rate later on.
#
# On mixed batches a gain of accuracy is not established: 0.022 ± 0.026. But there, too,
# warmup keeps filters alive. Without warmup 77% of the second layer's filters are
# **silent** at the end, which means 0 on all test images. With warmup 10% are.
#
# ## Label smoothing: do not be too sure
# A label says: the probability of this class is 1. A softmax reaches 1 only at infinite
# logits, so training makes the logits grow for ever. **Label smoothing** takes a share
# ε away from the label and gives it to all K classes alike (Szegedy et al. 2016). The
# loss L is the cross-entropy between this target t and the prediction p.
#
# $$t_k = (1 - \varepsilon)\, [k = \text{label}] + \frac{\varepsilon}{K}, \qquad
# L = -\sum_k t_k \log p_k, \qquad \frac{\partial L}{\partial z_k} = p_k - t_k$$

# %%
eps, K = 0.1, 10
label = np.array([3])
t = smooth_labels(one_hot(label, K, np.float64), eps)
print("target", t[0])

z = Tensor(np.random.default_rng(0).normal(size=(1, K)), requires_grad=True)
loss = F.cross_entropy(z, label, label_smoothing=eps)
p = stable_softmax(z.data)
assert np.allclose(loss.item(), -(t * np.log(p)).sum(), atol=1e-6)
assert np.allclose(grad(loss, z), p - t, atol=1e-6)

# %% [markdown]
# ## What about the deep minima?
# The lecture says that smoothing keeps the model out of deep local minima of the loss,
# where overfitting is more likely. First we look at the loss itself. Let the logit of
# the true class lie m above all others. We call m the **margin**. The picture shows the
# loss over m.

# %%
m = np.linspace(0, 14, 141)
logits = np.zeros((141, K))
logits[:, 3] = m
log_p = stable_log_softmax(logits)
curves = {}
for share in (0.0, 0.1, 0.3):
    t = smooth_labels(one_hot(label, K, np.float64), share)
    curves[f"ε = {share}"] = -(t * log_p).sum(axis=1)
lowest = np.log((1 - eps + eps / K) / (eps / K))  # where p = t
found = m[curves["ε = 0.1"].argmin()]
print(f"ε = 0.1: lowest at m = {found:.1f}, by the formula {lowest:.2f}")
assert abs(found - lowest) < 0.1
title = "Hard labels have no lowest point, smoothed labels have one"
figure = curves_with_bands(m, curves, xlabel="margin m", ylabel="loss L", title=title)
alt = "The loss over the margin falls for ever, or has a lowest point"
save(figure, "08_warmup_smoothing_noise/minima", alt=alt)

# %% [markdown]
# With hard labels (ε = 0) the loss falls for ever: a larger margin is always better.
# With smoothed labels the loss has a lowest point. It lies where p = t, because there
# the gradient p − t is 0:
#
# $$m = \log \frac{1 - \varepsilon + \varepsilon / K}{\varepsilon / K}$$
#
# Beyond this point the loss rises again. So smoothing does close the way into the
# depth.
#
# Does this stop overfitting? We train on 400 images under strong noise, where a network
# soon knows its images by heart. After each epoch we measure the loss on test images
# with the same noise, always with hard labels.


# %%
def trained_on_noise(eps, epochs=60):
    """The test loss after each epoch, and the mean margin on the training images."""
    rng, add_noise = np.random.default_rng(0), gaussian_noise(0.5)
    x, y, test_x = images[:400], labels[:400], add_noise(test_images, rng)
    x = add_noise(x, rng)
    model = mlp(64, 128, 10, rng=rng)
    optimizer, losses = Adam(model.parameters(), lr=0.003), []
    for _ in range(epochs):
        for x_batch, y_batch in batches(x, y, 50, rng=rng):
            loss = F.cross_entropy(model(x_batch), y_batch, label_smoothing=eps)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses.append(mean_loss(predict(model, test_x), test_labels, 1.0))
    z = predict(model, x)  # (400, 10)
    true = z[np.arange(400), y]
    others = (z.sum(axis=1) - true) / 9  # the mean of the nine
    return losses, np.mean(true - others)


# %%
curves = {}
for name, share in (("hard labels", 0.0), ("ε = 0.1", 0.1)):
    curves[name], margin = trained_on_noise(share)
    print(f"{name:11} margin on the training images {margin:.1f}")
curves["a guess, log 10"] = np.full(60, np.log(10))
title = "400 noisy training images, known by heart"
figure = curves_with_bands(
    np.arange(1, 61), curves, xlabel="epoch", ylabel="loss on test images", title=title
)
alt = "The test loss rises with hard labels, and hardly with smoothing"
save(figure, "08_warmup_smoothing_noise/overfitting", alt=alt)

# %% [markdown]
# With hard labels the margin reaches 13. The test loss rises, until the network is
# hardly better than a guess. With ε = 0.1 the margin stops near 4.5, and the test loss
# rises only a little. So for the loss the lecture is right: a network that stays out of
# the depth overfits less. (Both curves are lowest after some eight epochs. A training
# that stops there would not need smoothing.)
#
# The loss mixes two things: which answers are right, and how sure the network is. The
# study takes them apart, in three situations: 100 clean images, 800 clean images, and
# the 400 noisy ones. A network is **calibrated** if its confidence, the probability of
# its answer, is as high as its accuracy. ECE, the expected calibration error, is the
# mean distance between the two ([lesson 09](09_temperature.py)). Less is better.

# %%
keys = []
for what in ("accuracy", "ECE"):
    for situation in ("100 clean", "800 clean", "400 noisy"):
        keys.append(f"change of {what}, {situation}")
figure = study_bars(keys, "ε = 0.1 less ε = 0")
alt = "Changes of accuracy and ECE by label smoothing, with intervals"
save(figure, "08_warmup_smoothing_noise/smoothing", alt=alt)
drop = study("08_warmup_smoothing_noise", "change of test loss, 400 noisy")

# %% [markdown]
# **Accuracy** changes by +0.010 ± 0.007 with 800 clean images, and by −0.017 ± 0.012
# with the 400 noisy ones. With 100 images its sign stays open. So fewer answers are
# right where the test loss falls by 0.64. Smoothing does not stop overfitting of the
# answers.
#
# **Trust** is what smoothing changes. Under noise the network was too sure, and its ECE
# falls by 0.19. The two networks with clean images were calibrated well. Smoothing
# makes them less sure than they could be: their ECE rises by 0.11 and 0.12, and their
# test loss rises, too.
#
# ## Noise on the images
# Gaussian noise adds σ · n to each value of an image, with a fresh n from the normal
# distribution for each value. Here the real network looks at a cat under growing noise.
# The values of an image lie between 0 and 1, so the picture cuts off what lies outside.

# %%
cat, _ = load_picture(PICTURES / "photos" / "chelsea.webp")  # (3, 224, 224)
network, names = imagenet_network(), imagenet_names()
rng, sigmas = np.random.default_rng(0), (0.0, 0.2, 0.4)
pictures, answers = [], []
for sigma in sigmas:
    noisy = gaussian_noise(sigma, clip=True)(cat[np.newaxis], rng)
    p = stable_softmax(predict(network, noisy))[0]
    best = np.argsort(-p)[:3]
    pictures.append(noisy[0])
    answers.append([(names[i], float(p[i])) for i in best])
titles = [f"σ = {sigma}" for sigma in sigmas]
figure = answers_picture(np.stack(pictures), titles, answers)
alt = "A cat under noise of three strengths, with the network's answers"
save(figure, "08_warmup_smoothing_noise/noise", alt=alt)

# %% [markdown]
# At σ = 0.2 the network is surer of its first answer than before, and the answer is
# lynx. At σ = 0.4 it has no answer left. We still see the cat. The lecture's cure is to
# show a network noisy images in training.
#
# ## What does noise do to a training?
# For a linear model the mean effect is known exactly. Noise on the inputs adds σ²‖w‖²
# to the squared error, so it punishes large weights, as weight decay does (Bishop
# 1995).
#
# $$\mathbb{E}\left[(w \cdot (x + \sigma n) - y)^2\right] = (w \cdot x - y)^2 +
# \sigma^2 \lVert w \rVert^2$$

# %%
rng, sigma = np.random.default_rng(1), 0.2
x, y, w = test_images[0].ravel().astype(np.float64), 1.0, rng.normal(size=64)
n = rng.standard_normal((100_000, 64))
errors = ((x + sigma * n) @ w - y) ** 2
expected = (x @ w - y) ** 2 + sigma**2 * (w @ w)
print(f"mean of 100,000 draws {errors.mean():.2f}, by the formula {expected:.2f}")
assert abs(errors.mean() - expected) < 5 * errors.std() / np.sqrt(len(errors))

# %% [markdown]
# ## Four reasons for noise, tested
# The lecture gives four reasons to train with noise. The study tests each of them on
# digits, with fresh noise of σ = 0.2 on every batch, over eight seeds. Dropout, which
# sets half of the hidden units to 0 in each training step, is there for comparison.
#
# For the first reason each training image gets a **mark**: one grey pixel at the left
# or right border tells the class. A lazy network reads the mark and not the digit. The
# test images have the mark of a wrong class. The noise hides one pixel more easily than
# a whole digit.

# %%
three = test_images[test_labels == 3][:1]
right_mark, wrong_mark = three.copy(), three.copy()
right_mark[0, 0, 1 + 3, 0] = 0.5  # 0 to 4: left border, rows 1 to 5
wrong_mark[0, 0, 1 + 2, 7] = 0.5  # 5 to 9: right border, rows 1 to 5
under_noise = gaussian_noise(0.2, clip=True)(right_mark, np.random.default_rng(0))
examples = np.concatenate([three, right_mark, wrong_mark, under_noise])
titles = ["a 3", "mark of 3", "mark of 7", "mark of 3, noise"]
figure = image_grid(examples, titles)
alt = "A 3 without a mark, with its mark, with a wrong mark, and under noise"
save(figure, "08_warmup_smoothing_noise/mark", alt=alt)

# %%
keys = []
for where in ("the wrong mark", "erased pixels", "half of the units"):
    for way in ("noise", "dropout"):
        keys.append(f"gain on {where}, {way}")
keys += ["gain on clean images, noise", "gain on clean images, 100 labels, noise"]
keys += ["gain on noise of 0.4, noise", "gain on attacked images, noise"]
figure = study_bars(keys, "accuracy less accuracy after training on clean images")
alt = "Gains of accuracy by training with noise or dropout, with intervals"
save(figure, "08_warmup_smoothing_noise/gains", alt=alt)

# %% [markdown]
# 1. **Noise spoils simple local links.** With a wrong mark, noise gains 0.043. The
#    digits themselves are not read better (clean images, reason 3), so it is the mark
#    that counts less. Dropout does the opposite: it loses 0.031.
# 2. **The network has to find several links, as with dropout.** When 30% of the pixels
#    are missing, noise and dropout both gain 0.017. When half of the hidden units are
#    missing, dropout gains 0.050: it was trained for this case. For noise a gain is not
#    established, and dropout is better by 0.042. So noise is like dropout on the
#    pixels, but not inside the network.
# 3. **Noise improves generalisation.** This does not show here: on clean test images
#    the change is −0.003 ± 0.003, and +0.004 ± 0.009 with only 100 training images. The
#    noise costs less than one point.
# 4. **Noise protects from attacks and unlucky examples.** This is the large effect:
#    +0.085 under noise of σ = 0.4, and +0.15 on images that an attack has changed
#    ([lesson 18](18_adversarial.py)).
#
# ## What to remember
# Warmup starts with a small learning rate, so that unlucky first batches cannot switch
# off the filters for ever. Label smoothing asks for a probability below 1, so the loss
# has a lowest point and the logits stay finite. It changes how sure the network is: a
# gain for a network that is too sure, a loss for a network that is calibrated. It does
# not reliably give more right answers. Noise on the images protects from noise and
# attacks, and a single pixel counts less. On clean images a gain did not show.
#
# ## Try it
# - Set the rate in `starts` to 0.01 and then to 0.003, for both. Which filters stay
#   alive without warmup?
# - Call `trained_on_noise` with ε = 0.3. Where does the margin stop, and what does the
#   formula say?
# - Take `PICTURES / "mammals" / "zebra.webp"` instead of the cat. How much noise does
#   the zebra bear?
#
# ## Exercises
# `python -m lessons start 08` begins the exercises 08.1 `warmed_up`, 08.2
# `smooth_labels`, 08.3 `cross_entropy_gradient` and 08.4 `careful_steps`.
#
# ## Papers
# - Bishop 1995, Training with noise is equivalent to Tikhonov regularization.
# - Srivastava et al. 2014, Dropout: A simple way to prevent neural networks from
#   overfitting.
# - Szegedy, Vanhoucke, Ioffe, Shlens and Wojna 2016, Rethinking the Inception
#   architecture for computer vision.
# - Goyal et al. 2017, Accurate, large minibatch SGD: Training ImageNet in 1 hour.
# - Müller, Kornblith and Hinton 2019, When does label smoothing help?
