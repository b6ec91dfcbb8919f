"""Exercises of lesson 07: steps of SimCLR."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lessons.exercises import by_hand
from minidl.classroom.builders import Built
from minidl.classroom.compare import assert_close, assert_dtype, assert_refuses
from minidl.classroom.exercise import Exercise
from minidl.classroom.strategies import arrays
from minidl.engine.checks import positive_int, require
from minidl.nn.module import Module
from minidl.transfer.contrastive import nt_xent

# ---- 07.5 simclr_steps


def simclr_steps(
    model: Module,
    images: np.ndarray,
    augment: Callable[[np.ndarray, np.random.Generator], np.ndarray],
    *,
    steps: int,
    lr: float,
    temperature: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Train with plain gradient descent on SimCLR's loss; all steps use these images.

    Each step draws two new views of all images: first one call of ``augment`` for all first views, then one
    call for all second views. The model runs in training mode, once on the first views and then once on the
    second views, and gives embeddings (N, D). The loss is ``nt_xent`` at ``temperature``. Each parameter that
    requires grad changes by -lr times its gradient in this step, in its own dtype, and goes on to require
    grad; the others do not. A parameter without a gradient, because the loss does not depend on it, does not
    change.

    images: (N, ...); they do not change.  augment: ``augment(images, rng)`` gives images of the same shape.
    It may change the array that it gets. Nothing else draws from ``rng`` before the last view. Returns the
    array of the losses before each step, (steps,) in float64. The model is left in training mode.
    ValueError for fewer than two images, fewer than one step, and a temperature that is not above 0.
    """
    require(len(images) > 1, "one image has no other images to compare with: give at least two")
    model.train()
    losses = np.empty(positive_int("steps", steps))
    for i in range(steps):
        first = augment(images.copy(), rng)
        second = augment(images.copy(), rng)
        loss = nt_xent(model(first), model(second), temperature)
        model.zero_grad()
        loss.backward()
        for parameter in model.parameters():
            if parameter.requires_grad and parameter.grad is not None:
                parameter.data = parameter.data - lr * parameter.grad
        losses[i] = loss.item()
    return losses


simclr = Exercise(
    "07.5",
    simclr_steps,
    title="training steps of SimCLR",
    points=4,
    level=3,
    minutes=40,
    kind="model",
    writes=("model",),
    hints=(
        "This is a training step without labels. Instead of a label, the loss uses that two views show "
        "the same image.",
        "In each step, draw two views and run the model on each of them. Compute one loss, clear the old "
        "gradients, call backward, and move each parameter against its gradient. Give the augmentation a "
        "new copy each time.",
        "loss = nt_xent(model(augment(images.copy(), rng)), ..., temperature)",
    ),
)


def noisy(images, rng):
    """Images with noise."""
    return images + rng.normal(0, 0.5, images.shape).astype(images.dtype)


def as_they_are(images, rng):
    """The images themselves."""
    return images


def brighter_in_place(images, rng):
    """Images times a number, changed in place."""
    images *= images.dtype.type(rng.uniform(1, 3))
    images += images.dtype.type(rng.uniform(0, 1))
    return images


@st.composite
def batches(draw):
    """An mlp that gives embeddings, and images."""
    n, d = draw(st.integers(2, 4)), draw(st.integers(2, 3))
    seed, images = draw(st.integers(0, 9)), draw(arrays((n, 1, 2, 2))).astype(np.float32)
    learns = draw(by_hand.LEARNING)
    return Built("mlp", seed, in_features=4, hidden=5, num_classes=d, requires_grad=learns), images


def stepped(model, images, augment, seed, steps, lr, temperature):
    """The losses and the state of an mlp, by hand."""
    rng, losses, state = np.random.default_rng(seed), [], by_hand.wide(by_hand.built_once(model).state_dict())
    for _ in range(steps):
        views = np.concatenate([augment(images.copy(), rng) for _ in range(2)])
        z = by_hand.mlp_logits(state, views)
        losses.append(by_hand.nt_xent(z, temperature))
        of_z = by_hand.slopes(lambda z: by_hand.nt_xent(z, temperature), z)
        state = by_hand.mlp_after(model, state, views, of_z, lr)
    return np.array(losses), state


