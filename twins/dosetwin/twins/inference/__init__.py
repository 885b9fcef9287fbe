"""Estimation from records: individuals (mode, covariance, samples), populations, model averages."""
