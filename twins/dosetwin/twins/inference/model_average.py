"""Several population models of one drug, weighted by how well each foretold one subject's observations.

    weight_m  is proportional to  prior_m p(y | m),     p(y | m) = integral p(y | z, m) p(z) dz

The evidence p(y | m) comes from the posterior samples; what half_deviance leaves out is added here, so that
errors on different scales compare: log sqrt(2 pi) for a normal, the t's constant, and the Jacobian d log y/dy
of a log-normal. Predictions are those of all models' samples together, each model by its weight.

Sources: Hoeting et al. 1999, Stat Sci 14:382, doi:10.1214/ss/1009212519; for dosing: Uster et al. 2021,
Clin Pharmacol Ther 109:175, doi:10.1002/cpt.2065 (a model averaging/selection approach).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import gammaln

from dosetwin.twins.data.subject import Subject
from dosetwin.twins.inference.posterior import sample_posterior
from dosetwin.twins.inference.subject_posterior import BANDS, SubjectPosterior
from dosetwin.twins.inference.weighted import weighted_mean, weighted_quantiles
from dosetwin.twins.models.errors import ModelError
from dosetwin.twins.population_model import PopulationModel, StudentT
from dosetwin.twins.precision import double_precision
from dosetwin.twins.simulation.continuation import Occasion
from dosetwin.twins.simulation.program_writer import write_program

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ModelAverage:
    """One subject under several models, in one order: names, prior and posterior weights, posteriors.

    log_evidence: log p(y | m), constants included, so that it compares between any models of the same data.
    """

    subject: Subject
    names: tuple[str, ...]
    prior: Values
    log_evidence: Values
    weights: Values
    posteriors: tuple[SubjectPosterior, ...]

    @property
    def reliable(self) -> bool:
        """Whether the samples of every model that counts (weight above 0.01) can be trusted."""
        return all(p.reliable for p, w in zip(self.posteriors, self.weights, strict=True) if w > 0.01)

    @property
    def best(self) -> SubjectPosterior:
        """The posterior under the model of the highest weight (model selection)."""
        return self.posteriors[int(np.argmax(self.weights))]

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row a model: prior, log evidence with its Monte-Carlo standard error, weight, k-hat."""
        return pd.DataFrame(
            {
                "prior": self.prior,
                "log_evidence": self.log_evidence,
                "standard_error": [
                    math.sqrt(max(1 / p.effective - 1 / len(p.weight), 0.0)) if p.effective > 0 else math.inf
                    for p in self.posteriors
                ],
                "weight": self.weights,
                "k_hat": [p.k_hat for p in self.posteriors],
                "reliable": [p.reliable for p in self.posteriors],
            },
            index=list(self.names),
        )

    def at(
        self, times: Sequence[float] | Values, *, output: int = 1, occasion: Occasion = "last", seed: int = 0
    ) -> tuple[Values, Values]:
        """Predictions [S of all models, T] at any times, and the weight of each sample."""
        parts = [p.at(times, output=output, occasion=occasion, seed=seed) for p in self.posteriors]
        return np.concatenate(parts), self.sample_weights

    @cached_property
    def sample_weights(self) -> Values:
        """The weight of every sample of every model, in the order of the models; they sum to 1."""
        return np.concatenate([w * p.weight for w, p in zip(self.weights, self.posteriors, strict=True)])

    def quantiles(
        self,
        times: Sequence[float] | Values,
        probabilities: Sequence[float] = BANDS,
        *,
        output: int = 1,
        occasion: Occasion = "last",
        residual: bool = True,
        seed: int = 0,
    ) -> pd.DataFrame:
        """Mean prediction and quantiles of what would be observed (without `residual`: of the prediction)."""
        f, weight = self.at(times, output=output, occasion=occasion, seed=seed)
        shown = f
        if residual:
            sizes = np.cumsum([0, *(len(p.weight) for p in self.posteriors)])
            shown = np.concatenate(
                [
                    p.observed(f[a:b], output=output, seed=seed + k)
                    for k, (p, a, b) in enumerate(zip(self.posteriors, sizes[:-1], sizes[1:], strict=True))
                ]
            )
        table = weighted_quantiles(shown, weight, probabilities)
        frame = pd.DataFrame({"time": np.asarray(times, np.float64), "mean": weighted_mean(f, weight)})
        for probability, values in zip(probabilities, table, strict=True):
            frame[probability] = values
        return frame