MLP = Built("mlp", 3, in_features=4, hidden=5, num_classes=2)
FOUR = (np.arange(3 * 4).reshape(3, 1, 2, 2) % 5 / 4).astype(np.float32)
CNN = Built("small_cnn", 1, num_classes=2, widths=(2,), pool_after=())
NESTED = Built("nested_rows", 1, in_features=16, num_classes=2, requires_grad=("block.fc", "head"))
ROWS = Built("normed_rows", 4, in_features=16, num_classes=2)  # the parameter gain is not used
MANY = (np.arange(33 * 4).reshape(33, 1, 2, 2) % 9 / 4).astype(np.float32)
SHARED = Built("shared_rows", 6, in_features=4)  # two layers share one weight
PHOTOS = (np.arange(3 * 16).reshape(3, 1, 4, 4) % 7 / 4).astype(np.float32)
SETTINGS = {"steps": 1, "lr": 0.25, "temperature": 0.5}


def with_rng(**changed):
    return {**SETTINGS, "rng": np.random.default_rng(5), **changed}


@simclr.law("views that are the images themselves and lr = 0: three equal losses, and nothing changes")
def worked_simclr(simclr_steps):
    losses, after = simclr_steps(MLP, FOUR, as_they_are, **with_rng(steps=3, lr=0.0))
    state = MLP.build().state_dict()
    z = by_hand.mlp_logits(by_hand.wide(state), FOUR)
    assert_close(losses, np.full(3, by_hand.nt_xent(np.concatenate([z, z]), 0.5)), **by_hand.NEAR)
    assert_dtype(losses, np.float64)
    by_hand.assert_state(after["state"], state)
    by_hand.assert_mode(after, True)
    cold, _ = simclr_steps(MLP, FOUR, as_they_are, **with_rng(lr=0.0, temperature=0.02))
    assert_close(cold, [by_hand.nt_xent(np.concatenate([z, z]), 0.02)], **by_hand.NEAR)


ONE_STEP = "one step: the loss before it, and each parameter changes by -lr times its gradient"


@simclr.law(ONE_STEP)
@given(
    batch=batches(),
    seed=st.integers(0, 9),
    temperature=st.sampled_from([0.5, 1.0, 2.0, 0.125]),
    lr=st.sampled_from([0.25, 2.0]),
)
def one_step(simclr_steps, batch, seed, temperature, lr):
    model, images = batch
    settings = {"steps": 1, "lr": lr, "temperature": temperature}
    losses, state = stepped(model, images, noisy, seed, **settings)
    found, after = simclr_steps(model, images, noisy, **settings, rng=np.random.default_rng(seed))
    assert_close(found, losses, **by_hand.NEAR)
    by_hand.assert_state(after["state"], state)
    by_hand.assert_learns(model, after)


@simclr.law("three and twelve steps: each has new views of all images and uses only its own gradient")
def several_steps(simclr_steps):
    for images, steps, lr in ((FOUR, 3, 0.25), (FOUR, 12, 0.25), (MANY, 2, 0.25), (FOUR, 2, 0.0)):
        losses, state = stepped(MLP, images, noisy, 5, steps, lr, 0.5)
        found, after = simclr_steps(MLP, images, noisy, **with_rng(steps=steps, lr=lr))
        assert_close(found, losses, **by_hand.NEAR)
        by_hand.assert_state(after["state"], state)


@simclr.law(
    "an augmentation changes its images in place: the second view still starts from the original images"
)
def writes_in_place(simclr_steps):
    losses, _ = stepped(MLP, FOUR, brighter_in_place, 5, 2, 0.25, 0.5)
    found, _ = simclr_steps(MLP, FOUR, brighter_in_place, **with_rng(steps=2))
    assert_close(found, losses, **by_hand.NEAR)


@simclr.law(
    "training mode in every layer: BatchNorm uses each of the two batches, also with frozen parameters, and "
    "Dropout drops; a layer or weight that is used twice changes once, and an unused parameter stays"
)
def batches_of_their_own(simclr_steps):
    own_flag_only = Built(CNN.builder, CNN.seed, **CNN.settings, training=("",))
    for built in (own_flag_only, NESTED, ROWS, SHARED):
        images = PHOTOS if built is not SHARED else PHOTOS[:, 0, 0]
        found, after = simclr_steps(built, images, noisy, **with_rng(steps=2))
        model, rng, losses = built.build().train(), np.random.default_rng(5), []
        for _ in range(2):
            z = [model(noisy(images, rng)) for _ in range(2)]
            wide = np.concatenate([views.data for views in z]).astype(np.float64)
            losses.append(by_hand.nt_xent(wide, 0.5))
            by_hand.engine_step(model, nt_xent(*z, 0.5), 0.25)
        assert_close(found, losses, **by_hand.NEAR)
        by_hand.assert_state(after["state"], model.state_dict())
        by_hand.assert_mode(after, True)
        by_hand.assert_learns(built, after)


