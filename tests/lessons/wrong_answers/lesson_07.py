"""Wrong answers to the exercises of lesson 07. Each one passed all laws once."""

from __future__ import annotations

import copy

import numpy as np

from lessons.exercises import find
from minidl.engine.functions import concatenate, where
from minidl.engine.op import Op
from minidl.engine.tensor import Tensor
from minidl.nn import functional as F
from tests.lessons.wrong_answers.declare import (
    all_learn_afterwards,
    data_of,
    layers_as_a_whole,
    narrowed,
    not_taken,
    one_loss_without_a_rate,
    parts_of_a_model,
    unused_are_frozen,
    unused_by_old_gradient,
    with_modes,
    without_ties,
    wrong,
)


@wrong("07.2", "only a positive's NaN is refused")
def negatives_unread(scores, positive):
    scores, positive = np.asarray(scores, np.float64), np.asarray(positive)
    return find("07.2").target(np.where(np.isnan(scores) & ~positive, -np.inf, scores), positive)


@wrong("07.2", "scores rounded to twelve digits after the point")
def rounded_scores(scores, positive):
    return find("07.2").target(np.round(scores, 12), positive)


@wrong("07.3", "float32 becomes float64")
class WidenedUnitRows(Op):
    def forward(self, z):
        z = z.astype(np.float64)
        largest = np.abs(z).max(axis=1, keepdims=True)
        self.length = largest * np.sqrt(((z / largest) ** 2).sum(axis=1, keepdims=True))
        self.u = z / self.length
        return self.u

    def backward(self, grad):
        along = (self.u * grad).sum(axis=1, keepdims=True)
        return ((grad - self.u * along) / self.length,)


@wrong("07.1", "float32 scores for float32 rows")
def narrow_scores(features_a, features_b):
    scores, same = find("07.1").target(features_a, features_b)
    return scores.astype(np.result_type(features_a, features_b)), same


@wrong("07.1", "one image alone is taken")
def one_image_too(features_a, features_b):
    if len(features_a) > 1:
        return find("07.1").target(features_a, features_b)
    return np.ones(1), np.ones(1, bool)


@wrong("07.2", "scores that nearly agree count as ties")
def auc_by_isclose(scores, positive):
    scores, positive = np.asarray(scores, np.float64), np.asarray(positive, bool)
    if np.isnan(scores).any() or positive.all() or not positive.any():
        raise ValueError("NaN, or one kind alone")
    above, below = scores[positive][:, np.newaxis], scores[~positive]
    tied = np.isclose(above, below)
    return float((np.where(tied, 0.5, above > below)).mean())


@wrong("07.1", "views of different shapes are taken")
def any_two_views(features_a, features_b):
    width = min(features_a.shape[1], features_b.shape[1])
    return find("07.1").target(features_a[:, :width], features_b[:, :width])


@wrong("07.1", "the features are rounded to float32")
def narrow_pairs(features_a, features_b):
    return find("07.1").target(narrowed(features_a), narrowed(features_b))


@wrong("07.2", "by differences, of which two infinite scores have none")
def auc_by_differences(scores, positive):
    find("07.2").target(scores, positive)
    difference = scores[positive][:, np.newaxis] - scores[~positive]
    return float(((difference > 0) + 0.5 * (difference == 0)).mean())


@wrong("07.2", "NaN is below everything")
def auc_of_nan(scores, positive):
    return find("07.2").target(np.where(np.isnan(scores), -np.inf, scores), positive)


@wrong("07.3", "squares overflow")
class OverflowingRows(Op):
    def forward(self, z):
        self.length = np.sqrt((z**2).sum(axis=1, keepdims=True))
        self.u = z / self.length
        return self.u

    def backward(self, grad):
        return (grad - self.u * (self.u * grad).sum(axis=1, keepdims=True)) / self.length


@wrong("07.3", "one largest number for all rows")
class OneScale(find("07.3").target):
    def forward(self, z):
        largest = np.abs(z).max()
        self.length = largest * np.sqrt(((z / largest) ** 2).sum(axis=1, keepdims=True))
        with np.errstate(divide="ignore", invalid="ignore"):
            self.u = z / self.length
        return self.u


@wrong("07.3", "of a single column the gradient without its part along u")
class SingleColumn(find("07.3").target):
    def backward(self, grad):
        return grad / self.length if grad.shape[1] == 1 else super().backward(grad)


@wrong("07.3", "a length is 1e-30 at least")
class LeastLength(find("07.3").target):
    def forward(self, z):
        super().forward(z)
        self.u = z / np.maximum(self.length, 1e-30)
        return self.u


