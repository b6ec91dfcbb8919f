"""PyTorch code of a first course, run with PyTorch and with the names that the guide gives in their place.

Both give the same numbers, or minidl refuses and says what to write instead.
"""

import re
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from against_torch import torch
from snippets import AGREE, REFUSED

import minidl

PAGE = (Path(__file__).parents[2] / "lessons/book/guide/from_pytorch.md").read_text(encoding="utf-8")
TABLE = PAGE[PAGE.index("| in PyTorch | here |") :].split("\n\n")[0]
ROWS = [
    [re.findall(r"`([\w.]+)`", cell) for cell in row.strip("| ").split(" | ")]
    for row in TABLE.splitlines()[2:]
]
NAMES = [(old, here[0]) for theirs, here in ROWS for old in theirs]
PREAMBLE = "import numpy as np\nimport torch\nimport torch.nn as nn\nimport torch.nn.functional as F\n"
rng = np.random.default_rng(0)
X, IMAGES = rng.random((8, 6), np.float32), rng.random((8, 1, 8, 8), np.float32)
Y, TARGETS = rng.integers(0, 3, 8), rng.random((8, 1), np.float32)


def filled(model, tensor):
    """The model with weights that depend on their shapes alone."""
    state = {}
    for key, value in model.state_dict().items():
        drawn = np.random.default_rng(value.size if isinstance(value, np.ndarray) else value.numel())
        new = drawn.uniform(0.1, 0.5, tuple(value.shape)) * drawn.choice([-1, 1], tuple(value.shape))
        state[key] = value if "running" in key or "tracked" in key else tensor(new.astype(np.float32))
    model.load_state_dict(state)
    return model


def with_torch(snippet):
    given = {"X": X, "images": IMAGES, "y": Y, "targets": TARGETS}
    names = {name: torch.tensor(array) for name, array in given.items()}
    names["same"] = lambda model: filled(model, torch.tensor)
    exec(PREAMBLE + snippet, names)
    return names.get("result")


def with_minidl(snippet):
    names = {"X": minidl.Tensor(X.copy()), "images": minidl.Tensor(IMAGES.copy()), "y": Y.copy()}
    names |= {"targets": minidl.Tensor(TARGETS.copy()), "same": lambda model: filled(model, np.asarray)}
    code = PREAMBLE + snippet
    for old, new in NAMES:
        code = re.sub(rf"\b{re.escape(old)}\b", new, code)
    exec(code, names)
    return names.get("result")


def arrays(result):
    parts = result if isinstance(result, list | tuple) else [result]
    return [np.asarray(part.detach() if hasattr(part, "detach") else part) for part in parts]


def test_the_table_of_names_has_at_most_five_lines_and_there_are_forty_snippets():
    assert len(TABLE.splitlines()) - 2 <= 5
    assert dict(NAMES)["torch"] == "minidl" and NAMES[-1][0] == "torch"
    assert len(AGREE) + len(REFUSED) >= 40


@pytest.mark.parametrize("name", AGREE)
def test_a_snippet_gives_pytorchs_numbers(name):
    found, expected = arrays(with_minidl(AGREE[name])), arrays(with_torch(AGREE[name]))
    assert len(found) == len(expected) > 0
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("name", REFUSED)
def test_a_snippet_that_means_something_else_is_refused_with_the_mend(name):
    snippet, mend = REFUSED[name]
    with_torch(snippet)
    with pytest.raises((ValueError, TypeError, AttributeError), match=mend):
        with_minidl(snippet)


@pytest.mark.parametrize(
    ("call", "mend"),
    [
        ("X.std(dim=0)", "X.std(dim=0, correction=1)"),
        ("X.var()", "X.var(correction=1)"),
        ("X.numel()", "X.size"),
        ("(X > 0.5).float().mean()", "(X > 0.5).mean()"),
        ("F.mse_loss(input=X, target=2 * X)", "F.mse_loss(X, 2 * X)"),
        ("F.one_hot(torch.tensor([0, 2]))", "F.one_hot(np.array([0, 2]), 3)"),
        ("nn.MaxPool2d(3, 2, 1)(input=images)", "nn.MaxPool2d(3, 2, 1)(images)"),
        # the mends of engine/instead.py
        ("X.clone()", "X + 0"),
        ("X.repeat(2, 1)", "X.tile(2, 1)"),
        ("X[:, :1].expand(8, 6)", "X[:, :1].broadcast_to(8, 6)"),
        ("X.topk(2, dim=1).indices", "np.argsort(-X.data, axis=1)[:, :2]"),
        ("X.gather(1, X.argmin(1)[:, None])[:, 0]", "X[np.arange(len(X)), np.argmin(X.data, axis=1)]"),
        ("torch.outer(X[0], X[1])", "X[0][:, None] * X[1]"),
        ("torch.cdist(X, 2 * X)", "((X[:, None] - (2 * X)[None]) ** 2).sum(-1).root()"),
        ("F.huber_loss(X, 9 * X, delta=0.3)", "F.smooth_l1_loss(X, 9 * X, beta=0.3) * 0.3"),
        (
            "F.kl_div((2 * X).log_softmax(1), X.softmax(1), reduction='batchmean')",
            "(X.softmax(1) * (X.log_softmax(1) - (2 * X).log_softmax(1))).sum(axis=1).mean()",
        ),
        ("F.normalize(X)", "X / minidl.maximum(X.norm(dim=1, keepdim=True), 1e-12)"),
        (
            "F.cosine_similarity(X, X * X)",
            "(X * X * X).sum(dim=1) / minidl.maximum(X.norm(dim=1) * (X * X).norm(dim=1), 1e-8)",
        ),
        ("F.logsigmoid(X)", "-F.softplus(-X)"),
        ("F.mish(X)", "X * F.softplus(X).tanh()"),
        ("F.instance_norm(images)", "F.group_norm(images, num_groups=1)"),
        ("nn.InstanceNorm2d(1)(images)", "nn.GroupNorm(1, 1, affine=False)(images)"),
        ("F.adaptive_max_pool2d(images, 1)", "images.max(axis=(2, 3), keepdims=True)"),
    ],
)
def test_a_call_that_differs_here_or_is_not_there_has_a_mend_with_pytorchs_numbers(call, mend):
    expected = arrays(with_torch(f"result = {call}"))[0]
    with suppress(TypeError, AttributeError):  # most raise an error
        found = arrays(with_minidl(f"result = {call}"))[0]
        assert found.shape != expected.shape or not np.allclose(found, expected)
    mended = arrays(with_minidl(f"result = {mend}"))[0]
    assert mended.shape == expected.shape
    np.testing.assert_allclose(mended, expected, rtol=1e-5, atol=1e-6)
