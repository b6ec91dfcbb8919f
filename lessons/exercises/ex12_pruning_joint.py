"""Exercises of lesson 12, continued: the smallest weights of all layers at once."""

import numpy as np
from hypothesis import assume, given

from lessons.exercises.ex12_pruning import refuses_all, shares, weights
from minidl.classroom.compare import assert_dtype, assert_equal, assert_refuses
from minidl.classroom.exercise import Exercise
from minidl.compress import masks

# ---- 12.3 joint_magnitude_masks

joint = Exercise(
    "12.3",
    masks.joint_magnitude_masks,
    title="the smallest weights of all arrays together",
    points=3,
    level=2,
    minutes=20,
    hints=(
        "One threshold for all layers: a weight competes with every other weight, not with its own layer's.",
        "Concatenate the magnitudes of all arrays, and let filter_mask make one mask. Split this mask "
        "into the arrays' shapes. Then check that no array lost all its weights.",
        "parts = np.split(keep, np.cumsum(...)[:-1]); part.reshape(...)",
    ),
)


@joint.law("of a = (2, -5), b = (1, 3), c = (4, 3/2), amount 0.5 prunes 2, 1 and 3/2")
def worked_joint(joint_magnitude_masks):
    a, b, c = np.array([[2.0, -5.0]]), np.array([1.0, 3.0]), np.array([4.0, 1.5], np.float32)
    found = joint_magnitude_masks({"a": a, "b": b, "c": c}, 0.5)
    assert_equal(found["a"], np.array([[False, True]]))
    assert_equal(found["b"], np.array([False, True]))
    assert_equal(found["c"], np.array([True, False]))
    assert_dtype(found["a"], bool)
    found = joint_magnitude_masks({"a": a, "b": b}, 1)  # one weight
    assert_equal(found["b"], np.array([False, True]))
    assert_equal(found["a"], np.array([[True, True]]))


@joint.law("small differences matter; among equal weights the first are pruned, in the order of the arrays")
def worked_ties(joint_magnitude_masks):
    a, b = np.array([4e-8, 1e-8]), np.array([-3e-8, 2e-8])
    found = joint_magnitude_masks({"a": a, "b": b}, 0.5)
    assert_equal((found["a"].tolist(), found["b"].tolist()), ([True, False], [True, False]))
    ones = {"b": np.ones((2, 2)), "a": np.ones(40)}
    found = joint_magnitude_masks(ones, 2)  # row by row
    assert_equal(found["b"], np.array([[False, False], [True, True]]))
    assert_equal(found["a"], np.ones(40, bool))
    (found,) = joint_magnitude_masks({"a": np.asfortranarray([[1.0, 4.0, 1.0], [1.0, 1.0, 5.0]])}, 2).values()
    assert_equal(found, np.array([[False, True, False], [True, True, True]]))
    (found,) = joint_magnitude_masks({"a": np.arange(40) % 2 + 1.0}, 10).values()
    assert_equal(np.flatnonzero(~found), np.arange(0, 20, 2))
    near = {"a": np.array([1.0 + 1e-12, 1.0]), "b": np.array([2e-200, 1e-200])}  # squares would be 0
    found = joint_magnitude_masks(near, 1)
    assert_equal((found["a"].tolist(), found["b"].tolist()), ([True, True], [True, False]))
    for dtype in (np.float64, np.int8):
        found = joint_magnitude_masks({"a": np.array([-128, 5], np.int8), "b": np.array([3, 4], dtype)}, 1)
        assert_equal((found["a"].tolist(), found["b"].tolist()), ([True, True], [False, True]))
    for pair, kept in ((near["a"], [True, False]), (np.array([2**53 + 1, 2**53]), [False, True])):
        (found,) = joint_magnitude_masks({"a": pair}, 1).values()  # the second two are equal in float64
        assert_equal(found, np.array(kept))


def possible(joint_magnitude_masks, arrays_of, amount):
    """The masks, or None if a layer would lose all weights (the last law tests this)."""
    together = np.concatenate([np.abs(w).ravel() for w in arrays_of.values()])
    keep = np.ones(len(together), bool)
    keep[np.argsort(together, kind="stable")[: round(amount * len(together))]] = False
    ends = np.cumsum([w.size for w in arrays_of.values()])[:-1]
    assume(all(part.any() for part in np.split(keep, ends)))
    return joint_magnitude_masks(arrays_of, amount)


