# %% [markdown]
# # 13 What a network sees
# A network that is right may be right for a wrong reason. What does a network look at,
# when is it right, and can we trust what it has learned?
#
# Exercises: 13.1 confident_mistakes, 13.2 cue_counts, 13.3 strongest_units,
# 13.4 through_window, 13.5 top_patches.

# %% [markdown]
# ## Three questions
# The lecture asks three questions about every model.
#
# 1. **How can we explain a prediction?** This page looks for the photographs that make
#    one value inside the network large. Lessons [14](14_occlusion_gradients.py),
#    [15](15_guided_backprop.py), [16](16_gradcam.py) and [17](17_shapley.py) explain
#    single answers.
# 2. **How sure is the model of its prediction?** This page shows easy and hard
#    photographs. [Lesson 09](09_temperature.py) compares confidence with accuracy.
# 3. **Can we trust the training data? Can the data lead to wrong behaviour?** This page
#    trains a network on images with a mark, and changes the background of a photograph.

# %%
import numpy as np

from lessons import PICTURES, study
from minidl import Tensor, no_grad
from minidl.data import load_picture, make_cue_conflict, make_shapes, picture_classes
from minidl.data.shapes import SHAPES, TEXTURES, add_marks
from minidl.engine.reduce import stable_softmax
from minidl.explain import guided_backprop, receptive_field, saliency
from minidl.explain.classes import confident_mistakes
from minidl.explain.patches import ONE_PIXEL, strongest_units, through_window
from minidl.figures import answers_picture, heat_map, save
from minidl.figures.curves import bars_with_intervals, points_with_intervals
from minidl.figures.photographs import patches_beside_patterns, photograph_strip
from minidl.nn.efficientnet import efficientnet_lite0
from minidl.nn.models import imagenet_names, imagenet_network, mlp, small_cnn
from minidl.train import predict
from minidl.train.networks import trained
from minidl.transfer import linear_probe, standardise
from minidl.transfer.features import photograph_features

network, names = imagenet_network(), imagenet_names()

# %% [markdown]
# ## Easy and hard cases
# The names of 102 of our photographs are among the 1,000 names of the network. Let $p$
# be the probability that the network gives to the right name. (If several names are
# right, we add their probabilities.) Which photographs have the largest $p$, and which
# the smallest?

# %%
photographs = photograph_features()  # all 220, and what the network says of them
p = stable_softmax(photographs.logits)  # (220, 1000)
right_names = picture_classes(PICTURES)
known, labels, p_right = [], [], []
for i, file in enumerate(photographs.files):
    right = right_names[f"{file.parent.name}/{file.name}"]
    if right:  # empty if no name of this photograph is among the 1,000
        numbers = [names.index(name) for name in right]
        known.append(i)
        labels.append(numbers[p[i, numbers].argmax()])
        p_right.append(p[i, numbers].sum())
known, labels, p_right = np.array(known), np.array(labels), np.array(p_right)


def likeliest(row, count=2):
    return [(names[k], row[k]) for k in np.argsort(-row)[:count]]


def with_answers(rows):
    """A picture of known photographs: the right name with its p, and the answers."""
    images = np.stack([load_picture(photographs.files[known[n]])[0] for n in rows])
    titles = [f"{names[labels[n]]}: {p_right[n]:.1%}" for n in rows]
    return answers_picture(images, titles, [likeliest(p[known[n]]) for n in rows])


order = np.argsort(-p_right)
figure = with_answers([*order[:3], *order[-3:]])
alt = "Three easy photographs above three hard ones, with the answers of the network"
save(figure, "13_what_it_sees/easy_and_hard", alt=alt)
share = (p[known].argmax(axis=1) == labels).mean()
print(f"{len(known)} photographs, {share:.0%} answered right")

