"""Every field once, one function a section. An experiment takes the sections it uses and states what differs."""

from ml_collections import config_dict


def config(**sections):
    """A locked config of `seed` and the given sections: an unknown field or a wrong type is an error from then on."""
    sections |= {"metrics": metrics()} if "sampler" in sections else {}
    result = config_dict.ConfigDict({"seed": 0, **sections})  # seed: of the weights and of every training step
    return result.lock()


def extend(config, **sections):
    """`config` with more sections."""
    config.unlock()
    config.update(sections)
    return config.lock()


def update(section, **fields):
    """A section with some of its fields changed; an unknown field is an error."""
    section.lock()
    section.update(fields)
    return section


def data(name):
    """Where examples come from."""
    return config_dict.ConfigDict(
        {
            "name": name,  # a key of research.data.LOADERS
            "dir": "data",  # folder with the files, or where they are downloaded to
            "batch_size": 128,  # examples a step, over all devices and processes
            "seed": 0,  # of the order of examples, and of generated data
            "image_size": 64,  # pixels; image_folder only
            "size": 1024,  # training examples; generated data only
            # bostonHousing, concrete, energy, power-plant, wine-quality-red, yacht; of small_tabular: iris, glass, ...
            "table": "power-plant",
            "source": "",  # a data set in the place of noise: transport between two sets
            "pairs": "",  # folder of (noise, sample) pairs to train on, written by launch.reflow
            "target": False,  # the table's last column is what is to be told of the others; uci_regression only
            "split": 0,  # 0 .. 19: which of the table's train and test splits; uci_regression only
            "shape": (2,),  # of one example; filled in from the data set
            "levels": config_dict.placeholder(int),  # integer levels of x, None where continuous; filled in
            "num_classes": config_dict.placeholder(int),  # None without labels; filled in
        }
    )


def train():
    """How long, how often, and what to do when it goes wrong; read by research.loop."""
    return config_dict.ConfigDict(
        {
            "num_steps": 1000,
            "log_every": 100,  # steps
            "eval_every": 500,  # steps; 0: at the end only
            "checkpoint_every": 500,  # steps; 0: at the end only
            "keep_last": 2,  # checkpoints
            "keep_best": "",  # also keep the checkpoint with the lowest value of this metric, such as eval/loss
            "eval_examples": 2048,  # held-out examples for eval/loss, at most
            "on_nonfinite": "stop",  # stop | skip (the update is left out, and counted)
        }
    )


def optimizer():
    """Read by research.optimizers and research.programs.gradient."""
    return config_dict.ConfigDict(
        {
            "name": "adamw",  # adam | adamw | lion | sgd | muon
            "learning_rate": 1e-3,  # at the peak of the schedule
            "schedule": "cosine",  # constant | linear | cosine, both to 0 at num_steps
            "warmup_steps": 100,
            "beta1": 0.9,  # also the momentum of sgd and muon
            "beta2": 0.999,
            "weight_decay": 0.0,  # on kernels only: biases, norms and label tables are left alone
            "clip_norm": 1.0,  # global gradient norm; 0: no clipping
            "accumulate": 1,  # slices of a batch taken one after another, to save memory
            "ema_decay": 0.999,  # of the averaged weights that are evaluated and sampled
        }
    )


