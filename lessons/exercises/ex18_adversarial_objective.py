"""Exercises of lesson 18, continued: the objective of the smallest change, for a network."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lessons.exercises.by_hand import built_once
from lessons.exercises.ex18_adversarial import lams
from lessons.exercises.ex18_adversarial_gradient import LINEAR, WIDE, linear
from minidl import Tensor, grad
from minidl.attack.minimal import perturbation_loss
from minidl.classroom.builders import Built
from minidl.classroom.compare import assert_close, assert_dtype, assert_refuses
from minidl.classroom.exercise import Exercise
from minidl.classroom.strategies import arrays

# ---- 18.5 perturbation_loss

objective = Exercise(
    "18.5",
    perturbation_loss,
    kind="model",
    points=3,
    level=3,
    minutes=25,
    title="the objective of the smallest change",
    hints=(
        "The gradient is with respect to r, so r must be a Tensor that requires a gradient. The network "
        "gets image + r.",
        "The loss is that of penalised_loss, but p is the sum over the target classes. So log p is log "
        "Σ e^z over the target classes minus log Σ e^z over all classes.",
        "change = Tensor(r.astype(image.dtype), requires_grad=True); logits = model((change + "
        "image)...)[0]. logits[target].logsumexp() is log Σ e^z over the target classes. "
        "gradient_at(change, loss) gives the gradient as an array.",
    ),
)


@st.composite
def wishes(draw):
    """A network of 3 pixels and 3 classes, an image, r, a target of one class or two, and λ."""
    model = Built("mlp", seed=draw(st.integers(0, 9)), in_features=3, hidden=(4,), num_classes=3)
    image, r = draw(arrays((3,), 0, 1)), draw(arrays((3,), -0.5, 0.5))
    target = draw(st.sampled_from([[0], [1], [2], [0, 2], [2, 1]]))
    return model, image, r, np.array(target), draw(lams)


def wanted(net, image, r, target, lam):
    """The loss, computed from the probabilities."""
    z = net(Tensor((image + r)[np.newaxis])).data[0].astype(np.float64)
    p = np.exp(z - z.max())
    return lam * (r**2).sum() - np.log(p[target].sum() / p.sum())


@objective.law(
    "for z = W x + b the loss is λ‖r‖² - log p, and the gradient is 2 λ r + Wᵀ (p - 1 at the target)"
)
def worked_objective(perturbation_loss):
    image, r = np.array([0.1, 0.7, 0.5]), np.array([0.25, 0.0, -0.5])
    W, _, p = linear(image + r)
    loss, slope = perturbation_loss(LINEAR, image, r, np.array([2]), 4.1)
    assert_close(loss, float(4.1 * 0.3125 - np.log(p[2])), **WIDE)
    assert_close(slope, 8.2 * r + W.T @ (p - [0, 0, 1]), **WIDE)
    loss, slope = perturbation_loss(LINEAR, image, r, np.array([2]), 4.1e8)  # the slopes are far from 0
    assert_close(loss, float(4.1e8 * 0.3125 - np.log(p[2])), **WIDE)
    assert_close(slope, 8.2e8 * r + W.T @ (p - [0, 0, 1]), **WIDE)
    pixel = image.reshape(3, 1, 1), r.reshape(3, 1, 1).astype(np.float32)  # one pixel of three channels
    loss, slope = perturbation_loss(LINEAR, *pixel, np.array([2]), 0.0)
    assert_close(loss, float(-np.log(p[2])), **WIDE)
    assert_close(slope, (W.T @ (p - [0, 0, 1])).reshape(3, 1, 1), **WIDE)


@objective.law("a frozen network in training mode runs in evaluation mode, and is as before afterwards")
def while_training(perturbation_loss):
    image, r, target = np.array([0.5, 0.75, 0.5]), np.array([0.25, 0.0, -0.5]), np.array([1])
    frozen = {"training": True, "requires_grad": False}
    for how in ({"training": True}, {"requires_grad": ("head",)}, frozen, {"training": ("dropout1",)}):
        model = Built("mlp", seed=2, in_features=3, hidden=(4,), num_classes=3, dropout=0.5, **how)
        loss, _ = perturbation_loss(model, image, r, target, 4.0)
        assert_close(loss, float(wanted(model.build().eval(), image, r, target, 4.0)), **WIDE)
        assert_refuses("an image of 2 pixels", perturbation_loss, model, image[:2], r[:2], target, 4.0)
    scales = Built("batch_norm", mean=[0.0] * 3, var=[1.0, 4.0, 16.0], eps=0.0, training=True)
    p = np.exp((image + r) / [1, 2, 4])
    loss, _ = perturbation_loss(scales, image, r, target, 4.0)
    assert_close(loss, float(4 * 0.3125 - np.log(p[1] / p.sum())), **WIDE)


@objective.law("the loss is λ‖r‖² - log p, where p is the sum of the probabilities of the target classes")
@given(case=wishes())
def value_of_loss(perturbation_loss, case):
    model, *rest = case
    loss, _ = perturbation_loss(model, *rest)
    assert isinstance(loss, float), f"the loss must be a float, got {type(loss).__name__}"
    assert_close(loss, float(wanted(built_once(model), *rest)), rtol=1e-4, atol=1e-6)


@objective.law("three of five classes may be the target")
def three_of_five(perturbation_loss):
    model = Built("mlp", seed=3, in_features=3, hidden=(), num_classes=5)
    image, r, target = np.array([0.5, 0.75, 0.5]), np.array([0.25, 0.0, -0.5]), np.array([4, 0, 3])
    loss, _ = perturbation_loss(model, image, r, target, 4.0)
    assert_close(loss, float(wanted(built_once(model), image, r, target, 4.0)), **WIDE)


@objective.law("the gradient with respect to r agrees with central differences")
@given(case=wishes())
def slope_of_loss(perturbation_loss, case):
    model, image, r, target, lam = case
    net, expected = built_once(model), np.zeros(3)
    for i in range(3):
        step = 1e-6 * (np.arange(3) == i)
        rise = wanted(net, image, r + step, target, lam) - wanted(net, image, r - step, target, lam)
        expected[i] = rise / 2e-6
    assert_close(perturbation_loss(*case)[1], expected, rtol=1e-4, atol=1e-5)


@objective.law("if all classes are targets, only the penalty is left: loss λ‖r‖² and gradient 2 λ r")
@given(case=wishes())
def any_class(perturbation_loss, case):
    model, image, r, _, lam = case
    loss, slope = perturbation_loss(model, image, r, np.array([0, 1, 2]), lam)
    assert_close(loss, float(lam * (r**2).sum()), rtol=1e-4, atol=1e-6)
    assert_close(slope, 2 * lam * r, rtol=1e-4, atol=1e-6)


@objective.law("an image (C, H, W) has a gradient of this shape, and float32 stays float32")
@given(seed=st.integers(0, 5), dtype=st.sampled_from([np.float32, np.float64]))
def like_the_image(perturbation_loss, seed, dtype):
    model = Built("small_cnn", seed=seed, num_classes=3, in_channels=2, widths=(3,), pool_after=())
    rng = np.random.default_rng(seed)
    image, r, way = rng.random((2, 3, 4)).astype(dtype), *rng.uniform(-0.5, 0.5, (2, 2, 3, 4))
    by_columns = np.asfortranarray(image), np.asfortranarray(r)  # in memory column by column
    loss, slope = perturbation_loss(model, *by_columns, np.array([1]), 1.0)
    assert isinstance(loss, float), f"the loss must be a float, got {type(loss).__name__}"
    assert_dtype(slope, dtype)
    assert float(dtype(loss)) == loss, (
        f"{dtype.__name__} does not hold the loss {loss}: it was computed in another"
    )
    assert_close(np.array(slope.shape), np.array([2, 3, 4]))
    up, down = (wanted(built_once(model), image, r + h * way, [1], 1.0) for h in (1e-6, -1e-6))
    if dtype == np.float64:  # along a way through all pixels the loss rises as the slope says
        assert_close((slope * way).sum(), float((up - down) / 2e-6), rtol=1e-5)


@objective.law(
    "if the target's probability is nearly 0, its loss is the difference of the logits, not infinity"
)
@given(target=st.integers(0, 2))
def far_away(perturbation_loss, target):
    image = np.full(3, 4096.0)
    _, z, _ = linear(image)
    loss, _ = perturbation_loss(LINEAR, image, np.zeros(3), np.array([target]), 1.0)
    assert_close(loss, float(z.max() - z[target]), rtol=1e-3, atol=1e-3)
    # the logits 0.5, 0.25, and 2000 or 0, where the third is likely
    pair = Built("linear", weight=[[1.0, 0.0], [0.0, 1.0], [2.0, 3.0]], bias=[0.0, 0.0, 2000.0])
    image, share = np.array([0.5, 0.25]), 1 / (1 + np.exp(-0.25))  # of the first class in both
    for classes, one, slope in (([0], 0.5, [1, 3]), ([1, 0], 0.5 - np.log(share), [2 - share, 2 + share])):
        loss, found = perturbation_loss(pair, image, np.zeros(2), np.array(classes), 1.0)
        assert_close(loss, 2001.75 - one, **WIDE)
        assert_close(found, slope, **WIDE)


def changed(model, image, r, number):
    """The loss and its gradient, from ``number`` of the logits (K,) and of the change."""
    change = Tensor(r.astype(image.dtype), requires_grad=True)
    loss = number(model((change + image).reshape(1, *image.shape))[0], change)
    return loss.item(), grad(loss, change)


@objective.mistake("gave the network r instead of x + r", breaks=objective.laws[0].text)
def change_alone(model, image, r, target, lam):
    _, by_change = perturbation_loss(model, 0 * image, r, target, lam)
    return perturbation_loss(model, 0 * image, r, target, lam)[0], by_change


@objective.mistake("left the penalty out of the gradient", breaks=objective.laws[0].text)
def free_change(model, image, r, target, lam):
    loss, by_change = perturbation_loss(model, image, r, target, lam)
    return loss, by_change - (2 * lam * r).astype(image.dtype)


@objective.mistake("penalised the whole image, x + r", breaks=objective.laws[0].text)
def penalised_image(model, image, r, target, lam):
    loss, by_change = perturbation_loss(model, image, r, target, lam)
    whole, more = (image + r).astype(np.float64), (2 * lam * image).astype(image.dtype)
    return loss + float(lam * ((whole**2).sum() - (r**2).sum())), by_change + more


@objective.mistake(
    "added the losses of the target classes, instead of adding their probabilities",
    breaks="the loss is λ‖r‖² - log p, where p is the sum of the probabilities of the target classes",
)
def every_class(model, image, r, target, lam):
    def number(logits, change):
        return lam * (change * change).sum() - (logits - logits.logsumexp())[target].sum()

    return changed(model, image, r, number)


@objective.mistake(
    "used only the most likely target class",
    breaks="the loss is λ‖r‖² - log p, where p is the sum of the probabilities of the target classes",
)
def likeliest_of_target(model, image, r, target, lam):
    def number(logits, change):
        return lam * (change * change).sum() - (logits[target].max() - logits.logsumexp())

    return changed(model, image, r, number)