# %% [markdown]
# The upper row shows the three photographs with the largest $p$, the lower row the
# three with the smallest. The title gives the right name with its $p$, the bars give
# what the network answers. The network answers 84% of the 102 photographs right.
#
# The lecture ranks classes. All photographs of the red fox and of the tiger are
# answered right, but only 59% of those of the letter opener. We have one or two
# photographs of a class, so we rank photographs. Why are the three hard? We can only
# guess: this clownfish is blue and green, and most clownfish are orange.

# %% [markdown]
# ## How sure is the network?
# This is the lecture's second question. On the three hardest photographs no answer has
# more than 27%: the network is wrong, and it is not sure. A mistake is dangerous if the
# network is sure. So `confident_mistakes` ranks the wrong answers by their probability.

# %%
figure = with_answers(confident_mistakes(p[known], labels, 3))
alt = "A paintbrush, a lionfish and a horse with the wrong answers of the network"
save(figure, "13_what_it_sees/confident_mistakes", alt=alt)

# %% [markdown]
# The most confident mistake is a paintbrush that the network calls a spatula, with 73%.
# The next one has 54%. So on these photographs an answer above 75% is always right.
# [Lesson 09](09_temperature.py) counts more carefully.

# %% [markdown]
# ## Is an object hard without a texture of its own?
# A texture is a pattern that repeats, such as fur or stripes. The lecture says: objects
# without a characteristic texture are badly classified, and shows a hook, a ladle and a
# water bottle. We test this twice.
#
# The first test uses the photographs. The *detail* of an object is the mean absolute
# difference between neighbouring pixels inside it. It is a simple measure: an object
# without texture has little detail. If $p$ is smaller where the detail is small, the
# lecture is right for these photographs. The study ranks the photographs by both.
#
# The second test uses shapes that a program draws. One network learns eight shapes.
# Four of them always have a texture of their own. The textures of the other four are
# drawn at random ("any texture"). A second network learns the same with the two groups
# exchanged. So each shape is in both groups once.

# %%
study("13_what_it_sees", "detail with p")

large = {"size": 32, "shapes": SHAPES[:4], "rng": np.random.default_rng(0)}
own, kinds, _ = make_shapes(16, tied=1.0, **large)  # shape k has texture k
either, kinds_either, _ = make_shapes(16, tied=0.0, **large)
crosses = np.concatenate([own[kinds == 3], either[kinds_either == 3]])
titles = ["its own texture"] * 4 + ["any texture"] * 4
figure = photograph_strip(crosses, titles)
alt = "Four crosses of one texture above four crosses of several textures"
save(figure, "13_what_it_sees/own_texture", alt=alt)
for length in ("short", "long"):
    study("13_what_it_sees", f"own texture, {length}")
    study("13_what_it_sees", f"any texture, {length}")

# %% [markdown]
# On the photographs we hardly find it. The rank correlation of detail with $p$ is 0.11
# ± 0.11: the rank by detail says almost nothing about the rank by $p$. That does not
# refute the lecture: detail is only one measure, and we have only 102 photographs.
#
# On the drawn shapes the lecture is right. After 8 epochs with 800 images (short) the
# accuracy is 0.98 with a texture of its own and 0.73 without. After 12 epochs with
# 1,200 images (long) the two are 0.99 and 0.93. So the network learns the texture
# first, and the shape later.

# %% [markdown]
# ## Texture beats shape as a cue
# A *cue* is something in a picture that tells the class. Geirhos et al. (2019) made
# pictures in which two cues disagree. The lecture shows (a) the skin of an elephant,
# "Indian elephant" with 81.4%, (b) a cat, "tabby cat" with 71.1%, and (c) the cat in
# the skin of the elephant: "Indian elephant" with 63.9%. We cut a square out of a
# zebra, enlarge it four times, and join it with a bear in three ways.

