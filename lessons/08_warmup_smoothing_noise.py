# %% [markdown]
# # 08 Warmup, label smoothing, noise
# Unlucky first batches can break a training. How can we prevent that? How do we keep a
# network from being too sure of its answers? And why do we add noise to the images?
# Three small changes of the training give the answers.
#
# Exercises: 08.1 warmed_up, 08.2 smooth_labels, 08.3 cross_entropy_gradient, 08.4
# careful_steps.
#
# ## Warmup: start with a small learning rate
# The learning rate η depends on the step t, counted from 0. During the first W steps it
# grows from nearly 0 to its full value. This is the **warmup** (Goyal et al. 2017).
# After that, any schedule follows: a constant rate, or one that falls along a cosine.
#
# $$\eta(t) = \begin{cases} \eta_0\, (t + 1) / W & \text{for } t < W \\
# \text{schedule}(t - W) & \text{for } t \ge W \end{cases}
# \qquad \eta_0 = \text{schedule}(0)$$

# %%
import numpy as np

import minidl.nn.functional as F
from lessons import PICTURES, study
from minidl import Tensor, figures, grad, nn
from minidl.classroom.claims import claim
from minidl.data import batches, gaussian_noise, load_digits, load_picture
from minidl.engine.loss import one_hot, smooth_labels
from minidl.engine.reduce import stable_log_softmax, stable_softmax
from minidl.figures import curves_with_bands, save
from minidl.nn.models import imagenet_names, imagenet_network, mlp
from minidl.train import Adam, accuracy, fit, predict
from minidl.train.calibration import mean_loss
from minidl.train.schedules import constant, cosine, with_warmup

# %%
W = 100
schedules, rates = {"cosine": cosine(0.03, 0.0, steps=270)}, {}
schedules["warmup, then cosine"] = with_warmup(cosine(0.03, 0.0, steps=170), W)
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
# digit: 64 zeros, then 64 ones, and so on. The next 230 batches hold all digits. From
# the first batch a network can only learn to answer 0 to every image.

# %%
(images, labels), (test_images, test_labels) = load_digits()
rng = np.random.default_rng(0)
pairs = []
for i in range(40):
    rows = rng.choice(np.flatnonzero(labels == i % 10), 64)
    pairs.append((images[rows], labels[rows]))
for _ in range(10):
    pairs += batches(images, labels, 64, rng=rng)
print("labels of batches 1 and 41:", *pairs[0][1][:12], "...", *pairs[40][1][:12])

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
    for steps in (10, 270):
        model, losses = trained_on(pairs[:steps], schedule)
        right = accuracy(predict(model, test_images), test_labels)
        second = predict(model[:5], test_images)  # (360, 32, 4, 4), after ReLU
        silent = np.mean(~(second > 0).any(axis=(0, 2, 3)))
        print(f"{name:10} {steps:3} steps: rate {schedule(steps - 1):.3f}, ", end="")
        print(f"accuracy {right:.2f}, silent filters {silent:.0%}")
    curves[name] = np.convolve(losses, np.ones(10) / 10, mode="valid")
title = "Training after 40 bad batches"
figure = curves_with_bands(
    np.arange(9, 270), curves, ylabel="loss, mean of 10 steps", title=title
)
alt = "Without warmup the loss stays at 2.3, with warmup it falls to almost 0"
save(figure, "08_warmup_smoothing_noise/bad_batches", alt=alt)
claim("with warmup the network learns to read", right > 0.9, {"accuracy": right})

# %% [markdown]
# A filter is **silent** if its output after ReLU is 0 on all test images. Without
# warmup nearly all filters of the second layer are silent after only ten steps. A
# filter that is 0 on every image gets no gradient. So the later batches cannot repair
# the network, and the loss stays at log 10 = 2.3, the loss of a guess.
#
# With warmup the rate of these first ten steps is at most 0.003, and few filters become
# silent. Then the rate grows slowly. It is already 0.012 at the last bad batch, and
# 0.03 at the end, but most filters keep working. Why a network bears large steps later
# was not measured.
#
# One run can be lucky or unlucky. The study repeats the training with eight seeds, with
# three rates after the sorted batches, and with mixed batches only.


# %%
def study_bars(bars, xlabel, **options):
    """For each label the study's number with this key, as a bar with its interval."""
    found = [study("08_warmup_smoothing_noise", key) for key in bars.values()]
    xlabel += "; 8 seeds, 95% intervals"
    return figures.bars_with_intervals(list(bars), found, xlabel=xlabel, **options)