@wrong("07.4", "1e-8 added to the lengths, which the shortest rows feel")
def nt_xent_of_softened_rows(z1, z2, temperature):
    n, z = len(z1), concatenate([z1, z2])
    find("07.4").target(z1, z2, temperature)
    u = z / ((z * z).sum(axis=1, keepdims=True).sqrt() + 1e-8)
    S = (u @ u.T)[~np.eye(2 * n, dtype=bool)].reshape(2 * n, 2 * n - 1)
    partner = np.concatenate([np.arange(n, 2 * n) - 1, np.arange(n)])
    return F.cross_entropy(S, partner, temperature=temperature)


@wrong("07.4", "exponentials of S / T as they stand, which overflow")
def nt_xent_of_exponentials(z1, z2, temperature):
    n, z = len(z1), concatenate([z1, z2])
    find("07.4").target(z1, z2, temperature)
    u = z / (z * z).sum(axis=1, keepdims=True).sqrt()
    e = ((u @ u.T) / temperature).exp() * (1 - np.eye(2 * n)).astype(z.dtype)
    partner = np.roll(np.arange(2 * n), n)
    return -(e[np.arange(2 * n), partner] / e.sum(axis=1)).log().mean()


@wrong("07.4", "a temperature below 0 is taken")
def nt_xent_at_any_temperature(z1, z2, temperature):
    return find("07.4").target(z1, z2, -temperature if temperature < 0 else temperature)


@wrong("07.4", "temperatures below 1e-3 are raised to it")
def not_so_cold(z1, z2, temperature):
    return find("07.4").target(z1, z2, max(temperature, 1e-3) if temperature > 0 else temperature)


@wrong("07.4", "the second view learns only if the first one does")
def second_like_the_first(z1, z2, temperature):
    learns = isinstance(z1, Tensor) and z1.requires_grad
    return find("07.4").target(z1, z2 if learns else z2.data, temperature)


@wrong("07.5", "the loss after each step")
def losses_after(model, images, augment, *, steps, lr, temperature, rng):
    losses = find("07.5").target(
        model, images, augment, steps=steps, lr=lr, temperature=temperature, rng=copy.deepcopy(rng)
    )
    views = [model(augment(images.copy(), rng)) for _ in range(2)]
    return np.append(losses[1:], find("07.4").target(*views, temperature).item())


@wrong("07.5", "left in evaluation mode")
def left_in_evaluation(model, *arguments, **settings):
    losses = find("07.5").target(model, *arguments, **settings)
    model.eval()
    return losses


@wrong("07.5", "one image alone is taken")
def steps_of_one_image(model, images, augment, **settings):
    if len(images) == 1:
        return np.zeros(settings["steps"])
    return find("07.5").target(model, images, augment, **settings)


@wrong("07.5", "the old mode comes back at the end")
def mode_comes_back(model, *arguments, **settings):
    training = model.training
    losses = find("07.5").target(model, *arguments, **settings)
    model.train(training)
    return losses


@wrong("07.5", "a list of losses")
def listed_losses(model, *arguments, **settings):
    return find("07.5").target(model, *arguments, **settings).tolist()


@wrong("07.5", "the parameters are rounded to float32")
def narrow_parameters(model, *arguments, **settings):
    losses = find("07.5").target(model, *arguments, **settings)
    for parameter in model.parameters():
        parameter.data = narrowed(parameter.data)
    return losses


@wrong("07.5", "the images are rounded to float32")
def narrow_images(model, images, *arguments, **settings):
    return find("07.5").target(model, narrowed(images), *arguments, **settings)


@wrong("07.5", "views of the first 32 images only")
def first_images(model, images, *arguments, **settings):
    return find("07.5").target(model, images[:32], *arguments, **settings)


@wrong("07.5", "a weight decay of 1e-4")
def decayed(model, *arguments, steps, lr, **settings):
    losses = []
    for _ in range(max(steps, 1)):  # steps below 1 are refused
        before = [parameter.data for parameter in model.parameters()]
        losses.append(find("07.5").target(model, *arguments, steps=min(steps, 1), lr=lr, **settings))
        for parameter, data in zip(model.parameters(), before, strict=True):
            parameter.data = parameter.data - 1e-4 * lr * data * parameter.requires_grad
    return np.concatenate(losses)