# %%
image, mask = load_picture(PICTURES / "mammals" / "european_bear.webp")
zebra, _ = load_picture(PICTURES / "mammals" / "zebra.webp", 4 * 224)
skin = zebra[:, 286:510, 313:537]  # (3, 224, 224), from the middle of the body
light = image.mean(axis=0)  # (224, 224), the bear in grey
joined = [skin * (0.4 + 0.6 * light), (skin + image) / 2, np.where(mask, skin, image)]
shown = np.stack([skin, image, *joined])
titles = ["(a) texture", "(b) content", "(c) light and dark"]
titles += ["half and half", "outline filled"]
pairs = [likeliest(row, 3) for row in stable_softmax(predict(network, shown))]
figure = answers_picture(shown, titles, pairs)
alt = "Zebra skin, a bear, and three pictures that join the two, with answers"
save(figure, "13_what_it_sees/cue_conflict", alt=alt)

# %% [markdown]
# Panels (a), (b) and (c) are the lecture's triple. In (c) the bear only makes the
# zebra's skin lighter or darker. The bear has lost its colour and is faint, but we can
# still see it. The network answers "zebra" with 97%. The other two pictures hold the
# same two cues. For half skin and half bear, with the bear's colour, the answer is
# "brown bear", with 84%. For the bear's outline filled with skin the network is sure of
# no name: its best answer has 15%. Do other pairs give the same result? The study joins
# 16 pairs in each of five draws.

# %%
found, bars = [], []
for recipe in ("light and dark", "half and half", "outline filled"):
    for cue in ("texture", "shape"):
        found.append(study("13_what_it_sees", f"{recipe}: {cue}"))
        bars.append(f"{recipe}: {cue}")
figure = bars_with_intervals(bars, found, xlabel="share of the answers, 5 draws")
save(figure, "13_what_it_sees/recipes", alt="Shares of answers for the three recipes")

# %% [markdown]
# The way to join the two pictures changes the result. Light and dark: 44 ± 11% of the
# answers name the animal of the texture and 10 ± 4% that of the shape. Half and half:
# 8 ± 9% name the texture and 50 ± 27% the shape. The last interval is wide, but both
# directions are clear. For the filled outline about five answers of six name neither.
# One reason may be how much each recipe keeps: the first drops the colour of the second
# animal, the second fades both, the third drops all that is inside the outline.
#
# So "texture beats shape" is a result about a network *and* a way to make pictures.
# Geirhos et al. made theirs by style transfer, which this page does not do.

# %% [markdown]
# ## Is a network made for textures?
# Does the architecture prefer textures, or does the network learn what the training
# data reward? Drawn images can answer this. Four classes have a shape and a texture
# each: solid circle, square with horizontal stripes, star with vertical stripes, heart
# with diagonal stripes. In one training set both cues tell the class. In a second one
# only the texture does (with any shape), and in a third one only the shape (with any
# texture). Then each of the three networks answers images where shape and texture
# disagree, such as the four in the next figure. `cue_counts` counts the answers that
# follow each of the two:
#
# $$\mathrm{shape\ bias} = \frac{\mathrm{shape}}{\mathrm{shape} + \mathrm{texture}}$$

# %%
scenes = {"size": 16, "shapes": ("circle", "square", "star", "heart")}
rng = np.random.default_rng(0)
conflict = make_cue_conflict(4, **scenes, textures=TEXTURES[:4], rng=rng)
titles = []
for shape, texture in zip(*conflict[1:], strict=True):
    titles.append(f"{scenes['shapes'][shape]}, {TEXTURES[texture]}")
figure = photograph_strip(conflict[0], titles)
alt = "Four made shapes, each with the texture of another class"
save(figure, "13_what_it_sees/made_conflict", alt=alt)

ways = ["both cues", "texture alone", "shape alone"]
bias = [study("13_what_it_sees", f"shape bias: {way}") for way in ways]
figure = bars_with_intervals(ways, bias, xlabel="shape bias (1: always the shape)")
alt = "Shape bias after three training sets: near 0, 0, and near 1"
save(figure, "13_what_it_sees/shape_bias", alt=alt)

# %% [markdown]
# Trained on shapes alone, the same architecture has a shape bias of 0.90: of the
# answers that name shape or texture, 90% name the shape. So the network is not made for
# textures. With both cues in the data it takes the texture: its shape bias is 0.05.
# Perhaps the reason is that a texture is learned faster, as above. What a network looks
# at depends on its training data.

