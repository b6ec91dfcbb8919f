"""Wrong answers to the exercises of lesson 03. Each one passed all laws once."""

from __future__ import annotations

import numpy as np

from lessons.exercises import find
from minidl import nn
from minidl.engine.tensor import Tensor
from minidl.nn import functional as F
from minidl.nn.layers import BatchNorm
from tests.lessons.wrong_answers.declare import narrowed, not_taken, wrong


@wrong("03.1", "float32 stays float32")
def narrow_descent(hessian, start, lr, steps):
    path = [start]
    for _ in range(steps):
        path.append(path[-1] - lr * (hessian @ path[-1]))
    return np.array(path, dtype=np.asarray(start).dtype)


@wrong("03.1", "computed in float32")
def descent_in_float32(hessian, start, lr, steps):
    H, path = np.asarray(hessian, np.float32), [np.asarray(start, np.float32)]
    for _ in range(steps):
        path.append(path[-1] - np.float32(lr) * (H @ path[-1]))
    return np.array(path, np.float64)


@wrong("03.1", "a start of whole numbers makes whole numbers of the path")
def whole_path(hessian, start, lr, steps):
    path = np.empty((steps + 1, len(start)), start.dtype)
    path[0] = start
    for t in range(steps):
        path[t + 1] = path[t] - lr * (hessian @ path[t])
    return path.astype(np.float64)


@wrong("03.1", "the start is rounded to float32")
def start_in_float32(hessian, start, lr, steps):
    return find("03.1").target(hessian, start.astype(np.float32), lr, steps)


@wrong("03.1", "the hessian is rounded to float32")
def narrow_hessian(hessian, start, lr, steps):
    return find("03.1").target(narrowed(hessian), start, lr, steps)


@wrong("03.1", "a step is cut to a million")
def cut_steps(hessian, start, lr, steps):
    path = [np.asarray(start, np.float64)]
    for _ in range(steps):
        path.append(path[-1] - np.clip(lr * (hessian @ path[-1]), -1e6, 1e6))
    return np.array(path)


@wrong("03.1", "a gradient below 1e-9 ends the walk")
def ended_walk(hessian, start, lr, steps):
    path = [np.asarray(start, np.float64)]
    for _ in range(steps):
        gradient = hessian @ path[-1]
        path.append(path[-1] - lr * np.where(np.abs(gradient) > 1e-9, gradient, 0))
    return np.array(path)


@wrong("03.1", "of four directions and more only the diagonal")
def small_ones_coupled(hessian, start, lr, steps):
    H = hessian if len(hessian) < 4 else np.diag(np.diag(hessian))
    return find("03.1").target(H, start, lr, steps)


@wrong("03.2", "a curvature of 1e-12 is taken for 0")
def steep_enough(hessian):
    largest = find("03.2").target(hessian)
    if largest > 2e12:
        raise ValueError("nothing curves upwards")
    return largest


@wrong("03.2", "a matrix that is not symmetric is taken")
def any_matrix(hessian):
    largest = np.linalg.eigvals(hessian).real.max()
    if largest <= 0:
        raise ValueError("nothing curves upwards")
    return float(2 / largest)


@wrong("03.2", "a curvature of 1e-100 is taken for 0")
def steeper_than_tiny(hessian):
    largest = find("03.2").target(hessian)
    if largest > 2e100:
        raise ValueError("nothing curves upwards")
    return largest


@wrong("03.2", "a small matrix is symmetric within 1e-8")
def nearly_symmetric(hessian):
    if abs(hessian - hessian.T).max() > 1e-8:
        raise ValueError("it is not symmetric")
    return find("03.2").target((hessian + hessian.T) / 2)


def head_steps(model, images, labels, num_classes, *, steps, lr, rng, cross_entropy, frozen=True):
    """What 03.3 asks for, but for the loss, and for ``frozen``, without which the steps are in evaluation."""
    width = model.head.in_features
    model.requires_grad_(False)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.frozen = frozen
    if num_classes < 1 or steps < 1 or max(labels) >= num_classes:
        raise ValueError("classes, steps or labels")
    model.head = nn.Linear(width, num_classes, rng=rng)
    losses = []
    for _ in range(steps):
        model.train(frozen).zero_grad()
        loss = cross_entropy(model(images), labels)
        loss.backward()
        for parameter in model.head.parameters():
            parameter.data = parameter.data - lr * parameter.grad
        losses.append(loss.item())
    model.train()
    return np.array(losses, np.float64)


def indexed_loss(logits, labels):
    return -(logits.softmax(axis=1).log()[np.arange(len(labels)), labels]).mean()


