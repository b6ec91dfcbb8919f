"""What features without labels are good for, and which distortions they need.

Made images of 16 x 16 pixels. Each seed draws 1,000 images of eight shapes, without
labels, and trains SimCLR on them: 8 epochs, batches of 32 images, Adam with a cosine
schedule from 0.003 to 0. Two further runs leave out one kind of distortion: colour
(hue, brightness, contrast, saturation) or geometry (crop, mirror). The controls are the
pixels, the same network with random weights, and the same network trained with the
labels of the same images for 8 epochs, undistorted.

Two questions on images of four shapes that no network saw: which shape (chance 1/4),
and which texture (chance 1/8)? Twenty labelled images a class go to a linear probe on
standardised features, and to the five nearest neighbours by cosine; 400 others are to
be told. "Same or not" is asked of two views of 200 of them, distorted in all ways; the
number is the area under the ROC curve.
"""

import numpy as np

from minidl.classroom.claims import claim
from minidl.data import (
    color_jitter,
    compose,
    gaussian_noise,
    horizontal_flip,
    make_shapes,
    random_resized_crop,
)
from minidl.train import Adam, fit, predict, roc_auc
from minidl.train.intervals import paired_difference, t_interval
from minidl.train.schedules import cosine
from minidl.transfer import (
    SOURCE_SHAPES,
    TARGET_SHAPES,
    ProjectionHead,
    linear_probe,
    same_or_not,
    shapes_cnn,
    standardise,
    train_simclr,
    two_views,
)
from minidl.transfer.fewshot import knn_predict

