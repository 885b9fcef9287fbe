"""Mean arterial pressure and heart rate as direct functions of slow effect sites of both drugs.

    MAP = MAP0 (1 - E_p h(C_p; K_p, 1.83)) (1 - E_r h(C_r; K_r, 1)) exp(d + a s),      h a Hill curve
    HR  = HR0 (1 - F_r h(C_r; K_r, 1)) exp(d' + b s)

C are the concentrations at effect sites for the circulation, s >= 0 what arrives of a noxious stimulus (as
in `anaesthesia_response`), d and d' slow drifts. K_p = 3.21 ug/mL (steepness 1.83) and K_r = 4.59 ng/mL are
the concentrations of half the effect on systemic vascular resistance of Su 2023 (Br J Anaesth,
doi:10.1016/j.bja.2023.04.043). The baroreflex of that paper is not in here; what is left after it is in the
typical maxima E_p = 0.40, E_r = 0.40, F_r = 0.35: our assumption, which gives -18 % of pressure at 3 ug/mL
propofol and -33 % with 4 ng/mL remifentanil. They differ from person to person (`anaesthesia_prior`), and
are what a twin learns.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

Values = Float[Array, "*batch"]

K_P_UG_ML, K_R_NG_ML, STEEPNESS_P = 3.21, 4.59, 1.83
E_P, E_R, F_R = 0.40, 0.40, 0.35


def pressure_factor(C_p: Values, C_r: Values, K_p: Values, K_r: Values, E_p: Values, E_r: Values) -> Values:
    """What both drugs leave of the awake mean pressure, 0 to 1."""
    power = jnp.exp(STEEPNESS_P * jnp.log(C_p / K_p + 1e-6))
    return (1.0 - E_p * power / (1.0 + power)) * (1.0 - E_r * C_r / (C_r + K_r))


def heart_rate_factor(C_r: Values, K_r: Values, F_r: Values) -> Values:
    """What remifentanil leaves of the awake heart rate, 0 to 1."""
    return 1.0 - F_r * C_r / (C_r + K_r)
