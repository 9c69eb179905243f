"""Names of folders that no two runs share."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Sequence
from datetime import datetime

LONGEST_NAME = 80


def unique_stamp() -> str:
    """Give the time, for people to read, and a random number that tells apart runs of the same
    second, or of a clock that was set back."""
    return f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{secrets.token_hex(4)}"


def job_folder(number: int, overrides: Sequence[str]) -> str:
    """Make a safe folder name for a sweep's job: its number and what it overrides."""
    text = ",".join(overrides)
    safe = re.sub(r"[^A-Za-z0-9._=,+-]+", "_", text)
    if len(safe) > LONGEST_NAME:
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        safe = f"{safe[:LONGEST_NAME]}_{digest}"
    return f"{number}_{safe}" if safe else str(number)
