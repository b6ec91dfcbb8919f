"""Exercises of lesson 18, continued: the loop of PGD, with a network."""

import re
import warnings

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from lessons.exercises.by_hand import built_once
from lessons.exercises.ex18_adversarial import FREE
from lessons.exercises.ex18_adversarial_gradient import LINEAR, attacked, differences
from minidl.attack.gradient_sign import (
    is_flat,
    loss_gradient,
    pgd,
    project,
    warn_of_images_without_gradient,
)
from minidl.classroom.builders import Built
from minidl.classroom.compare import assert_close, assert_dtype, assert_refuses
from minidl.classroom.exercise import Exercise
from minidl.classroom.strategies import arrays

# ---- 18.6 pgd

descent = Exercise(
    "18.6",
    pgd,
    kind="model",
    points=3,
    level=3,
    minutes=30,
    title="the loop of PGD",
    helpers=("checked_batch", "is_flat", "project", "warn_of_images_without_gradient"),
    hints=(
        "In each step: compute the gradient at the current images, step by its sign, and project into "
        "the ball.",
        "The ball lies around the given images, not around those of the last step. The random start is "
        "projected into the ball and the box too.",
        "First images, labels, eps = checked_batch(model, images, labels, eps, bounds) raises the "
        "ValueErrors. In each step: gradient = loss_gradient(model, x, labels, loss); "
        "x = fgsm_step(...); x = project(x, images, eps, bounds). is_flat(gradient) is True for "
        "the images whose gradient is 0. After all steps, warn_of_images_without_gradient(flat, loss) "
        "warns of the images where flat (N,) is True.",
    ),
)
# the gradient has the same direction for every image
TWO = Built("mlp", seed=3, in_features=3, hidden=(), num_classes=2)
# its only ReLU is inactive in the whole box
DEAD = Built("mlp", seed=20, in_features=2, hidden=(1,), num_classes=2)
EDGE = Built("mlp", seed=44, in_features=2, hidden=(1,), num_classes=2)  # its ReLU is on only beyond (0, 0)
DIES = Built("mlp", seed=17, in_features=2, hidden=(1,), num_classes=2)  # a step from 0.5 turns its ReLU off
TURNS = Built("mlp", seed=31, in_features=2, hidden=(4,), num_classes=2)  # a slope changes its sign
NEARLY_ON = np.tile([0.4, 0.6], (50, 1))  # the ReLU of DIES is off, but on for many images near by


def direction(label):
    """The sign of the loss's gradient for ``TWO``, the same for all images."""
    W = built_once(TWO).head.weight.data
    return np.sign(W[1 - label] - W[label])


def same_draws():
    return np.random.default_rng(0)


