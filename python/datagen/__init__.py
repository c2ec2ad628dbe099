"""Seeded Brazilian bank data: a plan gives batches, batches give Arrow, Avro, JSON or COPY."""

from . import _core, errors
from ._core import Batch, Batches, EncodedRows, KeySet, Plan, __version__, catalogue
from .check import FinancialDataStore, MasterDataStore
from .errors import ReferentialIntegrityError

__all__ = [
    "Batch",
    "Batches",
    "EncodedRows",
    "FinancialDataStore",
    "KeySet",
    "MasterDataStore",
    "Plan",
    "ReferentialIntegrityError",
    "__version__",
    "catalogue",
    "errors",
]

if _core.is_debug_build():
    import warnings

    warnings.warn("this datagen was built without optimisation", RuntimeWarning, stacklevel=2)
