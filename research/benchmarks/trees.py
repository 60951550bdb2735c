"""Boosting beside CatBoost, XGBoost and LightGBM: training, many classes, many models, prediction, memory.

All on THREADS threads, ours on as many devices that share the processor; tables are binned before the clock starts.
On an accelerator ours have one of it, and peers all cores.
The environment variable TREES_ROWS picks rows of ROWS by their names, with commas between.
"""

import contextlib
import functools
import json
import os
import statistics
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from research import benchmarks
from research.benchmarks import tree_peers
from research.benchmarks.samplers import ratio
from research.benchmarks.tree_peers import L2, RATE, Work
from research.trees import binning, boosting, ensemble, levelwise, many, objectives, oblivious, prediction

ONLY, THREADS, ROUNDS, SECONDS = "TREES_ROWS", 2, 15, 60
LEAST = 1e-3  # ms: what takes less is noise
QUICK = {"ROUNDS": 5, "SECONDS": 10, ONLY: "200k_50_64,1000_models,predict_1m_500"}
TRAINED = {
    "20k_50_64": Work(20_000, 50, 64),
    "200k_50_64": Work(200_000, 50, 64),
    "200k_50_255": Work(200_000, 50, 255),
    "200k_20_255": Work(200_000, 20, 255),
    "100k_28_64_classes": Work(100_000, 28, 64, classes=10),
    "100k_28_255_classes": Work(100_000, 28, 255, classes=10),
}
MODELS, NUM_MODELS, MODEL_TREES, PEERS_MODELS = Work(500, 10, 32, depth=4), 1000, 50, 100
PREDICTED, PREDICTED_ROWS, PREDICTED_TREES = Work(20_000, 50, 64), 1_000_000, 500
MEMORY, MEMORY_TREES = Work(2_000_000, 50, 64), 10
GROWERS = {"oblivious": functools.partial(oblivious.Options, score="l2"), "levelwise": levelwise.Options}


def turns(calls, rest=0.0):
    """{name: [milliseconds]} of calls that take turns, ROUNDS of them or, from the third on, as SECONDS allow.

    One of each comes first that is not counted. rest: seconds before a turn, as threads of a library go on spinning.
    """
    times, begin = {name: [] for name in calls}, time.perf_counter()
    for i in range(ROUNDS + 1):
        if i > 3 and time.perf_counter() - begin > SECONDS:
            break
        for name, call in calls.items():
            time.sleep(rest)
            start = time.perf_counter()
            call()
            if i:
                times[name].append(1e3 * (time.perf_counter() - start))
    return times


def compared(own, theirs):
    """{"ms": median of own times, and for each peer the ratio to its times}."""
    return {"ms": statistics.median(own)} | {f"over_{name}": ratio(own, found) for name, found in theirs.items()}


def mesh():
    """A mesh of THREADS devices that share the processor, or of one accelerator."""
    devices = jax.devices()[: 1 if on_accelerator() else THREADS]
    return jax.make_mesh((len(devices),), ("trees",), axis_types=(AxisType.Auto,), devices=devices)


def on_accelerator():
    """Whether ours run on one."""
    return jax.default_backend() != "cpu"


def threads():
    """How many peers have: all there are beside an accelerator."""
    return os.cpu_count() if on_accelerator() else THREADS


def binned(work, x, y):
    """(codes [F, N], counts [F], y, Objective) of a table of tree_peers."""
    borders = binning.find(x, "quantile", work.bins - 1)
    objective = objectives.softmax(work.classes) if work.classes else objectives.squared()
    return binning.apply(borders, x), borders.counts, y, objective


def growing(work, codes, counts, y, objective, grower, kind, numbers):
    """(call(n) -> None that grows n trees on a mesh of that kind, seconds to compile the most of `numbers`)."""
    of, how = mesh(), boosting.Options(GROWERS[grower](depth=work.depth, l2=L2), rate=RATE)
    with jax.enable_x64(True):
        state = boosting.init(y, None, objective, jax.random.key(0))
    specs = (None, "trees") if kind == "rows" else ("trees",), ("trees",) if kind == "rows" else ()
    codes, y = (jax.device_put(x, NamedSharding(of, PartitionSpec(*spec))) for x, spec in zip((codes, y), specs))

    def call(num_trees):
        args = (codes, counts, y, None, objective, how, jax.random.key(0), num_trees)
        jax.block_until_ready(boosting.boost(*args, state, mesh=of, kind=kind))

    seconds = []
    for n in (min(numbers), max(numbers), max(numbers)):
        begin = time.perf_counter()
        call(n)
        seconds.append(time.perf_counter() - begin)
    return call, seconds[1] - seconds[2]


def trained(work, peers):
    """{contestant: ms of a tree; of ours also seconds to compile and ratios}, all taking turns.

    A tree is the difference of fits of few and of many trees, so that what a fit costs once is left out.
    """
    work = work._replace(threads=threads(), gpu=jax.default_backend() == "gpu")
    few, more = (2, 12) if work.classes else (10, 60) if work.rows < 100_000 else (4, 24)
    x, y = tree_peers.table(work)
    fits = tree_peers.contests(work, x, y, peers)
    kinds = ("rows", "features") if mesh().size > 1 else ("rows",)  # the same on one device
    names, table = [(grower, kind) for grower in GROWERS for kind in kinds], binned(work, x, y)
    own = {f"{grower}_{kind}": growing(work, *table, grower, kind, (few, more)) for grower, kind in names}
    both = {name: call for name, (call, _) in own.items()} | fits
    times = turns({(name, n): functools.partial(call, n) for name, call in both.items() for n in (few, more)})
    tree = {
        name: [max((b - a) / (more - few), LEAST / 10) for a, b in zip(times[name, few], times[name, more])]
        for name in both
    }
    theirs = sound(tree, fits)
    rows = {name: {"compile_s": seconds, **compared(tree[name], theirs)} for name, (_, seconds) in own.items()}
    rows |= {name: {"ms": statistics.median(found)} for name, found in theirs.items()}
    return {"work": work._asdict(), "sums": "a word of 64 bits an output, which counts share", **rows}