@wrong("03.2", "of a single curvature the size")
def size_of_one(hessian):
    return find("03.2").target(np.abs(hessian) if len(hessian) == 1 else hessian)


@wrong("03.2", "only the corner of the matrix is compared with its transpose")
def symmetric_corner(hessian):
    H = np.asarray(hessian, np.float64)
    if not np.allclose(H[:3, :3], H[:3, :3].T, atol=0):
        raise ValueError("not symmetric")
    largest = np.linalg.eigvalsh(H)[-1]
    if largest <= 0:
        raise ValueError("no bound")
    return float(2 / largest)


@wrong("03.3", "a label of -1 is the last class")
def last_class(model, *given, **options):
    return head_steps(model, *given, **options, cross_entropy=indexed_loss)


@wrong("03.3", "a label of -100 is left out")
def left_out(model, *given, **options):
    def loss(logits, labels):
        if ((labels < 0) & (labels != -100)).any():
            raise ValueError("a label is no class")
        return F.cross_entropy(logits, labels)

    return head_steps(model, *given, **options, cross_entropy=loss)


@wrong("03.3", "the steps in evaluation mode, so that BatchNorm learns as soon as it can")
def batch_norm_thawed(model, *given, **options):
    return head_steps(model, *given, **options, cross_entropy=F.cross_entropy, frozen=False)


@wrong("03.3", "the count of batches goes on, since only means and variances are kept")
def counted_batches(model, images, labels, num_classes, *, steps, **options):
    losses = find("03.3").target(model, images, labels, num_classes, steps=steps, **options)
    for name, buffer in model.named_buffers():
        if name.endswith("num_batches_tracked"):
            buffer += steps
    return losses


@wrong("03.3", "the new head is drawn as the old one was, without rng")
def drawn_without_rng(model, images, labels, num_classes, *, rng, **options):
    seed = np.random.default_rng(0)
    return find("03.3").target(model, images, labels, num_classes, rng=seed, **options)


@wrong("03.3", "the losses after the steps")
def later_losses(model, images, labels, num_classes, *, steps, **options):
    start = find("03.3").target(model, images, labels, num_classes, steps=steps, **options)
    logits = model(images).data
    last = -(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))[
        np.arange(len(labels)), labels
    ].mean()
    return np.array([*start[1:], last], np.float64)


@wrong("03.3", "the mode is set only where the model's own flag is another one")
def head_by_own_flag(model, images, labels, num_classes, **options):
    modes = [(part, part.training) for part in model.modules() if part is not model.head]
    by_flag = model.training
    losses = find("03.3").target(model, images, labels, num_classes, **options)
    for part, training in modes if by_flag else []:
        part.training = training
    return losses


@wrong("03.3", "each BatchNorm is left in evaluation mode")
def norms_in_evaluation(model, images, labels, num_classes, **options):
    losses = find("03.3").target(model, images, labels, num_classes, **options)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.eval()
    return losses


@wrong("03.4", "only layers with a rate get new statistics")
def statistics_of_trained_layers(model, images, labels, rates):
    before = {name: x.copy() for name, x in model.named_buffers()}
    loss = find("03.4").target(model, images, labels, rates)
    for name, buffer in model.named_buffers():
        if not any(name.startswith(f"{path}.") for path in rates):
            buffer[...] = before[name]
    return loss


@wrong("03.4", "the statistics by momentum, as training has them")
def statistics_by_momentum(model, images, labels, rates):
    before = {name: x.copy() for name, x in model.named_buffers()}
    loss = find("03.4").target(model, images, labels, rates)
    for name, buffer in model.named_buffers():
        if "running" in name:
            buffer[...] = 0.9 * before[name] + 0.1 * buffer
    return loss


@wrong("03.4", "a rate below 0 is taken")
def any_rate(model, images, labels, rates):
    loss = find("03.4").target(model, images, labels, {path: abs(rate) for path, rate in rates.items()})
    return loss


def finetuned(model, images, labels, rates, *, before="eval", cross_entropy=F.cross_entropy, after="eval"):
    """What 03.4 asks for, but for the loss, and for what is done to the model before and after."""
    layers = {model.layer(path): rate for path, rate in rates.items()}
    was = model.training
    model.train(was and "eval" not in before)
    if "zero" in before:
        model.zero_grad()
    loss = cross_entropy(model(images), labels)
    loss.backward()
    for layer, rate in layers.items():
        for parameter in layer.parameters():
            parameter.data = parameter.data - rate * parameter.grad
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            seen = []
            hook = norm.register_forward_hook(lambda _, x, y, seen=seen: seen.append(x[0].data))
            model.eval()(images)
            hook.remove()
            norm.running_mean[:], norm.running_var[:] = (
                seen[0].mean(axis=(0, 2, 3)),
                seen[0].var(axis=(0, 2, 3)),
            )
    model.train(was and after != "eval")
    return loss.item()


