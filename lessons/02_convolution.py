"""02 Convolution: the features that a network learns, and a CNN trained on real digits.

Question: what does a convolution compute, how is it made fast, and how well does a small network read digits?
Measured: three ways to convolve, in time; test accuracy over 3 seeds on two splits, and of each digit.
Exercises: 02.1 conv_output_size, 02.2 im2col, 02.3 col2im.
"""

# %% [markdown]
# ## The data: 1,797 digits written by people
# Eight by eight pixels, values from 0 (paper, drawn black) to 1 (ink, drawn white). The test set is a fixed
# fifth of the images, with the same share of every class; the network never trains on it.

# %%
import time

import numpy as np
from tqdm import tqdm

import minidl.nn as nn
import minidl.nn.functional as F
from minidl import Tensor, no_grad
from minidl.classroom.claims import claim
from minidl.data import batches, load_digits, random_rotation
from minidl.engine import kernels
from minidl.figures import (
    bars_with_intervals,
    confusion_picture,
    curves_with_bands,
    image_grid,
    save,
    signed_map,
)
from minidl.nn.models import small_cnn
from minidl.train import Adam, evaluate, fit, predict
from minidl.train.intervals import paired_difference, t_interval
from minidl.train.metrics import confusion_matrix, per_class_accuracy
from minidl.train.schedules import cosine

train, test = load_digits()
train_images, train_labels = train
test_images, test_labels = test
print(
    "train", train_images.shape, train_images.dtype, " test", test_images.shape, " labels", train_labels[:12]
)

first_of_each = [np.flatnonzero(train_labels == digit)[:4] for digit in range(10)]
shown = np.concatenate(first_of_each)
save(image_grid(train_images[shown], titles=train_labels[shown], columns=8), "02_convolution/digits")

# %% [markdown]
# ## What a convolution computes
# A small kernel is laid on every place of the image; each time, what lies under it is multiplied with it and
# summed:
#     y[r, s] = sum over i, j of x[r + i, s + j] · w[i, j]
#
# This kernel answers strongly where there is ink below and none above: it finds horizontal edges.

# %%
digit = train_images[first_of_each[7][0], 0]  # a seven, (8, 8)
edge = np.array([[-1, -1, -1], [0, 0, 0], [1, 1, 1]], np.float32)
response = np.zeros((6, 6), np.float32)
for r in range(6):
    for s in range(6):
        response[r, s] = (digit[r : r + 3, s : s + 3] * edge).sum()

save(image_grid(digit[np.newaxis], titles=["a seven"]), "02_convolution/seven")
save(signed_map(response), "02_convolution/edges")
engine_response = F.conv2d(digit[np.newaxis, np.newaxis], edge[np.newaxis, np.newaxis])
assert np.allclose(engine_response.data[0, 0], response, atol=1e-6)

# %% [markdown]
# ## From seven loops to one product
# With many images, channels and kernels the definition is seven nested loops. Laid out as columns, one per
# position of the kernel, all the patches of an image meet all the kernels in a single matrix product: (O,
# C·9) @ (C·9, H·W). The numbers are the same; the time is not. (The engine does the same, with compiled
# loops, a few images per core.)


# %%
def milliseconds(function, repeats):
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return 1000 * np.median(times)


rng = np.random.default_rng(0)
batch = np.pad(rng.random((8, 4, 8, 8), dtype=np.float32), ((0, 0), (0, 0), (1, 1), (1, 1)))  # (8, 4, 10, 10)
weight = rng.normal(size=(8, 4, 3, 3)).astype(np.float32)


def by_loops():
    return kernels.conv2d_loops(batch, weight, (1, 1), (1, 1), 1)


def by_columns():
    y = np.empty((8, 8, 64), np.float32)
    columns = np.empty((4 * 9, 64), np.float32)
    for n in range(8):
        kernels.im2col(batch[n], (3, 3), (1, 1), (1, 1), columns)  # plain Python here: step into it
        y[n] = weight.reshape(8, 4 * 9) @ columns
    return y.reshape(8, 8, 8, 8)


def by_engine():
    with no_grad():
        return F.conv2d(batch, weight).data


