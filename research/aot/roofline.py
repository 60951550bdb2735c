"""The roofline: the least time that a step can take, by what it computes, moves and sends (Williams et al. 2009)."""


def bound(flops, hbm_bytes, collectives, chip, devices, eight_bits=False):
    """{"compute_seconds", "hbm_seconds", "ici_seconds", "dcn_seconds", "seconds": the greatest, "limit": its name,
    "efficiency": the share of the peak FLOP/s that is left at most}.

    flops: of all devices, None where they are not known; hbm_bytes: of one; collectives: a list of
    collectives.Collective; chip: its topologies.Chip. As if all went on at once, each at its peak: no run is faster.
    """
    peak = chip.flops_8bit if eight_bits else chip.flops
    times = {
        "compute": (flops or 0) / devices / (peak / chip.cores),
        "hbm": hbm_bytes / (chip.hbm / chip.cores),
        "ici": sum(one.sent for one in collectives if not one.crosses) / (chip.ici / chip.cores),
        "dcn": sum(one.sent for one in collectives if one.crosses) / (chip.dcn / chip.cores),
    }
    limit = max(times, key=times.get)
    least = times[limit]
    result = {f"{name}_seconds": value for name, value in times.items()} | {"seconds": least, "limit": limit}
    return result | {"efficiency": times["compute"] / least if flops and least else None}