# %% [markdown]
# ## Pattern sensitivity
# This section and the next two belong to the first question, how to explain a
# prediction. A convolution gives a map for each channel $t$. A *unit* is one value of
# this map: $\Phi(x)^t[p, q]$ is the value at place $(p, q)$ for the photograph $x$. A
# patch of the photograph *excites* the unit if it makes this value large. What does a
# channel look for? The lecture, after Zeiler and Fergus (2014), searches all
# photographs of a set $S$ and all places for the largest value:
#
# $$\arg\max_{x \in S}\, \max_{p, q}\, \Phi(x)^t[p, q]$$
#
# `strongest_units` takes the inner maximum and its place. We read the values before
# ReLU6, because ReLU6 cuts all large values to 6. $S$ is every second photograph. Hooks
# keep the output of four layers, so one pass gives all four.

# %%
layers = ["_blocks.0._bn1", "_blocks.2._bn1", "_blocks.4._bn1", "_blocks.12._bn1"]
Phi, hooks = {}, []  # Phi: a layer's name -> its output
for layer in layers:

    def keep(module, inputs, output, layer=layer):  # each keep has its own layer
        Phi[layer] = output.data

    hooks.append(network.layer(layer).register_forward_hook(keep))
S = np.stack([load_picture(file)[0] for file in photographs.files[::2]])
maxima, places = {layer: [] for layer in layers}, {layer: [] for layer in layers}
for x in S:
    with no_grad():
        network(Tensor(x[np.newaxis]))
    for layer in layers:
        value, place = strongest_units(Phi[layer])  # (1, channels), (1, channels, 2)
        maxima[layer].append(value[0])
        places[layer].append(place[0])
for hook in hooks:
    hook.remove()

# %% [markdown]
# ## How much of the photograph does a unit see?
# A convolution reads through a *window*, its kernel. A unit of the first convolution
# (the stem) sees a box of 3×3 pixels, and its right neighbour sees the box 2 pixels
# further: the *step* is 2. The next window reads 3×3 of these units. Their boxes begin
# at pixels 0, 2 and 4, so together they reach from 0 to 6: a box of 7 pixels. In
# general:
#
# $$\mathrm{size}' = \mathrm{size} + (\mathrm{kernel} - 1) \cdot \mathrm{step}, \qquad
#   \mathrm{step}' = \mathrm{stride} \cdot \mathrm{step}$$
#
# `through_window` computes this for one layer, `receptive_field` for a whole network.

# %%
stem = through_window(ONE_PIXEL, kernel=3, stride=2, padding=0)  # box at pixel 0
block_0 = through_window(stem, kernel=3, stride=1, padding=1)
print(f"stem: {stem.size} pixels, step {stem.step}")
print(f"block 0: {block_0.size} pixels, step {block_0.step}")
spans = {}
for layer in layers:
    spans[layer] = receptive_field(network, layer, (3, 224, 224)).rows
    print(f"{layer}: {spans[layer].size} pixels")

# %% [markdown]
# In block 12 the box has 531 pixels, more than the 224 of the photograph. Such a unit
# can see everything.
#
# ## Patches beside their patterns
# For two channels of each layer we cut out the three strongest patches. Beside each
# patch, on the right, is its pattern: the derivative of the unit with respect to the
# pixels, by guided backpropagation (Springenberg et al. 2015, [lesson
# 15](15_guided_backprop.py)). The pattern shows which pixels of the patch excite the
# unit. Middle grey means no influence. (Exercise 13.5, `top_patches`, finds the
# photographs and the places for all channels of a layer.)

# %%
chosen = {layers[0]: (23, 3), layers[1]: (63, 22), layers[2]: (84, 13)}
chosen[layers[3]] = (593, 190)


def cut(image, place, span):
    """What the unit at this place sees of an image, at most 96 x 96 pixels."""
    half = min(span.size, 96) / 2
    middle = span.start + place * span.step + span.size / 2
    top, left = np.maximum(np.round(middle - half), 0).astype(int)
    bottom, right = np.minimum(np.round(middle + half), 224).astype(int)
    return image[:, top:bottom, left:right]


