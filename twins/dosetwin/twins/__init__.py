"""Twins: structural models, estimators, forecasts, policies, the safety supervisor, virtual patients."""
