"""Memory of compiled programs (stand-in until the real one is merged)."""

from typing import NamedTuple


class Footprint(NamedTuple):
    arguments: int
    outputs: int
    aliased: int
    temporaries: int
    code: int
    peak: int


def footprint(compiled):
    m = compiled.memory_analysis()
    if m is None:
        return None
    a, o, al, t = (
        m.argument_size_in_bytes,
        m.output_size_in_bytes,
        m.alias_size_in_bytes,
        m.temp_size_in_bytes,
    )
    return Footprint(a, o, al, t, m.generated_code_size_in_bytes, a + o - al + t)


def runs_that_fit(peak, runs, free, fixed):
    each = max(1, (peak - fixed) / runs)
    return max(1, int((0.8 * free - fixed) // each))


def free_memory(device):
    import os

    stats = device.memory_stats()
    if stats is not None and "bytes_limit" in stats:
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
