"""Exercises of lesson 03: what froze and what did not, a rate for each layer, the rate that is too large."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minidl.classroom.compare import assert_close, assert_dtype, assert_equal
from minidl.classroom.exercise import Exercise
from minidl.classroom.strategies import arrays, quarters
from minidl.transfer import finetune

# ---- 03.1 layer_rates

rates = Exercise(
    "03.1",
    finetune.layer_rates,
    points=1,
    hints=(
        "The last layer has the top rate, and each one below it moves decay times as fast as the one above.",
        "Layer l of 0 ... count - 1 is count - 1 - l layers below the top.",
        "[top_rate * decay ** (count - 1 - layer) for layer in range(count)]",
    ),
)
counts, decays = st.integers(1, 6), st.sampled_from([1.0, 0.5, 0.25, 0.1])


@rates.law("three layers, 0.8 on top, decay 1/2: 0.2, 0.4, 0.8")
def worked_rates(layer_rates):
    assert_close(layer_rates(3, 0.8, 0.5), [0.2, 0.4, 0.8])


@rates.law("the last layer has the top rate, and there is one rate a layer")
@given(count=counts, top=quarters(0, 2), decay=decays)
def ends_at_the_top(layer_rates, count, top, decay):
    result = layer_rates(count, top, decay)
    assert_equal(len(result), count)
    assert_close(result[-1], top)


@rates.law("each layer moves decay times as fast as the one above it")
@given(count=st.integers(2, 6), top=quarters(0.25, 2), decay=decays)
def decays_downwards(layer_rates, count, top, decay):
    result = np.array(layer_rates(count, top, decay))
    assert_close(result[:-1], decay * result[1:])


@rates.law("one more layer below leaves the rates above as they are")
@given(count=counts, top=quarters(0.25, 2), decay=decays)
def is_counted_from_the_top(layer_rates, count, top, decay):
    assert_close(layer_rates(count + 1, top, decay)[1:], layer_rates(count, top, decay))


@rates.mistake("upside down: the first layer is the fastest", breaks=rates.laws[0].text)
def upside_down(count, top_rate, decay):
    return finetune.layer_rates(count, top_rate, decay)[::-1]


@rates.mistake("the top layer is decayed already", breaks=rates.laws[0].text)
def one_too_many(count, top_rate, decay):
    return [decay * rate for rate in finetune.layer_rates(count, top_rate, decay)]


@rates.mistake(
    "in equal steps instead of by a factor", breaks="each layer moves decay times as fast as the one above it"
)
def in_equal_steps(count, top_rate, decay):
    return [top_rate * (1 - (1 - decay) * (count - 1 - layer)) for layer in range(count)]


# ---- 03.2 changed_arrays

changed = Exercise(
    "03.2",
    finetune.changed_arrays,
    points=2,
    hints=(
        "A name that stands in one of the two only has changed as well: start from those.",
        "Bits, not values: NaN is not equal to itself, but its bytes are; 0 == -0, but one bit differs.",
        "old.shape == new.shape and old.dtype == new.dtype and old.tobytes() == new.tobytes()",
    ),
)


@st.composite
def states(draw):
    """A dict of arrays under names from a ... e."""
    names = draw(st.sets(st.sampled_from("abcde"), max_size=4))
    return {name: draw(arrays((2,))) for name in sorted(names)}


@changed.law("a weight that moved in its last digit counts, one that stayed does not")
def worked_change(changed_arrays):
    before = {"conv.weight": np.array([1.0, 2.0]), "head.bias": np.array([0.5])}
    after = {"conv.weight": np.array([1.0, 2.0 + 2**-50]), "head.bias": np.array([0.5])}
    assert_equal(list(changed_arrays(before, after)), ["conv.weight"])


@changed.law("NaN that stays NaN did not change, and 0 that becomes -0 did")
def goes_by_bits(changed_arrays):
    before = {"a": np.array([np.nan]), "b": np.array([0.0])}
    assert_equal(list(changed_arrays(before, {"a": np.array([np.nan]), "b": np.array([-0.0])})), ["b"])


@changed.law("other shapes and other dtypes are changes")
def sees_shapes_and_dtypes(changed_arrays):
    before = {"a": np.zeros(2), "b": np.zeros(4), "c": np.zeros(1)}
    after = {"a": np.zeros(2, np.int64), "b": np.zeros((2, 2)), "c": np.zeros(1)}
    assert_equal(list(changed_arrays(before, after)), ["a", "b"])


@changed.law("nothing changes between a state and its copy")
@given(state=states())
def a_copy_is_the_same(changed_arrays, state):
    assert_equal(list(changed_arrays(state, {name: x.copy() for name, x in state.items()})), [])


@changed.law("what is there only once is named, in sorted order, whichever side lacks it")
@given(before=states(), after=states())
def names_what_comes_and_goes(changed_arrays, before, after):
    result = list(changed_arrays(before, after))
    assert_equal(result, sorted(result))
    assert_equal(result, list(changed_arrays(after, before)))
    missing = set(before) ^ set(after)
    assert missing <= set(result), f"{sorted(missing)} are there only once, got {result}"


@changed.mistake("close is good enough", breaks=changed.laws[0].text)
def by_closeness(before, after):
    common = set(before) & set(after)
    moved = {name for name in common if not np.allclose(before[name], after[name], equal_nan=True)}
    return sorted(moved | (set(before) ^ set(after)))


@changed.mistake(
    "compares values, where NaN is not equal to itself",
    breaks="NaN that stays NaN did not change, and 0 that becomes -0 did",
)
def by_value(before, after):
    common = set(before) & set(after)
    return sorted({n for n in common if not np.array_equal(before[n], after[n])} | (set(before) ^ set(after)))


@changed.mistake("looks only at what was there before", breaks=changed.laws[-1].text)
def one_sided(before, after):
    return [name for name in finetune.changed_arrays(before, after) if name in before]


# ---- 03.3 descend_quadratic

descent = Exercise(
    "03.3",
    finetune.descend_quadratic,
    points=2,
    hints=(
        "The gradient of x·Hx / 2 for a symmetric H is Hx.",
        "Keep every point: the first row of the path is the start, each following one a step further.",
        "path.append(path[-1] - lr * (hessian @ path[-1]))",
    ),
)


@st.composite
def bowls(draw):
    """A diagonal hessian (2, 2) with curvatures 0.25 ... 2, and a start (2,)."""
    return np.diag(draw(arrays((2,), 0.25, 2))), draw(arrays((2,)))


@descent.law("curvatures 2 and 1, rate 1/2, from (1, 4): (0, 2), then (0, 1)")
def worked_descent(descend_quadratic):
    path = descend_quadratic(np.diag([2.0, 1.0]), np.array([1.0, 4.0]), 0.5, 2)
    assert_close(path, [[1, 4], [0, 2], [0, 1]])


@descent.law("directions that are coupled pull on each other")
def couples(descend_quadratic):
    path = descend_quadratic(np.array([[2.0, 1.0], [1.0, 2.0]]), np.array([1.0, 0.0]), 0.25, 1)
    assert_close(path, [[1, 0], [0.5, -0.25]])


@descent.law("along an eigenvector each step multiplies by 1 - lr·lambda")
@given(bowl=bowls(), lr=quarters(0, 2), steps=st.integers(1, 4))
def multiplies(descend_quadratic, bowl, lr, steps):
    hessian, start = bowl
    factor = 1 - lr * np.diag(hessian)
    expected = [start * factor**t for t in range(steps + 1)]
    assert_close(descend_quadratic(hessian, start, lr, steps), np.array(expected))


@descent.law("walking on from the last point is one longer walk")
@given(bowl=bowls(), lr=quarters(0, 1))
def can_be_continued(descend_quadratic, bowl, lr):
    hessian, start = bowl
    whole = descend_quadratic(hessian, start, lr, 5)
    first = descend_quadratic(hessian, start, lr, 2)
    second = descend_quadratic(hessian, np.array(first[-1]), lr, 3)
    assert_close(np.concatenate([first, second[1:]]), np.array(whole))


@descent.law("the path is in float64, also from a float32 start")
def path_is_float64(descent):
    path = descent(np.eye(2, dtype=np.float32), np.ones(2, np.float32), 0.1, 3)
    assert_dtype(path, np.float64)
    assert_close(path[:, 0], 0.9 ** np.arange(4))


@descent.mistake("walks uphill", breaks=descent.laws[0].text)
def uphill(hessian, start, lr, steps):
    return finetune.descend_quadratic(-np.asarray(hessian), start, lr, steps)


@descent.mistake("uses the gradient of the start all the time", breaks=descent.laws[0].text)
def stale_gradient(hessian, start, lr, steps):
    return np.array([start - t * lr * (hessian @ start) for t in range(steps + 1)])


@descent.mistake("leaves the start out of the path", breaks=descent.laws[0].text)
def without_the_start(hessian, start, lr, steps):
    return finetune.descend_quadratic(hessian, start, lr, steps)[1:]


@descent.mistake(
    "takes the diagonal for the whole hessian", breaks="directions that are coupled pull on each other"
)
def only_the_diagonal(hessian, start, lr, steps):
    return finetune.descend_quadratic(np.diag(np.diag(hessian)), start, lr, steps)


# ---- 03.4 largest_stable_lr

stable = Exercise(
    "03.4",
    finetune.largest_stable_lr,
    points=2,
    hints=(
        "A step multiplies an eigenvector's component by 1 - lr·lambda. When is that below 1 in magnitude?",
        "-1 < 1 - lr·lambda means lr < 2/lambda. The steepest direction sets the limit for all.",
        "2 / np.linalg.eigvalsh(hessian)[-1], and a ValueError where that eigenvalue is not positive",
    ),
)


@st.composite
def bumps(draw):
    """A symmetric hessian (2, 2) whose largest eigenvalue is at least 1/4, and that eigenvalue's vector."""
    angle, top, gap = draw(quarters(-1, 1)), draw(quarters(0.25, 2)), draw(quarters(0, 2))
    along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    return top * np.outer(along, along) + (top - gap) * np.outer(across, across), along


