"""What warmup, label smoothing and noise change, over eight seeds

All networks read the 8×8 digits: 1,437 to train on, 360 others to test on, batches of
64, Adam.

Warmup. A network of two convolutions is trained for 270 steps. In "sorted" runs each of
the first 40 batches holds one digit only; in "mixed" runs all batches are mixed. The
learning rate is constant, after 100 steps of warmup or none.

Label smoothing. A network of 128 hidden units learns from 100 or 800 clean images, or
from 400 images with noise of σ = 0.5; the test images then have the same noise. eps is
0 or 0.1. The rate falls from 0.003 to 0 along a cosine. "margin" is the logit of the
true class less the mean of the other logits, on the training images.

Noise. The same network of 128 hidden units is trained for 40 epochs: on clean images,
with fresh noise of σ = 0.2 on every batch, or with dropout of one half. "mark": each
training image has one pixel of value 0.5 at its border that tells the class; the test
images have the mark of their class or of another. "erased": 30% of the pixels of a test
image are 0. "half of the units": half of the hidden units are 0, the others count
twice.
"""

import numpy as np

import minidl.nn.functional as F
from minidl import nn
from minidl.attack import fgsm
from minidl.classroom.claims import claim
from minidl.data import batches, gaussian_noise, load_digits
from minidl.engine.reduce import stable_softmax
from minidl.nn.models import mlp
from minidl.train import Adam, accuracy, expected_calibration_error, fit, predict
from minidl.train.intervals import paired_difference, t_interval
from minidl.train.schedules import constant, cosine, with_warmup

SEEDS = 8
SETTINGS = {"bad_batches": 40, "warmup": 100, "eps": 0.1, "sigma": 0.2, "mark": 0.5}
SITUATIONS = {
    "100 clean": (100, 0.0, 150),
    "800 clean": (800, 0.0, 60),
    "400 noisy": (400, 0.5, 150),
}


# ---- warmup


def convolutions(rng):
    return nn.Sequential(
        {
            "conv1": nn.Conv2d(1, 16, 3, padding=1, rng=rng),
            "relu1": nn.ReLU(),
            "pool1": nn.MaxPool2d(2),
            "conv2": nn.Conv2d(16, 32, 3, padding=1, rng=rng),
            "relu2": nn.ReLU(),
            "pool2": nn.MaxPool2d(2),
            "flatten": nn.Flatten(),
            "head": nn.Linear(32 * 2 * 2, 10, rng=rng),
        }
    )


def after_bad_batches(seed, lr, warmup, bad_batches):
    """Test accuracy, and the share of the second layer's filters that are always 0."""
    rng = np.random.default_rng(seed)
    (images, labels), test = load_digits()
    model = convolutions(rng)
    optimizer, schedule = (
        Adam(model.parameters(), lr),
        with_warmup(constant(lr), warmup),
    )
    pairs = []
    for i in range(bad_batches):
        rows = rng.choice(np.flatnonzero(labels == i % 10), 64)
        pairs.append((images[rows], labels[rows]))
    for _epoch in range(10):
        pairs += batches(images, labels, 64, rng=rng)
    for step, (x, y) in enumerate(pairs):
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.lr = schedule(step)
        optimizer.step()
    active = predict(model[:5], test[0]) > 0  # (N, 32, 4, 4)
    dead = np.mean(~active.any(axis=(0, 2, 3)))
    return accuracy(predict(model, test[0]), test[1]), dead


def measure_warmup(seed):
    bad, warmup, numbers = SETTINGS["bad_batches"], SETTINGS["warmup"], {}
    for lr in (0.003, 0.03):
        for name, steps in (("no warmup", 0), ("warmup", warmup)):
            right, dead = after_bad_batches(seed, lr, steps, bad)
            numbers[f"accuracy, sorted, rate {lr:g}, {name}"] = right
            if lr == 0.03:
                numbers[f"dead filters, sorted, rate {lr:g}, {name}"] = dead
    for name, steps in (("no warmup", 0), ("warmup", warmup)):
        numbers[f"accuracy, mixed, rate 0.03, {name}"] = after_bad_batches(
            seed, 0.03, steps, 0
        )[0]
    return numbers


# ---- label smoothing


