"""13 What the network sees: easy and hard cases, texture before shape, patterns, and a mark in the corner.

Question: which cue does an answer rest on, and would accuracy tell?
Measured: what a texture of its own is worth to a class, 8 made shapes, roles exchanged; the shape bias after
three training sets; how many of the patches that excite a unit share a shape or a texture, in three layers; a
network trained with a mark in the corner, tested with it, without it and with a wrong one; a linear model of
digits, which can be read, beside a network, which cannot. All over 5 seeds; digits by class for one network.
Exercises: 13.1 confident_mistakes, 13.2 cue_counts, 13.3 through_window, 13.4 strongest_units.
"""

# %% [markdown]
# ## Easy and hard cases
# Which digits does a trained network find hard? Accuracy by class, each with Wilson's interval: there are
# only some 36 test images of each.

# %%
import numpy as np

from minidl.classroom.claims import claim
from minidl.data import cached_runs, make_cue_conflict, make_shapes
from minidl.data.shapes import SHAPES, TEXTURES, add_marks, mark_masks
from minidl.explain.classes import easy_and_hard, hardest_examples, most_confident_mistakes
from minidl.explain.cues import shape_bias
from minidl.explain.gradients import deconvnet, input_x_gradient, saliency
from minidl.explain.patches import receptive_field, top_patches
from minidl.explain.score import pointing_game
from minidl.explain.target import layer_output
from minidl.figures import bars_with_intervals, confusion_picture, image_grid, overlay, save, signed_map
from minidl.nn.models import mlp, small_cnn
from minidl.train import accuracy, predict
from minidl.train.intervals import Interval, paired_difference, t_interval
from minidl.train.metrics import per_class_accuracy
from minidl.train.networks import digits_network, digits_split, shapes_images, shapes_network, trained

digits_train, _, (digits, digit_labels) = digits_split()
network = digits_network(0)
found = easy_and_hard(network, digits, digit_labels)
for k in found.order:
    print(f"digit {k}: {Interval(*(field[k] for field in found.accuracy))}")
save(confusion_picture(found.confusion, range(10)), "13_what_it_sees/confusion")

_, low, high, _ = found.accuracy
print(f"{np.sum(low[:, np.newaxis] > high)} of 45 pairs of digits have intervals that do not overlap")

# %% [markdown]
# 36 images without a mistake still allow an error rate of a tenth. Classes whose intervals lie apart differ;
# of the others the intervals leave it open, though 9 has five of the eight mistakes. The hardest images are
# those with the highest loss; the mistakes to worry about are the confident ones.

# %%
worst = hardest_examples(network, digits, digit_labels, 8)
titles = [f"{digit_labels[i]}, said {p}: {c:.0%}" for i, p, c, _ in zip(*worst, strict=True)]
figure = image_grid(digits[worst.index], titles, 4, right=worst.predicted == digit_labels[worst.index])
save(figure, "13_what_it_sees/hardest")
for i, said, sure, loss in zip(*most_confident_mistakes(network, digits, digit_labels, 3), strict=True):
    print(f"a {digit_labels[i]} taken for a {said} with {sure:.0%}, loss {loss:.2f}")

# %% [markdown]
# ## Are the hard classes those without a texture?
# So the lecture says. Made classes can have a texture of their own or lack one: of eight shapes, four always
# come with their own texture and four with any. Some outlines are harder than others, so in a second run the
# roles are exchanged: each class is compared with itself.


# %%
def recall_by_class(seed, owners, images, epochs):
    """Of eight shapes, of which ``owners`` have a texture of their own: accuracy by class (8,)."""
    rng = np.random.default_rng(seed)
    tied = [float(k in owners) for k in range(8)]
    scenes = {"size": 16, "shapes": SHAPES[:8], "textures": TEXTURES, "tied": tied, "rng": rng}
    pixels, labels, _ = make_shapes(images, **scenes)
    model = small_cnn(8, 3, (16, 32, 32), pool_after=(1, 2), rng=rng)
    trained(model, (pixels, labels), epochs, 3e-3, rng)
    pixels, labels, _ = make_shapes(1200, **scenes)
    return {"recall": per_class_accuracy(predict(model, pixels), labels).mean}


