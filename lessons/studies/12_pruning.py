"""12 Pruning: which filters can go, before and after the statistics are repaired

Digits, 8 x 8 pixels: a small network of three convolutions with 16, 32 and 64 filters.
A rule scores the filters of a layer, and those with the lowest scores are masked: by
the L1 norm, by ablation (the rise of the loss on 288 held-out images when one filter is
masked), by the first-order estimate of Taylor, or at random (the mean of three random
choices). "ablation in 4 steps": a quarter of these filters is masked, then the others
are scored anew. "mean - std/2" masks in each layer the filters whose norm is at most
mean - 0.5 std; "same share" masks by norm as many, the same share of each layer; "same
numbers, random" masks in each layer as many, at random. Each accuracy is that of 360
test images; "the 3s": of the test images of a 3, re-estimated.

"as masked": nothing else is done. "re-estimated": the running statistics of each
BatchNorm are measured anew on the 1,149 training images. "finetuned": 3 further epochs
of training. "from scratch": the network with half the filters, trained from random
weights for as many epochs in all, 12 + 3. Adam, the rate falls from 0.003 to 0 along a
cosine. Training turns the images at random by up to 10 degrees.

The real network: EfficientNet-Lite0. A seed draws 32 of the 108 photographs of animals
in lessons/pictures, at 160 x 160 on light grey. On 16 of them the mean and the
deviation of each channel are matched to the whole network's. On the other 16 we count
how many answers (the likeliest of 1,000 names) are still those of the whole network.
30% of the filters of one convolution are masked, the one that expands the channels in
block 1, 7 or 14; or 10% of the filters of all layers whose filters can go; or 30% of
all single weights. "whole, re-estimated" is a control: nothing is masked, and the
running statistics are measured anew on the 16 photographs.
"""

import copy
import functools

import numpy as np

from minidl.classroom.claims import claim
from minidl.compress.masks import (
    apply_masks,
    filter_mask,
    global_magnitude_masks,
    magnitude_mask,
)
from minidl.compress.scores import (
    ablation_scores,
    filter_layers,
    filter_masks,
    filter_norms,
    random_scores,
    taylor_scores,
)
from minidl.data import lesson_pictures, load_picture, picture_files, random_rotation
from minidl.nn.models import imagenet_network, small_cnn
from minidl.train import evaluate, predict
from minidl.train.intervals import paired_difference, t_interval
from minidl.train.networks import digits_network, digits_split, trained
from minidl.train.statistics import match_statistics, reestimate_statistics

SEEDS = 6
SETTINGS = {
    "finetune epochs": 3,
    "scratch epochs": 15,
    "lr": 0.003,
    "size": 160,
    "match": 16,
    "test": 16,
}
LAYERS = {"block 1": "block1.conv", "block 2": "block2.conv", "block 3": "block3.conv"}
PARTS = (("block 1", 0.25), ("block 1", 0.5), ("block 2", 0.5), ("block 3", 0.5))
WORDS = {0.25: "a quarter", 0.5: "half"}
RULES = ("norm", "ablation", "Taylor")
RANDOM = 3  # choices of which the mean is taken
ANIMALS = {
    "amphibians",
    "birds",
    "fish",
    "insects",
    "mammals",
    "marsupials",
    "reptiles",
}


def both(network, masks):
    """Test accuracy of a masked copy, as masked and re-estimated; and that copy."""
    (train, _), _, test = digits_split()
    masked = apply_masks(copy.deepcopy(network), masks)
    before = evaluate(masked, *test).accuracy
    reestimate_statistics(masked, train)
    return np.array([before, evaluate(masked, *test).accuracy]), masked


def pair(name, accuracies):
    as_masked, re_estimated = accuracies
    return {f"{name}, as masked": as_masked, f"{name}, re-estimated": re_estimated}


def scores_of(network):
    """{rule: {layer: scores}}"""
    held_out = digits_split()[1]
    scores = {rule: {} for rule in RULES}
    for layer in LAYERS.values():
        scores["norm"][layer] = filter_norms(network.layer(layer))
        scores["ablation"][layer] = ablation_scores(network, layer, *held_out)
        scores["Taylor"][layer] = taylor_scores(network, layer, *held_out)
    return scores


def rank_correlation(a, b):
    ranks = [np.argsort(np.argsort(scores)) for scores in (a, b)]
    return float(np.corrcoef(*ranks)[0, 1])


def accuracy_on_threes(network):
    images, labels = digits_split()[2]
    return evaluate(network, images[labels == 3], labels[labels == 3]).accuracy