patches, patterns, rows = [], [], []
for layer, channels in chosen.items():
    for t in channels:
        best = np.argsort(-np.array(maxima[layer])[:, t])[:3]  # the three strongest x
        p_q = np.array(places[layer])[best, t]  # (3, 2)
        back = guided_backprop(network, S[best], (layer, np.full(3, t), *p_q.T))
        patches.append([cut(S[n], p_q[i], spans[layer]) for i, n in enumerate(best)])
        back = [cut(back[i], p_q[i], spans[layer]) for i in range(3)]
        bright = [2 * np.quantile(np.abs(x), 0.98) for x in back]  # 0 becomes grey, 0.5
        patterns.append([np.clip(0.5 + back[i] / bright[i], 0, 1) for i in range(3)])
        rows.append(f"block {layer.split('.')[1]}, channel {t}")
figure = patches_beside_patterns(patches, patterns, rows)
alt = "Patches that excite eight channels of four layers, beside their patterns"
save(figure, "13_what_it_sees/patterns", alt=alt)

# %% [markdown]
# - **Block 0** sees 7 pixels. Channel 23 finds warm colours, channel 3 finds blue on
#   the right side of the patch.
# - **Block 2** sees 19 pixels. Channel 63 finds upright stripes, channel 22 finds a
#   sloping edge of something red or brown.
# - **Block 4** sees 67 pixels. Channel 84 finds the sides of vehicles, channel 13 finds
#   pink things.
# - **Block 12** can see everything, and we cut out 96 pixels. Channel 593 finds wheels,
#   channel 190 finds large dark animals.
#
# In blocks 2 and 4 we find the name from the patches. The patterns alone do not give
# it. The patterns of block 12 show the rim of a wheel and, for the bull, the outline of
# an animal. We chose eight channels that are easy to name. What about the others? We
# cannot name them all, but we can count. We take the four photographs that excite a
# channel most. They make six pairs. What share of the pairs comes from the same folder,
# such as "vehicles"?

# %%
keys = [f"one folder: {key}" for key in (*layers, "any four")]
found = [study("13_what_it_sees", key) for key in keys]
bars = ["block 0", "block 2", "block 4", "block 12", "any photographs"]
figure = bars_with_intervals(bars, found, xlabel="share of the pairs from one folder")
save(figure, "13_what_it_sees/one_folder", alt="Shares of pairs for four layers")

# %% [markdown]
# Two photographs drawn at random share a folder in 14% of cases. In blocks 0, 2 and 4
# the share is between 17% and 20%, because folders differ in colours and textures too.
# In block 12 the share is 26%, more than in blocks 2 and 4. The intervals of blocks 0
# and 12 overlap a little. So deep channels sort by kind a little more. But 26% is not
# much. A channel whose four photographs come from one folder has the share 100%, so at
# most 26% of the channels are like this. The other channels, at least 74%, mix kinds of
# things.

# %% [markdown]
# ## Can the data be trusted?
# This is the third question. Suppose that all photographs of one hospital carry its
# stamp, and that this hospital has the most severe cases. A network can then read the
# stamp. (Lapuschkin et al. 2019 found such networks and named them after Clever Hans, a
# horse that seemed to calculate but read the faces of the people.) We do this on
# purpose: each training image has a small coloured square, the mark, and the corner of
# the mark tells the class. Then we test with the mark, without it, and with the mark of
# another class.

# %%
rng = np.random.default_rng(0)
images, classes, _ = make_shapes(1200, **scenes, spurious=1.0, rng=rng)
misled = small_cnn(4, 3, (12, 16, 32), rng=rng)
trained(misled, (images, classes), 8, 3e-3, rng)

