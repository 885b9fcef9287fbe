"""What a fit is judged by: residuals, NPDE, predictive checks, prediction errors, plots, a report."""
