"""Tables and streams as files: Parquet, CSV, JSON lines or Avro, in a folder or an object store."""

from .formats import FORMATS
from .target import FILES, FilesTarget, part_of

__all__ = ["FILES", "FORMATS", "FilesTarget", "part_of"]