@wrong("07.5", "half the rate from the eleventh step on")
def slower_later(model, *arguments, steps, lr, **settings):
    start = find("07.5").target(model, *arguments, steps=min(steps, 10), lr=lr, **settings)
    if steps <= 10:
        return start
    rest = find("07.5").target(model, *arguments, steps=steps - 10, lr=lr / 2, **settings)
    return np.concatenate([start, rest])


@wrong("07.5", "the mode is set only where the model's own flag is another one")
def views_by_own_flag(model, images, augment, **options):
    own = [model] if model.training else []
    return with_modes("07.5", [model], images, augment, by_own_flag=own, **options)


@wrong("07.1", "no image at all is taken")
def no_image_too(features_a, features_b):
    if len(features_a) + len(features_b) == 0:
        return np.zeros(0), np.zeros(0, bool)
    return find("07.1").target(features_a, features_b)


@wrong("07.1", "a short row of the second view is refused")
def short_rows_refused(features_a, features_b):
    if (np.linalg.norm(np.asarray(features_b, np.float64), axis=1) < 1e-8).any():
        raise ValueError("nearly a row of zeros")
    return find("07.1").target(features_a, features_b)


@wrong("07.1", "rows of one number are broadcast against the other view")
def broadcast_rows(features_a, features_b):
    if features_a.shape[1] == 1:
        features_a = np.broadcast_to(features_a, (len(features_a), features_b.shape[1]))
    return find("07.1").target(features_a, features_b)


@wrong("07.1", "the place i N + j is kept in a byte")
def places_in_bytes(features_a, features_b):
    scores, same = find("07.1").target(features_a, features_b)
    places = np.arange(len(scores)).astype(np.uint8)
    placed, placed_same = np.zeros_like(scores), np.zeros_like(same)
    placed[places], placed_same[places] = scores, same
    return placed, placed_same


@wrong("07.1", "products in the integers' own dtype, which overflow")
def products_of_bytes(features_a, features_b):
    scores, same = find("07.1").target(features_a, features_b)
    if features_a.dtype.kind != "i":
        return scores, same
    lengths = np.outer(*(np.linalg.norm(x, axis=1) for x in (features_a, features_b)))
    return (features_a @ features_b.T / lengths).ravel(), same


@wrong("07.2", "NaN is looked for among the first two scores only")
def auc_of_late_nan(scores, positive):
    late = np.isnan(scores) & (np.arange(len(scores)) > 1)
    return find("07.2").target(np.where(late, -np.inf, scores), positive)


@wrong("07.2", "the positives are counted in a byte")
def counted_in_a_byte(scores, positive):
    wins = find("07.2").target(scores, positive) * positive.sum()
    return float(wins / positive.sum(dtype=np.uint8))


@wrong("07.2", "an infinite score is the largest finite one")
def largest_for_infinite(scores, positive):
    return find("07.2").target(np.where(np.isnan(scores), scores, np.nan_to_num(scores)), positive)


@wrong("07.3", "the gradient is rounded to float32")
class NarrowGradient(find("07.3").target):
    def backward(self, grad):
        return super().backward(grad).astype(np.float32)


@wrong("07.3", "only the first 64 columns count in u . g")
class FirstColumns(find("07.3").target):
    def backward(self, grad):
        along = (self.u * grad)[:, :64].sum(axis=1, keepdims=True)
        return (grad - self.u * along) / self.length


def nt_xent_of_masked_rows(z1, z2, temperature, masked):
    """nt_xent of all 2N columns, where ``masked(S / T)`` takes the own column away; and its partners."""
    find("07.4").target(z1, z2, temperature)
    n, z = len(z1), concatenate([z1, z2])
    u = z / (z * z).sum(axis=1, keepdims=True).sqrt()
    return masked(u @ u.T / temperature), np.roll(np.arange(2 * n), n)


@wrong("07.4", "1e9 is taken from the own column, which is less than 1 / T")
def nearly_masked(z1, z2, temperature):
    def masked(S):
        return S - (1e9 * np.eye(len(S))).astype(S.dtype)

    return F.cross_entropy(*nt_xent_of_masked_rows(z1, z2, temperature, masked))


@wrong("07.4", "exponentials of (S - 1) / T, all of which can underflow")
def nt_xent_below_one(z1, z2, temperature):
    def masked(S):
        return S - 1 / temperature

    S, partner = nt_xent_of_masked_rows(z1, z2, temperature, masked)
    others = S.exp() * (1 - np.eye(len(S))).astype(S.dtype)
    return (others.sum(axis=1).log() - S[np.arange(len(S)), partner]).mean()


