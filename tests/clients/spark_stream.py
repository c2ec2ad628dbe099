"""A driver that a test kills: `spark_stream.py FOLDER STREAM OPTIONS` writes a stream until then."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from spark_sessions import PATIENCE, begun, session, stream

if __name__ == "__main__":
    target, relation, options = sys.argv[1:]
    folder = Path(target)
    with session("local[2]", folder / "driver") as spark:
        asked = stream(spark, relation, **json.loads(options))
        begun(asked, folder, processingTime="100 milliseconds").awaitTermination(PATIENCE)
