# %% [markdown]
"""# Your own model.

A drug with saturable elimination, written as a differential equation; 30 patients at two doses; a population
fit, its diagnostics and a report. The data are simulated, so that we know what should come out.

Run it as a script, or cell by cell: `python docs/guides/your_own_model.py [folder for the figures]`
"""

# %%
from __future__ import annotations

import os
import sys
from pathlib import Path

from dosetwin.twins.data.subject import Dataset, Dose, Observation, subject
from dosetwin.twins.diagnostics import plots
from dosetwin.twins.diagnostics.fit_result import population_result
from dosetwin.twins.diagnostics.report import fit_report
from dosetwin.twins.diagnostics.report_plan import ReportPlan
from dosetwin.twins.diagnostics.simulate import simulate
from dosetwin.twins.diagnostics.tables import prediction_table
from dosetwin.twins.diagnostics.vpc import visual_predictive_check
from dosetwin.twins.inference.population_fit import fit_population
from dosetwin.twins.models.ode import ODE
from dosetwin.twins.models.ode_solvers import FixedStep
from dosetwin.twins.population_model import LogNormal, Observed, Parameter, PopulationModel, Proportional

FIGURES = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "figures"
FAST = "DOSETWIN_FAST" in os.environ  # fewer patients, iterations and simulations, for tests
FIGURES.mkdir(parents=True, exist_ok=True)

# %% [markdown]
# ## The model
#
# The right-hand side takes the time, the amounts and the parameters by name and returns each derivative;
# doses and infusions come in by themselves. The solver is chosen: fixed steps are fast where nothing is
# stiff; `Adaptive()` is the accurate path. A covariate function scales the typical value.


# %%
def saturable(t, x, p):
    """Michaelis-Menten elimination."""
    concentration = x.central / p.V
    return {"central": -p.Vmax * concentration / (p.Km + concentration)}


MODEL = PopulationModel(
    structure=ODE(saturable, ("central",), {"plasma": "central/V"}, solver=FixedStep(0.5)),
    parameters=(
        Parameter("V", 30.0, "L", variability=LogNormal(0.04), covariates=lambda c: c.weight / 70),
        Parameter("Vmax", 12.0, "mg/h", variability=LogNormal(0.06)),
        Parameter("Km", 4.0, "mg/L", low=0.0),
    ),
    observed=Observed("examplin", "mg/L", error=Proportional(0.12)),
    source="made up for this guide",
)

# %% [markdown]
# ## The data
#
# `simulate` draws etas and residual errors for any design. Real data come from `read_nonmem("file.csv")`.

# %%
TIMES = (1, 4, 8, 16, 24, 36)
design = [
    subject(
        f"{k + 1}",
        doses=[Dose(0, 150 if k % 2 else 600)],
        observations=[Observation(time) for time in TIMES],
        covariates={"weight": 50 + 2 * k},
    )
    for k in range(8 if FAST else 30)
]
drawn = simulate(MODEL, design, replicates=1, seed=4)
patients = [
    subject(
        s.id,
        doses=[Dose(0, float(s.amount.max()))],
        observations=[Observation(row.TIME, row.DV) for row in drawn[s.id == drawn.ID].itertuples()],
        covariates={"weight": float(s.covariates["weight"][0])},
    )
    for s in design
]
data = Dataset(tuple(patients), source="this guide")

# %% [markdown]
# ## The fit
#
# From a wrong start. FOCEI minimises -2 log likelihood on NONMEM's scale.

# %%
start = MODEL.with_population(
    MODEL.population._replace(typical=MODEL.population.typical * [1.3, 0.8, 1.3]), "a wrong start"
)
fit = fit_population(start, data, iterations=5 if FAST else 100)
print(f"objective {fit.objective:.3f}, {fit.message}")
for name, value in fit.estimates.items():
    print(f"{name:22s} {value:8.4f}  standard error {fit.standard_errors[name]:.4f}")

# %% [markdown]
# ## Does it describe the data?
#
# Every plot is a figure that a notebook shows; here they are saved.

# %%
fits = fit.individuals
table = prediction_table(fits, replicates=100 if FAST else 1000)
plots.observed_vs_predicted(table, fit.model).savefig(FIGURES / "goodness.png")
plots.individual_fits(fits, subjects=[s.id for s in patients[:6]])[0].savefig(FIGURES / "individuals.png")
check = visual_predictive_check(fit.model, data, replicates=100 if FAST else 500, prediction_corrected=True)
plots.vpc_plot(check).savefig(FIGURES / "vpc.png")
print(table[["CWRES", "NPDE"]].agg(["mean", "std"]).round(2).to_string())

# %% [markdown]
# ## One file to send around

# %%
if not FAST:
    plan = ReportPlan(population_result("examplin", fit), data)
    report = FIGURES / "out" / "report.html"
    report.parent.mkdir(exist_ok=True)
    report.write_text(fit_report(fits, plan, population=fit, table=table), encoding="utf-8")
