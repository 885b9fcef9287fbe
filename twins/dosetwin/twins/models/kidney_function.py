"""Kidney function from serum creatinine, size, age and sex.

Arguments are NumPy or JAX arrays that broadcast, or numbers; `sex_male` is 1 for men and 0 for women.
Impossible values raise ModelError (`covariate_inputs`). Two kinds of result, told apart by the name: mL/min
of this person, and mL/min per 1.73 m2 of body surface (indexed). A clearance in a model is mostly the first:
see what its paper used. All assume that creatinine is steady. S = creatinine_mg_dL, by an assay traceable to
IDMS unless said otherwise.

`black` is the race coefficient that the equations of 2006 and 2009 were published with. The field left it
(Delgado 2022, Am J Kidney Dis 79:268, doi:10.1053/j.ajkd.2021.08.003); it serves models built with it.
"""

from __future__ import annotations

from dosetwin.twins.models.allometry import allometric_clearance_factor, hill_maturation
from dosetwin.twins.models.covariate_inputs import Size, given

UMOL_L_PER_MG_DL = 10_000 / 113.12
"""Of creatinine, 113.12 g/mol: 88.40."""
REFERENCE_AREA_M2 = 1.73
RHODIN_GFR_70KG_ML_MIN = 121.2
RHODIN_TM50_WEEKS = 47.7
RHODIN_HILL = 3.4


def creatinine_mg_dL(creatinine_umol_L: Size | float) -> Size:
    """umol/L / 88.40: molar mass 113.12 g/mol."""
    _, umol_L = given(creatinine_umol_L=creatinine_umol_L)
    mg_dL: Size = umol_L / UMOL_L_PER_MG_DL
    return mg_dL


def creatinine_umol_L(creatinine_mg_dL: Size | float) -> Size:
    """mg/dL x 88.40: molar mass 113.12 g/mol."""
    _, mg_dL = given(creatinine_mg_dL=creatinine_mg_dL)
    umol_L: Size = mg_dL * UMOL_L_PER_MG_DL
    return umol_L


def cockcroft_gault_mL_min(
    age_a: Size | float, weight_kg: Size | float, sex_male: Size | float, creatinine_mg_dL: Size | float
) -> Size:
    """Creatinine clearance, mL/min: (140 - age) W / (72 S), times 0.85 for women.

    Cockcroft & Gault 1976, Nephron 16:31, doi:10.1159/000180580. Men of 18-92 years, Jaffe assay of
    its time. Which weight it gets (actual, ideal, adjusted) is the model's choice; the paper took the actual.
    """
    xp, age, W, male, S = given(
        age_a=age_a, weight_kg=weight_kg, sex_male=sex_male, creatinine_mg_dL=creatinine_mg_dL
    )
    clearance: Size = xp.where(male > 0.5, 1.0, 0.85) * (140 - age) * W / (72 * S)
    return clearance


def ckd_epi_2021_mL_min_1_73m2(
    age_a: Size | float, sex_male: Size | float, creatinine_mg_dL: Size | float
) -> Size:
    """142 min(S/k, 1)^a max(S/k, 1)^-1.200 0.9938^age (x 1.012 for women), mL/min/1.73 m2.

    k 0.9, a -0.302 for men; k 0.7, a -0.241 for women. Inker 2021, N Engl J Med 385:1737,
    doi:10.1056/NEJMoa2102953 (creatinine alone, without race). Adults of 18 years and more.
    """
    xp, age, male, S = given(age_a=age_a, sex_male=sex_male, creatinine_mg_dL=creatinine_mg_dL)
    man = male > 0.5
    ratio = S / xp.where(man, 0.9, 0.7)
    below = xp.minimum(ratio, 1.0) ** xp.where(man, -0.302, -0.241)
    rate: Size = 142 * below * xp.maximum(ratio, 1.0) ** -1.200 * 0.9938**age * xp.where(man, 1.0, 1.012)
    return rate


def ckd_epi_2009_mL_min_1_73m2(
    age_a: Size | float, sex_male: Size | float, creatinine_mg_dL: Size | float, black: Size | float = 0.0
) -> Size:
    """141 min(S/k, 1)^a max(S/k, 1)^-1.209 0.993^age (x 1.018 women) (x 1.159 black), mL/min/1.73 m2.

    k 0.9, a -0.411 for men; k 0.7, a -0.329 for women. Levey 2009, Ann Intern Med 150:604,
    doi:10.7326/0003-4819-150-9-200905050-00006. Adults of 18 years and more.
    """
    xp, age, male, S, race = given(
        age_a=age_a, sex_male=sex_male, creatinine_mg_dL=creatinine_mg_dL, black=black
    )
    man = male > 0.5
    ratio = S / xp.where(man, 0.9, 0.7)
    below = xp.minimum(ratio, 1.0) ** xp.where(man, -0.411, -0.329)
    groups = xp.where(man, 1.0, 1.018) * xp.where(race > 0.5, 1.159, 1.0)
    rate: Size = 141 * below * xp.maximum(ratio, 1.0) ** -1.209 * 0.993**age * groups
    return rate


