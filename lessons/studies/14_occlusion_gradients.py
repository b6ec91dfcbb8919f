"""14 Occlusion: how often one square changes an answer, and whether its filling matters

EfficientNet-Lite0 and the photographs of lessons/pictures whose right classes are in
classes.csv. A seed draws six photographs that the network answers right. A square of
64 x 64 pixels covers each of 25 places (stride 40), once grey (0.5) and once with noise
(each value from U(0, 1)). p is the probability of the answer.

Halved: share of photographs where p falls below half at some place. Raised: share where
p rises by more than 0.1 at some place. Correlation: of the 25 drops of p by grey with
the 25 drops by noise, mean over the photographs.
"""

import numpy as np

from minidl.classroom.claims import claim
from minidl.data import lesson_pictures, load_picture, picture_classes
from minidl.engine.reduce import stable_softmax
from minidl.explain.occlusion import window_starts
from minidl.nn.models import imagenet_names, imagenet_network
from minidl.train import predict
from minidl.train.intervals import t_interval

SEEDS = 6
SETTINGS = {"photographs": 6, "window": 64, "stride": 40}


def answered_right(network, rng):
    """Drawn photographs (1, 3, 224, 224) with their class, if answered right."""
    root, names = lesson_pictures(), imagenet_names()
    files = [item for item in picture_classes(root).items() if item[1]]
    for i in rng.permutation(len(files)):
        image = load_picture(root / files[i][0])[0][np.newaxis]
        k = predict(network, image).argmax()
        if names[k] in files[i][1]:
            yield image, k


def drops(network, image, k, fill):
    """What p of class k loses at each place, (25,), and p itself."""
    window, starts = SETTINGS["window"], window_starts(224, 64, SETTINGS["stride"])
    places = [(top, left) for top in starts for left in starts]
    covered = np.repeat(image, 1 + len(places), axis=0)
    for one, (top, left) in zip(covered[1:], places, strict=True):
        one[:, top : top + window, left : left + window] = fill
    p = stable_softmax(predict(network, covered))[:, k]
    return p[0] - p[1:], p[0]


def measure(seed):
    network, rng = imagenet_network(), np.random.default_rng(seed)
    rows = []
    for image, k in answered_right(network, rng):
        by_grey, p = drops(network, image, k, 0.5)
        by_noise, _ = drops(network, image, k, rng.random((3, 64, 64)))
        rows.append(
            {
                "halved by grey": by_grey.max() > p / 2,
                "halved by noise": by_noise.max() > p / 2,
                "raised by grey": by_grey.min() < -0.1,
                "correlation of grey with noise": np.corrcoef(by_grey, by_noise)[0, 1],
            }
        )
        if len(rows) == SETTINGS["photographs"]:
            break
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def claims(results):
    r = t_interval(results["correlation of grey with noise"])
    claim("grey and noise agree on where p falls", r.low > 0.4, {"r": r})
    halved = t_interval(results["halved by grey"])
    some = halved.low > 0.1 and halved.high < 0.9
    claim("a grey square halves p on some photographs", some, {"share": halved})