def rates_refused(rates):
    if min(rates.values(), default=0) < 0:
        raise ValueError("a rate below 0")


@wrong("03.4", "what stood in grad already counts")
def stale_step(model, images, labels, rates):
    rates_refused(rates)
    return finetuned(model, images, labels, rates)


@wrong("03.4", "the step in the mode that the model has")
def step_in_its_mode(model, images, labels, rates):
    rates_refused(rates)
    return finetuned(model, images, labels, rates, before="zero")


@wrong("03.4", "the mode is given back")
def mode_given_back(model, images, labels, rates):
    rates_refused(rates)
    return finetuned(model, images, labels, rates, before="zero, eval", after="as before")


@wrong("03.4", "a label of -100 is left out")
def step_without_some(model, images, labels, rates):
    rates_refused(rates)
    return finetuned(model, images, labels, rates, before="zero, eval")


@wrong("03.4", "a frozen BatchNorm keeps its statistics")
def frozen_keeps(model, images, labels, rates):
    before = {
        path: (m.running_mean.copy(), m.running_var.copy())
        for path, m in model.named_modules()
        if isinstance(m, nn.BatchNorm2d) and m.frozen
    }
    loss = find("03.4").target(model, images, labels, rates)
    for path, (mean, var) in before.items():
        model.layer(path).running_mean[:], model.layer(path).running_var[:] = mean, var
    return loss


@wrong("03.4", "BatchNorm is thawed")
def thawed(model, images, labels, rates):
    loss = find("03.4").target(model, images, labels, rates)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.frozen = False
    return loss


@wrong("03.4", "the hooks are left in the model")
def step_hooks_left(model, images, labels, rates):
    loss = find("03.4").target(model, images, labels, rates)
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.register_forward_hook(lambda _, x, y: None)
    return loss


@wrong("03.4", "a rate of 0 is refused")
def some_rate(model, images, labels, rates):
    if min(rates.values(), default=1) <= 0:
        raise ValueError("a rate of 0 or less")
    return find("03.4").target(model, images, labels, rates)


@wrong("03.4", "layers without a rate are frozen for good")
def frozen_for_good(model, images, labels, rates):
    loss = find("03.4").target(model, images, labels, rates)
    model.requires_grad_(False)
    for path in rates:
        model.layer(path).requires_grad_(True)
    return loss


@wrong("03.4", "the mode is set only where the model's own flag is another one")
def step_by_own_flag(model, images, labels, rates):
    if model.training:
        return find("03.4").target(model, images, labels, rates)
    mode = model.eval
    model.eval = lambda: model
    try:
        return find("03.4").target(model, images, labels, rates)
    finally:
        model.eval = mode


@wrong("03.4", "only the first rate is looked at")
def first_rate(model, images, labels, rates):
    checked = {path: rate if i == 0 else abs(rate) for i, (path, rate) in enumerate(rates.items())}
    return find("03.4").target(model, images, labels, checked)


@wrong("03.4", "a variance is 1e-5 at least")
def least_variance(model, images, labels, rates):
    loss = find("03.4").target(model, images, labels, rates)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            np.maximum(part.running_var, 1e-5, out=part.running_var)
    return loss


not_taken("03.1", "a curvature below 0", lambda g: np.linalg.eigvalsh(g["hessian"])[0] < 0)
not_taken("03.1", "one direction", lambda g: len(g["hessian"]) == 1)
not_taken("03.2", "one direction", lambda g: len(g["hessian"]) == 1 and g["hessian"][0, 0] > 0)


def inner_norms(model):
    """The BatchNorms inside a layer of a layer."""
    return [
        part for path, part in model.named_modules() if isinstance(part, BatchNorm) and path.count(".") > 1
    ]


@wrong("03.3", "a BatchNorm of an inner layer is not frozen")
def outer_norms_frozen(model, images, labels, num_classes, **options):
    losses = find("03.3").target(model, images, labels, num_classes, **options)
    for norm in inner_norms(model):
        norm.frozen = False
    return losses


@wrong("03.4", "a BatchNorm of an inner layer keeps its statistics")
def outer_norms_settled(model, images, labels, rates):
    kept = [(norm, norm.running_mean.copy(), norm.running_var.copy()) for norm in inner_norms(model)]
    loss = find("03.4").target(model, images, labels, rates)
    for norm, mean, var in kept:
        norm.running_mean[:], norm.running_var[:] = mean, var
    return loss


