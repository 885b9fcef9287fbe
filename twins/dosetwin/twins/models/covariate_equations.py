"""Equations that turn what is measured of a patient into what models are written in, from one place.

`body_size`, `kidney_function` and `allometry` hold them with equation, units, source and domain;
docs/covariates.md lists them. NumPy and JAX arrays of any shape (they broadcast), and plain numbers.
"""

from __future__ import annotations

from dosetwin.twins.models.allometry import (
    allometric_clearance_factor,
    allometric_factor,
    allometric_time_factor,
    allometric_volume_factor,
    hill_maturation,
    postmenstrual_age_weeks,
)
from dosetwin.twins.models.body_size import (
    adjusted_body_weight_kg,
    body_mass_index_kg_m2,
    body_surface_area_du_bois_m2,
    body_surface_area_haycock_m2,
    body_surface_area_mosteller_m2,
    fat_free_mass_al_sallami_kg,
    fat_free_mass_janmahasatian_kg,
    ideal_body_weight_devine_kg,
    lean_body_mass_james_kg,
    normal_fat_mass_kg,
)
from dosetwin.twins.models.covariate_inputs import Values
from dosetwin.twins.models.kidney_function import (
    ckd_epi_2009_mL_min_1_73m2,
    ckd_epi_2021_mL_min_1_73m2,
    cockcroft_gault_mL_min,
    creatinine_mg_dL,
    creatinine_umol_L,
    deindexed_gfr_mL_min,
    glomerular_filtration_rhodin_mL_min,
    indexed_gfr_mL_min_1_73m2,
    mdrd_mL_min_1_73m2,
    schwartz_bedside_mL_min_1_73m2,
    schwartz_original_mL_min_1_73m2,
)

__all__ = [
    "Values",
    "adjusted_body_weight_kg",
    "allometric_clearance_factor",
    "allometric_factor",
    "allometric_time_factor",
    "allometric_volume_factor",
    "body_mass_index_kg_m2",
    "body_surface_area_du_bois_m2",
    "body_surface_area_haycock_m2",
    "body_surface_area_mosteller_m2",
    "ckd_epi_2009_mL_min_1_73m2",
    "ckd_epi_2021_mL_min_1_73m2",
    "cockcroft_gault_mL_min",
    "creatinine_mg_dL",
    "creatinine_umol_L",
    "deindexed_gfr_mL_min",
    "fat_free_mass_al_sallami_kg",
    "fat_free_mass_janmahasatian_kg",
    "glomerular_filtration_rhodin_mL_min",
    "hill_maturation",
    "ideal_body_weight_devine_kg",
    "indexed_gfr_mL_min_1_73m2",
    "lean_body_mass_james_kg",
    "mdrd_mL_min_1_73m2",
    "normal_fat_mass_kg",
    "postmenstrual_age_weeks",
    "schwartz_bedside_mL_min_1_73m2",
    "schwartz_original_mL_min_1_73m2",
]
