"""03 What finetuning gains, and what a large learning rate wrecks

Two parts, each with its own network.

The real network: EfficientNet-Lite0 on photographs of eight groups (birds, flowers,
fruit, mammals, music, tools, vegetables, vehicles) at 128 x 128 pixels. A seed draws
8 photographs a group to learn from; the other 130 are the test. A new head is solved
for (a linear probe). From there block 15, the last convolution and the head learn
together for 6 epochs: SGD, momentum 0.9, batches of 16. Measured for several rates,
with BatchNorm's statistics kept or adapting: the mean of the groups' accuracies, and
how many of the test photographs get the old answer, of the 1,000, when the old head
is put back.

Made shapes, 16 x 16 pixels: a small network knows eight shapes. It learns four other
shapes (a similar task) or four textures, which it was trained to ignore (a task that
is far away), from few labels (5 a class) or many (100). Head alone: a linear probe.
All layers: from that probe on. From scratch: random weights. Both that train have 120
steps of Adam in batches of 32, with a rate that falls along a cosine. The rate of
each, and whether statistics are kept or adapt, was the best on the seeds 100 to 102
in each of the four cases; the grids are in SETTINGS. For the large rate the study
also counts how many outputs of block 3's ReLU are zero on test images.
"""

import copy
from functools import cache

import numpy as np

import minidl.nn.functional as F
from minidl import nn
from minidl.classroom.claims import claim
from minidl.data import (
    TEXTURES,
    lesson_pictures,
    load_picture,
    make_shapes,
    picture_files,
)
from minidl.engine.recording import no_grad
from minidl.nn.models import imagenet_network
from minidl.train import (
    SGD,
    Adam,
    evaluate,
    fit,
    per_class_accuracy,
    predict,
    reestimate_statistics,
)
from minidl.train.intervals import paired_difference
from minidl.train.schedules import cosine
from minidl.transfer import (
    SOURCE_SHAPES,
    TARGET_SHAPES,
    extract_features,
    linear_probe,
    pretrained_shapes,
    shapes_cnn,
    unfreeze,
)

SEEDS = 5
SETTINGS = {
    "real, rates": [0.001, 0.01, 0.1, 1.0],
    "made, rates tried": [0.0003, 0.001, 0.003, 0.01, 0.03],
    "made, large rate": 0.03,
    "made, chosen": {  # the rate, and whether statistics adapt
        "similar, few": {"from scratch": [0.01, True], "all layers": [0.001, False]},
        "similar, many": {"from scratch": [0.01, True], "all layers": [0.001, True]},
        "far, few": {"from scratch": [0.01, True], "all layers": [0.01, True]},
        "far, many": {"from scratch": [0.003, True], "all layers": [0.01, True]},
    },
}
LABELS = {"few": 5, "many": 100}
GROUPS = (
    "birds",
    "flowers",
    "fruit",
    "mammals",
    "music",
    "tools",
    "vegetables",
    "vehicles",
)


# ---- the real network


