"""What goes wrong in the fleet, how often; all of it seeded."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from dosetwin.platform.errors import SettingsError


@dataclass(frozen=True)
class FleetFaults:
    """Rates of the faults.

    `sensor_noise` and `sensor_drift` scale the sensors' own errors (1 = as published).
    Probabilities are for one message (`duplicate`, `late`, `wrong_unit`), one meal (`unannounced_meal`,
    `missed_meal_bolus`) or one planned dose (`missed_dose`); `dropouts_per_day` is for one sensor.
    """

    sensor_noise: float = 1.0
    sensor_drift: float = 1.0
    dropouts_per_day: float = 0.5
    duplicate: float = 0.005
    late: float = 0.01
    late_mean_s: float = 600.0
    wrong_unit: float = 0.0005
    unannounced_meal: float = 0.15
    missed_meal_bolus: float = 0.08
    missed_dose: float = 0.05


LEVELS: dict[str, FleetFaults] = {
    "none": FleetFaults(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    "normal": FleetFaults(),
    "harsh": FleetFaults(
        sensor_noise=1.8,
        sensor_drift=2.0,
        dropouts_per_day=4.0,
        duplicate=0.05,
        late=0.08,
        late_mean_s=1200.0,
        wrong_unit=0.01,
        unannounced_meal=0.4,
        missed_meal_bolus=0.25,
        missed_dose=0.2,
    ),
}


def parse_faults(text: str) -> FleetFaults:
    """Faults from words like `normal`, `harsh,late=0.2` or `none,duplicate=0.1`.

    Raises SettingsError for an unknown level or rate, or a rate that is no number of its kind.
    """
    first, *rest = [part.strip() for part in text.split(",")]
    if first not in LEVELS:
        raise SettingsError(
            f"fault level is {first!r}; expected one of {', '.join(LEVELS)}",
            remedy="for example --faults normal,late=0.1",
        )
    known = {field.name for field in fields(FleetFaults)}
    changes: dict[str, float] = {}
    for part in rest:
        name, _, value = part.partition("=")
        try:
            rate = float(value)
        except ValueError:
            rate = -1.0
        limited = name not in {"sensor_noise", "sensor_drift", "dropouts_per_day", "late_mean_s"}
        if name not in known or rate < 0 or (limited and rate > 1):
            raise SettingsError(
                f"fault {part!r} is not a rate; expected NAME=NUMBER",
                remedy=f"names are {', '.join(sorted(known))}; probabilities lie between 0 and 1",
            )
        changes[name] = rate
    return replace(LEVELS[first], **changes)