images, classes, _ = make_shapes(400, **scenes, rng=rng)
marked, exchanged = add_marks(images, classes), add_marks(images, (classes + 1) % 4)
tests = {"its mark": marked, "no mark": images, "another class's mark": exchanged}
rows, said, right = [], [], []
for name, x in tests.items():
    answers = predict(misled, x).argmax(axis=1)
    print(f"{name}: accuracy {np.mean(answers == classes):.2f}")
    for k in range(4):
        n = int(np.flatnonzero(classes == k)[0])
        rows.append(x[n])
        said.append(scenes["shapes"][answers[n]])
        right.append(answers[n] == k)
figure = photograph_strip(np.stack(rows), said, right)
save(figure, "13_what_it_sees/mark", alt="Four shapes in three rows, with the answers")

# %% [markdown]
# The three rows are: each shape with the mark of its class, without a mark, and with
# the mark of another class. A thick orange frame is a mistake. On data like its
# training data the network is perfect, and the accuracy gives no warning. Without a
# mark 71% are right. With a wrong mark 21% are right, fewer than by guessing (25%). The
# star in the third row is right. So the network has learned something of the shapes,
# but if shape and mark disagree, the mark decides most answers.
#
# Does an explanation show the problem? For each class we take the mean of
# $\|\partial \Phi / \partial x\|$ ([lesson 14](14_occlusion_gradients.py)) over 100
# images. A bright yellow pixel has a large gradient: a small change of this pixel would
# change the logit of the class much.

# %%
maps = saliency(misled, marked, classes, reduce="l2")  # (400, 16, 16)
maps = [maps[classes == k].mean(axis=0) for k in range(4)]
mean_images = np.stack([marked[classes == k].mean(axis=0) for k in range(4)])
figure = answers_picture(mean_images, scenes["shapes"], [[]] * 4, maps=maps, columns=2)
alt = "The mean gradient of four classes: circle and heart bright only at the mark"
save(figure, "13_what_it_sees/mark_gradients", alt=alt)
for name in ("misled", "clean"):
    study("13_what_it_sees", f"{name}: without")
    study("13_what_it_sees", f"{name}: peak on the mark")

# %% [markdown]
# It shows the problem in part. For the circle and the heart the mean map is bright only
# at the mark. For the square and the star the edges of the shape are bright too, and
# the corner of the star has a single bright pixel. In the study, over five networks,
# the gradient's peak is on the mark in 33 ± 20% of the images. The mark has 4 of the
# 256 pixels, so chance gives 2%. The control is a network trained without marks. On the
# same images it never has its peak on the mark. On images without a mark it is right on
# 79%, the misled networks of the study on 68%. So look at many maps: in a single map
# the peak is more often somewhere else than on the mark.
#
# What about the real network? Its training photographs had backgrounds. We change the
# background and leave the object as it is.

# %%
banana = PICTURES / "fruit" / "banana.webp"
colours = {"light grey": (0.78, 0.80, 0.82), "white": 1.0, "grey": 0.5}
shown = [load_picture(banana, background=colour)[0] for colour in colours.values()]
pairs = [likeliest(row) for row in stable_softmax(predict(network, np.stack(shown)))]
figure = answers_picture(np.stack(shown), list(colours), pairs)
save(figure, "13_what_it_sees/backgrounds", alt="A banana on three backgrounds")
changed = study("13_what_it_sees", "backgrounds: some answer changed")
still_right = study("13_what_it_sees", "backgrounds: right")

# %% [markdown]
# On a darker grey the network calls the same banana a roundworm, with 70%. The study
# draws twelve photographs that the network answers right, five times, and puts each on
# four other backgrounds. For 32 ± 20% of the photographs at least one background
# changes the answer. Of all answers on a new background 89 ± 7% are right. So the
# network also reads the background, but mostly the object.

# %% [markdown]
# ## Power against interpretability
# A model that a person can read is often not the best one. *Power* here is the
# accuracy. There is no agreed measure of how well a model can be read, so we count its
# weights and biases. Five models learn to tell eight groups of photographs apart, from
# eight examples of each group:
#
# - a linear model of the three mean colours,
# - a linear model of 8×8 pixels,
# - a network with one hidden layer, also of 8×8 pixels,
# - a small CNN of 64×64 pixels,
# - the real network with a new head ([lesson 04](04_feature_extractor.py)), of 224×224
#   pixels.

