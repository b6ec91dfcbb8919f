"""A network's features as points: scaling, projection to two dimensions, and linear separation of classes."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from minidl.data.cache import cached
from minidl.data.pictures import lesson_pictures, load_picture, picture_files
from minidl.engine import jit
from minidl.engine.checks import (
    check_array,
    check_instance,
    check_labels,
    check_number,
    positive_int,
    positive_number,
    require,
)
from minidl.engine.loss import one_hot
from minidl.engine.recording import no_grad
from minidl.engine.reduce import stable_log_softmax
from minidl.nn.efficientnet import imagenet_network
from minidl.nn.layers import Linear
from minidl.nn.module import Module
from minidl.train.metrics import batch_slices, predict

# ---- of the photographs


class Photographs(NamedTuple):
    """The outputs of the real network for each photograph in ``lessons/pictures``. Row i belongs to files[i].

    features: (N, 1280) float32, the input of the last layer.  logits: (N, 1000) float32, its output.
    labels: (N,) int64, the group of each photograph.  groups: the groups' names, which are the folders'.
    files: the pictures, for ``load_picture``.
    """

    features: np.ndarray
    logits: np.ndarray
    labels: np.ndarray
    groups: tuple[str, ...]
    files: tuple[Path, ...]


def photograph_features() -> Photographs:
    """The features and logits of all photographs in ``lessons/pictures``, at 224 x 224 on light grey.

    The first call takes about 15 seconds, with a progress bar. Later calls read the arrays from the cache
    (``data.cached``). FileNotFoundError without ``lessons/pictures``.

    >>> from minidl import transfer
    >>> transfer.photograph_features().features.shape  # doctest: +SKIP
    (220, 1280)
    """
    files = picture_files(lesson_pictures())
    groups = tuple(dict.fromkeys(path.parent.name for path in files))
    labels = np.array([groups.index(path.parent.name) for path in files])
    recipe = {"files": [f"{path.parent.name}/{path.name}" for path in files], "size": 224}
    arrays = cached("photograph_features", recipe, features_and_logits)
    return Photographs(arrays["features"], arrays["logits"], labels, groups, tuple(files))


def features_and_logits(files: list[str], size: int) -> dict[str, np.ndarray]:
    """The real network's features (N, 1280) and logits (N, 1000) of files in ``lessons/pictures``."""
    from tqdm import tqdm

    network, folder = imagenet_network(), lesson_pictures()
    features, logits = [], []
    for file in tqdm(files, desc="photographs", delay=1, leave=False, disable=None):
        image, _ = load_picture(folder / file, size)
        with no_grad():
            pooled = network.features(image[np.newaxis])  # (1, 1280)
            logits.append(network.layer("_fc")(pooled).data[0])
        features.append(pooled.data[0])
    return {"features": np.stack(features), "logits": np.stack(logits)}


# ---- any features


def extract_features(
    model: Module, images: np.ndarray, layer: str, batch_size: int | None = None
) -> np.ndarray:
    """The output of ``layer`` (a dotted path) for images (N, ...), in evaluation mode, without a graph.

    The model does not change. ValueError for an unknown layer, or a layer that does not run exactly once.

    >>> from minidl import nn, transfer
    >>> model = nn.models.mlp(4, 8, 2)
    >>> transfer.extract_features(model, np.ones((5, 4)), layer="relu1").shape
    (5, 8)
    """
    part, outputs = check_instance("model", model, Module).layer(layer), []
    hook = part.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    try:
        predict(model, images, batch_size)
    finally:
        hook.remove()
    times = len(outputs) / len(batch_slices(np.asarray(images), batch_size))
    require(times == 1, f"layer {layer!r} must run once per forward, but it ran {times:g} times")
    return np.concatenate([output.data for output in outputs])


