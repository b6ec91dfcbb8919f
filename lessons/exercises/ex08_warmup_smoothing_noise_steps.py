"""Exercises of lesson 08: steps of a training with warmup, smoothed labels and noise."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lessons.exercises import by_hand
from minidl.classroom.builders import Built
from minidl.classroom.compare import assert_close, assert_dtype, assert_refuses
from minidl.classroom.exercise import Exercise
from minidl.classroom.strategies import arrays
from minidl.classroom.strategies import labels as label_arrays
from minidl.engine.checks import check_int, check_labels, check_number, positive_int
from minidl.nn import functional as F
from minidl.nn.module import Module
from minidl.train.schedules import warmed_up

# ---- 08.4 careful_steps


def careful_steps(
    model: Module,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    steps: int,
    lr: float,
    warmup_steps: int,
    label_smoothing: float,
    sigma: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Steps of plain gradient descent on all images with the lesson's three changes. Returns the losses.

    Warmup: the rate rises linearly over the first ``warmup_steps`` steps, as in ``warmed_up``. The last of
    these steps has the rate lr; afterwards the rate stays lr.
    Smoothing: a part ``label_smoothing`` of each label is divided equally among all classes.
    Noise: each step adds new noise sigma n to the original images. Each n is one draw of
    ``rng.standard_normal`` in the images' shape; if sigma is 0, nothing need be drawn. Nothing else is drawn
    from ``rng`` before the last n.

    model: gives logits (N, K) of images (N, ...). It runs in training mode and stays in it. Its parameters
    that require grad change, in their own dtype, and go on to require grad; the others do not. A parameter
    without a gradient, because the loss does not depend on it, does not change.
    labels: classes (N,). Returns the array of the losses before each step, (steps,) in float64. This loss is
    the mean cross-entropy with the smoothed labels.
    Gradients that the parameters already have, from an earlier step, have no effect.
    ValueError for fewer than one step, a warmup or a sigma below 0, a smoothing outside of 0 ... 1, and a
    label that is not a class. The label -100, which ``F.cross_entropy`` leaves out, is refused too.
    """
    check_int("warmup_steps", warmup_steps, 0), check_number("sigma", sigma, 0)
    model.train()
    losses = np.empty(positive_int("steps", steps))
    for t in range(steps):
        noise = sigma * rng.standard_normal(images.shape)
        logits = model((images + noise).astype(images.dtype))
        classes = check_labels("labels", labels, len(images), logits.shape[1])
        loss = F.cross_entropy(logits, classes, label_smoothing=label_smoothing)
        model.zero_grad()
        loss.backward()
        rate = warmed_up(lambda _: lr, warmup_steps, t)
        for parameter in model.parameters():
            if parameter.requires_grad and parameter.grad is not None:
                parameter.data = parameter.data - rate * parameter.grad
        losses[t] = loss.item()
    return losses


careful = Exercise(
    "08.4",
    careful_steps,
    title="training with warmup, smoothing and noise",
    points=4,
    level=3,
    minutes=40,
    kind="model",
    writes=("model",),
    hints=(
        "It is the usual training step, but with a different rate, different targets and different images.",
        "In each step, add noise to the original images and compute the loss with smoothed labels. Clear "
        "the old gradients, call backward, and use the rate of this step. F.cross_entropy can smooth "
        "labels, and it accepts rows of probabilities.",
        "noise = sigma * rng.standard_normal(images.shape) belongs inside the loop. Convert images + "
        "noise to the dtype of the images.",
    ),
)