by_engine()  # the first call compiles
rows = {
    "seven loops in Python": by_loops,
    "im2col in Python, one product": by_columns,
    "the engine": by_engine,
}
results = [function() for function in rows.values()]
took = [milliseconds(function, repeats=3) for function in rows.values()]
for name, ms in zip(rows, took, strict=True):
    print(f"{name:32}{ms:10.3f} ms   {took[0] / ms:8.0f} times as fast as the loops")
assert np.allclose(results[0], results[1], atol=1e-5) and np.allclose(results[0], results[2], atol=1e-5)

# %% [markdown]
# ## Backward: the columns come home
# im2col copies each pixel into up to nine columns, so backward each pixel collects nine gradients: `col2im`.
# Copying and collecting are adjoint: <im2col(x), g> = <x, col2im(g)>, whatever x and g are.

# %%
x = rng.normal(size=(4, 10, 10))
columns = np.empty((4 * 9, 64))
kernels.im2col(x, (3, 3), (1, 1), (1, 1), columns)
g = rng.normal(size=columns.shape)
collected = np.empty_like(x)
kernels.col2im(g, (3, 3), (1, 1), (1, 1), collected)

left, right = np.sum(columns * g), np.sum(x * collected)
print(f"<im2col(x), g> = {left:.10f}   <x, col2im(g)> = {right:.10f}")
assert np.isclose(left, right, rtol=1e-12)

# %% [markdown]
# ## A network of convolutions
# Three blocks of convolution, batch normalisation and ReLU, the first followed by pooling; then the mean over
# the image and one linear layer: a score for each of the ten digits.

# %%
rng = np.random.default_rng(0)
model = small_cnn(in_channels=1, num_classes=10, widths=(32, 64, 64), pool_after=(1,), rng=rng)
print(nn.summary(model, (1, 8, 8)))

# %% [markdown]
# ## The training loop, spelled out
# Draw a batch, compare the scores with the labels, carry the gradient back, take a step; fifteen times
# through the data. The learning rate falls along a cosine. Each image is turned by up to ten degrees, at
# random each time: a tilted 4 is a 4, and the network never sees quite the same image twice. (This recipe was
# chosen on a held-out part of the training set, not on the test set.)

