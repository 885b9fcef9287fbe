# %% [markdown]
"""# From two levels to a dose.

A patient gets vancomycin, 1,000 mg over an hour every 12 hours. Two levels come back from the laboratory.
What is this patient's exposure, how sure is that, and which regimen has the best chance to reach an AUC24 of
400-600? Not a medical device: the numbers are an example.

Run it as a script, or cell by cell: `python docs/guides/individual_dosing.py [folder for the figures]`
"""

# %%
from __future__ import annotations

import os
import sys
from pathlib import Path

from dosetwin.twins.data.subject import Dose, Observation, subject
from dosetwin.twins.diagnostics.plots import individual_fits
from dosetwin.twins.dosing.exposure import Window, exposure
from dosetwin.twins.dosing.optimisation import optimise_regimen
from dosetwin.twins.dosing.products import Limits, Product
from dosetwin.twins.dosing.targets import auc24
from dosetwin.twins.inference.individuals import estimate_individuals
from dosetwin.twins.inference.posterior import sample_posterior
from dosetwin.twins.therapies.vancomycin import GOTI_2018

FIGURES = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "figures"
FAST = "DOSETWIN_FAST" in os.environ  # fewer samples, for tests
FIGURES.mkdir(parents=True, exist_ok=True)

# %% [markdown]
# ## The patient
#
# Times in hours, amounts in mg, levels in mg/L, covariates in the model's units. Of doses at equal distances
# one record is enough: `additional` repeats it.

# %%
patient = subject(
    "patient 17",
    doses=[Dose(time=0, amount=1000, duration=1, interval=12, additional=3)],
    observations=[Observation(time=26, value=21.4), Observation(time=35.5, value=12.9)],
    covariates={"age": 68, "weight": 82, "sex": 1, "creatinine": 1.3, "haemodialysis": 0},
)

# %% [markdown]
# ## The individual estimate
#
# The mode of the posterior: the population's prior, moved by the two levels.

# %%
fits = estimate_individuals(GOTI_2018, [patient])
print(fits.parameters.drop(columns="time").drop_duplicates().round(2).to_string(index=False))
print(
    f"PRED  {fits.typical[0].round(1)} mg/L, IPRED {fits.prediction[0].round(1)} mg/L, measured [21.4 12.9]"
)
print(f"converged: {bool(fits.converged[0])}, modes found: {int(fits.basins[0])}")
individual_fits(fits)[0].savefig(FIGURES / "individual.png")

# %% [markdown]
# ## How sure is that, and what is the exposure
#
# Weighted samples of the posterior. k-hat says whether they can be trusted (below 0.7). Then the area under
# the curve of the second day, under the doses given so far, sample by sample.

# %%
samples = sample_posterior(GOTI_2018, fits, samples=200 if FAST else 2000, seed=1)[0]
print(f"k-hat {samples.k_hat:.2f}, effective samples {samples.effective:.0f}")
day = exposure(samples, Window(24, 48))
print("AUC24 of the second day (mg.h/L):")
print(day.quantiles().loc[["area"]].round(0).to_string())

# %% [markdown]
# ## The regimen
#
# From hour 48 on, judged by the second day (hours 24 to 48 after the start). The amounts that can be given
# follow from the product and the limits. What is returned was simulated exactly as it would be given.

# %%
target = auc24(400, 600, begin=24, end=48, unit="mg.h/L", source="Rybak 2020, doi:10.1093/ajhp/zxaa036")
best = optimise_regimen(
    samples,
    [target],
    start=48,
    products=[Product("vial", strength=250)],
    limits=Limits(highest_dose=2000, lowest_dose=500, highest_daily=4500),
    intervals=(8, 12, 24),
    rate=1000,
)
print(best.reason)
print(best.exposure.round(1).to_string())
print(best.alternatives.head(5).to_string(index=False))
