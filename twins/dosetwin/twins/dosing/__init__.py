"""Dosing for a target: exposures of a regimen, attainment of targets, regimens chosen under the posterior."""
