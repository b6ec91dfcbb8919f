"""04 Feature extractor: a trained network as a fixed function, and a head that is solved for.

Question: what has a network learned that helps with shapes it never saw, and at which depth does it lie?
Measured: accuracy of a linear probe on pixels, untrained and learned features, by labels and layer; 5 seeds.
Exercises: 04.1 standardise, 04.2 pca_projection, 04.3 probe_loss.
"""

# %% [markdown]
# ## A network is a function of an image
# Without its head, a network that tells eight shapes apart turns an image of 768 numbers into 64 features. In
# evaluation mode that is a fixed function: an image's features do not depend on the batch that it comes in.
# The head is a linear function of them, and the network is one after the other.

# %%
import numpy as np

from minidl.classroom.claims import claim
from minidl.data import cached_runs, make_shapes
from minidl.figures import curves_with_bands, save, scatter_by_class
from minidl.train import predict
from minidl.train.intervals import paired_difference, t_interval
from minidl.transfer.backbone import TARGET_SHAPES, pretrained_shapes, shapes_cnn
from minidl.transfer.features import pca_projection, probe_loss, standardise
from minidl.transfer.finetune import extract_features, linear_probe

SEEDS = range(5)

rng = np.random.default_rng(0)
images, labels, _ = make_shapes(300, size=16, shapes=TARGET_SHAPES, rng=rng)  # four shapes never seen
model = pretrained_shapes(seed=0)
features = extract_features(model, images, "flatten")  # (300, 64)

one_by_one = extract_features(model, images[:8], "flatten", batch_size=1)
logits = features @ model.head.weight.data.T + model.head.bias.data  # (300, 8)
print("images", images.shape, "-> features", features.shape, "-> logits", logits.shape)
print(f"alone or in a batch: features differ by at most {np.abs(one_by_one - features[:8]).max():.1e}")
assert np.allclose(one_by_one, features[:8], atol=1e-5)
assert np.allclose(logits, predict(model, images), atol=1e-4)

# %% [markdown]
# ## A picture of 64 dimensions
# The two directions in which the features spread most make a picture. With the mean at 0, X = U S Vᵀ: the
# rows of Vᵀ are the directions, the widest first, and X V are the coordinates along them. No labels are used.

# %%
X = features - features.mean(axis=0)
U, S, Vt = np.linalg.svd(X, full_matrices=False)
coordinates = X @ Vt[:2].T  # (300, 2)
share = S**2 / np.sum(S**2)
print(f"the first two of {len(S)} directions hold {share[:2].sum():.0%} of the features' spread")
assert np.allclose(np.abs(coordinates), np.abs(pca_projection(features)), atol=1e-3)  # signs are free

untrained = shapes_cnn(8, np.random.default_rng(1)).eval()
clouds = {
    "pixels": images.reshape(300, -1),
    "untrained network": extract_features(untrained, images, "flatten"),
    "pretrained network": features,
}
figure = scatter_by_class(
    {name: pca_projection(cloud) for name, cloud in clouds.items()},
    labels,
    TARGET_SHAPES,
    xlabel="first direction",
    ylabel="second direction",
    title="Four shapes that the network never saw, by PCA",
)
save(figure, "04_feature_extractor/pca")

# %% [markdown]
# The pixels' widest directions are where the light is, which parts some shapes a little; an untrained network
# mixes them all. In the pretrained features they come apart, though nobody told the network of these shapes.
#
# ## The best head
# On fixed features a linear head is softmax regression: minimise
#     L(W, b) = mean cross-entropy of softmax(F Wᵀ + b)  +  l2/2 ||W||²
# From zero weights, where every class gets 1/4, the loss is ln 4. It is a convex bowl: plain gradient descent
# gets down to the same place from anywhere, and Newton's method in `linear_probe` in some ten steps.

# %%
F = standardise(features, features)
l2 = 0.01
at_zero, _, _ = probe_loss(np.zeros((4, 64)), np.zeros(4), F, labels, l2)
probe = linear_probe(F, labels, l2)
best, slope, _ = probe_loss(probe.weight.data, probe.bias.data, F, labels, l2)
assert np.isclose(at_zero, np.log(4))
assert np.abs(slope).max() < 1e-5

descents = {}
for name, spread in (("from zero", 0.0), ("from random weights", 0.3)):
    W, b, losses = spread * rng.normal(size=(4, 64)), np.zeros(4), []
    for _step in range(1000):
        loss, grad_W, grad_b = probe_loss(W, b, F, labels, l2)
        W, b = W - 0.3 * grad_W, b - 0.3 * grad_b
        losses.append(loss - best)
    descents[name] = np.array(losses)
    print(f"{name:20} {losses[0] + best:.4f} -> {losses[-1] + best:.6f}   the probe's {best:.6f}")
    assert -1e-6 < losses[-1] < 1e-3
figure = curves_with_bands(
    np.arange(1, 1001), descents, ylabel="loss above the probe's", log_x=True, log_y=True
)
save(figure, "04_feature_extractor/descent")

# %% [markdown]
# ## Pixels, random features, learned features
# The same probe on three descriptions of an image, from 1 to 100 labels a class. All are standardised by the
# training images' mean and deviation; the test images are never asked for theirs. The untrained network is
# the same one with random weights.


