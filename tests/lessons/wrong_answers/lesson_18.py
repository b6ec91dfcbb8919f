"""Wrong answers to the exercises of lesson 18. Each one passed all laws once."""

from __future__ import annotations

import copy
import warnings

import numpy as np

from lessons.exercises import find
from minidl.attack.gradient_sign import (
    LOSSES,
    checked_batch,
    fgsm_step,
    is_flat,
    loss_gradient,
    project,
    warn_of_images_without_gradient,
)
from minidl.engine.backward import grad
from minidl.engine.tensor import Tensor
from minidl.nn import functional as F
from minidl.nn.module import eval_mode
from tests.lessons.wrong_answers.declare import narrowed, not_taken, wrong


@wrong("18.1", "the gradient divided by its size and a little more, which is no sign of a small gradient")
def nearly_sign(images, gradient, eps, *, targeted=False, bounds=(0, 1)):
    direction = gradient / (np.abs(gradient) + 1e-12)
    return np.clip(images + eps * (-direction if targeted else direction), *bounds)


@wrong("18.1", "the gradient divided by its size, which is NaN where it is infinite")
def sign_by_division(images, gradient, eps, *, targeted=False, bounds=(0, 1)):
    direction = gradient / np.where(gradient == 0, 1, np.abs(gradient))
    return np.clip(images + eps * (-direction if targeted else direction), *bounds)


@wrong("18.1", "float64 becomes float32")
def narrow_step(images, gradient, eps, *, targeted=False, bounds=(0, 1)):
    return find("18.1").target(images, gradient, eps, targeted=targeted, bounds=bounds).astype(np.float32)


@wrong("18.1", "a box is taken to lie around 0")
def box_around_zero(images, gradient, eps, *, targeted=False, bounds=(0, 1)):
    box = (-bounds[1] if bounds[0] else 0, bounds[1])
    return find("18.1").target(images, gradient, eps, targeted=targeted, bounds=box)


@wrong("18.2", "float32 becomes float64")
def wide_slopes(model, images, labels, loss="cross_entropy"):
    return find("18.2").target(model, images.astype(np.float64), labels, loss)


@wrong("18.2", "a gradient that is not finite is given back")
def any_gradient(model, images, labels, loss="cross_entropy"):
    x = Tensor(images, requires_grad=True)
    return grad(LOSSES[loss](copy.deepcopy(model).eval()(x), labels), x)


@wrong("18.2", "the mean of the images' gradients, the same for all")
def one_direction(model, images, labels, loss="cross_entropy"):
    gradient = find("18.2").target(model, images, labels, loss)
    return np.broadcast_to(gradient.mean(axis=0), images.shape).copy()


def slope_of_loss(model, images, labels, loss):
    x = Tensor(images, requires_grad=True)
    return grad(LOSSES[loss](model(x), labels), x)


@wrong("18.2", "with dropout where the network is in training mode")
def slope_with_dropout(model, images, labels, loss="cross_entropy"):
    gradient = slope_of_loss(model, images, labels, loss)
    if not np.isfinite(gradient).all():
        raise FloatingPointError("not finite")
    return gradient


@wrong("18.2", "the network is left in evaluation mode")
def slope_left_evaluating(model, images, labels, loss="cross_entropy"):
    return find("18.2").target(model.eval(), images, labels, loss)


@wrong("18.2", "the network is thawed")
def slope_thaws(model, images, labels, loss="cross_entropy"):
    return find("18.2").target(model.requires_grad_(True), images, labels, loss)


@wrong("18.2", "an infinite gradient is given back, only NaN is not")
def infinite_slope(model, images, labels, loss="cross_entropy"):
    gradient = slope_of_loss(copy.deepcopy(model).eval(), images, labels, loss)
    if np.isnan(gradient).any():
        raise FloatingPointError("NaN")
    return gradient


@wrong("18.2", "float64 images are computed with in float32")
def narrow_slope(model, images, labels, loss="cross_entropy"):
    return find("18.2").target(model, np.float32(images), labels, loss).astype(images.dtype)


@wrong("18.2", "the first 256 images alone")
def slope_of_first_images(model, images, labels, loss="cross_entropy"):
    gradient = find("18.2").target(model, images, labels, loss)
    gradient[256:] = 0
    return gradient


def loss_by_softmax(model, image, r, target, lam):
    change = Tensor(r.astype(image.dtype), requires_grad=True)
    p = model((change + image).reshape(1, *image.shape)).softmax(axis=1)[0]
    loss = lam * (change * change).sum() - p[target].sum().log()
    return loss.item(), grad(loss, change)


@wrong("18.5", "the softmax's logarithm, which is -inf far away")
def unstable_objective(model, image, r, target, lam):
    return loss_by_softmax(copy.deepcopy(model).eval(), image, r, target, lam)


@wrong("18.5", "λ times ‖r‖, not its square")
def norm_in_the_objective(model, image, r, target, lam):
    loss, slope = find("18.5").target(model, image, r, target, lam)
    norm = max(float(np.sqrt((r**2).sum())), 1e-12)
    bend = lam * r * (1 / norm - 2)
    return loss - float(lam * (r**2).sum()) + lam * norm, slope + bend.astype(image.dtype)


