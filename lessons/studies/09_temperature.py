"""09 Temperature: fitted for trust, annealed in training

The real network: EfficientNet-Lite0 on the 102 photographs of lessons/pictures that
show one of its 1,000 classes. The right class is the one in classes.csv; where
several are right, the likeliest of them. A seed halves the photographs: T is fitted
on one half, the expected calibration error (ECE) is measured on the other.

Digits, 8 x 8 pixels: a network with 128 hidden units. Overconfident: 400 images under
noise of deviation 0.5, 150 epochs; T is fitted on 600 further images, or on the
training images, and ECE is measured on the 360 test images.

Annealing: 200 clean digits, T falls from 4 to 1 along a line, against T = 1
throughout; everything is compared at T = 1. Short: 60 epochs of Adam at 0.003. Long:
150 epochs at 0.03, which was the best of 0.001, 0.003, 0.01 and 0.03 for both on the
seeds 100 to 107. The rate falls along a cosine.
"""

import warnings

import numpy as np

import minidl.nn.functional as F
from minidl.classroom.claims import claim
from minidl.data import (
    batches,
    gaussian_noise,
    lesson_pictures,
    load_digits,
    picture_classes,
)
from minidl.engine.reduce import stable_softmax
from minidl.nn.models import imagenet_names, mlp
from minidl.train import (
    Adam,
    accuracy,
    expected_calibration_error,
    fit_temperature,
    predict,
)
from minidl.train.intervals import paired_difference, t_interval
from minidl.train.schedules import cosine, linear
from minidl.transfer import photograph_features

SEEDS = 8
SETTINGS = {"short": [60, 0.003], "long": [150, 0.03], "overconfident": [150, 0.003]}


def real_logits():
    """Logits (102, 1000) of photographs of a known class, and the right classes."""
    photographs, table, names = (
        photograph_features(),
        picture_classes(lesson_pictures()),
        imagenet_names(),
    )
    rows, labels = [], []
    for row, path in enumerate(photographs.files):
        right = [names.index(name) for name in table[f"{path.parent.name}/{path.name}"]]
        if right:
            rows.append(row)
            labels.append(max(right, key=lambda k: photographs.logits[row, k]))
    return photographs.logits[rows], np.array(labels)


def error(logits, labels, T=1.0):
    p = stable_softmax(logits.astype(np.float64), temperature=T)
    return expected_calibration_error(p, labels)


def train_digits(seed, labelled, noise, epochs, lr, first_temperature=1.0):
    """Logits and labels of the training, held-out and test images."""
    rng = np.random.default_rng(seed)
    (images, labels), (test_images, test_labels) = load_digits()
    # once, before training: the noise is part of the data
    add_noise = gaussian_noise(noise)
    images, test_images = add_noise(images, rng), add_noise(test_images, rng)
    order = rng.permutation(len(images))
    train, held_out = order[:labelled], order[-600:]
    model = mlp(64, 128, 10, rng=rng)
    optimizer = Adam(model.parameters(), lr=lr)
    steps = epochs * -(-labelled // 64)
    rate, temperature = cosine(lr, 0.0, steps), linear(first_temperature, 1.0, steps)
    step = 0
    for _epoch in range(epochs):
        for x, y in batches(images[train], labels[train], 64, rng=rng):
            loss = F.cross_entropy(model(x), y, temperature=temperature(step))
            optimizer.zero_grad()
            loss.backward()
            optimizer.lr = rate(step)
            optimizer.step()
            step += 1
    return {
        "train": (predict(model, images[train]), labels[train]),
        "held out": (predict(model, images[held_out]), labels[held_out]),
        "test": (predict(model, test_images), test_labels),
    }


def measure(seed):
    numbers = {}
    logits, labels = real_logits()
    order = np.random.default_rng(seed).permutation(len(labels))
    fitted, others = order[: len(order) // 2], order[len(order) // 2 :]
    T = fit_temperature(logits[fitted], labels[fitted])
    numbers["real: fitted T"] = T
    numbers["real: ECE at T = 1"] = error(logits[others], labels[others])
    numbers["real: ECE at the fitted T"] = error(logits[others], labels[others], T)

    parts = train_digits(seed, 400, 0.5, *SETTINGS["overconfident"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on the training images T runs to its bound
        found = {part: fit_temperature(*parts[part]) for part in ("held out", "train")}
    numbers["digits: fitted T"] = found["held out"]
    numbers["digits: ECE at T = 1"] = error(*parts["test"])
    numbers["digits: ECE at the fitted T"] = error(*parts["test"], found["held out"])
    numbers["digits: ECE at T fitted on training images"] = error(
        *parts["test"], found["train"]
    )

    for length in ("short", "long"):
        for name, first in (("T = 1", 1.0), ("T from 4 to 1", 4.0)):
            logits, labels = train_digits(seed, 200, 0.0, *SETTINGS[length], first)[
                "test"
            ]
            confidence = stable_softmax(logits.astype(np.float64)).max(axis=1).mean()
            numbers[f"{length}: accuracy, {name}"] = accuracy(logits, labels)
            numbers[f"{length}: confidence, {name}"] = confidence
            numbers[f"{length}: ECE, {name}"] = error(logits, labels)
        for what in ("accuracy", "confidence"):
            annealed = numbers[f"{length}: {what}, T from 4 to 1"]
            numbers[f"{length}: change of {what}"] = (
                annealed - numbers[f"{length}: {what}, T = 1"]
            )
    return numbers


def claims(results):
    for which, least in (("real", 0.06), ("digits", 0.1)):
        before, after = (
            results[f"{which}: ECE at {T}"] for T in ("T = 1", "the fitted T")
        )
        gain = paired_difference(before, after)
        claim(
            f"{which}: the fitted T lowers ECE by {least}",
            gain.low > least,
            {"by": gain},
        )
    T = t_interval(results["real: fitted T"])
    claim("the real network is underconfident: its T is below 1", T.high < 1, {"T": T})
    T = t_interval(results["digits: fitted T"])
    claim("the digits' network is overconfident: its T is above 1", T.low > 1, {"T": T})
    harm = paired_difference(
        results["digits: ECE at T fitted on training images"],
        results["digits: ECE at T = 1"],
    )
    claim("T fitted on the training images raises ECE", harm.low > 0, {"by": harm})
    change = t_interval(results["short: change of accuracy"])
    claim(
        "short training: annealing T costs accuracy",
        change.high < 0,
        {"change": change},
    )
    change = t_interval(results["short: change of confidence"])
    claim("short training: annealing T ends surer", change.low > 0, {"change": change})
    change = t_interval(results["long: change of accuracy"])
    claim(
        "long training at the best rate: no gain of 0.01",
        change.high < 0.01,
        {"change": change},
    )