def one_layer(network, scores, rng):
    """Each rule in one layer at a time."""
    numbers = {}
    for part, share in PARTS:
        layer, name = LAYERS[part], f"digits: {WORDS[share]} of {part}"
        for rule in RULES:
            mask = filter_mask(scores[rule][layer], amount=share)
            found, masked = both(network, {layer: mask})
            numbers |= pair(f"{name}, {rule}", found)
            if (part, rule) == ("block 3", "ablation"):
                numbers[f"{name}, ablation, the 3s"] = accuracy_on_threes(masked)
        found, threes = [], []
        for _ in range(RANDOM):
            mask = filter_mask(random_scores(network.layer(layer), rng), amount=share)
            accuracies, masked = both(network, {layer: mask})
            found.append(accuracies)
            threes.append(accuracy_on_threes(masked))
        numbers |= pair(f"{name}, random", np.mean(found, axis=0))
        if part == "block 3":
            numbers[f"{name}, random, the 3s"] = np.mean(threes)
    return numbers


def in_steps(network, layer, steps=4):
    """Half of a layer's filters, some at a time; then the others are scored anew."""
    held_out, total = digits_split()[1], len(network.layer(layer).weight.data)
    masked, keep = copy.deepcopy(network), np.ones(total, bool)
    for step in range(1, steps + 1):
        scores = ablation_scores(masked, layer, *held_out)
        scores[~keep] = -np.inf  # those that are masked stay so
        keep[np.argsort(scores, kind="stable")[: total * step // (2 * steps)]] = False
        apply_masks(masked, {layer: keep})
    found, masked = both(network, {layer: keep})
    name = "digits: half of block 3, ablation in 4 steps"
    return pair(name, found) | {f"{name}, the 3s": accuracy_on_threes(masked)}


def mean_and_deviation(network, norms, rng):
    """Each layer decides how many filters go; or the same share of each layer."""
    masks = {layer: filter_mask(scores, s=-0.5) for layer, scores in norms.items()}
    share = np.mean(np.concatenate([~mask for mask in masks.values()]))
    numbers = {"digits: share of filters below mean - std/2": share}
    numbers |= pair("digits: mean - std/2", both(network, masks)[0])
    even = {layer: filter_mask(scores, amount=share) for layer, scores in norms.items()}
    numbers |= pair("digits: same share", both(network, even)[0])
    found = []
    for _ in range(RANDOM):
        mixed = {layer: rng.permutation(mask) for layer, mask in masks.items()}
        found.append(both(network, mixed)[0])
    return numbers | pair("digits: same numbers, random", np.mean(found, axis=0))


def finetuned(network, scores, seed):
    """Half of the filters of all layers, before and after training goes on."""
    train, _, test = digits_split()
    rng, lr, turn = np.random.default_rng(seed), SETTINGS["lr"], random_rotation(10)
    randomly = {
        layer: random_scores(network.layer(layer), rng) for layer in LAYERS.values()
    }
    numbers = {}
    for rule, by_layer in (scores | {"random": randomly}).items():
        masks = {layer: filter_mask(s, amount=0.5) for layer, s in by_layer.items()}
        found, masked = both(network, masks)
        name = f"digits: half of all, {rule}"
        numbers |= pair(name, found)
        epochs = SETTINGS["finetune epochs"]
        trained(
            masked, train, epochs, lr, np.random.default_rng(100 + seed), augment=turn
        )
        numbers[f"{name}, finetuned"] = evaluate(masked, *test).accuracy
    rng = np.random.default_rng(200 + seed)
    small = small_cnn(10, 1, widths=(8, 16, 32), rng=rng)
    trained(small, train, SETTINGS["scratch epochs"], lr, rng, augment=turn)
    numbers["digits: half of all, from scratch"] = evaluate(small, *test).accuracy
    return numbers


def single_weights(network, rng):
    paths = [*filter_layers(network), "head"]
    weights = {f"{path}.weight": network.layer(path).weight.data for path in paths}
    noise = {path: rng.random(weight.shape) for path, weight in weights.items()}
    ways = {"one threshold": global_magnitude_masks(network, 0.7)}
    ways["same share"] = {path: magnitude_mask(w, 0.7) for path, w in weights.items()}
    ways["random"] = {path: magnitude_mask(u, 0.7) for path, u in noise.items()}
    numbers = {}
    for way, masks in ways.items():
        numbers |= pair(f"digits: 70% of weights, {way}", both(network, masks)[0])
    return numbers


def digits(seed):
    network, rng = digits_network(seed), np.random.default_rng(seed)
    numbers = pair("digits: whole", both(network, {})[0])
    scores = scores_of(network)
    for other in ("norm", "Taylor"):
        for part, layer in LAYERS.items():
            found = rank_correlation(scores["ablation"][layer], scores[other][layer])
            numbers[f"digits: rank correlation of ablation and {other}, {part}"] = found
    numbers |= one_layer(network, scores, rng)
    numbers |= in_steps(network, LAYERS["block 3"])
    numbers |= mean_and_deviation(network, scores["norm"], rng)
    numbers |= finetuned(network, scores, seed)
    return numbers | single_weights(network, rng)


@functools.cache
def whole_network():
    return imagenet_network()


def animals(seed):
    """The photographs on which statistics are matched, and those that test."""
    files = [p for p in picture_files(lesson_pictures()) if p.parent.name in ANIMALS]
    drawn = np.random.default_rng(seed).permutation(len(files))
    count = SETTINGS["match"] + SETTINGS["test"]
    images = [load_picture(files[i], SETTINGS["size"])[0] for i in drawn[:count]]
    return np.stack(images[: SETTINGS["match"]]), np.stack(images[SETTINGS["match"] :])


def real(seed):
    network, rng = whole_network(), np.random.default_rng(seed)
    to_match, to_test = animals(seed)
    answers = predict(network, to_test).argmax(axis=1)

    def kept(model):
        return float((predict(model, to_test).argmax(axis=1) == answers).mean())

    again = copy.deepcopy(network)
    reestimate_statistics(again, to_match)
    numbers = {"real: whole, re-estimated": kept(again)}

    cases = {}
    for block in (1, 7, 14):
        layer = f"_blocks.{block}._expand_conv"
        norms = filter_norms(network.layer(layer))
        cases[f"30% of block {block}, norm"] = {layer: filter_mask(norms, amount=0.3)}
        if block != 7:
            by_chance = random_scores(network.layer(layer), rng)
            mask = filter_mask(by_chance, amount=0.3)
            cases[f"30% of block {block}, random"] = {layer: mask}
    cases["10% of all layers, norm"] = filter_masks(network, 0.1, x=to_test[:1])
    cases["30% of all weights"] = global_magnitude_masks(network, 0.3)
    for name, masks in cases.items():
        masked = apply_masks(copy.deepcopy(network), masks, to_test[:1])
        numbers[f"real: {name}, as masked"] = kept(masked)
        match_statistics(masked, network, to_match)
        numbers[f"real: {name}, matched"] = kept(masked)
    return numbers


def measure(seed):
    return digits(seed) | real(seed)


def claims(results):
    def gain(after, before):
        return paired_difference(results[after], results[before])

    change = gain("digits: whole, re-estimated", "digits: whole, as masked")
    claim(
        "re-estimation costs the whole network nothing",
        change.low > -0.01,
        {"change": change},
    )
    name = "digits: a quarter of block 1"
    change = gain(f"{name}, norm, re-estimated", f"{name}, norm, as masked")
    claim(
        "a quarter of block 1: most of the loss was stale statistics",
        change.low > 0.24,
        {"gain": change},
    )
    stale = (
        results[f"{name}, ablation, as masked"] - results[f"{name}, norm, as masked"]
    )
    after = "re-estimated"
    fresh = results[f"{name}, ablation, {after}"] - results[f"{name}, norm, {after}"]
    lead = t_interval(fresh)
    claim(
        "ablation leads the norm by little, and by less than it seems",
        lead.high < 0.05 and paired_difference(stale, fresh).low > 0,
        {"as masked": t_interval(stale), after: lead},
    )

    name = "digits: half of block 3"
    change = gain(f"{name}, random, {after}", f"{name}, ablation, {after}")
    claim("last layer: random beats ablation", change.low > 0.05, {"by": change})
    change = gain(f"{name}, random, the 3s", f"{name}, ablation, the 3s")
    claim("last layer: ablation loses the 3s", change.low > 0.4, {"by": change})
    change = gain(f"{name}, ablation in 4 steps, {after}", f"{name}, ablation, {after}")
    claim("last layer: scores taken anew help", change.low > 0.05, {"by": change})
    change = gain(f"{name}, ablation in 4 steps, {after}", f"{name}, random, {after}")
    claim("last layer: so they beat random", change.low > 0, {"by": change})

    name = "digits: 70% of weights"
    change = gain(f"{name}, one threshold, {after}", f"{name}, same share, {after}")
    claim("weights: one threshold is better", change.low > 0.19, {"by": change})
    for rule in (*RULES, "random"):
        kept = t_interval(results[f"digits: half of all, {rule}, finetuned"])
        claim(f"half of all, {rule}, finetuned", kept.low > 0.9, {"accuracy": kept})

    kept = t_interval(results["real: whole, re-estimated"])
    claim("16 photographs do not re-estimate", kept.high < 0.5, {"kept": kept})
    for case, least in (("30% of block 1", 0.25), ("10% of all layers", 0)):
        change = gain(f"real: {case}, norm, matched", f"real: {case}, norm, as masked")
        claim(f"real, {case}: matching repairs", change.low > least, {"by": change})
    change = gain(
        "real: 30% of block 7, norm, as masked", "real: 30% of block 1, norm, as masked"
    )
    claim("real: block 7 bears more than block 1", change.low > 0.33, {"by": change})