def standardise(reference: np.ndarray, features: np.ndarray) -> np.ndarray:
    """(features - m) / s, where m and s are the mean and standard deviation of each column of ``reference``.

    features: (N, D).  reference: (M, D), always the training features, also when ``features`` are those of a
    test set. The mean of a test set would leak information about it. A column that is constant in
    ``reference`` has no information and becomes 0. Returns (N, D), computed in float64.

    >>> from minidl import transfer
    >>> training, test = np.array([[1, 10], [3, 30]]), np.array([[5, 20]])
    >>> print(transfer.standardise(training, test))
    [[3. 0.]]
    """
    reference = checked_features(reference, "reference")
    features = checked_features(features, columns=reference.shape[1])
    mean, deviation = reference.mean(axis=0), reference.std(axis=0)
    constant = np.ptp(reference, axis=0) == 0  # exact, because rounding can give s slightly above 0
    return np.where(constant, 0.0, (features - mean) / np.where(constant, 1.0, deviation))


def pca_projection(features: np.ndarray, dims: int = 2) -> np.ndarray:
    """Coordinates (N, dims) along the directions in which ``features`` (N, D) spread most (Pearson 1901).

        X = features - mean        X = U S V^T        coordinates = X V[:, :dims] = U S[:dims]

    The sign of a direction is arbitrary. Here the component with the largest absolute value is positive.
    Everything is computed in float64. Raises ValueError for fewer than two points and dims > min(N, D).

    >>> from minidl import transfer
    >>> points = np.array([[0, 0], [3, 4], [6, 8]])  # on one line
    >>> print(transfer.pca_projection(points, dims=1).round(3))
    [[-5.]
     [ 0.]
     [ 5.]]
    """
    X, dims = checked_features(features), positive_int("dims", dims)
    enough = max(dims, 2) <= len(X) and dims <= X.shape[1]
    require(enough, f"{dims} dimensions need as many points (at least two) and columns, got {X.shape}")
    X = X - X.mean(axis=0)
    _, _, Vt = np.linalg.svd(X, full_matrices=False)
    directions = Vt[:dims]  # (dims, D), orthonormal, the widest first
    largest = np.abs(directions).argmax(axis=1)
    signs = np.sign(directions[np.arange(dims), largest])
    return X @ (directions * signs[:, np.newaxis]).T