@simclr.law("parameters stay float32, and float64 parameters stay float64")
def parameters_keep_their_dtype(simclr_steps):
    _, after = simclr_steps(CNN, PHOTOS, noisy, **with_rng())
    for name, value in after["state"].items():
        if name.endswith(("weight", "bias")):
            assert_dtype(value, np.float32)
    weight, images = np.array([[0.1, 0.2], [0.3, -0.1]]), np.eye(3)[:, :2] + 0.1
    layer, z = Built("linear", weight=weight, dtype="float64"), np.concatenate([images, images]) @ weight.T
    losses, after = simclr_steps(layer, images, as_they_are, **with_rng(lr=0.3))
    assert_close(losses, [by_hand.nt_xent(z, 0.5)], rtol=1e-12, atol=0)
    assert_dtype(after["state"]["weight"], np.float64)
    model = layer.build()
    by_hand.engine_step(model, nt_xent(model(images), model(images), 0.5), 0.3)
    assert_close(after["state"]["weight"], model.weight.data, rtol=1e-12, atol=0)


@simclr.law("ValueError for one image alone, no step, and a temperature of 0")
def refuses_steps(simclr_steps):
    for n in (0, 1):
        assert_refuses(f"{n} images", simclr_steps, MLP, FOUR[:n], noisy, **with_rng())
    for change in ({"steps": 0}, {"steps": -1}, {"temperature": 0.0}, {"temperature": -1.0}):
        assert_refuses(f"{change}", simclr_steps, MLP, FOUR, noisy, **with_rng(**change))


def steps_with(model, images, views, steps, lr, temperature, *, keep=False, train=True):
    """Steps with views from a function, optionally with accumulated gradients or without training mode."""
    require(len(images) > 1 and steps > 0, "too little")
    model.train(train)
    losses = []
    for _ in range(steps):
        loss = nt_xent(*views(), temperature)
        if not keep:
            model.zero_grad()
        loss.backward()
        for parameter in model.parameters():
            parameter.data = parameter.data - lr * parameter.grad
        losses.append(loss.item())
    return np.array(losses)


@simclr.mistake("both views come from one draw", breaks=ONE_STEP)
def one_draw(model, images, augment, *, steps, lr, temperature, rng):
    def views():
        view = augment(images.copy(), rng)
        return model(view), model(view)

    return steps_with(model, images, views, steps, lr, temperature)


@simclr.mistake("the gradients of all steps add up", breaks=simclr.laws[1].text)
def piled_up(model, images, augment, *, steps, lr, temperature, rng):
    def views():
        return [model(augment(images.copy(), rng)) for _ in range(2)]

    return steps_with(model, images, views, steps, lr, temperature, keep=True)


@simclr.mistake("the same two views in every step", breaks=simclr.laws[1].text)
def drawn_once(model, images, augment, *, steps, lr, temperature, rng):
    drawn = [augment(images.copy(), rng) for _ in range(2)]
    return steps_with(model, images, lambda: map(model, drawn), steps, lr, temperature)


@simclr.mistake("the second view is a view of the first", breaks=simclr.laws[2].text)
def view_of_a_view(model, images, augment, *, steps, lr, temperature, rng):
    def views():
        given = images.copy()
        return [model(augment(given, rng)) for _ in range(2)]

    return steps_with(model, images, views, steps, lr, temperature)


@simclr.mistake("runs both views as one batch", breaks=simclr.laws[3].text)
def one_batch(model, images, augment, *, steps, lr, temperature, rng):
    def views():
        z = model(np.concatenate([augment(images.copy(), rng) for _ in range(2)]))
        return z[: len(images)], z[len(images) :]

    return steps_with(model, images, views, steps, lr, temperature)


@simclr.mistake("runs in evaluation mode", breaks=simclr.laws[3].text)
def in_evaluation(model, images, augment, *, steps, lr, temperature, rng):
    def views():
        return [model(augment(images.copy(), rng)) for _ in range(2)]

    return steps_with(model, images, views, steps, lr, temperature, train=False)


@simclr.mistake("goes uphill", breaks=ONE_STEP)
def uphill(model, images, augment, *, lr, **settings):
    return simclr_steps(model, images, augment, lr=-lr, **settings)
