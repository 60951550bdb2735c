"""The command line that compiles for TPUs: its sentences everywhere, and, with libtpu, real topologies."""

import importlib.util
import json
import pickle

import pytest

from tests.processes import call

TOY = "--config=configs/rectified_flow_toy2d.py:tiny"
LIBTPU = importlib.util.find_spec("libtpu") is not None
needs_libtpu = pytest.mark.skipif(not LIBTPU, reason="libtpu is not installed: pip install -e '.[tpu]'")


def mistaken(done, *words):
    """Asserts one sentence on stderr that has the words, and status 2."""
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert all(word in done.stderr for word in words), done.stderr


@pytest.mark.parametrize(
    "arguments, words",
    [
        ([TOY], ["--topology is missing"]),
        (["--topology=v5e:2x2"], ["--config is missing"]),
        ([TOY, "--topology=v5e:3x3"], ["no topology 'v5e:3x3'", "16x16"]),
        ([TOY, "--topology=v5e:2x2", "--num_slices=0"], ["--num_slices is 0"]),
        ([TOY, "--topology=v5e:2x2", "--what=serve"], ["train", "sample", "boosting"]),
        ([TOY + "x", "--topology=v5e:2x2"], ["tinyx"]),
        ([TOY, "--topology=v5e:2x2", "--config.mesh.fsdq=2"], ["fsdq", "mesh.fsdp"]),
    ],
    ids=["topology", "config", "unknown", "slices", "what", "variant", "field"],
)
def test_mistakes_are_sentences(arguments, words):
    mistaken(call("aot", *arguments), *words)


@pytest.mark.skipif(LIBTPU, reason="libtpu is installed")
def test_libtpu_that_is_not_there():
    mistaken(call("aot", TOY, "--topology=v5e:2x2"), "libtpu, which is not installed", "pip install -e '.[tpu]'")


@needs_libtpu
@pytest.mark.parametrize("sizes", ["data=3,fsdp=3", "fsdp=5", "data=x", "rows=4", "fsdp=-1", "fsdp=0"])
def test_meshes_that_cannot_be(sizes):
    done = call("aot", TOY, "--topology=v5e:2x2", f"--mesh={sizes}")
    mistaken(done, *(["devices; 4 are here"] if sizes in ("data=3,fsdp=3", "fsdp=5") else [sizes, "is not"]))


@needs_libtpu
@pytest.mark.cluster
def test_a_report_as_json_and_the_executable(tmp_path):
    done = call("aot", TOY, "--topology=v5e:2x2", "--format=json", "--mesh=data=2,fsdp=2", f"--save={tmp_path}/x/step")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["fits"] is True and found["mesh"] == {"data": 2, "fsdp": 2} and found["rows"] == 16
    sizes = found["bytes_per_device"]
    parts = ("arguments", "results", "temporaries", "code")
    assert sizes["total"] == sum(sizes[part] for part in parts) - sizes["reused"] < found["hbm_per_device"] == 2**34
    assert sum(found["state_per_device"].values()) < sizes["arguments"] < 100 * sum(found["state_per_device"].values())
    gradients = found["collectives"]["all-reduce"]
    assert gradients["count"] >= 1 and gradients["bytes"] >= found["state_per_device"]["params"]  # f32, summed
    assert found["flops"] > 0 and found["compile_seconds"] > 0 and found["loops_of_unknown_length"] == 0
    assert found["roofline_bound"]["limit"] in ("hbm", "ici") and found["roofline_bound"]["efficiency"] < 1
    program, *trees = pickle.loads((tmp_path / "x" / "step").read_bytes())
    assert len(program) > 1000 and len(trees) == 2


@needs_libtpu
@pytest.mark.cluster
def test_slices_and_what_does_not_fit():
    done = call("aot", TOY, "--topology=v5e:2x2", "--num_slices=2", "--config.data.batch_size=12")
    assert done.returncode == 0, done.stderr
    assert "v5e:2x2, 2 slices: mesh data 8 x fsdp 1, rows 16" in done.stdout and "dcn all-reduce" in done.stdout
    assert "note: batch of 16: 12 does not divide over 8 devices" in done.stdout and "no step takes less" in done.stdout
    done = call("aot", TOY, "--topology=v5e:2x2", "--format=json", "--config.data.batch_size=800000000")
    mistaken(done, "GiB of HBM a device and 15.75 are there", "optimizer.accumulate")
    assert json.loads(done.stdout)["fits"] is False
    mistaken(call("aot", TOY, "--topology=v5e:2x2", "--num_slices=2", "--mesh=fsdp=8"), "2 slices of 4 devices")
