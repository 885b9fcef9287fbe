"""Weighted residuals.

On the scale on which the residual error is normal (the identity, or the logarithm), for one subject with
measured values y [n], predictions f, J = df/dz, z ~ N(0, 1) (so that J J' = (df/deta) Omega (df/deta)') and
residual variances V(f):

    WRES   = C_0^-1/2 (y - f(0)),                       C_0 = J_0 J_0' + diag V(f(0))
    CWRES  = C^-1/2 (y - (f(z^) - J z^)),               C   = J J' + diag V(f(z^))      J at the mode z^
    IWRES  = (y - f(z^)) / sqrt V(f(z^))

WRES is the first-order one; CWRES is Hooker, Staatz & Karlsson 2007, doi:10.1007/s11095-007-9361-x, eq. 8-11,
with the residual variance at the mode (interaction; NONMEM's CWRESI). C^-1/2 is the symmetric root, as
NONMEM's default. Inter-occasion etas are in z. Censored values, categories and counts have none (NaN) and
take no part in C. Under the right model WRES and CWRES are about N(0, 1) and uncorrelated.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dosetwin.twins.diagnostics.linearisation import linearise, observed_outputs, on_scale, value_on_scale
from dosetwin.twins.inference.individuals import IndividualFits

Values = npt.NDArray[np.float64]


class Residuals(NamedTuple):
    """Of all observation records of a fit, subject after subject; NaN where there is none."""

    wres: Values
    cwres: Values
    iwres: Values


def weighted_residuals(fits: IndividualFits) -> Residuals:
    """WRES, CWRES and IWRES of every observation record; see this module's equations."""
    sizes = [int(np.sum(s.evid == 0)) for s in fits.subjects]
    total = int(sum(sizes))
    nothing = np.full(total, np.nan)
    found = Residuals(nothing.copy(), nothing.copy(), nothing.copy())
    if not total:
        return found
    output = np.concatenate(observed_outputs(fits.cohort))
    y = np.concatenate([s.dv[s.evid == 0] for s in fits.subjects])
    censored = np.concatenate([s.censored[s.evid == 0] for s in fits.subjects])
    scaled = value_on_scale(fits.model, np.where(np.isfinite(y), y, 1.0), output)
    usable = np.isfinite(y) & (censored == 0) & np.isfinite(scaled)
    typical = linearise(fits, [np.zeros_like(z) for z in fits.z])
    modes = linearise(fits, fits.z)
    ends = np.cumsum(sizes)
    at_typical = on_scale(fits.model, np.concatenate([at.f for at in typical]), output)
    at_mode = on_scale(fits.model, np.concatenate([at.f for at in modes]), output)
    found.iwres[usable] = (scaled[usable] - at_mode.mean[usable]) / at_mode.sd[usable]
    for i, end in enumerate(ends):
        rows = np.arange(end - sizes[i], end)
        used = usable[rows]
        rows = rows[used]
        if not len(rows):
            continue
        J = typical[i].jacobian[used] * at_typical.slope[rows, None]
        found.wres[rows] = _whitened(scaled[rows] - at_typical.mean[rows], J, at_typical.sd[rows])
        J = modes[i].jacobian[used] * at_mode.slope[rows, None]
        found.cwres[rows] = _whitened(
            scaled[rows] - (at_mode.mean[rows] - J @ fits.z[i]), J, at_mode.sd[rows]
        )
    return found


def _whitened(residual: Values, J: Values, sd: Values) -> Values:
    """(J J' + diag sd^2)^-1/2 residual, symmetric root; NaN where the covariance is not positive."""
    covariance = J @ J.T + np.diag(sd**2)
    if not np.isfinite(covariance).all():
        return np.full_like(residual, np.nan)
    eigenvalue, vectors = np.linalg.eigh(covariance)
    if eigenvalue.min() <= 0:
        return np.full_like(residual, np.nan)
    white: Values = (vectors / np.sqrt(eigenvalue)) @ (vectors.T @ residual)
    return white
