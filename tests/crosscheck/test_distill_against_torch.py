"""The distillation losses have the values and gradients of PyTorch's cross_entropy, kl_div and mse_loss."""

from functools import partial

import numpy as np
from against_torch import agree, torch
from hypothesis import given
from hypothesis import strategies as st

from minidl.transfer.distill_loss import distillation_loss, logit_matching_loss, soft_cross_entropy

TF = torch.nn.functional
seeds = st.integers(0, 2**32 - 1)
temperatures = st.sampled_from([0.5, 1.0, 3.0, 20.0])


def case(seed):
    rng = np.random.default_rng(seed)
    n, k = rng.integers(1, 6, size=2)
    return 3 * rng.normal(size=(n, k)), 3 * rng.normal(size=(n, k)), rng.integers(0, k, size=n)


@given(seed=seeds, tau=temperatures)
def test_the_soft_term_is_kl_div_with_batchmean(seed, tau):
    student, teacher, _ = case(seed)
    q = torch.softmax(torch.tensor(teacher) / tau, dim=1)
    agree(
        lambda z: soft_cross_entropy(z, teacher, temperature=tau, soft="kl"),
        lambda z: TF.kl_div(torch.log_softmax(z / tau, dim=1), q, reduction="batchmean"),
        student,
    )


@given(seed=seeds, tau=temperatures, tau_t=temperatures)
def test_the_soft_term_is_cross_entropy_with_probabilities_as_target(seed, tau, tau_t):
    student, teacher, _ = case(seed)
    q = torch.softmax(torch.tensor(teacher) / tau_t, dim=1)
    agree(
        partial(soft_cross_entropy, teacher_logits=teacher, temperature=tau, teacher_temperature=tau_t),
        lambda z: TF.cross_entropy(z / tau, q),
        student,
    )


@given(seed=seeds, tau=temperatures)
def test_hintons_loss(seed, tau):
    student, teacher, labels = case(seed)
    y, z_t = torch.tensor(labels), torch.tensor(teacher)
    settings = {"alpha": 0.3, "beta": 0.7, "temperature": tau, "scale_by_tau_squared": True, "soft": "kl"}

    def hinton(z):
        log_p, log_q = torch.log_softmax(z / tau, dim=1), torch.log_softmax(z_t / tau, dim=1)
        soft = TF.kl_div(log_p, log_q, reduction="batchmean", log_target=True)
        return 0.3 * TF.cross_entropy(z, y) + 0.7 * tau**2 * soft

    agree(lambda z: distillation_loss(z, teacher, labels, **settings), hinton, student)


@given(seed=seeds)
def test_matched_logits_are_mse_loss_times_the_number_of_classes(seed):
    student, teacher, labels = case(seed)
    y, z_t, classes = torch.tensor(labels), torch.tensor(teacher), student.shape[1]
    agree(
        lambda z: logit_matching_loss(z, teacher, labels, alpha=0.3),
        lambda z: 0.3 * TF.cross_entropy(z, y) + 0.7 * classes * TF.mse_loss(z, z_t),
        student,
    )
