"""What rate limits cost: a call that is counted, and the memory under a million distinct callers.

Run it as ``python -m scripts.benchmarks.rate_limits``.
"""

from __future__ import annotations

import time
import tracemalloc

from config.settings import RateLimitSettings
from scripts.benchmarks.room import line
from ticketd.rate_limits.classes import RateClass
from ticketd.rate_limits.limits import Caller, RateLimits

CALLERS = 1_000_000
CALLS = 200_000


def measure_memory() -> None:
    """A million callers, each once: what is kept of them."""
    tracemalloc.start()
    limits = RateLimits(RateLimitSettings(), lambda _: None)
    for number in range(CALLERS):
        limits.take(RateClass.SEARCH, Caller(number.to_bytes(8, "big")), number)
    kept = limits.known_callers
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    line(f"kept of {CALLERS:,} callers", kept, "counts")
    line("memory for them", size / 1024 / 1024, "MiB")


def measure_time() -> None:
    """A buyer's call, which two limits count."""
    limits = RateLimits(RateLimitSettings(), lambda _: None)
    buyers = [Caller(number.to_bytes(16, "big"), is_buyer=True) for number in range(1000)]
    began = time.process_time()
    for number in range(CALLS):
        limits.take(RateClass.RESERVE, buyers[number % len(buyers)], number)
    line("counting a buyer's call", (time.process_time() - began) / CALLS * 1e6, "us")


def main() -> None:
    """Prints the table."""
    measure_memory()
    measure_time()


if __name__ == "__main__":
    main()
