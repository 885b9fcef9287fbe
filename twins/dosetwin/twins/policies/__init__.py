"""Policies: candidates, how they are scored, what they would order."""