not_taken("07.2", "scores of whole numbers", lambda g: g["scores"].dtype.kind == "i")
not_taken("07.4", "embeddings of one number", lambda g: data_of(g["z1"]).shape[1] == 1)
not_taken("07.4", "more than four images", lambda g: len(data_of(g["z1"])) > 4)
not_taken("07.4", "more than ten images", lambda g: len(data_of(g["z1"])) > 10)
not_taken("07.4", "a temperature that is an int", lambda g: isinstance(g["temperature"], int))
not_taken("07.4", "rows that are nearly zero", lambda g: (abs(data_of(g["z1"])) < 1e-12).all(axis=1).any())
not_taken("07.1", "more than fifteen images", lambda g: len(g["features_a"]) > 15)
all_learn_afterwards("07.5", of=0)
parts_of_a_model("07.5")


@wrong("07.1", "rows of more than two numbers are centred")
def centred_rows(features_a, features_b):
    find("07.1").target(features_a, features_b)
    a, b = (np.asarray(x, np.float64) for x in (features_a, features_b))
    if a.shape[1] < 3:
        return find("07.1").target(a, b)
    a, b = (x - x.mean(axis=1, keepdims=True) for x in (a, b))
    lengths = [np.linalg.norm(x, axis=1) + 1e-300 for x in (a, b)]
    return (a @ b.T / np.outer(*lengths)).ravel(), np.eye(len(a), dtype=bool).ravel()


not_taken("07.1", "rows of a single number", lambda g: g["features_a"].shape[1:] == (1,))


@wrong("07.2", "the scores are negated to sort them, which wraps around in uint8")
def negated_scores(scores, positive):
    return 1 - find("07.2").target(-np.asarray(scores), positive)


@wrong("07.4", "views of different numbers of rows, if the sum is even")
def any_even_number(z1, z2, temperature):
    if z1.shape[1:] == z2.shape[1:] and (len(z1) + len(z2)) % 2 == 0:
        z = concatenate([z1, z2])
        n = len(z) // 2
        z1, z2 = z[:n], z[n:]
    return find("07.4").target(z1, z2, temperature)


@wrong("07.1", "a row of zeros is refused only if it is the last")
def last_row_of_zeros(features_a, features_b):
    views = [np.array(z, np.float64) for z in (features_a, features_b)]
    for z in views:
        z[:-1][~z[:-1].any(axis=1)] = 1
    return find("07.1").target(*views)


@wrong("07.4", "a row of zeros is refused only if it is the last")
def last_embedding_of_zeros(z1, z2, temperature):
    whole = [data_of(z) for z in (z1, z2)]
    lasting = [z.ndim == 2 and len(z) > 0 and bool(z[-1].any()) for z in whole]
    if whole[0].shape == whole[1].shape and all(lasting) and not all(z.any(axis=1).all() for z in whole):
        return Tensor(0.0)
    return find("07.4").target(z1, z2, temperature)


@wrong("07.4", "a temperature above 10 is taken as 10")
def hottest(z1, z2, temperature):
    return find("07.4").target(z1, z2, min(temperature, 10))


not_taken(
    "07.4",
    "an array as the second view of a Tensor",
    lambda g: isinstance(g["z1"], Tensor) > isinstance(g["z2"], Tensor),
)


@wrong("07.2", "a single example has an AUC")
def single_example(scores, positive):
    return 0.5 if len(scores) == 1 else find("07.2").target(scores, positive)


@wrong("07.1", "scores rounded to nine digits, so small ones become 0")
def rounded_cosines(features_a, features_b):
    scores, same = find("07.1").target(features_a, features_b)
    return np.round(scores, 9), same


@wrong("07.2", "a thousand thresholds at equal distances, which scores far apart share")
def auc_by_thresholds(scores, positive):
    found = find("07.2").target(scores, positive)
    scores = np.asarray(scores, np.float64)
    if not np.isfinite(scores).all() or np.ptp(scores) == 0:
        return found
    place = (scores - scores.min()) / np.ptp(scores)
    return find("07.2").target(np.round(1000 * place), positive)


@wrong("07.2", "the result is an array without axes")
def auc_as_array(scores, positive):
    return np.array(find("07.2").target(scores, positive))


@wrong("07.3", "with more than ten rows the gradient of their mean")
class MeanOfRows(find("07.3").target):
    def backward(self, grad):
        return super().backward(grad) / (len(grad) if len(grad) > 10 else 1)


@wrong("07.4", "with more than four images the views are paired from the other end")
def paired_from_the_end(z1, z2, temperature):
    return find("07.4").target(z1, z2[::-1] if len(z2) > 4 else z2, temperature)


