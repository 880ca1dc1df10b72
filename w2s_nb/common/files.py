"""Writes files whole or not at all, and JSON that every reader takes."""

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


def to_strict_json(value):
    """Returns a value that strict JSON can hold: numpy's become Python's, NaN and infinity None."""
    if isinstance(value, dict):
        return {str(key): to_strict_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_strict_json(item) for item in value]
    if hasattr(value, "tolist"):
        return to_strict_json(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def write_json(path: Path, content: dict) -> None:
    """Writes strict JSON atomically; NaN and infinity become null."""
    text = json.dumps(to_strict_json(content), indent=1, allow_nan=False)
    write_atomic(path, (text + "\n").encode())
