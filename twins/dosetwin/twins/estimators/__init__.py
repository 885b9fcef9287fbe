"""Estimators: what a twin believes after its facts."""
