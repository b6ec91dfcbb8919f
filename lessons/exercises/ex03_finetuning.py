"""Exercises of lesson 03: gradient descent on a quadratic function, and its largest stable rate."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minidl.classroom.compare import assert_close, assert_dtype, assert_equal, assert_refuses
from minidl.classroom.exercise import Exercise
from minidl.classroom.strategies import arrays, quarters
from minidl.transfer import finetune

# ---- 03.1 descend_quadratic

descent = Exercise(
    "03.1",
    finetune.descend_quadratic,
    title="gradient descent in a bowl",
    points=2,
    level=1,
    minutes=10,
    hints=(
        "The gradient of x·Hx / 2 for a symmetric H is Hx.",
        "Keep every point. The first row of the path is the start, and each next row is one step further.",
        "path = [start], and in each step path.append(path[-1] - ...)",
    ),
)


@st.composite
def bowls(draw):
    """A diagonal hessian (2, 2) with curvatures 0.25 ... 2, and a start (2,)."""
    return np.diag(draw(arrays((2,), 0.25, 2))), draw(arrays((2,)))


@descent.law("curvatures 2 and 1, lr = 1/2, start (1, 4): the path goes to (0, 2), then to (0, 1)")
def worked_descent(descend_quadratic):
    path = descend_quadratic(np.diag([2.0, 1.0]), np.array([1.0, 4.0]), 0.5, 2)
    assert_close(path, [[1, 4], [0, 2], [0, 1]])


@descent.law("a hessian that is not diagonal couples the directions")
def couples(descend_quadratic):
    path = descend_quadratic(np.array([[2.0, 1.0], [1.0, 2.0]]), np.array([1.0, 0.0]), 0.25, 3)
    assert_close(path, [[1, 0], [0.5, -0.25], [0.3125, -0.25], [0.21875, -0.203125]])
    path = descend_quadratic(np.eye(70) + np.ones((70, 70)), np.eye(70)[0], 0.25, 1)
    assert_close(path, [[1] + 69 * [0], [0.5] + 69 * [-0.25]])
    saddle = descend_quadratic(np.diag([1.0, -1.0]), np.array([1.0, 1.0]), 0.5, 2)
    assert_close(saddle, [[1, 1], [0.5, 1.5], [0.25, 2.25]])  # away from 0 where the curvature is negative
    assert_close(descend_quadratic(np.array([[0.125]]), np.array([1.0]), 4.0, 1), [[1], [0.5]])


@descent.law("along an eigenvector each step multiplies by 1 - lr·lambda")
@given(bowl=bowls(), lr=quarters(0, 2), steps=st.integers(1, 4))
def multiplies(descend_quadratic, bowl, lr, steps):
    hessian, start = bowl
    factor = 1 - lr * np.diag(hessian)
    expected = [start * factor**t for t in range(steps + 1)]
    assert_close(descend_quadratic(hessian, start, lr, steps), np.array(expected))


@descent.law("going on from the last point gives the same points as one longer path")
@given(bowl=bowls(), lr=quarters(0, 1))
def can_be_continued(descend_quadratic, bowl, lr):
    hessian, start = bowl
    whole = descend_quadratic(hessian, start, lr, 5)
    first = descend_quadratic(hessian, start, lr, 2)
    second = descend_quadratic(hessian, np.array(first[-1]), lr, 3)
    assert_close(np.concatenate([first, second[1:]]), np.array(whole))


@descent.law("the path is in float64, also for a float32 start")
def path_is_float64(descent):
    for dtype, rtol in ((np.float64, 1e-12), (np.float32, 1e-6)):  # of the hessian: lr H may be rounded
        path = descent(np.eye(2, dtype=dtype), np.ones(2, np.float32), 0.1, 3)
        assert_dtype(path, np.float64)
        assert_close(path[:, 0], 0.9 ** np.arange(4), rtol=rtol)
    assert_equal(descent(np.eye(2), np.array([0.1, 0.7]), 0.5, 1)[0], np.array([0.1, 0.7]))
    factor = 1 - 0.5 * float(np.float32(0.3))  # lr H is exact in float32, the path is not
    path = descent(np.array([[0.3]], np.float32), np.ones(1, np.float32), 0.5, 3)
    assert_close(path[:, 0], factor ** np.arange(4), rtol=1e-12)


@descent.law("three directions, a start of whole numbers: (1, 2, 3) goes to (0.9, 1.6, 2.1) in float64")
def worked_whole_numbers(descend_quadratic):
    path = descend_quadratic(np.diag([1, 2, 3]), np.array([1, 2, 3]), 0.1, 1)
    assert_close(path, [[1, 2, 3], [0.9, 1.6, 2.1]], rtol=1e-12)
    assert_close(descend_quadratic(np.diag([1, 3]), np.array([1, 2]), 1, 1), [[1, 2], [0, -4]])
    path = descend_quadratic(np.diag([0.1, 0.2]), np.array([1e12, 1e-12]), 0.5, 2)  # of any size
    assert_close(path, [[1e12, 1e-12], [0.95e12, 0.9e-12], [0.9025e12, 0.81e-12]], rtol=1e-12, atol=0)


@descent.law("a thousand steps with lr = 1: components grow to 2^1000, shrink to 2^-1000, swing or stay")
def worked_long_path(descend_quadratic):
    curvatures, start, t = np.array([3.0, 0.5, 2.0, 0.0]), np.array([1.0, 3.0, -1.0, 5.0]), np.arange(1001.0)
    swing = 1 - 2 * (t % 2)
    expected = np.array([swing * 2**t, 3 * 0.5**t, -swing, 5 + 0 * t]).T  # 1 - lr·lambda: -2, 1/2, -1, 1
    for some in (slice(0, 4), slice(1, 2)):  # all, and the component that shrinks alone
        path = descend_quadratic(np.diag(curvatures[some]), start[some], 1.0, 1000)
        assert_close(path, expected[:, some], rtol=1e-9, atol=0)


@descent.mistake("goes uphill", breaks=descent.laws[0].text)
def uphill(hessian, start, lr, steps):
    return finetune.descend_quadratic(-np.asarray(hessian), start, lr, steps)


@descent.mistake("uses the gradient at the start in every step", breaks=descent.laws[0].text)
def stale_gradient(hessian, start, lr, steps):
    return np.array([start - t * lr * (hessian @ start) for t in range(steps + 1)])


@descent.mistake("leaves the start out of the path", breaks=descent.laws[0].text)
def without_the_start(hessian, start, lr, steps):
    return finetune.descend_quadratic(hessian, start, lr, steps)[1:]


@descent.mistake(
    "uses only the diagonal of the hessian", breaks="a hessian that is not diagonal couples the directions"
)
def only_the_diagonal(hessian, start, lr, steps):
    return finetune.descend_quadratic(np.diag(np.diag(hessian)), start, lr, steps)


# ---- 03.2 largest_stable_lr

stable = Exercise(
    "03.2",
    finetune.largest_stable_lr,
    title="the largest rate at which gradient descent does not diverge",
    points=2,
    level=2,
    minutes=15,
    hints=(
        "A step multiplies an eigenvector's component by 1 - lr·lambda. When is that below 1 in magnitude?",
        "-1 < 1 - lr·lambda means lr < 2/lambda. The steepest direction sets the limit for all.",
        "np.linalg.eigvalsh(hessian) gives the eigenvalues in rising order. What if the last one is not "
        "positive?",
    ),
)


@st.composite
def bumps(draw):
    """A symmetric hessian (2, 2) whose largest eigenvalue is at least 1/4, and that eigenvalue's vector."""
    angle, top, gap = draw(quarters(-1, 1)), draw(quarters(0.25, 2)), draw(quarters(0, 2))
    along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    return top * np.outer(along, along) + (top - gap) * np.outer(across, across), along


