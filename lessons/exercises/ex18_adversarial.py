"""Exercises of lesson 18: a step by the sign, gradients of a network, a smallest change, a boundary, PGD."""

import warnings

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from minidl import Tensor, grad
from minidl.attack.gradient_sign import LOSSES, fgsm_step, loss_gradient, pgd, project
from minidl.attack.minimal import boundary_step, penalised_loss, perturbation_loss
from minidl.classroom.builders import Built
from minidl.classroom.compare import assert_close, assert_dtype, assert_gradients, assert_refuses
from minidl.classroom.exercise import Exercise
from minidl.classroom.strategies import arrays, quarters

# The three pixels that lesson 18 works out, and the gradient of their loss.
PIXELS = np.array([0.5, 0.75, 0.5])
GRADIENT = np.array([-2.0, 1.0, 0.0])
FREE = (-np.inf, np.inf)
eps_values = st.sampled_from([0.25, 0.0, 0.5, 1.0, 0.125])


@st.composite
def pictures(draw):
    """Images in [0, 1] and a gradient of their shape, zeros among its values."""
    shape = draw(st.sampled_from([(4,), (2, 3), (2, 1, 2, 2)]))
    return draw(arrays(shape, 0, 1)), draw(arrays(shape))


# ---- 18.1 fgsm_step

step = Exercise(
    "18.1",
    fgsm_step,
    points=1,
    minutes=10,
    hints=(
        "Every pixel moves by eps, in the direction in which the loss grows: that is the gradient's sign.",
        "Towards a target the loss should fall: the other direction. np.clip keeps the pixels in the box.",
        "np.clip(images + eps * ..., *bounds); what does np.sign make of 0?",
    ),
)


@step.law("(0.5, 0.75, 0.5) with gradient (-2, 1, 0) and eps 0.375 becomes (0.125, 1, 0.5)")
def worked_step(fgsm_step):
    assert_close(fgsm_step(PIXELS, GRADIENT, 0.375), [0.125, 1.0, 0.5])


@step.law("towards a target it becomes (0.875, 0.375, 0.5)")
def worked_targeted_step(fgsm_step):
    assert_close(fgsm_step(PIXELS, GRADIENT, 0.375, targeted=True), [0.875, 0.375, 0.5])


@step.law("without a box the linearised loss g · (x' - x) grows by eps times the sum of |g|")
@given(case=pictures(), eps=eps_values)
def best_of_linear_steps(fgsm_step, case, eps):
    x, g = case
    rise = (g * (fgsm_step(x, g, eps, bounds=FREE) - x)).sum()
    assert_close(rise, eps * float(np.abs(g).sum()))


@step.law("only the gradient's signs matter, not how large it is")
@given(case=pictures(), eps=eps_values)
def only_signs(fgsm_step, case, eps):
    x, g = case
    assert_close(fgsm_step(x, 0.125 * g, eps), fgsm_step(x, g, eps))


@step.law("where the gradient is 0 nothing moves")
@given(case=pictures(), eps=eps_values, targeted=st.booleans())
def zero_stays(fgsm_step, case, eps, targeted):
    x, g = case
    moved = fgsm_step(x, g, eps, targeted=targeted)
    assert_close(moved[g == 0], x[g == 0])


@step.law("what comes out lies in the box that is asked for")
@given(case=pictures(), eps=eps_values, targeted=st.booleans())
def in_the_box(fgsm_step, case, eps, targeted):
    x, g = case
    moved = fgsm_step(x, g, eps, targeted=targeted)  # the box is [0, 1] if nothing is said
    assert_close(moved, np.clip(moved, 0, 1))
    x = 4 * x - 2  # in [-2, 2]
    wide = fgsm_step(x, g, eps, targeted=targeted, bounds=(-2.0, 2.0))
    assert_close(wide, np.clip(wide, -2, 2))
    assert_close(wide, np.clip(wide, x - eps, x + eps))  # a narrower box would take pixels further


@step.law("a gradient of 1e-30 moves a pixel as far as one of 1, and float32 stays float32")
def faint_gradients(step):
    images = np.full((1, 1, 1, 2), 0.5, np.float32)
    gradient = np.array([1e-30, -1.0], np.float32).reshape(images.shape)
    moved = step(images, gradient, 0.25)
    assert_close(moved.ravel(), [0.75, 0.25])
    assert_dtype(moved, np.float32)


