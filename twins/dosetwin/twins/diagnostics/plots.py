"""Every plot of a fit, one function each, in one style; each returns a figure that a notebook shows.

table = prediction_table(fits)
observed_vs_predicted(table, fits.model).savefig("goodness.png")
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from scipy import stats

from dosetwin.twins.diagnostics.curves import individual_curves
from dosetwin.twins.diagnostics.npde import npde_tests
from dosetwin.twins.diagnostics.plot_style import (
    BAND,
    GREY,
    INDIVIDUAL,
    INK,
    OTHER,
    POPULATION,
    TREND,
    Plot,
    Values,
    panels,
    points,
    style,
    trend,
    wide_range,
    with_unit,
)
from dosetwin.twins.diagnostics.tables import shrinkage
from dosetwin.twins.diagnostics.vpc import VPC
from dosetwin.twins.inference.individuals import IndividualFits
from dosetwin.twins.models.errors import ModelError
from dosetwin.twins.population_model import Observed, PopulationModel

MOST_COVARIATES = 6
FEW_VALUES = 5


def observed_vs_predicted(table: pd.DataFrame, model: PopulationModel, *, output: int = 1) -> Plot:
    """Observations against PRED and against IPRED, with the line of identity; measured values only.

    `table`: of `prediction_table`. Axes are logarithmic where the values span more than two decades.
    """
    observed, rows = _measured(table, model, output)
    label = with_unit(f"observed {observed.quantity}", observed.unit)
    with style():
        figure, axes = panels(1, 2, height=3.4)
        for axis, name, words in zip(
            axes, ("PRED", "IPRED"), ("typical subject (PRED)", "individual (IPRED)"), strict=True
        ):
            x, y = rows[name].to_numpy(), rows["DV"].to_numpy()
            logarithmic = wide_range(np.concatenate([x, y]))
            if logarithmic:
                axis.set(xscale="log", yscale="log")
            points(axis, x, y)
            both = np.concatenate([x, y])
            low, high = (float(both.min()), float(both.max())) if len(both) else (0.0, 1.0)
            axis.plot([low, high], [low, high], color=GREY, linestyle="--", linewidth=1, label="identity")
            trend(axis, x, y)
            axis.set(xlabel=with_unit(f"prediction, {words}", observed.unit), ylabel=label)
        axes[0].legend(loc="upper left")
    return figure


def residual_plots(table: pd.DataFrame, model: PopulationModel, *, output: int = 1) -> Plot:
    """CWRES against time and PRED, IWRES against IPRED, and the normal quantiles of CWRES."""
    observed, rows = _measured(table, model, output)
    time = with_unit("time", model.time_unit)
    with style():
        figure, axes = panels(2, 2, height=2.7)
        pairs = (
            ("TIME", "CWRES", time),
            ("PRED", "CWRES", with_unit("PRED", observed.unit)),
            ("IPRED", "IWRES", with_unit("IPRED", observed.unit)),
        )
        for axis, (across, along, label) in zip(axes, pairs, strict=False):
            x, y = rows[across].to_numpy(np.float64), rows[along].to_numpy(np.float64)
            if across != "TIME" and wide_range(x):
                axis.set_xscale("log")
            points(axis, x, y)
            _normal_lines(axis)
            trend(axis, x, y)
            axis.set(xlabel=label, ylabel=along)
        _quantiles(axes[3], rows["CWRES"].to_numpy(np.float64), "CWRES")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left")
    return figure


def npde_plots(table: pd.DataFrame, model: PopulationModel, *, output: int = 1) -> Plot:
    """NPDE: normal quantiles, histogram, against time and PRED; the tests of N(0, 1) in the title."""
    observed = model.outputs[_place(model, output)]
    rows = table[(table["OUTPUT"] == output) & table["NPDE"].notna()]
    values = rows["NPDE"].to_numpy(np.float64)
    tests = npde_tests(values)
    with style():
        figure, axes = panels(2, 2, height=2.7)
        _quantiles(axes[0], values, "NPDE")
        axes[1].hist(values, bins=_bins(values), density=True, color=BAND, edgecolor="white")
        grid = np.linspace(-4, 4, 200)
        axes[1].plot(grid, stats.norm.pdf(grid), color=INK, label="N(0, 1)")
        axes[1].set(xlabel="NPDE", ylabel="density", xlim=(-4, 4))
        axes[1].legend()
        for axis, across, label in (
            (axes[2], "TIME", with_unit("time", model.time_unit)),
            (axes[3], "PRED", with_unit("PRED", observed.unit)),
        ):
            x = rows[across].to_numpy(np.float64)
            if across == "PRED" and wide_range(x):
                axis.set_xscale("log")
            points(axis, x, values)
            _normal_lines(axis)
            trend(axis, x, values)
            axis.set(xlabel=label, ylabel="NPDE")
        figure.suptitle(
            f"n = {tests['n']:.0f}   mean {tests['mean']:.2f} (p = {tests['p_mean']:.2g})   "
            f"variance {tests['variance']:.2f} (p = {tests['p_variance']:.2g})   "
            f"normal: p = {tests['p_normality']:.2g}",
            fontsize=8.5,
        )
    return figure


def individual_fits(
    fits: IndividualFits,
    *,
    subjects: Sequence[str] | None = None,
    output: int = 1,
    rows: int = 4,
    columns: int = 3,
    logarithmic: bool = False,
) -> list[Plot]:
    """Pages of subjects: observations, the typical subject's curve and the individual's, at dense times.

    `subjects`: ids (None: all, in the order of the data). Censored values are triangles at their limit that
    point to where the value is. A subject whose search did not converge is named so in its title.
    """
    observed = fits.model.outputs[_place(fits.model, output)]
    ids = [s.id for s in fits.subjects]
    unknown = sorted(set(subjects or ()) - set(ids))
    if unknown:
        raise ModelError(f"found subjects {', '.join(unknown)}; expected some of {', '.join(ids[:20])}")
    chosen = list(range(len(ids))) if subjects is None else [ids.index(name) for name in subjects]
    pages = []
    with style():
        for begin in range(0, len(chosen), rows * columns):
            part = chosen[begin : begin + rows * columns]
            across = min(columns, len(part))
            needed = -(-len(part) // across)
            figure, axes = panels(needed, across, height=1.9 if needed > 1 else 2.6)
            curves = individual_curves(fits, part)
            blocks = dict(iter(curves.groupby("ID", sort=False)))
            for axis, i in zip(axes, part, strict=False):
                block = blocks[ids[i]]
                _individual(axis, fits, i, block[block["OUTPUT"] == output], output)
                if logarithmic:
                    axis.set_yscale("log")
            for axis in axes[len(part) :]:
                axis.set_visible(False)
            figure.supxlabel(with_unit("time", fits.model.time_unit), fontsize=8.5)
            figure.supylabel(with_unit(observed.quantity, observed.unit), fontsize=8.5)
            handles, labels = axes[0].get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside upper left", ncols=4)
            pages.append(figure)
    return pages


def eta_distributions(fits: IndividualFits) -> Plot:
    """Histogram of each eta with the population's normal; shrinkage in the titles."""
    model = fits.model
    if not model.varying:
        raise ModelError("no parameter varies between subjects: there are no etas to show")
    table = shrinkage(fits)
    table = table[table["kind"] == "eta"]
    population = dict(zip(table["name"], table["population_sd"], strict=True))
    shares = dict(zip(table["name"], table["shrinkage"], strict=True))
    with style():
        figure, axes = _grid(len(model.varying), 3, 2.3)
        for axis, name in zip(axes, model.varying, strict=False):
            values = fits.etas[name].to_numpy()
            omega = float(population[name])
            grid = np.linspace(-3.5 * omega, 3.5 * omega, 200)
            axis.hist(values, bins=_bins(values), density=True, color=BAND, edgecolor="white")
            axis.plot(grid, stats.norm.pdf(grid, scale=omega), color=INK)
            axis.axvline(0, color=GREY, linestyle="--", linewidth=0.8)
            axis.set(xlabel=f"eta {name}", ylabel="density")
            axis.set_title(f"{name}: shrinkage {_percent(float(shares[name]))}")
    return figure