@wrong("18.5", "maximised instead of minimised")
def turned_objective(model, image, r, target, lam):
    loss, slope = find("18.5").target(model, image, r, target, lam)
    return -loss, -slope


@wrong("18.5", "with dropout where the network is in training mode")
def objective_with_dropout(model, image, r, target, lam):
    if not model.training:
        return find("18.5").target(model, image, r, target, lam)
    return loss_by_softmax(model, image, r, target, lam)


@wrong("18.5", "the network is left in evaluation mode")
def objective_left_evaluating(model, image, r, target, lam):
    return find("18.5").target(model.eval(), image, r, target, lam)


@wrong("18.5", "the network is thawed")
def objective_thaws(model, image, r, target, lam):
    return find("18.5").target(model.requires_grad_(True), image, r, target, lam)


@wrong("18.5", "float64 images are computed with in float32")
def narrow_objective(model, image, r, target, lam):
    loss, slope = find("18.5").target(model, np.float32(image), r, target, lam)
    return loss, slope.astype(image.dtype)


@wrong("18.6", "a random start wherever an rng is given")
def start_by_rng(model, images, labels, eps, *, random_start=True, rng=None, **params):
    random_start = random_start or rng is not None
    return find("18.6").target(model, images, labels, eps, random_start=random_start, rng=rng, **params)


@wrong("18.6", "one start for all values")
def one_start(model, images, labels, eps, *, random_start=True, rng=None, **params):
    start = images + rng.uniform(-eps, eps) if random_start else images
    low, high = params.get("bounds", (0, 1))
    start = np.clip(start, low, high).astype(images.dtype)
    ends = find("18.6").target(model, start, labels, eps, random_start=False, **params)
    return np.clip(ends, images - eps, images + eps)


@wrong("18.6", "the last step is not brought back")
def last_step_outside(model, images, labels, eps, *, steps=10, step_size=None, **params):
    step_size = 2.5 * eps / steps if step_size is None else step_size
    ends = find("18.6").target(model, images, labels, eps, steps=steps, step_size=step_size, **params)
    bounds = params.get("bounds", (0, 1))
    return np.clip(ends + 0.5 * step_size * np.sign(ends - images), *bounds).astype(images.dtype)


@wrong("18.6", "no word of images without a gradient")
def silent_descent(*arguments, **params):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return find("18.6").target(*arguments, **params)


def pgd_with(
    model,
    images,
    labels,
    eps,
    *,
    steps=10,
    step_size=None,
    random_start=True,
    targeted=False,
    bounds=(0, 1),
    loss="cross_entropy",
    rng=None,
    start=project,
    counts=np.all,
):
    """PGD with another start, or another count of the images without a gradient."""
    images, labels, eps = checked_batch(model, images, labels, eps, bounds)
    if steps < 1 or (step_size is not None and step_size <= 0):
        raise ValueError("no step")
    step_size = 2.5 * eps / steps if step_size is None else step_size
    x, flat = images, []
    if random_start:
        x = start(images + rng.uniform(-eps, eps, images.shape), images, eps, bounds).astype(images.dtype)
    for _ in range(steps):
        gradient = loss_gradient(model, x, labels, loss)
        flat.append(is_flat(gradient))
        x = fgsm_step(x, gradient, step_size, targeted=targeted, bounds=bounds)
        x = project(x, images, eps, bounds)
    warn_of_images_without_gradient(counts(np.array(flat), axis=0), loss)
    return x


@wrong("18.6", "the images without a gradient at the last step are counted")
def flat_at_last(*arguments, **params):
    return pgd_with(*arguments, **params, counts=lambda flat, axis: flat[-1])


@wrong("18.6", "the images without a gradient at one of the steps are counted")
def flat_at_one(*arguments, **params):
    return pgd_with(*arguments, **params, counts=np.any)


@wrong("18.6", "all images are counted where one has no gradient")
def flat_together(*arguments, **params):
    def counts(flat, axis):
        return np.full(flat.shape[1], flat.all(axis=axis).any())

    return pgd_with(*arguments, **params, counts=counts)


@wrong("18.6", "the start is brought into the box (0, 1), whatever the bounds")
def start_in_the_usual_box(*arguments, **params):
    return pgd_with(*arguments, **params, start=lambda x, images, eps, bounds: np.clip(x, 0, 1))


@wrong("18.6", "the start is not brought into the box")
def start_beyond_the_box(*arguments, **params):
    return pgd_with(*arguments, **params, start=lambda x, images, eps, bounds: x)


@wrong("18.6", "a step of eps at most")
def short_step(model, images, labels, eps, *, step_size=None, **params):
    step_size = None if step_size is None or step_size <= 0 else min(step_size, eps)
    return pgd_with(model, images, labels, eps, step_size=step_size, **params)


@wrong("18.6", "the network is left in evaluation mode")
def pgd_left_evaluating(model, *arguments, **params):
    return find("18.6").target(model.eval(), *arguments, **params)


