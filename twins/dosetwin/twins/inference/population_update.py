"""Update a population from a fleet's own twins, with shrinkage towards the published one.

Twin i's posterior N(m_i, C_i) of its etas was made with a prior N(mu_0, Omega_0). What its data alone say is
that posterior without the prior, a normal factor with precision P_i and information h_i:

    P_i = C_i^-1 - Omega_0^-1          h_i = C_i^-1 m_i - Omega_0^-1 mu_0        (P_i >= 0)

These K + K(K+1)/2 numbers are all that leaves the twin. With eta_i ~ N(mu, Omega), the published population
as mu = 0, Omega = Omega_pub, and its weight as equivalent patients n_mean and n_covariance (a normal-inverse-
Wishart prior with its mode there), the update maximises

    sum_i log integral exp(-eta'P_i eta/2 + h_i'eta) N(eta; mu, Omega) d eta
      - n_mean/2 mu'Omega^-1 mu - n_covariance/2 (log|Omega| + tr(Omega^-1 Omega_pub))

by EM, each step in closed form: V_i = (P_i + Omega^-1)^-1, e_i = V_i (h_i + Omega^-1 mu),

    mu    = sum_i e_i / (n + n_mean)
    Omega = (sum_i (V_i + (e_i - mu)(e_i - mu)') + n_mean mu mu' + n_covariance Omega_pub)
            / (n + n_covariance)

Gelman, Bayesian Data Analysis, 3rd ed., ch. 3 and 5; empirical Bayes: Efron & Morris 1975,
doi:10.1080/01621459.1975.10479864. The default weights are our choice. The result depends on the set of the
latest statements of the twins alone, not on the order in which they came.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dosetwin.twins.inference.covariance_pattern import between_pattern
from dosetwin.twins.inference.individuals import IndividualFits
from dosetwin.twins.inference.saem import from_eta_scale, mu_referenced, to_eta_scale
from dosetwin.twins.models.errors import ModelError
from dosetwin.twins.population_model import PopulationModel

Values = npt.NDArray[np.float64]

EQUIVALENT_PATIENTS = 50.0
"""Weight of the published population (our choice: about the size of the studies it comes from)."""
ITERATIONS, TOLERANCE = 5000, 1e-10


@dataclass(frozen=True)
class TwinStatement:
    """What one twin's data say of its etas: precision P [K, K] and information h [K], prior removed.

    In the published population's coordinates. `version` grows with the twin's data: the larger one counts.
    """

    twin: str
    version: int
    precision: Values
    information: Values


def twin_statement(
    twin: str,
    version: int,
    mean: Values,
    covariance: Values,
    prior_covariance: Values,
    prior_mean: Values | None = None,
) -> TwinStatement:
    """From a posterior mean [K] and covariance [K, K] and the prior that it was made with.

    All in the published population's coordinates: a twin that runs under an updated population, whose typical
    values are shifted by mu, has mean = mu + its own eta, and prior_mean = mu. A precision that is not
    positive (a skewed posterior) counts as 0 in that direction. Raises ModelError where shapes or numbers
    are impossible.
    """
    K = len(mean)
    mu = np.zeros(K) if prior_mean is None else np.asarray(prior_mean, np.float64)
    for name, matrix in (("covariance", covariance), ("prior covariance", prior_covariance)):
        wrong = matrix.shape != (K, K) or not np.isfinite(matrix).all()
        if wrong or (K and np.linalg.eigvalsh(matrix).min() <= 0):
            raise ModelError(f"twin {twin}: found a {name} that is no positive definite {K} x {K} matrix")
    inverse, prior = np.linalg.inv(covariance), np.linalg.inv(prior_covariance)
    # in prior units the precision of the data is at least 0
    factor = np.linalg.cholesky(prior_covariance)
    eigenvalue, V = np.linalg.eigh(factor.T @ (inverse - prior) @ factor)
    back = np.linalg.inv(factor).T @ V
    precision = (back * np.maximum(eigenvalue, 0.0)) @ back.T
    centre = precision @ mean + prior @ (mean - mu)
    return TwinStatement(twin, version, precision, np.where(np.isfinite(centre), centre, 0.0))


def statements_of(fits: IndividualFits, version: int = 1) -> list[TwinStatement]:
    """The statements of subjects whose modes were found under the published population."""
    omega = fits.model.omega
    etas = fits.etas.to_numpy()
    return [
        twin_statement(subject.id, version, etas[i], fits.covariance(i), omega)
        for i, subject in enumerate(fits.subjects)
        if fits.converged[i] and np.linalg.eigvalsh(fits.exact[i]).min() > 0
    ]


@dataclass(frozen=True)
class FleetEvidence:
    """The latest statement of every twin; joining two is commutative, associative and idempotent."""

    statements: tuple[TwinStatement, ...] = field(default=())

    def joined(self, others: Iterable[TwinStatement]) -> FleetEvidence:
        """With further statements: of each twin the one of the largest version, sorted by twin."""
        latest: dict[str, TwinStatement] = {}
        for statement in (*self.statements, *others):
            known = latest.get(statement.twin)
            if known is None or _rank(statement) > _rank(known):
                latest[statement.twin] = statement
        return FleetEvidence(tuple(latest[twin] for twin in sorted(latest)))


def _rank(statement: TwinStatement) -> tuple[int, bytes]:
    # the bytes decide between two of one version, so that the order of arrival never does
    return statement.version, statement.information.tobytes() + statement.precision.tobytes()


class PopulationUpdate(NamedTuple):
    """model: with the updated numbers. shift [K]: mu on the etas' scale, and its standard error [K].

    weight [K]: how far the update has moved from the prior to the data in each mean, 0..1.
    """

    model: PopulationModel
    twins: int
    shift: Values
    standard_error: Values
    omega: Values
    weight: Values
    iterations: int


def update_population(
    model: PopulationModel,
    evidence: FleetEvidence,
    *,
    mean_patients: float = EQUIVALENT_PATIENTS,
    covariance_patients: float = EQUIVALENT_PATIENTS,
) -> PopulationUpdate:
    """The published `model` moved towards what the fleet's twins say.

    `mean_patients`, `covariance_patients`: the weight of the published means and covariance. A typical value
    moves where it and its eta add on one scale (log-normal; normal and logit-normal without covariates) and
    it is not fixed; fixed variances stay, and undeclared correlations stay 0. Raises ModelError for weights
    that are not above 0 or statements of another number of etas.
    """
    K, published = len(model.varying), model.omega
    if not (mean_patients > 0 and covariance_patients > 0):
        raise ModelError(
            f"found prior weights {mean_patients} and {covariance_patients} patients; expected above 0"
        )
    for statement in evidence.statements:
        if statement.information.shape != (K,):
            raise ModelError(
                f"twin {statement.twin}: found a statement of {len(statement.information)} etas; "
                f"expected {K}: {', '.join(model.varying)}"
            )
    n, pattern = len(evidence.statements), between_pattern(model)
    moves = np.array(
        [mu_referenced(model, model.by_name[a]) and not model.by_name[a].fixed for a in model.varying], bool
    )
    P = np.array([s.precision for s in evidence.statements]).reshape(n, K, K)
    h = np.array([s.information for s in evidence.statements]).reshape(n, K)
    mu, omega = np.zeros(K), published.copy()
    count = 0
    settled = False
    while not settled and count < ITERATIONS:
        count += 1
        inverse = np.linalg.inv(omega)
        V = np.linalg.inv(P + inverse)
        e = np.einsum("nij,nj->ni", V, h + inverse @ mu)
        new_mu = _mean(e.sum(axis=0) / (n + mean_patients), omega, moves)
        apart = e - new_mu
        scatter = V.sum(axis=0) + apart.T @ apart + mean_patients * np.outer(new_mu, new_mu)
        moment = (scatter + covariance_patients * published) / (n + covariance_patients)
        new_omega = pattern.nearest(0.5 * (moment + moment.T), omega) if pattern.size else omega
        sd = np.sqrt(np.diag(omega))
        step = np.concatenate([(new_mu - mu) / sd, ((new_omega - omega) / np.outer(sd, sd)).ravel()])
        mu, omega = new_mu, new_omega
        settled = bool(np.abs(step).max(initial=0.0) < TOLERANCE)
    inverse = np.linalg.inv(omega)
    known = n * inverse - np.einsum("ij,njk,kl->il", inverse, np.linalg.inv(P + inverse), inverse)
    total = known + mean_patients * inverse
    error = np.where(moves, np.sqrt(np.diag(np.linalg.inv(total))), 0.0)
    weight = np.where(moves, np.diag(np.linalg.solve(total, known)), 0.0)
    return PopulationUpdate(_moved(model, mu, omega, moves, n), n, mu, error, omega, weight, count)


def _mean(free: Values, omega: Values, moves: npt.NDArray[np.bool_]) -> Values:
    """The best mean where those that do not move are held at 0."""
    mu, held = np.where(moves, free, 0.0), ~moves
    if held.any() and moves.any():
        mu[moves] -= omega[np.ix_(moves, held)] @ np.linalg.solve(omega[np.ix_(held, held)], free[held])
    return mu


def _moved(
    model: PopulationModel, mu: Values, omega: Values, moves: npt.NDArray[np.bool_], n: int
) -> PopulationModel:
    population = model.population
    typical = np.array(population.typical, np.float64)
    for k in np.flatnonzero(moves):
        p = model.by_name[model.varying[k]]
        at = model.parameters.index(p)
        value = from_eta_scale(p, to_eta_scale(p, p.typical) + float(mu[k]))
        typical[at] = min(max(value, p.low), p.high)
    moved = population._replace(typical=typical, omega=np.linalg.cholesky(omega))
    return model.with_population(moved, f"{n} twins of the fleet, with shrinkage to: {model.source}")