roles = [[0, 1, 2, 3], [4, 5, 6, 7]]
recipes = [{"seed": s, "owners": r, "images": 1000, "epochs": 8} for r in roles for s in range(5)]
recall = np.stack([run["recall"] for run in cached_runs("13_own_texture", recipes, recall_by_class)])
first, second = recall[:5], recall[5:]  # (seeds, classes), in the first run classes 0 ... 3 own a texture
with_texture = np.concatenate([first[:, :4], second[:, 4:]], axis=1)
without = np.concatenate([second[:, :4], first[:, 4:]], axis=1)
for k, shape in enumerate(SHAPES[:8]):
    own, any_texture = t_interval(with_texture[:, k]), t_interval(without[:, k])
    print(f"{shape:9} with its own texture {own}   with any {any_texture}")
gain = paired_difference(with_texture.mean(axis=1), without.mean(axis=1))
claim("a class without a texture of its own is the harder one", gain.low > 0.05, {"worth": gain})
rows = [t_interval(with_texture[:, k] - without[:, k]) for k in range(8)]
xlabel = "accuracy that a texture of its own is worth, 5 seeds"
save(bars_with_intervals(SHAPES[:8], rows, xlabel=xlabel), "13_what_it_sees/own_texture")

# %% [markdown]
# The remark holds in the mean. But what a texture is worth differs much from shape to shape: a ring is told
# by its outline, a circle less so.
#
# ## Texture or shape?
# Four classes, each with a shape and a texture. Three training sets: in one both cues tell the class, in one
# only the texture (any shape), in one only the shape (any texture). Each network is then asked about images
# with the shape of one class and the texture of another:
#     shape bias = shape / (shape + texture),   the numbers of answers that follow either

# %%
CUES = {"both cues": ("shape", 1.0), "texture alone": ("texture", 0.0), "shape alone": ("shape", 0.0)}
FOUR = {"size": 16, "shapes": ("circle", "square", "star", "heart"), "textures": TEXTURES[:4]}


def weights_after(seed, label, tied, images, epochs):
    """The weights of a network trained where shape, texture or both tell the class."""
    rng = np.random.default_rng(seed)
    pixels, labels, _ = make_shapes(images, **FOUR, label=label, tied=tied, rng=rng)
    model = small_cnn(4, 3, (12, 16, 32), rng=rng)
    return trained(model, (pixels, labels), epochs, 3e-3, rng).state_dict()


def networks_after(label, tied):
    recipes = [{"seed": s, "label": label, "tied": tied, "images": 1500, "epochs": 9} for s in range(5)]
    models = [small_cnn(4, 3, (12, 16, 32)).eval() for _ in recipes]
    for model, weights in zip(models, cached_runs("13_cues", recipes, weights_after), strict=True):
        model.load_state_dict(weights)
    return models


networks = {name: networks_after(*cue) for name, cue in CUES.items()}
conflict, shapes, textures = make_cue_conflict(600, **FOUR, rng=np.random.default_rng(1))
bias = {}
for name, (label, tied) in CUES.items():
    images, labels, _ = make_shapes(400, **FOUR, label=label, tied=tied, rng=np.random.default_rng(2))
    right = t_interval([accuracy(predict(model, images), labels) for model in networks[name]])
    answers = [shape_bias(predict(model, conflict), shapes, textures) for model in networks[name]]
    bias[name] = t_interval([answer.mean for answer in answers])
    decided = np.mean([answer.decided for answer in answers])
    print(f"{name:14} accuracy {right}   shape bias {bias[name]}   decided {decided:.2f}")
    print("   per class of the shape", np.mean([answer.per_class for answer in answers], axis=0).round(2))
save(bars_with_intervals(list(bias), list(bias.values()), xlabel="shape bias, 5 networks"), "13_what_it_sees/shape_bias")

both, by_texture, by_shape = bias.values()
claim("with both cues to choose from it learns the texture", both.high < 0.3, {"bias": both})
claim("if only the shape tells, it follows the shape", by_shape.low > 0.7, {"bias": by_shape})
claim("if only the texture tells, the texture", by_texture.high < 0.1, {"bias": by_texture})

# %% [markdown]
# The network is not made for textures: it takes the cue that is the easier of those that the data leaves it.
#
# ## How much of the image does a unit see?
# Through each window the box grows: size + (kernel - 1) · step. That is exact: whatever happens outside of
# it, the unit answers the same.