# %%
def probe_accuracy(seed, description, labels_per_class):
    """Test accuracy of a linear probe on four unseen shapes."""
    rng = np.random.default_rng(1000 + seed)
    train_images, train_labels, _ = make_shapes(4 * labels_per_class, size=16, shapes=TARGET_SHAPES, rng=rng)
    test_images, test_labels, _ = make_shapes(800, size=16, shapes=TARGET_SHAPES, rng=rng)
    if description == "pixels":
        train, test = train_images.reshape(len(train_images), -1), test_images.reshape(800, -1)
    else:
        model = pretrained_shapes(seed) if description == "pretrained" else shapes_cnn(8, rng)
        train, test = (extract_features(model, x, "flatten") for x in (train_images, test_images))
    probe = linear_probe(standardise(train, train), train_labels, l2=0.01)
    answers = predict(probe, standardise(train, test).astype(np.float32)).argmax(axis=1)
    return {"accuracy": np.mean(answers == test_labels)}


label_counts, descriptions = (1, 5, 20, 100), ("pixels", "untrained", "pretrained")
recipes = [
    {"seed": seed, "description": description, "labels_per_class": count}
    for description in descriptions
    for seed in SEEDS
    for count in label_counts
]
results = np.array([run["accuracy"] for run in cached_runs("04_descriptions", recipes, probe_accuracy)])
by_description = dict(zip(descriptions, results.reshape(3, len(SEEDS), len(label_counts)), strict=True))
figure = curves_with_bands(
    np.array(label_counts),
    by_description,
    xlabel="labels per class",
    ylabel="test accuracy, 4 unseen shapes",
    log_x=True,
)
save(figure, "04_feature_extractor/labels")

for column, count in enumerate(label_counts):
    pixels, random, learned = (by_description[description][:, column] for description in descriptions)
    gain = paired_difference(learned, pixels)
    claim(f"learned features beat pixels at {count} a class", gain.low > 0, {"gain": gain})
    print(f"{'':20} untrained features over pixels: {paired_difference(random, pixels)}")
few_learned, many_pixels = by_description["pretrained"][:, 1], by_description["pixels"][:, 2]
gain = paired_difference(few_learned, many_pixels)
claim("5 labels on learned features beat 20 on pixels", gain.low > 0, {"difference": gain})

# %% [markdown]
# ## How deep to look
# Every layer is a description of the image. Its mean over the image, one number a channel, is probed here for
# two things: the unseen shape, which is akin to what the network was trained on, and the texture, of which it
# was never asked. 100 labels a class; the untrained network is the control, for deeper layers also have more
# channels and see more of the image.


# %%
def probe_layers(seed, network, question):
    """Test accuracy of a probe on each block's mean over the image."""
    rng = np.random.default_rng(2000 + seed)
    classes = 4 if question == "shape" else 8
    pictures = {"size": 16, "shapes": TARGET_SHAPES, "label": question, "rng": rng}
    train_images, train_labels, _ = make_shapes(100 * classes, **pictures)
    test_images, test_labels, _ = make_shapes(800, **pictures)
    model = pretrained_shapes(seed) if network == "pretrained" else shapes_cnn(8, rng)
    accuracies = []
    for layer in ("block1", "block2", "block3", "block4"):
        train, test = (
            extract_features(model, x, layer).mean(axis=(2, 3)) for x in (train_images, test_images)
        )
        probe = linear_probe(standardise(train, train), train_labels, l2=0.001)
        answers = predict(probe, standardise(train, test).astype(np.float32)).argmax(axis=1)
        accuracies.append(np.mean(answers == test_labels))
    return {"accuracy": np.array(accuracies)}


settings = [
    (network, question) for question in ("shape", "texture") for network in ("pretrained", "untrained")
]
recipes = [{"seed": s, "network": network, "question": q} for network, q in settings for s in SEEDS]
results = np.array([run["accuracy"] for run in cached_runs("04_layers", recipes, probe_layers)])
by_setting = dict(zip(settings, results.reshape(4, len(SEEDS), 4), strict=True))  # (seeds, blocks) each
figure = curves_with_bands(
    np.arange(1, 5),
    {f"{question}, {network}": runs for (network, question), runs in by_setting.items()},
    xlabel="block",
    ylabel="test accuracy of the probe",
    title="chance: 1/4 for the shape, 1/8 for the texture",
)
save(figure, "04_feature_extractor/layers")
for (network, question), runs in by_setting.items():
    print(f"{question:8} {network:10}", "   ".join(str(t_interval(block)) for block in runs.T))

# %% [markdown]
# For the shape the pretrained network gets better with depth, but its last block, the one nearest to the
# eight old classes, is no better than the third. The texture is lost on the way, and more than in an
# untrained network: to learn one thing is to become blind to another. (Lesson 03 paid for that when it
# finetuned to textures.)

# %%
shape, texture = by_setting["pretrained", "shape"], by_setting["pretrained", "texture"]
rise = paired_difference(shape[:, 3], shape[:, 0])
claim("block 4 knows more of unseen shapes than block 1", rise.low > 0, {"gain": rise})
last = paired_difference(shape[:, 3], shape[:, 2])
print("block 4 against block 3:", last)
fall = paired_difference(texture[:, 3], texture[:, 0])
claim("block 4 knows less of texture than block 1", fall.high < 0, {"change": fall})
blinder = paired_difference(texture[:, 3], by_setting["untrained", "texture"][:, 3])
claim("and less than block 4 of an untrained network", blinder.high < 0, {"difference": blinder})
