"""Exercises of lesson 04: scaled features, and their projection to two dimensions."""

import statistics

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minidl.classroom.compare import assert_close, assert_dtype, assert_equal, assert_refuses
from minidl.classroom.exercise import Exercise
from minidl.classroom.strategies import arrays, quarters
from minidl.transfer import features as reference

tables = arrays(st.tuples(st.integers(2, 4), st.integers(1, 3)))

# ---- 04.1 standardise

scale = Exercise(
    "04.1",
    reference.standardise,
    title="features on one scale",
    level=1,
    minutes=15,
    points=2,
    hints=(
        "The mean and the deviation both come from the reference, never from the features.",
        "A column that is constant in the reference has deviation 0. Handle it before you divide.",
        "constant = np.ptp(reference, axis=0) == 0, since rounding may leave a deviation a little above 0",
    ),
)


@scale.law("a reference of 0 and 4 turns 6 into 2, and a constant column into 0, without dividing by 0")
def worked_scale(standardise):
    with np.errstate(divide="raise", invalid="raise"):
        result = standardise(np.array([[0.0, 5.0], [4.0, 5.0]]), np.array([[6.0, 7.0]]))
        alike = standardise(np.array([[0.0, 5.0], [4.0, 5.0]]), np.array([[6.0, 7.0], [4.0, 8.0]]))
    assert_close(result, [[2.0, 0.0]])
    assert_close(alike, [[2.0, 0.0], [1.0, 0.0]])
    anywhere = np.array([[1.234567e-10], [0.0], [-3e20]])
    assert_close(standardise(np.array([[-1.0], [1.0]]), anywhere), anywhere, atol=1e-15)  # of any size


@scale.law("a table that is its own reference gets mean 0 and deviation 1 in every column that varies")
@given(features=tables)
def has_unit_scale(standardise, features):
    result = standardise(features, features)
    assert_close(np.mean(result, axis=0), 0.0, atol=1e-12)
    assert_close(np.std(result, axis=0), (np.ptp(features, axis=0) > 0).astype(float), atol=1e-12)


@scale.law("units do not matter: for c > 0, c·x + d gives the same result as x")
@given(features=tables, factor=quarters(0.25, 4), shift=quarters(-3, 3))
def forgets_units(standardise, features, factor, shift):
    other = features[::-1] / 2
    moved = standardise(factor * features + shift, factor * other + shift)
    assert_close(moved, np.array(standardise(features, other)), atol=1e-9)


@scale.law("the result for one row of features does not depend on the other rows")
@given(features=tables, other=arrays((3, 2)))
def rows_are_independent(standardise, features, other):
    table = np.resize(features, (4, 2))
    together = np.array(standardise(table, other))
    for row in range(3):
        assert_close(standardise(table, other[row : row + 1]), together[row : row + 1])


@scale.law("0.1, 0.1, 0.1 is constant, although its deviation is rounded above 0; sixteen 0 and a 17 is not")
def constant_up_to_rounding(scale):
    reference = np.full((3, 1), 0.1)
    assert_equal(scale(reference, np.array([[0.1], [0.3]])), np.zeros((2, 1)))
    assert_equal(scale(np.full((100, 1), 7250.3), np.array([[7250.3]])), np.zeros((1, 1)))  # s is 4e-12
    assert_equal(scale(np.full((3, 1), 3.3), np.array([[3.3]])), np.zeros((1, 1)))  # s is 4e-16
    sparse = np.zeros((17, 1))  # sixteen 0 and one 17 have mean 1 and deviation 4
    sparse[5] = 17.0
    assert_close(scale(sparse, sparse[4:6]), [[-0.25], [4.0]])


@scale.law("the result is computed in float64, also for float32, for whole numbers and for two dtypes")
def standardised_in_float64(scale):
    for table in (np.array([[0.1], [0.2], [0.4]], np.float32), np.arange(3600).reshape(300, 12) ** 2):
        answer = scale(table, table)
        assert_dtype(answer, np.float64)
        numbers = table[:, -1].tolist()
        m, s = statistics.fmean(numbers), statistics.pstdev(numbers)
        assert_close(answer[:, -1], [(x - m) / s for x in numbers], rtol=1e-12)
    ends = np.array([[-100], [100]], np.int8)
    assert_close(scale(ends, ends), [[-1], [1]], rtol=1e-12)
    thirds = np.array([[0], [2 / 3]])
    for dtype in (np.float32, np.int64, np.uint8):
        assert_close(scale(np.array([[0], [2]], dtype), thirds), thirds - 1, rtol=1e-12)
        assert_close(scale(thirds, np.array([[0], [2]], dtype)), [[-1], [5]], rtol=1e-12)
        for some in (np.array([[-1.0], [1.0]]), np.ones((1, 1)), np.ones((3, 1))):  # m = 0, s = 1
            assert_dtype(scale(some, np.array([[0], [2]], dtype)), np.float64)