bars = {}
for run in ("sorted, rate 0.003", "sorted, rate 0.01", "sorted, rate 0.03"):
    for start in ("no warmup", "warmup"):
        bars[f"{run}, {start}"] = f"accuracy, {run}, {start}"
title = "Bad first batches harm only without warmup and at a large rate"
figure = study_bars(bars, "test accuracy (a guess: 0.1)", title=title, share=True)
alt = "Accuracy after sorted batches, at three rates, with and without warmup"
save(figure, "08_warmup_smoothing_noise/rescued", alt=alt)

# %%
runs = ["failed, sorted, rate 0.01", "failed, sorted, rate 0.03"]
for run in [*runs, "silent filters, mixed, rate 0.03"]:
    for start in ("no warmup", "warmup"):
        study("08_warmup_smoothing_noise", f"{run}, {start}")
gain = study("08_warmup_smoothing_noise", "gain by warmup, mixed, rate 0.03")

# %% [markdown]
# After sorted batches at the rate 0.03, the mean accuracy is 0.20 without warmup and
# 0.97 with it. Without warmup seven of the eight runs (a share of 0.88) fail: their
# accuracy stays below 0.5. At the rate 0.01 two of eight fail (0.25). The printed
# intervals of these two shares go below 0 and above 1, because the formula does not
# know that a share has these ends. Read them as: eight runs are too few to know the
# share. (The figure cuts off its intervals at 0 and 1.) With warmup no run fails. At
# the small rate of 0.003 warmup changes little: it only costs some steps. So warmup
# makes it possible to use a large rate later.
#
# On mixed batches a gain of accuracy is not established: 0.022 ± 0.026. But warmup
# keeps more filters working there, too: 77% of the filters are silent at the end
# without warmup, and 10% with it. In practice warmup is used where the rate is very
# large: Goyal et al. (2017) train with batches of 8,192 photographs at a rate of 3.2.
#
# ## Label smoothing: do not be too sure
# A label says: the probability of this class is 1. A softmax reaches 1 only at infinite
# logits, so a larger distance between the logits always lowers the loss. **Label
# smoothing** takes a share ε away from the label and gives it to all K classes alike
# (Szegedy et al. 2016). The loss L is the cross-entropy between this target t and the
# prediction p. The bracket [k = label] is 1 if k is the label, otherwise 0.
#
# $$t_k = (1 - \varepsilon)\, [k = \text{label}] + \frac{\varepsilon}{K}$$
#
# $$L = -\sum_k t_k \log p_k, \qquad \frac{\partial L}{\partial z_k} = p_k - t_k$$

# %%
eps, K, label = 0.1, 10, np.array([3])
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
# where overfitting is more likely. First we look at the loss itself. The **margin** m
# is the logit of the true class minus the mean of the nine other logits. The figure
# shows the loss over m when the nine other logits are equal.

# %%
m = np.linspace(0, 14, 141)
logits = np.zeros((141, K))
logits[:, 3] = m
log_p = stable_log_softmax(logits)
curves = {}
for share in (0.0, 0.1, 0.3):
    t = smooth_labels(one_hot(label, K, np.float64), share)
    loss = -(t * log_p).sum(axis=1)
    curves[f"ε = {share}"], best = loss, loss.argmin()
    print(f"ε = {share}: the lowest loss {loss[best]:.2f} is at m = {m[best]:.1f}")
lowest = np.log((1 - eps + eps / K) / (eps / K))  # where p = t
print(f"ε = {eps}: by the formula below at m = {lowest:.2f}")
title = "Hard labels have no lowest point, smoothed labels have one"
figure = curves_with_bands(m, curves, xlabel="margin m", ylabel="loss L", title=title)
alt = "The loss over the margin falls for ever, or has a lowest point"
save(figure, "08_warmup_smoothing_noise/minima", alt=alt)

# %% [markdown]
# With hard labels (ε = 0) the loss falls for ever: a larger margin is always better,
# and the lowest point is the end of the axis. With smoothed labels the loss has a
# lowest point within it. It lies where p = t, because there the gradient p − t is 0:
#
# $$m = \log \frac{1 - \varepsilon + \varepsilon / K}{\varepsilon / K}$$
#
# Beyond this point the loss rises again: smoothing does not reward ever larger logits.
# The lowest loss is the entropy of the target, not 0. So a smoothed training loss that
# stays above 0 is no error, and it cannot be compared with a loss of hard labels. The
# price of a large ε: with ε = 0.3 the target of the label is only 0.73. A network that
# is right more often than in 73% of the cases is then *under*confident.
#
# Does smoothing stop overfitting? We train on 400 images under strong noise. A network
# soon memorises them. After each epoch we measure the loss on test images with the same
# noise, always with hard labels.


