"""Decisions of the anaesthesia bank: ask the forecast about every pair of moves, take the best, say why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
import numpy.typing as npt

from dosetwin.twins.bank import Appraisal
from dosetwin.twins.estimators import anaesthesia_layout as row
from dosetwin.twins.estimators.anaesthesia_twin import HEAD, Twin
from dosetwin.twins.policies import anaesthesia_forecast as horizon
from dosetwin.twins.policies.anaesthesia_cost import TERMS
from dosetwin.twins.policies.anaesthesia_expected import Announced
from dosetwin.twins.policies.anaesthesia_moves import AT_S
from dosetwin.twins.policies.anaesthesia_orders import CANDIDATES, order_codes, orders
from dosetwin.twins.policies.anaesthesia_reason import Said, reasons, would_change
from dosetwin.twins.policies.anaesthesia_targets import (
    AHEAD_S,
    BLIND_AFTER_S,
    BLIND_MG_KG_H,
    PROPOFOL_INCREMENT_MG_H,
    REMIFENTANIL_INCREMENT_UG_H,
    AnaesthesiaTargets,
    anaesthesia_targets,
    highest_rates_per_h,
)

FloatArray = npt.NDArray[np.floating]
BATCHES = (8, 32, 128, 512)
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
BANDS = (("bis", "1"), ("mean_arterial_pressure", "mm[Hg]"), ("heart_rate", "/min"))
SITES = (("propofol_effect_site", "ug/mL"), ("remifentanil_effect_site", "ng/mL"))
BAND_STEP_S = 40.0
GUARDED = tuple(name for name, _ in BANDS)


class Present(NamedTuple):
    """What is known of n patients beside their ensembles; rates per hour."""

    patients: list[str]
    at_s: FloatArray
    age_a: FloatArray
    weight_kg: FloatArray
    running: FloatArray
    """[2, n] of propofol (mg/h) and remifentanil (ug/h)."""
    rate_age_s: FloatArray
    """[2, n] since when, infinity where no rate was ever told."""
    index_age_s: FloatArray
    """Since the newest index; infinity where there is none."""
    ended: npt.NDArray[np.bool_]
    ahead: FloatArray
    """[5, n] what was announced (`anaesthesia_stimuli.Ahead`)."""
    targets: AnaesthesiaTargets

    @classmethod
    def of(cls, twins: Sequence[Twin], at_s: Sequence[float]) -> Present:
        """From the twins' book-keeping."""
        persons = [twin.marks[HEAD].person for twin in twins]
        runs = [[s.running(at) for s in t.doses] for t, at in zip(twins, at_s, strict=True)]
        running = np.array([[rate for rate, _ in run] for run in runs], float).reshape(-1, 2).T
        since = np.array([[begun for _, begun in run] for run in runs], float).reshape(-1, 2).T
        at = np.array(at_s, float)
        read = np.array([twin.marks[HEAD].bis_s for twin in twins], float)
        return cls(
            [twin.patient for twin in twins],
            at,
            np.array([person.age_a for person in persons], float),
            np.array([person.weight_kg for person in persons], float),
            running,
            np.where(np.isfinite(since), at - since, np.inf),
            np.where(np.isfinite(read), at - read, np.inf),
            np.array([twin.ended_s <= now for twin, now in zip(twins, at_s, strict=True)], bool),
            np.array(
                [twin.stimuli.ahead(now, now + AHEAD_S) for twin, now in zip(twins, at_s, strict=True)],
                float,
            )
            .reshape(-1, 5)
            .T,
            anaesthesia_targets([twin.targets for twin in twins]),
        )


