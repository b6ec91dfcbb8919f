# %% [markdown]
# # 07 Contrastive learning
# What can we learn if there are only images, no labels?
#
# Exercises: 07.1 same_or_not, 07.2 roc_auc, 07.3 UnitRows, 07.4 nt_xent, 07.5
# simclr_steps.
#
# The lecture's answer has two parts: distort each image in two ways (augmentations),
# and learn to predict whether two pictures are *the same image or not*. (The slide says
# "one class or not": each image is a class of its own.) The diagram shows SimCLR, a
# framework that does this. A **view** is a distorted copy of the image.
# The **encoder** is the network that is to be trained: it turns a view into features
# $h$. The **head** is a small network that turns $h$ into a vector $z$ for the loss.
# Both views go through the same encoder and the same head. The loss pulls the two
# vectors $z_1$ and $z_2$ together, and pushes the vectors of other images away.

# %%
import numpy as np

from lessons import PICTURES, study
from minidl import data, figures, transfer
from minidl.classroom.claims import claim
from minidl.figures import save
from minidl.train import Adam, predict, roc_auc
from minidl.train.schedules import cosine
from minidl.transfer import SOURCE_SHAPES, TARGET_SHAPES
from minidl.transfer.contrastive import UnitRows

pieces = {
    "crop": data.random_resized_crop(0.4),
    "mirror": data.horizontal_flip(),
    "colour": data.color_jitter(0.4, 0.4, 0.4, hue=0.5, clip=True),
    "noise": data.gaussian_noise(0.05, clip=True),
}
distort = data.compose(*pieces.values())

# %%
cat, _ = data.load_picture(PICTURES / "photos" / "chelsea.webp")
view1, view2 = transfer.two_views(cat[np.newaxis], distort, np.random.default_rng(2))
boxes = {"image": (0, 0.5, "data")}
boxes |= {"view 1": (1, 0, "data"), "view 2": (1, 1, "data")}
boxes |= {"encoder": (2, 0, "trained"), "same encoder": (2, 1, "trained")}
boxes |= {"head": (3, 0, "trained"), "same head": (3, 1, "trained")}
boxes |= {"same\nor not?": (4, 0.5, "loss")}
arrows = [("image", "view 1"), ("image", "view 2")]
arrows += [("view 1", "encoder"), ("view 2", "same encoder")]
arrows += [("encoder", "head", "h₁"), ("same encoder", "same head", "h₂")]
arrows += [("head", "same\nor not?", "z₁"), ("same head", "same\nor not?", "z₂")]
pictures = {"image": cat, "view 1": view1[0], "view 2": view2[0]}
figure = figures.block_diagram(boxes, arrows, pictures=pictures)
alt = "SimCLR: a photograph of a cat is distorted into two views. Both go through one "
alt += "encoder and one head, and the loss asks whether they are the same image."
save(figure, "07_contrastive/simclr", alt=alt)

# %% [markdown]
# ## What "zero shot" means
# The lecture's slides have the title *zero shot learning*. There the words mean: no
# labels at all. In most papers **zero shot** means something else: a network names a
# class of which it never saw an example, from a description of the class. The
# description is a list of properties (Lampert et al. 2009) or a sentence (CLIP, Radford
# et al. 2021).
#
# What the slides show is called **contrastive** learning, a kind of **self-supervised**
# learning. Contrastive learning gives no names, but *features*. With good features a
# few labels are enough to learn names ([lesson 06](06_few_shot.py)).
#
# ## Are two views of the same photograph?
# Each column shows two pictures. Are they views of the same photograph? The answers
# stand below the pictures, so cover them first. You can answer although crop, mirror,
# colours and noise differ. Look at what the distortions do not change: eyes, stripes,
# the pose of an animal.