# %%
def trained_on_noise(eps, epochs=60):
    """Test loss after each epoch, mean margin in training, and test accuracy."""
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
        z = predict(model, test_x)
        losses.append(mean_loss(z, test_labels, 1.0))
    right = accuracy(z, test_labels)
    z = predict(model, x)  # (400, 10)
    true = z[np.arange(400), y]
    others = (z.sum(axis=1) - true) / 9  # the mean of the nine
    return losses, np.mean(true - others), right


# %%
curves = {}
for name, share in (("hard labels", 0.0), ("ε = 0.1", 0.1)):
    curves[name], margin, right = trained_on_noise(share)
    print(f"{name:11} margin in training {margin:.1f}, test accuracy {right:.2f}")
curves["a guess, log 10"] = np.full(60, np.log(10))
title = "A network that memorises 400 noisy images"
figure = curves_with_bands(
    np.arange(1, 61), curves, xlabel="epoch", ylabel="loss on test images", title=title
)
figure.axes[0].set_ylim(0, 2.5)
alt = "The test loss rises with hard labels, and hardly with smoothing"
save(figure, "08_warmup_smoothing_noise/overfitting", alt=alt)

# %% [markdown]
# With hard labels the margin reaches 13. The test loss rises, until it is hardly better
# than the loss of a guess. With ε = 0.1 the margin stops near 4.7 (the formula gives
# 4.5 for nine equal logits), and the test loss rises only a little. So for the loss the
# lecture is right: smoothing reduces overfitting. But the accuracy does not rise: it is
# 0.60 with hard labels and 0.57 with ε = 0.1. (Both curves are lowest after some eight
# epochs. A training that stops there would not need smoothing.)
#
# The loss mixes two things: which answers are right, and how sure the network is. The
# study separates them, in three situations: 100 clean images, 800 clean images, and the
# 400 noisy ones. A network is **calibrated** if its confidence, the probability of its
# answer, is as high as its accuracy. ECE, the expected calibration error, is the mean
# distance between the two ([lesson 09](09_temperature.py)): 0 is best.

# %%
situations, bars = ("100 clean", "800 clean", "400 noisy"), {}
for situation in situations:
    bars[f"{situation} images, ε = 0"] = f"ECE, {situation}, hard labels"
    bars[f"{situation} images, ε = 0.1"] = f"ECE, {situation}, smoothing"
title = "Smoothing lowers ECE only where the network was too sure"
figure = study_bars(bars, "calibration error ECE on test images", title=title)
alt = "ECE with hard and smoothed labels, for 100 and 800 clean and 400 noisy images"
save(figure, "08_warmup_smoothing_noise/smoothing", alt=alt)
for what in ("accuracy", "test loss"):
    for situation in situations:
        change = study("08_warmup_smoothing_noise", f"change of {what}, {situation}")

# %% [markdown]
# **Accuracy** changes by +0.010 ± 0.007 with 800 clean images, and by −0.017 ± 0.012
# with the 400 noisy ones. With 100 images the change can have either sign. On the noisy
# images the loss falls by 0.64, but the accuracy falls as well.
#
# **Confidence** changes more. Under noise the network was too sure: its ECE falls from
# 0.25 to 0.06. The networks with clean images were calibrated well, with an ECE of 0.04
# and 0.02. Smoothing makes them less sure than they are right: their ECE becomes 0.15
# and 0.14, and their test loss rises.
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
figure = figures.answers_picture(np.stack(pictures), titles, answers)
alt = "A cat under noise of three strengths, with the network's answers"
save(figure, "08_warmup_smoothing_noise/noise", alt=alt)

# %% [markdown]
# At σ = 0.2 the first answer is lynx, with more confidence than the cat had before. At
# σ = 0.4 no cat is among the first answers, though we still see one. The lecture's
# remedy is to show a network noisy images in training.
#
# The noise is switched on only in training: fresh noise for each batch, none in
# prediction. (For a linear model it acts like weight decay: Bishop 1995.) How strong
# may the noise be? If it is too strong, it hides the digits, and the network learns
# less:

# %%
for sigma in (0.0, 0.2, 1.0, 3.0):
    rng = np.random.default_rng(0)
    model, add_noise = mlp(64, 128, 10, rng=rng), gaussian_noise(sigma)
    options = {"optimizer": Adam(model.parameters(), lr=0.003), "augment": add_noise}
    fit(model, (images, labels), epochs=20, rng=rng, progress=False, **options)
    right = accuracy(predict(model.eval(), test_images), test_labels)
    print(f"σ = {sigma}: accuracy on clean test images {right:.2f}")

