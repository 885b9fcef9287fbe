"""Virtual adults for the UVA/Padova plant: medians, spreads and correlations, and what follows from them.

Source: log-medians and log-standard deviations of the ten adults that the 2008 simulator's public
re-implementation ships (simglucose, MIT licence, `vpatient_params.csv`, Xie 2018); the population matrix of
the simulator itself is not public. Ten people do not give a covariance of 24 parameters, so only the
strongest of their correlations (|r| > 0.7, with a physiological reading) are kept, shrunk by 0.7.
Dawn and drift: dips of 0-40 % and a between-day SD of 15 % stand in the range that Visentin et al.,
Diabetes Technol Ther 2015;17:1 and J Diabetes Sci Technol 2018;12:273 describe.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from dosetwin.twins.plants.diabetes import DiabetesParameters

MEDIAN_AND_LOG_SD: dict[str, tuple[float, float]] = {
    "BW": (84.6, 0.197),
    "EGPb": (2.488, 0.130),
    "Gb": (142.6, 0.0437),
    "Ib": (107.2, 0.161),
    "kabs": (0.134, 1.05),
    "kmax": (0.0371, 0.317),
    "kmin": (0.00649, 0.538),
    "b": (0.777, 0.149),
    "d": (0.168, 0.381),
    "Vg": (1.843, 0.0771),
    "Vi": (0.0509, 0.264),
    "Vmx": (0.0458, 0.601),
    "Km0": (235.7, 0.0992),
    "k2": (0.1198, 0.413),
    "k1": (0.0601, 0.299),
    "p2u": (0.0322, 0.342),
    "m1": (0.1892, 0.341),
    "CL": (1.156, 0.0906),
    "ki": (0.00747, 0.537),
    "kp2": (0.00388, 0.401),
    "kp3": (0.00843, 0.492),
    "kd": (0.01582, 0.119),
    "ksc": (0.0921, 0.279),
    "ka1": (0.00328, 0.258),
    "ka2": (0.01526, 0.307),
}
"""Parameter -> (median, standard deviation of its logarithm) of the ten adults."""
RANGES: dict[str, tuple[float, float]] = {
    "BW": (50.0, 125.0),
    "kabs": (0.02, 0.6),
    "b": (0.6, 0.96),
    "d": (0.08, 0.34),
    "kmin": (0.0028, 0.015),
}
"""Where the ten adults' edges must not be passed (b and d are fractions, a smaller kabs never absorbs)."""
SHRINKAGE = 0.7
CORRELATIONS: dict[tuple[str, str], float] = {
    ("kabs", "b"): 0.90,
    ("k1", "p2u"): 0.81,
    ("k1", "m1"): 0.82,
    ("ki", "kp2"): -0.83,
    ("kp2", "kp3"): 0.77,
    ("Vg", "kp3"): -0.82,
    ("ka1", "ka2"): 0.86,
}
TRUNCATION = 2.0
"""No sampled parameter is further than this many standard deviations from its median."""


def correlation_matrix() -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """The shrunk correlations, [25, 25], in the order of MEDIAN_AND_LOG_SD."""
    names = list(MEDIAN_AND_LOG_SD)
    matrix = np.eye(len(names))
    for (one, other), r in CORRELATIONS.items():
        i, j = names.index(one), names.index(other)
        matrix[i, j] = matrix[j, i] = SHRINKAGE * r
    return matrix


@partial(jax.jit, static_argnames="n")
def sample_population(key: PRNGKeyArray, n: int) -> DiabetesParameters:
    """`n` virtual adults; the same key gives the same adults."""
    key_body, key_dawn, key_drift = jax.random.split(key, 3)
    names = list(MEDIAN_AND_LOG_SD)
    root = jnp.asarray(np.linalg.cholesky(correlation_matrix()))
    normal = jnp.clip(root @ jax.random.normal(key_body, (len(names), n)), -TRUNCATION, TRUNCATION)
    table = jnp.asarray(list(MEDIAN_AND_LOG_SD.values()))
    edges = jnp.asarray([RANGES.get(name, (0.0, jnp.inf)) for name in names])
    values = jnp.clip(table[:, :1] * jnp.exp(table[:, 1:] * normal), edges[:, :1], edges[:, 1:])
    drawn = dict(zip(names, values, strict=True))
    # Kumaraswamy(1.2, 2), like a beta distribution but by one power: a third of the compilation
    dawn = 0.4 * (1.0 - (1.0 - jax.random.uniform(key_dawn, (n,))) ** 0.5) ** (1.0 / 1.2)
    drift_sd = 0.15 * jnp.exp(0.3 * jax.random.normal(key_drift, (n,)))
    return derive(drawn, dawn, drift_sd)


def derive(
    drawn: dict[str, Float[Array, " n"]], dawn: Float[Array, " n"], drift_sd: Float[Array, " n"]
) -> DiabetesParameters:
    """The parameters that the basal steady state and mass balance fix (Dalla Man 2007, equations 6-16).

    Hepatic extraction is 0.6; m2 = CL / (Vi BW), m4 = 0.4 m2, m30 = 1.5 m1.
    """
    v = drawn
    one = jnp.ones_like(v["BW"])
    Gp, Ip = v["Gb"] * v["Vg"], v["Ib"] * v["Vi"]
    Gt = (one - v["EGPb"] + v["k1"] * Gp) / v["k2"]
    m2 = v["CL"] / (v["Vi"] * v["BW"])
    m4, m30 = 0.4 * m2, 1.5 * v["m1"]
    return DiabetesParameters(
        **{name: v[name] for name in DiabetesParameters._fields if name in v},
        f=0.9 * one,
        Vm0=(v["EGPb"] - one) * (v["Km0"] + Gt) / Gt,
        m2=m2,
        m4=m4,
        m30=m30,
        kp1=v["EGPb"] + v["kp2"] * Gp + v["kp3"] * v["Ib"],
        ke1=0.0005 * one,
        ke2=339.0 * one,
        Fsnc=one,
        u_b=(m2 + m4) * Ip - v["m1"] * m2 * Ip / (v["m1"] + m30),
        dawn=dawn,
        drift_sd=drift_sd,
    )