def quietly(pgd, *arguments, **params):
    """The answer, without the warning about images without a gradient."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return pgd(*arguments, **params)


@st.composite
def climbs(draw):
    """The arguments of a few steps without a random start."""
    model, images, labels, loss = draw(attacked())
    eps, step_size = draw(st.sampled_from([0.25, 0.5])), draw(st.sampled_from([0.125, 0.25, None]))
    steps, targeted = draw(st.integers(1, 4)), draw(st.booleans())
    params = {"steps": steps, "step_size": step_size, "targeted": targeted, "loss": loss}
    return model, images, labels, eps, params


def climbed(model, images, labels, eps, params, only_if=bool):
    """The result of these steps, from central differences. ``only_if`` gets whether all signs are clear."""
    x, net, step = images, built_once(model).eval(), params["step_size"] or 2.5 * eps / params["steps"]
    for _ in range(params["steps"]):
        slopes = differences(net, x, labels, params["loss"])
        only_if(not ((slopes != 0) & (np.abs(slopes) < 1e-6)).any())
        x = x + (-step if params["targeted"] else step) * np.sign(slopes)
        x = np.clip(np.clip(x, images - eps, images + eps), 0, 1)
    return x


@descent.law(
    "a linear network of two classes: three steps of 0.125 move each pixel by 0.25, eps, or to the box"
)
def worked_way(pgd):
    images, labels = np.array([[0.5, 0.875, 0.125]] * 2), np.array([0, 1])
    ways = np.array([direction(0), direction(1)], np.float64)
    given = {"steps": 3, "step_size": 0.125, "random_start": False}
    expected = np.clip(images + 0.25 * ways, 0, 1)
    assert_close(pgd(TWO, images, labels, 0.25, **given), expected, rtol=1e-5)
    expected = np.clip(images - 0.25 * ways, 0, 1)
    assert_close(pgd(TWO, images, labels, 0.25, targeted=True, **given), expected, rtol=1e-5)
    ten_steps = pgd(TWO, images, labels, 0.5, step_size=1 / 128, random_start=False, rng=same_draws())
    assert_close(ten_steps, images + 10 / 128 * ways, rtol=1e-5)
    many = pgd(TWO, images, labels, 0.5, steps=100, step_size=1 / 1024, random_start=False)
    assert_close(many, images + 100 / 1024 * ways, rtol=1e-5)
    tiny = pgd(TWO, images, labels, 0.5, step_size=1e-9, random_start=False) - images
    assert_close(tiny, 1e-8 * ways, atol=0)
    thirds = pgd(TWO, images / 3, labels, 0.3, steps=1, step_size=0.1, random_start=False)
    expected = np.clip(images / 3 + 0.1 * ways, 0, 1)  # float32 has neither thirds nor tenths
    assert_close(thirds, expected, rtol=1e-12, atol=0)
    far = pgd(TWO, images + 1e7, labels, 0.25, bounds=(0, 1e8), loss="margin", **given)
    assert_close(far, images + 1e7 + 0.25 * ways, rtol=1e-12)
    # two steps lead to a corner of the ball, and three steps away from it; the default step is 0.125
    turned = pgd(TURNS, np.full((1, 2), 0.5), labels[1:], 0.25, steps=5, random_start=False)
    assert_close(turned, [[0.75, 0.375]])
    narrow = pgd(TWO, 0.5 + 0 * images, labels, 0.5, bounds=(0.1, 0.7), random_start=False)
    assert_close(narrow, np.where(ways > 0, 0.7, 0.1), rtol=1e-12, atol=0)
    wide = pgd(TWO, images, labels, 8, steps=1, step_size=4, bounds=(-8, 8), random_start=False)
    assert_close(wide, images + 4 * ways)
    once = quietly(pgd, DIES, np.full((1, 2), 0.5), labels[:1], 0.3, steps=7, random_start=False)
    assert_close(np.abs(once - 0.5), np.full((1, 2), 0.75 / 7), rtol=1e-12)  # then there is no gradient
    widest = pgd(TWO, images, labels, 1, steps=1, step_size=1, random_start=False)  # eps may be the width
    assert_close(widest, np.clip(images + ways, 0, 1), rtol=1e-5)
    # here the cross-entropy rises in another direction than the margin
    found = pgd(
        LINEAR, np.full((1, 3), 0.5), np.array([2]), 0.25, steps=1, step_size=0.125, random_start=False
    )
    assert_close(found, np.full((1, 3), 0.375), rtol=1e-5)
    found = pgd(TWO, images / 3, labels.tolist(), 0.03, rng=same_draws())
    assert_close(found, images / 3 + 0.03 * ways, rtol=1e-12, atol=0)  # float32 has no thirds
    assert_close(pgd(TWO, images, labels, 0.0, rng=same_draws()), images)  # eps = 0
    maps = pgd(TWO, images.reshape(2, 1, 1, 3), labels, 0.25, **given)
    assert_close(maps, np.clip(images + 0.25 * ways, 0, 1).reshape(2, 1, 1, 3), rtol=1e-5)


STEP_BY_STEP = "each step follows the sign of the gradient at the current image, by central differences"
CROSSES = "with the default step size, the steps can cross the whole ball, from any start in it"
STARTS = "rng draws the start from the whole ball; without a gradient the image stays at its start"


@descent.law(STEP_BY_STEP)
@given(case=climbs())
def step_by_step(pgd, case):
    *arguments, params = case
    expected = climbed(*case, only_if=assume)
    found = quietly(pgd, *arguments, random_start=False, **params)
    assert_close(found, expected, rtol=1e-4, atol=1e-6)


@descent.law(CROSSES)
@given(label=st.integers(0, 1), seed=st.integers(0, 9), steps=st.integers(0, 10))
def crosses(pgd, label, seed, steps):
    images, rng = np.array([[0.5, 0.75, 0.25]]), np.random.default_rng(seed)
    params = {"steps": steps} if steps else {"steps": 1, "step_size": 0.5}  # step_size is 2 eps
    found = pgd(TWO, images, np.array([label]), 0.25, **params, rng=rng)
    assert_close(found, images + 0.25 * direction(label), rtol=1e-4)


@descent.law("a frozen network in training mode runs in evaluation mode, and is as before afterwards")
def while_training(pgd):
    images, labels = np.array([[0.5, 0.75, 0.5], [0.25, 0.5, 0.875]]), np.array([0, 2])
    params = {"steps": 3, "step_size": 0.125, "targeted": False, "loss": "cross_entropy"}
    frozen = {"training": True, "requires_grad": False}
    for how in ({"training": True}, {"requires_grad": ("head",)}, frozen, {"training": ("dropout1",)}):
        model = Built("mlp", seed=1, in_features=3, hidden=(8,), num_classes=3, dropout=0.5, **how)
        expected = climbed(model, images, labels, 0.25, params)
        found = quietly(pgd, model, images, labels, 0.25, random_start=False, **params)
        assert_close(found, expected, rtol=1e-4, atol=1e-6)
        assert_refuses("images of 2 pixels", pgd, model, images[:, :2], labels, 0.25)


@descent.law(STARTS)
def random_starts(pgd):
    labels = np.zeros(400, int)
    for how in ({}, {"targeted": True}, {"loss": "margin"}):
        moves = quietly(pgd, DEAD, np.full((400, 2), 0.5), labels, 0.25, steps=1, **how) - 0.5
        assert moves.any(), f"without an rng too the images begin at random, also with {how}"
        again = quietly(pgd, DEAD, np.full((400, 2), 0.5), labels, 0.25, steps=1, **how) - 0.5
        assert (again != moves).any(), f"without an rng each call draws the same start, also with {how}"
        narrow = (moves == moves.astype(np.float32)).mean()
        assert narrow < 0.1, "float64 images begin at starts that have only the digits of float32"
        maps = np.full((400, 1, 2, 1), 0.5, np.float32)
        moves = quietly(pgd, DEAD, maps, labels, 0.25, steps=5, rng=same_draws(), **how) - 0.5
        each = len(np.unique(moves)) > 700
        assert each, f"each pixel of float32 images of four axes begins at random too, also with {how}"
    for middle, bounds, steps in ((0.5, (0, 1), 1), (0.5, (0, 1), 3), (1.5, (-2, 2), 1), (-1.5, (-2, 2), 1)):
        images = np.full((400, 3 if bounds == (-2, 2) else 2), middle)
        model = TWO if bounds == (-2, 2) else DEAD  # TWO takes a step of 1/1024 after the start
        given_steps = {"steps": steps, "step_size": 1 / 1024, "bounds": bounds}
        first, again, other = (
            quietly(pgd, model, images, labels, 0.25, **given_steps, rng=np.random.default_rng(s))
            for s in (steps, steps, steps + 1)
        )
        assert_close(again, first)
        moves = first - images
        box = f"around {middle} in the box {bounds}"
        assert np.abs(moves).max() <= 0.25 + 1e-6, f"an image has left the ball {box}"
        reaches = moves.max() > 0.2 and moves.min() < -0.2
        assert reaches, f"the starts do not reach all over the ball {box}"
        typical = np.abs(moves).mean()  # of a uniform draw, half of 0.25
        assert 0.112 < typical < 0.138, f"the starts are not uniform in the ball: a mean |move| of {typical}"
        assert len(np.unique(moves)) > 700, "the images' values do not start each at a place of its own"
        assert np.abs(other - first).max() > 0.1, "another rng draws the same start"
    share = np.mean(quietly(pgd, DEAD, np.zeros((400, 2)), labels, 0.25, steps=1, rng=same_draws()) == 0)
    assert 0.4 < share < 0.6, f"half of the draws are below 0, but {share} of the pixels at 0 stay there"


@descent.law("the result lies in the given box, which may be infinite, and float32 stays float32")
@given(
    images=arrays((2, 3)),
    label=st.integers(0, 1),
    dtype=st.sampled_from([np.float32, np.float64]),
    box=st.sampled_from([(-2.0, 2.0), (-2.0, np.inf), FREE]),
)
def in_a_box(pgd, images, label, dtype, box):
    images, labels, other = images.astype(dtype), np.array([label, label]), np.array([1 - label] * 2)
    by_columns = np.asfortranarray(images)  # in memory column by column
    found = pgd(TWO, by_columns, labels, 3.0, steps=2, bounds=box, rng=same_draws())
    assert_close(found, np.clip(images + 3 * direction(label), *box), rtol=1e-5, atol=1e-5)
    assert_dtype(found, dtype)
    # of two classes, the steps to the other one lead away from this one
    back = pgd(TWO, images, other, 3.0, steps=2, targeted=True, bounds=box)
    assert_close(back, found, rtol=1e-5, atol=1e-5)


@descent.law("a warning counts the images whose gradient is 0 at all steps, and no others")
def warns(pgd):
    half, pair, many = np.full((300, 2), 0.5), np.array([0, 1]), np.arange(300) % 2
    # at the start, the ReLU of DIES is on for the first image and off for the others
    away = np.array([[0.5, 0.5], [0.0, 1.0], [0.0, 1.0]])
    for random_start in (False, True):
        found = warned(pgd, DEAD, half, many, 0.25, steps=2, random_start=random_start)
        assert found == 300, f"no pixel of 300 images matters to the network, the warning counts {found}"
        found = warned(pgd, TWO, np.full((1, 3), 0.5), pair[:1], 0.25, random_start=random_start)
        assert found == 0, "a warning without a reason: every pixel matters to the network"
    step = {"steps": 2, "step_size": 0.25, "random_start": False}
    found = warned(pgd, DIES, away[:1], pair[:1], 0.25, **step)
    assert found == 0, "a warning of an image that had a gradient at the first step, if none at the last"
    found = warned(pgd, DIES, away, np.zeros(3, int), 0.25, **step)
    assert found == 2, f"two of three images have no gradient at any step, the warning counts {found}"
    for how in ({"targeted": True}, {"loss": "margin"}, {"eps": 0.0}):
        found = warned(pgd, DEAD, half[:2], pair, **{"eps": 0.25, **how})
        assert found == 2, f"with {how} no pixel matters either, the warning counts {found}"
    # a gradient of (0, -1e-174, 1e-174, 0): its sum is 0, and so are its squares and its ends
    sure = Built("linear", weight=[[0.0] * 4, [0.0, -1.0, 1.0, 0.0]], bias=[400.0, 0.0])
    found = warned(pgd, sure, np.full((1, 4), 0.5), pair[:1], 0.25, **step)
    assert found == 0, "a warning without a reason: the gradient is tiny, but not 0"
    assert_close(pgd(sure, np.full((1, 4), 0.5), pair[:1], 0.25, **step), [[0.5, 0.25, 0.75, 0.5]])
    corner, zeros = np.zeros((50, 2)), np.zeros(50, int)
    found = warned(pgd, EDGE, corner, zeros, 0.5, steps=2)
    assert found == 50, f"{50 - found} of 50 images found a gradient at a start beyond the box"
    found = warned(pgd, DIES, NEARLY_ON, zeros, 0.25, steps=2)
    assert found < 50, "the starts of many images have a gradient, the images themselves have none"
    once = warned(pgd, DIES, NEARLY_ON, zeros, 0.25, steps=1)
    assert found == once, f"without a gradient images stay, but a second step counts {found}, not {once}"


def warned(pgd, *arguments, **params):
    """The first number above 0 in the warning (its text may say "gradient 0"); 0 if there is no warning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pgd(*arguments, **params, rng=same_draws())
    assert len(caught) < 2, f"one warning for all steps is enough, got {len(caught)}"
    if not caught:
        return 0
    numbers = [int(number) for number in re.findall(r"\d+", str(caught[0].message))]
    assert any(numbers), f"the warning gives no number of images above 0: {caught[0].message}"
    return next(number for number in numbers if number)


