"""One tree of a forest, drawn or written, each node with its question and what is known of its rows."""

import numpy as np

from research.figures import canvas

LETTER, GAP = 0.066, 0.5  # inches: the width of a letter, and between the columns


def points(forest, tree=0, names=None, classes=None, max_depth=None, impurity=None):
    """A list of nodes, parents first, each a dict of plain Python, of a forest.Forest.

    "x" is the depth and "y" the place among the leaves; "parent" a place in the list, None for the root; "answer" to
    the parent's question, "yes" or "no"; "question", None at a leaf; "cover", the weight of its rows; "value", of an
    inner node the mean of its leaves; "hidden", how many questions below max_depth are left out. names: of features,
    if not the forest's; classes: labels, where values are shares of classes; impurity [M]: of nodes.
    """
    feature, border, left, value, cover = (
        None if x is None else np.asarray(x).reshape(-1, *np.shape(x)[2:])[tree]
        for x in (forest.feature, forest.border, forest.left, forest.value, forest.cover)
    )
    names = names or forest.names or [f"x[{f}]" for f in range(forest.columns)]
    value, count = value.astype(np.float64), np.zeros(len(left), int)
    for i in np.flatnonzero(left)[::-1]:
        both = [left[i], left[i] + 1]
        value[i] = np.average(value[both], axis=0, weights=cover[both] if cover is not None else None)
        count[i] = 1 + count[both].sum()
    found, leaves = [], 0

    def visit(i, depth, parent, answer):
        nonlocal leaves
        asks, place = left[i] > 0 and depth != max_depth, len(found)
        share = value[i] / (value[i].sum() or 1) if classes is not None else value[i]
        known = {} if impurity is None else {"impurity": float(impurity[i])}
        known |= {} if cover is None else {"cover": float(cover[i])}
        known |= {"value": share.tolist(), "hidden": 0 if asks else int(count[i])}
        known |= {} if classes is None else {"label": str(classes[share.round(6).argmax()])}
        question = _question(names[feature[i]], border[i], forest.side) if asks else None
        found.append({"x": depth, "parent": parent, "answer": answer, "question": question} | known)
        if asks:
            ys = [visit(left[i] + side, depth + 1, place, answer) for side, answer in enumerate(("yes", "no"))]
            found[place]["y"] = sum(ys) / 2
        else:
            found[place]["y"], leaves = float(leaves), leaves + 1
        return found[place]["y"]

    visit(0, 0, None, None)
    return found


def _question(name, border, side):
    if np.isinf(border):
        return f"{name} is {'known' if border > 0 else 'missing'}"
    return f"{name} {'<=' if side == 'left' else '<'} {border:.4g}"


def _text(node):
    lines = [node["question"]] if node["question"] else []
    if "label" in node:
        lines.append(f"{node['label']} {max(node['value']):.1%}")
    else:
        lines.append(", ".join(f"{v:.4g}" for v in node["value"][:4]) + ", ..." * (len(node["value"]) > 4))
    known = [f"n = {node['cover']:.6g}"] if "cover" in node else []
    known += [f"impurity {node['impurity']:.3g}"] if "impurity" in node else []
    lines.append(", ".join(known + [f"{node['hidden']} below"] * (node["hidden"] > 0)))
    return "\n".join(filter(None, lines))


def text(points):
    """The nodes as lines, those below a question farther to the right."""
    heads = ["    " * node["x"] + (f"{node['answer']}: " if node["answer"] else "") for node in points]
    return "\n".join(head + "; ".join(_text(node).split("\n")) for head, node in zip(heads, points))


def _colours(nodes):
    """[nodes, 3] red, green, blue: a class's own, white where all are as likely; of numbers, darker if greater."""
    from matplotlib.colors import to_rgb

    values = np.array([node["value"] for node in nodes])
    if "label" in nodes[0]:
        even = 1 / values.shape[1]
        number, strength = values.argmax(axis=1), (values.max(axis=1) - even) / max(1 - even, 1e-9)
    else:
        least, spread = values[:, 0].min(), np.ptp(values[:, 0])
        number, strength = np.zeros(len(nodes), int), (values[:, 0] - least) / (spread or 1)
    full = np.array([to_rgb(f"C{k % 10}") for k in number])
    return 1 - 0.7 * strength[:, None] * (1 - full)


def draw(points):
    """A matplotlib Figure; rows that answer "yes" go up. Colours tell the class, or how great the value is."""
    texts = [_text(node) for node in points]
    widths = np.zeros(max(node["x"] for node in points) + 1)  # of columns, in inches
    for node, text in zip(points, texts):
        widths[node["x"]] = max(widths[node["x"]], LETTER * max(map(len, text.split("\n"))) + GAP)
    leaves, at = max(node["y"] for node in points) + 1, np.cumsum(widths) - widths
    figure = canvas.figure(widths.sum() + 0.2, 0.6 * leaves + 0.2)
    axes = figure.subplots()
    axes.set(xlim=(-0.1, widths.sum()), ylim=(leaves - 0.5, -0.5))
    axes.axis("off")
    for node, text, face in zip(points, texts, _colours(points)):
        box = {"boxstyle": "round,pad=0.3", "facecolor": face, "edgecolor": "0.5", "linewidth": 0.8}
        x, y = at[node["x"]], node["y"]
        axes.text(x, y, text, fontsize=8, va="center", bbox=box, zorder=3)
        if node["parent"] is not None:
            above = points[node["parent"]]["y"]
            axes.plot([x - GAP, x], [above, y], color="0.6", linewidth=1, zorder=1)
            axes.plot([at[node["x"] - 1], x - GAP], [above, above], color="0.6", linewidth=1, zorder=1)
            answer = {"color": "0.4", "fontsize": 7, "ha": "center", "va": "center"}
            back = {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none"}
            axes.text(x - GAP / 2, (above + y) / 2, node["answer"], bbox=back, zorder=2, **answer)
    return figure