# %%
others = ["photos/chelsea", "mammals/lion", "mammals/tiger", "vehicles/beetle"]
first = [data.load_picture(PICTURES / f"{name}.webp")[0] for name in others]
others = ["photos/chelsea", "mammals/lion_2", "mammals/tiger", "vehicles/sedan"]
second = [data.load_picture(PICTURES / f"{name}.webp")[0] for name in others]
rng = np.random.default_rng(4)
shown = np.concatenate([distort(np.stack(half), rng) for half in (first, second)])
captions = [""] * 4 + ["the same", "not", "the same", "not"]
figure = figures.photograph_strip(shown, captions, columns=4)
alt = "Four pairs of distorted photographs: two views of one cat, two different lions, "
alt += "two views of one tiger, two different cars."
save(figure, "07_contrastive/same_or_not", alt=alt)

# %% [markdown]
# ## Images for a short training
# SimCLR on photographs needs far more images and time than a lesson has. The short
# training here uses artificial shapes of 16 × 16 pixels: eight shapes to train on,
# without their names, and four other shapes for the tests. Colour, place, size and
# texture are random. The figure shows each distortion alone, and then two views with
# all of them. (The crop cuts out a part and enlarges it to 16 × 16 again. The mirror
# changes only half of the images, chosen at random.)

# %%
rng = np.random.default_rng(6)
images, shapes, _ = data.make_shapes(200, size=16, shapes=TARGET_SHAPES, rng=rng)
one_of_each = [np.flatnonzero(shapes == c)[0] for c in range(4)]
chosen = images[one_of_each]
columns = [chosen]
for piece in pieces.values():
    columns.append(piece(chosen, rng))
columns += transfer.two_views(chosen, distort, rng)
shown = np.stack(columns, axis=1).reshape(-1, 3, 16, 16)  # a row an image
titles = ["image", *pieces, "view 1", "view 2"]
figure = figures.image_grid(shown, titles + [""] * 21, columns=7)
alt = "Four artificial shapes: the image, each distortion alone, and two views."
save(figure, "07_contrastive/views", alt=alt)

# %% [markdown]
# How good is an answer to "same or not"? Take two views of each of 200 images, and
# compare every first view with every second one: 200 pairs are the same image, 39,800
# are not. The score of a pair is the cosine of the two vectors. The **AUC** (area
# under the ROC curve) is how often a same pair has a larger score than a pair that is
# not the same. Guessing gives 0.5.

# %%
view1, view2 = transfer.two_views(images, distort, np.random.default_rng(7))
untrained = transfer.shapes_cnn(8, np.random.default_rng(0))
untrained = untrained[:-1]  # without its last layer
rows = view1.reshape(200, -1), view2.reshape(200, -1)
by_network = predict(untrained, view1), predict(untrained, view2)
print(f"pixels: AUC {roc_auc(*transfer.same_or_not(*rows)):.2f}")
print(f"untrained network: AUC {roc_auc(*transfer.same_or_not(*by_network)):.2f}")

# %% [markdown]
# ## The loss: which view is the partner?
# $N$ images make $2N$ views. Each view $i$ has one partner $p$, the other view of its
# image (the *positive*), and $2N - 2$ views of other images (the *negatives*). The
# question is which of the $2N - 1$ other views is the partner. That is a classification
# with the other views as classes. The logits are the cosines $S$ divided by a
# temperature $T$ (Chen et al. 2020):
#
# $$L = \frac{1}{2N}\sum_{i=1}^{2N} -\log
#   \frac{e^{S_{ip}/T}}{\sum_{k \neq i} e^{S_{ik}/T}},
#   \qquad S_{ik} = \frac{z_i \cdot z_k}{\lVert z_i\rVert\,\lVert z_k\rVert}$$
#
# If all $z$ are equal, each answer is a guess and the loss is $\log(2N - 1)$. When a
# training ends there, this is called a **collapse**. The negatives prevent it: a loss
# that only pulled partners together would be smallest if all images had the same $z$.
# In this loss such a $z$ is no better than a guess. The untrained network is near this
# point: its features all point in nearly the same direction.