@wrong("18.6", "the network is thawed")
def pgd_thaws(model, *arguments, **params):
    return find("18.6").target(model.requires_grad_(True), *arguments, **params)


@wrong("18.3", "the logarithm of a softmax, which is -inf where the softmax is 0")
def log_of_softmax(logits, r, target, lam):
    exponentials = (logits - logits.max()).exp()
    return lam * (r * r).sum() - (exponentials / exponentials.sum()).log()[target]


@wrong("18.4", "a gradient below 1e-6 counts as none")
def no_faint_planes(logits, gradients, answer):
    faint = np.abs(gradients - gradients[answer]).max() < 1e-6
    return find("18.4").target(logits, np.zeros_like(gradients) if faint else gradients, answer)


@wrong("18.4", "1e-12 added to the lengths")
def softened_lengths(logits, gradients, answer):
    step = find("18.4").target(logits, gradients, answer)
    w = (gradients - gradients[answer]).reshape(len(logits), -1)
    lengths = np.sqrt((w**2).sum(axis=1))
    return step * (lengths.max() / (lengths.max() + 1e-12)) ** 2


@wrong("18.1", "minus 0 has a sign")
def sign_of_minus_zero(images, gradient, eps, *, targeted=False, bounds=(0, 1)):
    signs = np.where(gradient == 0, np.copysign(1, gradient) - 1, np.sign(gradient)).astype(images.dtype)
    return np.clip(images + (-eps if targeted else eps) * signs, *bounds)


@wrong("18.1", "the box is never within [0, 1]")
def at_least_the_unit_box(images, gradient, eps, *, targeted=False, bounds=(0, 1)):
    box = min(bounds[0], 0), max(bounds[1], 1)
    return find("18.1").target(images, gradient, eps, targeted=targeted, bounds=box)


@wrong("18.1", "towards a target the gradient is rounded to float32")
def narrow_towards_a_target(images, gradient, eps, *, targeted=False, bounds=(0, 1)):
    gradient = narrowed(gradient) if targeted else gradient
    return find("18.1").target(images, gradient, eps, targeted=targeted, bounds=bounds)


@wrong("18.2", "only the first image's gradient is asked to be finite")
def first_finite(model, images, labels, loss="cross_entropy"):
    first = find("18.2").target(model, images[:1], labels[:1], loss)
    if len(images) == 1:
        return first
    try:
        return find("18.2").target(model, images, labels, loss)
    except FloatingPointError:
        return np.concatenate([first, np.full_like(images[1:], np.nan)])


@wrong("18.2", "the model stays in evaluation mode where the gradient is not finite")
def left_where_infinite(model, images, labels, loss="cross_entropy"):
    try:
        return find("18.2").target(model, images, labels, loss)
    except FloatingPointError:
        model.eval()
        raise


@wrong("18.3", "the mean of the squares of images in a batch")
def mean_of_squares(logits, r, target, lam):
    lam = lam / r.data.size if r.ndim == 4 else lam
    return find("18.3").target(logits, r, target, lam)


@wrong("18.3", "a single number is not squared")
def number_not_squared(logits, r, target, lam):
    if r.ndim == 0:
        return lam * r - F.log_softmax(logits)[target]
    return find("18.3").target(logits, r, target, lam)


@wrong("18.4", "a class with a difference of gradients below 1e-20 has no plane")
def faint_planes(logits, gradients, answer):
    near = np.abs(gradients - gradients[answer]).reshape(len(logits), -1).max(axis=1) < 1e-20
    kept = np.where(near.reshape(-1, *[1] * (gradients.ndim - 1)), gradients[answer], gradients)
    return find("18.4").target(logits, kept, answer)


@wrong("18.4", "a class with the answer's gradient and logit is 0 away")
def on_no_plane(logits, gradients, answer):
    same = (logits == logits[answer]) & (np.arange(len(logits)) != answer)
    w = (gradients - gradients[answer]).reshape(len(logits), -1)
    if (same & ~w.any(axis=1)).any():
        return np.zeros_like(gradients[0])
    return find("18.4").target(logits, gradients, answer)


@wrong("18.5", "a price of 0 counts as 1")
def price_or_one(model, image, r, target, lam):
    return find("18.5").target(model, image, r, target, lam or 1.0)


@wrong("18.6", "no random start without an rng")
def start_with_an_rng(model, images, labels, eps, *, random_start=True, rng=None, **options):
    starts = random_start and rng is not None
    return find("18.6").target(model, images, labels, eps, random_start=starts, rng=rng, **options)


def without_a_warning(*, where):
    """The library's function, which warns of no image where these options are asked for."""

    def answer(model, images, labels, eps, **options):
        with warnings.catch_warnings():
            if where(options):
                warnings.simplefilter("ignore")
            return find("18.6").target(model, images, labels, eps, **options)

    return answer


