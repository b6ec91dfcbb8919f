"""Warmup before a cosine is PyTorch's sequence of schedulers; calibration agrees with other libraries."""

import numpy as np
import pytest
from against_torch import torch

from minidl.engine.reduce import stable_softmax
from minidl.train import fit_temperature, reliability
from minidl.train.schedules import cosine, with_warmup


@pytest.mark.parametrize(("warmup", "steps"), [(2, 5), (7, 20), (10, 1)])
def test_warmup_and_cosine_run_as_pytorchs_sequence(warmup, steps):
    """LinearLR counts both of its ends, so base / W ... base in W steps is total_iters = W - 1."""
    base, end = 0.3, 0.01
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=base)
    scheduler = torch.optim.lr_scheduler.SequentialLR(
        optimizer,
        [
            torch.optim.lr_scheduler.LinearLR(optimizer, 1 / warmup, 1.0, total_iters=warmup - 1),
            torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps, eta_min=end),
        ],
        milestones=[warmup],
    )
    schedule = with_warmup(cosine(base, end, steps), warmup)
    for step in range(warmup + steps + 1):  # after its end PyTorch's cosine rises again, ours stays constant
        assert schedule(step) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
        optimizer.step()
        scheduler.step()


def drawn(seed, n=300, classes=5):
    """Overconfident logits, and labels drawn from a flatter distribution than theirs."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, classes))
    cumulative = stable_softmax(z).cumsum(axis=1)
    return 3 * z, np.minimum((rng.random((n, 1)) > cumulative).sum(axis=1), classes - 1)


@pytest.mark.parametrize("seed", range(5))
def test_reliability_is_scikit_learns_calibration_curve(seed):
    calibration = pytest.importorskip("sklearn.calibration")
    z, labels = drawn(seed)
    p = stable_softmax(z)
    table = reliability(p, labels, bins=10)
    right = p.argmax(axis=1) == labels
    accuracy, confidence = calibration.calibration_curve(right, p.max(axis=1), n_bins=10)
    seen = table.accuracy.n > 0
    np.testing.assert_allclose(table.accuracy.mean[seen], accuracy, rtol=1e-12)
    np.testing.assert_allclose(table.confidence[seen], confidence, rtol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_the_fitted_temperature_is_where_pytorchs_loss_has_no_slope(seed):
    z, labels = drawn(seed)
    log_T = torch.tensor(np.log(fit_temperature(z, labels)), requires_grad=True)
    loss = torch.nn.functional.cross_entropy(torch.tensor(z) / log_T.exp(), torch.tensor(labels))
    slope, curvature = derivatives(loss, log_T)
    assert curvature > 0 and abs(slope / curvature) < 1e-4  # the length of a Newton step in log T


def derivatives(loss, x):
    (slope,) = torch.autograd.grad(loss, x, create_graph=True)
    (curvature,) = torch.autograd.grad(slope, x)
    return slope.item(), curvature.item()