# %%
N, T = 4, 0.2
z1, z2 = predict(untrained, view1[:N]), predict(untrained, view2[:N])
u = UnitRows().forward(np.concatenate([z1, z2]))  # (2N, 64), rows of length 1
S = u @ u.T  # (2N, 2N) cosines
np.fill_diagonal(S, -np.inf)  # no view is its own partner
q = np.exp(S / T) / np.exp(S / T).sum(axis=1, keepdims=True)
p = np.roll(np.arange(2 * N), N)  # the partners: 4 5 6 7 0 1 2 3
L = -np.log(q[np.arange(2 * N), p]).mean()
print(f"L = {L:.2f}, the loss of a guess {np.log(2 * N - 1):.2f}")
assert np.isclose(L, transfer.nt_xent(z1, z2, T).item(), rtol=1e-5)
same = np.ones((N, 64))  # all views have the same z
print(f"after a collapse: L = {transfer.nt_xent(same, same, T).item():.2f}")

# %% [markdown]
# ## A short training
# The encoder gives 64 features $h$. The head gives $z$ for the loss. After the training
# the head is thrown away and $h$ is kept: Chen et al. (2020) found that $h$ serves
# later questions better than $z$ (not measured here). We train one epoch at a time.
# After each epoch we ask "same or not" about the four shapes that the network never
# saw.

# %%
epochs, batch = 8, 32
source = {"size": 16, "shapes": SOURCE_SHAPES}
rng = np.random.default_rng(1000)
unlabelled, _, _ = data.make_shapes(1000, **source, rng=rng)
steps = len(unlabelled) // batch  # of an epoch
rate = cosine(3e-3, 0.0, epochs * steps)


def rates_from(start):
    """The learning rates of an epoch that begins with step ``start``."""
    return lambda step: rate(start + step)


# %%
encoder = transfer.shapes_cnn(8, np.random.default_rng(0))[:-1]
rng = np.random.default_rng(2000)
head = transfer.ProjectionHead(64, 64, 32, rng=rng)
optimizer = Adam([*encoder.parameters(), *head.parameters()], lr=3e-3)
options = {"head": head, "augment": distort, "temperature": 0.2, "epochs": 1}
options |= {"batch_size": batch, "optimizer": optimizer, "rng": rng, "progress": False}

before, found, aucs = predict(encoder, images), [], []
for epoch in range(epochs):
    options["schedule"] = rates_from(epoch * steps)
    history = transfer.train_simclr(encoder, unlabelled, **options)
    found.append(history.train_accuracy[0])
    after = predict(encoder, view1), predict(encoder, view2)
    aucs.append(roc_auc(*transfer.same_or_not(*after)))
print(f"partners found in the last epoch: {found[-1]:.0%}, by guessing {1 / 63:.0%}")

# %%
curves = {"partners found in the batch": found, "same or not: AUC, unseen shapes": aucs}
curves["AUC of a guess"] = [0.5] * epochs
curves["partners found by a guess"] = [1 / 63] * epochs
curves = {name: np.array(values) for name, values in curves.items()}
labels = {"xlabel": "epoch", "ylabel": "share or AUC"}
labels["title"] = "Training without labels"
figure = figures.curves_with_bands(np.arange(1, epochs + 1), curves, **labels)
figure.axes[0].set_ylim(0, 1)
alt = "By epoch: the share of partners found rises from near zero, and the AUC of same "
alt += "or not on unseen shapes rises as well."
save(figure, "07_contrastive/training", alt=alt)

# %% [markdown]
# The AUC on unseen shapes rises from 0.66 of the untrained network to 0.86. Pixels have
# 0.70. In the last epoch 28% of the partners are found. A guess finds one of 63,
# because a batch of 32 images has 64 views.

# %% [markdown]
# ## What the temperature does
# Cosines lie between −1 and 1. Without $T$ the largest possible ratio of two terms in
# the sum is $e^2 = 7.4$. So with 63 other views the partner would get at most 11%, and
# the softmax would never be sure. With $T = 0.2$ the ratio is
# $e^{10} \approx 22{,}000$. The gradient pushes a view away from each view of another
# image, in proportion to that view's share of the softmax. The figure shows these
# shares for one view and twelve views of other images, computed from $z$ of the trained
# network. At a low $T$ most of the push goes to the few views that look most alike. The
# printed number is the share of the first three; equal shares would give 25%.