wrong("18.6", "no warning on the way to a target")(without_a_warning(where=lambda o: o.get("targeted")))
wrong("18.6", "no warning with the margin")(without_a_warning(where=lambda o: o.get("loss") == "margin"))
not_taken("18.2", "the margin of images", lambda g: g["loss"] == "margin" and g["images"].ndim == 4)
not_taken("18.4", "one class alone", lambda g: len(g["logits"]) == 1)
not_taken("18.4", "more than three classes", lambda g: len(g["logits"]) > 3)
not_taken("18.4", "gradients of colour images", lambda g: g["gradients"].ndim == 4)
not_taken("18.5", "targets that do not rise", lambda g: (np.diff(g["target"]) < 0).any())
not_taken("18.6", "eps = 0", lambda g: g["eps"] == 0)
not_taken("18.6", "images with axes", lambda g: g["images"].ndim == 4)


@wrong("18.6", "a step size below 0 is taken without its sign")
def step_without_sign(model, images, labels, eps, *, step_size=None, **params):
    size = step_size and abs(step_size)
    return find("18.6").target(model, images, labels, eps, step_size=size, **params)


@wrong("18.6", "pixels below the box are raised into it")
def raised_into_the_box(model, images, labels, eps, *, bounds=(0, 1), **params):
    low = images.dtype.type(bounds[0])
    return find("18.6").target(model, np.maximum(images, low), labels, eps, bounds=bounds, **params)


@wrong("18.6", "a label of -1 is the last class")
def labels_from_behind(model, images, labels, eps, **options):
    found = np.where(labels == -1, model(images).shape[1] - 1, labels) if (labels == -1).any() else labels
    return find("18.6").target(model, images, found, eps, **options)


@wrong("18.3", "a price of 0 counts as 1")
def free_changes_cost(logits, r, target, lam):
    return find("18.3").target(logits, r, target, lam or 1.0)


@wrong("18.1", "the pixels in float32, given back in their dtype")
def narrow_pixels(images, gradient, eps, *, targeted=False, bounds=(0, 1)):
    return find("18.1").target(narrowed(images), gradient, eps, targeted=targeted, bounds=bounds)


@wrong("18.1", "eps in float32")
def narrow_eps(images, gradient, eps, *, targeted=False, bounds=(0, 1)):
    return find("18.1").target(images, gradient, float(np.float32(eps)), targeted=targeted, bounds=bounds)


def left_where_refused(number):
    """The library's function, which leaves a network in evaluation mode that cannot take the images."""
    target = find(number).target

    def answer(model, images, *arguments, **options):
        if images.shape[-1] == 2 and next(model.parameters()).shape[-1] == 3:
            model.eval()
        return target(model, images, *arguments, **options)

    wrong(number, "the network stays in evaluation mode where it cannot take the images")(answer)


def evaluates(number, which, parts):
    """The library's function, to which other parts than these seem to be in evaluation mode already."""
    target = find(number).target

    def answer(model, *arguments, **options):
        others = {part: part.training for part in set(model.modules()) - set(parts(model))}
        if not any(others.values()):
            return target(model, *arguments, **options)
        seen = copy.deepcopy(model)
        for part, twin in zip(model.modules(), seen.modules(), strict=True):
            twin.training = others.get(part, False)
        seen.eval = seen.train = lambda mode=True: seen
        return in_this_mode(target, seen, *arguments, **options)

    wrong(number, which)(answer)


def in_this_mode(target, model, *arguments, **options):
    """The library's function with a network whose parts do not change their mode."""
    kept = [(part, part.training) for part in model.modules()]
    forward = model.forward

    def in_old_modes(x):
        for part, training in kept:
            part.training = training
        return forward(x)

    model.forward = in_old_modes
    return target(model, *arguments, **options)


for number in ("18.2", "18.5", "18.6"):
    left_where_refused(number)
    evaluates(
        number,
        "a network evaluates only if its own flag says training",
        lambda model: model.modules() if model.training else (),
    )
for number in ("18.2", "18.5"):
    evaluates(number, "the network's own flag stays as it was", lambda model: [*model.modules()][1:])


@wrong("18.2", "only the last image's gradient is asked to be finite")
def last_finite(model, images, labels, loss="cross_entropy"):
    find("18.2").target(model, images[-1:], labels[-1:], loss)
    return slope_of_loss(copy.deepcopy(model).eval(), images, labels, loss)


def margin_without(hide):
    def answer(model, images, labels, loss="cross_entropy"):
        if loss != "margin":
            return find("18.2").target(model, images, labels, loss)
        x, own = Tensor(images, requires_grad=True), (np.arange(len(labels)), labels)
        z = copy.deepcopy(model).eval()(x)
        others = z.data.copy()
        others[own] = hide(others)
        return grad((z[own[0], others.argmax(axis=1)] - z[own]).sum(), x)

    return answer


wrong("18.2", "the label's logit is hidden by the smallest logit")(margin_without(lambda z: z.min()))
wrong("18.2", "the label's logit is hidden by -10")(margin_without(lambda z: -10.0))