def appraise(present: Present, ensembles: npt.NDArray[np.float32]) -> Appraisal:
    """Forecasts and scored candidates of n patients from their ensembles [n, size] at `present.at_s`."""
    n = len(present.patients)
    highest = np.stack(highest_rates_per_h(present.age_a, present.weight_kg))
    x = ensembles.reshape(n, row.ROWS, row.MEMBERS)
    never = ~np.isfinite(present.index_age_s)
    blind = present.index_age_s > BLIND_AFTER_S
    highest[0] = np.where(blind, np.minimum(highest[0], BLIND_MG_KG_H * present.weight_kg), highest[0])
    ceiling_p = np.where(never | present.ended, 0.0, np.inf)
    ceiling_r = np.where(never | present.ended, 0.0, np.inf)
    increments = np.array([PROPOFOL_INCREMENT_MG_H, REMIFENTANIL_INCREMENT_UG_H])
    aims = present.targets
    per_patient = [
        *(present.running / 60.0),
        *(highest / 60.0),
        np.minimum(ceiling_p, 1e6),
        np.minimum(ceiling_r, 1e6),
        *(aims.goal, aims.low, aims.high, aims.pressure_low, aims.heart_rate_low),
        *np.broadcast_to(increments[:, None] / 60.0, (2, n)),
        aims.risk_below_30,
        blind,
        *np.minimum(present.ahead, 1e6),
    ]
    made = _in_batches(ensembles, np.stack(per_patient).astype(np.float32))
    count = len(CANDIDATES)

    def flat(of: npt.ArrayLike) -> FloatArray:
        """[.., moves, moves, n] as [.., candidates, n]."""
        values: FloatArray = np.asarray(of)
        return values.reshape(*values.shape[:-3], count, n)

    cost, terms, below_30 = flat(made.cost), flat(made.terms), flat(made.below_30)
    feasible = below_30 <= aims.risk_below_30
    best: npt.NDArray[np.integer] = np.asarray(made.best, np.int64)
    stopped = never | present.ended
    who = np.arange(n)
    if stopped.any():
        best = np.where(stopped, CANDIDATES.index("stop propofol, stop remifentanil"), best)
    rates = flat(made.rate_p) * 60.0, flat(made.rate_r) * 60.0
    later = flat(made.later_p) * 60.0, flat(made.later_r) * 60.0
    codes = [
        order_codes(rates[k], later[k], present.running[k], present.rate_age_s[k], increments[k])
        for k in range(2)
    ]
    members = np.asarray(made.members)  # [5, times, members, n]
    bands = _quantiles(members, QUANTILES)  # [5, quantiles, times, n]
    now = _now(x)
    stimulus = np.median((x[:, row.S] + x[:, row.SL]) / (1.0 + x[:, row.RE] / np.exp(x[:, row.C50S])), axis=1)
    middle = bands[:, 2]
    target = flat(made.target_p)[best, who], flat(made.target_r)[best, who]
    said = Said(
        rates[0][best, who],
        rates[1][best, who],
        *target,
        now["bis"][:, 0],
        middle[0, -1],
        middle[1, -1],
        below_30[best, who],
        stimulus,
        np.where(blind, present.index_age_s, 0.0),
        present.ended,
    )
    units = dict((*BANDS, *SITES))
    return Appraisal(
        patients=list(present.patients),
        at_s=present.at_s,
        candidates=CANDIDATES,
        utility=-cost.T,
        attainment=flat(made.attainment).T,
        feasible=feasible.T,
        best=best,
        risks={
            "bis_below_30": below_30.T,
            "bis_above_60": flat(made.above_60).T,
            "mean_arterial_pressure_low": flat(made.pressure_low).T,
            "heart_rate_below_40": flat(made.heart_rate_low).T,
        },
        orders=[
            [orders(a, b) for a, b in zip(of_p, of_r, strict=True)]
            for of_p, of_r in zip(codes[0].T.tolist(), codes[1].T.tolist(), strict=True)
        ],
        quantiles=QUANTILES,
        bands={name: bands[k].transpose(2, 0, 1) for k, name in enumerate(units)},
        band_units=units,
        step_s=BAND_STEP_S,
        lowest={name: flat(made.lowest[k]).T for k, name in enumerate(GUARDED)},
        on_board={
            "propofol": (x[:, row.P1] * np.exp(x[:, row.V1P])).mean(1),
            "remifentanil": (x[:, row.R1] * np.exp(x[:, row.V1R])).mean(1),
        },
        estimates=_estimates(x),
        time_to_event_s=_time_to_event(middle, aims),
        evidence={
            "index_now": now["bis"][:, 0],
            "index_age_s": np.minimum(present.index_age_s, 1e9),
            "stimulus": stimulus,
            "propofol_target_ug_mL": target[0],
            "remifentanil_target_ng_mL": target[1],
            "running_propofol_mg_h": present.running[0],
            "running_remifentanil_ug_h": present.running[1],
            **{f"cost_{name.replace(' ', '_')}": terms[k][best, who] for k, name in enumerate(TERMS)},
        },
        reasons=reasons(best, said, feasible[best, who]),
        would_change=would_change(best, cost, terms, feasible, below_30, aims.risk_below_30),
    )