def average_models(
    models: Mapping[str, PopulationModel],
    subjects: Iterable[Subject],
    *,
    prior: Mapping[str, float] | None = None,
    samples: int = 1000,
    seed: int = 0,
) -> tuple[ModelAverage, ...]:
    """Weigh the models for every subject. `prior`: weights before the data, equal when not given.

    Raises ModelError where the models do not observe the same quantities in the same units and time, or a
    prior weight is missing or negative.
    """
    names = tuple(models)
    everyone = list(subjects)
    before = _prior(names, prior)
    observed = {tuple((o.quantity, o.unit) for o in model.outputs) for model in models.values()}
    clocks = {model.time_unit for model in models.values()}
    if len(observed) > 1 or len(clocks) > 1:
        raise ModelError(
            f"found models that observe {sorted(observed)} in {sorted(clocks)}; expected the same "
            "quantities, units and time unit of all, because their evidence is compared",
            remedy="convert one model's parameters, or name its quantity as the other does",
        )
    posteriors = [sample_posterior(model, everyone, samples=samples, seed=seed) for model in models.values()]
    found = []
    for i, subject in enumerate(everyone):
        own = tuple(posterior.individuals[i] for posterior in posteriors)
        evidence = np.array([p.log_evidence + omitted_constants(p.model, subject) for p in own])
        with np.errstate(divide="ignore"):
            total = np.log(before) + np.where(np.isfinite(evidence), evidence, -np.inf)
        if not np.isfinite(total).any():
            raise ModelError(
                f"subject {subject.id}: found no model under which its observations are possible"
            )
        weights = np.exp(total - total.max())
        found.append(ModelAverage(subject, names, before, evidence, weights / weights.sum(), own))
    return tuple(found)


def _prior(names: tuple[str, ...], prior: Mapping[str, float] | None) -> Values:
    given = dict.fromkeys(names, 1.0) if prior is None else dict(prior)
    weights = np.array([given.get(name, -1.0) for name in names])
    if set(given) != set(names) or not (weights >= 0).all() or not 0 < weights.sum() < math.inf or not names:
        raise ModelError(
            f"found prior weights {given}; expected one of 0 or more for each of {', '.join(names)}"
        )
    normalised: Values = weights / weights.sum()
    return normalised


def omitted_constants(model: PopulationModel, subject: Subject) -> float:
    """What log p(y | z) has beyond -sum half_deviance: constants of the densities, Jacobian of the scale.

    Only of measured observations of continuous errors; censored ones, categories and counts are probabilities
    already.
    """
    o = write_program(model, subject).observations
    total = 0.0
    for k, observed in enumerate(model.outputs):
        error = observed.error
        censored = np.zeros(len(o.value)) if o.censored is None else np.asarray(o.censored)
        y = np.asarray(o.value)[(np.asarray(o.output) == k) & (np.asarray(o.mask) > 0) & (censored == 0)]
        if not error.continuous or not len(y):
            continue
        constant = -0.5 * math.log(2 * math.pi)
        if isinstance(error, StudentT):
            nu = error.freedom
            constant = float(gammaln(0.5 * (nu + 1)) - gammaln(0.5 * nu) - 0.5 * math.log(nu * math.pi))
        with double_precision():
            values = jnp.asarray(y)
            slope = np.asarray(jax.jvp(error.scale, (values,), (jnp.ones_like(values),))[1])
        total += len(y) * constant + float(np.log(slope).sum())
    return total
