"""The error of a model that is put together wrongly."""

from __future__ import annotations

from dosetwin.platform.errors import DoseTwinError


class ModelError(DoseTwinError):
    """A model is put together wrongly: a parameter is missing, unknown or impossible."""
