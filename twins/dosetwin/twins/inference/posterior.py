"""Posterior samples of individuals: importance sampling from the Laplace approximation, checked, repaired.

Round 0 draws from a multivariate t around the mode with the inverse exact Hessian. Pareto's k-hat says
whether the weights can be trusted. Where they cannot, the proposal is fitted to the weighted samples (their
mean and covariance), mixed with the prior and drawn again, up to `rounds` times; the round with the lowest
k-hat is kept. What still has too high a k-hat says so (`reliable` False).

Sources: Vehtari et al. 2024, arXiv 1507.02646 (k-hat, smoothed weights); Cappé, Guillin, Marin & Robert 2004,
J Comput Graph Stat 13:907, doi:10.1198/106186004X12803 (population Monte Carlo: refitting the proposal).
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, cast

import jax
import numpy as np
import numpy.typing as npt
import pandas as pd
from jaxtyping import Array

from dosetwin.twins.data.subject import Subject
from dosetwin.twins.inference.importance import Samples, draw_samples, proper_factor
from dosetwin.twins.inference.individuals import IndividualFits, estimate_individuals
from dosetwin.twins.inference.objective import objective
from dosetwin.twins.inference.pareto import largest_trusted, smoothed
from dosetwin.twins.inference.subject_posterior import SubjectPosterior
from dosetwin.twins.inference.weighted import effective_size, weighted_covariance, weighted_mean
from dosetwin.twins.models.errors import ModelError
from dosetwin.twins.population_model import Population, PopulationModel
from dosetwin.twins.precision import double_precision
from dosetwin.twins.simulation.cohort import CohortBatch
from dosetwin.twins.simulation.event_program import Program
from dosetwin.twins.simulation.individual import dimensions

__all__ = ["Posterior", "SubjectPosterior", "sample_posterior"]

Values = npt.NDArray[np.float64]
TOGETHER = 64
"""Subjects sampled in one compiled call: bounds the memory to about TOGETHER x samples x events numbers."""
FROM_PRIOR = 0.2
"""Share of the prior in the proposal of later rounds."""
BORROWED = 5.0
"""A refitted covariance counts this many effective samples a dimension of the covariance before it."""


@dataclass(frozen=True)
class Posterior:
    """Weighted samples of every subject, in the order of the subjects."""

    model: PopulationModel
    individuals: tuple[SubjectPosterior, ...]

    def __len__(self) -> int:
        return len(self.individuals)

    def __iter__(self) -> Iterator[SubjectPosterior]:
        return iter(self.individuals)

    def __getitem__(self, key: int | str) -> SubjectPosterior:
        if isinstance(key, int):
            return self.individuals[key]
        for one in self.individuals:
            if one.subject.id == key:
                return one
        raise KeyError(key)

    @property
    def reliable(self) -> bool:
        """Whether every subject's weights can be trusted."""
        return all(one.reliable for one in self.individuals)

    @cached_property
    def summary(self) -> pd.DataFrame:
        """One row a subject: k_hat, effective sample size, log evidence, rounds, reliable."""
        return pd.DataFrame(
            {
                "k_hat": [one.k_hat for one in self.individuals],
                "effective": [one.effective for one in self.individuals],
                "log_evidence": [one.log_evidence for one in self.individuals],
                "rounds": [one.rounds for one in self.individuals],
                "reliable": [one.reliable for one in self.individuals],
            },
            index=[one.subject.id for one in self.individuals],
        )


def sample_posterior(
    model: PopulationModel,
    subjects: Iterable[Subject] | IndividualFits,
    *,
    samples: int = 1000,
    seed: int = 0,
    rounds: int = 4,
) -> Posterior:
    """Weighted posterior samples of every subject's etas, in batch and in float64.

    `subjects`: records, or their fits by the same model. `rounds`: how often the proposal may be refitted.
    A subject's samples depend on `seed`, its id and its records, not on the company. Raises ModelError for
    fewer than 100 samples or fits of another model.
    """
    if samples < 100:
        raise ModelError(f"found {samples} samples; expected 100 or more")
    fits = subjects if isinstance(subjects, IndividualFits) else estimate_individuals(model, subjects)
    if fits.model is not model:
        raise ModelError(
            "found fits of another model than the one given",
            remedy="pass fits.model, or the subjects themselves",
        )
    half = math.ceil(samples / 2)
    found: list[SubjectPosterior | None] = [None] * len(fits.subjects)
    for batch in fits.cohort.batches:
        rows = np.arange(len(batch.index))
        size = min(batch.size, TOGETHER)
        for begin in range(0, len(rows), size):
            part = rows[begin : begin + size]
            proposals = {int(row): _laplace(fits, int(batch.index[row])) for row in part}
            for round_ in range(rounds + 1):
                drawn = _draw(fits, batch, size, proposals, half, seed, round_)
                kept, proposals = _judged(fits, batch, proposals, drawn, round_)
                for i, one in kept.items():
                    before = found[i]
                    if before is None or one.k_hat < before.k_hat:
                        found[i] = one
                if not proposals:
                    break
    return Posterior(model, tuple(cast("list[SubjectPosterior]", found)))


