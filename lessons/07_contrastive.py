"""07 Contrastive learning: features without labels, from which pictures show the same thing (SimCLR).

Question: what does a network learn that is never told what it sees, only which two views are one image?
Measured: probe and neighbours on unseen classes, the AUC of same or not; ablation, temperature; 5 seeds.
Exercises: 07.1 UnitRows, 07.2 nt_xent, 07.3 same_or_not, 07.4 roc_auc.
"""

# %% [markdown]
# ## Two views of one image
# There are no labels here. There is something else that we know of every image: cut out of it, mirrored, in
# other colours and with some noise it still shows the same thing. Whatever distortions we choose, we say by
# them what does *not* matter.

# %%
import numpy as np

from minidl.classroom.claims import claim
from minidl.data import (
    cached_runs,
    color_jitter,
    compose,
    gaussian_noise,
    horizontal_flip,
    make_shapes,
    random_resized_crop,
)
from minidl.figures import bars_with_intervals, distributions, image_grid, save, scatter_by_class
from minidl.train import Adam, predict, roc_auc
from minidl.train.intervals import paired_difference, t_interval
from minidl.train.schedules import cosine
from minidl.transfer import (
    SOURCE_SHAPES,
    TARGET_SHAPES,
    ProjectionHead,
    linear_probe,
    nt_xent,
    pca_projection,
    pretrained_shapes,
    same_or_not,
    shapes_cnn,
    standardise,
    train_simclr,
    two_views,
)
from minidl.transfer.contrastive import UnitRows
from minidl.transfer.fewshot import knn_predict

SEEDS = range(5)
rng = np.random.default_rng(0)
images, shapes, _ = make_shapes(200, size=16, shapes=TARGET_SHAPES, rng=rng)  # looked at, never trained on
pieces = {
    "crop": random_resized_crop(0.4),
    "flip": horizontal_flip(),
    "colour": color_jitter(0.4, 0.4, 0.4, hue=0.5, clip=True),
    "noise": gaussian_noise(0.05, clip=True),
}
distort = compose(*pieces.values())

columns = [images[:4], *(piece(images[:4], rng) for piece in pieces.values())]
columns += two_views(images[:4], distort, rng)
shown = np.stack(columns, axis=1).reshape(-1, 3, 16, 16)  # a row an image
headings = ["image", *pieces, "view 1", "view 2"] + [""] * (len(shown) - 7)
save(image_grid(shown, headings, columns=7), "07_contrastive/views")

# %% [markdown]
# ## Same or not?
# The lecture's question. Take 200 images of four shapes, two views of each, and compare every first view with
# every second one: 200 pairs are of the same image, 39,800 are not. The score of a pair is the cosine of the
# two descriptions. The area under the ROC curve is how often a same pair scores above one that is not: 1/2 is
# guessing.

# %%
view1, view2 = two_views(images, distort, rng)
untrained = shapes_cnn(8, np.random.default_rng(0))[:-1]  # all but the head: 64 features
descriptions = {
    "pixels": (view1.reshape(200, -1), view2.reshape(200, -1)),
    "untrained network": (predict(untrained, view1), predict(untrained, view2)),
}
for name, (a, b) in descriptions.items():
    scores, same = same_or_not(a, b)
    print(f"{name:18}{same.sum()} same, {(~same).sum()} not: cosines {scores[same].mean():.3f} and ", end="")
    print(f"{scores[~same].mean():.3f} on average, AUC {roc_auc(scores, same):.3f}")

# %% [markdown]
# ## The loss: find your partner
# N images make 2N views. Each is asked which of the 2N − 1 others is its partner, and the answer is a softmax
# of the cosines over a temperature T. So it is classification, with the other images as the classes:
#     L = mean over i of  −log( e^(S_ip/T) / Σ_{k≠i} e^(S_ik/T) )
# If all views look alike the answer is a guess and costs log(2N − 1).

