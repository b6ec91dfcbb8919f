"""15 Better grounding: backprop, deconvnet and guided backprop.

Question: what do sharper pictures than the gradient's show: what the network looked at, or the image?
Measured: for the three rules, over 5 networks and 200 images each: how alike the maps of two classes are,
with signs and without; how much maps resemble the image's edges; how much of them lies on the object.
Exercises: 15.1 backprop_rule, 15.2 deconvnet_rule, 15.3 guided_rule.
"""

# %% [markdown]
# ## Five neurons by hand
# f goes into a ReLU, y = max(f, 0) comes out, and the score is 2 y0 - y1 + 3 y2 + y3 - 2 y4. So on its way
# back the gradient R arrives at the ReLU as (2, -1, 3, 1, -2). What passes?
#     backprop: (f > 0) · R        deconvnet: (R > 0) · R        guided: (f > 0) · (R > 0) · R

# %%
import numpy as np

from minidl import Tensor, grad, relu_rule
from minidl.classroom.claims import claim
from minidl.data import cached_runs
from minidl.engine.elementwise import backprop_rule
from minidl.explain import deconvnet, guided_backprop, input_gradient
from minidl.explain.gradients import deconvnet_rule, guided_rule
from minidl.figures import image_grid, overlay, save
from minidl.nn.models import small_cnn
from minidl.train import predict
from minidl.train.intervals import paired_difference, t_interval
from minidl.train.networks import EXPLAINED_SHAPES, shapes_images, shapes_network

f = np.array([1.0, 2.0, -1.0, 0.5, 3.0])
R = np.array([2.0, -1.0, 3.0, 1.0, -2.0])
print("neuron     f     R   backprop  deconvnet  guided")
for i in range(5):
    on, speaks_for = f[i] > 0, R[i] > 0
    backprop, deconv, guided = R[i] if on else 0, R[i] if speaks_for else 0, R[i] if on and speaks_for else 0
    print(f"{i:4}  {f[i]:6.1f}{R[i]:6.1f}{backprop:9.1f}{deconv:10.1f}{guided:10.1f}")

# %% [markdown]
# Neuron 2 was off: the deconvnet shows it all the same. Neurons 1 and 4 were on and spoke against: backprop
# alone says so. Guided backprop keeps what both let through. Each is one line, `rule(grad, x)`:

# %%
assert backprop_rule(R, f).tolist() == [2, -1, 0, 1, -2]
assert deconvnet_rule(R, f).tolist() == [2, 0, 3, 1, 0]
assert guided_rule(R, f).tolist() == [2, 0, 0, 1, 0]

# %% [markdown]
# ## A rule swapped, and nothing else
# `relu_rule` has every ReLU of the block go back by another rule. The model is not touched, and the answer of
# the forward pass is the same. Only this is no derivative of anything any more.

# %%
for rule in (backprop_rule, deconvnet_rule, guided_rule):
    with relu_rule(rule):
        x = Tensor(f, requires_grad=True)
        score = (x.relu() * R).sum()
    print(f"{rule.__name__:15} score {score.item():.1f}, back to x: {grad(score, x) + 0.0}")

# %% [markdown]
# ## What a deconvnet knows of the image
# Its rule never asks for f. So without max pooling, whose switches remember the image, it gives two images
# one and the same picture: of the network, not of them.

# %%
images, labels, masks = shapes_images(200, rng=np.random.default_rng(100))
without_pooling = small_cnn(4, 3, pool_after=(), rng=np.random.default_rng(0))
first, second = (deconvnet(without_pooling, images[i : i + 1], 2) for i in (0, 1))
assert np.array_equal(first, second) and first.any()

# %% [markdown]
# ## On a trained network
# Each picture is stretched about 0, which is mid-grey in all. The gradient looks like noise, the deconvnet
# too. Guided backprop draws: the ring, the points of the star, the tip of the heart.

# %%


def picture(maps):  # 0 becomes 0.5, and the largest magnitude 0 or 1
    return 0.5 + maps / (2 * np.abs(maps).max())


RULES = {"backprop": input_gradient, "deconvnet": deconvnet, "guided": guided_backprop}
model = shapes_network(0)
shown = np.array([np.flatnonzero(labels == k)[0] for k in range(4)])
rows, titles = [], []
for i in shown:
    one, label = images[i : i + 1], int(labels[i])
    rows += [one, *(picture(rule(model, one, label)) for rule in RULES.values())]
    titles += [EXPLAINED_SHAPES[label], *RULES]
save(image_grid(np.concatenate(rows), titles, 4), "15_guided_backprop/pictures")

# %% [markdown]
# ## A unit in the middle
# Any neuron can be asked: (layer, channel, row, column). This one, in the second block, is asked at the place
# and in the image where it answers most. It cannot see further than its receptive field, 5×5 pixels.

# %%
answers = model.layer("block2")[:3](model.layer("block1")(images)).data[:, 5]  # (200, 16, 16): channel 5
n, p, q = (int(i) for i in np.unravel_index(answers.argmax(), answers.shape))
unit = ("block2.relu", 5, p, q)
maps = [rule(model, images[n : n + 1], unit) for rule in RULES.values()]
rows = np.concatenate([images[n : n + 1], *map(picture, maps)])
save(image_grid(rows, ["image", *RULES], 4), "15_guided_backprop/unit")
touched = np.argwhere(np.concatenate(maps).any(axis=(0, 1)))
print(f"channel 5 answers {answers[n, p, q]:.2f} at ({p}, {q}); pixels {touched.min(0)} ... {touched.max(0)}")
assert np.abs(touched - [p, q]).max() <= 2