def mdrd_mL_min_1_73m2(
    age_a: Size | float, sex_male: Size | float, creatinine_mg_dL: Size | float, black: Size | float = 0.0
) -> Size:
    """175 S^-1.154 age^-0.203 (x 0.742 women) (x 1.212 black), mL/min/1.73 m2.

    The four-variable equation for creatinine traceable to IDMS: Levey 2006, Ann Intern Med 145:247,
    doi:10.7326/0003-4819-145-4-200608150-00004. Adults with chronic kidney disease; too low above 60.
    """
    xp, age, male, S, race = given(
        age_a=age_a, sex_male=sex_male, creatinine_mg_dL=creatinine_mg_dL, black=black
    )
    groups = xp.where(male > 0.5, 1.0, 0.742) * xp.where(race > 0.5, 1.212, 1.0)
    rate: Size = 175 * S**-1.154 * xp.maximum(age, 1e-3) ** -0.203 * groups
    return rate


def schwartz_bedside_mL_min_1_73m2(height_cm: Size | float, creatinine_mg_dL: Size | float) -> Size:
    """0.413 H / S, mL/min/1.73 m2.

    Schwartz 2009, J Am Soc Nephrol 20:629, doi:10.1681/ASN.2008030287. Children of 1-16 years with chronic
    kidney disease, enzymatic assay.
    """
    _, H, S = given(height_cm=height_cm, creatinine_mg_dL=creatinine_mg_dL)
    rate: Size = 0.413 * H / S
    return rate


def schwartz_original_mL_min_1_73m2(
    age_a: Size | float,
    height_cm: Size | float,
    sex_male: Size | float,
    creatinine_mg_dL: Size | float,
    preterm: Size | float = 0.0,
) -> Size:
    """Height and creatinine: k H / S, mL/min/1.73 m2; k by age and sex, for a Jaffe assay.

    k = 0.33 below 1 year when born preterm, 0.45 below 1 year at term, 0.70 for boys from 13 years on, else
    0.55. Schwartz 1976, Pediatrics 58:259 (0.55); Schwartz 1984, J Pediatr 104:849 (infants); Schwartz 1985,
    J Pediatr 106:522 (adolescent boys); Brion 1986, J Pediatr 109:698 (preterm); reviewed in Schwartz & Work
    2009, Clin J Am Soc Nephrol 4:1832, doi:10.2215/CJN.01640309. Birth to 21 years.
    """
    xp, age, H, male, S, early = given(
        age_a=age_a,
        height_cm=height_cm,
        sex_male=sex_male,
        creatinine_mg_dL=creatinine_mg_dL,
        preterm=preterm,
    )
    infant = xp.where(early > 0.5, 0.33, 0.45)
    k = xp.where(age < 1, infant, xp.where((age >= 13) & (male > 0.5), 0.70, 0.55))
    rate: Size = k * H / S
    return rate


def deindexed_gfr_mL_min(egfr_mL_min_1_73m2: Size | float, body_surface_area_m2: Size | float) -> Size:
    """The filtration of this person, mL/min: eGFR x BSA / 1.73.

    FDA 2024, Pharmacokinetics in Patients with Impaired Renal Function (guidance), asks for it in dosing.
    """
    _, rate, area = given(egfr_mL_min_1_73m2=egfr_mL_min_1_73m2, body_surface_area_m2=body_surface_area_m2)
    gfr: Size = rate * area / REFERENCE_AREA_M2
    return gfr


def indexed_gfr_mL_min_1_73m2(gfr_mL_min: Size | float, body_surface_area_m2: Size | float) -> Size:
    """GFR x 1.73 / BSA, mL/min/1.73 m2: the way back from `deindexed_gfr_mL_min`."""
    _, gfr, area = given(gfr_mL_min=gfr_mL_min, body_surface_area_m2=body_surface_area_m2)
    rate: Size = gfr * REFERENCE_AREA_M2 / area
    return rate


def glomerular_filtration_rhodin_mL_min(
    weight_kg: Size | float, postmenstrual_age_weeks: Size | float
) -> Size:
    """121.2 (W/70)^0.75 PMA^3.4 / (47.7^3.4 + PMA^3.4), mL/min: what is normal for this size and age.

    Rhodin 2009, Pediatr Nephrol 24:67, doi:10.1007/s00467-008-0997-5 (923 people from 22 weeks of
    postmenstrual age to 31 years). It knows no creatinine: a healthy kidney is assumed.
    """
    _, W, PMA = given(weight_kg=weight_kg, postmenstrual_age_weeks=postmenstrual_age_weeks)
    ripe: Size = hill_maturation(PMA, RHODIN_TM50_WEEKS, RHODIN_HILL)
    gfr: Size = RHODIN_GFR_70KG_ML_MIN * allometric_clearance_factor(W) * ripe
    return gfr