@step.mistake("followed the gradient itself, not its sign", breaks=step.laws[0].text)
def by_the_gradient(images, gradient, eps, *, targeted=False, bounds=(0, 1)):
    return np.clip(images + (-eps if targeted else eps) * gradient, *bounds)


@step.mistake("forgot to turn round for a target", breaks=step.laws[1].text)
def always_up(images, gradient, eps, *, targeted=False, bounds=(0, 1)):
    return np.clip(images + eps * np.sign(gradient), *bounds)


@step.mistake("took 0 for positive", breaks=step.laws[0].text)
def zero_is_positive(images, gradient, eps, *, targeted=False, bounds=(0, 1)):
    direction = np.where(gradient >= 0, 1, -1)
    return np.clip(images + (-eps if targeted else eps) * direction, *bounds)


@step.mistake("always clipped to [0, 1]", breaks="what comes out lies in the box that is asked for")
def fixed_box(images, gradient, eps, *, targeted=False, bounds=(0, 1)):
    moved = images + (-eps if targeted else eps) * np.sign(gradient)
    return moved if np.isinf(bounds[1]) else np.clip(moved, 0, 1)


# ---- 18.2 loss_gradient

slope = Exercise(
    "18.2",
    loss_gradient,
    kind="model",
    points=2,
    level=2,
    minutes=20,
    hints=(
        "An attack asks how the loss depends on the image, so it is the image that must require a gradient.",
        "x = Tensor(images, requires_grad=True), the loss of model(x), and grad(loss, x). In a mean over the "
        "images each gradient would be N times too small.",
        "with eval_mode(model): grad(LOSSES[loss](model(x), labels), x); what if it is not finite?",
    ),
)
LINEAR = Built("mlp", seed=3, in_features=3, hidden=(), num_classes=3)


def linear(images):
    """W (3, 3), and the logits W x + b and probabilities of each image by ``LINEAR``."""
    head = LINEAR.build().head
    W = head.weight.data.astype(np.float64)
    z = images @ W.T + head.bias.data
    return W, z, np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True)


@st.composite
def attacked(draw, classes=3):
    """A network of 3 pixels, two images in [0, 1], their labels, and a loss."""
    model = Built("mlp", seed=draw(st.integers(0, 9)), in_features=3, hidden=(4,), num_classes=classes)
    labels = [draw(st.integers(0, classes - 1)) for _ in range(2)]
    return model, draw(arrays((2, 3), 0, 1)), np.array(labels), draw(st.sampled_from(tuple(LOSSES)))


def losses(net, images, labels, loss):
    """J of each image (N,), in float64."""
    z, own = net(Tensor(images)).data, (np.arange(len(labels)), labels)
    if loss == "margin":
        others = z.copy()
        others[own] = -np.inf
        return others.max(axis=1) - z[own]
    return np.log(np.exp(z).sum(axis=1)) - z[own]


def differences(net, images, labels, loss="cross_entropy"):
    """The gradient of each image's loss by central differences, value by value."""
    slopes, h = np.zeros(images.shape), 1e-6
    for i in range(images.shape[1]):
        step = h * (np.arange(images.shape[1]) == i)
        rise = losses(net, images + step, labels, loss) - losses(net, images - step, labels, loss)
        slopes[:, i] = rise / (2 * h)
    return slopes


@slope.law("of a linear network z = W x + b the cross-entropy's gradient is Wᵀ (p - 1 at the label)")
def worked_linear(loss_gradient):
    images, labels = np.array([[0.5, 0.75, 0.5], [0.25, 0.0, 1.0]]), np.array([0, 2])
    W, _, p = linear(images)
    expected = (p - np.eye(3)[labels]) @ W
    assert_close(loss_gradient(LINEAR, images, labels), expected, rtol=1e-4, atol=1e-6)