# %%
epochs, batch_size = 12, 64
steps = epochs * -(-len(train_images) // batch_size)
optimizer = Adam(model.parameters(), lr=3e-3)
learning_rate = cosine(3e-3, 0.0, steps)
rotation = random_rotation(10)

step, losses, accuracies = 0, [], []
for _epoch in tqdm(range(epochs), desc="training by hand"):
    model.train()
    for images, labels in batches(train_images, train_labels, batch_size, rng=rng, augment=rotation):
        logits = model(images)
        loss = F.cross_entropy(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.lr = learning_rate(step)
        optimizer.step()
        losses.append(loss.item())
        step += 1
    accuracies.append(evaluate(model, test_images, test_labels).accuracy)

print(
    f"{step} steps, loss {losses[0]:.2f} -> {np.mean(losses[-20:]):.3f}, test accuracy {accuracies[-1]:.1%}"
)

# %% [markdown]
# ## Three seeds, and another split
# One run is one draw. The same training from three random starts gives a mean and an interval; from here on
# `fit` runs the loop above. The last 360 images of the file come, presumably, from other writers than the
# rest: testing on them asks whether the network reads a hand that it never saw. (Bands from three seeds are
# wide; where they pass 1, the true mean of course does not.)


# %%
def train_network(seed, train, test):
    rng = np.random.default_rng(seed)
    model = small_cnn(in_channels=1, num_classes=10, widths=(32, 64, 64), pool_after=(1,), rng=rng)
    optimizer = Adam(model.parameters(), lr=3e-3)
    schedule = cosine(3e-3, 0.0, epochs * -(-len(train[0]) // batch_size))
    history = fit(
        model,
        train,
        test,
        epochs=epochs,
        batch_size=batch_size,
        optimizer=optimizer,
        schedule=schedule,
        augment=random_rotation(10),
        rng=rng,
        progress=False,
    )
    return model, history


models = {("stratified", 0): model}  # the one just trained by hand
by_seed = {("stratified", 0): accuracies}
remaining = [("stratified", 1), ("stratified", 2), ("file-order", 0), ("file-order", 1), ("file-order", 2)]
for split, seed in tqdm(remaining, desc="five more networks"):
    models[split, seed], history = train_network(seed, *load_digits(split))
    by_seed[split, seed] = history.test_accuracy

by_split = {
    split: np.array([by_seed[split, seed] for seed in range(3)])  # (seeds, epochs)
    for split in ("stratified", "file-order")
}
for split, runs in by_split.items():
    print(f"{split:12} test accuracy {t_interval(runs[:, -1])}")
difference = paired_difference(by_split["stratified"][:, -1], by_split["file-order"][:, -1])
print(f"difference {difference}: an interval that contains 0 leaves open which split is harder")
curves = {f"test, {split}": runs for split, runs in by_split.items()}
figure = curves_with_bands(np.arange(1, epochs + 1), curves, xlabel="epoch", ylabel="accuracy")
save(figure, "02_convolution/learning_curves")

mean_accuracy = by_split["stratified"][:, -1].mean()
claim(
    "a small CNN reads 98.5% of unseen digits, on average over 3 seeds",
    mean_accuracy >= 0.985,
    f"{mean_accuracy:.2%}",
)

# %% [markdown]
# ## What it has learned to look for
# The thirty-two kernels of the first layer, red where ink counts for and blue where it counts against; and
# what each of them makes of the seven from above, after ReLU.

# %%
model = models["stratified", 0].eval()
filters = model.layer("block1.conv").weight.data[:, 0]  # (32, 3, 3)
save(signed_map(filters), "02_convolution/filters")

block1 = model.layer("block1")
with no_grad():
    seven = Tensor(digit[np.newaxis, np.newaxis])
    features = block1.layer("relu")(block1.layer("bn")(block1.layer("conv")(seven))).data[0]  # (32, 8, 8)
save(image_grid(features, columns=8, vmin=0.0, vmax=float(features.max())), "02_convolution/feature_maps")

# %% [markdown]
# ## Easy and hard digits
# How many of each digit the first network reads, with the interval that 36 images a class allow (Wilson,
# 95%). The intervals overlap nearly everywhere: so few images can tell a hard class from an easy one only if
# it is very hard.

# %%
logits = predict(model, test_images)
answers = logits.argmax(axis=1)
recall = per_class_accuracy(logits, test_labels)
save(
    bars_with_intervals(
        [str(d) for d in range(10)],
        recall.mean,
        recall.low,
        recall.high,
        xlabel="share read right",
        zoom=True,
    ),
    "02_convolution/classes",
)
hardest = ", ".join(map(str, np.flatnonzero(recall.mean == recall.mean.min())))
print(f"hardest: {hardest}, each read in {recall.mean.min():.1%} of {recall.n.min()} images")
print(f"all ten: {np.mean(answers == test_labels):.1%} of {len(test_labels)} images")
assert np.isclose(np.average(recall.mean, weights=recall.n), np.mean(answers == test_labels))

# %% [markdown]
# The other split has its mistakes too. These are its twelve test images whose true digit
# was given the least probability.

# %%
_, (late_images, late_labels) = load_digits("file-order")
probabilities = F.softmax(predict(models["file-order", 0], late_images)).data
answers = probabilities.argmax(axis=1)
confidence = probabilities.max(axis=1)
probability_of_truth = probabilities[np.arange(len(late_labels)), late_labels]
least_believed = np.argsort(probability_of_truth)[:12]
titles = [f"{late_labels[i]} read as {answers[i]}\n{confidence[i]:.0%} sure" for i in least_believed]
right = answers[least_believed] == late_labels[least_believed]
save(
    image_grid(late_images[least_believed], titles=titles, columns=6, right=right), "02_convolution/mistakes"
)
save(
    confusion_picture(confusion_matrix(answers, late_labels, num_classes=10), [str(d) for d in range(10)]),
    "02_convolution/confusion",
)
print(f"{np.sum(answers != late_labels)} of {len(late_labels)} wrong")
