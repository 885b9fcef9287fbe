"""How parameters grow with size, and how they ripen after birth.

theta = theta_70 (W/70)^exponent x maturation(postmenstrual age). Arguments are NumPy or JAX arrays that
broadcast, or numbers; impossible values raise ModelError (`covariate_inputs`).

Sources: West, Brown & Enquist 1997, Science 276:122, doi:10.1126/science.276.5309.122 (the exponents);
Anderson & Holford 2008, Annu Rev Pharmacol Toxicol 48:303, doi:10.1146/annurev.pharmtox.48.113006.094708
(their use, and maturation as a Hill function of postmenstrual age).
"""

from __future__ import annotations

from dosetwin.twins.models.covariate_inputs import Size, given

CLEARANCE_EXPONENT = 0.75
VOLUME_EXPONENT = 1.0
TIME_EXPONENT = 0.25
"""Of half-lives and transit times; rate constants have its negative."""
WEEKS_A_YEAR = 365.25 / 7
TERM_WEEKS = 40.0


def allometric_factor(
    weight_kg: Size | float, exponent: float | Size, reference_weight_kg: float | Size = 70.0
) -> Size:
    """(W / reference)^exponent. Fat-free or normal fat mass may stand for W, with a reference of its own."""
    _, W, reference = given(weight_kg=weight_kg, reference_weight_kg=reference_weight_kg)
    factor: Size = (W / reference) ** exponent
    return factor


def allometric_clearance_factor(weight_kg: Size | float, reference_weight_kg: float | Size = 70.0) -> Size:
    """(W / reference)^0.75: clearances, flows, maximal elimination rates."""
    factor: Size = allometric_factor(weight_kg, CLEARANCE_EXPONENT, reference_weight_kg)
    return factor


def allometric_volume_factor(weight_kg: Size | float, reference_weight_kg: float | Size = 70.0) -> Size:
    """W / reference: volumes of distribution."""
    factor: Size = allometric_factor(weight_kg, VOLUME_EXPONENT, reference_weight_kg)
    return factor


def allometric_time_factor(weight_kg: Size | float, reference_weight_kg: float | Size = 70.0) -> Size:
    """(W / reference)^0.25: half-lives, transit times; divide a rate constant by it."""
    factor: Size = allometric_factor(weight_kg, TIME_EXPONENT, reference_weight_kg)
    return factor


def postmenstrual_age_weeks(age_a: Size | float, gestational_age_weeks: Size | float = TERM_WEEKS) -> Size:
    """Gestational age at birth + age since birth, weeks; a year has 365.25/7 weeks.

    American Academy of Pediatrics 2004, Pediatrics 114:1362, doi:10.1542/peds.2004-1915. Where gestation is
    not known, 40 weeks.
    """
    _, age, gestation = given(age_a=age_a, gestational_age_weeks=gestational_age_weeks)
    weeks: Size = gestation + age * WEEKS_A_YEAR
    return weeks


def hill_maturation(
    postmenstrual_age_weeks: Size | float, half_maturation_weeks: float | Size, hill: float | Size
) -> Size:
    """PMA^hill / (TM50^hill + PMA^hill), from 0 to 1: the share of the adult's parameter, size apart.

    Anderson & Holford 2008. `half_maturation_weeks` is TM50, where half of it is reached.
    """
    _, PMA, TM50, steepness = given(
        postmenstrual_age_weeks=postmenstrual_age_weeks,
        half_maturation_weeks=half_maturation_weeks,
        hill=hill,
    )
    share: Size = 1 / (1 + (TM50 / PMA) ** steepness)
    return share
