"""13 What a network sees: textures, shapes, units, and a mark in the corner

The real network is EfficientNet-Lite0, on photographs of lessons/pictures at 224 x 224.

Detail: a seed draws 51 of the 102 photographs whose right names are known. The detail
of an object is the mean absolute difference of neighbouring pixels inside it. We rank
the photographs by detail and by the probability p of a right name: Spearman's
correlation.

Conflict: a skin is a square from inside an object, four times enlarged and continued
by mirrors. A skin or a photograph is taken if the network names it right with p > 0.5.
A seed draws 8 skins, and for each two photographs of other classes. Three recipes join
them: the skin everywhere, the photograph as light and dark; half skin, half photograph;
the skin inside the outline.

Backgrounds: 12 photographs that are answered right on light grey, each also on white,
grey, black and green. Units: of 55 drawn photographs those four that excite a channel
most; the share of pairs among them that come from one folder, by layer, and for any
four.

Own texture: eight made shapes, 16 x 16 pixels, their mean accuracy. Four come with
their own texture and four with any; then the roles are exchanged. Short: 800 images, 8
epochs; long: 1,200 images, 12 epochs. Cues: four classes, where both cues tell the
class, or the texture alone, or the shape alone. Asked: shape of one class and texture
of another. Mark: a square in the corner of its class on all training images.

Power: eight groups of photographs, 8 a group to learn from, the others to test, mean
accuracy of the groups, five models. The photographs have 8 x 8 pixels for the second
and third, 64 x 64 for the fourth, 224 x 224 for the fifth.
"""

from functools import cache

import numpy as np

from minidl.classroom.claims import claim
from minidl.data import (
    lesson_pictures,
    load_picture,
    make_cue_conflict,
    make_shapes,
    picture_classes,
)
from minidl.data.shapes import SHAPES, TEXTURES, add_marks, mark_masks
from minidl.engine.recording import no_grad
from minidl.engine.reduce import stable_softmax
from minidl.engine.tensor import Tensor
from minidl.explain import saliency
from minidl.explain.cues import shape_bias
from minidl.explain.patches import strongest_units
from minidl.explain.score import pointing_game
from minidl.nn.models import imagenet_names, imagenet_network, mlp, small_cnn
from minidl.train import Adam, accuracy, fit, per_class_accuracy, predict
from minidl.train.intervals import paired_difference, t_interval
from minidl.train.networks import EXPLAINED_SHAPES, trained
from minidl.train.schedules import cosine
from minidl.transfer import linear_probe, standardise
from minidl.transfer.features import photograph_features

SEEDS = 5
SETTINGS = {"pairs": 16, "p": 0.5, "epochs": 8, "lr": 3e-3, "photographs a group": 8}
COLOURS = {"white": 1, "grey": 0.5, "black": 0, "green": (0.3, 0.6, 0.3)}
LAYERS = ("_blocks.0._bn1", "_blocks.2._bn1", "_blocks.4._bn1", "_blocks.12._bn1")
GROUPS = ("birds", "flowers", "fruit", "mammals")
GROUPS += ("music", "tools", "vegetables", "vehicles")


# ---- the real network


def named():
    """Each photograph whose right names are known: its file and their numbers."""
    names, found = imagenet_names(), picture_classes(lesson_pictures()).items()
    return [
        (file, [names.index(name) for name in right]) for file, right in found if right
    ]


def probabilities(pictures):
    images = np.stack(pictures).astype(np.float32)
    return stable_softmax(predict(imagenet_network(), images))


@cache
def detail():
    """Of each photograph of ``named``: its detail, and p of a right name."""
    photographs = photograph_features()
    files = [f"{path.parent.name}/{path.name}" for path in photographs.files]
    p, rows = stable_softmax(photographs.logits), []
    for file, right in named():
        image, mask = load_picture(lesson_pictures() / file)
        grey = image.mean(axis=0)
        steps = np.abs(np.diff(grey, axis=1))[mask[:, 1:] & mask[:, :-1]]
        rows.append((steps.mean(), p[files.index(file), right].sum()))
    return np.array(rows)


def rank_correlation(a, b):
    return np.corrcoef(a.argsort().argsort(), b.argsort().argsort())[0, 1]


