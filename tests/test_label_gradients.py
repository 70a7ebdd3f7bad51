"""Gradients at every label: each is that of the label, and draws of labels are sums of them."""

import numpy as np
import pytest
import torch
from torch import nn

from skmm.gradients import sketched_gradients
from skmm_study.training.finetuning import pooled_inputs
from skmm_study.training.label_gradients import LabelGradients
from skmm_study.training.tails import pointwise_tail, with_classifier

N, C, M = 40, 5, 24


@pytest.fixture(scope="module")
def tail():
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((12, 6)).astype(np.float32)
    return pointwise_tail(weight, rng.standard_normal(12).astype(np.float32), C, rng=1)


@pytest.fixture(scope="module")
def activations():
    return np.random.default_rng(1).standard_normal((N, 6, 2, 2)).astype(np.float16)


@pytest.fixture(scope="module")
def gradients(tail, activations):
    return LabelGradients.of(tail, activations, m=M, rng=3, batch=16)


def at(tail, activations, labels):
    """Gradients at given labels, by backpropagating each: the independent path."""
    pairs = [(torch.from_numpy(activations), torch.from_numpy(labels))]
    return sketched_gradients(tail, pairs, m=M, last=2, labels="true", rng=3)


@pytest.mark.parametrize("label", range(C))
def test_rows_are_gradients_at_their_label(tail, activations, gradients, label):
    direct = at(tail, activations, np.full(N, label))
    np.testing.assert_allclose(gradients.rows[:, label], direct, rtol=1e-3, atol=1e-5)


def test_the_score_has_mean_zero(tail, activations, gradients):
    """Over labels that the model draws itself, gradients of the log-likelihood average to zero."""
    p = torch.softmax(tail(torch.from_numpy(activations).float()), 1).detach().numpy()
    mean = np.einsum("nc,ncm->nm", p, gradients.rows)
    np.testing.assert_allclose(mean, 0, atol=1e-5 * np.abs(gradients.rows).max())


def test_one_draw_is_a_gradient_at_one_label(tail, activations, gradients):
    rows = gradients.own(1, rng=7)
    labels = ((gradients.rows - rows[:, None]) ** 2).sum(2).argmin(1)
    np.testing.assert_allclose(rows, at(tail, activations, labels), rtol=1e-3, atol=1e-5)
    assert len(set(labels)) == C  # samples draw for themselves


def test_draws_average_to_the_mean_over_labels(gradients):
    """With K draws, the error of an entry has its variance over labels, divided by K."""
    K = 4000
    error = gradients.own(K, rng=0) - gradients.rows.mean(1)
    assert (np.abs(error) <= 6 * gradients.rows.std(1) / np.sqrt(K) + 1e-6).all()


def test_shared_label_is_the_same_for_all(gradients):
    rows = gradients.shared(rng=5)
    assert any(np.array_equal(rows, gradients.rows[:, label]) for label in range(C))
    rows[:] = 0
    assert gradients.rows.any(axis=(1, 2)).all()  # a copy


def test_expected_rows_have_the_mean_inner_products(gradients):
    """Up to the sketch, whose inner products have variance (|x|²|y|² + <x, y>²) / m."""
    flat = gradients.rows.reshape(N, -1).astype(np.float64) / np.sqrt(C)
    wanted, T = flat @ flat.T, 100
    norms = np.outer((flat**2).sum(1), (flat**2).sum(1))
    drawn = (gradients.expected(rng=t).astype(np.float64) for t in range(T))
    mean = sum(rows @ rows.T for rows in drawn) / T
    assert (np.abs(mean - wanted) <= 5 * np.sqrt((norms + wanted**2) / (M * T))).all()


def test_at_a_zero_head_a_shared_label_leaves_the_inputs(tail, activations):
    r"""There gradients are :math:`(1/C - e_c) \otimes (h, 1)`: equal inner products up to a factor.

    Unsketched, by autograd, to see the identity that the sketch keeps.
    """
    zero = with_classifier(tail, np.zeros((C, 12)), np.zeros(C))
    parameters = [zero.fc.weight, zero.fc.bias, *zero.layer.parameters()]
    for parameter in parameters:
        parameter.requires_grad_(True)
    rows = []
    for one in torch.from_numpy(activations[:6]).float():
        loss = nn.functional.cross_entropy(zero(one[None]), torch.tensor([2]))
        parts = torch.autograd.grad(loss, parameters)
        rows.append(torch.cat([part.flatten() for part in parts]).numpy())
    inputs = pooled_inputs(zero, activations[:6]).astype(np.float64)
    wanted = (1 - 1 / C) * (inputs @ inputs.T + 1)
    np.testing.assert_allclose(np.array(rows) @ np.array(rows).T, wanted, rtol=1e-5)


def test_impossible_classes_are_refused(tail, activations):
    bias = np.array([0.0, 0, 0, 0, -200])
    sure = with_classifier(tail, tail.fc.weight.detach().numpy(), bias)
    with pytest.raises(ValueError, match="leave every class a probability"):
        LabelGradients.of(sure, activations, m=M, rng=0)


def test_no_draws_are_refused(gradients):
    with pytest.raises(ValueError, match="draws must be"):
        gradients.own(0, rng=0)