@stable.law(
    "curvatures 4 and 1 allow 1/2; 1, 8 and 2 allow 1/4; [[2, 1], [1, 2]], whose largest is 3, allows 2/3"
)
def worked_limits(largest_stable_lr):
    assert_close(largest_stable_lr(np.diag([4.0, 1.0])), 0.5)
    assert_close(largest_stable_lr(np.diag([1.0, 8.0, 2.0])), 0.25)
    assert_close(largest_stable_lr(np.array([[2.0, 1.0], [1.0, 2.0]])), 2 / 3)


@stable.law("a valley beside a ridge: [[1, 0], [0, -3]] allows 2, by the largest, not the longest")
def worked_saddle(largest_stable_lr):
    assert_close(largest_stable_lr(np.diag([1.0, -3.0])), 2.0)


@stable.law("at the limit the steepest component turns around and keeps its length")
@given(bump=bumps())
def is_the_edge(largest_stable_lr, bump):
    hessian, along = bump
    stepped = along - largest_stable_lr(hessian) * (hessian @ along)
    assert_close(stepped, -along, rtol=1e-9, atol=1e-9)


@stable.law("twice as steep, half the rate")
@given(bump=bumps(), factor=quarters(0.25, 4))
def scales_inversely(largest_stable_lr, bump, factor):
    hessian, _ = bump
    assert_close(largest_stable_lr(factor * hessian), largest_stable_lr(hessian) / factor)


@stable.law("where nothing curves upwards there is no limit: ValueError")
@given(depth=quarters(0, 2))
def refuses_hills(largest_stable_lr, depth):
    try:
        answer = largest_stable_lr(np.diag([-depth, -1.0]))
    except ValueError:
        return
    raise AssertionError(f"curvatures {-depth} and -1 gave {answer}, no ValueError")


@stable.mistake("1 / lambda, which is the fastest rate, not the largest", breaks=stable.laws[0].text)
def fastest(hessian):
    return finetune.largest_stable_lr(hessian) / 2


@stable.mistake("the smallest eigenvalue instead of the largest", breaks=stable.laws[0].text)
def gentlest(hessian):
    return float(2 / np.linalg.eigvalsh(hessian)[0])


@stable.mistake("the trace, which is the sum of the eigenvalues", breaks=stable.laws[0].text)
def by_trace(hessian):
    return float(2 / np.trace(hessian))


@stable.mistake("the spectral norm, which takes a ridge for a valley", breaks=stable.laws[1].text)
def by_norm(hessian):
    return float(2 / np.linalg.norm(hessian, 2))
