"""Adults, adolescents and children of the UVA/Padova plant in numbers: medians, spreads, correlations.

Source: the ten adults, ten adolescents and ten children that the 2008 simulator's public re-implementation
ships (simglucose 0.2.11, MIT licence, `vpatient_params.csv`, Xie 2018); the population matrix of the
simulator itself is not public. Medians are geometric means, as of a log-normal distribution. Ten people do
not give a covariance of 25 parameters, so only the strongest of a group's correlations (|r| >= 0.7, with a
physiological reading) are kept. What the file derives from these (m2, m4, m30, Vm0, kp1) or holds constant
(f, ke1, ke2, Fsnc) is the same rule in all thirty people.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Group:
    """A subpopulation. `table`: parameter -> (median, standard deviation of its logarithm).

    `ranges`: where the ten people's edges must not be passed (b and d are fractions; a smaller kabs never
    absorbs). `correlations`: of the logarithms, by the names of two parameters.
    """

    table: Mapping[str, tuple[float, float]]
    ranges: Mapping[str, tuple[float, float]]
    correlations: Mapping[tuple[str, str], float]


ADULT = Group(
    table={
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
    },
    ranges={
        "BW": (50.0, 125.0),
        "kabs": (0.02, 0.6),
        "b": (0.6, 0.96),
        "d": (0.08, 0.34),
        "kmin": (0.0028, 0.015),
    },
    correlations={
        ("kabs", "b"): 0.90,
        ("k1", "p2u"): 0.81,
        ("k1", "m1"): 0.82,
        ("ki", "kp2"): -0.83,
        ("kp2", "kp3"): 0.77,
        ("Vg", "kp3"): -0.82,
        ("ka1", "ka2"): 0.86,
    },
)

ADOLESCENT = Group(
    table={
        "BW": (47.13, 0.158),
        "EGPb": (3.121, 0.157),
        "Gb": (143.7, 0.0368),
        "Ib": (103.4, 0.124),
        "kabs": (0.128, 1.24),
        "kmax": (0.0327, 0.445),
        "kmin": (0.00959, 0.389),
        "b": (0.755, 0.182),
        "d": (0.176, 0.293),
        "Vg": (1.839, 0.0915),
        "Vi": (0.0498, 0.209),
        "Vmx": (0.0539, 0.252),
        "Km0": (230.9, 0.0977),
        "k2": (0.1161, 0.488),
        "k1": (0.0639, 0.355),
        "p2u": (0.0326, 0.383),
        "m1": (0.1704, 0.397),
        "CL": (0.7259, 0.0977),
        "ki": (0.01034, 0.586),
        "kp2": (0.00650, 0.742),
        "kp3": (0.01118, 0.598),
        "kd": (0.01638, 0.087),
        "ksc": (0.0824, 0.291),
        "ka1": (0.00358, 0.345),
        "ka2": (0.01647, 0.318),
    },
    ranges={
        "BW": (30.0, 80.0),
        "kabs": (0.03, 1.24),
        "b": (0.56, 0.98),
        "d": (0.13, 0.33),
        "kmin": (0.0066, 0.0253),
    },
    correlations={
        ("ka1", "ka2"): 0.96,
        ("kabs", "b"): 0.87,
        ("kmax", "b"): -0.81,
        ("m1", "ki"): 0.79,
        ("k1", "p2u"): 0.78,
        ("EGPb", "kp2"): 0.78,
        ("Vmx", "kp3"): 0.76,
        ("BW", "CL"): 0.70,
    },
)

CHILD = Group(
    table={
        "BW": (35.33, 0.188),
        "EGPb": (2.906, 0.193),
        "Gb": (138.9, 0.0395),
        "Ib": (106.9, 0.078),
        "kabs": (0.1451, 0.834),
        "kmax": (0.0397, 0.548),
        "kmin": (0.01019, 0.383),
        "b": (0.752, 0.170),
        "d": (0.135, 0.305),
        "Vg": (1.858, 0.065),
        "Vi": (0.0546, 0.233),
        "Vmx": (0.0931, 0.316),
        "Km0": (227.6, 0.106),
        "k2": (0.0986, 0.406),
        "k1": (0.0652, 0.258),
        "p2u": (0.0501, 0.304),
        "m1": (0.218, 0.276),
        "CL": (0.3772, 0.117),
        "ki": (0.00795, 0.427),
        "kp2": (0.00399, 0.619),
        "kp3": (0.01029, 0.431),
        "kd": (0.01625, 0.109),
        "ksc": (0.0873, 0.230),
        "ka1": (0.00392, 0.315),
        "ka2": (0.0183, 0.331),
    },
    ranges={
        "BW": (20.0, 50.0),
        "kabs": (0.032, 0.55),
        "b": (0.59, 0.97),
        "d": (0.089, 0.213),
        "kmin": (0.0065, 0.0193),
    },
    correlations={("ka1", "ka2"): 0.82, ("kabs", "kmax"): -0.73, ("Ib", "Vmx"): 0.77},
)

GROUPS: Mapping[str, Group] = {"adult": ADULT, "adolescent": ADOLESCENT, "child": CHILD}
