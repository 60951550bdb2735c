"""BENCHMARKS.md, written from records of benchmarks: a column for each hardware, and what each was measured with."""

from research import benchmarks
from research.benchmarks import rows

HEAD = """# Benchmarks

Written by `python -m launch.bench --results=benchmarks/results --summary=BENCHMARKS.md` from JSON; do not edit.
A ratio is to a named peer on the same work in the same run: the median of turns and, in brackets, their quartiles.
Below 1 in "over PEER" ours takes less time or memory; "PEER over ours" is the other way round. Those marked quick are
medians of fewer turns (`--quick`). What figures mean, and longer runs: [docs/benchmarks.md](docs/benchmarks.md).
"""


def text(records):
    """The page as Markdown of {hardware: {benchmark: record}}."""
    places = sorted(records)
    lines = [HEAD, table(["benchmark", "what", *map(title, places)], body(records, places))]
    made = [origin(place, record) for place in places for record in ordered(records[place])]
    columns = ["hardware", "benchmark", "date", "commit", "python, jax", "beside it", "peers"]
    return "\n".join([*lines, "\n## What was measured on what\n", table(columns, made), ""])


def body(records, places):
    """Cells of every row that some hardware has."""
    for name in benchmarks.NAMES:
        found = [records[place].get(name, {}).get("result", {}) for place in places]
        for what, paths in rows.ROWS[name]:
            cells = [cell(result, paths) for result in found]
            if any(cells):
                yield [f"`{name}`", what, *(each or "-" for each in cells)]


def cell(result, paths):
    """The labelled figures of a row that are there, as text."""
    found = {label: at(result, path) for label, path in paths.items()}
    return "; ".join(f"{label} {shown(value)}" for label, value in found.items() if value is not None)


def at(result, path):
    """The number, or the dict of a ratio and its quartiles, at a path of keys with / between; None where it ends."""
    for key in path.split("/"):
        if not isinstance(result, dict) or key not in result:
            return None
        result = result[key]
    return result


def shown(value):
    """A number of three digits, a ratio with its quartiles in brackets."""
    if isinstance(value, dict):
        return f"{shown(value['ratio'])} ({' to '.join(map(shown, value['quartiles']))})"
    return f"{value:,.0f}" if abs(value) >= 1000 or value == round(value) else f"{value:.3g}"


def origin(place, record):
    """Cells of where a record comes from."""
    peers = "; ".join(f"{name} {what}" for name, what in sorted(versions(record["result"]).items()))
    name = f"`{record['benchmark']}`" + " (quick)" * record["quick"]
    beside = f"{record['cores']} cores {record['processor']}, {record['memory_gib']} GiB"
    made = f"{record['python']}, {record['jax']}"
    return [title(place), name, record["started"][:10], commit(record["git"]), made, beside, peers]


def versions(result):
    """{peer: its version, or absent} of all that a result says of them, at any depth."""
    found = {}
    for key, value in result.items() if isinstance(result, dict) else ():
        if key == "peers":
            found |= {name: "absent" if what.startswith("absent") else what for name, what in value.items()}
        else:
            found |= versions(value)
    return found


def ordered(of):
    """Records in the order of benchmarks.NAMES."""
    return [of[name] for name in benchmarks.NAMES if name in of]


def commit(git):
    """The first digits of a commit, and + where files had changed."""
    return git[:7] + "+" * git.endswith("+") if git else "-"


def title(place):
    """A folder's name as words: 2 CPU cores, NVIDIA H200."""
    return place.replace("_", " ").replace("cpu", "CPU") if "cpu" in place else place.replace("_", " ").upper()


def table(columns, cells):
    """A table of Markdown."""
    lines = [columns, ["---"] * len(columns), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
