"""NT-Xent written out in PyTorch, value and gradient; cosines; the AUC of scikit-learn."""

import numpy as np
import pytest
from against_torch import agree, close, torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minidl.train import roc_auc
from minidl.transfer.contrastive import ProjectionHead, nt_xent, same_or_not

TF = torch.nn.functional
seeds = st.integers(0, 2**32 - 1)


def direct_nt_xent(z1, z2, temperature):
    """Each view's similarity to its partner over the sum of those to its 2N - 1 others, term by term."""
    z = torch.cat([z1, z2])
    n, losses = len(z1), []
    for i in range(2 * n):
        e = torch.exp(TF.cosine_similarity(z[i : i + 1], z, dim=1) / temperature)
        losses.append(-torch.log(e[(i + n) % (2 * n)] / (e[:i].sum() + e[i + 1 :].sum())))
    return torch.stack(losses).mean()


@settings(max_examples=25)
@given(seed=seeds, n=st.integers(1, 6), dims=st.integers(1, 5), T=st.sampled_from([0.1, 0.5, 1.0, 3.0]))
def test_nt_xent_and_its_gradient(seed, n, dims, T):
    z1, z2 = np.random.default_rng(seed).normal(size=(2, n, dims))
    agree(lambda a, b: nt_xent(a, b, T), lambda a, b: direct_nt_xent(a, b, T), z1, z2)


def test_nt_xent_of_a_whole_batch():
    z1, z2 = np.random.default_rng(0).normal(size=(2, 64, 16))
    agree(lambda a, b: nt_xent(a, b, 0.2), lambda a, b: direct_nt_xent(a, b, 0.2), z1, z2)


@settings(max_examples=25)
@given(seed=seeds, n=st.integers(2, 6))
def test_the_scores_are_cosines(seed, n):
    a, b = np.random.default_rng(seed).normal(size=(2, n, 3))
    scores, _ = same_or_not(a, b)
    expected = TF.cosine_similarity(torch.tensor(a)[:, None], torch.tensor(b)[None], dim=2)
    close(scores, expected.ravel())


def test_the_projection_head_is_linear_relu_linear():
    head = ProjectionHead(5, 7, 3, rng=np.random.default_rng(0))
    twin = torch.nn.Sequential()
    for name, layer in (
        ("fc1", torch.nn.Linear(5, 7)),
        ("relu", torch.nn.ReLU()),
        ("fc2", torch.nn.Linear(7, 3)),
    ):
        twin.add_module(name, layer)
    twin.load_state_dict({name: torch.from_numpy(value) for name, value in head.state_dict().items()})
    x = np.random.default_rng(1).normal(size=(4, 5)).astype(np.float32)
    close(head(x).data, twin(torch.from_numpy(x)), tolerance=1e-5)


@settings(max_examples=50)
@given(seed=seeds, n=st.integers(2, 40), levels=st.sampled_from([2, 5, 1000]))
def test_the_auc_is_scikit_learns_with_ties_and_without(seed, n, levels):
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(seed)
    scores, positive = rng.integers(0, levels, n), rng.permutation(np.arange(n) < rng.integers(1, n))
    assert roc_auc(scores, positive) == pytest.approx(metrics.roc_auc_score(positive, scores), rel=1e-12)