MLP = Built("mlp", 4, in_features=4, hidden=5, num_classes=3)
FOUR = (np.arange(4 * 4).reshape(4, 1, 2, 2) % 5 / 4).astype(np.float32)
CNN = Built("small_cnn", 1, num_classes=3, widths=(2,), pool_after=())
NESTED = Built("nested_rows", 1, in_features=16, num_classes=3, requires_grad=("block.fc", "head"))
ROWS = Built("normed_rows", 4, in_features=16, num_classes=3)  # the parameter gain is not used
SHARED = Built("shared_rows", 6, in_features=4)  # two layers share one weight
PHOTOS = (np.arange(4 * 16).reshape(4, 1, 4, 4) % 7 / 4).astype(np.float32)
LABELS = np.array([0, 2, 1, 2])
PLAIN = {"steps": 3, "lr": 0.5, "warmup_steps": 0, "label_smoothing": 0.0, "sigma": 0.0}


def with_rng(**changed):
    return {**PLAIN, "rng": np.random.default_rng(5), **changed}


def stepped(model, images, labels, *, steps, lr, warmup_steps, label_smoothing, sigma, rng):
    """The losses and the state of an mlp, by hand."""
    losses, state = [], by_hand.wide(by_hand.built_once(model).state_dict())
    for t in range(steps):
        noisy = images + sigma * rng.standard_normal(images.shape)
        z = by_hand.mlp_logits(state, noisy)
        target, log_p = by_hand.one_hot(labels, z.shape[1]), by_hand.log_softmax(z)
        target = target + label_smoothing * (1 / z.shape[1] - target)
        losses.append(by_hand.cross_entropies(target, log_p))
        rate = lr * min(1.0, (t + 1) / max(warmup_steps, 1))
        state = by_hand.mlp_after(model, state, noisy, (np.exp(log_p) - target) / len(labels), rate)
    return np.array(losses), state


def assert_stepped(careful_steps, model, images, labels, settings, seed=5):
    """Compare the losses and the state after the steps with the values by hand."""
    losses, state = stepped(model, images, labels, **settings, rng=np.random.default_rng(seed))
    found, after = careful_steps(model, images, labels, **settings, rng=np.random.default_rng(seed))
    assert_close(found, losses, **by_hand.NEAR)
    by_hand.assert_state(after["state"], state)
    by_hand.assert_learns(model, after)


@careful.law(
    "lr = 0, eps = 1, two steps: both losses are the mean of -log p over all classes, and nothing changes"
)
def worked_careful(careful_steps):
    losses, after = careful_steps(MLP, FOUR, LABELS, **with_rng(steps=2, lr=0.0, label_smoothing=1.0))
    state = MLP.build().state_dict()
    mean = -by_hand.log_softmax(by_hand.mlp_logits(by_hand.wide(state), FOUR)).mean()
    assert_close(losses, np.full(2, mean), **by_hand.NEAR)
    assert_dtype(losses, np.float64)
    by_hand.assert_state(after["state"], state)
    by_hand.assert_mode(after, True)


@careful.law("without warmup, smoothing and noise: three plain steps, and each uses only its own gradient")
def plain_steps(careful_steps):
    assert_stepped(careful_steps, MLP, FOUR, LABELS, PLAIN)
    assert_stepped(careful_steps, MLP, FOUR, LABELS, {**PLAIN, "lr": 0.0, "sigma": 0.5})  # only new noise


@careful.law("two steps of warmup: the rates are lr / 2, lr, lr, lr; with 105 they begin with lr / 105")
def warms_up(careful_steps):
    for steps, warmup_steps in ((4, 2), (110, 105)):
        settings = {**PLAIN, "steps": steps, "warmup_steps": warmup_steps}
        assert_stepped(careful_steps, MLP, FOUR, LABELS, settings)


