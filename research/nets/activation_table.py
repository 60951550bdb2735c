"""What is known of each activation but its code, which is in `activations`. The tests hold every number true."""

from collections.abc import Callable
from math import inf
from typing import NamedTuple


class Activation(NamedTuple):
    """One row of the table. `activations.TABLE` holds the rows complete with their functions."""

    formula: str
    paper: str
    slope_at_0: float | None  # what jax.grad gives at 0; None for functions of vectors
    range: tuple[float, float]  # infimum and supremum, at the starting values of `learned`
    monotone: bool  # non-decreasing in every input
    used_by: tuple[str, ...]
    pieces: int = 1  # inputs a unit
    learned: dict[str, float] = {}  # noqa: RUF012  name and starting value of what a net learns; never written to
    function: Callable | None = None


MCCULLOCH = "McCulloch and Pitts 1943, A logical calculus of the ideas immanent in nervous activity"
WIDROW = "Widrow and Hoff 1960, Adaptive switching circuits"
HUBARA = "Hubara et al. 2016, Binarized neural networks"
HENDRYCKS = "Hendrycks and Gimpel 2016, Gaussian error linear units"
MOBILENET3 = "Howard et al. 2019, Searching for MobileNetV3"
SHAZEER = "Shazeer 2020, GLU variants improve Transformer"
LINE = (-inf, inf)
SILU_MIN, SELU_MIN = -0.27846454276107, -1.7580993408473766