@scale.law("a column that varies by 2e-100, or by 1 around 1.7e15, is not constant; a single row is constant")
def worked_small_spread(standardise):
    table = np.array([[0.0, 1e6], [2e-100, 1e6 + 0.01]])
    assert_close(standardise(table, table), [[-1.0, -1.0], [1.0, 1.0]], rtol=1e-5)
    assert_close(standardise(table[:1], table + 3), np.zeros((2, 2)))
    for far in (1.7e9, 1.7e15):  # a time in seconds, and in microseconds
        times = np.array([[far], [far + 1]])
        assert_close(standardise(times, times), [[-1.0], [1.0]])


@scale.mistake("uses the features' own mean and deviation: the test set leaks", breaks=scale.laws[0].text)
def by_itself(reference_rows, features):
    return reference.standardise(features, features)


@scale.mistake("one mean and one deviation for all columns", breaks=scale.laws[0].text)
def over_all_columns(reference_rows, features):
    return (features - reference_rows.mean()) / reference_rows.std()


@scale.mistake("divides by 0 where a column is constant", breaks=scale.laws[0].text)
def divides_by_zero(reference_rows, features):
    with np.errstate(all="ignore"):
        return (features - reference_rows.mean(axis=0)) / reference_rows.std(axis=0)


@scale.mistake("divides by the variance", breaks=scale.laws[0].text)
def by_variance(reference_rows, features):
    deviation = reference_rows.std(axis=0)
    return reference.standardise(reference_rows, features) / np.where(deviation > 0, deviation, 1)


# ---- 04.2 pca_projection

pca = Exercise(
    "04.2",
    reference.pca_projection,
    title="a cloud of features in two dimensions",
    level=2,
    minutes=25,
    points=3,
    hints=(
        "Move the cloud's mean to 0, then turn it so that the first axis is the direction of largest spread.",
        "np.linalg.svd(X, full_matrices=False) gives U, S, Vt; Vt's rows are the directions, widest first.",
        "Coordinates are X @ Vt[:dims].T; flip a direction whose largest component is negative.",
    ),
)


@pca.law("(0, 0), (3, 4), (6, 8) lie on a line, 5 apart, and so do the first two points alone")
def worked_line(pca_projection):
    points = np.array([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]])
    assert_close(pca_projection(points, 1), [[-5.0], [0.0], [5.0]], atol=1e-9)
    assert_close(pca_projection(points[:2], 1), [[-2.5], [2.5]], atol=1e-9)
    assert_close(pca_projection(points[[0, 1, 0, 0]], 1), [[-1.25], [3.75], [-1.25], [-1.25]], atol=1e-9)
    for size in (1e-15, 1e9):
        assert_close(pca_projection(size * points, 1), [[-5 * size], [0], [5 * size]], atol=1e-9 * size)
    assert_close(pca_projection(points[:, :1], 1), [[-3], [0], [3]], atol=1e-9)
    assert_close(pca_projection(points[:2]), [[-2.5, 0.0], [2.5, 0.0]], atol=1e-9)


@pca.law("each direction has the sign that makes its largest component positive")
def worked_sign(pca_projection):
    points = np.array([[0.0, 0.0], [3.0, -4.0], [6.0, -8.0]])
    assert_close(pca_projection(points, 1), [[5.0], [0.0], [-5.0]], atol=1e-9)
    cloud = np.outer([-3, -3, 3, 3], [-0.6, 0.8]) + np.outer([-1, 1, -1, 1], [0.8, 0.6])
    for signs in ([1, 1], [-1, 1], [1, -1], [-1, -1]):
        # The first direction has its largest component, ±0.8, in the second place. The second direction has
        # its largest component in the first place.
        expected = np.array([[-3.0, -1.0], [-3.0, 1.0], [3.0, -1.0], [3.0, 1.0]]) * signs[::-1]
        assert_close(pca_projection(cloud * signs), expected, atol=1e-9)
    flat = np.array([[1, 1e-9], [1, -1e-9], [-1, 1e-9], [-1, -1e-9]])  # almost a line
    assert_close(pca_projection(flat), flat, atol=1e-14)
    for seed in range(4):
        wide = np.random.default_rng(seed).integers(-8, 9, (120, 12)).astype(np.float64)
        points = np.array(pca_projection(wide, 12))
        directions = np.linalg.pinv(wide - wide.mean(axis=0)) @ points
        largest = directions[np.abs(directions).argmax(axis=0), np.arange(12)]
        assert (largest > 0).all(), f"the largest components of twelve directions are {largest.round(2)}"
        assert_close(points.mean(axis=0), 0.0, atol=1e-9)
        spreads = np.sort((points**2).sum(axis=0))[::-1]  # the widest first
        assert_close(points.T @ points, np.diag(spreads), rtol=1e-9, atol=1e-6)


