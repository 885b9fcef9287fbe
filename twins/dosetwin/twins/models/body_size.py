"""Body size from weight, height, age and sex: surface area, lean and fat-free mass, ideal weight.

Arguments are NumPy or JAX arrays that broadcast, or numbers; `sex_male` is 1 for men and 0 for women.
Impossible values raise ModelError (`covariate_inputs`). W = weight_kg, H = height_cm, BMI = W / (H/100)^2.
"""

from __future__ import annotations

from dosetwin.twins.models.covariate_inputs import Size, given, refuse_result


def body_mass_index_kg_m2(weight_kg: Size | float, height_cm: Size | float) -> Size:
    """W / (H/100)^2, kg/m2. Keys 1972, J Chronic Dis 25:329, doi:10.1016/0021-9681(72)90027-6."""
    _, W, H = given(weight_kg=weight_kg, height_cm=height_cm)
    index: Size = W / (H / 100) ** 2
    return index


def body_surface_area_du_bois_m2(weight_kg: Size | float, height_cm: Size | float) -> Size:
    """0.007184 W^0.425 H^0.725, m2. Nine people, one of them a child.

    Du Bois & Du Bois 1916, Arch Intern Med 17:863, doi:10.1001/archinte.1916.00080130010002.
    """
    _, W, H = given(weight_kg=weight_kg, height_cm=height_cm)
    area: Size = 0.007184 * W**0.425 * H**0.725
    return area


def body_surface_area_mosteller_m2(weight_kg: Size | float, height_cm: Size | float) -> Size:
    """sqrt(H W / 3600), m2. Adults and children.

    Mosteller 1987, N Engl J Med 317:1098, doi:10.1056/NEJM198710223171717.
    """
    xp, W, H = given(weight_kg=weight_kg, height_cm=height_cm)
    area: Size = xp.sqrt(H * W / 3600)
    return area


def body_surface_area_haycock_m2(weight_kg: Size | float, height_cm: Size | float) -> Size:
    """0.024265 W^0.5378 H^0.3964, m2. Premature newborns to adults.

    Haycock, Schwartz & Wisotsky 1978, J Pediatr 93:62, doi:10.1016/S0022-3476(78)80601-5.
    """
    _, W, H = given(weight_kg=weight_kg, height_cm=height_cm)
    area: Size = 0.024265 * W**0.5378 * H**0.3964
    return area


def lean_body_mass_james_kg(weight_kg: Size | float, height_cm: Size | float, sex_male: Size | float) -> Size:
    """Lean body mass, kg: 1.1 W - 128 (W/H)^2 for men, 1.07 W - 148 (W/H)^2 for women.

    James 1976, Research on Obesity (DHSS/MRC report, HMSO London; no doi), the form that Minto 1997 used
    (doi:10.1097/00000542-199701000-00004). Adults. It falls again above a BMI of 43 (men) or 36 kg/m2 (women)
    and is below 0 above 86 or 72, which raises ModelError.
    """
    xp, W, H, male = given(weight_kg=weight_kg, height_cm=height_cm, sex_male=sex_male)
    squared = (W / H) ** 2
    mass: Size = xp.where(male > 0.5, 1.1 * W - 128 * squared, 1.07 * W - 148 * squared)
    refuse_result("lean_body_mass_james_kg", mass, "use fat_free_mass_janmahasatian_kg in great obesity")
    return mass


def fat_free_mass_janmahasatian_kg(
    weight_kg: Size | float, height_cm: Size | float, sex_male: Size | float
) -> Size:
    """Fat-free mass, kg: 9270 W / (6680 + 216 BMI) for men, 9270 W / (8780 + 244 BMI) for women.

    Also called lean body weight. Janmahasatian 2005, Clin Pharmacokinet 44:1051,
    doi:10.2165/00003088-200544100-00004. Adults of 41-216 kg; it rises with weight everywhere.
    """
    xp, W, H, male = given(weight_kg=weight_kg, height_cm=height_cm, sex_male=sex_male)
    BMI = W / (H / 100) ** 2
    mass: Size = xp.where(male > 0.5, 9270 * W / (6680 + 216 * BMI), 9270 * W / (8780 + 244 * BMI))
    return mass