@descent.law(
    "ValueError for eps below 0 or above the box's width, no steps, step size 0, images outside the box"
)
@given(label=st.integers(0, 1))
def refuses(pgd, label):
    images, labels = np.full((1, 3), 0.5), np.array([label])
    for start in (True, False):
        assert_refuses("eps = -0.25", pgd, TWO, images, labels, -0.25, random_start=start)
    assert_refuses("eps = 8 in a box of width 1", pgd, TWO, images, labels, 8.0)
    for eps in (0.25, 0.0):
        for steps in (0, -1):
            what = f"steps = {steps} (eps = {eps})"
            assert_refuses(what, pgd, TWO, images, labels, eps, steps=steps)
        for size in (0.0, -0.125):
            what = f"step_size = {size} (eps = {eps})"
            assert_refuses(what, pgd, TWO, images, labels, eps, step_size=size)
        assert_refuses(f"a pixel of -0.0005 (eps = {eps})", pgd, TWO, -0.001 * images, labels, eps)
    half = {"bounds": (0.25, 0.75)}
    assert_refuses("eps = 0.75 in a box of width 0.5", pgd, TWO, images, labels, 0.75, **half)
    for pixel in (0.125, 0.875):
        what = f"a pixel of {pixel} in the box 0.25 ... 0.75"
        assert_refuses(what, pgd, TWO, np.full((1, 3), pixel), labels, 0.25, **half)
    assert_refuses("an infinite pixel", pgd, TWO, images * np.inf, labels, 0.25, bounds=FREE)
    for wrong in (-1, 2):
        assert_refuses(f"a label {wrong} of two classes", pgd, TWO, images, np.array([wrong]), 0.25)
    assert_refuses("a pixel of NaN", pgd, TWO, images * np.nan, labels, 0.25)
    assert_refuses("a pixel of 1.0005", pgd, TWO, 2.001 * images, labels, 0.25)
    training = Built(TWO.builder, TWO.seed, **TWO.settings, training=True)  # which it stays
    assert_refuses("steps = 0", pgd, training, images, labels, 0.25, steps=0)


