"""What a fit is judged by: residuals, NPDE, predictive checks, shrinkage, prediction errors, plots, a report."""