@pca.law("both coordinates have mean 0, they are uncorrelated, and the first one spreads the most")
@given(features=arrays((4, 3)))
def is_uncorrelated(pca_projection, features):
    points = np.array(pca_projection(features))
    assert_close(points.mean(axis=0), 0.0, atol=1e-9)
    first, second = points.T
    assert_close(first @ second, 0.0, atol=1e-9)
    assert first @ first >= second @ second - 1e-9, f"spread {first @ first} before {second @ second}"


@pca.law("no direction spreads the cloud more than the first")
@given(features=arrays((4, 3)), direction=arrays((3,), 0.25, 2))
def spreads_most(pca_projection, features, direction):
    along = (features - features.mean(axis=0)) @ direction / np.linalg.norm(direction)
    first = np.array(pca_projection(features, 1))
    assert np.sum(along**2) <= np.sum(first**2) + 1e-9, f"{direction} spreads by {np.sum(along**2)}"


@pca.law("with all dimensions the cloud is only rotated: distances stay the same")
@given(features=arrays((4, 2)))
def keeps_distances(pca_projection, features):
    points = np.array(pca_projection(features, 2))
    before = np.linalg.norm(features[:, None] - features, axis=-1)
    assert_close(np.linalg.norm(points[:, None] - points, axis=-1), before, atol=1e-9)
    tall = np.vander(features.sum(axis=1), 3)[[0, 1, 2, 3, 0, 1]] + np.eye(6, 3)  # six points, three columns
    for table in (tall, tall.T):
        points = np.array(pca_projection(table, 3))
        before = np.linalg.norm(table[:, None] - table, axis=-1)
        assert_close(np.linalg.norm(points[:, None] - points, axis=-1), before, rtol=1e-9, atol=1e-7)


@pca.law("ValueError for a single point, and for more dimensions than points or columns")
@given(features=arrays((3, 2)))
def refuses_too_few(pca_projection, features):
    for points, dims in ((features[:1], 1), (features, 3), (features.T, 3)):
        try:
            answer = pca_projection(points, dims)
        except ValueError:
            continue
        raise AssertionError(f"{dims} dimensions of {points.shape} gave {answer}, no ValueError")
    assert_refuses("two dimensions of one column", pca_projection, features[:, :1])


@pca.law(
    "the direction (-2.999, 3, -2, -2) keeps its sign: its largest component is positive, its sum is not"
)
def sign_of_the_largest(pca):
    direction = np.array([-2.999, 3, -2, -2])
    coordinates = pca(np.outer([0.0, 1.0, 2.0], direction), dims=1)
    assert_close(coordinates[:, 0], np.array([-1, 0, 1]) * np.sqrt(direction @ direction))


@pca.law("the coordinates are computed in float64, also for float32 features, and distances stay the same")
def coordinates_in_float64(pca):
    points = np.array([[0, 0], [3, 4], [6, 9]]) / 7
    for table in (points.astype(np.float32), points + 1e8, np.uint8(140 * points)):
        answer, wide = pca(table), table.astype(np.float64)
        assert_dtype(answer, np.float64)
        distances = [np.linalg.norm(x[1:] - x[:-1], axis=1) for x in (answer, wide)]
        assert_close(distances[0], distances[1], rtol=1e-9)
    assert_close(pca(points.astype(np.float32)).mean(axis=0), 0.0, atol=1e-12)
    column = np.float32(points[:, 1:])
    answer = pca(column, 1)
    assert_dtype(answer, np.float64)
    assert_close(answer, column - np.mean(column, dtype=np.float64), rtol=1e-12, atol=1e-15)


@pca.mistake("forgot to subtract the mean", breaks=pca.laws[0].text)
def not_centred(features, dims=2):
    _, _, Vt = np.linalg.svd(features, full_matrices=False)
    return features @ (Vt[:dims] * np.sign(Vt[:dims].sum(axis=1, keepdims=True))).T


@pca.mistake("makes the first component positive, not the largest", breaks=pca.laws[1].text)
def by_the_first_component(features, dims=2):
    X = features - features.mean(axis=0)
    directions = np.linalg.svd(X, full_matrices=False)[2][:dims]
    return X @ (directions * np.sign(directions[:, :1])).T


@pca.mistake("takes the directions of smallest spread", breaks=pca.laws[0].text)
def narrowest(features, dims=2):
    return reference.pca_projection(features, min(features.shape))[:, ::-1][:, :dims]


@pca.mistake("scales every direction to the same spread", breaks=pca.laws[0].text)
def whitened(features, dims=2):
    points = reference.pca_projection(features, dims)
    return points / np.maximum(np.linalg.norm(points, axis=0), 1e-12)