def skin(file):
    """A square from inside the object, enlarged; None if the object is narrow."""
    image, mask = load_picture(lesson_pictures() / file, 4 * 224)
    covered = np.pad(mask.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    for side in (224, 176, 128):
        inside = covered[side:, side:] - covered[:-side, side:]
        inside = inside - covered[side:, :-side] + covered[:-side, :-side]
        tops, lefts = np.nonzero(inside == side**2)
        if len(tops):
            top, left = tops[len(tops) // 2], lefts[len(tops) // 2]
            square, more = image[:, top : top + side, left : left + side], 224 - side
            return np.pad(square, ((0, 0), (0, more), (0, more)), mode="symmetric")
    return None


@cache
def skin_if_sure(file, *right):
    """The skin, if the network names it right with p > 0.5, else None."""
    texture = skin(file)
    if (
        texture is None
        or probabilities([texture])[0, list(right)].sum() <= SETTINGS["p"]
    ):
        return None
    return texture


def sure_photographs():
    """Cut-outs that the network names right with p > 0.5: (file, right numbers)."""
    p_right = detail()[:, 1]
    photographs = zip(named(), p_right, strict=True)
    return [
        item
        for item, p in photographs
        if p > SETTINGS["p"] and not item[0].startswith("photos")  # no cut-outs
    ]


def joined(texture, image, mask):
    """The three recipes."""
    light = image.mean(axis=0)
    return {
        "light and dark": texture * (0.4 + 0.6 * light),
        "half and half": (texture + image) / 2,
        "outline filled": np.where(mask, texture, image),
    }


def conflicts(rng):
    photographs, pairs = sure_photographs(), []
    for i in rng.permutation(len(photographs)):
        file, says_texture = photographs[i]
        texture = skin_if_sure(file, *says_texture)
        if texture is not None:
            others = [
                item for item in photographs if not set(item[1]) & {*says_texture}
            ]
            for j in rng.choice(len(others), size=2, replace=False):
                pairs.append((texture, says_texture, *others[j]))
        if len(pairs) == SETTINGS["pairs"]:
            break
    counts = {}
    for texture, says_texture, file, says_shape in pairs:
        image, mask = load_picture(lesson_pictures() / file)
        pictures = joined(texture, image, mask)
        answers = probabilities(list(pictures.values())).argmax(axis=1)
        for recipe, answer in zip(pictures, answers, strict=True):
            for cue, right in (("texture", says_texture), ("shape", says_shape)):
                key = f"{recipe}: {cue}"
                counts[key] = counts.get(key, 0) + (answer in right)
    return {key: count / len(pairs) for key, count in counts.items()}


def backgrounds(rng):
    photographs = photograph_features()
    files = [f"{path.parent.name}/{path.name}" for path in photographs.files]
    answer = dict(zip(files, photographs.logits.argmax(axis=1), strict=True))
    cut_outs = [item for item in named() if not item[0].startswith("photos")]
    right_on_grey = [(file, right) for file, right in cut_outs if answer[file] in right]
    changed, still_right = [], []
    for i in rng.permutation(len(right_on_grey))[:12]:
        file, right = right_on_grey[i]
        pictures = []
        for colour in COLOURS.values():
            picture, _ = load_picture(lesson_pictures() / file, background=colour)
            pictures.append(picture)
        answers = probabilities(pictures).argmax(axis=1)
        changed.append(any(other != answer[file] for other in answers))
        still_right.append(np.mean([other in right for other in answers]))
    return {
        "backgrounds: some answer changed": np.mean(changed),
        "backgrounds: right": np.mean(still_right),
    }


def units(rng):
    photographs, network, maps = photograph_features(), imagenet_network(), {}
    drawn = rng.permutation(len(photographs.files))[:55]
    hooks = []
    for layer in LAYERS:

        def keep(module, inputs, output, layer=layer):
            maps[layer] = strongest_units(output.data)[0][0]

        hooks.append(network.layer(layer).register_forward_hook(keep))
    rows = {layer: [] for layer in LAYERS}
    for i in drawn:
        with no_grad():
            network(Tensor(load_picture(photographs.files[i])[0][np.newaxis]))
        for layer in LAYERS:
            rows[layer].append(maps[layer])
    for hook in hooks:
        hook.remove()
    labels, numbers = photographs.labels[drawn], {}
    for layer in LAYERS:
        values = np.array(rows[layer])  # (55, channels)
        best = labels[np.argsort(-values, axis=0)[:4]]  # (4, channels), their folders
        best = best[:, values.max(axis=0) > 0]
        numbers[f"one folder: {layer}"] = np.mean(
            [best[i] == best[j] for i in range(4) for j in range(i)]
        )
    same = labels[:, np.newaxis] == labels
    numbers["one folder: any four"] = (same.sum() - 55) / (55 * 54)
    return numbers


# ---- made shapes


def network_on(images, labels, rng):
    network = small_cnn(4, 3, (12, 16, 32), rng=rng)
    return trained(network, (images, labels), SETTINGS["epochs"], SETTINGS["lr"], rng)


def own_texture(seed):
    """After a short training (800 images, 8 epochs) and a longer one (1200, 12)."""
    numbers = {}
    for length, count, epochs in (("short", 800, 8), ("long", 1200, 12)):
        recalls = []
        for owners in ((0, 1, 2, 3), (4, 5, 6, 7)):
            rng = np.random.default_rng(seed)
            tied = [float(k in owners) for k in range(8)]
            scenes = {"size": 16, "shapes": SHAPES[:8], "tied": tied, "rng": rng}
            images, labels, _ = make_shapes(count, **scenes)
            network = small_cnn(8, 3, (16, 32, 32), pool_after=(1, 2), rng=rng)
            trained(network, (images, labels), epochs, SETTINGS["lr"], rng)
            images, labels, _ = make_shapes(800, **scenes)
            recalls.append(per_class_accuracy(predict(network, images), labels).mean)
        first, second = recalls
        own = np.concatenate([first[:4], second[4:]])
        without = np.concatenate([second[:4], first[4:]])
        numbers[f"own texture, {length}"] = own.mean()
        numbers[f"any texture, {length}"] = without.mean()
    return numbers


CUES = {"both cues": ("shape", 1.0), "texture alone": ("texture", 0.0)}
CUES |= {"shape alone": ("shape", 0.0)}
FOUR = {"size": 16, "shapes": EXPLAINED_SHAPES, "textures": TEXTURES[:4]}


def cues(seed):
    conflict = make_cue_conflict(400, **FOUR, rng=np.random.default_rng(100 + seed))
    images, shapes, textures = conflict
    numbers = {}
    for name, (label, tied) in CUES.items():
        rng = np.random.default_rng(seed)
        scenes = {**FOUR, "label": label, "tied": tied, "rng": rng}
        train, labels, _ = make_shapes(1200, **scenes)
        network = network_on(train, labels, rng)
        numbers[f"shape bias: {name}"] = shape_bias(
            predict(network, images), shapes, textures
        ).mean
        test, labels, _ = make_shapes(400, **scenes)
        numbers[f"accuracy: {name}"] = accuracy(predict(network, test), labels)
    return numbers


def mark(seed):
    rng = np.random.default_rng(100 + seed)
    scenes = {"size": 16, "shapes": EXPLAINED_SHAPES}
    images, labels, _ = make_shapes(400, **scenes, rng=rng)
    others = (labels + rng.integers(1, 4, size=400)) % 4
    marked, wrong = add_marks(images, labels), add_marks(images, others)
    numbers = {}
    for name, share in (("misled", 1.0), ("clean", 0.0)):
        rng = np.random.default_rng(seed)
        train = make_shapes(1200, **scenes, spurious=share, rng=rng)
        network = network_on(*train[:2], rng)
        tests = {"with the mark": marked, "without": images, "another's mark": wrong}
        for test, x in tests.items():
            numbers[f"{name}: {test}"] = accuracy(predict(network, x), labels)
        peaks = pointing_game(saliency(network, marked, labels), mark_masks(labels, 16))
        numbers[f"{name}: peak on the mark"] = peaks.mean()
    return numbers


# ---- power against interpretability


@cache
def pictures(size):
    photographs = photograph_features()
    return np.stack([load_picture(path, size)[0] for path in photographs.files])


def power(seed):
    rng, photographs = np.random.default_rng(seed), photograph_features()
    folders = np.array(photographs.groups)[photographs.labels]
    rows = [rng.permutation(np.flatnonzero(folders == group)) for group in GROUPS]
    count = SETTINGS["photographs a group"]
    train = np.concatenate([row[:count] for row in rows])
    test = np.concatenate([row[count:] for row in rows])
    labels = np.array([GROUPS.index(f) if f in GROUPS else -1 for f in folders])

    def right(model, inputs):
        return per_class_accuracy(
            predict(model, inputs[test]), labels[test]
        ).mean.mean()

    small, numbers = pictures(8), {}
    tables = {"three colours": small.mean(axis=(2, 3)), "8 x 8 pixels": small}
    tables["network and head"] = photographs.features
    for name, table in tables.items():
        table = table.reshape(len(table), -1)
        table = standardise(table[train], table).astype(np.float32)
        numbers[f"power: {name}"] = right(
            linear_probe(table[train], labels[train], 0.1), table
        )
    models = {"one hidden layer": mlp(192, (64,), 8, rng=rng)}
    models["small CNN"] = small_cnn(8, 3, (16, 32, 64), pool_after=(1, 2, 3), rng=rng)
    small = small.reshape(-1, 192)
    inputs = standardise(small[train], small).astype(np.float32), pictures(64)
    for (name, model), x in zip(models.items(), inputs, strict=True):
        optimizer = Adam(model.parameters(), lr=SETTINGS["lr"])
        options = {"optimizer": optimizer, "schedule": cosine(SETTINGS["lr"], 0.0, 120)}
        options |= {"epochs": 30, "batch_size": 16, "progress": False, "rng": rng}
        fit(model, (x[train], labels[train]), **options)
        numbers[f"power: {name}"] = right(model.eval(), x)
    return numbers


def measure(seed):
    rng = np.random.default_rng(seed)
    drawn = detail()[rng.permutation(len(detail()))[:51]]
    numbers = {"detail with p": rank_correlation(*drawn.T)}
    numbers |= conflicts(rng) | backgrounds(rng) | units(rng)
    numbers |= own_texture(seed) | cues(seed) | mark(seed) | power(seed)
    return {name: float(value) for name, value in numbers.items()}


def claims(results):
    def of(name):
        return t_interval(results[name])

    r = of("detail with p")
    claim("detail does not decide", -0.3 < r.low < r.high < 0.4, {"r": r})

    def texture_more(recipe):
        return paired_difference(
            results[f"{recipe}: texture"], results[f"{recipe}: shape"]
        )

    more = texture_more("light and dark")
    claim("light and dark: texture wins", more.low > 0.1, {"more": more})
    more = texture_more("half and half")
    claim("half and half: shape wins", more.high < 0, {"more": more})
    neither = 1 - results["outline filled: texture"] - results["outline filled: shape"]
    neither = t_interval(neither)
    claim("outline filled: neither wins", neither.low > 0.5, {"neither": neither})
    deep = results[f"one folder: {LAYERS[3]}"]
    for other in (LAYERS[1], LAYERS[2], "any four"):
        more = paired_difference(deep, results[f"one folder: {other}"])
        claim(f"block 12 sorts by kind, {other}", more.low > 0.02, {"more": more})

    for length in ("short", "long"):
        gain = paired_difference(
            results[f"own texture, {length}"], results[f"any texture, {length}"]
        )
        claim(f"its own texture helps, {length}", gain.low > 0, {"gain": gain})
    both, texture, shape = (of(f"shape bias: {name}") for name in CUES)
    claim("both cues: it learns the texture", both.high < 0.3, {"bias": both})
    claim("only the texture tells", texture.high < 0.1, {"bias": texture})
    claim("only the shape tells", shape.low > 0.7, {"bias": shape})

    loss = paired_difference(results["clean: without"], results["misled: without"])
    claim("without the mark it is wrong more often", loss.low > 0, {"loss": loss})
    wrong = of("misled: another's mark")
    claim("another's mark outvotes the shape", wrong.high < 0.4, {"accuracy": wrong})
    peaks, clean = of("misled: peak on the mark"), of("clean: peak on the mark")
    claim("the gradient's peak is on the mark", peaks.low > 0.1, {"peaks": peaks})
    claim("the clean one's is not", clean.high < 4 / 256, {"peaks": clean})

    for better, worse in (
        ("network and head", "small CNN"),
        ("network and head", "three colours"),
    ):
        more = paired_difference(
            results[f"power: {better}"], results[f"power: {worse}"]
        )
        claim(f"{better} beats {worse}", more.low > 0.1, {"more": more})
