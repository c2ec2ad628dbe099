"""The ``datagen`` command."""

from .command import group, main

__all__ = ["group", "main"]
