"""What can be switched on a virtual patient with diabetes, and what a trial can put in a policy's way."""

from __future__ import annotations

from collections.abc import Mapping

from dosetwin.platform.errors import DoseTwinError

OPTIONS: Mapping[str, str] = {
    "announced": "yes | no (default): whether meals are told when they begin, with their carbohydrate",
    "snacks": "yes (default) | no: the three snacks beside the meals",
    "exercise": "no (default) | yes | announced: an hour or less in the afternoon, three days in five",
    "noise": "yes (default) | no: the sensor's noise",
    "dropouts": "yes (default) | no: gaps of about 20 min, one a day",
    "compression": "no (default) | yes: too low readings of nights on the sensor's side",
    "variability": "yes (default) | no: sensitivity that drifts over days and dips at dawn",
    "site_failure": "no (default) | yes: infusion sets that fail",
    "rescue": "no (default) | yes: people who see less than 65 mg/dL eat 15 g of sugar",
}
CHOICES: Mapping[str, tuple[str, ...]] = {
    "announced": ("no", "yes"),
    "snacks": ("yes", "no"),
    "exercise": ("no", "yes", "announced"),
    "noise": ("yes", "no"),
    "dropouts": ("yes", "no"),
    "compression": ("no", "yes"),
    "variability": ("yes", "no"),
    "site_failure": ("no", "yes"),
    "rescue": ("no", "yes"),
}
"""The first is the default."""
CHALLENGES: Mapping[str, str] = {
    "wrong_weight": "enrolled with a weight a quarter too low or too high",
    "sensitivity_plus_30": "30 % more sensitive to insulin than when the settings were found",
    "sensitivity_minus_30": "30 % less sensitive to insulin than when the settings were found",
    "wrong_carbohydrate": "every meal is announced, with 20 % too little or too much carbohydrate",
    "sensor_loss": "no reading for 30 min, once a day, within the hour after a main meal began",
    "missed_doses": "one decision in ten is not carried out",
    "pump_minus_10": "the pump delivers 10 % less than it says",
}


def chosen(options: Mapping[str, str], challenge: str) -> dict[str, str]:
    """The options with their defaults. Raises DoseTwinError on a name or value that does not exist."""
    for name, value in options.items():
        if value not in CHOICES.get(name, ()):
            raise DoseTwinError(
                f"found the option {name}={value}; expected one of "
                + ", ".join(f"{known}={'|'.join(values)}" for known, values in CHOICES.items()),
                remedy="correct the option's name or value",
            )
    if challenge and challenge not in CHALLENGES:
        raise DoseTwinError(
            f"found the challenge {challenge!r}; expected one of {', '.join(CHALLENGES)}",
            remedy="name one of them or none",
        )
    settled = {name: options.get(name, values[0]) for name, values in CHOICES.items()}
    if challenge == "wrong_carbohydrate":  # there is nothing to be wrong about unless somebody says it
        settled["announced"] = "yes"
    return settled