# %% [markdown]
# ## Four reasons for noise, tested
# The lecture gives four reasons to train with noise. The study tests each of them on
# digits, with fresh noise of σ = 0.2 on every batch, over eight seeds. Dropout, which
# sets half of the hidden units to 0 in each training step, is there for comparison.
#
# For the first reason each training image gets a **mark**: the place of one grey pixel
# at the left or right border tells the class. A network can then read the mark and
# ignore the digit. The test images have the mark of a wrong class, such as the mark of
# a 7 on a 3. Noise hides one pixel more easily than a whole digit.
#
# The study's numbers are printed in this form: "gain on half of the units, noise". The
# first part names the test, here with half of the hidden units set to 0. The last word
# names the training. "Noise of 0.4" is a test, too.

# %%
three = test_images[test_labels == 3][:1]
right_mark, wrong_mark = three.copy(), three.copy()
right_mark[0, 0, 1 + 3, 0] = 0.5  # 0 to 4: left border, rows 1 to 5
wrong_mark[0, 0, 1 + 2, 7] = 0.5  # 5 to 9: right border, rows 1 to 5
under_noise = gaussian_noise(0.2, clip=True)(right_mark, np.random.default_rng(0))
examples = np.concatenate([three, right_mark, wrong_mark, under_noise])
figure = figures.image_grid(examples, ["a 3", "mark of 3", "mark of 7", "noise"])
alt = "A 3 without a mark, with its mark, with a wrong mark, and under noise"
save(figure, "08_warmup_smoothing_noise/mark", alt=alt)

# %%
bars, tests = {}, ["the wrong mark", "erased pixels", "half of the units"]
tests += ["clean images", "noise of 0.4", "attacked images"]
clean = "trained with clean images"
for test in tests:
    before = study("08_warmup_smoothing_noise", f"accuracy on {test}, {clean}")
    for way in ("noise", "dropout"):
        bars[f"tested on {test}, trained with {way}"] = f"gain on {test}, {way}"
title = "Gain by noise or dropout in training"
figure = study_bars(bars, "accuracy minus accuracy after clean training", title=title)
alt = "Gains of accuracy by training with noise or dropout, with intervals"
save(figure, "08_warmup_smoothing_noise/gains", alt=alt)
few = study("08_warmup_smoothing_noise", "gain on clean images, 100 labels, noise")
units = study("08_warmup_smoothing_noise", "noise minus dropout on half of the units")

# %% [markdown]
# 1. **Noise spoils simple local links.** With a wrong mark, noise gains 0.043, from
#    0.848. Clean digits are not read better, so the mark counts less. Dropout loses
#    0.031. A possible reason: it removes hidden units, but never the pixel of the mark.
#    This was not measured.
# 2. **The network has to find several links, as with dropout.** When 30% of the pixels
#    are erased, noise and dropout both gain 0.017, from 0.793. When half of the hidden
#    units are set to 0, dropout gains 0.050, from 0.882: it was trained for this case.
#    For noise a gain is not established, and dropout is better by 0.042. So noise is
#    like dropout for the pixels, but not for the hidden units.
# 3. **Noise improves generalisation.** This does not show here: on clean test images
#    the change is −0.003 ± 0.003, from 0.958, and +0.004 ± 0.009 with only 100 training
#    images.
# 4. **Noise protects from attacks and unlucky examples.** These are the largest gains:
#    +0.085 under noise of σ = 0.4, from 0.715, and +0.147 on images whose pixels an
#    attack has changed by up to 0.1, from 0.519 ([lesson 18](18_adversarial.py)).
#
# ## What to remember
# Warmup starts with a small learning rate, so that unlucky first batches cannot make
# the filters silent for ever. Label smoothing asks for a probability below 1, so the
# loss has a lowest point and the logits stay finite. It makes the network less sure:
# good for a network that is too sure, bad for a calibrated one. It does not reliably
# give more right answers. Noise on the images, in training only, protects from noise
# and attacks, and a single pixel counts less. On clean images a gain did not show.
#
# ## Try it
# - Set W to 10 for `starts`: is a warmup of ten steps enough? Then set both rates to
#   0.003, with W = 100: how many filters are silent without warmup?
# - Call `trained_on_noise` with ε = 0.3. Where does the margin stop, and what does the
#   formula say?
# - Take `PICTURES / "mammals" / "zebra.webp"` instead of the cat. From which σ on is
#   the first answer wrong?
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