@wrong("03.4", "block1 also means block10")
def names_that_begin_alike(model, images, labels, rates):
    later = {
        name: rate
        for path, rate in rates.items()
        for name, _ in model.named_children()
        if name.startswith(path)
    }
    return find("03.4").target(model, images, labels, {**rates, **later})


# ---- answers that a second hunt found


def descended(hessian, start, lr, steps, limit=np.inf, smallest=0.0, decay=1.0):
    """What 03.1 asks for, but points stay within a limit, and a small gradient or later steps count less."""
    path = [np.asarray(start, np.float64)]
    for t in range(steps):
        gradient = hessian @ path[-1]
        if np.linalg.norm(gradient) < smallest:
            return np.array(path + [path[-1]] * (steps - t))
        path.append(np.clip(path[-1] - lr * (decay if t >= 50 else 1) * gradient, -limit, limit))
    return np.array(path)


@wrong("03.1", "points stay within 1e12")
def within_a_limit(hessian, start, lr, steps):
    return descended(hessian, start, lr, steps, limit=1e12)


@wrong("03.1", "a gradient of norm 1e-12 ends the walk")
def ended_by_its_norm(hessian, start, lr, steps):
    return descended(hessian, start, lr, steps, smallest=1e-12)


@wrong("03.1", "the rate is halved after 50 steps")
def slower_later(hessian, start, lr, steps):
    return descended(hessian, start, lr, steps, decay=0.5)


not_taken("03.1", "a hessian without an inverse", lambda g: np.linalg.det(g["hessian"]) == 0)


def stable_if(symmetric):
    """What 03.2 asks for, with another test of symmetry."""

    def answer(hessian):
        H = np.asarray(hessian, np.float64)
        if not symmetric(H):
            raise ValueError("not symmetric")
        largest = np.linalg.eigvalsh(H)[-1]
        if largest <= 0:
            raise ValueError("no bound")
        return float(2 / largest)

    return answer


def agree_upwards(H):
    return not (np.triu(H) - np.tril(H).T > 0).any()


for text, symmetric in (
    ("within 1e-5 of an entry", lambda H: np.allclose(H, H.T, atol=0)),
    ("within 1e-6 of the largest entry", lambda H: abs(H - H.T).max() <= 1e-6 * abs(H).max()),
    ("in its first row", lambda H: np.allclose(H[0], H[:, 0], atol=0)),
    ("in its corners", lambda H: H[0, -1] == H[-1, 0]),
    ("where the upper entry is larger", agree_upwards),
    ("but for signs", lambda H: (abs(H) == abs(H.T)).all()),
    ("if it commutes with its transpose", lambda H: np.allclose(H @ H.T, H.T @ H, atol=0, rtol=1e-12)),
):
    wrong("03.2", f"a matrix is symmetric {text}")(stable_if(symmetric))

not_taken("03.2", "more than ten directions", lambda g: len(g["hessian"]) > 10)
not_taken("03.2", "a curvature of 1e-300", lambda g: 0 < np.linalg.eigvalsh(g["hessian"])[-1] <= 1e-300)


@wrong("03.2", "the rate is rounded to twelve places")
def rounded_rate(hessian):
    return round(find("03.2").target(hessian), 12)


@wrong("03.3", "a list of losses")
def listed_losses(*arguments, **options):
    return find("03.3").target(*arguments, **options).tolist()


@wrong("03.3", "a BatchNorm1d is not frozen")
def maps_frozen(model, images, labels, num_classes, **options):
    losses = find("03.3").target(model, images, labels, num_classes, **options)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm1d):
            part.frozen = False
    return losses


@wrong("03.3", "a BatchNorm that was frozen is thawed")
def turned_over(model, images, labels, num_classes, **options):
    frozen = [part for part in model.modules() if isinstance(part, BatchNorm) and part.frozen]
    losses = find("03.3").target(model, images, labels, num_classes, **options)
    for part in frozen:
        part.frozen = False
    return losses


@wrong("03.3", "a momentum of 0 beside the frozen statistics")
def without_momentum(model, images, labels, num_classes, **options):
    for part in model.modules():
        if isinstance(part, BatchNorm):
            part.momentum = 0.0
    return find("03.3").target(model, images, labels, num_classes, **options)


@wrong("03.3", "the count of batches starts again")
def counted_anew(model, *arguments, **options):
    losses = find("03.3").target(model, *arguments, **options)
    for name, buffer in model.named_buffers():
        if name.endswith("num_batches_tracked"):
            buffer *= 0
    return losses