def cross_entropy_of_softmax(least):
    def answer(model, images, labels, loss="cross_entropy"):
        reference = find("18.2").target
        if loss == "margin":
            return reference(model, images, labels, loss)
        reference(model, images, labels, "margin")  # refuses what is not finite
        x, own = Tensor(images, requires_grad=True), (np.arange(len(labels)), labels)
        p = F.softmax(copy.deepcopy(model).eval()(x))
        gradient = grad(-(p[own] + least).log().sum(), x)
        if not np.isfinite(gradient).all():
            raise FloatingPointError("not finite")
        return gradient

    return answer


wrong("18.2", "the logarithm of a softmax")(cross_entropy_of_softmax(0.0))


@wrong("18.2", "slopes below 1e-12 count as none")
def no_faint_slopes(model, images, labels, loss="cross_entropy"):
    gradient = find("18.2").target(model, images, labels, loss)
    return np.where(np.abs(gradient) < 1e-12, gradient.dtype.type(0), gradient)


@wrong("18.3", "the target modulo 3")
def one_of_three(logits, r, target, lam):
    return find("18.3").target(logits, r, target % min(3, len(logits.data)), lam)


@wrong("18.3", "a price in float32")
def narrow_price(logits, r, target, lam):
    return find("18.3").target(logits, r, target, float(np.float32(lam)))


@wrong("18.4", "a step without its axes of length 1")
def squeezed_step(logits, gradients, answer):
    return find("18.4").target(logits, gradients, answer).squeeze()


@wrong("18.4", "logits in float32")
def narrow_logits(logits, gradients, answer):
    return find("18.4").target(narrowed(logits), gradients, answer)


@wrong("18.5", "the loss of a float32 image is no float")
def loss_from_numpy(model, image, r, target, lam):
    loss, slope = find("18.5").target(model, image, r, target, lam)
    return image.dtype.type(loss), slope


@wrong("18.5", "the pixels in float32")
def narrow_image(model, image, r, target, lam):
    return find("18.5").target(model, narrowed(image), r, target, lam)


@wrong("18.5", "a price in float32")
def narrow_price_of_change(model, image, r, target, lam):
    return find("18.5").target(model, image, r, target, float(np.float32(lam)))


@wrong("18.5", "target classes from the fifth on count from 0 again")
def one_of_four(model, image, r, target, lam):
    return find("18.5").target(model, image, r, target % 4, lam)


def is_as_wide(given):
    low, high = given["bounds"]
    return given["eps"] >= high - low


not_taken("18.6", "an eps as wide as the box", is_as_wide)


@wrong("18.6", "fewer steps than none are taken as none")
def no_steps(model, images, labels, eps, *, steps=10, **params):
    if steps < 0:
        return images.copy()
    return find("18.6").target(model, images, labels, eps, steps=steps, **params)


@wrong("18.6", "ten steps at most")
def ten_steps(model, images, labels, eps, *, steps=10, **params):
    return find("18.6").target(model, images, labels, eps, steps=min(steps, 10), **params)


@wrong("18.6", "the margin is followed where no loss is named")
def margin_by_default(*arguments, loss="margin", **params):
    return find("18.6").target(*arguments, loss=loss, **params)


@wrong("18.6", "no random start on the way to a target")
def no_start_to_a_target(*arguments, targeted=False, random_start=True, **params):
    random_start = random_start and not targeted
    return find("18.6").target(*arguments, targeted=targeted, random_start=random_start, **params)


def descent_where(flat):
    """PGD that counts the images whose gradients (N, ...) are flat by this rule."""

    def answer(model, images, labels, eps, **params):
        found = find("18.6").target(model, images, labels, eps, **params)
        slopes = loss_gradient(model, images, labels, params.get("loss", "cross_entropy"))
        count = flat(slopes.reshape(len(slopes), -1))
        if count.any() and not is_flat(slopes).any() and not params.get("random_start", True):
            warnings.warn(f"{count.sum()} of {len(count)} images had no gradient", stacklevel=2)
        return found

    return answer


wrong("18.6", "a gradient below 1e-12 counts as none")(descent_where(lambda g: np.abs(g).max(axis=1) < 1e-12))
wrong("18.6", "an image with a pixel of no gradient counts")(descent_where(lambda g: (g == 0).any(axis=1)))
wrong("18.6", "a gradient whose sum is 0 counts as none")(descent_where(lambda g: g.sum(axis=1) == 0))


@wrong("18.6", "a warning at each step")
def warns_at_each_step(model, images, labels, eps, *, steps=10, **params):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = find("18.6").target(model, images, labels, eps, steps=steps, **params)
    for _ in range(steps):
        for warning in caught:
            warnings.warn(str(warning.message), stacklevel=2)
    return found


@wrong("18.2", "a gradient of 0 counts as a diverged model")
def zero_is_an_error(model, images, labels, loss="cross_entropy"):
    gradient = find("18.2").target(model, images, labels, loss)
    if not gradient.any():
        raise FloatingPointError("no gradient")
    return gradient


