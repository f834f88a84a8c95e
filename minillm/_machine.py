"""The name of this machine's processor: for pages that say what they were measured on, and for ways that hang on it."""

from __future__ import annotations

import platform
import re
from pathlib import Path


def cpu_model() -> str:
    """The processor's full name, as the system gives it: "AMD EPYC 9654 96-Core Processor"."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists() and (found := re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text())):
        return found[1]
    return platform.processor() or platform.machine()
