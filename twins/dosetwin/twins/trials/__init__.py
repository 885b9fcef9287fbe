"""Virtual trials: one module a therapy, beside what all of them share."""