@slope.law("of this network the margin's gradient is w_k - w_label, k the likeliest other class")
def worked_margin(loss_gradient):
    images, labels = np.array([[0.5, 0.75, 0.5], [0.25, 0.0, 1.0]]), np.array([0, 2])
    W, z, _ = linear(images)
    z[[0, 1], labels] = -np.inf
    expected = W[z.argmax(axis=1)] - W[labels]
    assert_close(loss_gradient(LINEAR, images, labels, "margin"), expected, rtol=1e-4, atol=1e-6)


@slope.law("each value is the slope of its own image's loss, by central differences")
@given(case=attacked())
def by_slopes(loss_gradient, case):
    model, images, labels, loss = case
    expected = differences(model.build(), images, labels, loss)
    assert_close(loss_gradient(model, images, labels, loss), expected, rtol=1e-4, atol=1e-6)


@slope.law("an image among 20 has the gradient that it has alone, and float32 stays float32")
@given(seed=st.integers(0, 5), n=st.sampled_from([0, 7, 19]))
def each_image_alone(loss_gradient, seed, n):
    model = Built("small_cnn", seed=seed, num_classes=3, in_channels=2, widths=(3,), pool_after=(1,))
    images = np.random.default_rng(seed).random((20, 2, 4, 6)).astype(np.float32)
    labels = np.arange(20) % 3
    together = loss_gradient(model, images, labels)
    assert_dtype(together, np.float32)
    alone = loss_gradient(model, images[n : n + 1], labels[n : n + 1])
    assert_close(together[n : n + 1], alone, rtol=1e-3, atol=1e-6)
    assert_dtype(loss_gradient(model, images[:1].astype(np.float64), labels[:1]), np.float64)


@slope.law("a gradient that is not finite raises FloatingPointError")
@given(label=st.integers(0, 2))
def not_finite(loss_gradient, label):
    images = np.full((1, 3), 3e38, np.float32)  # the logits overflow
    try:
        with np.errstate(all="ignore"):
            gradient = loss_gradient(LINEAR, 4 * images / 4, np.array([label]))
    except FloatingPointError:
        return
    raise AssertionError(f"images of 3e38 gave {gradient.tolist()}, no FloatingPointError")


def gradient_of_number(model, images, number):
    """The gradient of what ``number`` makes of the logits, checked as the exercise asks."""
    x = Tensor(images, requires_grad=True)
    gradient = grad(number(model(x)), x)
    if not np.isfinite(gradient).all():
        raise FloatingPointError("not finite")
    return gradient


@slope.mistake(
    "took the mean over the images, so each gradient is N times too small", breaks=slope.laws[0].text
)
def mean_loss(model, images, labels, loss="cross_entropy"):
    return loss_gradient(model, images, labels, loss) / len(images)


@slope.mistake("took the slope of the label's logit, not of the loss", breaks=slope.laws[0].text)
def of_the_logit(model, images, labels, loss="cross_entropy"):
    own = (np.arange(len(labels)), labels)
    return gradient_of_number(model, images, lambda logits: -logits[own].sum())


@slope.mistake("went down the loss", breaks=slope.laws[0].text)
def downhill(model, images, labels, loss="cross_entropy"):
    return -loss_gradient(model, images, labels, loss)


@slope.mistake("the cross-entropy, whatever loss is asked for", breaks=slope.laws[1].text)
def one_loss(model, images, labels, loss="cross_entropy"):
    return loss_gradient(model, images, labels)


# ---- 18.3 penalised_loss

penalised = Exercise(
    "18.3",
    penalised_loss,
    points=2,
    level=2,
    minutes=15,
    kind="tensor",
    hints=(
        "Two wishes in one number: the target should be probable, and the change small.",
        "-Φ is the cross-entropy of the target, from logits: F.log_softmax. ‖r‖² is the sum of r's squares.",
        "lam * (r * r).sum() less the target's log-probability, of a log_softmax and not of a softmax's log",
    ),
)
targets = st.integers(0, 2)
lams = st.sampled_from([1.0, 0.25, 4.0])


@penalised.law("two classes alike and r = (3, 4): log 2 + 25 lam")
def worked_loss(penalised_loss):
    loss, _ = penalised_loss(np.zeros(2), np.array([3.0, 4.0]), target=1, lam=0.125)
    assert_close(loss, float(np.log(2) + 25 * 0.125))


