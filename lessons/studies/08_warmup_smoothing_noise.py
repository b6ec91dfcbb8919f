"""What warmup, label smoothing and noise change, over eight seeds

All networks read the 8×8 digits: 1,437 to train on, 360 others to test on, batches of
64, Adam.

Warmup. A network of two convolutions is trained for 270 steps. In "sorted" runs each of
the first 40 batches holds one digit only; in "mixed" runs all batches are mixed. The
learning rate is constant, after 100 steps of warmup or none. A run has "failed" if its
test accuracy is below 0.5.

Label smoothing. A network of 128 hidden units learns from 100 or 800 clean images, or
from 400 images with noise of σ = 0.5; the test images then have the same noise. eps is
0 or 0.1. The rate falls from 0.003 to 0 along a cosine. "margin" is the logit of the
true class minus the mean of the other logits, on the training images. "test loss" is
the cross-entropy with hard labels.

Noise. The same network of 128 hidden units is trained for 40 epochs: on clean images,
with fresh noise of σ = 0.2 on every batch, or with dropout of one half. "mark": each
training image has one pixel of value 0.5 at its border that tells the class; the test
images have the mark of their class or of another. "erased": 30% of the pixels of a test
image are 0. "half of the units": half of the hidden units are 0, the others count
twice, as in training with dropout.
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
from minidl.train.calibration import mean_loss
from minidl.train.intervals import t_interval
from minidl.train.schedules import constant, cosine, with_warmup

SEEDS = 8
SETTINGS = {
    "bad_batches": 40,
    "warmup": 100,
    "rates": [0.003, 0.01, 0.03],
    "eps": 0.1,
    "sigma": 0.2,
    "mark": 0.5,
}
SITUATIONS = {  # images to learn from, deviation of the noise on them, epochs
    "100 clean": (100, 0.0, 150),
    "800 clean": (800, 0.0, 60),
    "400 noisy": (400, 0.5, 150),
}


# ---- warmup


def convolutions(rng):
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, rng=rng),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1, rng=rng),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * 2 * 2, 10, rng=rng),
    )


def after_bad_batches(seed, lr, warmup, bad_batches):
    """Test accuracy, and the share of second-layer filters that are 0 on all images."""
    rng = np.random.default_rng(seed)
    (images, labels), (test_images, test_labels) = load_digits()
    model = convolutions(rng)
    optimizer = Adam(model.parameters(), lr)
    schedule = with_warmup(constant(lr), warmup)
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
    active = predict(model[:5], test_images) > 0  # (N, 32, 4, 4)
    silent = np.mean(~active.any(axis=(0, 2, 3)))
    return accuracy(predict(model, test_images), test_labels), silent


def measure_warmup(seed):
    numbers = {}
    runs = [("sorted", lr, SETTINGS["bad_batches"]) for lr in SETTINGS["rates"]]
    for order, lr, bad_batches in [*runs, ("mixed", 0.03, 0)]:
        run = f"{order}, rate {lr:g}"
        for start, steps in (("no warmup", 0), ("warmup", SETTINGS["warmup"])):
            right, silent = after_bad_batches(seed, lr, steps, bad_batches)
            numbers[f"accuracy, {run}, {start}"] = right
            numbers[f"silent filters, {run}, {start}"] = silent
            numbers[f"failed, {run}, {start}"] = float(right < 0.5)
        plain = numbers[f"accuracy, {run}, no warmup"]
        numbers[f"gain by warmup, {run}"] = right - plain
    return numbers


# ---- label smoothing


def trained(model, data, epochs, rng, *, eps=0.0, sigma=0.0):
    """The model after ``epochs`` of Adam with a cosine from 0.003 to 0."""
    fit(
        model,
        data,
        epochs=epochs,
        optimizer=Adam(model.parameters(), lr=3e-3),
        schedule=cosine(3e-3, 0.0, epochs * -(-len(data[0]) // 64)),
        augment=gaussian_noise(sigma) if sigma else None,
        loss=lambda logits, labels: F.cross_entropy(
            logits, labels, label_smoothing=eps
        ),
        rng=rng,
        progress=False,
    )
    return model


def margin(logits, labels):
    """The mean of the true class's logit minus the mean of the others."""
    of_label = logits[np.arange(len(labels)), labels]
    others = (logits.sum(axis=1) - of_label) / (logits.shape[1] - 1)
    return np.mean(of_label - others)


