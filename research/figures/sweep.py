"""A metric of a sweep's trials against a swept field: a dot each, the mean over seeds and its interval as a line."""

from research.errors import UserError, nearest
from research.figures import canvas


def load(report, field=None):
    """{"field", "metric", "trials": {"x", "value"}, "lines": {other fields: {"x", "mean", "interval"}}} of a report.

    report: of sweep_report.load; field: the first swept one that is no seed by default. Raises UserError for a field
    that is not swept, or where no trial has a number yet.
    """
    metric, done = report["metric"], [row for row in report["trials"] if row[report["metric"]] is not None]
    fields = [x for x in report["fields"] if x.split(".")[-1] != "seed"] or report["fields"]
    field = field or fields[0]
    if field not in fields:
        raise UserError(f"the sweep does not vary '{field}'; {nearest(field, fields)}")
    if not done:
        raise UserError(f"no trial has a number '{metric}' yet; run the sweep first.")
    lines = {}
    for row in report["over_seeds"]:
        others = ", ".join(f"{x.split('.')[-1]}={row[x]}" for x in fields if x != field and x in row)
        lines.setdefault(others, []).append((row.get(field), row["mean"], row["interval"] or 0.0))
    return {
        "field": field,
        "metric": metric,
        "trials": {"x": [row[field] for row in done], "value": [row[metric] for row in done]},
        "lines": {
            name: dict(zip(("x", "mean", "interval"), map(list, zip(*sorted(points)))))
            for name, points in lines.items()
        },
    }


def draw(points):
    """A matplotlib Figure; a field whose numbers span more than a factor of 20 is drawn in logarithms."""
    figure = canvas.figure(7, 4.5)
    axis, xs = figure.subplots(), points["trials"]["x"]
    numbers = all(isinstance(x, int | float) and not isinstance(x, bool) for x in xs)

    def place(values):
        return values if numbers else list(map(str, values))

    axis.plot(place(xs), points["trials"]["value"], ".", color="0.7", label="trials")
    for name, line in points["lines"].items():
        axis.errorbar(
            place(line["x"]), line["mean"], line["interval"], fmt="o-", capsize=3, label=name or "mean, 95 % interval"
        )
    if numbers and min(xs) > 0 and max(xs) > 20 * min(xs):
        axis.set_xscale("log")
    axis.set(xlabel=points["field"], ylabel=points["metric"])
    axis.grid(alpha=0.3)
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)
    return figure