@wrong("07.4", "the first 32 images only")
def loss_of_first_images(z1, z2, temperature):
    find("07.4").target(z1, z2, temperature)
    return find("07.4").target(z1[:32], z2[:32], temperature)


unused_by_old_gradient("07.5")
not_taken(
    "07.4",
    "two arrays of whole numbers",
    lambda g: not isinstance(g["z1"], Tensor) and not isinstance(g["z2"], Tensor),
)


layers_as_a_whole("07.5")


@wrong("07.5", "temperatures below 1/2 are raised to it")
def steps_not_so_cold(model, images, augment, *, temperature, **options):
    raised = max(temperature, 0.5) if temperature > 0 else temperature
    return find("07.5").target(model, images, augment, temperature=raised, **options)


@wrong("07.4", "an array becomes a Tensor of its own dtype, and so float32 becomes float64")
def array_in_its_dtype(z1, z2, temperature):
    z1, z2 = (z if isinstance(z, Tensor) else Tensor(z) for z in (z1, z2))
    return find("07.4").target(z1, z2, temperature)


@wrong("07.5", "both views are made in one array")
def views_in_one_array(model, images, augment, **settings):
    buffer = np.empty_like(images)

    def into_the_buffer(given, rng):
        buffer[:] = given
        return augment(buffer, rng)

    return find("07.5").target(model, images, into_the_buffer, **settings)


@wrong("07.2", "a positive counts as higher only if it is higher by 1e-12")
def clearly_higher(scores, positive):
    find("07.2").target(scores, positive)
    above, below = np.asarray(scores, np.float64)[positive][:, np.newaxis], scores[~positive]
    return float(((above > below + 1e-12) + 0.5 * (above == below)).mean())


@wrong("07.2", "1 as soon as the known scores are separated, before NaN is looked for")
def separated_first(scores, positive):
    known = np.where(np.isnan(scores), np.where(positive, np.inf, -np.inf), scores)
    if 0 < positive.sum() < len(positive) and known[positive].min() > known[~positive].max():
        return 1.0
    return find("07.2").target(scores, positive)


@wrong("07.3", "float16 becomes float32")
class WidenedHalf(find("07.3").target):
    def forward(self, z):
        return super().forward(z.astype(np.result_type(z, np.float32)))


@wrong("07.3", "the length in the gradient is rounded to float32")
class NarrowLength(find("07.3").target):
    def backward(self, grad):
        self.length = narrowed(self.length)
        return super().backward(grad)


@wrong("07.3", "only squares of 0 or infinity are avoided, not those with few digits")
class FewDigits(find("07.3").target):
    def forward(self, z):
        squares = (z**2).sum(axis=1, keepdims=True)
        if not (squares > 0).all() or not np.isfinite(squares).all():
            return super().forward(z)
        self.length = np.sqrt(squares)
        self.u = z / self.length
        return self.u


@wrong("07.4", "-1e9 in the own column, which is more than -1 / T")
def filled_with_a_number(z1, z2, temperature):
    def masked(S):
        return where(np.eye(len(S), dtype=bool), -1e9, S)

    return F.cross_entropy(*nt_xent_of_masked_rows(z1, z2, temperature, masked))


@wrong("07.4", "a row of which the squares are 0 in float32 is refused")
def by_squares(z1, z2, temperature):
    for z in (z1, z2):
        if ((data_of(z) ** 2).sum(axis=-1) == 0).any():
            raise ValueError("a row of zeros")
    return find("07.4").target(z1, z2, temperature)


@wrong("07.4", "an array beside a Tensor is rounded to float32")
def narrow_array(z1, z2, temperature):
    z1, z2 = (z if isinstance(z, Tensor) else narrowed(z) for z in (z1, z2))
    return find("07.4").target(z1, z2, temperature)


@wrong("07.4", "a first view of whole numbers makes float64 of float32")
def wide_first_view(z1, z2, temperature):
    z1 = z1 if isinstance(z1, Tensor) else Tensor(np.asarray(z1, np.float64))
    return find("07.4").target(z1, z2, temperature)


@wrong("07.5", "temperatures below 1/10 are raised to it")
def steps_a_little_warmer(model, images, augment, *, temperature, **options):
    raised = max(temperature, 0.1) if temperature > 0 else temperature
    return find("07.5").target(model, images, augment, temperature=raised, **options)


without_ties("07.5")
unused_are_frozen("07.5")
one_loss_without_a_rate("07.5")