# %%
z = predict(head, predict(encoder, view1[:13]))  # (13, 32)
u = UnitRows().forward(z)
cosines = np.sort((u @ u.T)[0, 1:])[::-1]  # the most alike first
temperatures = (0.05, 0.2, 1.0)
shares = [np.exp(cosines / T) / np.exp(cosines / T).sum() for T in temperatures]
titles = [f"T = {T}" for T in temperatures]
xlabel = "other image, most alike first"
figure = figures.distributions(np.stack(shares), range(1, 13), titles, xlabel=xlabel)
figure.axes[0].set_ylabel("share of the push")
alt = "Share of the push for twelve views of other images: at T = 0.05 most of it on "
alt += "the first few, at T = 1 spread over all."
save(figure, "07_contrastive/temperature", alt=alt)
for T, share in zip(temperatures, shares, strict=True):
    print(f"T = {T}: {share[:3].sum():.0%} of the push goes to the first three")

# %% [markdown]
# ## The features as points
# Each point is an image of one of the four unseen shapes. The two axes are the
# directions in which the 64 features spread most (the principal components). The
# network never got the classes: they are only the colours of this picture. After the
# training hourglasses and corners form groups. Arrows and bars stay mixed in these two
# directions.

# %%
clouds = {"untrained": before, "after 8 epochs": predict(encoder, images)}
points = {name: transfer.pca_projection(h) for name, h in clouds.items()}
axes = {"xlabel": "first direction", "ylabel": "second direction"}
figure = figures.scatter_by_class(points, shapes, TARGET_SHAPES, **axes)
alt = "Features of four unseen shapes in two dimensions: mixed in the untrained "
alt += "network. After the training hourglasses and corners form groups, arrows and "
alt += "bars stay mixed."
save(figure, "07_contrastive/embedding", alt=alt)

# %% [markdown]
# ## What the features are good for
# Now a question that SimCLR was never asked: which of the four unseen shapes is it?
# Twenty labelled images of each shape go to a *linear probe*, a single linear layer on
# fixed features. The study does this with eight seeds. The controls are the pixels, the
# same network with random weights, and the same network trained with labels, on
# undistorted images.

# %%
ways = {"pixels": "pixels", "random network": "random"}
ways |= {"SimCLR, no labels": "SimCLR", "trained with labels": "labels"}
results = []
for way in ways.values():
    results.append(study("07_contrastive", f"{way}: shape, probe"))
xlabel = "share of unseen shapes right, by probe (chance 0.25); 8 seeds"
figure = figures.bars_with_intervals(list(ways), results, xlabel=xlabel, share=True)
alt = "Unseen shapes recognised by a probe: a random network 0.75, pixels 0.80, SimCLR "
alt += "0.92, a network trained with labels 0.93."
save(figure, "07_contrastive/probe", alt=alt)

# %%
probe, neighbours = "shape, probe", "shape, neighbours"
gain = study("07_contrastive", f"labels: {probe}", minus=f"SimCLR: {probe}")
for way in ("SimCLR", "labels"):
    gain = study(
        "07_contrastive", f"{way}: {neighbours}", minus=f"pixels: {neighbours}"
    )
for way in ("SimCLR", "random", "without colour"):
    study("07_contrastive", f"{way}: texture, probe")

# %% [markdown]
# Without a single label the network has learned features that help a probe: 0.92 of the
# unseen shapes are right, against 0.80 with pixels and 0.75 with a random network. The
# network trained with labels is not measurably better: the difference is 0.016 ± 0.035.
# (If it were trained on distorted images, it might be better. This was not measured.)
#
# Two results are negative. First, by nearest neighbours SimCLR is no better than pixels
# (−0.010 ± 0.054). The network trained with labels is better than pixels, by 0.089 ±
# 0.029. A possible reason: SimCLR pushes all images apart, also those of one class.
# Such a negative is called a **false negative**: another image of the same class in the
# batch.
#
# Second, SimCLR's features recognise the texture in 0.177 of the images (chance 0.125),
# *less* often than random features (0.235). The training teaches the features to ignore
# what the distortions change. Without the colour distortion (next section) the share is
# 0.285: the colour distortion seems to cost knowledge of the texture. A task such as
# naming flowers by their colour might suffer in the same way.
#
# ## Which distortion matters?
# Leave out the colour distortion. Then the mean of red, green and blue is enough to
# answer "same or not". There is no need to look at shapes.