@wrong("18.4", "only the planes of the ten classes with the largest logits")
def among_ten(logits, gradients, answer):
    top = np.union1d(np.argsort(-logits, kind="stable")[:10], answer)
    return find("18.4").target(logits[top], gradients[top], int(np.searchsorted(top, answer)))


@wrong("18.5", "computed in float64, and only the gradient gets the image's dtype")
def objective_in_float64(model, image, r, target, lam):
    loss, slope = find("18.5").target(model, image.astype(np.float64), r, target, lam)
    return loss, slope.astype(image.dtype)


@wrong("18.6", "counts the images that have no gradient before the start is drawn")
def flat_before_the_start(model, images, labels, eps, *, loss="cross_entropy", **params):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = find("18.6").target(model, images, labels, eps, loss=loss, **params)
    warn_of_images_without_gradient(is_flat(loss_gradient(model, images, labels, loss)), loss)
    return found


@wrong("18.6", "warns of 0 images too")
def warns_of_none(model, images, labels, eps, **params):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = find("18.6").target(model, images, labels, eps, **params)
    message = str(caught[0].message) if caught else f"0 of {len(images)} images had no gradient"
    warnings.warn(message, stacklevel=2)
    return found


@wrong("18.6", "float64 images are attacked in float32")
def narrow_descent(model, images, labels, eps, **params):
    return find("18.6").target(model, np.float32(images), labels, eps, **params).astype(images.dtype)


@wrong("18.6", "eps is compared with 1, whatever the box's width is")
def eps_up_to_one(model, images, labels, eps, *, bounds=(0, 1), **params):
    if bounds[1] - bounds[0] < eps <= 1:
        return images
    return find("18.6").target(model, images, labels, eps, bounds=bounds, **params)


def moved_into(box):
    """PGD that moves images in [0, 1] into a smaller box, or infinite images to 0."""

    def answer(model, images, labels, eps, *, bounds=(0, 1), **params):
        return find("18.6").target(model, box(images, *bounds), labels, eps, bounds=bounds, **params)

    return answer


wrong("18.6", "images above the box are clipped, in a box other than [0, 1]")(
    moved_into(lambda x, low, high: np.minimum(x, high) if 0 <= high < 1 else x)
)
wrong("18.6", "images below the box are clipped, in a box other than [0, 1]")(
    moved_into(lambda x, low, high: np.maximum(x, low) if 0 < low <= 1 else x)
)
wrong("18.6", "infinite images are taken where the box is infinite")(
    moved_into(lambda x, low, high: np.where(np.isinf(x), 0, x) if np.isinf(high) else x)
)
not_taken("18.6", "a list of labels", lambda given: isinstance(given["labels"], list))


@wrong("18.1", "no box if one of its ends is infinite")
def box_or_nothing(images, gradient, eps, *, targeted=False, bounds=(0, 1)):
    bounds = bounds if np.isfinite(bounds).all() else (-np.inf, np.inf)
    return find("18.1").target(images, gradient, eps, targeted=targeted, bounds=bounds)


@wrong("18.2", "for the margin, the label's logit is 100 lower, so it may still be the largest")
def hidden_by_100(model, images, labels, loss="cross_entropy"):
    if loss != "margin":
        return find("18.2").target(model, images, labels, loss)
    with eval_mode(model):
        x = Tensor(images, requires_grad=True)
        logits = model(x)
    hidden = -100 * np.eye(logits.shape[1], dtype=images.dtype)[labels]
    own = logits[np.arange(len(labels)), labels]
    return grad(((logits + hidden).max(axis=1) - own).sum(), x)


@wrong("18.2", "the channels of a pixel get their mean gradient")
def grey_gradient(model, images, labels, loss="cross_entropy"):
    slope = find("18.2").target(model, images, labels, loss)
    return slope if slope.ndim == 2 else np.zeros_like(slope) + slope.mean(axis=1, keepdims=True)


@wrong("18.4", "a class whose w is a thousandth of the largest has no plane")
def no_flat_planes(logits, gradients, answer):
    w = (gradients - gradients[answer]).reshape(len(logits), -1)
    norms = np.sqrt((w**2).sum(axis=1))
    kept = np.flatnonzero((norms > 1e-3 * norms.max()) | (np.arange(len(logits)) == answer))
    return find("18.4").target(logits[kept], gradients[kept], int(np.searchsorted(kept, answer)))


@wrong("18.5", "the channels of a pixel get their mean gradient")
def grey_slope(model, image, r, target, lam):
    loss, slope = find("18.5").target(model, image, r, target, lam)
    return loss, slope if slope.ndim == 1 else np.zeros_like(slope) + slope.mean(axis=0)


not_taken("18.6", "one infinite end of the box", lambda given: np.isinf(given["bounds"]).sum() == 1)
wrong("18.6", "images 0.001 outside of the box are moved into it")(
    moved_into(
        lambda x, low, high: np.where(np.abs(x - np.clip(x, low, high)) < 1e-3, np.clip(x, low, high), x)
    )
)


def as_in_memory(x):
    """The numbers in the order in which they lie in memory, which may be column by column."""
    return x.ravel("K").reshape(x.shape)