def after_smoothing(seed, situation, eps):
    """The numbers of one network."""
    count, noise, epochs = SITUATIONS[situation]
    rng, add_noise = np.random.default_rng(seed), gaussian_noise(noise)
    (images, labels), (test_images, test_labels) = load_digits()
    images, test_images = add_noise(images, rng), add_noise(test_images, rng)
    rows = rng.permutation(len(images))[:count]
    data = images[rows], labels[rows]
    model = trained(mlp(64, 128, 10, rng=rng), data, epochs, rng, eps=eps)
    on_training, logits = predict(model, data[0]), predict(model, test_images)
    p, right = stable_softmax(logits.astype(np.float64)), accuracy(logits, test_labels)
    return {
        "accuracy": right,
        "training minus test accuracy": accuracy(on_training, data[1]) - right,
        "test loss": mean_loss(logits, test_labels, 1.0),
        "confidence": p.max(axis=1).mean(),
        "ECE": expected_calibration_error(p, test_labels),
        "margin": margin(on_training, data[1]),
    }


def measure_smoothing(seed):
    numbers = {}
    for situation in SITUATIONS:
        hard = after_smoothing(seed, situation, 0.0)
        smooth = after_smoothing(seed, situation, SETTINGS["eps"])
        for what in hard:
            numbers[f"{what}, {situation}, hard labels"] = hard[what]
            numbers[f"{what}, {situation}, smoothing"] = smooth[what]
            numbers[f"change of {what}, {situation}"] = smooth[what] - hard[what]
    return numbers


# ---- noise


def marked(images, labels, value):
    """The images with one pixel at a side set, which tells the class."""
    images = images.copy()
    for i, label in enumerate(labels):
        images[i, 0, 1 + label % 5, 0 if label < 5 else 7] = value
    return images


def with_half_of_the_units(model, images, rng):
    """Logits when half of the hidden units of an ``mlp`` are 0, the others doubled."""
    head = model.layer("head")
    hidden = predict(model[:3], images)  # (N, 128), after ReLU
    kept = 2 * hidden * (rng.random(hidden.shape) < 0.5)
    return kept @ head.weight.data.T + head.bias.data


def measure_noise(seed):
    (images, labels), (test_images, y) = load_digits()
    draw = np.random.default_rng(1000 + seed)  # all trainings meet the same test images
    noisy = gaussian_noise(0.4)(test_images, draw)
    erased = np.where(draw.random(test_images.shape) < 0.3, np.float32(0), test_images)
    others = (y + draw.integers(1, 10, len(y))) % 10
    few = draw.permutation(len(images))[:100]
    mark = SETTINGS["mark"]
    numbers, ways = {}, {"clean images": (0.0, 0.0)}
    ways |= {"noise": (SETTINGS["sigma"], 0.0), "dropout": (0.0, 0.5)}
    for way, (sigma, dropout) in ways.items():

        def network(x, y, epochs, sigma=sigma, dropout=dropout):
            rng = np.random.default_rng(seed)
            model = mlp(64, 128, 10, dropout=dropout, rng=rng)
            return trained(model, (x, y), epochs, rng, sigma=sigma).eval()

        model = network(images, labels, 40)
        small = network(images[few], labels[few], 150)
        shortcut = network(marked(images, labels, mark), labels, 40)
        half = np.random.default_rng(seed)
        logits = {
            "clean images": predict(model, test_images),
            "noise of 0.4": predict(model, noisy),
            "attacked images": predict(model, fgsm(model, test_images, y, 0.1)),
            "erased pixels": predict(model, erased),
            "half of the units": with_half_of_the_units(model, test_images, half),
            "clean images, 100 labels": predict(small, test_images),
            "the right mark": predict(shortcut, marked(test_images, y, mark)),
            "the wrong mark": predict(shortcut, marked(test_images, others, mark)),
        }
        for where, values in logits.items():
            right = accuracy(values, y)
            numbers[f"accuracy on {where}, trained with {way}"] = right
            if way != "clean images":
                clean = numbers[f"accuracy on {where}, trained with clean images"]
                numbers[f"gain on {where}, {way}"] = right - clean
    for where in ("erased pixels", "half of the units"):
        noise, dropout = (numbers[f"gain on {where}, {way}"] for way in list(ways)[1:])
        numbers[f"noise minus dropout on {where}"] = noise - dropout
    return numbers