def trained(model, images, labels, epochs, rng, label_smoothing=0.0, sigma=0.0):
    """The model after ``epochs`` of Adam with a cosine from 0.003 to 0."""
    fit(
        model,
        (images, labels),
        epochs=epochs,
        optimizer=Adam(model.parameters(), lr=3e-3),
        schedule=cosine(3e-3, 0.0, epochs * -(-len(images) // 64)),
        augment=gaussian_noise(sigma) if sigma else None,
        loss=lambda logits, labels: F.cross_entropy(
            logits, labels, label_smoothing=label_smoothing
        ),
        rng=rng,
        progress=False,
    )
    return model


def margin(logits, labels):
    """The mean of the true class's logit less the mean of the others."""
    of_label = logits[np.arange(len(labels)), labels]
    others = (logits.sum(axis=1) - of_label) / (logits.shape[1] - 1)
    return np.mean(of_label - others)


def measure_smoothing(seed):
    numbers = {}
    for situation, (count, noise, epochs) in SITUATIONS.items():
        for eps in (0.0, SETTINGS["eps"]):
            rng = np.random.default_rng(seed)
            (images, labels), (test_images, test_labels) = load_digits()
            images, test_images = (
                gaussian_noise(noise)(images, rng),
                gaussian_noise(noise)(test_images, rng),
            )
            rows = rng.permutation(len(images))[:count]
            images, labels = images[rows], labels[rows]
            model = trained(
                mlp(64, 128, 10, rng=rng),
                images,
                labels,
                epochs,
                rng,
                label_smoothing=eps,
            )
            logits = predict(model, test_images)
            p = stable_softmax(logits.astype(np.float64))
            right, name = accuracy(logits, test_labels), f"{situation}, eps {eps:g}"
            train_logits = predict(model, images)
            numbers[f"accuracy, {name}"] = right
            numbers[f"training less test accuracy, {name}"] = (
                accuracy(train_logits, labels) - right
            )
            numbers[f"confidence, {name}"] = p.max(axis=1).mean()
            numbers[f"ECE, {name}"] = expected_calibration_error(p, test_labels)
            numbers[f"margin, {name}"] = margin(train_logits, labels)
        for what in ("accuracy", "training less test accuracy", "confidence", "ECE"):
            hard, smooth = (
                numbers[f"{what}, {situation}, eps {eps:g}"]
                for eps in (0, SETTINGS["eps"])
            )
            numbers[f"change of {what}, {situation}"] = smooth - hard
    return numbers


# ---- noise


def marked(images, labels, value):
    """The images with one pixel at a border set, which tells the class."""
    images = images.copy()
    for i, label in enumerate(labels):
        images[i, 0, 1 + label % 5, 0 if label < 5 else 7] = value
    return images


def with_half_of_the_units(model, images, rng):
    """Logits of an ``mlp`` with half of its hidden units 0 and the others doubled."""
    head = model.layer("head")
    hidden = predict(model[:3], images)  # (N, 128), after ReLU
    kept = 2 * hidden * (rng.random(hidden.shape) < 0.5)
    return kept @ head.weight.data.T + head.bias.data


def measure_noise(seed):
    (images, labels), (test_images, test_labels) = load_digits()
    draw = np.random.default_rng(1000 + seed)  # all trainings meet the same test images
    noisy = gaussian_noise(0.4)(test_images, draw)
    erased = np.where(draw.random(test_images.shape) < 0.3, np.float32(0), test_images)
    others = (test_labels + draw.integers(1, 10, len(test_labels))) % 10
    right_mark = marked(test_images, test_labels, SETTINGS["mark"])
    wrong_mark = marked(test_images, others, SETTINGS["mark"])
    few = draw.permutation(len(images))[:100]
    numbers = {}
    for name, sigma, dropout in (
        ("clean images", 0.0, 0.0),
        ("noise", SETTINGS["sigma"], 0.0),
        ("dropout", 0.0, 0.5),
    ):

        def network(x, y, epochs, sigma=sigma, dropout=dropout):
            rng = np.random.default_rng(seed)
            return trained(
                mlp(64, 128, 10, dropout=dropout, rng=rng),
                x,
                y,
                epochs,
                rng,
                sigma=sigma,
            )

        model = network(images, labels, 40)
        attacked = fgsm(model.eval(), test_images, test_labels, 0.1)
        half = with_half_of_the_units(
            mlp_without_dropout(model), test_images, np.random.default_rng(seed)
        )
        small = network(images[few], labels[few], 150)
        shortcut = network(marked(images, labels, SETTINGS["mark"]), labels, 40)
        logits = {
            "clean images": predict(model, test_images),
            "noise of 0.4": predict(model, noisy),
            "attacked images": predict(model, attacked),
            "erased pixels": predict(model, erased),
            "half of the units": half,
            "clean images, 100 labels": predict(small, test_images),
            "the right mark": predict(shortcut, right_mark),
            "the wrong mark": predict(shortcut, wrong_mark),
        }
        for where, values in logits.items():
            numbers[f"accuracy on {where}, trained with {name}"] = accuracy(
                values, test_labels
            )
            if name != "clean images":
                clean = numbers[f"accuracy on {where}, trained with clean images"]
                numbers[f"gain on {where}, {name}"] = (
                    accuracy(values, test_labels) - clean
                )
    return numbers


def mlp_without_dropout(model):
    """flatten, fc1, relu1, head of the model: its dropout layer left out."""
    return nn.Sequential(
        {key: child for key, child in model.named_children() if "dropout" not in key}
    )


def measure(seed):
    return measure_warmup(seed) | measure_smoothing(seed) | measure_noise(seed)


def claims(results):
    claim_warmup(results)
    claim_smoothing(results)
    claim_noise(results)


def claim_warmup(results):
    bad, rescued, plain, warmed = (
        results[f"accuracy, {batches}, rate 0.03, {start}"]
        for batches in ("sorted", "mixed")
        for start in ("no warmup", "warmup")
    )
    gain, mixed_gain = paired_difference(rescued, bad), paired_difference(warmed, plain)
    slow = results["accuracy, sorted, rate 0.003, no warmup"]
    claim(
        "warmup rescues training from badly mixed first batches",
        gain.low > 0.4,
        {"gain": gain},
    )
    claim("with warmup no run failed", rescued.min() > 0.9, {"lowest": rescued.min()})
    claim("a low rate needs no rescue", slow.min() > 0.9, {"lowest": slow.min()})
    claim(
        "on mixed batches warmup gains less than 0.1",
        mixed_gain.high < 0.1,
        {"gain": mixed_gain},
    )


def claim_smoothing(results):
    change = {
        (what, name): t_interval(results[f"change of {what}, {name}"])
        for what in ("accuracy", "confidence", "ECE")
        for name in SITUATIONS
    }
    for name in SITUATIONS:
        lower = change["confidence", name]
        margins = results[f"margin, {name}, eps 0.1"]
        claim(
            f"{name}: smoothing lowers confidence",
            lower.high < -0.08,
            {"change": lower},
        )
        claim(
            f"{name}: the margin stops near 4.5",
            np.abs(margins - 4.51).max() < 0.5,
            {"margins": margins},
        )
    better, worse = change["accuracy", "800 clean"], change["accuracy", "400 noisy"]
    claim(
        "smoothing raises accuracy with 800 clean images",
        better.low > 0,
        {"change": better},
    )
    claim("and lowers accuracy with 400 noisy ones", worse.high < 0, {"change": worse})
    open_ = change["accuracy", "100 clean"]
    claim(
        "with 100 images the change stays open",
        open_.low < 0 < open_.high,
        {"change": open_},
    )
    calibrated = change["ECE", "400 noisy"]
    claim(
        "it calibrates the network that is too sure",
        calibrated.high < -0.1,
        {"change": calibrated},
    )
    for name in ("100 clean", "800 clean"):
        worse = change["ECE", name]
        claim(
            f"{name}: it makes the network less sure than it is right",
            worse.low > 0.06,
            {"change": worse},
        )


def claim_noise(results):
    gains = {
        name: t_interval(values)
        for name, values in results.items()
        if name.startswith("gain on")
    }
    noisy, attacked = (
        gains["gain on noise of 0.4, noise"],
        gains["gain on attacked images, noise"],
    )
    claim("noise in training protects from noise", noisy.low > 0.05, {"gain": noisy})
    claim("and from an attack", attacked.low > 0.08, {"gain": attacked})
    mark, mark_dropout = (
        gains["gain on the wrong mark, noise"],
        gains["gain on the wrong mark, dropout"],
    )
    claim(
        "it makes the network rely less on one pixel", mark.low > 0.022, {"gain": mark}
    )
    claim("dropout does the opposite", mark_dropout.high < 0, {"gain": mark_dropout})
    erased, half = (
        gains["gain on erased pixels, noise"],
        gains["gain on half of the units, noise"],
    )
    dropout = gains["gain on half of the units, dropout"]
    claim("pixels may be missing, after noise", erased.low > 0, {"gain": erased})
    claim(
        "hidden units may be missing, after dropout",
        dropout.low > 0.03,
        {"gain": dropout},
    )
    claim(
        "but after noise this does not show", half.low < 0 < half.high, {"gain": half}
    )
    for name in ("clean images", "clean images, 100 labels"):
        gain = gains[f"gain on {name}, noise"]
        claim(f"no gain shows on {name}", gain.low < 0, {"gain": gain})
    clean = gains["gain on clean images, noise"]
    claim(
        "the cost on clean images is below one point",
        clean.low > -0.01,
        {"gain": clean},
    )