@stable.law(
    "curvatures 4 and 1 give 1/2; 1, 8 and 2 give 1/4; [[2, 1], [1, 2]] with lambda_max = 3 gives 2/3"
)
def worked_limits(largest_stable_lr):
    assert_close(largest_stable_lr(np.diag([4.0, 1.0])), 0.5)
    assert_close(largest_stable_lr(np.diag([1.0, 8.0, 2.0]).astype(np.float32)), 0.25)
    assert_close(largest_stable_lr(np.diag(np.arange(20.0, 0.0, -1.0))), 0.1)
    assert_close(largest_stable_lr(np.array([[2, 1], [1, 2]])), 2 / 3)  # whole numbers
    nearly = [[2, 1], [1 + 9e-10, 2]], [[2, 1.9e-12], [0, 1]], [[-1e3, 9e-10], [0, 1]]
    for rows in nearly:  # symmetric but for rounding
        assert_close(largest_stable_lr(np.array(rows)), 2 / np.linalg.eigvalsh(rows)[-1])


@stable.law("[[1, 0], [0, -3]] gives 2: the largest eigenvalue counts, not the largest absolute value")
def worked_saddle(largest_stable_lr):
    assert_close(largest_stable_lr(np.diag([1.0, -3.0])), 2.0)
    assert_close(largest_stable_lr(np.eye(3) - 1), 2.0)  # eigenvalues 1, 1 and -2, and zeros on the diagonal
    assert_close(largest_stable_lr(np.eye(3) - np.diag([0.0, 2.0, 9.0])), 2.0)  # a sum of -8
    assert_close(largest_stable_lr(np.eye(3) + 1), 0.5)  # eigenvalues 1, 1 and 4
    assert_close(largest_stable_lr(np.array([[4.0]])), 0.5)
    assert_refuses("the hessian [[-2]]", largest_stable_lr, np.array([[-2.0]]))
    assert_refuses("curvatures 0, -1 and 0", largest_stable_lr, np.diag([0.0, -1.0, 0.0]))
    assert_refuses("curvatures 0 and 0", largest_stable_lr, np.zeros((2, 2)))


