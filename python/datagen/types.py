"""The catalogue of tables and streams as typed, frozen values."""

from ._core import Catalogue, Field, ForeignKey, Relation, catalogue

__all__ = ["Catalogue", "Field", "ForeignKey", "Relation", "catalogue"]
