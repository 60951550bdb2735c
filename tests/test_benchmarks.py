"""Benchmarks run, at sizes that prove nothing but that."""

import math
import pathlib

import jax
import pytest

from research import sweep as sweeps
from research.benchmarks import data, flow_peers, flows, loop, nets, steps, sweep
from research.errors import UserError
from research.nets.mlp import MLP


def test_loop_compares_the_same_steps(monkeypatch):
    monkeypatch.setattr(loop, "STEPS", 20)
    monkeypatch.setattr(loop, "ROUNDS", 2)
    monkeypatch.setattr(loop, "WIDTH", 8)
    result = loop.main()
    low, high = result["ratio_quartiles"]
    assert low <= result["ratio_median"] <= high
    assert result["ratio"] == pytest.approx(result["loop_ms"] / result["bare_ms"])


def test_data_counts_batches(monkeypatch):
    monkeypatch.setattr(data, "BATCHES", 5)
    rates = [value for name, value in data.batches().items() if name.endswith("per_second")]
    assert len(rates) == 3 and all(math.isfinite(rate) and rate > 0 for rate in rates)


def test_nets_compare_what_is_compiled(monkeypatch):
    monkeypatch.setattr(nets, "DDPM", MLP(width=4))  # a U-Net or DiT takes long to compile
    monkeypatch.setattr(nets, "DiT", lambda remat=False, **_: MLP(width=4, depth=2, remat=remat))
    monkeypatch.setattr(nets, "ROUNDS", 1)
    result = nets.main()
    assert result["compile_ratio"] == pytest.approx(result["compile_48_s"][0] / result["compile_12_s"][0])
    assert result["flops_ratio_unet_ddpm"] > 0 and result["remat_memory_ratio"] > 0


SMALL = {"vectors": flow_peers.Vectors(8, 2, 4), "images": flow_peers.Images(2, 4, 1, 1, 4)}


def test_flows_take_turns_and_are_compared(monkeypatch):
    calls = []

    def peer(sizes):
        step, sample = (lambda: calls.append("step")), (lambda: calls.append("sample"))
        return 2.0, step, sample

    monkeypatch.setattr(
        flow_peers, "contestants", lambda sizes: ([flow_peers.Contestant("peer", lambda: peer(sizes))], {})
    )
    monkeypatch.setattr(flows, "SIZES", SMALL)
    monkeypatch.setattr(flows, "ROUNDS", 3)
    monkeypatch.setattr(flows, "DEEP", 4)
    result = flows.main()
    assert calls == ["step", "sample"] * 6
    for name in SMALL:
        row = result[name]
        low, high = row["ours"]["step_ms_quartiles"]
        assert low <= row["ours"]["step_ms"] <= high and row["step_over_ours"]["ours"] == 1
        assert 0 < row["step_over_ours"]["peer"] < 1 and row["peer"]["compile_s"] == 2.0
    assert result["compile_s_at_4"]["peer"] == 2.0 and result["depth"]["reversible"]["compile_s"]["ratio"] > 0


def test_peers_that_are_not_here_say_so(monkeypatch):
    monkeypatch.delenv(flow_peers.PYTHON, raising=False)
    monkeypatch.setattr(flow_peers, "JAX_PEERS", {"Vectors": ("nothing",), "Images": ()})
    found, about = flow_peers.contestants(flow_peers.Vectors())
    assert found == [] and about["nothing"].startswith("absent: ModuleNotFoundError")
    assert flow_peers.PYTHON in about["normflows"]
    monkeypatch.setenv(flow_peers.PYTHON, "/bin/false")
    found, about = flow_peers.contestants(flow_peers.Images())
    assert found == [] and about["normflows"].startswith("absent")


@pytest.mark.parametrize("row", sweep.ROWS)
def test_each_way_to_run_a_sweep_runs_the_same_trials(row, monkeypatch):
    ways = []

    def seconds(commands):
        config = next(word for word in commands[0] if "experiment.py" in word).removeprefix("--config=")
        module = sweeps.load_module(pathlib.Path(config))
        trials = [config for _, config in sweeps.trials(module, "all", module.get_config())]
        ways.append((commands, trials))
        return len(ways)

    monkeypatch.setattr(sweep, "seconds", seconds)
    result = sweep.row(*sweep.ROWS[row])
    assert [result[f"{name} over one_program"] for name in ("one_process", "separate")] == [2, 3]
    commands, trials = ways[2]
    field = sweep.ROWS[row][1]
    asked = [{word.partition("=")[0]: word.partition("=")[2] for word in command} for command in commands]
    flat = [sweeps.flatten(config.to_dict()) for config in trials]
    want = [(float(one[f"--config.{field}"]), int(one["--config.seed"])) for one in asked]
    assert [(one[field], one["seed"]) for one in flat] == want and len(set(want)) == sweep.TRIALS
    assert all(one[name] == value for one in flat for name, value in sweep.ROWS[row][3].items())
    assert all(len(each) == 1 for each, _ in (ways[0], ways[1], ways[3]))


def test_a_step_of_an_experiment_is_timed_and_counted(monkeypatch):
    monkeypatch.setattr(steps, "SECONDS", 0.0)
    monkeypatch.setattr(steps, "PEAK", {jax.devices()[0].device_kind: 2.0})
    small = {"width": 32, "depth": 2, "heads": 2, "unroll": 2}
    monkeypatch.setitem(steps.CONFIGS, "small", (steps.DIT, (8, 8, 3), 4, small))
    monkeypatch.setenv(steps.ONLY, "small")
    row = steps.main()["small"]
    tokens, heads = (8 // 4) ** 2, 2 * 2 * 32  # a token's products: q k^T and of its weights with v
    block = tokens * (2 * 32 * (3 + 1 + 4 + 4) * 32 + heads * tokens) + 2 * 32 * 6 * 32
    outer = tokens * 2 * 2 * 48 * 32 + 2 * 32 * 2 * 32 + 2 * (256 + 32) * 32
    assert row["tflops"] * row["ms"] == pytest.approx(3e-9 * 4 * (2 * block + outer))
    assert row["mfu"] == row["tflops"] / 2 and row["examples_per_s"] * row["ms"] == pytest.approx(4000)
    monkeypatch.setenv(steps.ONLY, "dit_b_fused")  # wants a GPU
    with pytest.raises(UserError, match="STEPS_CONFIGS names the row 'dit_b_fused'"):
        steps.main()