@penalised.law("r has the gradient 2 lam r: none where nothing has changed")
@given(z=arrays((3,)), r=arrays((1, 2, 2)), target=targets, lam=lams)
def gradient_of_r(penalised_loss, z, r, target, lam):
    _, (_, by_r) = penalised_loss(z, r, target=target, lam=lam, grad=np.array(1.0))
    assert_close(by_r, 2 * lam * r)


@penalised.law("the logits have the gradient p - (1 at the target)")
@given(z=arrays((3,)), r=arrays((1, 2, 2)), target=targets, lam=lams)
def gradient_of_logits(penalised_loss, z, r, target, lam):
    _, (by_z, _) = penalised_loss(z, r, target=target, lam=lam, grad=np.array(1.0))
    p = np.exp(z) / np.exp(z).sum()
    assert_close(by_z, p - (np.arange(3) == target))


@penalised.law("the same number added to all logits changes nothing, even 1000")
@given(z=arrays((3,)), r=arrays((4,)), target=targets, lam=lams)
def shift_of_logits(penalised_loss, z, r, target, lam):
    loss, _ = penalised_loss(z, r, target=target, lam=lam)
    shifted, _ = penalised_loss(z + 1000, r, target=target, lam=lam)
    assert_close(shifted, loss)


@penalised.law("its gradients are those of finite differences")
@given(z=arrays((3,)), r=arrays((2, 2)), target=targets, lam=lams)
def finite_differences(penalised_loss, z, r, target, lam):
    assert_gradients(penalised_loss, z, r, target=target, lam=lam)


@penalised.law("logits 2000 apart: the loss is 2000, not infinite")
def far_apart(penalised):
    loss, _ = penalised(np.array([1000.0, -1000.0]), np.zeros(2), target=1, lam=1.0)
    assert_close(loss, 2000.0)


@penalised.mistake("penalised the norm, not its square", breaks=penalised.laws[0].text)
def norm_itself(logits, r, target, lam):
    return lam * ((r * r).sum() + 1e-12).sqrt() - (logits - logits.logsumexp())[target]


@penalised.mistake("took the logit for the log-probability", breaks=penalised.laws[0].text)
def raw_logit(logits, r, target, lam):
    return lam * (r * r).sum() - logits[target]


@penalised.mistake("rewarded a large change", breaks=penalised.laws[0].text)
def wrong_sign(logits, r, target, lam):
    return -lam * (r * r).sum() - (logits - logits.logsumexp())[target]


# ---- 18.4 boundary_step

boundary = Exercise(
    "18.4",
    boundary_step,
    points=2,
    level=2,
    minutes=25,
    hints=(
        "On the plane f_k + w_k · r = 0 class k ties with the answer. The shortest r onto it is along w_k.",
        "Its length is |f_k| / ‖w_k‖; take the class for which that is smallest. w_k = 0 has no plane.",
        "norms = np.sqrt((w**2).sum(axis=1)) of w (K, D); distances only where norms > 0; r along w[k]",
    ),
)


@st.composite
def linear_logits(draw):
    """Logits (3,), their gradients (3, 2, 2), large or small, and the class with the largest logit."""
    z, size = draw(arrays((3,))), draw(st.sampled_from([1.0, 0.125]))
    return z, size * draw(arrays((3, 2, 2))), int(z.argmax())


def ways(z, gradients, answer):
    """Of each other class that has a plane: f, w and the distance."""
    for k in range(len(z)):
        f, w = z[k] - z[answer], gradients[k] - gradients[answer]
        if k != answer and np.abs(w).max() > 0:
            yield f, w, abs(f) / np.sqrt((w**2).sum())


@boundary.law("z = (5, 0, 2), w = ((3, 4), (0, 1)): the planes are 1 and 3 away, r = (0.6, 0.8)")
def worked_boundary(boundary_step):
    z, gradients = np.array([5.0, 0, 2]), np.array([[1.0, 1], [4, 5], [1, 2]])
    assert_close(boundary_step(z, gradients, 0), [0.6, 0.8])


@boundary.law("the step's length is the smallest of the distances |f_k| / ‖w_k‖")
@given(case=linear_logits())
def smallest_distance(boundary_step, case):
    distances = [distance for *_, distance in ways(*case)]
    length = np.sqrt((boundary_step(*case) ** 2).sum())
    assert_close(length, float(min(distances, default=0.0)))