# A row is two or three lines: what the unit computes and who wrote it; then its numbers and who uses it.
# fmt: off
ROWS: dict[str, Activation] = {
    "threshold": Activation("1 if x ≥ 0 else 0", MCCULLOCH,
        0.0, (0, 1), True, ("McCulloch-Pitts neuron", "Rosenblatt's perceptron")),
    "heaviside": Activation("1 if x ≥ 0 else 0", MCCULLOCH,
        0.0, (0, 1), True, ("McCulloch-Pitts neuron", "Rosenblatt's perceptron")),
    "heaviside_straight_through": Activation("1 if x ≥ 0 else 0", HUBARA,
        1.0, (0, 1), True, ("spiking nets with a rectangular surrogate gradient (Wu et al. 2018)",)),
    "sign": Activation("1 if x ≥ 0 else -1", WIDROW,
        0.0, (-1, 1), True, ("ADALINE", "perceptron with labels -1, +1")),
    "sign_straight_through": Activation("1 if x ≥ 0 else -1", HUBARA,
        1.0, (-1, 1), True, ("binarized neural networks", "XNOR-Net")),
    "identity": Activation("x", WIDROW,
        1.0, LINE, True, ("ADALINE in training", "outputs of regression and diffusion nets")),
    "sigmoid": Activation("1 / (1 + exp(-x))",
        "Rumelhart et al. 1986, Learning representations by back-propagating errors",
        0.25, (0, 1), True, ("gates of LSTM and GRU", "logistic regression")),
    "hard_sigmoid": Activation("min(max(x + 3, 0), 6) / 6", MOBILENET3,
        1 / 6, (0, 1), True, ("squeeze-and-excitation of MobileNetV3",)),
    "tanh": Activation("tanh(x)", "LeCun et al. 1998, Efficient BackProp",
        1.0, (-1, 1), True, ("LeNet-5 (scaled)", "LSTM", "output of DCGAN's generator")),
    "hard_tanh": Activation("min(max(x, -1), 1)", "Collobert 2004, Large scale machine learning",
        1.0, (-1, 1), True, ("SENNA", "backward pass of binarized neural networks")),
    "softsign": Activation("x / (1 + |x|)",
        "Turian et al. 2009, Quadratic features and deep architectures for chunking",
        1.0, (-1, 1), True, ("nets of Glorot and Bengio 2010", "speaker embedding of Deep Voice 3")),
    "softplus": Activation("log(1 + exp(x))",
        "Dugas et al. 2001, Incorporating second-order functional knowledge for better option pricing",
        0.5, (0, inf), True, ("density of mip-NeRF", "step size of Mamba")),
    "relu": Activation("max(0, x)",
        "Nair and Hinton 2010, Rectified linear units improve restricted Boltzmann machines",
        0.0, (0, inf), True, ("AlexNet", "ResNet", "the first Transformer")),
    "relu6": Activation("min(max(0, x), 6)", "Krizhevsky 2010, Convolutional deep belief networks on CIFAR-10",
        0.0, (0, 6), True, ("MobileNetV2", "EfficientNet-Lite")),
    "leaky_relu": Activation("x if x ≥ 0 else 0.01 x",
        "Maas et al. 2013, Rectifier nonlinearities improve neural network acoustic models",
        1.0, LINE, True, ("DCGAN's discriminator (slope 0.2)", "YOLO (slope 0.1)")),
    "prelu": Activation("x if x ≥ 0 else a x", "He et al. 2015, Delving deep into rectifiers",
        1.0, LINE, True, ("PReLU-nets", "SRGAN's generator"), learned={"negative_slope": 0.25}),
    "elu": Activation("x if x > 0 else exp(x) - 1",
        "Clevert et al. 2016, Fast and accurate deep network learning by exponential linear units",
        1.0, (-1, inf), True, ("graph attention networks",)),
    "celu": Activation("max(0, x) + min(0, exp(x) - 1)",
        "Barron 2017, Continuously differentiable exponential linear units",
        1.0, (-1, inf), True, ("TorchANI potentials (alpha 0.1)",)),
    "selu": Activation("1.0507 (x if x > 0 else 1.6733 (exp(x) - 1))",
        "Klambauer et al. 2017, Self-normalizing neural networks",
        -SELU_MIN, (SELU_MIN, inf), True, ("self-normalizing networks",)),
    "gelu": Activation("x (1 + erf(x / √2)) / 2", HENDRYCKS,
        0.5, (-0.16997120747990, inf), False, ("RoBERTa", "DeiT", "ConvNeXt")),
    "gelu_tanh": Activation("x (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2", HENDRYCKS,
        0.5, (-0.17004075057125, inf), False, ("GPT-2", "DiT")),
    "quick_gelu": Activation("x sigmoid(1.702 x)", HENDRYCKS,
        0.5, (SILU_MIN / 1.702, inf), False, ("CLIP",)),
    "silu": Activation("x sigmoid(x)",
        "Elfwing et al. 2018, Sigmoid-weighted linear units for neural network function approximation",
        0.5, (SILU_MIN, inf), False, ("EfficientNet", "DDPM's U-Net")),
    "swish": Activation("x sigmoid(β x)", "Ramachandran et al. 2017, Searching for activation functions",
        0.5, (SILU_MIN, inf), False, ("mobile NASNet-A of Ramachandran et al.",), learned={"beta": 1.0}),
    "mish": Activation("x tanh(log(1 + exp(x)))",
        "Misra 2020, Mish: a self regularized non-monotonic activation function",
        0.6, (-0.30884341301725, inf), False, ("YOLOv4",)),
    "hard_swish": Activation("x min(max(x + 3, 0), 6) / 6", MOBILENET3,
        0.5, (-0.375, inf), False, ("MobileNetV3", "LeViT")),
    "squared_relu": Activation("max(0, x)²",
        "So et al. 2021, Primer: searching for efficient Transformers for language modeling",
        0.0, (0, inf), True, ("Primer", "Nemotron-4")),
    "snake": Activation("x + sin²(a x) / a",
        "Ziyin et al. 2020, Neural networks fail to learn periodic functions and how to fix it",
        1.0, LINE, True, ("BigVGAN", "Descript Audio Codec"), learned={"alpha": 1.0}),
    "softmax": Activation("exp(xᵢ) / Σⱼ exp(xⱼ)",
        "Bridle 1990, Probabilistic interpretation of feedforward classification network outputs",
        None, (0, 1), False, ("attention of Transformers", "outputs of classifiers")),
    "maxout": Activation("max(a, b)", "Goodfellow et al. 2013, Maxout networks",
        None, LINE, True, ("maxout networks", "discriminator of the first GAN"), pieces=2),
    "glu": Activation("a sigmoid(b)", "Dauphin et al. 2017, Language modeling with gated convolutional networks",
        None, LINE, False, ("gated convolutional networks", "ConvS2S", "Conformer"), pieces=2),
    "gtu": Activation("tanh(a) sigmoid(b)",
        "van den Oord et al. 2016, Conditional image generation with PixelCNN decoders",
        None, (-1, 1), False, ("gated PixelCNN", "WaveNet"), pieces=2),
    "bilinear": Activation("a b", "Mnih and Hinton 2007, Three new graphical models for statistical language modelling",
        None, LINE, False, ("NAFNet's simple gate",), pieces=2),
    "reglu": Activation("a max(0, b)", SHAZEER,
        None, LINE, False, ("FT-Transformer",), pieces=2),
    "geglu": Activation("a gelu(b)", SHAZEER,
        None, LINE, False, ("Transformer blocks of Stable Diffusion",), pieces=2),
    "swiglu": Activation("a silu(b)", SHAZEER,
        None, LINE, False, ("PaLM", "LLaMA"), pieces=2),
}
# fmt: on