# %% [markdown]
# ## Two classes, one picture?
# An explanation of "square" should differ from one of "star". Here one image is asked for each of its four
# classes, by each rule. Red speaks for the class and blue against it, summed over the channels.

# %%
square = images[shown[1] : shown[1] + 1]
asked = np.array([[rule(model, square, k)[0].sum(axis=0) for k in range(4)] for rule in RULES.values()])
rows = square.repeat(3, axis=0)
figure = overlay(rows, asked, EXPLAINED_SHAPES, row_titles=[*RULES], signed=True, scale_each=True)
save(figure, "15_guided_backprop/classes")

# %% [markdown]
# Measured: how the maps of the likeliest class and of the runner-up correlate, signed and as magnitudes; so
# magnitudes with the image's edges; their mass inside the object and their peaks on it.


# %%
def correlation(a, b):
    """Of each image's two maps: (N, ...), (N, ...) give (N,)."""
    a, b = (m.reshape(len(m), -1) - m.reshape(len(m), -1).mean(axis=1, keepdims=True) for m in (a, b))
    return (a * b).sum(axis=1) / np.maximum(np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1)), 1e-12)


def edges_of(images):
    """|differences| to the left and upper neighbour, the largest of the channels."""
    across = np.abs(np.diff(images, axis=3, prepend=images[..., :1]))
    down = np.abs(np.diff(images, axis=2, prepend=images[:, :, :1]))
    return (across + down).max(axis=1)


def score_rules(seed, count):
    """(rules, 5) means: classes alike, signed and not, like edges, mass inside, pointing; the area."""
    model = shapes_network(seed)
    images, _, masks = shapes_images(count, rng=np.random.default_rng(300 + seed))
    order = predict(model, images).argsort(axis=1)
    rows = []
    for rule in RULES.values():
        likely, second = rule(model, images, order[:, -1]), rule(model, images, order[:, -2])
        strength, other = np.abs(likely).max(axis=1), np.abs(second).max(axis=1)
        flat, inside = strength.reshape(count, -1), masks.reshape(count, -1)
        mass = (flat * inside).sum(axis=1) / np.maximum(flat.sum(axis=1), 1e-12)
        hits = inside[np.arange(count), flat.argmax(axis=1)]
        signed, unsigned = correlation(likely, second), correlation(strength, other)
        each = signed, unsigned, correlation(strength, edges_of(images)), mass, hits
        rows.append([score.mean() for score in each])
    return {"scores": np.array(rows), "area": masks.mean()}


runs = cached_runs("15_rules", [{"seed": seed, "count": 200} for seed in range(5)], score_rules)
scores = np.array([run["scores"] for run in runs])  # (5 networks, 3 rules, 5 scores)
alike, unsigned, edges, mass, hits = np.moveaxis(scores, 2, 0)  # each (5, 3)
print(f"chance: the object covers {t_interval([float(run['area']) for run in runs])} of the area")
for r, name in enumerate(RULES):
    print(f"{name:10}two classes' maps, signed    {t_interval(alike[:, r])}")
    print(f"{'':10}as magnitudes                {t_interval(unsigned[:, r])}")
    print(f"{'':10}with the image's edges       {t_interval(edges[:, r])}")
    print(f"{'':10}mass inside                  {t_interval(mass[:, r])}")
    print(f"{'':10}pointing, network by network {', '.join(f'{hit:.2f}' for hit in hits[:, r])}")

# %% [markdown]
# ## Sharper, and less about the class
# The gradients of two classes are rather opposites: what speaks for one speaks against the other. The other
# rules throw away what speaks against, and what is left is much the same for every class: edges. It was the
# signs that told the classes apart: as magnitudes, the gradients of two classes are alike as well, and the
# deconvnet's hardly more so.

# %%
for r, name in ((1, "deconvnet"), (2, "guided")):
    more = paired_difference(alike[:, r], alike[:, 0])
    claim(
        f"{name}: two classes' signed maps are more alike than the gradient's", more.low > 0.3, {"more": more}
    )
    print(f"{name}: the same of magnitudes {paired_difference(unsigned[:, r], unsigned[:, 0])}")
more = paired_difference(edges[:, 2], edges[:, 0])
claim("guided maps resemble the image's edges more than the gradient does", more.low > 0, {"more": more})

# %% [markdown]
# They do put more of their mass on the object. And the peak? Look at the five networks above: for the first,
# nearly every peak of guided backprop lies on the object, for another one in ten. Whoever shows one network
# shows what they like.

# %%
for r, name in ((1, "deconvnet"), (2, "guided")):
    more = paired_difference(mass[:, r], mass[:, 0])
    claim(f"{name} puts more mass inside than the gradient", more.low > 0, {"more": more})
print(f"pointing, guided less backprop: {paired_difference(hits[:, 2], hits[:, 0])}")
spread = float(np.ptp(hits[:, 2]))
claim("guided backprop's pointing depends on the network asked", spread > 0.3, {"spread": spread})
