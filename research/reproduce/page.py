"""REPRODUCTION.md, written from the records of items: a part for each scale, so that their numbers never mix."""

from research import reproduce
from research.reproduce import verdict

HEAD = """# Reproduction

Written by `python -m launch.figures`; do not edit. Each row is computed from the JSON of its figure. `smoke` is small
trainings on this project's toys and tables, which can show a trend, and a paper's number only where the item is exact;
`full` is the papers' configs. Ours: the mean, the half width of its 95 % interval, the number of seeds.
"""
COLUMNS = ("item", "paper", "ours", "tolerance", "verdict")
ORDER = (verdict.REPRODUCED, verdict.TREND, verdict.DIFFERS, verdict.METRIC)


def text(records, stale=()):
    """The page as Markdown of {(scale, name): record, {"why": ...} of one that was not made, or None}.

    stale: the (scale, name) whose code or config has changed since.
    """
    parts = [HEAD]
    for scale in reproduce.SCALES:
        found = {name: records.get((scale, name)) for name in reproduce.names()}
        made = {name: record for name, record in found.items() if record and "rows" in record}
        verdicts = [row["verdict"] for record in made.values() for row in record["rows"]]
        counts = [f"{verdicts.count(each)} {each}" for each in ORDER if each in verdicts]
        parts.append(f"## Scale {scale}\n\n{', '.join([*counts, f'{len(found) - len(made)} figures not run'])}.\n")
        parts += [section(name, record, (scale, name) in stale) for name, record in made.items()]
        parts += [missing(name, scale, record) for name, record in found.items() if name not in made]
    return "\n".join(parts)


def section(name, record, stale):
    """An item's heading, a line of where its numbers come from, and its rows."""
    module, origin = reproduce.item(name), record["origin"]
    configs = " ".join(f"`{config}`" for config in sorted({each.split(" ")[0] for each in record["configs"]}))
    commit = origin["git"] and origin["git"][:7] + "+" * origin["git"].endswith("+")
    hardware = f"{origin['devices']} {origin['device']}, jax {origin['jax']}"
    lines = [
        f"### `{name}`: {module.TITLE}\n\n{module.SOURCE}.",
        f"{configs or 'No training'}; commit {commit}, {hardware}, {origin['seconds']} s, {origin['started'][:10]}.\n",
    ]
    mark = " (stale: code or config changed since)" if stale else ""
    cells = [
        [row["what"], shown(row["paper"]), ours(row), shown(row["tolerance"]), row["verdict"] + mark]
        for row in record["rows"]
    ]
    return "\n".join([*lines, table(cells)])


def missing(name, scale, record):
    """One line of an item that was not made, with the reason or what it needs."""
    module = reproduce.item(name)
    needs = module.FULL if scale == "full" and module.FULL else f"{module.MINUTES:g} min on 2 CPU cores"
    return f"- `{name}`, {module.TITLE}: {verdict.NOT_RUN}: {record['why'] if record else f'needs {needs}'}"


def ours(row):
    """Ours as text, with its interval and the number of seeds."""
    spread = f" ± {shown(row['interval'])} (of {row['seeds']})" if row["interval"] is not None else ""
    return shown(row["ours"]) + spread


def shown(value):
    """A number with four digits, words as they are, nothing for None."""
    return "" if value is None else f"{value:.4g}" if isinstance(value, int | float) else str(value)


def table(rows):
    """Lines of a Markdown table with COLUMNS; bars in cells are kept out of its way."""
    cells = [list(COLUMNS), ["---"] * len(COLUMNS), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells) + "\n"