def _in_batches(ensembles: npt.NDArray[np.float32], asked: FloatArray) -> horizon.Forecasts:
    """The forecasts of all patients, as numpy, patients last."""
    parts, start, n = [], 0, len(ensembles)
    while start < n:
        left = n - start
        size = next((size for size in BATCHES if size >= left), BATCHES[-1])
        index = np.minimum(np.arange(start, start + size), n - 1)
        made = jax.device_get(
            horizon.forecast_batch(
                ensembles[index],
                horizon.Ask._make([*(values[index] for values in asked[:-5]), Announced(*asked[-5:, index])]),
            )
        )
        kept = min(left, size)
        parts.append([values[..., :kept] for values in made])
        start += size
    joined = [np.concatenate(values, axis=-1) for values in zip(*parts, strict=True)]
    return horizon.Forecasts(*joined)  # type: ignore[arg-type]  # NumPy in the place of JAX


def _now(x: npt.NDArray[np.float32]) -> dict[str, FloatArray]:
    """[n, 3] median, 5 % and 95 % of the index as it is behind the monitor."""
    index = np.clip(x[:, row.B3], 0.0, 100.0)
    return {"bis": _three(index)}


def _three(values: FloatArray) -> FloatArray:
    """[n, members] as [n, 3] median, 5 %, 95 %."""
    return np.moveaxis(_quantiles(values.T[None, None], (0.5, 0.05, 0.95))[0, :, 0], 0, -1)


def _estimates(x: npt.NDArray[np.float32]) -> dict[str, tuple[str, FloatArray]]:
    members = {
        "propofol_effect_site": ("ug/mL", x[:, row.PE]),
        "remifentanil_effect_site": ("ng/mL", x[:, row.RE]),
        "propofol_C50": ("ug/mL", np.exp(x[:, row.C50P])),
        "propofol_clearance": ("L/min", np.exp(x[:, row.CLP])),
        "awake_pressure": ("mm[Hg]", np.exp(x[:, row.MAP0])),
        "awake_heart_rate": ("/min", np.exp(x[:, row.HR0])),
        "stimulus": ("1", x[:, row.S] + x[:, row.SL]),
    }
    made = {"bis": ("1", _now(x)["bis"])}
    made.update({name: (unit, _three(v)) for name, (unit, v) in members.items()})
    return made


def _time_to_event(middle: FloatArray, aims: AnaesthesiaTargets) -> FloatArray:
    """[n] s until the median index is out of range or the median pressure too low, else NaN."""
    outside = (middle[0] < aims.low) | (middle[0] > aims.high) | (middle[1] < aims.pressure_low)
    first = outside.argmax(0)
    return np.where(outside.any(0), np.asarray(AT_S)[first], np.nan)


def _quantiles(members: FloatArray, at: tuple[float, ...]) -> FloatArray:
    """[k, times, members, n] as [k, quantiles, times, n], at positions q (M + 1) of the ordered members."""
    ordered = np.sort(members, axis=2)
    count = ordered.shape[2]
    out = []
    for q in at:
        position = min(max(q * (count + 1) - 1.0, 0.0), count - 1.0)
        k = min(int(position), count - 2)
        part = position - k
        out.append(ordered[:, :, k] * (1.0 - part) + ordered[:, :, k + 1] * part)
    return np.stack(out, 1).astype(np.float64)