@careful.law("each step draws new noise and adds it to the original images, 4 or 36 of them")
def fresh_noise(careful_steps):
    assert_stepped(careful_steps, MLP, FOUR, LABELS, {**PLAIN, "sigma": 0.5})
    many = 16 * np.tile(FOUR.reshape(4, 2, 1, 2), (9, 1, 1, 1))  # two channels of 1 x 2 pixels
    labels = (np.arange(36) // 12).astype(np.int32)
    assert_stepped(careful_steps, MLP, many, labels, {**PLAIN, "steps": 2, "sigma": 2.0})
    thousands = Built("mlp", 4, in_features=4, hidden=5, num_classes=3000)  # too many classes for a byte
    assert_stepped(careful_steps, thousands, FOUR, np.array([0, 2999, 128, 256]), {**PLAIN, "sigma": 0.5})


@st.composite
def trainings(draw):
    """An mlp, images, labels and settings."""
    n, k = draw(st.integers(1, 4)), draw(st.integers(2, 4))
    seed = draw(st.integers(0, 9))
    settings = {
        "steps": draw(st.integers(1, 3)),
        "lr": draw(st.sampled_from([0.25, 0.5, 2.0])),
        "warmup_steps": draw(st.integers(0, 4)),
        "label_smoothing": draw(st.sampled_from([0.0, 0.25, 0.1, 1.0])),
        "sigma": draw(st.sampled_from([0.0, 0.25, 1.0])),
    }
    images, labels = draw(arrays((n, 1, 2, 2))).astype(np.float32), draw(label_arrays(n, k))
    learns = draw(by_hand.LEARNING)
    model = Built("mlp", seed, in_features=4, hidden=5, num_classes=k, requires_grad=learns)
    return model, images, labels, settings


@careful.law(
    "warmup, smoothing and noise together: the losses before the steps, and the parameters after them"
)
@given(case=trainings(), seed=st.integers(0, 9))
def all_together(careful_steps, case, seed):
    assert_stepped(careful_steps, *case, seed=seed)


@careful.law(
    "training mode in every layer: BatchNorm uses the batch, also with frozen parameters, and Dropout drops; "
    "a layer or weight that is used twice changes once, an unused parameter stays; each dtype stays as it is"
)
def careful_trains(careful_steps):
    own_flag_only = Built(CNN.builder, CNN.seed, **CNN.settings, training=("",))
    for built in (own_flag_only, NESTED, ROWS, SHARED):
        images = PHOTOS if built is not SHARED else PHOTOS[:, 0, 0]
        settings = {"steps": 2, "warmup_steps": 2, "label_smoothing": 0.25, "sigma": 0.25}
        losses, after = careful_steps(built, images, LABELS, **with_rng(**settings))
        model, rng, wanted = built.build().train(), np.random.default_rng(5), []
        for rate in (0.25, 0.5):
            z = model((images + 0.25 * rng.standard_normal(images.shape)).astype(np.float32))
            target = 0.75 * by_hand.one_hot(LABELS, z.shape[1]) + 0.25 / z.shape[1]
            wanted.append(by_hand.cross_entropies(target, by_hand.log_softmax(z.data.astype(np.float64))))
            by_hand.engine_step(model, F.cross_entropy(z, target), rate)
        assert_close(losses, wanted, **by_hand.NEAR)
        by_hand.assert_state(after["state"], model.state_dict())
        by_hand.assert_mode(after, True)
        by_hand.assert_learns(built, after)
        for name, value in model.state_dict().items():
            assert_dtype(after["state"][name], value.dtype)
    weight = np.array([[0.1, 0.2], [0.3, -0.1], [0.7, 0.0]])
    wide, rng = Built("linear", weight=weight, dtype="float64"), np.random.default_rng(5)
    images = np.array([[0.1, 1.1], [0.3, 0.9], [0.2, 0.7], [1.3, 0.6]])
    losses, after = careful_steps(wide, images, LABELS, **with_rng(steps=1, sigma=0.3, warmup_steps=3))
    noisy, target = images + 0.3 * rng.standard_normal(images.shape), by_hand.one_hot(LABELS, 3)
    log_p = by_hand.log_softmax(noisy @ weight.T)
    assert_close(losses, [by_hand.cross_entropies(target, log_p)], rtol=1e-12, atol=0)
    assert_dtype(after["state"]["weight"], np.float64)
    change = 0.5 / 3 * (np.exp(log_p) - target).T @ noisy / 4
    assert_close(after["state"]["weight"], weight - change, rtol=1e-12, atol=0)


@careful.law(
    "ValueError for no step, a warmup or sigma below 0, an eps outside of 0 ... 1, a label that is not a "
    "class"
)
def careful_refuses(careful_steps):
    for change in (
        {"steps": 0},
        {"steps": -1},
        {"warmup_steps": -1},
        {"sigma": -0.25},
        {"sigma": -1e-15},
        {"label_smoothing": -0.25},
        {"label_smoothing": 1 + 1e-15},
    ):
        assert_refuses(f"{change}", careful_steps, MLP, FOUR, LABELS, **with_rng(**change))
    for label, place in ((3, 1), (-1, 2), (-100, 0), (-100, 3)):
        labels = np.where(np.arange(len(LABELS)) == place, label, LABELS)
        assert_refuses(f"a label {label} of three classes", careful_steps, MLP, FOUR, labels, **with_rng())


def steps_with(model, images, labels, *, lr, warmup_steps, rng, steps, sigma, **options):
    """Steps with the rates, the noise and the loss as given by functions, or the library's."""
    noise = options.pop("noise", lambda t: sigma * rng.standard_normal(images.shape))
    rate = options.pop("rate", lambda t: warmed_up(lambda _: lr, warmup_steps, t))
    keep, smooth = options.pop("keep", False), options["label_smoothing"]
    check_int("warmup_steps", warmup_steps, 0), check_number("sigma", sigma, 0), positive_int("steps", steps)
    losses = []
    for t in range(steps):
        logits = model.train(options.get("train", True))((images + noise(t)).astype(images.dtype))
        classes = check_labels("labels", labels, len(images), logits.shape[1])
        loss = F.cross_entropy(logits, classes, label_smoothing=smooth)
        if not keep:
            model.zero_grad()
        loss.backward()
        for parameter in model.parameters():
            parameter.data = parameter.data - rate(t) * parameter.grad
        losses.append(loss.item())
    return np.array(losses)


@careful.mistake("the warmup begins with a rate of 0", breaks=careful.laws[2].text)
def from_zero(model, images, labels, *, lr, warmup_steps, **options):
    def rate(t):
        return lr * min(1.0, t / max(warmup_steps, 1)) if warmup_steps else lr

    return steps_with(model, images, labels, lr=lr, warmup_steps=warmup_steps, rate=rate, **options)


@careful.mistake("the same noise in all steps", breaks=careful.laws[3].text)
def one_noise(model, images, labels, *, sigma, rng, **options):
    check_number("sigma", sigma, 0)
    drawn = sigma * rng.standard_normal(images.shape)
    return steps_with(model, images, labels, sigma=sigma, rng=rng, noise=lambda t: drawn, **options)


@careful.mistake("adds noise to images that already have noise", breaks=careful.laws[3].text)
def noise_upon_noise(model, images, labels, *, sigma, rng, **options):
    drawn = [np.zeros(images.shape)]

    def noise(t):
        drawn.append(drawn[-1] + sigma * rng.standard_normal(images.shape))
        return drawn[-1]

    return steps_with(model, images, labels, sigma=sigma, rng=rng, noise=noise, **options)


@careful.mistake("the gradients of all steps add up", breaks=careful.laws[1].text)
def piled_up(model, images, labels, **options):
    return steps_with(model, images, labels, keep=True, **options)


@careful.mistake("runs in evaluation mode", breaks=careful.laws[4].text)
def in_evaluation(model, images, labels, **options):
    return steps_with(model, images, labels, train=False, **options)


@careful.mistake("labels without smoothing", breaks=careful.laws[0].text)
def hard_labels(model, images, labels, *, label_smoothing, **options):
    check_number("label_smoothing", label_smoothing, 0, 1)
    return steps_with(model, images, labels, label_smoothing=0.0, **options)