@cache
def real():
    """What block 14 gives, the photographs' groups, the layers above, the old head."""
    network = imagenet_network()
    files = [
        path for path in picture_files(lesson_pictures()) if path.parent.name in GROUPS
    ]
    labels = np.array([GROUPS.index(path.parent.name) for path in files])
    images = np.stack([load_picture(path, 128)[0] for path in files])
    blocks = network.layer("_blocks").children()
    first = [
        network.layer(name)
        for name in ("preprocess", "_pad", "_conv_stem", "_bn0", "_relu0")
    ]
    below = nn.Sequential(*first, *blocks[:15])
    after = [network.layer(name) for name in ("_conv_head", "_bn1", "_relu1")]
    above = nn.Sequential(blocks[15], *after, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with no_grad():
        maps = np.concatenate(
            [below.eval()(image[np.newaxis]).data for image in images]
        )
    return maps, labels, above.eval(), network.layer("_fc")


def finetune_real(seed, lr, statistics=False):
    """Accuracy on the new groups, share of old answers kept, accuracy re-estimated."""
    maps, labels, above, old_head = real()
    rng = np.random.default_rng(seed)
    rows = [rng.permutation(np.flatnonzero(labels == k))[:8] for k in range(8)]
    train = np.concatenate(rows)
    test = np.setdiff1d(np.arange(len(labels)), train)
    head = linear_probe(predict(above, maps[train]), labels[train], l2=0.01)
    model = nn.Sequential({"above": copy.deepcopy(above), "head": head})
    if lr > 0:
        unfreeze(model, statistics=statistics)
        optimizer = SGD(model.parameters(), lr=lr, momentum=0.9)
        options = {
            "batch_size": 16,
            "optimizer": optimizer,
            "rng": rng,
            "progress": False,
        }
        fit(model, (maps[train], labels[train]), epochs=6, **options)
    old_answers = predict(old_head, predict(above, maps[test])).argmax(axis=1)
    features = predict(model.layer("above"), maps[test])
    now = predict(old_head, features).argmax(axis=1)
    accuracy = per_class_accuracy(predict(head, features), labels[test]).mean.mean()
    reestimate_statistics(model, maps[train])
    again = per_class_accuracy(predict(model, maps[test]), labels[test]).mean.mean()
    return accuracy, np.mean(now == old_answers), again


# ---- made shapes


def task(name, count, rng):
    """Images and labels of one of the two tasks, four classes each."""
    if name == "similar":
        return make_shapes(count, size=16, shapes=TARGET_SHAPES, rng=rng)[:2]
    return make_shapes(
        count,
        size=16,
        shapes=SOURCE_SHAPES,
        textures=TEXTURES[:4],
        label="texture",
        rng=rng,
    )[:2]


def learn_made(seed, name, labels_per_class, start, lr=0.0, statistics=True):
    """Test accuracy, that after re-estimation, and the share of zeros after block 3.

    start: "scratch" or "pretrained".
    """
    rng = np.random.default_rng(1000 + seed)
    images, labels = task(name, 4 * labels_per_class, rng)
    test = task(name, 400, rng)
    if start == "scratch":
        model = shapes_cnn(4, rng)
    else:
        model = pretrained_shapes(seed)
        model.head = linear_probe(
            extract_features(model, images, "flatten"), labels, l2=1e-3
        )
        unfreeze(model, statistics=statistics)
    rate = cosine(lr, 0.0, steps=120) if lr else None
    optimizer = Adam(model.parameters(), lr=lr or 1.0)
    model.train()
    for step in range(120 if lr else 0):
        rows = rng.choice(len(labels), min(32, len(labels)), replace=False)
        loss = F.cross_entropy(model(images[rows]), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.lr = rate(step)
        optimizer.step()
    accuracy = evaluate(model, *test).accuracy
    zeros = np.mean(extract_features(model, test[0], "block3") == 0)
    reestimate_statistics(model, images)
    return accuracy, evaluate(model, *test).accuracy, zeros


def measure_real(seed):
    numbers = {}
    alone, _, again = finetune_real(seed, 0.0)
    numbers["real: head alone"] = alone
    numbers["real: head alone, re-estimated"] = again
    for lr in SETTINGS["real, rates"]:
        accuracy, kept, again = finetune_real(seed, lr)
        numbers[f"real: last block, rate {lr:g}"] = accuracy
        numbers[f"real: old answers kept, rate {lr:g}"] = kept
    numbers["real: last block, rate 1, re-estimated"] = again
    adapting = finetune_real(seed, 0.1, statistics=True)[0]
    numbers["real: last block, rate 0.1, statistics adapt"] = adapting
    return numbers


def measure(seed):
    numbers = measure_real(seed)
    large = SETTINGS["made, large rate"]
    for case, chosen in SETTINGS["made, chosen"].items():
        name, amount = case.split(", ")
        made = (seed, name, LABELS[amount])
        numbers[f"{case}: head alone"], again, zeros = learn_made(*made, "pretrained")
        numbers[f"{case}: all layers"] = learn_made(
            *made, "pretrained", *chosen["all layers"]
        )[0]
        numbers[f"{case}: from scratch"] = learn_made(
            *made, "scratch", *chosen["from scratch"]
        )[0]
        if name == "similar":
            numbers[f"{case}: head alone, re-estimated"] = again
            numbers[f"{case}: zeros after block 3, head alone"] = zeros
            for statistics, how in ((False, "kept"), (True, "adapt")):
                accuracy, again, zeros = learn_made(
                    *made, "pretrained", large, statistics
                )
                numbers[f"{case}: large rate, statistics {how}"] = accuracy
                numbers[f"{case}: large rate, statistics {how}, re-estimated"] = again
                numbers[f"{case}: zeros after block 3, statistics {how}"] = zeros
    return numbers


def claims(results):
    def gain(a, b):
        return paired_difference(results[a], results[b])

    claim_the_real_network(gain)
    claim_reuse_against_scratch(results, gain)
    claim_a_large_rate(gain)


def claim_the_real_network(gain):
    head = "real: head alone"
    loss = gain(head, "real: last block, rate 1")
    claim("real: a rate of 1 wrecks the network", loss.low > 0.5, {"loss": loss})
    loss = gain(head, "real: last block, rate 0.1, statistics adapt")
    print("real: at 0.1 statistics that adapt cost against the head alone:", loss)
    for lr in (0.001, 0.01, 0.1):
        change = gain(f"real: last block, rate {lr:g}", head)
        print(f"real: last block at {lr:g} over the head alone:", change)
    loss = gain(
        "real: old answers kept, rate 0.001", "real: old answers kept, rate 0.1"
    )
    claim(
        "real: a rate of 0.1 loses a tenth of the old answers",
        loss.low > 0.1,
        {"loss": loss},
    )


def claim_reuse_against_scratch(results, gain):
    few, many = "similar, few", "similar, many"
    better = gain(f"{few}: all layers", f"{few}: from scratch")
    claim(
        "similar, few labels: reuse beats scratch by 0.3",
        better.low > 0.3,
        {"by": better},
    )
    better = gain(f"{many}: all layers", f"{many}: from scratch")
    is_small = max(abs(better.low), abs(better.high)) < 0.02
    claim("similar, many labels: no difference of 0.02", is_small, {"by": better})
    for case in ("far, few", "far, many"):
        better = gain(f"{case}: from scratch", f"{case}: all layers")
        claim(f"{case}: scratch beats reuse", better.low > 0, {"by": better})
    near = results[f"{many}: all layers"] - results[f"{many}: head alone"]
    far = results["far, many: all layers"] - results["far, many: head alone"]
    more = paired_difference(far, near)
    claim(
        "many labels: the far task gains 0.3 more from all layers",
        more.low > 0.3,
        {"more": more},
    )


def claim_a_large_rate(gain):
    few, many = "similar, few", "similar, many"
    for case in (few, many):
        loss = gain(f"{case}: from scratch", f"{case}: large rate, statistics kept")
        print(f"{case}: scratch over the large rate with statistics kept:", loss)
    claim(
        "with many labels that is worse than scratch by 0.5",
        loss.low > 0.5,
        {"by": loss},
    )
    zeros = f"{many}: zeros after block 3"
    more = gain(f"{zeros}, statistics kept", f"{zeros}, statistics adapt")
    claim("with kept statistics more outputs are zero", more.low > 0, {"more": more})
    loss = gain(f"{few}: all layers", f"{few}: large rate, statistics adapt")
    claim(
        "with few labels it costs 0.15 where they adapt",
        loss.low > 0.15,
        {"loss": loss},
    )
    loss = gain(f"{many}: all layers", f"{many}: large rate, statistics adapt")
    print("with many labels, statistics that adapt, it costs", loss)