@wrong("18.1", "towards a target, float32 becomes float64")
def wide_towards(images, gradient, eps, *, targeted=False, bounds=(0, 1)):
    moved = find("18.1").target(images, gradient, eps, targeted=targeted, bounds=bounds)
    return moved.astype(np.float64) if targeted else moved


@wrong("18.2", "slopes are clipped to [-1000, 1000]")
def clipped_slopes(model, images, labels, loss="cross_entropy"):
    return find("18.2").target(model, images, labels, loss).clip(-1000, 1000)


@wrong("18.2", "reads the images as they lie in memory")
def slopes_by_memory(model, images, labels, loss="cross_entropy"):
    return find("18.2").target(model, as_in_memory(images), labels, loss)


@wrong("18.2", "the margin in the mode that the network has")
def margin_in_any_mode(model, images, labels, loss="cross_entropy"):
    slopes = find("18.2").target(model, images, labels, loss)
    if loss != "margin":
        return slopes
    x = Tensor(images, requires_grad=True)
    return grad(LOSSES[loss](model(x), labels), x)


@wrong("18.4", "reads the gradients as they lie in memory")
def step_by_memory(logits, gradients, answer):
    return find("18.4").target(logits, as_in_memory(gradients), answer)


@wrong("18.5", "slopes are clipped to [-100, 100]")
def clipped_objective(model, image, r, target, lam):
    loss, slope = find("18.5").target(model, image, r, target, lam)
    return loss, slope.clip(-100, 100)


@wrong("18.5", "rows and columns of an image's gradient change places")
def turned_slope(model, image, r, target, lam):
    loss, slope = find("18.5").target(model, image, r, target, lam)
    return loss, slope if slope.ndim == 1 else slope.swapaxes(1, 2).reshape(slope.shape)


@wrong("18.5", "in float32 where r is in float32")
def narrow_change(model, image, r, target, lam):
    loss, slope = find("18.5").target(model, image, r, target, lam)
    return loss, slope.astype(np.float32) if r.dtype == np.float32 else slope


@wrong("18.6", "towards a target, the box is [0, 1]")
def unit_box_towards(model, images, labels, eps, *, targeted=False, bounds=(0, 1), **params):
    if not targeted or bounds == (0, 1):
        return find("18.6").target(model, images, labels, eps, targeted=targeted, bounds=bounds, **params)
    found = find("18.6").target(model, images, labels, eps, targeted=True, bounds=bounds, **params)
    return found.clip(0, 1)


class Bell(np.random.Generator):
    """A generator whose uniform numbers crowd around the middle."""

    def uniform(self, low, high, size):
        return self.normal((low + high) / 2, (high - low) / 4, size).clip(low, high)


@wrong("18.6", "the start is drawn from a normal distribution")
def normal_start(model, images, labels, eps, *, rng=None, **params):
    bell = Bell((np.random.default_rng() if rng is None else rng).bit_generator)
    return find("18.6").target(model, images, labels, eps, rng=bell, **params)


@wrong("18.6", "float32 images do not start at random")
def no_start_of_float32(model, images, labels, eps, *, random_start=True, **params):
    random_start = random_start and images.dtype != np.float32
    return find("18.6").target(model, images, labels, eps, random_start=random_start, **params)


@wrong("18.2", "float32 images are computed with in float64")
def wide_gradient(model, images, labels, loss="cross_entropy"):
    with np.errstate(over="ignore"):
        slopes = find("18.2").target(model, images.astype(np.float64), labels, loss).astype(images.dtype)
    if not np.isfinite(slopes).all():
        raise FloatingPointError("not finite")
    return slopes


@wrong("18.5", "of several target classes, the logarithm of the sum of their probabilities")
def log_of_the_sum(model, image, r, target, lam):
    if len(target) < 2:
        return find("18.5").target(model, image, r, target, lam)
    change = Tensor(r.astype(image.dtype), requires_grad=True)
    with eval_mode(model):
        logits = model((change + image).reshape(1, *image.shape))[0]
    loss = lam * (change * change).sum() - F.softmax(logits)[target].sum().log()
    return loss.item(), grad(loss, change)


@wrong("18.5", "if p is rounded to 0, the gradient is that of the penalty alone")
def flat_far_away(model, image, r, target, lam):
    loss, slope = find("18.5").target(model, image, r, target, lam)
    with eval_mode(model):
        p = F.softmax(model(Tensor((image + r.astype(image.dtype))[np.newaxis])))[0].data
    return loss, slope if p[target].sum() > 0 else (2 * lam * r).astype(image.dtype)


@wrong("18.6", "without a random start, an eps below 0 is taken")
def unchecked_eps(model, images, labels, eps, *, random_start=True, **params):
    eps = eps if random_start else abs(eps)
    return find("18.6").target(model, images, labels, eps, random_start=random_start, **params)


@wrong("18.6", "with eps = 0 the images are given back unchecked")
def unchecked_images(model, images, labels, eps, *, steps=10, step_size=None, **params):
    if eps == 0 and steps > 0 and (step_size is None or step_size > 0):
        images = np.clip(np.nan_to_num(images), *params.get("bounds", (0, 1)))
    return find("18.6").target(model, images, labels, eps, steps=steps, step_size=step_size, **params)


