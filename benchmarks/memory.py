"""The most memory that this process has held."""

import re
import resource
from pathlib import Path


def peak_bytes() -> int:
    """Resident; on Linux out of /proc, because ru_maxrss begins with the peak of the process that started this one."""
    status = Path("/proc/self/status")
    if status.exists() and (peak := re.search(r"VmHWM:\s+(\d+) kB", status.read_text())):
        return int(peak[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