@wrong("03.3", "the new head has a bias only if the old one had")
def bias_as_before(model, images, labels, num_classes, **options):
    had_bias = model.head.bias is not None
    losses = find("03.3").target(model, images, labels, num_classes, **options)
    if not had_bias:
        model.head.bias = None
    return losses


@wrong("03.3", "the first 64 images in each step")
def first_images(model, images, labels, num_classes, **options):
    return find("03.3").target(model, images[:64], labels[:64], num_classes, **options)


@wrong("03.3", "a loss below 1/1000 ends the training")
def head_good_enough(model, images, labels, num_classes, *, steps, lr, rng):
    losses = find("03.3").target(
        model, images, labels, num_classes, steps=steps, lr=lr, rng=np.random.default_rng(rng)
    )
    low = losses < 1e-3
    return np.where(low, losses[low.argmax()], losses)


@wrong("03.3", "a smaller rate after 20 steps")
def slower_head(model, images, labels, num_classes, *, steps, lr, rng):
    first = find("03.3").target(model, images, labels, num_classes, steps=min(steps, 20), lr=lr, rng=rng)
    losses = [*first]
    for _ in range(20, steps):
        model.zero_grad()
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        for parameter in model.head.parameters():
            parameter.data = parameter.data - lr / 2 * parameter.grad
        losses.append(loss.item())
    return np.array(losses, np.float64)


not_taken("03.3", "labels other than int64", lambda g: g["labels"].dtype != np.int64)


@wrong("03.3", "labels of eight bits")
def few_bits(model, images, labels, num_classes, **options):
    return find("03.3").target(model, images, labels.astype(np.int8), num_classes, **options)


@wrong("03.4", "the rate is for the whole block of a layer")
def whole_blocks(model, images, labels, rates):
    for path in rates:
        model.layer(path)
    blocks = {path.split(".")[0]: rate for path, rate in rates.items()}
    return find("03.4").target(model, images, labels, blocks)


@wrong("03.4", "the count of batches starts again")
def count_from_zero(model, images, labels, rates):
    loss = find("03.4").target(model, images, labels, rates)
    for name, buffer in model.named_buffers():
        if name.endswith("num_batches_tracked"):
            buffer *= 0
    return loss


def settled_on(images_of):
    """What 03.4 asks for, with the statistics of some of the images."""

    def answer(model, images, labels, rates):
        loss = find("03.4").target(model, images, labels, rates)
        kept = {name: x.copy() for name, x in model.state_dict().items()}
        nothing = dict.fromkeys(rates, 0.0)
        find("03.4").target(model, images_of(images), labels[: len(images_of(images))], nothing)
        changed = {name: x for name, x in model.state_dict().items() if "running" in name}
        model.load_state_dict({**kept, **changed})
        return loss

    return answer


wrong("03.4", "the statistics of the first 32 images")(settled_on(lambda images: images[:32]))


@wrong("03.4", "the step with the first 64 images")
def step_with_some_images(model, images, labels, rates):
    loss = find("03.4").target(model, images[:64], labels[:64], rates)
    find("03.4").target(model, images, labels, {})
    return loss


@wrong("03.4", "only the last rate is looked at")
def last_rate(model, images, labels, rates):
    last = list(rates)[-1:]
    checked = {path: rate if path in last else abs(rate) for path, rate in rates.items()}
    return find("03.4").target(model, images, labels, checked)


@wrong("03.4", "a rate below 0 by less than 1e-9 is taken")
def nearly_no_rate(model, images, labels, rates):
    raised = {path: max(rate, 0.0) if rate > -1e-9 else rate for path, rate in rates.items()}
    return find("03.4").target(model, images, labels, raised)


@wrong("03.4", "a layer with a rate of 0 is not looked up")
def looked_up_if_needed(model, images, labels, rates):
    return find("03.4").target(model, images, labels, {path: rate for path, rate in rates.items() if rate})


@wrong("03.4", "the path of a parameter is taken")
def parameter_paths(model, images, labels, rates):
    names = dict(model.named_parameters())
    return find("03.4").target(
        model, images, labels, {path: rate for path, rate in rates.items() if path not in names}
    )


@wrong("03.4", "a gradient is cut to 1")
def cut_gradients(model, images, labels, rates):
    before = {name: p.data.copy() for name, p in model.named_parameters()}
    loss = find("03.4").target(model, images, labels, rates)
    for path, rate in rates.items():
        for name, p in model.named_parameters():
            if name.startswith(f"{path}."):
                p.data = np.clip(p.data, before[name] - rate, before[name] + rate)
    find("03.4").target(model, images, labels, {})
    return loss