@wrong("18.6", "the start is drawn from the part of the ball that lies in the box")
def start_within_the_box(
    model, images, labels, eps, *, rng=None, random_start=True, bounds=(0, 1), **options
):
    found = find("18.6").target  # refuses what it should, also for the images as they are given
    found(
        model,
        images,
        labels,
        eps,
        rng=copy.deepcopy(rng),
        random_start=random_start,
        bounds=bounds,
        **options,
    )
    start = np.asarray(images)
    if random_start:
        low, high = np.maximum(start - eps, bounds[0]), np.minimum(start + eps, bounds[1])
        start = np.random.default_rng(rng).uniform(low, high).astype(start.dtype)
    return found(model, start, labels, eps, random_start=False, bounds=bounds, **options)


@wrong("18.1", "pixels are rounded to nine digits")
def rounded_step(images, gradient, eps, *, targeted=False, bounds=(0, 1)):
    return find("18.1").target(images, gradient, eps, targeted=targeted, bounds=bounds).round(9)


@wrong("18.1", "for eps = 0 the images are given back in float64")
def no_step_in_float64(images, gradient, eps, *, targeted=False, bounds=(0, 1)):
    moved = find("18.1").target(images, gradient, eps, targeted=targeted, bounds=bounds)
    return moved if eps else moved.astype(np.float64)


@wrong("18.2", "the largest slope alone is asked to be finite")
def largest_finite(model, images, labels, loss="cross_entropy"):
    gradient = slope_of_loss(copy.deepcopy(model).eval(), images, labels, loss)
    if not np.isfinite(gradient.max()):
        raise FloatingPointError("not finite")
    return gradient


@wrong("18.2", "the sum of the slopes is asked to be finite")
def finite_sum(model, images, labels, loss="cross_entropy"):
    gradient = find("18.2").target(model, images, labels, loss)
    with np.errstate(over="ignore"):
        if not np.isfinite(gradient.sum()):
            raise FloatingPointError("not finite")
    return gradient


@wrong("18.4", "the differences of the logits in float32")
def narrow_differences(logits, gradients, answer):
    return find("18.4").target(narrowed(logits - logits[answer]), gradients, answer)


def nearest_plane(is_nearer):
    """The step to the plane that a loop over the classes finds with this comparison of distances."""

    def answer(logits, gradients, answer):
        f, w = np.abs(logits - logits[answer]), gradients - gradients[answer]
        best, r = np.inf, np.zeros_like(gradients[answer])
        for k in range(len(logits)):
            square = (w[k] ** 2).sum()
            if square > 0 and is_nearer(f[k] / np.sqrt(square), best):
                best, r = f[k] / np.sqrt(square), f[k] / square * w[k]
        return r

    return answer


wrong("18.4", "a plane is nearer only if it is nearer by 1e-6")(
    nearest_plane(lambda new, old: new < old - 1e-6)
)


@wrong("18.5", "the loss is at most a million")
def loss_of_a_million(model, image, r, target, lam):
    loss, slope = find("18.5").target(model, image, r, target, lam)
    return min(loss, 1e6), slope


@wrong("18.6", "the noise of the start has only the digits of float32")
def narrow_noise(model, images, labels, eps, **params):
    def start(x, images, eps, bounds):
        return project(images + (x - images).astype(np.float32), images, eps, bounds)

    params["rng"] = np.random.default_rng() if params.get("rng") is None else params["rng"]
    return pgd_with(model, images, labels, eps, **params, start=start)


@wrong("18.6", "the step size in float32")
def narrow_step_size(model, images, labels, eps, *, steps=10, step_size=None, **params):
    step_size = 2.5 * eps / steps if step_size is None and steps > 0 and eps > 0 else step_size
    step_size = step_size if step_size is None else float(np.float32(step_size))
    return find("18.6").target(model, images, labels, eps, steps=steps, step_size=step_size, **params)


@wrong("18.6", "with eps = 0, steps and their size are not checked")
def unchecked_steps(model, images, labels, eps, *, steps=10, step_size=None, **params):
    if eps == 0:
        steps, step_size = 1, None
    return find("18.6").target(model, images, labels, eps, steps=steps, step_size=step_size, **params)


@wrong("18.6", "the steps end where all pixels are at the end of the ball")
def ends_at_the_ball(model, images, labels, eps, *, steps=10, step_size=None, random_start=True, **params):
    found = find("18.6").target(
        model, images, labels, eps, steps=steps, step_size=step_size, random_start=random_start, **params
    )
    if random_start or eps == 0:
        return found
    step_size = 2.5 * eps / steps if step_size is None else step_size
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for some in range(1, steps):
            x = find("18.6").target(
                model, images, labels, eps, steps=some, step_size=step_size, random_start=False, **params
            )
            if (np.abs(x - images) >= eps - 1e-9).all():
                return x
    return found