def fat_free_mass_al_sallami_kg(
    age_a: Size | float, weight_kg: Size | float, height_cm: Size | float, sex_male: Size | float
) -> Size:
    """Fat-free mass, kg, of children and adults: Janmahasatian's equation times a maturation in age.

    men   (0.88 + 0.12 / (1 + (age/13.4)^-12.7)) 9270 W / (6680 + 216 BMI)
    women (1.11 - 0.11 / (1 + (age/7.1)^-1.1))  9270 W / (8780 + 244 BMI)

    Al-Sallami 2015, Clin Pharmacokinet 54:1169, doi:10.1007/s40262-015-0277-z. Made on people of
    3-29 years; models use it from birth to old age (Eleveld 2017, 2018).
    """
    xp, age, W, H, male = given(age_a=age_a, weight_kg=weight_kg, height_cm=height_cm, sex_male=sex_male)
    log_age = xp.log(xp.maximum(age, 1e-3))
    # 1 / (1 + (age/a)^-n) by tanh: the power overflows in single precision, and its derivative with it
    boys = 0.5 + 0.5 * xp.tanh(0.5 * 12.7 * (log_age - xp.log(13.4)))
    girls = 0.5 + 0.5 * xp.tanh(0.5 * 1.1 * (log_age - xp.log(7.1)))
    adult: Size = fat_free_mass_janmahasatian_kg(W, H, male)
    mass: Size = adult * xp.where(male > 0.5, 0.88 + 0.12 * boys, 1.11 - 0.11 * girls)
    return mass


def ideal_body_weight_devine_kg(height_cm: Size | float, sex_male: Size | float) -> Size:
    """50 (men) or 45.5 (women) + 2.3 (H/2.54 - 60), kg.

    Devine in McCarron & Devine 1974, Drug Intell Clin Pharm 8:650, doi:10.1177/106002807400801104. Adults of
    152.4 cm and more; the line is continued below, until it would end at 0 (98 and 102 cm: ModelError).
    """
    xp, H, male = given(height_cm=height_cm, sex_male=sex_male)
    weight: Size = xp.where(male > 0.5, 50.0, 45.5) + 2.3 * (H / 2.54 - 60)
    refuse_result("ideal_body_weight_devine_kg", weight, "Devine's line is for adults: 152.4 cm and more")
    return weight


def adjusted_body_weight_kg(
    weight_kg: Size | float, ideal_body_weight_kg: Size | float, fraction: float = 0.4
) -> Size:
    """IBW + fraction (W - IBW), kg; of the weight above the ideal one, 40 % count as what takes up drug.

    Bauer 1983, Eur J Clin Pharmacol 24:643, doi:10.1007/BF00542215 (aminoglycosides in morbid obesity). For
    people above their ideal weight; below it practice takes the weight itself, which is left to the caller.
    """
    _, W, IBW = given(weight_kg=weight_kg, ideal_body_weight_kg=ideal_body_weight_kg)
    weight: Size = IBW + fraction * (W - IBW)
    return weight


def normal_fat_mass_kg(
    weight_kg: Size | float, fat_free_mass_kg: Size | float, fat_fraction: float | Size
) -> Size:
    """FFM + Ffat (W - FFM), kg: the size that allometry works on; Ffat 0 is fat-free mass, 1 is weight.

    Anderson & Holford 2009, Drug Metab Pharmacokinet 24:25, doi:10.2133/dmpk.24.25. Ffat is estimated a drug
    and parameter at a time; it may be below 0.
    """
    _, W, FFM = given(weight_kg=weight_kg, fat_free_mass_kg=fat_free_mass_kg)
    mass: Size = FFM + fat_fraction * (W - FFM)
    refuse_result("normal_fat_mass_kg", mass, "check fat_fraction and fat_free_mass_kg")
    return mass