@boundary.law("after it some class ties with the answer, by the linear model, and none has passed it")
@given(case=linear_logits())
def lands_on_a_plane(boundary_step, case):
    r = boundary_step(*case)
    after = [f + (w * r).sum() for f, w, _ in ways(*case)]
    assert_close(np.array(max(after, default=0.0)), 0.0)


@boundary.law("a class whose gradient is the answer's has no plane; without any plane r = 0")
@given(z=arrays((3,)), g=arrays((2, 2)))
def no_plane(boundary_step, z, g):
    assert_close(boundary_step(z, np.stack([g, g, g]), int(z.argmax())), np.zeros((2, 2)))


@boundary.law("float64 stays float64, and the answer is in the shape of one image")
@given(case=linear_logits(), shift=quarters())
def shape_and_dtype(boundary_step, case, shift):
    z, gradients, answer = case
    r = boundary_step(z + shift, gradients, answer)
    assert_dtype(r, np.float64)
    assert_close(r, boundary_step(z, gradients, answer))


@boundary.mistake("divided by the norm once", breaks=boundary.laws[0].text)
def norm_once(logits, gradients, answer):
    best = min(ways(logits, gradients, answer), key=lambda way: way[2], default=None)
    return np.zeros(gradients.shape[1:]) if best is None else best[2] * best[1]


@boundary.mistake("took the second largest logit for the nearest plane", breaks=boundary.laws[0].text)
def runner_up(logits, gradients, answer):
    best = min(ways(logits, gradients, answer), key=lambda way: abs(way[0]), default=None)
    return (
        np.zeros(gradients.shape[1:]) if best is None else best[2] ** 2 / max(abs(best[0]), 1e-12) * best[1]
    )


@boundary.mistake("walked away from the plane", breaks=boundary.laws[0].text)
def away(logits, gradients, answer):
    best = min(ways(logits, gradients, answer), key=lambda way: way[2], default=None)
    return (
        np.zeros(gradients.shape[1:]) if best is None else -(best[2] ** 2) / min(best[0], -1e-12) * -best[1]
    )


# ---- 18.5 perturbation_loss

objective = Exercise(
    "18.5",
    perturbation_loss,
    kind="model",
    points=3,
    level=3,
    minutes=25,
    hints=(
        "It is r that changes, so r is the Tensor that requires a gradient; the network sees image + r.",
        "The loss is that of penalised_loss. Classes of which any will do have the joint probability Σ p, "
        "that is log Σ e^z over them less log Σ e^z over all.",
        "change = Tensor(r.astype(image.dtype), requires_grad=True); logits = model((change + image)...)[0]; "
        "logits[target].logsumexp() is the target's part",
    ),
)


@st.composite
def wishes(draw):
    """A network of 3 pixels and 3 classes, an image, r, a target of one class or two, and λ."""
    model = Built("mlp", seed=draw(st.integers(0, 9)), in_features=3, hidden=(4,), num_classes=3)
    image, r = draw(arrays((3,), 0, 1)), draw(arrays((3,), -0.5, 0.5))
    target = draw(st.sampled_from([[0], [1], [2], [0, 2], [1, 2]]))
    return model, image, r, np.array(target), draw(lams)


def wanted(net, image, r, target, lam):
    """The loss from the probabilities themselves."""
    z = net(Tensor((image + r)[np.newaxis])).data[0].astype(np.float64)
    p = np.exp(z - z.max())
    return lam * (r**2).sum() - np.log(p[target].sum() / p.sum())


@objective.law("z = W x + b: λ‖r‖² - log p, and the gradient 2 λ r + Wᵀ (p - 1 at the target)")
def worked_objective(perturbation_loss):
    image, r = np.array([0.5, 0.75, 0.5]), np.array([0.25, 0.0, -0.5])
    W, _, p = linear(image + r)
    loss, slope = perturbation_loss(LINEAR, image, r, np.array([2]), 4.0)
    assert_close(loss, float(4 * 0.3125 - np.log(p[2])), rtol=1e-4)
    assert_close(slope, 8 * r + W.T @ (p - [0, 0, 1]), rtol=1e-4, atol=1e-6)