# %%
model = networks["shape alone"][0]
LAYERS = ("block1.relu", "block2.relu", "block3.relu")
for layer in LAYERS:
    size, step, start = receptive_field(model, layer).rows
    print(f"{layer}: {size}x{size} pixels, unit p begins at {start} + {step} p")

rng = np.random.default_rng(3)
top, bottom, left, right = receptive_field(model, "block3.relu").box(3, 4, (16, 16))
outside = rng.random((1, 3, 16, 16))
outside[:, :, top:bottom, left:right] = conflict[:1, :, top:bottom, left:right]
before, after = (layer_output(model, x, "block3.relu")[0, :, 3, 4] for x in (conflict[:1], outside))
print(f"kept rows {top} ... {bottom - 1} and columns {left} ... {right - 1}, all else is noise:")
print(f"32 channels answer the same to within {np.abs(before - after).max():.1g}")
assert np.allclose(before, after, rtol=1e-4, atol=1e-5)

# %% [markdown]
# ## What is it excited by?
# For each channel the images that excite it most, argmax over x of max over p, q of Φ(x)[channel, p, q], cut
# out as the unit sees them; beside the strongest one its deconvnet picture: what of it the unit answers to,
# carried back with (R > 0) R at each ReLU (lesson 15). Grey is zero there, and what lies beyond the border.