SEEDS = 8
SETTINGS = {
    "images": 1000,
    "epochs": 8,
    "batch": 32,
    "rate": 0.003,
    "temperature": 0.2,
    "labels a class": 20,
}
STEPS = SETTINGS["epochs"] * (SETTINGS["images"] // SETTINGS["batch"])
GEOMETRY = [random_resized_crop(0.4), horizontal_flip()]
COLOUR = [color_jitter(0.4, 0.4, 0.4, hue=0.5, clip=True)]
NOISE = [gaussian_noise(0.05, clip=True)]


def source_images(seed):
    """Images of the eight shapes, and their labels."""
    rng = np.random.default_rng(1000 + seed)
    count = SETTINGS["images"]
    images, labels, _ = make_shapes(count, size=16, shapes=SOURCE_SHAPES, rng=rng)
    return images, labels


def network(seed):
    """The network with random weights: the same ones for all ways of training."""
    return shapes_cnn(8, np.random.default_rng(seed))


def simclr(seed, distortions):
    """The encoder, and the share of partners found in the last epoch."""
    encoder, rng = network(seed)[:-1], np.random.default_rng(2000 + seed)
    head = ProjectionHead(64, 64, 32, rng=rng)
    rate = SETTINGS["rate"]
    optimizer = Adam([*encoder.parameters(), *head.parameters()], lr=rate)
    options = {"epochs": SETTINGS["epochs"], "batch_size": SETTINGS["batch"]}
    options |= {"optimizer": optimizer, "schedule": cosine(rate, 0.0, STEPS)}
    options |= {"temperature": SETTINGS["temperature"], "rng": rng, "progress": False}
    images, _ = source_images(seed)
    augment = compose(*distortions)
    history = train_simclr(encoder, images, head=head, augment=augment, **options)
    return encoder.eval(), history.train_accuracy[-1]


def supervised(seed):
    """The network without its head, trained with labels on the same images."""
    model, rng = network(seed), np.random.default_rng(2000 + seed)
    rate, epochs, batch = SETTINGS["rate"], SETTINGS["epochs"], SETTINGS["batch"]
    schedule = cosine(rate, 0.0, epochs * -(-SETTINGS["images"] // batch))
    optimizer = Adam(model.parameters(), lr=rate)
    options = {"optimizer": optimizer, "schedule": schedule, "rng": rng}
    train = source_images(seed)
    fit(model, train, epochs=epochs, batch_size=batch, progress=False, **options)
    return model[:-1].eval()


def questions(seed, describe):
    """Shares right by probe and neighbours on both questions, and same or not."""
    rng, results = np.random.default_rng(3000 + seed), {}  # the same for all
    for question, classes in (("shape", 4), ("texture", 8)):
        options = {"size": 16, "shapes": TARGET_SHAPES, "label": question, "rng": rng}
        count = SETTINGS["labels a class"] * classes
        examples, labels, _ = make_shapes(count, **options)
        images, truth, _ = make_shapes(400, **options)
        support, queries = describe(examples), describe(images)
        probe = linear_probe(standardise(support, support), labels, l2=0.01)
        scaled = standardise(support, queries).astype(np.float32)
        right = predict(probe, scaled).argmax(axis=1) == truth
        results[f"{question}, probe"] = float(np.mean(right))
        answers = knn_predict(support, labels, queries, k=5, metric="cosine")
        results[f"{question}, neighbours"] = float(np.mean(answers == truth))
    views = two_views(images[:200], compose(*GEOMETRY, *COLOUR, *NOISE), rng)
    results["same or not"] = roc_auc(*same_or_not(*map(describe, views)))
    return results


def measure(seed):
    all_ways, found = simclr(seed, [*GEOMETRY, *COLOUR, *NOISE])
    no_colour, found_no_colour = simclr(seed, [*GEOMETRY, *NOISE])
    no_geometry, found_no_geometry = simclr(seed, [*COLOUR, *NOISE])
    results = {
        "SimCLR: partners found": found,
        "without colour: partners found": found_no_colour,
        "without geometry: partners found": found_no_geometry,
    }
    encoders = {"random": network(seed)[:-1].eval(), "SimCLR": all_ways}
    encoders |= {"without colour": no_colour, "without geometry": no_geometry}
    encoders["labels"] = supervised(seed)
    described = {name: lambda x, e=e: predict(e, x) for name, e in encoders.items()}
    described["pixels"] = lambda x: x.reshape(len(x), -1)
    for name, describe in described.items():
        for question, share in questions(seed, describe).items():
            results[f"{name}: {question}"] = share
    return results


def claims(results):
    def more(one, other):
        return paired_difference(results[one], results[other])

    chance = t_interval(results["random: shape, probe"])
    claim(
        "random features tell shapes above chance", chance.low > 0.5, {"share": chance}
    )
    for other, least in (("random", 0.1), ("pixels", 0.07)):
        gain = more("SimCLR: shape, probe", f"{other}: shape, probe")
        text = f"by probe SimCLR tells unseen shapes better than {other}"
        claim(text, gain.low > least, {"gain": gain})
        gain = more("SimCLR: same or not", f"{other}: same or not")
        text = f"it answers same or not better than {other}"
        claim(text, gain.low > 0.12, {"gain in AUC": gain})
    gain = more("SimCLR: shape, neighbours", "pixels: shape, neighbours")
    claim("by neighbours no gain over pixels shows", gain.low < 0, {"gain": gain})
    gain = more("labels: shape, probe", "SimCLR: shape, probe")
    claim("by probe labels do not show to be worth more", gain.low < 0, {"gain": gain})
    gain = more("labels: shape, neighbours", "SimCLR: shape, neighbours")
    claim("by neighbours labels are worth more", gain.low > 0, {"gain": gain})
    loss = more("SimCLR: texture, probe", "random: texture, probe")
    claim("SimCLR knows less of the texture than random", loss.high < 0, {"loss": loss})

    easier = more("without colour: partners found", "SimCLR: partners found")
    claim("without colour partners are found", easier.low > 0.5, {"more": easier})
    worse = more("without colour: shape, probe", "random: shape, probe")
    claim("and the features are worse than random", worse.high < -0.25, {"loss": worse})
    worse = more("without geometry: same or not", "SimCLR: same or not")
    claim("without geometry same or not suffers", worse.high < -0.07, {"loss": worse})
    change = more("without geometry: shape, probe", "SimCLR: shape, probe")
    claim(
        "the probe does not show it", change.low < 0 < change.high, {"change": change}
    )
