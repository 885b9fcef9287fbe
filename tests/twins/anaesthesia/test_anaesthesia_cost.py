"""Propofol is chosen for the index alone, within the bound on its depth; remifentanil leaves it room."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from dosetwin.twins.policies.anaesthesia_cost import (
    LEAST_UG_ML,
    WEIGHTS,
    choose,
    kept_worse,
    too_little,
)

ACCEPTED = jnp.asarray([0.05])


def column(*rows: tuple[float, ...]) -> jnp.ndarray:
    """[opioid, hypnotic, 1]."""
    return jnp.asarray(rows)[..., None]


def chosen(of_index: jnp.ndarray, rest: jnp.ndarray, below_30: jnp.ndarray) -> tuple[int, int]:
    cost = rest + WEIGHTS.index_kept * kept_worse(of_index, below_30, ACCEPTED)
    best = int(choose(cost.reshape(-1, 1), below_30.reshape(-1, 1), ACCEPTED)[0])
    return best // of_index.shape[1], best % of_index.shape[1]


def test_propofol_keeps_the_index_and_remifentanil_does_all_else() -> None:
    of_index = column((1.0, 0.2, 0.9), (0.3, 0.8, 2.0))
    rest = column((0.0, 2.0, 0.0), (1.0, 0.0, 0.0))
    safe = jnp.zeros_like(rest)
    # beside the first the second, beside the second the first; the rest then says which pair
    assert chosen(of_index, rest, safe) == (1, 0)
    assert chosen(of_index, rest + column((-2.0, -2.0, -2.0), (0.0, 0.0, 0.0)), safe) == (0, 1)


def test_what_risks_too_much_is_no_better_move() -> None:
    of_index = column((1.0, 0.2, 0.9), (0.3, 0.8, 2.0))
    risky = column((0.0, 0.0, 0.0), (0.2, 0.0, 0.0))
    worse = np.asarray(kept_worse(of_index, risky, ACCEPTED))[..., 0]
    assert worse == pytest.approx(np.array([[0.8, 0.0, 0.7], [-0.5, 0.0, 1.2]]), abs=1e-6)
    assert chosen(of_index, jnp.zeros_like(risky), risky) == (0, 1)
    # nothing is allowed beside the second: what is compared there are all of its moves
    worse = np.asarray(kept_worse(of_index, column((0.0, 0.0, 0.0), (0.2, 0.3, 0.4)), ACCEPTED))[..., 0]
    assert worse[1] == pytest.approx(np.array([0.0, 0.5, 1.7]), abs=1e-6)


def test_where_every_move_risks_too_much_the_least_risk_is_taken() -> None:
    of_index, risks = column((0.1, 0.5), (0.2, 0.9)), column((0.5, 0.2), (0.6, 0.3))
    assert chosen(of_index, jnp.zeros_like(risks), risks) == (0, 1)


def test_remifentanil_that_leaves_no_propofol_to_stop_is_dear() -> None:
    needed = jnp.asarray([0.2, LEAST_UG_ML, 2.5])
    cost = np.asarray(too_little(needed))
    assert cost[0] == pytest.approx(LEAST_UG_ML - 0.2, abs=0.01)
    assert 0.1 < cost[1] < 0.2
    assert cost[2] < 0.01