# %%
def as_seen(image, span, place):
    """The square that unit (p, q) sees of an image (3, H, W), grey beyond its border, enlarged to 30x30."""
    wide = np.pad(image, ((0, 0), (span.size, span.size), (span.size, span.size)), constant_values=0.5)
    top, left = (span.size + span.start + number * span.step for number in place)
    return np.kron(wide[:, top : top + span.size, left : left + span.size], np.ones((30 // span.size,) * 2))


for layer in LAYERS:
    best, span = top_patches(model, layer, conflict, 4), receptive_field(model, layer).rows
    panels, titles = [], []
    for t in np.argsort(-best.values[:, 0])[:4]:
        n, places = best.images[t], best.places[t]
        back = deconvnet(model, conflict[n[:1]], (layer, t, *places[0]))[0]
        panels += [as_seen(conflict[i], span, place) for i, place in zip(n, places, strict=True)]
        panels.append(as_seen(0.5 + back / (2 * np.abs(back).max()), span, places[0]))
        values = [f"{value:.1f}" for value in best.values[t]]
        titles += [f"channel {t}: {values[0]}", *values[1:], "deconvnet"]
    figure = image_grid(np.array(panels), titles, 5, title=f"{layer}: the strongest patches of four channels")
    save(figure, f"13_what_it_sees/patches_{layer[:6]}")

# %% [markdown]
# Pictures of four channels prove nothing. The images have two labels, so count: of the nine images that
# excite a channel most, how many share a shape, how many a texture? Nine at random share 3.9 of four classes.


# %%
def shared(labels, best):
    """The mean over live channels of how many of its images are of the class most frequent among them."""
    live = best.values[:, -1] > 0
    return np.mean([np.bincount(row).max() for row in labels[best.images[live]]])


counts = {}  # (training set, layer) -> for each network how many share a shape, and a texture: (5, 2)
for name in ("both cues", "shape alone"):
    for layer in LAYERS:
        best = [top_patches(model, layer, conflict, 9) for model in networks[name]]
        counts[name, layer] = np.array([(shared(shapes, one), shared(textures, one)) for one in best])
        by_shape, by_texture = (t_interval(column) for column in counts[name, layer].T)
        print(f"{name:12} {layer}   share a shape {by_shape}   a texture {by_texture}")

deep, early = counts["shape alone", "block3.relu"], counts["shape alone", "block1.relu"]
last = paired_difference(*counts["both cues", "block3.relu"].T[::-1])
claim("trained on both cues, the last units sort by texture", last.low > 1, {"more than by shape": last})
grows = paired_difference(deep[:, 0], early[:, 0])
claim("trained on shape, units sort by shape the more, the deeper", grows.low > 0.5, {"more": grows})
even_so = paired_difference(early[:, 1], early[:, 0])
claim("but its first units sort by texture too", even_so.low > 0, {"more than by shape": even_so})

# %% [markdown]
# ## High accuracy for the wrong reason
# Training images that carry a small mark in the corner of their class, as photographs of one hospital carry
# its stamp. Nothing else sets the training apart from that of a clean network. On test images from the same
# source the network is perfect. Then the marks go, or are exchanged.

# %%
results, on_mark = [], []
for seed in range(5):
    misled, clean = shapes_network(seed, spurious=1.0), shapes_network(seed)
    rng = np.random.default_rng(100 + seed)
    images, labels, _ = shapes_images(400, rng=rng)
    others = (labels + rng.integers(1, 4, size=400)) % 4
    marked, marks, exchanged = add_marks(images, labels), mark_masks(labels, 16), add_marks(images, others)
    tests = ((misled, marked), (misled, images), (misled, exchanged), (clean, images))
    results.append([accuracy(predict(network, x), labels) for network, x in tests])

    maps = [saliency(network, marked, labels) for network in (misled, clean)]
    on_mark.append([pointing_game(one, marks).mean() for one in maps])  # is the highest pixel on the mark?
right, without, wrong, of_clean = np.transpose(results)  # (5,) each
print(f"accuracy with the mark {t_interval(right)}, without {t_interval(without)}, with the mark of another")
print(f"class {t_interval(wrong)}; guessing would give 0.25, the clean network {t_interval(of_clean)}")
claim("tested like it was trained it is nearly perfect", right.min() > 0.98, {"accuracy": right.mean()})
loss, further = paired_difference(of_clean, without), paired_difference(without, wrong)
claim("without the mark it is wrong more often than the clean one", loss.low > 0.05, {"loss": loss})
claim("the mark of another class outvotes the shape", further.low > 0.4, {"further loss": further})

# %% [markdown]
# It knows the shapes too, but trusts the mark more, and its accuracy gave no hint. Looking inside does: the
# mark covers 4 of 256 pixels, which would be the share by chance. The clean network sees the same images.

# %%
peaks, peaks_clean = (t_interval(shares) for shares in np.transpose(on_mark))
print(f"the gradient's peak is on the mark in {peaks} of the images (chance {4 / 256:.3f})")
print(f"that of the clean network in {peaks_clean}")
title = "where the logit of the class is sensitive"
save(overlay(marked[:4], maps[0][:4], ["|df/dx|"], title=title), "13_what_it_sees/marks")
claim("the gradient's peak is on the mark ten times as often as chance", peaks.low > 0.16, {"peaks": peaks})
claim("that of the clean network hardly ever is", peaks_clean.high < 4 / 256, {"peaks": peaks_clean})

# %% [markdown]
# ## Power against interpretability
# A linear model of the same digits: logit = sum over pixels of w x, plus b. Its weights *are* the explanation
# of every answer, and exact: a 0, for one, wants an empty middle. What does that cost?

# %%
linear = []
for seed in range(5):
    rng = np.random.default_rng(seed)
    readable = trained(mlp(64, (), 10, rng=rng), digits_train, 40, 0.05, rng)
    linear.append(accuracy(predict(readable, digits), digit_labels))
deep = [accuracy(predict(digits_network(seed), digits), digit_labels) for seed in range(5)]
gain = paired_difference(deep, linear)
print(f"linear {t_interval(linear)}, 650 numbers;  network {t_interval(deep)}")
claim("what cannot be read off answers better", gain.low > 0.01, {"gain": gain})

weights = readable.head.weight.data.reshape(10, 8, 8)
title = "weights of the linear model: red pixels speak for the digit, blue ones against it"
save(signed_map(weights, range(10), 5, title=title), "13_what_it_sees/linear_weights")

parts = weights[digit_labels] * digits[:, 0]  # (360, 8, 8): what each pixel says for the right digit
logits = parts.sum(axis=(1, 2)) + readable.head.bias.data[digit_labels]
assert np.allclose(logits, predict(readable, digits)[np.arange(360), digit_labels], atol=1e-4)
assert np.allclose(input_x_gradient(readable, digits, digit_labels)[:, 0], parts, atol=1e-5)

# %% [markdown]
# Of the network the same product, x · df/dx, is no such sum: that gap is why the next lessons are needed.

# %%
shares = input_x_gradient(network, digits, digit_labels).sum(axis=(1, 2, 3))
f_x, f_0 = (predict(network, x)[np.arange(360), digit_labels] for x in (digits, 0 * digits))
missed = np.median(np.abs(shares - (f_x - f_0)) / np.abs(f_x - f_0))
print(f"x · df/dx misses f(x) - f(0) by {missed:.0%} in the median image; that of the linear model by 0%")