@dataclass(frozen=True)
class _Proposal:
    """Centre and inverse covariance of the t, in the subject's own dimensions."""

    centre: Values
    hessian: Values


def _laplace(fits: IndividualFits, i: int) -> _Proposal:
    exact = fits.exact[i]
    usable = bool(np.isfinite(exact).all()) and (not exact.size or np.linalg.eigvalsh(exact).min() > 0)
    z = fits.z[i]
    return _Proposal(np.where(np.isfinite(z), z, 0.0), exact if usable else fits.expected[i])


@cache
def _sampler(root: PopulationModel, steady: bool, defended: bool) -> Callable[..., Samples]:
    def one(
        population: Population,
        program: Program,
        centre: Array,
        hessian: Array,
        noise: Array,
        used: Array,
        prior: Array,
    ) -> Samples:
        return draw_samples(
            lambda z: objective(root, steady, population, program, z),
            centre,
            proper_factor(hessian),
            noise,
            used=used,
            from_prior=prior if defended else None,
        )

    return cast("Callable[..., Samples]", jax.jit(jax.vmap(one, in_axes=(None, 0, 0, 0, 0, 0, 0))))


def _draw(
    fits: IndividualFits,
    batch: CohortBatch,
    size: int,
    proposals: dict[int, _Proposal],
    half: int,
    seed: int,
    round_: int,
) -> dict[int, Samples]:
    """Samples of the batch's rows that have a proposal."""
    Z = dimensions(fits.model, batch.occasions)
    G = int(FROM_PRIOR * 2 * half) if round_ else 0
    half -= G // 2
    taken = list(proposals)
    padded = taken + [taken[0]] * (size - len(taken))
    centre, hessian = np.zeros((size, Z)), np.tile(np.eye(Z), (size, 1, 1))
    noise, used, prior = np.zeros((size, half, Z + 6)), np.zeros((size, Z)), np.zeros((size, G, Z))
    for k, row in enumerate(taken):
        proposal = proposals[row]
        d = len(proposal.centre)
        name = fits.subjects[int(batch.index[row])].id.encode()
        rng = np.random.default_rng([seed, zlib.crc32(name), round_])
        centre[k, :d], hessian[k, :d, :d], used[k, :d] = proposal.centre, proposal.hessian, 1.0
        noise[k, :, Z:], noise[k, :, :d] = rng.standard_normal((half, 6)), rng.standard_normal((half, d))
        prior[k, :, :d] = rng.standard_normal((G, d))
    noise[len(taken) :, :, Z:] = 1.0
    program = jax.tree.map(lambda leaf: leaf[np.array(padded)], batch.program)
    with double_precision():
        sampler = _sampler(fits.model.root, batch.steady, round_ > 0)
        drawn = sampler(fits.model.population, program, centre, hessian, noise, used, prior)
        arrays = jax.tree.map(np.asarray, drawn)
    return {row: jax.tree.map(lambda leaf, k=k: leaf[k], arrays) for k, row in enumerate(taken)}


def _judged(
    fits: IndividualFits,
    batch: CohortBatch,
    proposals: dict[int, _Proposal],
    drawn: dict[int, Samples],
    round_: int,
) -> tuple[dict[int, SubjectPosterior], dict[int, _Proposal]]:
    """Every row's posterior as it is now, and the next proposals of those that need one."""
    kept: dict[int, SubjectPosterior] = {}
    following: dict[int, _Proposal] = {}
    for row, samples in drawn.items():
        i = int(batch.index[row])
        d = len(proposals[row].centre)
        log_ratio = np.asarray(samples.log_ratio)
        judged = smoothed(log_ratio)
        weight = np.exp(judged.log_weight)
        z = np.asarray(samples.z)[:, :d]
        S = len(weight)
        hopeless = not np.isfinite(log_ratio).any()
        k_hat = math.inf if hopeless else judged.k_hat
        kept[i] = SubjectPosterior(
            model=fits.model,
            subject=fits.subjects[i],
            z=z,
            weight=weight,
            k_hat=k_hat,
            trusted_k_hat=largest_trusted(S),
            effective=0.0 if hopeless else effective_size(weight),
            log_evidence=float(samples.log_evidence),
            rounds=round_,
        )
        if not kept[i].reliable and d:
            following[row] = _refitted(proposals[row], z, weight, hopeless)
    return kept, following


def _refitted(before: _Proposal, z: Values, weight: Values, hopeless: bool) -> _Proposal:
    d = z.shape[1]
    if hopeless:
        return _Proposal(np.zeros(d), np.eye(d))
    trust = effective_size(weight)
    earlier: Any = np.linalg.inv(before.hessian + 1e-9 * np.eye(d))
    covariance = (trust * weighted_covariance(z, weight) + BORROWED * d * earlier) / (trust + BORROWED * d)
    return _Proposal(weighted_mean(z, weight), np.linalg.inv(covariance))
