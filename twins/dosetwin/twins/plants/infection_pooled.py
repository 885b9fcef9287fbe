"""The same infected adults with other kinetics: Colin 2019, pooled from 14 studies.

Source: Colin et al., Clin Pharmacokinet 2019;58:767 (doi:10.1007/s40262-018-0727-5), abstract and a
transcription of its NONMEM code; 35 years, 70 kg and 0.83 mg/dL give V1 42.9 L, V2 41.7 L, CL 4.10 L/h and
Q 3.22 L/h:

    CL = 5.31 (WT/70)^0.75 F_age F_cr e^eta           V1 = 42.9 WT/70 e^eta          V2 = 41.7 WT/70 e^eta
    F_age = 1 / (1 + (PMA/61.6)^2.24)                 F_cr = exp(-0.649 (S - S_std))
    log S_std = -1.22839 + 0.67190 log10(PMA) + 6.27017 exp(-3.10940 PMA)          Q = 3.22 (V2/41.7)^0.75

PMA: age and 40 weeks, in years; maturation is complete in adults. S: creatinine in mg/dL, here the one that
is steady at the true creatinine clearance of now, so that clearance drifts with it at once while a measured
creatinine lags. Between-subject variance 0.0749, 0.0721, 0.672 (CL, V1, V2). The twin's model (Goti 2018)
knows neither F_age nor an exponential in creatinine. The transcription scales clearance by the individual
V1 in place of weight, which has the same typical value. The etas are those that
`infection.sample_population` draws, put on this model's scale; of V2 they are cut at 2 standard deviations.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from dosetwin.twins.plants.infection import LOG_SD, InfectionParameters, production

VARIANCE = (0.0749, 0.0721, 0.672)
"""Of CL, V1, V2."""
REFERENCE_CLEARANCE_L_H = 5.31
HALF_AGE_A = 61.6
AGE_HILL = 2.24
CREATININE_EFFECT = 0.649


def kinetics(parameters: InfectionParameters, CLcr: Float[Array, " n"]) -> Float[Array, "4 n"]:
    """CL, V1, V2, Q (L/h, L, L, L/h) at a creatinine clearance (mL/min)."""
    p = parameters
    normal = p.eta[:3] / jnp.asarray(LOG_SD[:3])[:, None]
    e = jnp.exp(jnp.sqrt(jnp.asarray(VARIANCE))[:, None] * normal)
    size = p.weight_kg / 70.0
    PMA = p.age_a + 40.0 / 52.18
    steady = production(p) / CLcr
    standard = jnp.exp(-1.22839 + 0.67190 * jnp.log10(PMA) + 6.27017 * jnp.exp(-3.10940 * PMA))
    F_age = 1.0 / (1.0 + (PMA / HALF_AGE_A) ** AGE_HILL)
    F_cr = jnp.exp(-CREATININE_EFFECT * (steady - standard))
    CL = REFERENCE_CLEARANCE_L_H * size**0.75 * F_age * F_cr * e[0]
    V2 = 41.7 * size * e[2]
    return jnp.stack([CL, 42.9 * size * e[1], V2, 3.22 * (V2 / 41.7) ** 0.75])
