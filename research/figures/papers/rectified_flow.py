"""Rounds of reflow: which lines cross, how straight paths are, and what few steps give."""

import numpy as np

from research import workdir
from research.figures import canvas, few_steps, trajectories
from research.reproduce import Run, verdict

TITLE = "Rectified flow and reflow"
SOURCE = "Liu et al. 2022, figures 2 and 4, theorems 3.5 and 3.7, table 1"
MINUTES, FULL = 2, "8 A100 for about 100 h (800,000 steps, two rounds of 300,000, 1,000,000 pairs)"
SMALL = {  # three rounds and a student of one step, of a net with a quarter of the weights
    **{"train.num_steps": 4000, "train.eval_every": 0, "train.checkpoint_every": 0, "data.size": 100000},
    **{"data.batch_size": 256, "net.mlp.width": 64, "sampler.num_samples": 4000},
    **{"sampler.name": "heun", "sampler.num_steps": 20, "sampler.rtol": 1e-3, "sampler.atol": 1e-3},
    **{"reflow.rounds": 2, "reflow.num_pairs": 20000},
    **{"reflow.round.train.num_steps": 1000, "reflow.student.train.num_steps": 1000},
}
PAPER = (  # FID on CIFAR-10, the run, the row of its few-step table
    (378, "round_1", "1"),
    (12.21, "round_2", "1"),
    (4.85, "student_1", "1"),
    (2.58, "round_1", "adaptive"),
)
SLICED, FRECHET = "sliced_wasserstein", "frechet"
LABELS = {SLICED: "sliced Wasserstein distance (data's unit)", FRECHET: "Frechet distance"}
STYLES = (("#0072B2", "o", "-"), ("#D55E00", "s", "--"), ("#009E73", "D", ":"), ("#CC79A7", "^", "-."))
PATHS, THINNED = 60, 4  # paths that are drawn, of their points each so many'th
FEW = ("1", "2", "4")  # steps


def runs(scale):
    """One command that trains all rounds: on eight Gaussians, at scale full on CIFAR-10."""
    if scale == "full":
        return {"reflow": Run("rectified_flow_cifar10", {}, "launch.reflow", fid=True)}
    return {"reflow": Run("reflow_toy2d", SMALL, "launch.reflow")}


def load(workdirs, scale):
    """{"runs": of figures.few_steps, "plane": of figures.trajectories, None where data are images}."""
    path = workdirs["reflow"]
    config = workdir.load_config(path)
    later = [f"round_{i}" for i in range(2, config["reflow"]["rounds"] + 2)]
    folders = {name: path / name for name in [*later, *(f"student_{k}" for k in config["reflow"]["distill"])]}
    found = few_steps.load({"round_1": path} | folders)
    for run in found.values():
        run |= {name: np.round(run[name], 6) for name in ("times", "curve") if name in run}
    return {"runs": found, "plane": plane(path) if tuple(config["data"]["shape"]) == (2,) else None}


def plane(path):
    """{round: points} of figures.trajectories for the first two rounds, with fewer digits and points a path."""
    found = trajectories.load({"round_1": path, "round_2": path / "round_2"}, PATHS)
    for run in found.values():
        run |= {"lines": np.round(run["lines"], 3), "paths": np.round(run["paths"], 3)[:, ::THINNED]}
    return found


def rows(points):
    """The paper's claims on straightness, costs and few steps; its FID beside a Frechet distance of another net."""
    first, second = points["runs"]["round_1"], points["runs"]["round_2"]
    measure = SLICED if points["plane"] else FRECHET
    distance = f"{LABELS[measure].split(' (')[0]} by one step" + ", after one reflow over before"
    straight = second["straightness"] / first["straightness"]
    ratios = [second["rows"][k][f"{measure}/ours"] / first["rows"][k][f"{measure}/ours"] for k in FEW]
    costs = [f"cost_{p}" for p in (1, 2)]
    costs = [first[c] / first[c.replace("cost", "independent")] for c in costs] + [second[c] / first[c] for c in costs]
    claims = [
        ("straightness S, after one reflow over before", "one makes paths nearly straight", straight, straight < 0.1),
        (distance, "one step suffices after reflow, and not before", ratios[0], ratios[0] < 0.2),
        (f"the same, at worst of {', '.join(FEW)} steps", "few steps are better", max(ratios), max(ratios) < 1),
        ("E|x1-x0|, E|x1-x0|^2 over before, at worst", "no cost rises (theorem 3.5)", max(costs), max(costs) < 1.02),
    ]
    if points["plane"]:
        before, after = (points["plane"][name]["crossings"] for name in ("round_1", "round_2"))
        claim = "random pairs' lines cross, those of a flow's ends hardly"
        claims.append(("crossing lines, after reflow over before", claim, after / before, after < 0.1 * before))
    found = [verdict.trend(*claim) for claim in claims]
    for fid, name, row in () if points["plane"] else PAPER:
        ours = points["runs"][name]["rows"][row]
        found.append(verdict.fid(f"FID, {name}, {row}", fid, ours.get("fid/ours"), ours[f"{measure}/ours"]))
    return found