def measure(seed):
    return measure_warmup(seed) | measure_smoothing(seed) | measure_noise(seed)


# ---- claims


def claims(results):
    claim_warmup(results)
    interval = {name: t_interval(values) for name, values in results.items()}
    claim_smoothing(results, interval)
    claim_noise(interval)


def claim_warmup(results):
    failed = int(results["failed, sorted, rate 0.03, no warmup"].sum())
    rescued = results["accuracy, sorted, rate 0.03, warmup"]
    slow = results["accuracy, sorted, rate 0.003, no warmup"]
    gain = t_interval(results["gain by warmup, sorted, rate 0.03"])
    mixed = t_interval(results["gain by warmup, mixed, rate 0.03"])
    claim(
        "without warmup at least half of the runs fail", failed >= 4, {"of 8": failed}
    )
    claim("with warmup no run fails", rescued.min() > 0.9, {"lowest": rescued.min()})
    claim("warmup rescues the training", gain.low > 0.4, {"gain": gain})
    claim("a low rate needs no rescue", slow.min() > 0.9, {"lowest": slow.min()})
    claim("mixed: no gain of 0.1 by warmup", mixed.high < 0.1, {"gain": mixed})
    silent, alive = (
        results[f"silent filters, mixed, rate 0.03, {start}"]
        for start in ("no warmup", "warmup")
    )
    fewer = t_interval(alive - silent)
    claim("mixed: fewer filters fall silent", fewer.high < -0.34, {"change": fewer})


def claim_smoothing(results, interval):
    for name in SITUATIONS:
        less = interval[f"change of confidence, {name}"]
        margins = results[f"margin, {name}, smoothing"]
        off = np.abs(margins - np.log(91)).max()
        claim(f"{name}: less confidence", less.high < -0.08, {"change": less})
        claim(f"{name}: the margin stops near 4.5", off < 0.5, {"furthest": off})
    right = {name: interval[f"change of accuracy, {name}"] for name in SITUATIONS}
    better, worse, unknown = (right[k] for k in ("800 clean", "400 noisy", "100 clean"))
    claim("800 clean: more are right", better.low > 0, {"change": better})
    claim("400 noisy: fewer are right", worse.high < 0, {"change": worse})
    undecided = unknown.low < 0 < unknown.high
    claim("100 clean: the sign stays open", undecided, {"change": unknown})
    error, loss = (
        interval[f"change of {what}, 400 noisy"] for what in ("ECE", "test loss")
    )
    claim("400 noisy: confidence is more honest", error.high < -0.1, {"ECE": error})
    claim("400 noisy: the test loss falls", loss.high < -0.35, {"change": loss})
    for name in ("100 clean", "800 clean"):
        error, loss = (
            interval[f"change of {what}, {name}"] for what in ("ECE", "test loss")
        )
        claim(f"{name}: confidence is too low", error.low > 0.06, {"ECE": error})
        claim(f"{name}: the test loss rises", loss.low > 0.04, {"change": loss})


def claim_noise(interval):
    def gain(where, way="noise"):
        return interval[f"gain on {where}, {way}"]

    noisy, attacked = gain("noise of 0.4"), gain("attacked images")
    claim("noise protects from noise", noisy.low > 0.05, {"gain": noisy})
    claim("noise protects from an attack", attacked.low > 0.08, {"gain": attacked})
    mark, dropout = gain("the wrong mark"), gain("the wrong mark", "dropout")
    claim("noise: one pixel counts less", mark.low > 0.022, {"gain": mark})
    claim("dropout: one pixel counts more", dropout.high < 0, {"gain": dropout})
    erased, half = gain("erased pixels"), gain("half of the units")
    dropout = gain("half of the units", "dropout")
    claim("noise: pixels may be missing", erased.low > 0, {"gain": erased})
    claim("dropout: units may be missing", dropout.low > 0.03, {"gain": dropout})
    claim("noise: for units that stays open", half.low < 0 < half.high, {"gain": half})
    between = interval["noise minus dropout on half of the units"]
    claim("units: dropout is better", between.high < -0.021, {"difference": between})
    for where in ("clean images", "clean images, 100 labels"):
        none = gain(where)
        claim(f"{where}: no gain by noise shows", none.low < 0, {"gain": none})
    clean = gain("clean images")
    claim("clean images: a cost below one point", clean.low > -0.01, {"gain": clean})
