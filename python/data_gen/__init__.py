"""The package's former name, for programs that were written with it; all lives in `datagen`."""

from datagen.check import FinancialDataStore, MasterDataStore
from datagen.errors import ReferentialIntegrityError

__all__ = ["FinancialDataStore", "MasterDataStore", "ReferentialIntegrityError"]