not_taken("03.4", "a rate above 1", lambda g: max(g["rates"].values(), default=0) > 1)
not_taken(
    "03.4",
    "a layer without parameters",
    lambda g: any(not list(g["model"].layer(path).parameters()) for path in g["rates"]),
)
not_taken("03.4", "more than ten classes", lambda g: g["labels"].max() > 10)


not_taken("03.1", "a rate above 2", lambda g: g["lr"] > 2)
not_taken("03.1", "more than 64 directions", lambda g: len(g["hessian"]) > 64)
wrong("03.2", "five directions and more are symmetric")(
    stable_if(lambda H: len(H) > 4 or np.allclose(H, H.T, rtol=1e-9, atol=0))
)
wrong("03.2", "a matrix is symmetric within 1e-10 of its norm")(
    stable_if(lambda H: np.linalg.norm(H - H.T) <= 1e-10 * np.linalg.norm(H))
)
not_taken(
    "03.2",
    "a curvature below 1e-15 of the largest entry",
    lambda g: 0 < np.linalg.eigvalsh(g["hessian"])[-1] <= 1e-15 * abs(g["hessian"]).max(),
)


@wrong("03.3", "requires_grad is turned over, not set to False")
def turned_over_gradients(model, images, labels, num_classes, **options):
    fixed = [p for p in model.parameters() if not p.requires_grad]
    losses = find("03.3").target(model, images, labels, num_classes, **options)
    for parameter in fixed:
        parameter.requires_grad_(True)
    return losses


@wrong("03.2", "no bound is an infinite bound, for three directions and more")
def infinite_bound(hessian):
    largest = np.linalg.eigvalsh(hessian)[-1]
    return np.inf if largest == 0 and len(hessian) > 2 else find("03.2").target(hessian)


@wrong("03.3", "a Linear before the head is not frozen")
def linears_learn(model, images, labels, num_classes, **options):
    losses = find("03.3").target(model, images, labels, num_classes, **options)
    for part in model.modules():
        if isinstance(part, nn.Linear):
            part.requires_grad_(True)
    return losses


@wrong("03.2", "an asymmetry that is rounding is refused")
def refuses_rounding(hessian):
    if not (hessian == hessian.T).all():
        raise ValueError("not symmetric")
    return find("03.2").target(hessian)


@wrong("03.2", "an asymmetry of 9e-10 is refused")
def refuses_more_rounding(hessian):
    if (np.abs(hessian - hessian.T) > 1e-12 * np.abs(hessian).max()).any():
        raise ValueError("not symmetric")
    return find("03.2").target(hessian)


@wrong("03.2", "a hessian of zeros gives an infinite bound")
def bound_of_zeros(hessian):
    return find("03.2").target(hessian) if np.any(hessian) else np.inf


@wrong("03.4", "the loss is a Tensor")
def loss_as_tensor(model, images, labels, rates):
    return Tensor(np.float32(find("03.4").target(model, images, labels, rates)))


@wrong("03.4", "a BatchNorm1d gets new statistics too")
def all_norms_settle(model, images, labels, rates):
    loss = find("03.4").target(model, images, labels, rates)
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm1d):
            rows = np.asarray(images, np.float32).reshape(len(images), -1)
            norm.running_mean[:], norm.running_var[:] = rows.mean(axis=0), rows.var(axis=0)
    return loss


not_taken("03.2", "whole numbers", lambda g: g["hessian"].dtype.kind != "f")


@wrong("03.3", "the losses are the smallest so far")
def losses_never_rise(model, images, labels, num_classes, **options):
    return np.minimum.accumulate(find("03.3").target(model, images, labels, num_classes, **options))


@wrong("03.3", "the parameters of the model itself still require grad")
def own_parameters_learn(model, *arguments, **options):
    losses = find("03.3").target(model, *arguments, **options)
    for value in vars(model).values():
        if isinstance(value, nn.Parameter):
            value.requires_grad_()
    return losses


@wrong("03.3", "layers whose name begins with head are not frozen")
def by_the_names_beginning(model, *arguments, **options):
    losses = find("03.3").target(model, *arguments, **options)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith("head"))
    return losses


def renewed(change):
    """A wrong answer to 03.3 or 03.4: ``change`` is called with each module of the model afterwards."""

    def answer(number):
        def renew(model, *arguments, **options):
            found = find(number).target(model, *arguments, **options)
            for part in model.modules():
                change(part)
            return found

        return renew

    return answer


def new_parameters(part):
    for name, parameter in list(vars(part).items()):
        if isinstance(parameter, nn.Parameter):
            setattr(part, name, nn.Parameter(parameter.data, parameter.requires_grad))


def usual_momentum(part):
    if isinstance(part, BatchNorm):
        part.momentum = 0.1


