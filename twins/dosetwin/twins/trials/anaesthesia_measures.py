"""placeholder"""


def measured(plant, t, traces):
    return {}
