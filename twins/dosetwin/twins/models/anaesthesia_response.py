"""What propofol and remifentanil do together: the index of hypnosis, and tolerance of a noxious stimulus.

Index (the response-surface form of Minto 2000, doi:10.1097/00000542-200006000-00002, with the term of Greco
1995 for synergy, Pharmacol Rev 47:331):

    U = p + r + alpha p r,   p = C_p / C50_p,  r = C_r / C50_r,     BIS = E0 / (1 + (U e^-s)^gamma)

s is what arrives of a noxious stimulus: the logarithm of the factor by which more drug is needed (our form;
the index stays within its range, and what is needed is read off at once).

Bouillon 2004 (doi:10.1097/00000542-200406000-00006) found alpha = 0 for the index (additive), C50_p 4.47
ug/mL, C50_r 19.3 ng/mL, gamma 1.43, E0 97.4, with coefficients of variation of 18.2, 88.8 and 30.4 % of the
first three.

Tolerance of laryngoscopy, hierarchical, of the same paper: the opioid weakens the stimulus, the hypnotic
tolerates what is left of it,

    s = s0 (1 - C_r^g / (C_r^g + (1.07 s0)^g)), g = 0.97, s0 = 1.05;   P = C_p^5.1 / (C_p^5.1 + (8.04 s)^5.1).

`weakening(C_r, C50)` = 1 / (1 + C_r / C50) is that first step with g = 1: the share of a stimulus that gets
through.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

Values = Float[Array, "*batch"]

BOUILLON_C50_P, BOUILLON_C50_R, BOUILLON_STEEPNESS, BOUILLON_BASELINE = 4.47, 19.3, 1.43, 97.4
BOUILLON_CV = (0.182, 0.888, 0.304)
"""Of C50_p, C50_r and the steepness."""
_LARYNGOSCOPY = 1.05
_TINY = 1e-6


def index(
    C_p: Values,
    C_r: Values,
    C50_p: Values,
    C50_r: Values,
    alpha: Values,
    gamma: Values,
    E0: Values,
    felt: Values | float = 0.0,
) -> Values:
    """The index, 0 to E0, of effect-site concentrations (ug/mL, ng/mL) while `felt` of a stimulus arrives."""
    p, r = C_p / C50_p, C_r / C50_r
    U = p + r + alpha * p * r
    return E0 / (1.0 + jnp.exp(gamma * (jnp.log(U + _TINY) - felt)))


def weakening(C_r: Values, C50: Values) -> Values:
    """Share of a noxious stimulus that gets through the opioid."""
    return 1.0 / (1.0 + C_r / C50)


def tolerance_of_laryngoscopy(C_p: Values, C_r: Values) -> Values:
    """Probability of no response to laryngoscopy in the typical person."""
    g, s0 = 0.97, _LARYNGOSCOPY
    opioid = jnp.exp(g * jnp.log(C_r / (1.07 * s0) + _TINY))
    s = s0 / (1.0 + opioid)
    return 1.0 / (1.0 + jnp.exp(5.1 * jnp.log(8.04 * s / (C_p + _TINY))))