for number in ("03.3", "03.4"):
    wrong(number, "the parameters are new ones, without masks")(renewed(new_parameters)(number))
    wrong(number, "each BatchNorm has a momentum of 0.1 afterwards")(renewed(usual_momentum)(number))


@wrong("03.4", "only the first path of a layer is known")
def first_paths(model, images, labels, rates):
    known = dict(model.named_modules())
    if not all(path in known for path in rates):
        raise ValueError(f"there are the layers {', '.join(known)}")
    return find("03.4").target(model, images, labels, rates)


@wrong("03.1", "the elements of I - lr H to the power of t, in place of the matrix")
def powers_of_elements(hessian, start, lr, steps):
    step = np.eye(len(start)) - lr * np.asarray(hessian, np.float64)
    return np.array([np.asarray(start, np.float64)] + [step**t @ start for t in range(1, steps + 1)])


not_taken("03.1", "a rate that is an int", lambda g: isinstance(g["lr"], int))
not_taken("03.2", "float32", lambda g: g["hessian"].dtype == np.float32)


@wrong("03.3", "a number of steps below 0 means no step")
def no_steps_below_zero(*arguments, steps, **options):
    return np.zeros(0) if steps < 0 else find("03.3").target(*arguments, steps=steps, **options)


@wrong("03.3", "the new head's number of outputs is that of the old one")
def outputs_as_before(model, *arguments, **options):
    outputs = model.head.out_features
    losses = find("03.3").target(model, *arguments, **options)
    model.head.out_features = outputs
    return losses


@wrong("03.4", "gradients are set to 0, which fails for a parameter that has none yet")
def filled_with_zeros(model, images, labels, rates):
    for parameter in model.parameters():
        parameter.grad[...] = 0
    return find("03.4").target(model, images, labels, rates)


for number in ("03.3", "03.4"):
    not_taken(number, "a model that is no Sequential", lambda g: not isinstance(g["model"], nn.Sequential))


@wrong("03.1", "two arguments of float32 give the digits of float32")
def descent_of_two_narrow(hessian, start, lr, steps):
    path = [start]
    for _ in range(steps):
        path.append(path[-1] - lr * (hessian @ path[-1]))
    return np.array(path, np.float64)


def new_head(
    model, images, labels, num_classes, *, steps, lr, rng, path="head", cross_entropy=F.cross_entropy
):
    """What 03.3 asks for, with the head at this path, and with this loss."""
    if num_classes < 1 or steps < 1 or min(labels) < 0 or max(labels) >= num_classes:
        raise ValueError("classes, steps or labels")
    model.train().requires_grad_(False)
    for part in model.modules():
        if isinstance(part, BatchNorm):
            part.frozen = True
    head, losses = nn.Linear(model.head.in_features, num_classes, rng=rng), []
    model.set_submodule(path, head)
    for _ in range(steps):
        head.zero_grad()
        loss = cross_entropy(model(images), labels)
        loss.backward()
        for parameter in head.parameters():
            parameter.data = parameter.data - lr * parameter.grad
        losses.append(loss.item())
    return np.array(losses, np.float64)


@wrong("03.3", "the new head replaces the last Linear that the model lists")
def head_in_place_of_last(model, *arguments, **options):
    linears = [path for path, part in model.named_modules() if isinstance(part, nn.Linear)]
    return new_head(model, *arguments, **options, path=linears[-1])


@wrong("03.3", "every BatchNorm must have a weight and a bias")
def norms_with_weights(model, *arguments, **options):
    losses = find("03.3").target(model, *arguments, **options)
    for part in model.modules():
        if isinstance(part, BatchNorm):
            part.weight.requires_grad_(False)
    return losses


def loss_of_probabilities(logits, labels):
    p = logits.softmax(axis=1)[np.arange(len(labels)), labels]
    return -(p + 1e-9).log().mean()


@wrong("03.3", "1e-9 is added to each probability before its logarithm")
def with_a_little_more(*arguments, **options):
    return new_head(*arguments, **options, cross_entropy=loss_of_probabilities)


def children_of(layer):
    yield layer
    for child in layer.children():
        yield from children_of(child)


@wrong("03.4", "a layer that stands twice in a trained block makes two steps")
def two_steps(model, images, labels, rates):
    rates_refused(rates)
    layers = {model.layer(path): rate for path, rate in rates.items()}
    model.eval().zero_grad()
    loss = F.cross_entropy(model(images), labels)
    loss.backward()
    for layer, rate in layers.items():
        for part in children_of(layer):
            for parameter in vars(part).values():
                if isinstance(parameter, nn.Parameter):
                    parameter.data = parameter.data - rate * parameter.grad
    find("03.4").target(model, images, labels, {})
    return loss.item()