# %%
without = data.compose(pieces["crop"], pieces["mirror"], pieces["noise"])
rng = np.random.default_rng(5)
for name, augment in (("all distortions", distort), ("without colour", without)):
    a, b = transfer.two_views(images, augment, rng)
    a, b = a.mean(axis=(2, 3)), b.mean(axis=(2, 3))  # (200, 3): mean colours
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    auc = roc_auc(*transfer.same_or_not(a, b))
    print(f"{name}: mean colours alone, AUC {auc:.2f}")
claim("without colour distortion mean colours suffice", auc > 0.8, {"AUC": auc})

# %% [markdown]
# Now the study trains without one kind of distortion. Each network looks for partners
# under the distortions of its own training, so with fewer distortions this is easier.
# "Same or not" is asked under all distortions.
#
# Without colour distortion nearly every partner is found, but for the probe the
# features are worse than those of random weights (0.38 against 0.75). So the training
# seems to use the colours as a shortcut. What the network looks at was not measured.
# Without geometry (crop and mirror) nearly every partner is found, too. The probe does
# not show any harm, but "same or not" becomes worse. So the share of partners found
# does not say how good the features are.

# %%
ways = {"all distortions": "SimCLR", "without colour": "without colour"}
ways["without geometry"] = "without geometry"
rows, results = [], []
for question in ("partners found", "shape, probe", "same or not"):
    for name, way in ways.items():
        rows.append(f"{question}: {name}")
        results.append(study("07_contrastive", f"{way}: {question}"))
xlabel = "share of partners, share of right shapes, or AUC; 8 seeds, 95% intervals"
figure = figures.bars_with_intervals(rows, results, xlabel=xlabel, share=True)
for line in (2.5, 5.5):  # between the three questions
    figure.axes[0].axhline(line, color="black", linewidth=0.8)
alt = "Without colour distortion 0.96 of the partners are found, but the probe falls "
alt += "from 0.92 to 0.38. Without geometry 0.94 are found, and the probe stays."
save(figure, "07_contrastive/ablation", alt=alt)

# %% [markdown]
# ## What to remember
# - Contrastive learning needs no labels. It learns to distinguish two views of one
#   image from views of other images.
# - The distortions decide what the features ignore. What they do not change, the
#   network may use as a shortcut.
# - The loss is a classification: which of the other views is the partner? The logits
#   are cosines divided by a temperature. The negatives prevent a collapse.
# - The head is thrown away. The features need a few labels to give names.
# - The lecture calls this "zero shot". Elsewhere zero shot means: to name a class from
#   its description alone.
#
# ## Try it
# - Let `distort` be `pieces["crop"]` and `pieces["noise"]` only. What do both curves of
#   the short training do now? (Both rise above 0.9: the colours give the partner away.)
# - Set `"temperature"` in `options` to 1. Which of the two curves changes? (Fewer
#   partners are found, 19%. The AUC ends where it was.)
# - Let `pieces["crop"]` keep as little as a tenth of the image:
#   `data.random_resized_crop(0.1)`. Look at the views first: could you still find the
#   partners? (The network finds 13%, and the AUC ends at 0.70.)
#
# Exercises: 07.1 same_or_not, 07.2 roc_auc, 07.3 UnitRows, 07.4 nt_xent, 07.5
# simclr_steps.
#
# ## Papers
# - Christoph Lampert, Hannes Nickisch and Stefan Harmeling (2009), Learning to detect
#   unseen object classes by between-class attribute transfer.
# - Ting Chen et al. (2020), A simple framework for contrastive learning of visual
#   representations.
# - Alec Radford et al. (2021), Learning transferable visual models from natural
#   language supervision.
