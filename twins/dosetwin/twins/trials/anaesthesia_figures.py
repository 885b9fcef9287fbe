"""Placeholder."""


def figures(outcomes):
    return {}
