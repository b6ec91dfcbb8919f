"""Exercises of lesson 01, continued: the order of the backward pass."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from minidl.classroom.compare import assert_equal
from minidl.classroom.exercise import Exercise
from minidl.engine import backward

# ---- 01.4 topological_order

order = Exercise(
    "01.4",
    backward.topological_order,
    title="the order in which gradients flow",
    level=2,
    minutes=25,
    points=4,
    hints=(
        "A node must come after every node of which it is a parent. Depth-first search finishes parents "
        "first.",
        "Finish a node when all of its parents are finished; reverse the order of finishing.",
        "Python's recursion stops at a depth of about 1,000. Keep your own stack of (node, iterator over "
        "its parents).",
    ),
)


@st.composite
def graphs(draw):
    """A root, and the parents of each node 0 ... n-1. Parents come after the node in a random order."""
    line = draw(st.permutations(range(draw(st.integers(1, 6)))))
    parents = {}
    for place, node in enumerate(line):  # a parent may appear twice, as in x · x
        parents[node] = draw(st.lists(st.sampled_from(line[:place]), max_size=3)) if place else []
    return line[-1], {node: parents[node] for node in sorted(parents)}


@order.law("for w = u + v, v = 3u, u = 2x the order is w, v, u, x")
def worked_order(order):
    parents = {"w": ["u", "v"], "v": ["u"], "u": ["x"], "x": []}
    assert_equal(list(order("w", parents.__getitem__)), ["w", "v", "u", "x"])
    parents = {"w": ["v", "u"], "v": ["u", "u"], "u": ["x"], "x": []}  # v = u · u
    graph = {node: list(nodes) for node, nodes in parents.items()}
    assert_equal(list(order("w", lambda node: graph[node])), ["w", "v", "u", "x"])
    assert graph == parents, f"the lists that parents_of gave were changed: {parents} became {graph}"


@order.law(
    "nodes are compared by ==: -1, -2, 1, '1', '', None, () and (1, 2) are eight, but 1 and 1.0 are one"
)
def tells_nodes_apart(order):
    parents = {0: [-1, "1", -2, 1.0], -1: [-2], -2: ["1", 1], "1": [1], 1: [None], None: [""], "": [(1, 2)]}
    parents |= {(1, 2): [()], (): []}
    found, expected = list(order(0, lambda node: parents[node])), [0, -1, -2, "1", 1, None, "", (1, 2), ()]
    assert found == expected, f"the chain {expected} came back as {found}"


@order.law("if every number has all smaller numbers as its parents, the order is 9, 8, ..., 0")
def many_parents(order):
    rising = order(9, lambda node: list(range(node)))
    falling = order(9, lambda node: list(range(node))[::-1])
    assert_equal(list(rising), list(range(9, -1, -1)))
    assert_equal(list(falling), list(range(9, -1, -1)))


@order.law("the result has each node that the root depends on once, and no other node")
@given(graph=graphs())
def is_complete(order, graph):
    root, parents = graph
    reachable, todo = set(), [root]
    while todo:
        node = todo.pop()
        if node not in reachable:
            reachable.add(node)
            todo += parents[node]
    result = list(order(root, parents.__getitem__))
    assert_equal(sorted(result), sorted(reachable))


@order.law("each node comes before all of its parents")
@given(graph=graphs())
def children_first(order, graph):
    root, parents = graph
    result = list(order(root, parents.__getitem__))
    too_late = [(node, p) for node in result for p in parents[node] if result.index(p) < result.index(node)]
    assert_equal(too_late, [])


@order.law("a chain of 11,000 nodes works")
def survives_a_long_chain(order):
    result = list(order(11_000, lambda node: [node - 1] if node else []))
    assert_equal(result, list(range(11_000, -1, -1)))


@order.law("2,000 nodes work, although there are too many paths between them to follow each path")
def survives_many_paths(order):
    asked = []

    def parents_of(node):
        asked.append(node)
        assert len(asked) <= 10_000, "2,001 nodes are asked for their parents 10,000 times"
        return iter([max(node - 1, 0), max(node - 2, 0)] if node else [])

    assert_equal(list(order(2000, parents_of)), list(range(2000, -1, -1)))


@order.mistake("breadth-first search, which lists each node when it is first seen", breaks=order.laws[0].text)
def breadth_first(root, parents_of):
    result, seen = [root], {root}
    for node in result:
        new = [parent for parent in parents_of(node) if parent not in seen]
        result += new
        seen.update(new)
    return result


@order.mistake("recursion, which fails on a long chain", breaks="a chain of 11,000 nodes works")
def recursive(root, parents_of):
    finished = []

    def visit(node):
        if node not in finished:
            for parent in parents_of(node):
                visit(parent)
            finished.append(node)

    visit(root)
    return finished[::-1]


@order.mistake("the order of finishing, not reversed", breaks=order.laws[0].text)
def parents_first(root, parents_of):
    return backward.topological_order(root, parents_of)[::-1]
