"""How accurate a small network of convolutions is, and how much its first filters learn

Every network reads MNIST digits of 28×28 pixels: 5,000 to train on, 1,000 others to
test on. Training takes 8 epochs of Adam with batches of 64; the learning rate falls
from 0.003 to 0 along a cosine.

Three networks are compared. "lenet" has two layers of 5×5 filters and three linear
layers, 61,706 numbers. "first layer random" is the same network from the same start,
but its first layer never changes. "no convolution" has one hidden layer of 78 units and
as many numbers, 62,020. The test images are read twice: as they are, and moved by two
pixels (right and down).

"likeness to the start" is the correlation of a filter's weights after training with its
weights before, averaged over the filters of a layer.
"""

import numpy as np

from minidl.classroom.claims import claim
from minidl.data import load_mnist
from minidl.nn.models import lenet, mlp
from minidl.train import Adam, evaluate, fit
from minidl.train.intervals import paired_difference, t_interval
from minidl.train.schedules import cosine

SEEDS = 5
SETTINGS = {"epochs": 8, "lr": 0.003, "batch_size": 64}


def trained(model, train, rng):
    """The model after training; parameters that need no gradient keep their values."""
    lr, epochs, batch_size = SETTINGS["lr"], SETTINGS["epochs"], SETTINGS["batch_size"]
    steps = epochs * -(-len(train[0]) // batch_size)
    optimizer = Adam([p for p in model.parameters() if p.requires_grad], lr)
    options = {"optimizer": optimizer, "schedule": cosine(lr, 0.0, steps)}
    fit(
        model,
        train,
        epochs=epochs,
        batch_size=batch_size,
        rng=rng,
        progress=False,
        **options,
    )
    return model


def likeness(start, learned):
    """The mean correlation of filters (N, ...) with their starts."""
    pairs = zip(
        start.reshape(len(start), -1), learned.reshape(len(learned), -1), strict=True
    )
    return np.mean([np.corrcoef(before, after)[0, 1] for before, after in pairs])


def measure(seed):
    train, (images, labels) = load_mnist()
    moved = np.zeros_like(images)
    moved[:, :, 2:, 2:] = images[:, :, :-2, :-2]
    models = {
        "lenet": lenet(rng=np.random.default_rng(seed)),
        "first layer random": lenet(rng=np.random.default_rng(seed)),
        "no convolution": mlp(28 * 28, 78, 10, rng=np.random.default_rng(seed)),
    }
    for parameter in models["first layer random"].layer("conv1").parameters():
        parameter.requires_grad_(False)
    start = models["lenet"].state_dict()
    numbers = {}
    for name, model in models.items():
        trained(model, train, np.random.default_rng(100 + seed))
        numbers[f"accuracy, {name}"] = evaluate(model, images, labels).accuracy
        numbers[f"accuracy on moved digits, {name}"] = evaluate(
            model, moved, labels
        ).accuracy
    for layer in ("conv1", "conv2"):
        learned = models["lenet"].layer(layer).weight.data
        numbers[f"likeness to the start, {layer}"] = likeness(
            start[f"{layer}.weight"], learned
        )
    return numbers


def claims(results):
    plain, moved = "accuracy, ", "accuracy on moved digits, "
    start = t_interval(results["likeness to the start, conv1"])
    learned = paired_difference(
        results[plain + "lenet"], results[plain + "first layer random"]
    )
    gain = paired_difference(
        results[plain + "lenet"], results[plain + "no convolution"]
    )
    moved_gain = paired_difference(
        results[moved + "lenet"], results[moved + "no convolution"]
    )
    claim(
        "the trained filters of the first layer still look like their start",
        start.low > 0.6,
        {"r": start},
    )
    claim("a first layer that learns helps", learned.low > 0, {"gain": learned})
    claim("but by less than two points", learned.high < 0.02, {"gain": learned})
    claim(
        "convolutions read digits better than a hidden layer",
        gain.low > 0.03,
        {"gain": gain},
    )
    claim("and moved digits much better", moved_gain.low > 0.2, {"gain": moved_gain})