def sound(tree, names):
    """{name: times} of those whose trees take more than the noise of their fits, as some do not on many cores."""
    return {name: tree[name] for name in names if statistics.median(tree[name]) > LEAST}


def models(peers):
    """{contestant: seconds for NUM_MODELS models}: ours in one program, compiled anew; a peer's in a loop, PEERS_MODELS
    of them on THREADS threads, or on one thread in as many processes."""
    tables = [binned(MODELS, *tree_peers.table(MODELS, seed)) for seed in range(NUM_MODELS)]
    codes, counts, y, (objective, *_) = zip(*tables)
    codes, y, counts = np.stack(codes), np.stack(y), np.max(counts, axis=0)
    how = boosting.Options(oblivious.Options(score="l2", depth=MODELS.depth, l2=L2), rate=RATE)
    keys, of, result = jax.random.split(jax.random.key(0), NUM_MODELS), mesh(), {}

    def call():
        jax.block_until_ready(many.boost(codes, counts, y, objective, how, keys, MODEL_TREES, mesh=of))

    seconds = []
    for again in (False, False, False, True):
        if not again:
            jax.clear_caches()
            many.compiled.cache_clear()
        begin = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - begin)
    result["ours"] = {"s": statistics.median(seconds[:3]), "compile_s": statistics.median(seconds[:3]) - seconds[3]}
    scale = NUM_MODELS / PEERS_MODELS
    with ProcessPoolExecutor(THREADS, get_context("spawn")) as pool:
        for name in peers:
            for processes in (1, THREADS):
                work = MODELS._replace(threads=THREADS // processes)
                seeds = [range(i, PEERS_MODELS, processes) for i in range(processes)]
                ask = functools.partial(tree_peers.fits, name, work, MODEL_TREES)
                found = [max(pool.map(ask, seeds)) for _ in range(4)][1:]
                result[f"{name}_{processes}_processes"] = {"s": scale * statistics.median(found)}
    for name in list(result)[1:]:
        result["ours"][f"over_{name}"] = result["ours"]["s"] / result[name]["s"]
    return {"work": MODELS._asdict(), "models": NUM_MODELS, "trees": MODEL_TREES, **result}


def predicted(peers):
    """{contestant: ms to predict PREDICTED_ROWS rows by PREDICTED_TREES trees, from numbers}, all taking turns."""
    x, y = tree_peers.table(PREDICTED)
    codes, counts, y, objective = binned(PREDICTED, x, y)
    borders = binning.find(x, "quantile", PREDICTED.bins - 1)
    how = boosting.Options(GROWERS["oblivious"](depth=PREDICTED.depth, l2=L2), rate=RATE)
    _, grown = boosting.boost(codes, counts, y, None, objective, how, jax.random.key(0), PREDICTED_TREES)
    of = ensemble.collect(grown, borders, [0.0], objective.name)
    rows, calls = tree_peers.table(PREDICTED._replace(rows=PREDICTED_ROWS), 1)[0], {}
    for name, make in peers.items():
        fit, predict = make(PREDICTED._replace(threads=threads()), x, y)
        calls[name] = functools.partial(predict, fit(PREDICTED_TREES), rows)
    times = turns({"ours": lambda: prediction.predict_raw(of, rows), **calls}, rest=0.3)
    own = times.pop("ours")
    about = {"rows": PREDICTED_ROWS, "trees": PREDICTED_TREES, "depth": PREDICTED.depth, "features": PREDICTED.features}
    return about | {"ours": compared(own, times)} | {n: {"ms": statistics.median(t)} for n, t in times.items()}


def memory(peers):
    """{contestant: MiB resident at most, in a process that makes the table, bins it and grows MEMORY_TREES trees}."""
    result = {}
    for name in ("table", "features", "rows", *peers):
        order = json.dumps({"name": name, "work": MEMORY, "trees": MEMORY_TREES})
        command = [sys.executable, "-m", "research.benchmarks.tree_peers.memory", order]
        asked = subprocess.run(command, capture_output=True, text=True, check=True)
        result[name] = {"mib": json.loads(asked.stdout.splitlines()[-1])}
    for name in ("features", "rows"):
        result[name] |= {f"over_{peer}": result[name]["mib"] / result[peer]["mib"] for peer in peers}
    return {"work": MEMORY._asdict(), "trees": MEMORY_TREES, **result}


ROWS = {name: functools.partial(trained, work) for name, work in TRAINED.items()}
ROWS |= {"1000_models": models, "predict_1m_500": predicted, "memory_2m_50": memory}


def main():
    """A dict: for each row what each contestant takes, ours also as a ratio to each peer, turn by turn."""
    jax.config.update("jax_enable_compilation_cache", False)
    with contextlib.suppress(RuntimeError):  # where a backend runs already, it should have as many
        jax.config.update("jax_num_cpu_devices", THREADS)
    wanted = benchmarks.picked(ONLY, ROWS)
    peers, versions = tree_peers.here()
    result = {"device": jax.devices()[0].device_kind, "jax": jax.__version__, "load": os.getloadavg()[0]}
    return result | {"threads": threads(), "peers": versions} | {name: ROWS[name](peers) for name in wanted}