# %%
models = ["three colours", "8 x 8 pixels", "one hidden layer"]
models += ["small CNN", "network and head"]
sizes = [8 * (3 + 1), 8 * (192 + 1)]  # weights and biases of two linear models
small = small_cnn(8, 3, (16, 32, 64), pool_after=(1, 2, 3))
for model in (mlp(192, (64,), 8), small, efficientnet_lite0(8)):
    sizes.append(sum(w.data.size for w in model.parameters()))
print(f"weights and biases of each model: {sizes}")
found = [study("13_what_it_sees", f"power: {model}") for model in models]
words = {"xlabel": "weights and biases", "ylabel": "accuracy, eight groups"}
figure = points_with_intervals(sizes, models, found, **words, log_x=True)
save(figure, "13_what_it_sees/power", alt="Accuracy of five models against their size")

# %% [markdown]
# From left to right the models grow from 32 weights and biases to 3.4 million, and the
# accuracy from 0.28 to 0.82 (guessing gives 0.13). Not each step helps: the two models
# of 8×8 pixels hardly differ. And size is not the only reason. The two models on the
# right see more pixels, and the real network was trained before on other photographs,
# those of ImageNet.
#
# A person can read the left model as a whole. Here are its weights, without its eight
# biases, fitted to all photographs of the eight groups. Each colour is standardised
# first: its mean over the photographs is 0 and its deviation 1.

# %%
groups = ["birds", "flowers", "fruit", "mammals", "music", "tools", "vegetables"]
groups.append("vehicles")
files = [file for file in photographs.files if file.parent.name in groups]
numbers = np.array([groups.index(file.parent.name) for file in files])
means = np.stack([load_picture(file, 8)[0].mean(axis=(1, 2)) for file in files])
linear = linear_probe(standardise(means, means), numbers, 0.1)
figure = heat_map(linear.weight.data, groups, ["red", "green", "blue"])
alt = "A table of 8 groups and 3 colours with the weights of the linear model"
save(figure, "13_what_it_sees/weights", alt=alt)

# %% [markdown]
# Much red and little green raise the logit of flowers, little blue that of fruit. A
# logit is a sum of three products and a bias, and this sum is the whole explanation.
# Nobody can read 3.4 million weights. That is why the next lessons explain single
# answers of the real network.

# %% [markdown]
# ## What to remember
# A network takes the cue that its training data reward. If it has a choice, it often
# takes the texture, which is learned fast. Whether texture beats shape also depends on
# how a picture is made. The patches that excite a channel grow from colours and edges
# to wheels and animals, and most channels mix kinds of things. A perfect accuracy can
# come from a mark in the corner: test without the mark, and look at the mean gradients.
# Small models can be read; large models are right more often.
#
# ## Try it
# - Put `koala.webp` of the marsupials in the place of the bear. Which name wins in each
#   of the three pictures?
# - Choose other channels in `chosen`, such as 0 and 1 of each layer. How many can you
#   name?
# - Train the misled network with `spurious=0.8`. Does it still fail with another mark?
#
# ## Exercises
# `python -m lessons start 13` begins 13.1 `confident_mistakes`, 13.2 `cue_counts`,
# 13.3 `strongest_units`, 13.4 `through_window` and 13.5 `top_patches`.
#
# ## Papers
# - Zeiler and Fergus 2014, Visualizing and understanding convolutional networks.
# - Springenberg, Dosovitskiy, Brox and Riedmiller 2015, Striving for simplicity: the
#   all convolutional net.
# - Geirhos et al. 2019, ImageNet-trained CNNs are biased towards texture; increasing
#   shape bias improves accuracy and robustness.
# - Lapuschkin et al. 2019, Unmasking Clever Hans predictors and assessing what machines
#   really learn.