# %%
N, T = 4, 0.2
z1, z2 = predict(untrained, view1[:N]), predict(untrained, view2[:N])
u = UnitRows().forward(np.concatenate([z1, z2]))  # (2N, 64), each row of length 1
S = u @ u.T  # (2N, 2N) cosines
np.fill_diagonal(S, -np.inf)  # nobody is their own partner
weights = np.exp(S / T) / np.exp(S / T).sum(axis=1, keepdims=True)
partner = np.roll(np.arange(2 * N), N)  # 4 5 6 7 0 1 2 3
loss = -np.log(weights[np.arange(2 * N), partner]).mean()

print(f"loss {loss:.4f}, nt_xent {nt_xent(z1, z2, T).item():.4f}, a guess {np.log(2 * N - 1):.4f}")
assert np.isclose(loss, nt_xent(z1, z2, T).item(), rtol=1e-5)
assert np.isclose(nt_xent(np.ones((N, 3)), np.ones((N, 3)), T).item(), np.log(2 * N - 1))

# %% [markdown]
# ## What the temperature does
# Cosines lie between −1 and 1, so without T no softmax of them is ever sure. The gradient pushes view i from
# each stranger k by that stranger's share of the softmax. At low T nearly all of it goes to the few strangers
# that look most alike, at high T all are pushed alike.

# %%
pixels = view1[:13].reshape(13, -1)
u = UnitRows().forward(pixels - pixels.mean(axis=0))
strangers = np.sort((u @ u.T)[0, 1:])[::-1]  # view 0 against 12 strangers, the most alike first
Ts = (0.05, 0.2, 1.0)
shares = np.stack([np.exp(strangers / T) / np.exp(strangers / T).sum() for T in Ts])  # (3, 12), equal: 1/12
titles = {"titles": [f"T = {T}" for T in Ts], "xlabel": "stranger, the most alike first"}
figure = distributions(shares, [str(k) for k in range(1, 13)], **titles)
figure.axes[0].set_ylabel("share of the push")
save(figure, "07_contrastive/temperature")

# %% [markdown]
# ## SimCLR
# The encoder is lesson 03's network without its head. On its features stands a projection head, which is
# trained with it and then thrown away: what the loss has no use for gets lost in there and not before (so
# Chen et al. 2020; not measured here). It trains on 2,000 images of eight shapes; we ask about four others.
# Here it goes one epoch at a time, to see same or not get better.

# %%
epochs, batch_size = 6, 64
rng = np.random.default_rng(0)
encoder = shapes_cnn(8, rng)[:-1]
unlabelled, _, _ = make_shapes(2000, size=16, shapes=SOURCE_SHAPES, rng=rng)  # the labels are dropped
head = ProjectionHead(64, 64, 32, rng=rng)
optimizer = Adam([*encoder.parameters(), *head.parameters()], lr=3e-3)
steps = len(unlabelled) // batch_size  # in an epoch
rate = cosine(3e-3, 0.0, epochs * steps)

by_epoch = {0: predict(encoder, images)}
print("epoch   loss   partner found   AUC of same or not on four unseen shapes")
for epoch in range(1, epochs + 1):
    options = {"epochs": 1, "batch_size": batch_size, "optimizer": optimizer, "rng": rng}
    options["schedule"] = lambda step, done=(epoch - 1) * steps: rate(done + step)
    history = train_simclr(encoder, unlabelled, head=head, augment=distort, temperature=0.2, **options)
    by_epoch[epoch] = predict(encoder, images)
    auc = roc_auc(*same_or_not(predict(encoder, view1), predict(encoder, view2)))
    print(f"{epoch:5}{history.train_loss[0]:7.2f}{history.train_accuracy[0]:16.1%}{auc:10.3f}")

# %% [markdown]
# ## The embedding, epoch by epoch
# Four shapes that neither the network nor its images knew, in the two directions in which their features
# spread most. Nobody gave it the colours of this picture: they are the classes.

# %%
clouds = {f"epoch {epoch}" if epoch else "untrained": by_epoch[epoch] for epoch in (0, 2, 6)}
points = {name: pca_projection(features) for name, features in clouds.items()}
titles = {"xlabel": "first direction", "ylabel": "second direction", "title": "Four unseen shapes, by PCA"}
figure = scatter_by_class(points, shapes, TARGET_SHAPES, **titles)
save(figure, "07_contrastive/embedding")