@objective.law("the loss is λ‖r‖² - log of the sum of the target classes' probabilities")
@given(case=wishes())
def value_of_loss(perturbation_loss, case):
    model, *rest = case
    loss, _ = perturbation_loss(model, *rest)
    assert isinstance(loss, float), f"the loss must be a float, got {type(loss).__name__}"
    assert_close(loss, float(wanted(model.build(), *rest)), rtol=1e-4, atol=1e-6)


@objective.law("its gradient by r is that of central differences")
@given(case=wishes())
def slope_of_loss(perturbation_loss, case):
    model, image, r, target, lam = case
    net, expected = model.build(), np.zeros(3)
    for i in range(3):
        step = 1e-6 * (np.arange(3) == i)
        rise = wanted(net, image, r + step, target, lam) - wanted(net, image, r - step, target, lam)
        expected[i] = rise / 2e-6
    assert_close(perturbation_loss(*case)[1], expected, rtol=1e-4, atol=1e-5)


@objective.law("where every class will do only the penalty is left: λ‖r‖² and 2 λ r")
@given(case=wishes())
def any_class(perturbation_loss, case):
    model, image, r, _, lam = case
    loss, slope = perturbation_loss(model, image, r, np.array([0, 1, 2]), lam)
    assert_close(loss, float(lam * (r**2).sum()), rtol=1e-4, atol=1e-6)
    assert_close(slope, 2 * lam * r, rtol=1e-4, atol=1e-6)


@objective.law("an image of channels has a gradient of its shape, and float32 stays float32")
@given(seed=st.integers(0, 5), dtype=st.sampled_from([np.float32, np.float64]))
def like_the_image(perturbation_loss, seed, dtype):
    model = Built("small_cnn", seed=seed, num_classes=3, in_channels=2, widths=(3,), pool_after=())
    image = np.random.default_rng(seed).random((2, 3, 4)).astype(dtype)
    _, slope = perturbation_loss(model, image, np.zeros(image.shape), np.array([1]), 1.0)
    assert_dtype(slope, dtype)
    assert_close(np.array(slope.shape), np.array([2, 3, 4]))


@objective.law("a target that is sure to be missed costs its distance in logits, and is not infinite")
@given(target=st.integers(0, 2))
def far_away(perturbation_loss, target):
    image = np.full(3, 4096.0)
    _, z, _ = linear(image)
    loss, _ = perturbation_loss(LINEAR, image, np.zeros(3), np.array([target]), 1.0)
    assert_close(loss, float(z.max() - z[target]), rtol=1e-3, atol=1e-3)


def changed(model, image, r, number):
    """The loss and its gradient, from what ``number`` makes of logits (K,) and the change."""
    change = Tensor(r.astype(image.dtype), requires_grad=True)
    loss = number(model((change + image).reshape(1, *image.shape))[0], change)
    return loss.item(), grad(loss, change)


@objective.mistake("showed the network the change alone", breaks=objective.laws[0].text)
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
    "added up the classes' losses, as if each of them had to be the answer",
    breaks="the loss is λ‖r‖² - log of the sum of the target classes' probabilities",
)
def every_class(model, image, r, target, lam):
    def number(logits, change):
        return lam * (change * change).sum() - (logits - logits.logsumexp())[target].sum()

    return changed(model, image, r, number)


@objective.mistake(
    "took only the likeliest of the target classes",
    breaks="the loss is λ‖r‖² - log of the sum of the target classes' probabilities",
)
def likeliest_of_target(model, image, r, target, lam):
    def number(logits, change):
        return lam * (change * change).sum() - (logits[target].max() - logits.logsumexp())

    return changed(model, image, r, number)


# ---- 18.6 pgd

descent = Exercise(
    "18.6",
    pgd,
    kind="model",
    points=3,
    level=3,
    minutes=30,
    hints=(
        "Each round takes the gradient where the image is now, steps by its sign, goes back into the ball.",
        "The ball lies around the images that were given, not around the last step. The random start lies in "
        "it as well, and in the box.",
        "for each step: gradient = loss_gradient(model, x, labels, loss); x = fgsm_step(...); "
        "x = project(x, images, eps, bounds)",
    ),
)
TWO = Built("mlp", seed=3, in_features=3, hidden=(), num_classes=2)  # one direction, wherever the image is
DEAD = Built("mlp", seed=20, in_features=2, hidden=(1,), num_classes=2)  # the only ReLU is off in the box


