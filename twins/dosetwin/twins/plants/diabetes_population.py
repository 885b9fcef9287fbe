"""Virtual patients for the UVA/Padova plant: drawn from a group's numbers, and what follows from them.

The numbers and their source stand in `diabetes_groups`. The correlations kept are shrunk by 0.7, since ten
people over-state the largest of 300. Patient number k of a key is the same person whoever else is drawn.
Dawn and drift: dips of 0-40 % and a between-day SD of 15 % stand in the range that Visentin et al.,
Diabetes Technol Ther 2015;17:1 and J Diabetes Sci Technol 2018;12:273 describe.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from dosetwin.platform.errors import DoseTwinError
from dosetwin.twins.plants.diabetes import DiabetesParameters
from dosetwin.twins.plants.diabetes_groups import ADULT, GROUPS, Group

SHRINKAGE = 0.7
TRUNCATION = 2.0
"""No sampled parameter is further than this many standard deviations from its median."""


def correlation_matrix(group: Group = ADULT) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """The shrunk correlations, [25, 25], in the order of the group's table."""
    names = list(group.table)
    matrix = np.eye(len(names))
    for (one, other), r in group.correlations.items():
        i, j = names.index(one), names.index(other)
        matrix[i, j] = matrix[j, i] = SHRINKAGE * r
    return matrix


def sample_population(key: PRNGKeyArray, n: int, group: str = "adult") -> DiabetesParameters:
    """Patients 0 to n - 1 of a `group` ("adult", "adolescent", "child"); the same key gives the same people.

    Raises DoseTwinError where there is no such group.
    """
    return sample_numbered(key, jnp.arange(n), group)


def sample_numbered(key: PRNGKeyArray, numbers: Int[Array, " n"], group: str = "adult") -> DiabetesParameters:
    """The patients of these numbers: what number k is like depends on (key, group, k) alone."""
    if group not in GROUPS:
        raise DoseTwinError(
            f"found no group of people called {group!r}; expected {', '.join(GROUPS)}",
            remedy="name one of them",
        )
    drawn: DiabetesParameters = _sample(key, numbers, group)
    return drawn


@partial(jax.jit, static_argnames="group")
def _sample(key: PRNGKeyArray, numbers: Int[Array, " n"], group: str) -> DiabetesParameters:
    people = GROUPS[group]
    names = list(people.table)

    def chance(number: Int[Array, ""]) -> tuple[Array, Array]:
        own = jax.random.fold_in(key, number)
        body, rest = jax.random.split(own)
        return jax.random.normal(body, (len(names) + 1,)), jax.random.uniform(rest)

    z, u = jax.vmap(chance)(numbers)
    root = jnp.asarray(np.linalg.cholesky(correlation_matrix(people)))
    normal = jnp.clip(root @ z[:, :-1].T, -TRUNCATION, TRUNCATION)
    table = jnp.asarray(list(people.table.values()))
    edges = jnp.asarray([people.ranges.get(name, (0.0, jnp.inf)) for name in names])
    values = jnp.clip(table[:, :1] * jnp.exp(table[:, 1:] * normal), edges[:, :1], edges[:, 1:])
    drawn = dict(zip(names, values, strict=True))
    # a full stomach empties no slower than it can at most; two children and an adolescent are near the edge
    drawn["kmin"] = jnp.minimum(drawn["kmin"], drawn["kmax"])
    # Kumaraswamy(1.2, 2), like a beta distribution but by one power: a third of the compilation
    dawn = 0.4 * (1.0 - (1.0 - u) ** 0.5) ** (1.0 / 1.2)
    return derive(drawn, dawn, 0.15 * jnp.exp(0.3 * z[:, -1]))


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
