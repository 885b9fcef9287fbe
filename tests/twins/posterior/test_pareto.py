from __future__ import annotations

import math

import numpy as np
import pytest
from arviz_stats.base import array_stats  # type: ignore[attr-defined] # not in its __all__

from dosetwin.twins.inference.pareto import largest_trusted, smoothed


@pytest.mark.parametrize("k", [0.2, 0.5, 0.9])
def test_finds_a_known_tail(k: float) -> None:
    u = np.random.default_rng(1).random(40_000)
    assert smoothed(-k * np.log(u)).k_hat == pytest.approx(k, abs=0.12)


@pytest.mark.parametrize("scale", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("samples", [200, 400, 2500])
def test_agrees_with_arviz(scale: float, samples: int) -> None:
    log_ratio = scale * np.random.default_rng(samples).standard_t(5, samples) + 700
    ours = smoothed(log_ratio)
    # theirs takes log likelihoods; its tail has floor(M) draws, which is ours for these sizes
    weight, k = array_stats.psislw(-log_ratio)  # type: ignore[no-untyped-call] # ships no types
    assert ours.k_hat == pytest.approx(float(k), abs=1e-8)
    np.testing.assert_allclose(np.exp(ours.log_weight), np.exp(weight), rtol=1e-7, atol=1e-14)


def test_weights_sum_to_one_and_keep_their_order() -> None:
    log_ratio = np.random.default_rng(0).normal(0, 2, 1000)
    log_ratio[:10] = -np.inf
    found = smoothed(log_ratio)
    assert np.exp(found.log_weight).sum() == pytest.approx(1)
    assert (np.diff(found.log_weight[np.argsort(log_ratio)][10:]) >= -1e-12).all()


def test_equal_ratios_have_no_tail() -> None:
    assert smoothed(np.zeros(500)).k_hat == -math.inf


def test_few_samples_say_nothing() -> None:
    assert smoothed(np.zeros(10)).k_hat == math.inf


def test_the_threshold_grows_to_seven_tenths() -> None:
    assert largest_trusted(1000) == pytest.approx(2 / 3)
    assert largest_trusted(10_000) == pytest.approx(0.7)
    assert largest_trusted(1_000_000) == pytest.approx(0.7)