def net():
    """Read by research.nets.build: the net by name, and the fields of each."""
    return config_dict.ConfigDict(
        {
            "name": "mlp",  # mlp | unet | dit
            "dtype": "float32",  # float32 | bfloat16: of the computation; parameters stay float32
            "remat": False,  # compute a block's inside again in the backward pass, to save memory
            # activation: any name of research.nets.activations, in all three
            "mlp": {"width": 256, "depth": 4, "dropout": 0.0, "activation": "silu"},
            "unet": {
                "channels": (32, 64),  # of each level
                "blocks": 1,  # residual blocks of a level on the way down; one more on the way up
                "attention": (),  # sizes in pixels at which attention follows every block
                "head_dim": 64,  # channels of an attention head
                "scale_shift": True,  # time and label scale and shift a norm (ADM), or are added before it (DDPM)
                "dropout": 0.1,
                "activation": "silu",
            },
            "dit": {  # width, depth, heads of the paper: S 384 12 6, B 768 12 12, L 1024 24 16, XL 1152 28 16
                "width": 384,
                "depth": 12,
                "heads": 6,
                "patch": 2,  # pixels
                "positions": "sincos",  # sincos | rope
                "dropout": 0.0,
                "activation": "gelu_tanh",
                "attention": "xla",  # cudnn: fused, for bfloat16 on NVIDIA GPUs; not for meanflow and likelihoods
                "unroll": 1,  # blocks that a turn of the loop writes out; depth: faster on GPUs, slower to compile
            },
        }
    )


def denoiser(name, **fields):
    """What the `model` sections of diffusion models share."""
    own = {
        "name": name,
        "label_dropout": 0.1,  # share of labels hidden, so that guidance has an unconditional field; 1: unconditional
        "dequantize": True,  # adds uniform noise within a level to integer data
        "standardize": False,  # subtract the mean and divide by the deviation of the first batch; continuous data only
        "flip": False,  # mirror half of the images in training
    }
    return config_dict.ConfigDict(own | fields)


def rectified_flow():
    """The `model` section of research.models.rectified_flow."""
    own = {
        "interpolant": "linear",  # linear | trigonometric | vp: the path between data and noise
        "gamma": 0.0,  # of noise gamma sin^2(pi t) added on the way (stochastic interpolants)
        "time_density": "uniform",  # uniform | logit_normal | mode | u_shaped | steps (num_steps of them, to distil)
        "time_mean": 0.0,  # logit_normal
        "time_std": 1.0,
        "num_steps": 1,  # steps
        "loss": "velocity",  # velocity | x0: whose error is measured
        "huber": 0.0,  # c of the pseudo-Huber distance, per coordinate; 0: squares. For pairs: it moves means
        # independent | exact | sinkhorn (mini-batch optimal transport of noise to data) | given (by data.pairs)
        "coupling": "independent",
        "class_wise": True,  # couple within classes, where the model is told them
    }
    return denoiser("rectified_flow", **own)


def meanflow():
    """The `model` section of research.models.meanflow."""
    own = {
        "time_mean": -0.4,  # of the logit-normal density of both times
        "time_std": 1.0,
        "ratio": 0.25,  # share of examples with a span above 0
        "power": 1.0,  # of the weight (|error|^2 + 1e-3)^-power; 0: squares
        "guidance": 1.0,  # what is learned is guided so, at no cost in sampling
    }
    return denoiser("meanflow", **own)


def shortcut():
    """The `model` section of research.models.shortcut."""
    own = {
        "num_steps": 128,  # of the finest grid, a power of 2
        "ratio": 0.25,  # share of examples whose target is two of its own jumps
    }
    return denoiser("shortcut", **own)


def ddpm():
    """The `model` section of research.models.ddpm."""
    own = {
        "dequantize": False,  # its bound is of the integers themselves
        "num_steps": 1000,  # T
        "schedule": "linear",  # linear | scaled_linear | cosine | sigmoid: of beta; all but cosine need T = 1000
        "beta_start": 1e-4,  # of all but cosine
        "beta_end": 0.02,
        "zero_terminal_snr": False,  # leave no signal at step T; not with eps
        "prediction": "eps",  # eps | x0 | v
        "weight": "simple",  # simple | score | min_snr
        "variance": "beta",  # beta | beta_tilde: of a step back, in the bound; beta is the tighter one
    }
    return denoiser("ddpm", **own)