def direction(label):
    """The sign of the loss's gradient by ``TWO``, everywhere: where the other logit gains on the label's."""
    W = TWO.build().head.weight.data
    return np.sign(W[1 - label] - W[label])


def same_draws():
    return np.random.default_rng(0)


def quietly(pgd, *arguments, **params):
    """The answer without the warning of images that have no gradient."""
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


def climbed(model, images, labels, eps, params):
    """Where these steps arrive, by the slopes of central differences."""
    x, net, step = images, model.build(), params["step_size"] or 2.5 * eps / params["steps"]
    for _ in range(params["steps"]):
        slopes = differences(net, x, labels, params["loss"])
        assume(not ((slopes != 0) & (np.abs(slopes) < 1e-6)).any())  # its sign is a matter of rounding
        x = x + (-step if params["targeted"] else step) * np.sign(slopes)
        x = np.clip(np.clip(x, images - eps, images + eps), 0, 1)
    return x


@descent.law(
    "a linear network of two classes: three steps of 0.125 go 0.25 one way, as far as eps and the box let"
)
def worked_way(pgd):
    images, labels = np.array([[0.5, 0.875, 0.125]] * 2), np.array([0, 1])
    ways = np.array([direction(0), direction(1)])
    given = {"steps": 3, "step_size": 0.125, "random_start": False}
    expected = np.clip(images + 0.25 * ways, 0, 1)
    assert_close(pgd(TWO, images, labels, 0.25, **given), expected, rtol=1e-5)
    expected = np.clip(images - 0.25 * ways, 0, 1)
    assert_close(pgd(TWO, images, labels, 0.25, targeted=True, **given), expected, rtol=1e-5)
    ten_steps = pgd(TWO, images, labels, 0.5, step_size=1 / 128, random_start=False)
    assert_close(ten_steps, images + 10 / 128 * ways, rtol=1e-5)


@descent.law("each step follows the sign of the loss's slope where the image is then, by central differences")
@given(case=climbs())
def step_by_step(pgd, case):
    *arguments, params = case
    expected = climbed(*case)
    found = quietly(pgd, *arguments, random_start=False, **params)
    assert_close(found, expected, rtol=1e-4, atol=1e-6)


@descent.law("with the usual step size a path crosses the ball, from wherever in it the start is")
@given(label=st.integers(0, 1), seed=st.integers(0, 9), steps=st.integers(1, 10))
def crosses(pgd, label, seed, steps):
    images, rng = np.array([[0.5, 0.75, 0.25]]), np.random.default_rng(seed)
    found = pgd(TWO, images, np.array([label]), 0.25, steps=steps, rng=rng)
    assert_close(found, images + 0.25 * direction(label), rtol=1e-4)


@descent.law("the start is drawn by rng all over the ball; where there is no gradient the image stays at it")
@given(seed=st.integers(0, 9), steps=st.integers(1, 3))
def random_starts(pgd, seed, steps):
    images, labels = np.full((50, 2), 0.5), np.zeros(50, int)
    first, again, other = (
        quietly(pgd, DEAD, images, labels, 0.25, steps=steps, rng=np.random.default_rng(s))
        for s in (seed, seed, seed + 1)
    )
    assert_close(again, first)
    moves = first - images
    assert np.abs(moves).max() <= 0.25 + 1e-6, "an image has left the ball"
    assert moves.max() > 0.2 and moves.min() < -0.2, "the starts do not reach all over the ball"
    assert len(np.unique(moves)) > 90, "the images' values do not start each at a place of its own"
    assert np.abs(other - first).max() > 0.1, "another rng draws the same start"


