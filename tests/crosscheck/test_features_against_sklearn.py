"""The linear probe and the projection against scikit-learn's."""

import numpy as np
import pytest

from minidl.transfer.features import linear_probe, pca_projection, standardise

sklearn_linear = pytest.importorskip("sklearn.linear_model")
decomposition = pytest.importorskip("sklearn.decomposition")
preprocessing = pytest.importorskip("sklearn.preprocessing")


def clouds(seed, n=60, dims=5, classes=4):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    return rng.normal(size=(n, dims)) + rng.normal(size=(classes, dims))[labels], labels


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("l2", [1e-3, 0.03, 1.0])
def test_the_probe_is_multinomial_logistic_regression(seed, l2):
    features, labels = clouds(seed)
    probe = linear_probe(features, labels, l2)
    theirs = sklearn_linear.LogisticRegression(C=1 / (len(labels) * l2), tol=1e-9, max_iter=5000)
    theirs.fit(features, labels)
    np.testing.assert_allclose(probe.weight.data, theirs.coef_, atol=2e-4)
    centred = theirs.intercept_ - theirs.intercept_.mean()  # adding one number to all classes changes nothing
    np.testing.assert_allclose(probe.bias.data, centred, atol=2e-4)


@pytest.mark.parametrize("seed", range(3))
def test_the_projection_is_pca_up_to_the_signs(seed):
    features, _ = clouds(seed)
    ours, theirs = pca_projection(features, 3), decomposition.PCA(3).fit_transform(features)
    signs = np.sign((ours * theirs).sum(axis=0))
    np.testing.assert_allclose(ours, theirs * signs, atol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_standardise_is_the_standard_scaler(seed):
    features, _ = clouds(seed)
    theirs = preprocessing.StandardScaler().fit(features[:40]).transform(features[40:])
    np.testing.assert_allclose(standardise(features[:40], features[40:]), theirs, rtol=1e-9, atol=1e-12)
