"""The command line of receptive fields: its last line, its pictures, and one sentence for each mistake."""

import sys

import pytest
from PIL import Image

from tests.processes import call

DIGITS = "--config=configs/rectified_flow_digits.py:tiny"


def test_an_architecture_is_a_table_and_a_last_line():
    done = call("receptive_field", "--arch=vgg16", "--input=224")
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert lines[0].split()[:4] == ["layer", "kind", "output", "jump"] and len(lines) == 1 + 1 + 18 + 2
    assert lines[-2].startswith("jump: pixels")
    assert lines[-3].split() == ["pool5", "pool", "7", "32", "212", "90", "16"]
    assert lines[-1] == "size 212, stride 32, padding 90"


def test_a_config_with_and_without_statistics():
    done = call("receptive_field", DIGITS)
    assert done.returncode == 0, done.stderr
    first, second, sentence = done.stdout.splitlines()
    assert first.startswith("with statistics over space: size inf") and second.startswith("without statistics")
    assert "global" in sentence


def test_a_plot_is_written_whole(tmp_path):
    pytest.importorskip("matplotlib")
    done = call("receptive_field", "--arch=lenet5", f"--plot={tmp_path}/lenet.png")
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "lenet.png") as image:
        assert image.width > 1000
    assert [p.name for p in tmp_path.iterdir()] == ["lenet.png"]


def test_a_plot_of_a_configs_net(tmp_path):
    pytest.importorskip("matplotlib")
    done = call("receptive_field", DIGITS, "--config.net.name=mlp", f"--plot={tmp_path}/net.png")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "net.png").stat().st_size > 10000


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "either --arch=NAME or --config"),
        (["--arch=vgg16", DIGITS], "not both"),
        (["--arch=vgg61"], "did you mean 'vgg"),
        (["--arch=alexnet", "--input=40"], "nothing is left at layer 'pool5'"),
        (["--arch=vgg16", "--input=0"], "--input is 0"),
        ([DIGITS, "--input=3"], "--input goes with --arch"),
        (["--config=configs/rectified_flow_toy2d.py:tiny"], "vectors of shape (2,)"),
        (["--arch=vgg16", "--plot=x.bmp"], "must end in .png"),
        (["--arch=vgg16", "--plot=/no/such/x.png"], "there is no folder"),
        (["--arch"], "see --help"),
    ],
)
def test_mistakes_are_one_sentence(arguments, words):
    done = call("receptive_field", *arguments)
    assert done.returncode == 2 and words in done.stderr and done.stderr.count("\n") == 1 and not done.stdout


def test_a_missing_matplotlib_is_named(monkeypatch):
    from research.errors import UserError
    from research.figures import receptive_field as figures

    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UserError, match=r"pip install '\.\[figures\]'"):
        figures.draw_field({"layers": [], "gradient": [1.0], "theory": [[0, 0]]})