# %% [markdown]
# ## What the features are good for
# Two questions that SimCLR was never asked: which of four unseen shapes, and which of eight textures. 20
# labels a class go to a linear probe and to nearest neighbours (5, by cosine). Against it: pixels; the same
# network with random weights; and one trained with labels to name the eight shapes, on 2,000 such images too,
# but for 10 epochs and undistorted, where SimCLR has 6 epochs of distorted ones.


# %%
def run(seed, description, geometry=True, colour=True, temperature=0.2):
    """Shares right on two questions by probe and neighbours, and the AUC of same or not."""
    rng = np.random.default_rng(seed)
    network = pretrained_shapes(seed) if description == "supervised" else shapes_cnn(8, rng)
    encoder, results = network[:-1], {}
    moved = [random_resized_crop(0.4), horizontal_flip()]
    coloured = [color_jitter(0.4, 0.4, 0.4, hue=0.5, clip=True)]
    noise = gaussian_noise(0.05, clip=True)
    if description == "simclr":
        images, _, _ = make_shapes(2000, size=16, shapes=SOURCE_SHAPES, rng=rng)
        head = ProjectionHead(64, 64, 32, rng=rng)
        history = train_simclr(
            encoder,
            images,
            head=head,
            augment=compose(*moved * geometry, *coloured * colour, noise),
            epochs=6,
            temperature=temperature,
            batch_size=64,
            optimizer=Adam([*encoder.parameters(), *head.parameters()], lr=3e-3),
            schedule=cosine(3e-3, 0.0, 6 * 31),
            rng=rng,
            progress=False,
        )
        results["found"] = history.train_accuracy[-1]

    def described(x):
        return x.reshape(len(x), -1) if description == "pixels" else predict(encoder, x)

    rng = np.random.default_rng(3000 + seed)  # the same questions for all
    for question, classes in (("shape", 4), ("texture", 8)):
        pictures = {"size": 16, "shapes": TARGET_SHAPES, "label": question, "rng": rng}
        support, labels, _ = make_shapes(20 * classes, **pictures)
        queries, truth, _ = make_shapes(400, **pictures)
        train, test = described(support), described(queries)
        probe = linear_probe(standardise(train, train), labels, l2=0.01)
        answers = predict(probe, standardise(train, test).astype(np.float32)).argmax(axis=1)
        results[f"{question}.probe"] = np.mean(answers == truth)
        neighbours = knn_predict(train, labels, test, k=5, metric="cosine")
        results[f"{question}.neighbours"] = np.mean(neighbours == truth)
    views = two_views(queries[:200], compose(*moved, *coloured, noise), rng)
    results["auc"] = roc_auc(*same_or_not(*(described(view) for view in views)))
    return results


settings = {
    "pixels": {"description": "pixels"},
    "random": {"description": "random"},
    "SimCLR": {"description": "simclr"},
    "supervised": {"description": "supervised"},
    "without colour": {"description": "simclr", "colour": False},
    "without geometry": {"description": "simclr", "geometry": False},
    "T = 1": {"description": "simclr", "temperature": 1.0},
}
recipes = [{"seed": seed, **setting} for setting in settings.values() for seed in SEEDS]
results = cached_runs("07_contrastive", recipes, run)
found = {}  # (setting, what was measured) -> (5,)
for i, name in enumerate(settings):
    same_setting = results[len(SEEDS) * i : len(SEEDS) * (i + 1)]
    for what in same_setting[0]:
        found[name, what] = np.array([float(result[what]) for result in same_setting])

for what in ("shape.probe", "shape.neighbours", "texture.probe", "auc"):
    for name in ("pixels", "random", "SimCLR", "supervised"):
        print(f"{what:20}{name:12}{t_interval(found[name, what])}")


def difference(one, other, what):
    return paired_difference(found[one, what], found[other, what])


# %% [markdown]
# Chance is 1/4 for the shape and 1/8 for the texture. Without a single label the network has learned what a
# shape is, whatever its colour and place, and that helps with shapes that it never saw.