def score_sde():
    """The `model` section of research.models.score_sde."""
    own = {
        "process": "vp",  # vp | sub_vp | ve | cosine
        "beta_min": 0.1,  # vp and sub_vp
        "beta_max": 20.0,
        "sigma_min": 0.01,  # ve
        "sigma_max": 50.0,
        "prediction": "eps",  # eps | x0 | v | edm; with ve, whose data grow, edm
        "weight": "score",  # score (sigma^2) | likelihood (g^2) | simple | min_snr
        "sigma_data": 0.5,  # standard deviation of the data as the net sees them; edm only
    }
    return denoiser("score_sde", **own)


def edm():
    """The `model` section of research.models.edm."""
    own = {
        "sigma_data": 0.5,  # standard deviation of the data as the net sees them
        "p_mean": -1.2,  # of the logarithm of sigma in training
        "p_std": 1.2,
        "sigma_min": 0.002,  # the last but one level of sampling, whose last is 0
        "sigma_max": 80.0,
    }
    return denoiser("edm", **own)


def ode_diffusion():
    """The `model` section of research.models.ode_diffusion."""
    own = {
        "sigma_data": 0.5,  # standard deviation of the data as the net sees them
        "sigma_min": 0.002,  # where the flow back stops
        "sigma_max": 80.0,
        "power": 1.0,  # sigma = sigma_max t^power
    }
    return denoiser("ode_diffusion", **own)


def classifier():
    """The `model` section of research.models.classifier."""
    return config_dict.ConfigDict(
        {
            "name": "classifier",
            "width": 128,  # units of a hidden layer; two thirds of it where a unit has two inputs
            "depth": 30,  # hidden layers
            "activation": "relu",  # any name of research.nets.activations
            "initializer": "he",  # he | lecun | glorot: of the kernels
        }
    )


def conditioner(**fields):
    """The `conditioner` of a coupling flow's model section: the net that shifts and scales."""
    own = {
        "width": 128,  # units or channels of a hidden layer
        "depth": 2,  # hidden layers, residual blocks (realnvp on images) or transformer blocks (jet)
        "activation": "relu",  # any name of research.nets.activations
        "dropout": 0.0,
        "dtype": "float32",  # float32 | bfloat16: of the net; couplings and log-determinants stay float32
    }
    return config_dict.ConfigDict(own | fields)


def flow(name, net, **fields):
    """What the `model` sections of the coupling flows share."""
    own = {
        "name": name,
        "prior": "gaussian",  # gaussian | logistic: of every coordinate of the latent
        "conditional": False,  # tell the flow the class of an example; log p(x) is then a mean over classes
        "remat": False,  # compute a layer's inside again in the backward pass: exact, and saves most of the memory
        "reversible": False,  # compute its input again too, from its output: memory is flat in depth; float32 alone
        "conditioner": net,
    }
    return config_dict.ConfigDict(own | fields)


def nice():
    """The `model` section of research.models.nice."""
    net = conditioner(width=1000, depth=5)
    return flow("nice", net, prior="logistic", couplings=4, diagonal=True)  # diagonal: a trained scale at the end


def realnvp():
    """The `model` section of research.models.realnvp."""
    own = {
        "couplings": 8,  # of vectors
        "levels": 2,  # of images: each but the last has 3 checkerboard and 3 channel couplings, the last 4
        "scale": "tanh",  # tanh | exp | sigmoid | 2sigmoid: what bounds the log-scale
        "batch_norm": True,  # after every coupling
        "logit": 0.05,  # of images of integers: alpha of the logit transform; 0: none
        "l2_scale": 5e-5,  # penalty on the lengths of weight-normed kernels
    }
    return flow("realnvp", conditioner(), **own)


def glow():
    """The `model` section of research.models.glow; what its class tells is the prior of the last level."""
    own = {
        "levels": 3,
        "steps": 32,  # of a level
        "permutation": "plu",  # plu | direct | householder (1x1 convolutions) | shuffle | reverse
        "coupling": "affine",  # affine | additive
        "scale": "sigmoid",  # sigmoid | exp | 2sigmoid | tanh: what bounds the log-scale of an affine coupling
        "unroll": True,  # write steps out: for CPUs, whose convolutions are slow in loops; False compiles in flat time
    }
    return flow("glow", conditioner(width=512), **own)