def another_pgd(update):
    """PGD with ``update(x, images, gradient, step, eps, bounds, first)`` as its step."""

    def walk(
        model, images, labels, eps, *, steps=10, step_size=None, random_start=True, targeted=False,
        bounds=(0, 1), loss="cross_entropy", rng=None,
    ):  # fmt: skip
        low, high = bounds
        if images.min() < low or images.max() > high or not 0 <= eps <= high - low or steps < 1:
            raise ValueError("refused")
        step = 2.5 * eps / steps if step_size is None else step_size
        if step <= 0 < eps:
            raise ValueError("refused")
        x, flat = images, np.ones(len(images), bool)
        if random_start:
            x = project(images + rng.uniform(-eps, eps, images.shape), images, eps, bounds)
        x = first_x = x.astype(images.dtype)
        for _ in range(steps):
            gradient, at_first = (loss_gradient(model, at, labels, loss) for at in (x, first_x))
            flat &= is_flat(gradient)
            x = update(x, images, gradient, -step if targeted else step, eps, bounds, at_first)
            x = x.astype(images.dtype)
        warn_of_images_without_gradient(flat, loss)
        return x

    return walk


@descent.mistake("followed the gradient at the start in all steps", breaks=STEP_BY_STEP)
def one_gradient(model, images, labels, eps, **params):
    def update(x, images, gradient, step, eps, bounds, at_first):
        return project(x + step * np.sign(at_first), images, eps, bounds)

    return another_pgd(update)(model, images, labels, eps, **params)


