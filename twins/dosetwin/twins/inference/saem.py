"""Stochastic approximation EM (Kuhn & Lavielle 2005, doi:10.1016/j.csda.2004.07.002): no linearisation.

An iteration k draws every subject's etas by a few Metropolis moves at the current numbers, then

    s_k = s_(k-1) + gain_k (statistics of the draws - s_(k-1))

and takes the numbers that maximise the complete-data likelihood with those statistics. gain is 1 while it
explores, then falls slowly; the estimate is the mean of the last two thirds of that phase (Polyak & Juditsky
1992, doi:10.1137/0330046). With m = mu + eta (mu the typical value on the scale of its etas), the
statistics are the means of m and m m': Omega has a closed form, and so has mu of a parameter that varies.
Other typical values and the residual coefficients have a Newton step on the draws while exploring, later
stochastic-approximation steps with the information sum_i g_i g_i' of the averaged individual scores. While
exploring, variances shrink by at most 5 % an iteration (simulated annealing).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import numpy as np
import numpy.typing as npt

from dosetwin.twins.inference.covariance_pattern import CovariancePattern
from dosetwin.twins.inference.focei import Progress, Step
from dosetwin.twins.inference.individuals import IndividualFits
from dosetwin.twins.inference.population_vector import PopulationVector, numbers
from dosetwin.twins.inference.saem_kernels import evidence, mover, scorer
from dosetwin.twins.population_model import Parameter, Population, PopulationModel
from dosetwin.twins.precision import double_precision
from dosetwin.twins.simulation.cohort import Cohort
from dosetwin.twins.simulation.individual import dimensions
from dosetwin.twins.variability import LogitNormal, LogNormal, Normal

Values = npt.NDArray[np.float64]

EXPLORING, SMOOTHING = 300, 400
"""Iterations."""
SLOWING = 0.7
"""The gain falls as k^-0.7: with k^-1 numbers of which the data tell little (shrinkage) stand still."""
ANNEALING = 0.95
"""A variance keeps at least this share in an iteration of the first half of exploring."""
PATIENTS = 500
"""Subjects times chains are at least so many."""
LONGEST = 0.5
"""No numeric number moves by more in one iteration (a logarithm, or a standard deviation of its gradient)."""


class Estimated(NamedTuple):
    """The numbers x [P] of the layout, their trace [iterations, P] and the etas' last draws."""

    x: Values
    trace: Values
    exploring: int


@dataclass
class _Chains:
    """The draws of a batch: eta [B, C, K], kappa [B, C, O, L]; which rows and occasions are real."""

    eta: Values
    kappa: Values
    log_step: Values
    real: npt.NDArray[np.bool_]
    used: npt.NDArray[np.bool_]


@dataclass
class _Statistics:
    """Stochastic approximations: means of m, m m' and kappa kappa'."""

    first: Values
    second: Values
    occasion: Values

    def approach(self, other: _Statistics, gain: float) -> None:
        """Move towards the statistics of new draws."""
        self.first = self.first + gain * (other.first - self.first)
        self.second = self.second + gain * (other.second - self.second)
        self.occasion = self.occasion + gain * (other.occasion - self.occasion)