def draw(points):
    """A matplotlib Figure: lines and paths in the plane where there are any; distance by steps; straightness; costs."""
    figure = canvas.figure(14, 9 if points["plane"] else 4.6)
    axes = figure.subplots(2 if points["plane"] else 1, 3, squeeze=False)
    if points["plane"]:
        draw_plane(axes[0], points["plane"])
    few, straight, costs = axes[-1]
    draw_steps(few, points["runs"], SLICED if points["plane"] else FRECHET)
    rounds = [run for run in points["runs"].values() if "straightness" in run]
    number = range(1, len(rounds) + 1)
    straight.semilogy(number, [run["straightness"] for run in rounds], "o-", color="#0072B2")
    straight.set(ylabel="S (net's unit squared)", title="straightness; 0: all paths are straight", xticks=number)
    for p, (colour, marker, line), label in zip((1, 2), STYLES, ("E|x1-x0|", "E|x1-x0|$^2$")):
        y = [1, *(run[f"cost_{p}"] / rounds[0][f"independent_{p}"] for run in rounds)]
        costs.plot([0, *number], y, marker=marker, linestyle=line, color=colour, label=label)
    costs.set(ylabel="over that of random pairs", title="transport costs", ylim=(0, 1.1), xticks=[0, *number])
    costs.legend()
    for axis in (straight, costs):
        axis.set_xlabel("round" if axis is straight else "round; 0: random pairs")
        axis.grid(alpha=0.3)
    return figure


def draw_plane(axes, found):
    """Lines of the first training, paths of the first flow, and paths of the second."""
    first, second = found["round_1"], found["round_2"]
    panels = {
        f"round 1, lines of training: {first['crossings']} of {first['pairs']} pairs cross": first["lines"],
        f"round 1, paths: {first['detour']:.1%} longer than straight": first["paths"],
        f"round 2, paths: {second['detour']:.2%} longer; {second['crossings']} pairs of lines cross": second["paths"],
    }
    reach = 1.05 * max(np.abs(walks).max() for walks in panels.values())
    for axis, (title, walks) in zip(axes, panels.items()):
        x = np.asarray(walks)
        axis.plot(x[:, :, 0].T, x[:, :, 1].T, color="0.6", linewidth=0.8)
        for end, (colour, marker, _), label in ((0, STYLES[0], "noise"), (-1, STYLES[1], "data")):
            axis.scatter(*x[:, end].T, s=14, color=colour, marker=marker, label=label, zorder=2)
        axis.set(xlabel="$x_1$ (data's unit)", ylabel="$x_2$ (data's unit)", aspect="equal")
        axis.set(xlim=(-reach, reach), ylim=(-reach, reach))
        axis.set_title(title, fontsize=10)
    axes[0].legend(fontsize=8)


def draw_steps(axis, found, measure):
    """Distance to the test set against calls of the net; a star is an adaptive solver, a dashed line the floor."""
    for (name, run), (colour, marker, line) in zip(found.items(), STYLES):
        own = name.removeprefix("student_")  # a student knows the velocity at its own steps alone
        fixed = [row for k, row in run["rows"].items() if k == own or (k != "adaptive" and own == name)]
        x, y = ([row[column] for row in fixed] for column in ("nfe", f"{measure}/ours"))
        axis.loglog(x, y, marker=marker, linestyle=line, color=colour, label=name.replace("_", " "))
        for row in [row for k, row in run["rows"].items() if k == "adaptive"]:
            axis.plot(row["nfe"], row[f"{measure}/ours"], "*", color=colour, markersize=14, markeredgecolor="black")
    floor = found["round_1"]["rows"]["1"][f"{measure}/floor"]
    axis.axhline(floor, color="0.4", linestyle=(0, (1, 3)), label="floor: training data")
    axis.set_xscale("log", base=2)
    axis.xaxis.set_major_formatter("{x:g}")
    axis.set(xlabel="evaluations of the net a sample", ylabel=LABELS[measure], title="few steps (star: adaptive)")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