@stable.law("at this rate each step changes only the sign of the steepest component")
@given(bump=bumps())
def is_the_edge(largest_stable_lr, bump):
    hessian, along = bump
    stepped = along - largest_stable_lr(hessian) * (hessian @ along)
    assert_close(stepped, -along, rtol=1e-9, atol=1e-9)


@stable.law("twice the curvature gives half the rate")
@given(bump=bumps(), factor=quarters(0.25, 4))
def scales_inversely(largest_stable_lr, bump, factor):
    hessian, _ = bump
    assert_close(largest_stable_lr(factor * hessian), largest_stable_lr(hessian) / factor)


@stable.law("ValueError if no direction curves upwards, because then there is no limit")
@given(depth=quarters(0, 2))
def refuses_hills(largest_stable_lr, depth):
    try:
        answer = largest_stable_lr(np.diag([-depth, -1.0]))
    except ValueError:
        return
    raise AssertionError(f"curvatures {-depth} and -1 gave {answer}, no ValueError")


@stable.law("a lambda_max of 1e-14 or 1e-305 is above 0 too: it gives 2e14 or 2e305; 1e20 gives 2e-20")
def worked_flat(largest_stable_lr):
    for top in (1e-14, 1e-305, 1e20):
        assert_close(largest_stable_lr(np.diag([top, 0.0])), 2 / top, atol=0)
    assert_close(largest_stable_lr(np.diag([-1.0, 1e-20])), 2e20, atol=0)


@stable.law("ValueError for a hessian that is not symmetric")
def refuses_asymmetry(largest_stable_lr):
    assert_refuses("[[2, 1], [0, 2]]", largest_stable_lr, np.array([[2.0, 1.0], [0.0, 2.0]]))
    assert_refuses(
        "[[2, 1], [0, 2]] times 1e-12", largest_stable_lr, np.array([[2e-12, 1e-12], [0.0, 2e-12]])
    )
    for n, i, j in (*((4, *place) for place in np.argwhere(np.eye(4) == 0)), (70, 66, 5)):
        hessian = 4 * np.eye(n)
        hessian[i, j] = 1.0
        where = f"{n} directions, H[{i}, {j}] = 1 but H[{j}, {i}] = 0"
        assert_refuses(where, largest_stable_lr, hessian)
    for rows in ([[2, 1], [-1, 2]], [[2, 1], [1 + 1.5e-9, 2]], [[1e3, 1.2e-9], [0, 1e3]]):
        assert_refuses(f"{rows}", largest_stable_lr, np.array(rows, np.float64))


@stable.mistake("1 / lambda_max, which is the fastest rate, not the largest", breaks=stable.laws[0].text)
def fastest(hessian):
    return finetune.largest_stable_lr(hessian) / 2


@stable.mistake("the smallest eigenvalue instead of the largest", breaks=stable.laws[0].text)
def gentlest(hessian):
    return float(2 / np.linalg.eigvalsh(hessian)[0])


@stable.mistake("the trace, which is the sum of the eigenvalues", breaks=stable.laws[0].text)
def by_trace(hessian):
    return float(2 / np.trace(hessian))


@stable.mistake(
    "the spectral norm, which counts a negative eigenvalue as positive", breaks=stable.laws[1].text
)
def by_norm(hessian):
    return float(2 / np.linalg.norm(hessian, 2))