def spline_flow():
    """The `model` section of research.models.spline_flow."""
    own = {
        "couplings": 8,
        "bins": 8,  # of a spline
        "bound": 4.0,  # splines act on [-bound, bound] of the normalised data; outside is the identity
    }
    return flow("spline_flow", conditioner(), **own)


def jet():
    """The `model` section of research.models.jet."""
    own = {
        "couplings": 32,
        "patch": 4,  # pixels
        "scale": "2sigmoid",  # 2sigmoid | sigmoid | exp | tanh: what bounds the log-scale
    }
    return flow("jet", conditioner(width=512, activation="gelu_tanh", heads=8), **own)


def gbdt_oblivious():
    """The `model` section of research.models.gbdt_oblivious, and the config of research.trees.fit."""
    return config_dict.ConfigDict(
        {
            "name": "gbdt_oblivious",
            "objective": "squared",  # of trees.objectives; with options: "quantile:alpha=0.8", "softmax:classes=3"
            "num_trees": 1000,
            "block": 10,  # trees in one step of the loop, whose metrics are those after them
            "early_stopping": 0,  # trees without a lower loss on fit's eval_set; 0: none
            "learning_rate": 0.1,
            "depth": 6,
            "l2_leaf_reg": 3.0,
            "score_function": "cosine",  # cosine | l2: of splits
            "random_strength": 0.0,  # noise on scores, in units of the gradients' root mean square
            "borders": "greedy_log_sum",  # greedy_log_sum | quantile | uniform | xgboost | exact
            "border_count": 254,
            "missing": "min",  # min | max | learn | forbid: where missing values go
            "leaf_method": "gradient",  # gradient | newton | newton_full (softmax) | exact
            "leaf_iterations": 1,
            "subsample": 1.0,  # share of the rows that are drawn for a tree
            "mvs": False,  # draw them by minimal variance sampling
            "bagging_temperature": 0.0,  # of the Bayesian bootstrap
            "colsample_bytree": 1.0,  # share of the features that are drawn for a tree
            "colsample_bylevel": 1.0,
        }
    )


def gbdt():
    """The `model` section of research.models.gbdt, and the config of research.trees.fit; names are XGBoost's."""
    return config_dict.ConfigDict(
        {
            "name": "gbdt",
            "objective": "squared",  # of trees.objectives; "softmax:classes=3,factor=2" has XGBoost's curvature
            "num_trees": 1000,
            "block": 10,  # trees in one step of the loop, whose metrics are those after them
            "early_stopping": 0,  # trees without a lower loss on fit's eval_set; 0: none
            "learning_rate": 0.1,
            "depth": 6,
            "newton": True,  # Hessians weigh in the scores, as XGBoost's; False: weights, as Friedman's
            "reg_lambda": 1.0,  # added to a node's Hessians or weights
            "reg_alpha": 0.0,  # taken off a node's gradient
            "gamma": 0.0,  # the least gain of a split
            "min_child_weight": 1.0,  # the least sum of Hessians or weights in a node
            "min_data_in_leaf": 1,  # rows
            "borders": "xgboost",  # xgboost | quantile | uniform | greedy_log_sum | exact
            "border_count": 254,  # with the one of missing values 256 codes, a byte
            "missing": "learn",  # learn | min | max | forbid: where missing values go
            "leaf_method": "newton",  # newton | gradient | newton_full (softmax) | exact
            "leaf_iterations": 1,
            "one_output_per_tree": False,  # a tree for each output, as XGBoost's, instead of leaves of all outputs
            "subsample": 1.0,  # share of the rows that are drawn for a tree
            "mvs": False,  # draw them by minimal variance sampling
            "colsample_bytree": 1.0,  # share of the features that are drawn for a tree
            "colsample_bylevel": 1.0,
            "colsample_bynode": 1.0,
        }
    )