@descent.mistake("projected around the last step, not around the given images", breaks=descent.laws[0].text)
def around_the_last(model, images, labels, eps, **params):
    def update(x, images, gradient, step, eps, bounds, at_first):
        return project(x + step * np.sign(gradient), x, eps, bounds)

    return another_pgd(update)(model, images, labels, eps, **params)


@descent.mistake("began at the images themselves, not at random", breaks=STARTS)
def without_a_start(model, images, labels, eps, **params):
    return pgd(model, images, labels, eps, **{**params, "random_start": False})


@descent.mistake("started each step at the given images again", breaks=descent.laws[0].text)
def never_leaves(model, images, labels, eps, **params):
    def update(x, images, gradient, step, eps, bounds, at_first):
        return project(images + step * np.sign(gradient), images, eps, bounds)

    return another_pgd(update)(model, images, labels, eps, **params)


@descent.mistake("raised the loss of the wanted class instead of lowering it", breaks=descent.laws[0].text)
def away_from_the_target(model, images, labels, eps, **params):
    return pgd(model, images, labels, eps, **{**params, "targeted": False})


@descent.mistake("did not project into the box", breaks=descent.laws[0].text)
def without_a_box(model, images, labels, eps, **params):
    def update(x, images, gradient, step, eps, bounds, at_first):
        return np.clip(x + step * np.sign(gradient), images - eps, images + eps)

    return another_pgd(update)(model, images, labels, eps, **params)


@descent.mistake("used steps of eps / steps, which cannot cross the ball", breaks=CROSSES)
def short_steps(model, images, labels, eps, *, steps=10, step_size=None, **params):
    step_size = eps / steps if step_size is None else step_size
    return pgd(model, images, labels, eps, steps=steps, step_size=step_size, **params)
