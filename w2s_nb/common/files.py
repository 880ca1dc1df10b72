"""TODO."""

from __future__ import annotations

import json
import math
import os
import uuid
from pathlib import Path


def write_atomic(path: Path, content: bytes) -> None:
    """Writes a file that is either whole or absent, whatever kills the process meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        with open(partial, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def strict(value):
    """A value as strict JSON takes it: numpy's become Python's, NaN and infinity become None."""
    if isinstance(value, dict):
        return {str(k): strict(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [strict(v) for v in value]
    if hasattr(value, "tolist"):
        return strict(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_json(path: Path, content: dict) -> None:
    """Writes strict JSON atomically; NaN and infinity become null."""
    write_atomic(path, (json.dumps(strict(content), indent=1, allow_nan=False) + "\n").encode())
