"""Structural models: the published equations, by closed form where they are linear."""