def saem(
    model: PopulationModel,
    cohort: Cohort,
    layout: PopulationVector,
    *,
    seed: int = 0,
    exploring: int = EXPLORING,
    smoothing: int = SMOOTHING,
    progress: Progress | None = None,
) -> Estimated:
    """The maximum likelihood estimates of the free numbers, from the model's own as the start."""
    run = _Run(model, cohort, layout, seed)
    trace = []
    for k in range(exploring + smoothing):
        gain = 1.0 if k < exploring else (k - exploring + 1) ** -SLOWING
        run.iterate(k, gain, exploring)
        trace.append(layout.pack(run.population))
        if progress:
            progress(Step(k, exploring + smoothing, math.nan, math.nan, trace[-1]))
    kept = np.array(trace[exploring + smoothing // 3 :])
    return Estimated(kept.mean(axis=0), np.array(trace), exploring)


class _Run:
    def __init__(self, model: PopulationModel, cohort: Cohort, layout: PopulationVector, seed: int) -> None:
        self.model, self.cohort, self.layout = model, cohort, layout
        self.population = model.population
        self.key = jax.random.key(seed)
        self.chains_each = max(2, math.ceil(PATIENTS / len(cohort)))
        self.referenced = tuple(
            k for k, name in enumerate(model.varying) if mu_referenced(model, model.by_name[name])
        )
        names = [model.varying[k] for k in self.referenced]
        self.numeric = replace(
            layout,
            typical=tuple(scale for scale in layout.typical if scale.name not in names),
            between=_held(layout.between),
            occasion=_held(layout.occasion),
        )
        free = {scale.name for scale in layout.typical}
        self.updated = np.array(
            [k in self.referenced and name in free for k, name in enumerate(model.varying)], bool
        )
        self.mu = self._mu_of(self.population)
        self.batches = [self._start(batch) for batch in cohort.batches]
        K, L = len(model.varying), len(model.occasion_varying)
        self.statistics = _Statistics(np.zeros(K), np.zeros((K, K)), np.zeros((L, L)))
        P = self.numeric.size
        self.hessian = np.zeros((P, P))
        self.scores = np.zeros((len(cohort), P))
        self.scored = 0

    def _mu_of(self, population: Population) -> Values:
        mu = np.zeros(len(self.model.varying))
        for k in self.referenced:
            p = self.model.by_name[self.model.varying[k]]
            mu[k] = to_eta_scale(p, float(population.typical[self.model.parameters.index(p)]))
        return mu

    def _start(self, batch: Any) -> _Chains:
        model, B, C = self.model, batch.size, self.chains_each
        K, L = len(model.varying), len(model.occasion_varying)
        O = batch.occasions if L else 0  # noqa: E741 - the shape's letter elsewhere
        real = np.arange(B) < len(batch.index)
        used = np.zeros((B, O), bool)
        for row, i in enumerate(batch.index):
            used[row, : len(np.unique(self.cohort.subjects[i].occasion))] = True
        Z = dimensions(model, batch.occasions)
        return _Chains(
            np.zeros((B, C, K)), np.zeros((B, C, O, L)), np.full((B, Z + 1), math.log(0.5)), real, used
        )

    def iterate(self, k: int, gain: float, exploring: int) -> None:
        new = _Statistics(*(np.zeros_like(a) for a in vars(self.statistics).values()))
        occasions = 0
        P = self.numeric.size
        gradient, hessian = np.zeros(P), np.zeros((P, P))
        scores = np.zeros((len(self.cohort), P))
        x = self.numeric.pack(self.population) if P else np.zeros(0)
        for number, (batch, chains) in enumerate(zip(self.cohort.batches, self.batches, strict=True)):
            z = self._move(batch, chains, k, number)
            m = chains.eta[chains.real] + self.mu
            new.first += m.mean(axis=1).sum(axis=0) / len(self.cohort)
            new.second += np.einsum("bci,bcj->ij", m, m) / m.shape[1] / len(self.cohort)
            kappa = chains.kappa[chains.real].swapaxes(1, 2)[chains.used[chains.real]]
            if kappa.size:
                new.occasion += np.einsum("oci,ocj->ij", kappa, kappa) / kappa.shape[1]
                occasions += len(kappa)
            if P:
                with double_precision():
                    score = scorer(self.model.root, self.numeric, batch.steady)(
                        x, self.population, batch.program, z
                    )
                gradient_each = np.asarray(score.gradient)[chains.real]
                scores[batch.index] = gradient_each
                gradient += gradient_each.sum(axis=0)
                hessian += np.asarray(score.hessian)[chains.real].sum(axis=0)
        new.occasion /= max(occasions, 1)
        self.statistics.approach(new, gain)
        annealing = k < exploring // 2
        if P:
            if k >= exploring // 2:
                self.scored += 1
                self.scores += (scores - self.scores) / self.scored
            self.hessian += max(gain, 0.1) * (hessian - self.hessian)
            x = x + self._numeric_step(gradient, k < exploring, gain, annealing)
            self.population = numbers(self.numeric, x, self.population)
        self._closed_form(annealing)

    def _move(self, batch: Any, chains: _Chains, k: int, number: int) -> Values:
        model, population = self.model, self.population
        B, C, K = chains.eta.shape
        eta_z = np.linalg.solve(population.omega, chains.eta[..., None])[..., 0] if K else chains.eta
        kappa_z = chains.kappa
        if kappa_z.size:
            kappa_z = np.linalg.solve(population.gamma, chains.kappa[..., None])[..., 0]
        z = np.concatenate([eta_z, kappa_z.reshape(B, C, -1)], axis=-1)
        gain = 1.0 if k < 50 else 5.0 / (k - 40) ** 0.8
        with double_precision():
            key = jax.random.fold_in(jax.random.fold_in(self.key, k), number)
            moved = mover(model.root, batch.steady)(
                population, batch.program, z, chains.log_step, jax.random.split(key, B), gain
            )
            z, chains.log_step = np.asarray(moved.z), np.asarray(moved.log_step)
        chains.eta = z[..., :K] @ np.asarray(population.omega).T
        if chains.kappa.size:
            chains.kappa = z[..., K:].reshape(chains.kappa.shape) @ np.asarray(population.gamma).T
        return z

    def _numeric_step(self, gradient: Values, exploring: bool, gain: float, annealing: bool) -> Values:
        information = self.hessian if exploring else self.scores.T @ self.scores
        scale = np.sqrt(np.maximum(np.abs(np.diag(information)), 1e-12))
        eigenvalue, V = np.linalg.eigh(information / np.outer(scale, scale))
        inverse = (V / np.maximum(np.abs(eigenvalue), 1e-3)) @ V.T / np.outer(scale, scale)
        step: Values = -gain * inverse @ gradient
        relative = np.array(self.numeric.relative, bool)
        longest = np.abs(step[relative]).max(initial=0.0)
        step = step * min(1.0, LONGEST / longest) if longest > 0 else step
        if annealing:
            residual = np.arange(step.size) >= len(self.numeric.typical)
            step = np.where(residual & relative, np.maximum(step, 0.5 * math.log(ANNEALING)), step)
        return step

    def _closed_form(self, annealing: bool) -> None:
        model, s, population = self.model, self.statistics, self.population
        omega, gamma = _square(population.omega), _square(population.gamma)
        mu = self.mu.copy()
        if self.updated.any():
            held = ~self.updated
            mu[self.updated] = s.first[self.updated]
            if held.any():
                excess = s.first[held] - mu[held]
                regression = omega[np.ix_(self.updated, held)] @ np.linalg.inv(omega[np.ix_(held, held)])
                mu[self.updated] -= regression @ excess
        typical = np.array(population.typical, np.float64)
        for k in np.flatnonzero(self.updated):
            p = model.by_name[model.varying[k]]
            value = from_eta_scale(p, float(mu[k]))
            typical[model.parameters.index(p)] = min(max(value, p.low), p.high)
        shift = mu - self.mu
        for chains in self.batches:
            chains.eta = chains.eta - shift
        self.mu = mu
        between = self.layout.between
        if between.size:
            moment = s.second - np.outer(mu, s.first) - np.outer(s.first, mu) + np.outer(mu, mu)
            omega = _annealed(between.nearest(_proper(moment), omega), omega, annealing)
        if self.layout.occasion.size:
            gamma = _annealed(self.layout.occasion.nearest(_proper(s.occasion), gamma), gamma, annealing)
        self.population = Population(
            typical, np.linalg.cholesky(omega), np.linalg.cholesky(gamma), population.residual
        )


def _held(pattern: CovariancePattern) -> CovariancePattern:
    return replace(pattern, fixed=tuple(True for _ in pattern.names))


def _square(factor: Any) -> Values:
    square: Values = np.asarray(factor) @ np.asarray(factor).T
    return square


def _proper(moment: Values) -> Values:
    """A covariance of draws, kept away from 0 where a variance vanishes."""
    K = len(moment)
    return 0.5 * (moment + moment.T) + 1e-10 * np.eye(K)


def _annealed(new: Values, old: Values, annealing: bool) -> Values:
    if not annealing or not len(new):
        return new
    up = np.sqrt(np.maximum(1.0, ANNEALING * np.diag(old) / np.diag(new)))
    kept: Values = new * np.outer(up, up)
    return kept


def mu_referenced(model: PopulationModel, parameter: Parameter) -> bool:
    """Whether typical value and eta add up on some scale, whatever the covariates do."""
    if parameter.absolute:
        return False
    if isinstance(parameter.variability, LogNormal):
        return True
    return isinstance(parameter.variability, Normal | LogitNormal) and parameter.covariates is None


def to_eta_scale(parameter: Parameter, value: float) -> float:
    """The typical value on the scale on which its eta adds."""
    if isinstance(parameter.variability, LogNormal):
        return math.log(value)
    if isinstance(parameter.variability, LogitNormal):
        v = parameter.variability
        return math.log((value - v.low) / (v.high - value))
    return value


def from_eta_scale(parameter: Parameter, mu: float) -> float:
    """The inverse of `to_eta_scale`."""
    if isinstance(parameter.variability, LogNormal):
        return math.exp(mu)
    if isinstance(parameter.variability, LogitNormal):
        v = parameter.variability
        return v.low + (v.high - v.low) / (1 + math.exp(-mu))
    return mu


class Likelihood(NamedTuple):
    """-2 log likelihood on NONMEM's scale (no n log(2 pi)), and its Monte-Carlo standard error."""

    objective: float
    standard_error: float


def importance_likelihood(fits: IndividualFits, *, samples: int = 3000, seed: int = 0) -> Likelihood:
    """The marginal likelihood at the model's numbers, by importance sampling around the modes."""
    model, total, variance = fits.model, 0.0, 0.0
    rng = np.random.default_rng(seed)
    for batch in fits.cohort.batches:
        Z = dimensions(model, batch.occasions)
        z, H = np.zeros((batch.size, Z)), np.tile(np.eye(Z), (batch.size, 1, 1))
        for row, i in enumerate(batch.index):
            own = len(fits.z[i])
            z[row, :own], H[row, :own, :own] = fits.z[i], fits.exact[i]
        # one noise for all subjects would make their errors add up
        noise = rng.normal(size=(batch.size, samples // 2, Z + 6))
        with double_precision():
            log, size = evidence(model.root, batch.steady)(model.population, batch.program, z, H, noise)
        rows = slice(0, len(batch.index))
        total += -2 * float(np.asarray(log)[rows].sum())
        variance += 4 * float((1 / np.asarray(size)[rows] - 1 / noise.shape[1] / 2).sum())
    return Likelihood(total, math.sqrt(max(variance, 0.0)))
