"""Patients' records as the field writes them: doses, observations, covariates, occasions in rows."""