def gblinear():
    """The `model` section of research.models.gblinear."""
    return config_dict.ConfigDict(
        {
            "name": "gblinear",
            "objective": "squared",  # of trees.objectives; with options: "quantile:alpha=0.8", "softmax:classes=3"
            "num_trees": 100,  # rounds, each once through the columns
            "block": 10,  # rounds in one step of the loop
            "learning_rate": 0.5,
            "reg_lambda": 0.0,  # of the squares of weights; both penalties are those of a mean loss
            "reg_alpha": 0.0,  # of their sizes
            "standardize": True,  # columns to mean 0 and deviation 1, so that penalties concern them alike
        }
    )


def random_forest():
    """The `model` section of research.models.random_forest."""
    return config_dict.ConfigDict(
        {
            "name": "random_forest",
            "criterion": "gini",  # gini | entropy: of classes; squared_error | friedman_mse | poisson: of numbers
            "num_trees": 200,
            "block": 10,  # trees in one step of the loop
            "splitter": "best",  # best | random: borders by chance, as in extra trees
            "max_depth": 0,  # the most questions to a leaf; 0: until leaves are pure
            "min_samples_leaf": 1,
            "max_nodes": 0,  # room for each tree, which stops growing there; 0: for all that rows can need
            "max_features": "log2",  # log2 | sqrt | all, a number or a share, as text: how many are drawn
            "features_per": "node",  # node | tree: for which they are drawn
            "bootstrap": True,  # draw rows with replacement; False: all rows, and no oob_error
            "max_samples": 1.0,  # how many rows a tree draws, as a share of them
            "border_count": 0,  # borders of a column, in whose bins trees grow faster; 0: exact trees
        }
    )


def catboost():
    """The `model` section of research.models.catboost: trees as CatBoost's, with its defaults for two classes."""
    own = {
        "cat_features": (),  # columns whose numbers stand for categories, beside those that the data set names
        "one_hot_max_size": 2,  # a column of at most so many categories becomes one for each
        "max_ctr_complexity": 1,  # 2: pairs of columns have statistics, too
        "has_time": False,  # rows are in order of time: statistics see those before; else in a random order
    }
    sampling = {"random_strength": 1.0, "subsample": 0.8, "mvs": True}
    leaves = {"objective": "logistic", "leaf_method": "newton", "leaf_iterations": 10}
    return config_dict.ConfigDict(gbdt_oblivious().to_dict() | {"name": "catboost"} | own | sampling | leaves)


def adaboost():
    """The `model` section of research.models.adaboost."""
    return config_dict.ConfigDict(
        {
            "name": "adaboost",
            "algorithm": "adaboost",  # adaboost | logitboost
            "num_trees": 500,  # stages
            "block": 10,  # stages in one step of the loop
            "learning_rate": 1.0,
            "depth": 1,  # of a stage's tree
            "border_count": 254,  # of a column, all midpoints if they are no more
            "resample": False,  # adaboost: trees see rows that are drawn by their weights
            "label_noise": 0.0,  # share of the training labels that are turned round
        }
    )


def one_pass():
    """The `sampler` section of a flow, whose inverse samples in one pass."""
    return config_dict.ConfigDict(
        {
            "temperature": 1.0,  # scale of the latent that is drawn
            "num_samples": 1024,  # drawn at the end of a run
            "balanced": True,  # where the model is told classes: ask for each equally often
        }
    )


def reflow(**fields):
    """Read by launch.reflow, of a config that is trained as the first round."""
    own = {
        "rounds": 1,  # of reflow after the first training
        "num_pairs": 100000,  # drawn by each round for the next
        "draw": {},  # options of `sample` that draw them, such as {"num_steps": 20}; else the round's `sampler`
        "distill": (1,),  # a student of so many steps each, of the last round; (): none
        "round": {},  # sections with the fields that differ in a round, such as {"train": {"num_steps": 2000}}
        "student": {},  # the same of a student
    }
    return config_dict.ConfigDict(own | fields)