def etas_vs_covariates(fits: IndividualFits, covariates: Sequence[str] | None = None) -> Plot:
    """Each eta against each covariate (its first value in a subject); r is Pearson's correlation.

    `covariates` None: those that differ between subjects, at most 6. A covariate of few values is a box plot.
    """
    model = fits.model
    values = {
        name: np.array([s.covariates[name][0] for s in fits.subjects])
        for name in (covariates if covariates is not None else differing_covariates(fits))
    }
    if not values or not model.varying:
        raise ModelError("found no covariate that differs between subjects, or no eta; expected both")
    with style():
        figure, axes = panels(
            len(model.varying), len(values), height=2.0, width=max(2.4 * len(values), 3.2), sharey="row"
        )
        for k, axis in enumerate(axes):
            eta, name = model.varying[k // len(values)], list(values)[k % len(values)]
            _against(axis, values[name], fits.etas[eta].to_numpy())
            axis.set_xlabel(name)
            if k % len(values) == 0:
                axis.set_ylabel(f"eta {eta}")
    return figure


def vpc_plot(check: VPC, *, logarithmic: bool | None = None) -> Plot:
    """Observed percentiles over the simulated ones' bands, one panel a stratum; below them the share BLQ."""
    strata = list(dict.fromkeys(check.bins["stratum"]))
    rows = 2 if check.censored else 1
    values = check.observations["corrected"].to_numpy(np.float64)
    log = wide_range(values) if logarithmic is None else logarithmic
    after = " after the last dose" if check.after_dose else ""
    time = with_unit(f"time{after}", check.time_unit)
    quantity = ("prediction-corrected " if check.prediction_corrected else "") + check.quantity
    with style():
        figure, axes = panels(rows, len(strata), height=3.4 if rows == 1 else 2.7, sharex="col", sharey="row")
        for axis, stratum in zip(axes, strata, strict=False):
            bins = check.bins[check.bins["stratum"] == stratum]
            seen = check.observations[check.observations["stratum"] == stratum]
            points(axis, seen["time"], seen["corrected"], s=7, alpha=0.35)
            for label, colour in (("05", BAND), ("50", INDIVIDUAL), ("95", BAND)):
                _band(axis, bins, f"low_{label}", f"high_{label}", colour)
                _line(axis, bins, f"observed_{label}", "-" if label == "50" else "--", INK)
            if stratum:
                axis.set_title(stratum)
            if log:
                axis.set_yscale("log")
            axis.set_xlabel(time)
        axes[0].set_ylabel(with_unit(quantity, check.unit))
        for axis, stratum in zip(axes[len(strata) :], strata, strict=False):
            bins = check.bins[check.bins["stratum"] == stratum]
            _band(axis, bins, "below_low", "below_high", OTHER)
            _line(axis, bins, "below", "-", INK)
            axis.set(xlabel=time, ylim=(0, None))
        if check.censored:
            axes[len(strata)].set_ylabel("share below the limit")
        confidence = f"{100 * check.confidence:.0f} % band of simulated"
        _key(
            figure,
            {
                "observed median": ("line", INK, "-"),
                "observed 5th, 95th": ("line", INK, "--"),
                f"{confidence} median": ("patch", INDIVIDUAL, ""),
                f"{confidence} 5th, 95th": ("patch", BAND, ""),
            },
        )
    return figure


def convergence(history: pd.DataFrame | Sequence[float]) -> Plot:
    """The course of an estimation: the objective, and each other column of a table, by iteration.

    `history`: objectives, or a table with a column `objective` and one a parameter, one row an iteration.
    """
    table = history if isinstance(history, pd.DataFrame) else pd.DataFrame({"objective": list(history)})
    names = list(table.columns)
    if table.empty:
        raise ModelError("found no iteration; expected at least one")
    iteration = np.arange(1, len(table) + 1)
    with style():
        figure, axes = _grid(len(names), 3 if len(names) > 1 else 1, 2.0 if len(names) > 1 else 2.6)
        for axis, name in zip(axes, names, strict=False):
            axis.plot(iteration, table[name], color=POPULATION, marker="o", markersize=2.5)
            axis.axhline(float(table[name].iloc[-1]), color=GREY, linestyle="--", linewidth=0.8)
            axis.set(xlabel="iteration", ylabel=name)
    return figure


def search_plot(fits: IndividualFits) -> Plot:
    """Individual searches: iterations of each, those that did not converge or met other basins marked."""
    table = fits.summary
    count = np.arange(1, len(table) + 1)
    good = (table["converged"] & (table["basins"] <= 1)).to_numpy()
    lost = (~table["converged"]).to_numpy()
    several = ~good & ~lost
    with style():
        figure, axes = panels(1, 1, height=2.3)
        for mask, colour, marker, words in (
            (good, POPULATION, "o", "converged"),
            (several, TREND, "D", "converged; other modes exist"),
            (lost, INDIVIDUAL, "X", "not converged"),
        ):
            if mask.any():
                axes[0].scatter(
                    count[mask], table["iterations"][mask], s=16, c=colour, marker=marker, label=words
                )
        axes[0].set(xlabel="subject, in the order of the data", ylabel="iterations", ylim=(0, None))
        axes[0].legend()
    return figure


def _place(model: PopulationModel, output: int) -> int:
    if not 1 <= output <= len(model.outputs):
        raise ModelError(f"found output {output}; expected 1 to {len(model.outputs)}")
    return output - 1


def _measured(table: pd.DataFrame, model: PopulationModel, output: int) -> tuple[Observed, pd.DataFrame]:
    observed = model.outputs[_place(model, output)]
    rows = table[(table["OUTPUT"] == output) & table["DV"].notna() & (table["CENS"] == 0)]
    return observed, rows


def _normal_lines(axis: Axes) -> None:
    axis.axhline(0, color=GREY, linewidth=0.9)
    for level in (-1.96, 1.96):
        axis.axhline(level, color=GREY, linestyle=":", linewidth=0.9)


def _quantiles(axis: Axes, values: Values, name: str) -> None:
    given = np.sort(values[np.isfinite(values)])
    n = len(given)
    expected = stats.norm.ppf((np.arange(1, n + 1) - 0.5) / max(n, 1))
    if n > 2:
        # order statistics of a normal sample: 90 % band from the beta distribution of uniform ones
        low, high = (
            stats.norm.ppf(stats.beta.ppf(q, np.arange(1, n + 1), np.arange(n, 0, -1))) for q in (0.05, 0.95)
        )
        axis.fill_between(expected, low, high, color=BAND, alpha=0.3, linewidth=0)
    points(axis, expected, given)
    axis.plot([-3, 3], [-3, 3], color=GREY, linestyle="--", linewidth=1)
    axis.set(xlabel="normal quantile", ylabel=name)


def _individual(axis: Axes, fits: IndividualFits, i: int, curve: pd.DataFrame, output: int) -> None:
    s = fits.subjects[i]
    axis.plot(curve["TIME"], curve["PRED"], color=POPULATION, linestyle="--", linewidth=1.1, label="typical")
    axis.plot(curve["TIME"], curve["IPRED"], color=INDIVIDUAL, label="individual")
    own = [batch for batch in fits.cohort.batches if i in batch.index]
    row = int(np.flatnonzero(own[0].index == i)[0])
    records = s.evid == 0
    which = np.asarray(own[0].program.observations.output[row])[: int(records.sum())] == output - 1
    time, dv, censored = s.time[records][which], s.dv[records][which], s.censored[records][which]
    for code, marker, words in ((0, "o", "observed"), (-1, "v", "below limit"), (1, "^", "above limit")):
        mine = np.isfinite(dv) & (censored == code)
        if mine.any():
            points(axis, time[mine], dv[mine], s=16, marker=marker, alpha=0.9, label=words, zorder=5)
    lost = "" if fits.converged[i] else "  not converged"
    axis.set_title(f"{s.id}{lost}", color=INDIVIDUAL if lost else INK)


def _grid(n: int, columns: int, height: float) -> tuple[Plot, list[Axes]]:
    columns = min(columns, n)
    figure, axes = panels(-(-n // columns), columns, height=height)
    for axis in axes[n:]:
        axis.set_visible(False)
    return figure, axes


def differing_covariates(fits: IndividualFits) -> list[str]:
    """The covariates that all subjects have and that differ between them, at most 6."""
    if not fits.subjects:
        return []
    shared = set.intersection(*(set(s.covariates) for s in fits.subjects))
    names = [name for name in fits.subjects[0].covariates if name in shared]
    return [n for n in names if len({float(s.covariates[n][0]) for s in fits.subjects}) > 1][:MOST_COVARIATES]


def _against(axis: Axes, x: Values, y: Values) -> None:
    different = np.unique(x)
    axis.axhline(0, color=GREY, linewidth=0.9)
    if len(different) < FEW_VALUES:
        groups = [y[x == value] for value in different]
        drawn = axis.boxplot(groups, tick_labels=[f"{v:g}" for v in different], patch_artist=True, widths=0.5)
        for box in drawn["boxes"]:
            box.set(facecolor=BAND, alpha=0.5)
        for middle in drawn["medians"]:
            middle.set(color=INK)
        return
    points(axis, x, y)
    if len(x) > 2 and y.std() > 0:
        slope, intercept = np.polyfit(x, y, 1)
        ends = np.array([x.min(), x.max()])
        axis.plot(ends, intercept + slope * ends, color=INDIVIDUAL)
        axis.set_title(f"r = {np.corrcoef(x, y)[0, 1]:.2f}", fontweight="normal")


def _band(axis: Axes, bins: pd.DataFrame, low: str, high: str, colour: str) -> None:
    axis.fill_between(bins["time"], bins[low], bins[high], color=colour, alpha=0.3, linewidth=0)
    if len(bins) == 1:
        axis.plot([*bins["time"]] * 2, [*bins[low], *bins[high]], color=colour, linewidth=6, alpha=0.3)


def _line(axis: Axes, bins: pd.DataFrame, name: str, linestyle: str, colour: str) -> None:
    marker = "o" if len(bins) < 3 else None
    axis.plot(bins["time"], bins[name], linestyle=linestyle, color=colour, marker=marker, markersize=4)


def _key(figure: Plot, entries: Mapping[str, tuple[str, str, Any]]) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles = [
        Line2D([], [], color=colour, linestyle=line) if kind == "line" else Patch(color=colour, alpha=0.3)
        for kind, colour, line in entries.values()
    ]
    figure.legend(handles, list(entries), loc="outside upper left", ncols=2)


def _bins(values: Values) -> int:
    return int(np.clip(np.ceil(1.5 * np.sqrt(max(len(values), 1))), 5, 30))


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if np.isfinite(share) else "unknown"
