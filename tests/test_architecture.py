"""Who may import whom, read from the source: the house's rule as a law."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parent.parent
EVERYONE = {"contracts", "errors", "atomic", "uri"}
HELPERS = {"precision", "workdir", "checkpoint", "metrics_writer", "mesh", "interrupts"}  # the loop's own
MATH = {"noise", "parameterize", "samplers", "likelihood", "nets", "bijectors", "oracle", "transport", "trees"}
ALLOWED = {  # room: the rooms of research/ it may import, besides itself and EVERYONE
    "contracts": set(),
    "errors": set(),
    "uri": set(),
    "nets": set(),
    "noise": set(),
    "bijectors": set(),
    "trees": set(),
    "oracle": {"noise", "samplers"},
    "parameterize": {"noise"},
    "samplers": {"noise", "parameterize"},
    "likelihood": {"noise", "samplers", "parameterize"},
    "continuity": {"noise", "likelihood", "samplers"},
    "exact_score": {"noise", "likelihood", "samplers", "oracle", "metrics"},
    "transport": {"noise", "samplers"},
    "encoding": set(),
    "receptive_field": set(),
    "mapreduce": set(),
    "moments": {"mapreduce"},
    "flow": {"bijectors", "likelihood", "encoding", "nets"},
    "latent": {"encoding"},
    "diffusion": {"noise", "parameterize", "samplers", "likelihood", "encoding", "nets", "transport"},
    "models": MATH | {"encoding", "flow", "diffusion"},
    "data": {"trees"},  # the borders of shards
    "metrics": {"nets"},
    "figures": {"nets", "receptive_field", "results", "evaluation", "workdir", "data", "models", "trees"},
    "reproduce": {"figures", "workdir"},  # items, in the room papers, may import all but launch and configs
    "loop": HELPERS,
    "aot": HELPERS | {"loop", "experiment", "evaluation", "sampling", "programs", "nets", "data"},
    "programs": {"optimizers", "models", "trees", "mesh", "data"},
    **dict.fromkeys(HELPERS, HELPERS),
}


def imports(file):
    """Dotted names a file imports."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def files(top):
    return sorted((ROOT / top).rglob("*.py"))


def room(file):
    return file.relative_to(ROOT / "research").parts[0].removesuffix(".py")


@pytest.mark.parametrize("file", files("research"), ids=lambda f: str(f.relative_to(ROOT)))
def test_research_imports_only_what_its_room_may(file):
    found = {name.split(".")[1] for name in imports(file) if name.startswith("research.")}
    if room(file) in ALLOWED and file.parent.name != "papers":
        assert found <= ALLOWED[room(file)] | EVERYONE | {room(file)}
    assert not any(name.split(".")[0] == "launch" for name in imports(file))
    if room(file) != "benchmarks":
        assert not any(name.split(".")[0] == "configs" for name in imports(file))


@pytest.mark.parametrize("file", files("configs"), ids=lambda f: f.stem)
def test_configs_import_only_ml_collections_and_configs(file):
    assert {name.split(".")[0] for name in imports(file)} <= {"ml_collections", "configs"}


def test_flax_stays_in_nets():
    users = {room(file) for file in files("research") if any(n.startswith("flax.linen") for n in imports(file))}
    assert users == {"nets"}


def test_nothing_that_is_not_wanted_is_imported():
    unwanted = {"tensorflow", "torch", "distrax", "clu", "tensorflow_probability", "haiku"}
    peers = {ROOT / "research" / "benchmarks" / f"{what}_peers" for what in ("flow", "sampler")}  # where they can
    for file in [*files("research"), *files("launch"), *files("configs")]:
        assert peers & set(file.parents) or not unwanted & {name.split(".")[0] for name in imports(file)}, file


def test_the_rule_sees_a_violation(tmp_path):
    file = tmp_path / "bad.py"
    file.write_text("from research.models import x\nimport research.loop\nimport launch.run\n")
    assert set(imports(file)) == {"research.models.x", "research.loop", "launch.run"}