def metrics():
    """Read by research.evaluation."""
    return config_dict.ConfigDict({"features": ""})  # URI of an exported function, for the FID; empty: none


def sampler():
    """Read by a model's `sample`; what a sampler has no use for is left alone."""
    return config_dict.ConfigDict(
        {
            "name": "heun",  # a module of research.samplers
            "num_steps": 50,
            "spacing": "uniform",  # uniform | quadratic | karras | log_snr; of discrete steps also leading | linspace
            "end": config_dict.placeholder(float),  # t of the last step, which calls no net; None: the process's own
            "guidance": 1.0,  # 1: the conditional field; 0: the unconditional one; above 1: guided
            "guidance_interval": (0.0, 1.0),  # of t, in which the field is guided
            "threshold": "none",  # none | static | dynamic: of x0, for integer data
            "rtol": 1e-5,  # adaptive solvers
            "atol": 1e-5,
            "eta": 0.0,  # ddim: share of ddpm's noise
            "variance": "beta_tilde",  # ddpm: beta_tilde | beta
            "lam": 1.0,  # euler_maruyama, reverse_sde: share of the noise of the SDE; 0 is the probability flow
            "S_churn": 0.0,  # edm: noise added on the way
            "snr": 0.16,  # predictor_corrector: of a Langevin step
            "num_samples": 1024,  # drawn at the end of a run
            "balanced": True,  # where the data have classes: ask for each equally often; False: unconditional
        }
    )


def mesh():
    """Read by research.mesh; a restart may change it."""
    return config_dict.ConfigDict(
        {
            "data": -1,  # devices a batch is split over; -1: all that fsdp leaves
            "fsdp": 1,  # devices that parameters are split over too
            "fsdp_min_size": 65536,  # elements; smaller arrays are replicated
        }
    )


def precision():
    """Read by research.precision."""
    return config_dict.ConfigDict(
        {
            "matmul": "",  # JAX's default_matmul_precision; empty: the platform's own
            "deterministic": False,  # XLA's deterministic GPU operations: a resumed run repeats its bits
        }
    )


def is_tiny(arg, *others):
    """True for "tiny", False for "" and the experiment's other arguments. Raises ValueError for any other."""
    if arg not in ("", "tiny", *others):
        raise ValueError(f"there is no variant '{arg}' of this config; choose one of {', '.join(('tiny', *others))}.")
    return arg == "tiny"


def tiny(config, **data_fields):
    """The experiment at a size that runs in seconds on a CPU; `data_fields` replace data where files may be absent."""
    config.train.update({"num_steps": 6, "log_every": 1, "eval_every": 3, "checkpoint_every": 3, "eval_examples": 32})
    config.data.update({"batch_size": 16, "size": 64, **data_fields})
    if "optimizer" in config:
        config.optimizer.warmup_steps = 2
    if "net" in config:
        config.net.mlp.update({"width": 16, "depth": 2})
        config.net.unet.update({"channels": (8,), "blocks": 1})
        config.net.dit.update({"width": 32, "depth": 2, "heads": 2})
    if "conditioner" in config.get("model", {}):
        config.model.conditioner.update({"width": 8, "depth": 1})
        least = {"couplings": 2, "levels": 1, "steps": 2}
        config.model.update({name: number for name, number in least.items() if name in config.model})
    if "sampler" in config:
        config.sampler.update({"num_samples": 32})
    if "num_trees" in config.get("model", {}):
        least = {"num_trees": 12, "block": 2, "depth": 3, "border_count": 15}
        config.model.update({name: number for name, number in least.items() if config.model.get(name)})  # 0: none
    if "num_steps" in config.get("sampler", {}):
        config.sampler.num_steps = 2
    if "reflow" in config:
        config.reflow.update(
            {"num_pairs": 64, "round": {"train": {"num_steps": 4}}, "student": {"train": {"num_steps": 4}}}
        )
    return config