def linear_probe(features: np.ndarray, labels: np.ndarray, l2: float, *, max_steps: int = 200) -> Linear:
    """The Linear (D, K) that minimises ``probe_loss``: multinomial logistic regression on fixed features.

        mean_i CE(W f_i + b, y_i) + l2 / 2 ||W||^2        (scikit-learn's C is 1 / (N l2))

    The problem is convex. Because of l2 > 0 it has one W (and one b with sum 0). Newton's method finds it
    from 0.
    features: (N, D) finite; on one scale (``standardise``), because l2 is the same for all.  labels: (N,) of
    classes 0 ... K-1, each with an example, K >= 2. The result can replace a head: ``model.head = probe``.
    Raises RuntimeError if ``max_steps`` are not enough; about ten steps are usual.

    >>> from minidl import train, transfer
    >>> features, labels = np.array([[-2.0], [-1.0], [1.0], [2.0]]), [0, 0, 1, 1]
    >>> probe = transfer.linear_probe(features, labels, l2=0.1)
    >>> train.evaluate(probe, features, labels).accuracy
    1.0
    """
    from scipy.optimize import minimize

    features = checked_features(features)
    l2, max_steps = positive_number("l2", l2), positive_int("max_steps", max_steps)
    labels = check_labels("labels", labels, len(features))
    found, dims, classes = np.unique(labels), features.shape[1], int(labels.max()) + 1
    every = f"labels must be 0 ... K-1 with an example of each and K >= 2, got {found[:20].tolist()}"
    require(len(found) == classes >= 2, every)
    mean = features.mean(axis=0)
    F = features - mean  # centred features and V = scale W: the same minimum, for any units
    scale = np.sqrt((F**2).mean()) or 1.0

    def unpacked(flat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return flat[:-classes].reshape(classes, dims) / scale, flat[-classes:]

    def packed(by_weight: np.ndarray, by_bias: np.ndarray) -> np.ndarray:
        return np.concatenate([by_weight.ravel() / scale, by_bias])

    def loss_and_gradient(flat: np.ndarray) -> tuple[float, np.ndarray]:
        loss, grad_weight, grad_bias = probe_loss(*unpacked(flat), F, labels, l2)
        return loss, packed(grad_weight, grad_bias)

    def curvature(flat: np.ndarray, direction: np.ndarray) -> np.ndarray:
        return packed(*probe_curvature(*unpacked(flat), F, l2, *unpacked(direction)))

    options = {"maxiter": max_steps, "gtol": 1e-7}
    newton = {"method": "trust-ncg", "jac": True, "hessp": curvature, "options": options}
    with jit.numpy_blas, jit.scipy_blas:  # otherwise the threads of two BLAS libraries slow each other down
        found = minimize(loss_and_gradient, np.zeros(classes * dims + classes), **newton)
    ended = found.status != 1  # which is out of steps
    require(ended, f"no minimum within {max_steps} steps: standardise the features or raise l2", RuntimeError)
    probe = Linear(dims, classes, rng=np.random.default_rng(0))  # its random weights are overwritten
    weight, bias = unpacked(found.x)
    probe.load_state_dict({"weight": weight, "bias": bias - weight @ mean})
    return probe


def probe_loss(
    weight: np.ndarray, bias: np.ndarray, features: np.ndarray, labels: np.ndarray, l2: float
) -> tuple[float, np.ndarray, np.ndarray]:
    """Regularised softmax regression: the loss and its gradients by weight (K, D) and bias (K,).

        P = softmax(F W^T + b)        L = -mean_i log P[i, y_i] + l2 / 2 ||W||^2
        dL/dW = (P - Y)^T F / N + l2 W        dL/db = mean over rows of (P - Y)

    features F: (N, D).  labels y: (N,) in 0 ... K-1.  l2 >= 0; it does not apply to the bias.
    Y: the one-hot labels (N, K), which ``one_hot(labels, K)`` makes. ``stable_log_softmax(logits)`` gives
    log P without overflow. Everything is computed in float64. Returns (L, dL/dW, dL/db).
    ValueError for a label that is not a class, and for an l2 below 0.
    """
    F, l2 = checked_features(features), check_number("l2", l2, 0)
    W = checked_features(weight, "weight", F.shape[1])
    b = check_array("bias", bias, len(W)).astype(np.float64)
    labels = check_labels("labels", labels, len(F), len(W))
    logits = F @ W.T + b  # (N, K)
    log_P = stable_log_softmax(logits)
    loss = -log_P[np.arange(len(F)), labels].mean() + l2 / 2 * np.sum(W**2)
    error = (np.exp(log_P) - one_hot(labels, len(W))) / len(F)
    return float(loss), error.T @ F + l2 * W, error.sum(axis=0)


def probe_curvature(
    weight: np.ndarray,
    bias: np.ndarray,
    features: np.ndarray,
    l2: float,
    along_weight: np.ndarray,
    along_bias: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """The Hessian of ``probe_loss`` times a direction (dW, db): the change of the gradients along it.

        dZ = F dW^T + 1 db^T        R = P (dZ - sum_k P dZ) / N        R^T F + l2 dW,   sum over rows of R

    It does not depend on the labels. All arrays are float64, with the shapes of ``probe_loss``.
    """
    W, b, F = weight, bias, features
    P = np.exp(stable_log_softmax(F @ W.T + b))
    dZ = F @ along_weight.T + along_bias  # (N, K): what the logits do
    R = P * (dZ - (P * dZ).sum(axis=1, keepdims=True)) / len(F)  # the change of P, divided by N for the mean
    return R.T @ F + l2 * along_weight, R.sum(axis=0)


def checked_features(features: np.ndarray, name: str = "features", columns: int | str = "D") -> np.ndarray:
    """(N, D) float64, finite and not empty."""
    return check_array(name, features, "N", columns).astype(np.float64, copy=False)
