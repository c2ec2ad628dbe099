"""The ``datagen`` command."""

from .command import group, main, main_of_process

__all__ = ["group", "main", "main_of_process"]