@joint.law("each mask has its array's shape, and together they prune round(amount · all)")
@given(a=weights, b=weights, amount=shares)
def counts_all(joint_magnitude_masks, a, b, amount):
    found = possible(joint_magnitude_masks, {"a": a, "b": b}, amount)
    assert_equal((found["a"].shape, found["b"].shape), (a.shape, b.shape))
    pruned = int(np.sum(~found["a"])) + int(np.sum(~found["b"]))
    assert_equal(pruned, round(amount * (a.size + b.size)))


@joint.law("no pruned weight of any layer has a larger magnitude than a kept weight of any other")
@given(a=weights, b=weights, amount=shares)
def one_threshold(joint_magnitude_masks, a, b, amount):
    found = possible(joint_magnitude_masks, {"a": a, "b": b}, amount)
    lost = np.concatenate([np.abs(a[~found["a"]]), np.abs(b[~found["b"]])])
    kept = np.concatenate([np.abs(a[found["a"]]), np.abs(b[found["b"]])])
    assert_equal(bool(kept.min() >= lost.max(initial=0.0)), True)


@joint.law("pruning twice by the same amount prunes nothing more: amount is a share of all weights")
@given(a=weights, b=weights, amount=shares)
def idempotent(joint_magnitude_masks, a, b, amount):
    first = possible(joint_magnitude_masks, {"a": a, "b": b}, amount)
    pruned = {"a": np.where(first["a"], a, 0), "b": np.where(first["b"], b, 0)}
    again = joint_magnitude_masks(pruned, amount)
    assert_equal(again["a"], first["a"])
    assert_equal(again["b"], first["b"])


@joint.law("a layer that would lose all its weights is refused with an EmptyLayerError")
@given(a=weights)
def refuses_an_empty_layer(joint_magnitude_masks, a):
    faint = {"strong": np.abs(a) + 1, "faint": np.full(a.shape, 0.125)}
    for names in (("strong", "faint"), ("faint", "strong")):  # whichever comes first
        ordered = {name: faint[name] for name in names}
        refuses_all("half of a strong and a faint layer", joint_magnitude_masks, ordered, 0.5)
    refuses_all("all zeros of a layer", joint_magnitude_masks, {"a": np.zeros(2), "b": faint["strong"]}, 2)
    for everything in (1.0, a.size):
        refuses_all("all of one layer", joint_magnitude_masks, {"strong": faint["strong"]}, everything)


@joint.law("the only weight of a layer is not pruned either, whichever of four layers has it")
def refuses_a_single_weight(joint_magnitude_masks):
    for name in "abcd":
        four = {other: np.array([1.0] if other == name else [2.0, 2.0]) for other in "abcd"}
        refuses_all(f"one weight of four layers, that of {name},", joint_magnitude_masks, four, 1)


@joint.law("a dict of one array is allowed, and an empty dict is refused with a ValueError")
def one_and_none(joint_magnitude_masks):
    found = joint_magnitude_masks({"a": np.array([3.0, 1.0, -2.0])}, 2)
    assert_equal(found["a"], np.array([True, False, False]))
    four = {name: np.full((1, 2, 1), 1.0 + i) for i, name in enumerate("dbca")}
    found = joint_magnitude_masks(four, 1)
    assert_equal(list(found), list(four))
    assert_equal([found[name].ravel().tolist() for name in "dbca"], [[False, True], *[[True, True]] * 3])
    assert_equal(joint_magnitude_masks(four, 0)["d"], np.ones((1, 2, 1), bool))
    assert_refuses("an empty dict", joint_magnitude_masks, {}, 0.5)


@joint.mistake(
    "used a threshold for each layer",
    breaks="no pruned weight of any layer has a larger magnitude than a kept weight of any other",
)
def each_layer(weights, amount):
    return {name: masks.magnitude_mask(weight, amount) for name, weight in weights.items()}


@joint.mistake("compared the signed weights, not their magnitudes", breaks=joint.laws[0].text)
def signed_weights(weights, amount):
    lowest = min(weight.min() for weight in weights.values())
    return masks.joint_magnitude_masks({name: w - lowest for name, w in weights.items()}, amount)


@joint.mistake(
    "took amount as a share of the weights that are not pruned yet",
    breaks="pruning twice by the same amount prunes nothing more: amount is a share of all weights",
)
def of_the_rest(weights, amount):
    zeros = sum(int(np.sum(weight == 0)) for weight in weights.values())
    total = sum(weight.size for weight in weights.values())
    count = zeros + round(amount * (total - zeros))
    return masks.joint_magnitude_masks(weights, min(count, total))