@descent.law("the box is the one that is given, or none, and float32 stays float32")
@given(images=arrays((2, 3)), label=st.integers(0, 1), dtype=st.sampled_from([np.float32, np.float64]))
def in_a_box(pgd, images, label, dtype):
    images, labels = images.astype(dtype), np.array([label, label])
    for low, high in ((-2.0, 2.0), FREE):
        found = pgd(TWO, images, labels, 3.0, steps=2, bounds=(low, high), rng=same_draws())
        assert_close(found, np.clip(images + 3 * direction(label), low, high), rtol=1e-5, atol=1e-5)
        assert_dtype(found, dtype)


@descent.law("an image that has no gradient at any step is warned of")
@given(random_start=st.booleans())
def warns(pgd, random_start):
    images, labels = np.full((2, 2), 0.5), np.array([0, 1])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pgd(DEAD, images, labels, 0.25, steps=2, random_start=random_start, rng=same_draws())
        assert caught, "no warning, although no pixel matters to this network"
        caught.clear()
        pgd(TWO, np.full((1, 3), 0.5), labels[:1], 0.25, steps=2, random_start=random_start, rng=same_draws())
        assert not caught, f"a warning without a reason: {caught[0].message}"


@descent.law("an eps below 0 or wider than the box, no step, and images outside of the box are a ValueError")
@given(label=st.integers(0, 1))
def refuses(pgd, label):
    images, labels = np.full((1, 3), 0.5), np.array([label])
    assert_refuses("eps = -0.25", pgd, TWO, images, labels, -0.25)
    assert_refuses("eps = 8 in a box of width 1", pgd, TWO, images, labels, 8.0)
    assert_refuses("steps = 0", pgd, TWO, images, labels, 0.25, steps=0)
    assert_refuses("step_size = 0", pgd, TWO, images, labels, 0.25, step_size=0.0)
    assert_refuses("a pixel of 1.5", pgd, TWO, 3 * images, labels, 0.25)


def another_pgd(update):
    """PGD whose step is made by ``update(x, images, gradient, step, eps, bounds, first)``."""

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
            flat &= ~gradient.any(axis=1)
            x = update(x, images, gradient, -step if targeted else step, eps, bounds, at_first)
            x = x.astype(images.dtype)
        if flat.any():
            warnings.warn("no gradient", stacklevel=2)
        return x

    return walk


@descent.mistake("followed one gradient in all steps, that at the start", breaks=descent.laws[1].text)
def one_gradient(model, images, labels, eps, **params):
    def update(x, images, gradient, step, eps, bounds, at_first):
        return project(x + step * np.sign(at_first), images, eps, bounds)

    return another_pgd(update)(model, images, labels, eps, **params)


@descent.mistake(
    "kept each step within eps of the last, so that the steps add up", breaks=descent.laws[0].text
)
def around_the_last(model, images, labels, eps, **params):
    def update(x, images, gradient, step, eps, bounds, at_first):
        return project(x + step * np.sign(gradient), x, eps, bounds)

    return another_pgd(update)(model, images, labels, eps, **params)


@descent.mistake("began at the images themselves, not at random", breaks=descent.laws[3].text)
def without_a_start(model, images, labels, eps, **params):
    return pgd(model, images, labels, eps, **{**params, "random_start": False})


@descent.mistake("stepped from the images again each time", breaks=descent.laws[0].text)
def never_leaves(model, images, labels, eps, **params):
    def update(x, images, gradient, step, eps, bounds, at_first):
        return project(images + step * np.sign(gradient), images, eps, bounds)

    return another_pgd(update)(model, images, labels, eps, **params)


@descent.mistake("went up the loss of the class that is wanted", breaks=descent.laws[0].text)
def away_from_the_target(model, images, labels, eps, **params):
    return pgd(model, images, labels, eps, **{**params, "targeted": False})


@descent.mistake("forgot the box", breaks=descent.laws[0].text)
def without_a_box(model, images, labels, eps, **params):
    def update(x, images, gradient, step, eps, bounds, at_first):
        return np.clip(x + step * np.sign(gradient), images - eps, images + eps)

    return another_pgd(update)(model, images, labels, eps, **params)


@descent.mistake("steps of eps / steps, too short to cross the ball", breaks=descent.laws[2].text)
def short_steps(model, images, labels, eps, *, steps=10, step_size=None, **params):
    step_size = eps / steps if step_size is None else step_size
    return pgd(model, images, labels, eps, steps=steps, step_size=step_size, **params)
