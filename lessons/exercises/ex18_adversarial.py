"""Exercises of lesson 18: a step by the sign of the gradient, a penalised loss, the nearest boundary."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minidl.attack.boundary import boundary_step
from minidl.attack.gradient_sign import fgsm_step
from minidl.attack.minimal import penalised_loss
from minidl.classroom.compare import assert_close, assert_dtype, assert_gradients
from minidl.classroom.exercise import Exercise
from minidl.classroom.strategies import arrays, quarters

# The three pixels in the example of lesson 18, and the gradient of their loss.
PIXELS = np.array([0.5, 0.75, 0.5])
GRADIENT = np.array([-2.0, 1.0, 0.0])
FREE = (-np.inf, np.inf)
eps_values = st.sampled_from([0.25, 0.0, 0.5, 1.0, 0.125])


@st.composite
def pictures(draw):
    """Images in [0, 1] and a gradient of their shape, with some zeros."""
    shape = draw(st.sampled_from([(4,), (2, 3), (2, 1, 2, 2)]))
    return draw(arrays(shape, 0, 1)), draw(arrays(shape))


# ---- 18.1 fgsm_step

step = Exercise(
    "18.1",
    fgsm_step,
    points=1,
    minutes=10,
    title="a step by the sign of the gradient",
    hints=(
        "Each pixel moves by eps in the direction in which the loss grows. The sign of the gradient is "
        "this direction.",
        "If targeted, the loss should fall, so pixels move the other way. np.clip keeps the pixels in "
        "the box.",
        "np.clip(images + eps * ..., *bounds). What is np.sign(0)?",
    ),
)


@step.law("pixels (0.5, 0.75, 0.5) with gradient (-2, 1, 0) and eps 0.375 become (0.125, 1, 0.5)")
def worked_step(fgsm_step):
    assert_close(fgsm_step(PIXELS, GRADIENT, 0.375), [0.125, 1.0, 0.5])


@step.law("with targeted=True they become (0.875, 0.375, 0.5)")
def worked_targeted_step(fgsm_step):
    assert_close(fgsm_step(PIXELS, GRADIENT, 0.375, targeted=True), [0.875, 0.375, 0.5])


@step.law("without a box the linearised loss g · (x' - x) grows by eps times the sum of |g|")
@given(case=pictures(), eps=eps_values)
def best_of_linear_steps(fgsm_step, case, eps):
    x, g = case
    rise = (g * (fgsm_step(x, g, eps, bounds=FREE) - x)).sum()
    assert_close(rise, eps * float(np.abs(g).sum()))


@step.law("only the signs of the gradient matter, not its size")
@given(case=pictures(), eps=eps_values)
def only_signs(fgsm_step, case, eps):
    x, g = case
    by_columns = np.asfortranarray(0.125 * g)  # in memory column by column
    assert_close(fgsm_step(x, by_columns, eps), fgsm_step(x, g, eps))


@step.law("pixels with gradient 0 do not change")
@given(case=pictures(), eps=eps_values, targeted=st.booleans())
def zero_stays(fgsm_step, case, eps, targeted):
    x, g = case
    moved = fgsm_step(x, g, eps, targeted=targeted)
    assert_close(moved[g == 0], x[g == 0])
    assert_close(fgsm_step(x, np.full_like(x, -0.0), eps, targeted=targeted), x)


@step.law("the result lies in the given box")
@given(case=pictures(), eps=eps_values, targeted=st.booleans())
def in_the_box(fgsm_step, case, eps, targeted):
    x, g = case
    moved = fgsm_step(x, g, eps, targeted=targeted)  # the default box is [0, 1]
    assert_close(moved, np.clip(moved, 0, 1))
    x = 4 * x - 2  # in [-2, 2]
    wide = fgsm_step(x, g, eps, targeted=targeted, bounds=(-2.0, 2.0))
    assert_close(wide, np.clip(wide, -2, 2))
    assert_close(wide, np.clip(wide, x - eps, x + eps))  # a clip to [0, 1] would move pixels further
    edges = fgsm_step(
        np.array([-1.0, 3.0]), np.array([-1.0, 1.0]), 8.0, targeted=targeted, bounds=(-1.0, 3.0)
    )
    assert_close(edges, [3.0, -1.0] if targeted else [-1.0, 3.0])
    tenths = fgsm_step(np.full(2, 0.5), np.array([-1.0, 1.0]), 0.5, targeted=targeted, bounds=(0.1, 0.7))
    assert_close(tenths, [0.7, 0.1] if targeted else [0.1, 0.7], rtol=1e-12, atol=0)
    within = fgsm_step(np.full(2, 0.5), np.array([-1.0, 1.0]), 0.375, targeted=targeted, bounds=(0.25, 0.75))
    assert_close(within, [0.75, 0.25] if targeted else [0.25, 0.75])
    g = np.array([1.0 if targeted else -1.0])
    assert_close(fgsm_step(np.array([0.5]), g, 0.375, targeted=targeted, bounds=(0.25, np.inf)), [0.25])


@step.law("gradients of 1e-45, 1 and infinity move a pixel equally far; the result has the images' dtype")
def faint_gradients(step):
    images = np.full((1, 1, 1, 4), 0.5, np.float32)
    gradient = np.array([1e-45, -1.0, np.inf, -np.inf], np.float32).reshape(images.shape)
    for dtype in (np.float32, np.float64):
        moved = step(images.astype(dtype), gradient.astype(dtype), 0.25)
        assert_close(moved.ravel(), [0.75, 0.25, 0.75, 0.25])
        assert_dtype(moved, dtype)
        assert_dtype(step(images.astype(dtype), gradient.astype(dtype), 0.0), dtype)
        smallest = np.array([1, -1], dtype) * np.nextafter(dtype(0), dtype(1))
        moved = step(np.full(2, 0.5, dtype), smallest, 0.75, targeted=True, bounds=FREE)
        assert_close(moved, [-0.25, 1.25])
        assert_dtype(moved, dtype)
    assert_close(step(np.array([0.1]), np.ones(1), 0.2), [0.1 + 0.2], rtol=1e-12)  # float64 has more digits
    assert_close(step(np.array([0.0, 1e7]), np.ones(2), 1e-10, bounds=FREE), [1e-10, 1e7], atol=0)
    assert_close(step(np.array([0.0, 1e7]), np.ones(2), 300.0, bounds=FREE), [300, 10000300])


@step.mistake("followed the gradient itself, not its sign", breaks=step.laws[0].text)
def by_the_gradient(images, gradient, eps, *, targeted=False, bounds=(0, 1)):
    return np.clip(images + (-eps if targeted else eps) * gradient, *bounds)


@step.mistake("did not reverse the direction for a target", breaks=step.laws[1].text)
def always_up(images, gradient, eps, *, targeted=False, bounds=(0, 1)):
    return np.clip(images + eps * np.sign(gradient), *bounds)


@step.mistake("counted a gradient of 0 as positive", breaks=step.laws[0].text)
def zero_is_positive(images, gradient, eps, *, targeted=False, bounds=(0, 1)):
    direction = np.where(gradient >= 0, 1, -1)
    return np.clip(images + (-eps if targeted else eps) * direction, *bounds)


@step.mistake("always clipped to [0, 1]", breaks="the result lies in the given box")
def fixed_box(images, gradient, eps, *, targeted=False, bounds=(0, 1)):
    moved = images + (-eps if targeted else eps) * np.sign(gradient)
    return moved if np.isinf(bounds[1]) else np.clip(moved, 0, 1)


# ---- 18.3 penalised_loss

penalised = Exercise(
    "18.3",
    penalised_loss,
    points=2,
    level=2,
    minutes=15,
    kind="tensor",
    title="a target and a price for the change",
    hints=(
        "The loss has two parts: it falls if the target becomes more probable, and if the change "
        "becomes smaller.",
        "-Φ is the cross-entropy of the target. Compute Φ from the logits with F.log_softmax. ‖r‖² is "
        "the sum of the squares of r.",
        "lam * (r * r).sum() minus the target's log-probability. Use F.log_softmax, not the log of a "
        "softmax, which may be infinite.",
    ),
)
targets = st.integers(0, 2)
lams = st.sampled_from([1.0, 0.25, 4.0])


@penalised.law("two equal logits and r = (3, 4) give log 2 + 25 lam")
def worked_loss(penalised_loss):
    loss, _ = penalised_loss(np.zeros(2), np.array([3.0, 4.0]), target=1, lam=0.125)
    assert_close(loss, float(np.log(2) + 25 * 0.125))
    assert_close(penalised_loss(np.zeros(2), np.array([3.0, 4.0]), target=1, lam=0.0)[0], float(np.log(2)))
    for r in (np.array(5.0), np.array([[[[3.0], [4.0]]]])):
        assert_close(penalised_loss(np.zeros(2), r, target=1, lam=0.125)[0], loss)
    z, r = np.arange(5.0), np.array([0.1])  # five classes, the last one is the target
    expected = float(np.log(np.exp(z).sum()) - 4 + 0.1 * 0.1**2)
    assert_close(penalised_loss(z, r, target=4, lam=0.1)[0], expected, rtol=1e-12, atol=0)


@penalised.law("the gradient with respect to r is 2 lam r, so it is 0 at r = 0")
@given(z=arrays((3,)), r=arrays((1, 2, 2)), target=targets, lam=lams)
def gradient_of_r(penalised_loss, z, r, target, lam):
    _, (_, by_r) = penalised_loss(z, r, target=target, lam=lam, grad=np.array(1.0))
    assert_close(by_r, 2 * lam * r)


@penalised.law("the gradient with respect to the logits is p - (1 at the target)")
@given(z=arrays((3,)), r=arrays((1, 2, 2)), target=targets, lam=lams)
def gradient_of_logits(penalised_loss, z, r, target, lam):
    _, (by_z, _) = penalised_loss(z, r, target=target, lam=lam, grad=np.array(1.0))
    p = np.exp(z) / np.exp(z).sum()
    assert_close(by_z, p - (np.arange(3) == target))


@penalised.law("adding the same number to all logits does not change the loss, even 1000")
@given(z=arrays((3,)), r=arrays((4,)), target=targets, lam=lams)
def shift_of_logits(penalised_loss, z, r, target, lam):
    loss, _ = penalised_loss(z, r, target=target, lam=lam)
    shifted, _ = penalised_loss(z + 1000, r, target=target, lam=lam)
    assert_close(shifted, loss)


@penalised.law("the gradients agree with finite differences")
@given(z=arrays((3,)), r=arrays((2, 2)), target=targets, lam=lams)
def finite_differences(penalised_loss, z, r, target, lam):
    assert_gradients(penalised_loss, z, r, target=target, lam=lam)


@penalised.law("if the target's logit is 2000 below the other one, the loss is 2000, not infinite")
def far_apart(penalised):
    loss, _ = penalised(np.array([1000.0, -1000.0]), np.zeros(2), target=1, lam=1.0)
    assert_close(loss, 2000.0)


@penalised.mistake("penalised the norm, not its square", breaks=penalised.laws[0].text)
def norm_itself(logits, r, target, lam):
    return lam * ((r * r).sum() + 1e-12).sqrt() - (logits - logits.logsumexp())[target]


@penalised.mistake("used the logit instead of the log-probability", breaks=penalised.laws[0].text)
def raw_logit(logits, r, target, lam):
    return lam * (r * r).sum() - logits[target]


@penalised.mistake("subtracted the penalty instead of adding it", breaks=penalised.laws[0].text)
def wrong_sign(logits, r, target, lam):
    return -lam * (r * r).sum() - (logits - logits.logsumexp())[target]


# ---- 18.4 boundary_step

boundary = Exercise(
    "18.4",
    boundary_step,
    points=2,
    level=2,
    minutes=25,
    title="the shortest step to a boundary",
    hints=(
        "On the plane f_k + w_k · r = 0, class k has the same logit as the answer. The shortest r to "
        "this plane is parallel to w_k.",
        "The length of this r is |f_k| / ‖w_k‖. Take the class with the smallest length. A class with "
        "w_k = 0 has no plane.",
        "norms = np.sqrt((w**2).sum(axis=1)), with w of shape (K, D). Divide only where norms > 0. r is "
        "w[k] times a number.",
    ),
)


@st.composite
def linear_logits(draw):
    """Logits (3,), their gradients (3, 2, 2), large or small, and the class with the largest logit."""
    shape = draw(st.sampled_from([(3, 2, 2), (4, 1, 2, 2), (2, 3)]))
    z, size = draw(arrays(shape[:1])), draw(st.sampled_from([1.0, 0.125]))
    return z, size * draw(arrays(shape)), int(z.argmax())


def ways(z, gradients, answer):
    """f, w and the distance for each other class with a plane."""
    for k in range(len(z)):
        f, w = z[k] - z[answer], gradients[k] - gradients[answer]
        if k != answer and np.abs(w).max() > 0:
            yield f, w, abs(f) / np.sqrt((w**2).sum())


@boundary.law("logits (5, 0, 2) with w = (3, 4), (0, 1): the planes are 1 and 3 away, so r = (0.6, 0.8)")
def worked_boundary(boundary_step):
    z, gradients = np.array([5.0, 0, 2]), np.array([[1.0, 1], [4, 5], [1, 2]])
    assert_close(boundary_step(z, gradients, 0), [0.6, 0.8])
    assert_close(boundary_step(z + 2.0**25, gradients, 0), [0.6, 0.8])  # float32 rounds these logits
    for faint in (1e-8, 1e-14, 1e-100):  # the planes are further away
        expected = np.array([0.6, 0.8]) / faint
        assert_close(boundary_step(z, faint * gradients, 0), expected)
        assert_close(boundary_step(z[::-1], faint * gradients[::-1], 2), expected)
        assert_close(boundary_step(faint * z, gradients, 0), expected * faint**2, atol=0)  # they are near
        assert_close(boundary_step(faint * z[::-1], gradients[::-1], 2), expected * faint**2, atol=0)
    assert_close(boundary_step(z / 3, gradients / 7, 0), [1.4, 28 / 15], rtol=1e-12)  # float32 has no thirds
    uneven = np.array([[0.0, 0.0], [3e-6, 4e-6], [300.0, 400.0]])  # the flat class has the nearest plane
    assert_close(boundary_step(np.array([5.0, 5 - 1e-5, -5e5]), uneven, 0), [1.2, 1.6])
    steep = np.zeros((12, 2))
    steep[11] = [3.0, 4.0]  # of twelve classes, the one with the smallest logit has the only plane
    assert_close(boundary_step(np.arange(50.0, -10.0, -5.0), steep, 0), [6.6, 8.8])


@boundary.law("the length of the step is the smallest of the distances |f_k| / ‖w_k‖")
@given(case=linear_logits())
def smallest_distance(boundary_step, case):
    distances = [distance for *_, distance in ways(*case)]
    length = np.sqrt((boundary_step(*case) ** 2).sum())
    assert_close(length, float(min(distances, default=0.0)))


@boundary.law(
    "in the linear model, one class has the answer's logit after the step, and no class a larger one"
)
@given(case=linear_logits())
def lands_on_a_plane(boundary_step, case):
    r = boundary_step(*case)
    after = [f + (w * r).sum() for f, w, _ in ways(*case)]
    assert_close(np.array(max(after, default=0.0)), 0.0)


@boundary.law("a class with the same gradient as the answer has no plane; if no class has a plane, r = 0")
@given(z=arrays((3,)), g=arrays((2, 2)))
def no_plane(boundary_step, z, g):
    assert_close(boundary_step(z, np.stack([g, g, g]), int(z.argmax())), np.zeros((2, 2)))
    assert_close(boundary_step(np.ones(1), g[np.newaxis], 0), np.zeros((2, 2)))  # the answer has no rival
    faint = np.array([[0.0, 0.0], [1e-200, 0.0]])  # whose square is 0
    assert_close(boundary_step(np.array([1.0, 0.0]), faint, 0), [0.0, 0.0])
    alike = np.array([[1.0, 1.0], [1.0, 1.0], [1.0, 2.0]])  # the first two, in logit and gradient
    assert_close(boundary_step(np.array([5.0, 5.0, 2.0]), alike, 0), [0.0, 3.0])


@boundary.law("float64 stays float64, and the result has the shape of one image")
@given(case=linear_logits(), shift=quarters())
def shape_and_dtype(boundary_step, case, shift):
    z, gradients, answer = case
    by_columns = np.asfortranarray(gradients)  # in memory column by column
    r = boundary_step(z + shift, by_columns, answer)
    assert_dtype(r, np.float64)
    assert r.shape == gradients.shape[1:], f"r has the shape {r.shape}, one image {gradients.shape[1:]}"
    assert_close(r, boundary_step(z, gradients, answer))


@boundary.mistake("divided by ‖w_k‖ instead of ‖w_k‖²", breaks=boundary.laws[0].text)
def norm_once(logits, gradients, answer):
    best = min(ways(logits, gradients, answer), key=lambda way: way[2], default=None)
    return np.zeros(gradients.shape[1:]) if best is None else best[2] * best[1]


@boundary.mistake(
    "used the plane of the second largest logit, not the nearest plane", breaks=boundary.laws[0].text
)
def runner_up(logits, gradients, answer):
    best = min(ways(logits, gradients, answer), key=lambda way: abs(way[0]), default=None)
    return (
        np.zeros(gradients.shape[1:]) if best is None else best[2] ** 2 / max(abs(best[0]), 1e-12) * best[1]
    )


@boundary.mistake("moved away from the plane", breaks=boundary.laws[0].text)
def away(logits, gradients, answer):
    best = min(ways(logits, gradients, answer), key=lambda way: way[2], default=None)
    return (
        np.zeros(gradients.shape[1:]) if best is None else -(best[2] ** 2) / min(best[0], -1e-12) * -best[1]
    )