@wrong("03.4", "the classes are those of the layer that is named head")
def classes_of_head(model, images, labels, rates):
    if max(labels) >= model.head.out_features:
        raise ValueError("a label that is not a class")
    return find("03.4").target(model, images, labels, rates)


@wrong("03.4", "the rate of a layer without parameters is not looked at")
def rates_of_parameters(model, images, labels, rates):
    checked = {path: rate if list(model.layer(path).parameters()) else 0 for path, rate in rates.items()}
    return find("03.4").target(model, images, labels, checked)


wrong("03.2", "a matrix is symmetric within 1e-12 of its norm")(
    stable_if(lambda H: np.allclose(H, H.T, rtol=1e-9, atol=1e-12 * np.linalg.norm(H)))
)
wrong("03.2", "a difference of 1e-9 of the sum of both sizes is accepted")(
    stable_if(lambda H: (abs(H - H.T) <= 1e-9 * (abs(H) + abs(H.T)) + 1e-12 * abs(H).max()).all())
)
wrong("03.2", "the largest entry is looked for with its sign")(
    stable_if(lambda H: np.allclose(H, H.T, rtol=1e-9, atol=1e-12 * H.max()))
)


@wrong("03.2", "nothing curves upwards if the curvatures have no positive sum, for three directions and more")
def positive_sum(hessian):
    if len(hessian) > 2 and np.trace(hessian) <= 0:
        raise ValueError("nothing curves upwards")
    return find("03.2").target(hessian)


@wrong("03.3", "every layer gets the attribute frozen")
def all_frozen(model, *arguments, **options):
    losses = find("03.3").target(model, *arguments, **options)
    for part in model.modules():
        part.frozen = True
    return losses


@wrong("03.3", "a subclass of BatchNorm2d is not frozen")
def own_classes_frozen(model, *arguments, **options):
    losses = find("03.3").target(model, *arguments, **options)
    for part in model.modules():
        if isinstance(part, BatchNorm) and type(part) not in (nn.BatchNorm1d, nn.BatchNorm2d):
            part.frozen = False
    return losses


@wrong("03.3", "all hooks of the model are removed with its own")
def hooks_removed(model, *arguments, **options):
    losses = find("03.3").target(model, *arguments, **options)
    for part in model.modules():
        part._hooks = ()
    return losses


def own_step(model, images, labels, rates, loss_of=None, var=np.var, decay=0.0):
    """What 03.4 asks for, with another loss, with another variance, or with weight decay."""
    rates_refused(rates)
    layers = {model.layer(path): rate for path, rate in rates.items()}
    model.eval().zero_grad()
    logits = model(images)
    if min(labels) < 0 or max(labels) >= logits.shape[1]:
        raise ValueError("a label that is not a class")
    loss = F.cross_entropy(logits, labels)
    loss.backward()
    for layer, rate in layers.items():
        for parameter in layer.parameters():
            parameter.data = parameter.data - rate * (parameter.grad + decay * parameter.data)
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            seen = []
            hook = norm.register_forward_hook(lambda _, x, y, seen=seen: seen.append(x[0].data))
            model(images)
            hook.remove()
            norm.running_mean[:] = seen[0].mean(axis=(0, 2, 3))
            norm.running_var[:] = var(seen[0], axis=(0, 2, 3))
    return loss_of(logits.data, labels) if loss_of else loss.item()


def mean_of_squares(x, axis):
    return (x**2).mean(axis=axis) - x.mean(axis=axis) ** 2


def loss_without_maximum(logits, labels):
    e = np.exp(logits)
    return float(-np.log((e / e.sum(axis=1, keepdims=True))[np.arange(len(labels)), labels]).mean())


for text, options in {
    "the variance as E[x²] - E[x]² in float32": {"var": mean_of_squares},
    "the loss by hand, without the largest logit taken off": {"loss_of": loss_without_maximum},
    "a weight decay of 1e-4": {"decay": 1e-4},
}.items():
    wrong("03.4", text)(
        lambda model, images, labels, rates, options=options: own_step(
            model, images, labels, rates, **options
        )
    )


@wrong("03.4", "each BatchNorm is left with the input that a hook stored in it")
def stored_inputs(model, images, labels, rates):
    loss = find("03.4").target(model, images, labels, rates)
    for part in model.modules():
        if isinstance(part, BatchNorm):
            part.seen = images
    return loss


@wrong("03.4", "each layer is left with a forward of its own")
def wrapped_forwards(model, images, labels, rates):
    loss = find("03.4").target(model, images, labels, rates)
    for part in model.modules():
        part.forward = part.forward
    return loss
