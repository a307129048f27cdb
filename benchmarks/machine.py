"""What the machine can do, and what of it is in use."""

from __future__ import annotations

import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from duogen.benchmarks.clock import now

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def describe() -> dict[str, Any]:
    """What a figure depends on."""
    return {
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    return names[0] if info.exists() and names else platform.processor()


def matrix_peak(size: int = 1024, repeats: int = 20) -> float:
    """Floating-point operations a second of a large matrix product, the best of some."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    left, right = torch.randn(2, size, size, device=device)
    best = float("inf")
    for _ in range(repeats):
        began = now()
        left @ right
        best = min(best, now() - began)
    return 2 * size**3 / best


def begin_peak() -> None:
    """Forgets the most memory that was in use so far."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    elif _RESET.exists():
        _RESET.write_text("5")


def peak_memory() -> int | None:
    """The most bytes in use since `begin_peak`, of the GPU or else of the process; None where that isn't known (not Linux)."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    if not _RESET.exists():
        return None
    (line,) = (line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def start_up(repeats: int = 5) -> dict[str, float]:
    """Seconds, as medians: of ``duogen --help``, of a Python that does nothing, of importing the libraries and loading the
    default model, and of the loading alone."""
    load = "import time, duogen.models.pipeline as _, duogen; began = time.perf_counter(); duogen.load()"
    whole, printed = _timed(["-c", load + "; print(time.perf_counter() - began)"], repeats)
    return {
        "help": statistics.median(_timed(["-m", "duogen.cli", "--help"], repeats)[0]),
        "python": statistics.median(_timed(["-c", "pass"], repeats)[0]),
        "import and load": statistics.median(whole),
        "load": statistics.median(map(float, printed)),
    }


def _timed(arguments: list[str], repeats: int) -> tuple[list[float], list[str]]:
    """Seconds of each run of Python, and what each printed."""
    took, printed = [], []
    for _ in range(repeats):
        began = time.perf_counter()
        done = subprocess.run([sys.executable, *arguments], capture_output=True, check=True, text=True)
        took.append(time.perf_counter() - began)
        printed.append(done.stdout)
    return took, printed