# %%
share = t_interval(found["random", "shape.probe"])
claim("random features tell unseen shapes above chance", share.low > 0.25, {"share": share})
for what, other in (("probe", "random"), ("probe", "pixels"), ("neighbours", "random")):
    gain = difference("SimCLR", other, f"shape.{what}")
    claim(f"by {what} SimCLR's features tell them better than {other}", gain.low > 0, {"gain": gain})
for other in ("random", "pixels"):
    gain = difference("SimCLR", other, "auc")
    claim(f"on unseen shapes they answer same or not better than {other}", gain.low > 0, {"in AUC": gain})

# %% [markdown]
# What did not show. By neighbours SimCLR is not seen to beat pixels, and labels are worth much: they pull a
# class together, where SimCLR pushes all images apart, those of one class too. For a probe, which may turn
# and stretch the features, labels are not shown to be worth more than none. As for the texture, which labels
# of shapes teach to forget: SimCLR was not told to, but knows no more of it than random weights do.

# %%
print("by neighbours, SimCLR over pixels:", difference("SimCLR", "pixels", "shape.neighbours"))
print("by probe, labels over SimCLR:", difference("supervised", "SimCLR", "shape.probe"))
gain = difference("supervised", "SimCLR", "shape.neighbours")
claim("by neighbours labels beat SimCLR", gain.low > 0, {"gain": gain})
print("texture, SimCLR over random:", difference("SimCLR", "random", "texture.probe"))
loss = difference("supervised", "random", "texture.probe")
claim("labels of shapes cost what random features know of texture", loss.high < 0, {"change": loss})

# %% [markdown]
# ## Which distortion matters?
# Leave one kind out. If colours stay as they are, three numbers answer same or not: the mean red, green
# and blue. Then there is no need to look at shapes.

# %%
colour_kept = compose(pieces["crop"], pieces["flip"], pieces["noise"])
for name, augment in (("without colour", colour_kept), ("all", distort)):
    colours = [view.mean(axis=(2, 3)) for view in two_views(images, augment, rng)]  # (200, 3) each
    centred = [c - c.mean(axis=0) for c in colours]
    print(f"distortions: {name:16}mean colours alone: AUC {roc_auc(*same_or_not(*centred)):.3f}")

for name in ("SimCLR", "without colour", "without geometry"):
    partners, shape, auc = (t_interval(found[name, what]) for what in ("found", "shape.probe", "auc"))
    print(f"{name:18}own partners found {partners}   shape {shape}   same or not, all distortions {auc}")

means, lows, highs, _ = np.array([t_interval(found[name, "shape.probe"]) for name in settings]).T
xlabel = "share of unseen shapes told by a probe (line: chance); 5 seeds, 95% t-intervals"
figure = bars_with_intervals(list(settings), means, lows, highs, xlabel=xlabel)
figure.axes[0].axvline(0.25, color="0.2", linestyle="--", linewidth=1)
save(figure, "07_contrastive/probe")

# %% [markdown]
# Without colour distortion training goes splendidly: nearly every partner is found. And it is worthless: the
# network takes the shortcut, and what it has learned is worse than random weights. Without cropping and
# mirroring nearly as many are found, but the probe is not seen to do worse: the share of partners found does
# not say how good the features are. Same or not, under all distortions, is answered worse without them.

# %%
easier = difference("without colour", "SimCLR", "found")
claim("without colour distortion more partners are found", easier.low > 0, {"difference": easier})
worse = difference("without colour", "random", "shape.probe")
claim("and the features are worse than random ones", worse.high < 0, {"difference": worse})
blinder = difference("without geometry", "SimCLR", "auc")
claim("without geometry same or not is answered worse", blinder.high < 0, {"in AUC": blinder})
print("without geometry, by probe:", difference("without geometry", "SimCLR", "shape.probe"))

# %% [markdown]
# The temperature is no such matter here: five times as high fewer partners are found, but neither the probe
# nor same or not tells the two networks apart.

# %%
for what in ("found", "shape.probe", "auc"):
    print(f"T = 1 against T = 0.2: {what:14}{difference('T = 1', 'SimCLR', what)}")
