"""The flags that choose a sampler and its options, the same for every command that samples from a checkpoint."""

import ast
import inspect
import json

from absl import flags

from research import samplers
from research.errors import UserError

NAMED = {
    "sampler": flags.DEFINE_string("sampler", None, "a module of research.samplers; the run's own by default"),
    "num_steps": flags.DEFINE_integer("num_steps", None, "steps of a fixed-step sampler"),
    "guidance": flags.DEFINE_float("guidance", None, "classifier-free: 1 follows the label, 2 exaggerates it"),
    "eta": flags.DEFINE_float("eta", None, "noise of ddim: 0 none, 1 that of ddpm"),
    "spacing": flags.DEFINE_string(
        "spacing", None, "times of the steps: uniform, leading, linspace, quadratic, karras or log_snr"
    ),
    "threshold": flags.DEFINE_string("threshold", None, "of the predicted data: none, static or dynamic"),
    "rtol": flags.DEFINE_float("rtol", None, "relative tolerance of an adaptive sampler"),
    "atol": flags.DEFINE_float("atol", None, "absolute tolerance of an adaptive sampler"),
    "temperature": flags.DEFINE_float("temperature", None, "scale of a flow's latent; the run's own by default"),
}
OPTION = flags.DEFINE_multi_string("option", [], "NAME=VALUE, any option of the sampler, such as lam=0.5 or sde=True")
OWN = {  # no sampler's options
    *("params", "key", "condition", "num_samples", "seed", "start", "experiment", "trajectory"),
    *("noise", "source", "rounded", "ends"),
}


def given():
    """{option: value} of the flags that were given. Raises UserError for an --option that is none, or given twice."""
    options = {name: flag.value for name, flag in NAMED.items() if flag.value is not None}
    for text in OPTION.value:
        name, equals, value = text.partition("=")
        if not (equals and name.isidentifier()):
            raise UserError(f"--option={text} must be NAME=VALUE, such as --option=lam=0.5.")
        if name in options:
            raise UserError(f"--option={text}: {name} is given twice; leave one out.")
        options[name] = _value(value)
    return options


def check(config, options):
    """Raises UserError for an option that is no sampler's, or no number where a number is due."""
    for name in OWN & options.keys():
        raise UserError(f"{name} is no option of a sampler; give options such as num_steps, eta or guidance.")
    own = config.get("sampler", {})  # a model that predicts has none
    sampler = options.get("sampler", own.get("name"))
    known = inspect.signature(samplers.find(sampler)).parameters if sampler else {}
    for name, value in options.items():
        default = own.get(name, known[name].default if name in known else None)
        default = 0.0 if name == "end" else default  # by default the process's own
        whole = type(default) is int
        if isinstance(default, int | float) and not isinstance(value, int if whole else int | float):
            kind = "whole number" if whole else "number"
            raise UserError(f"{name} of the sampler '{sampler}' is a {kind} such as {default}, not {value!r}.")


def _value(text):
    """A Python literal that JSON knows too, else the text itself; true and false are as in JSON."""
    if text in ("true", "false"):
        return text == "true"
    try:
        value = ast.literal_eval(text)
        json.dumps(value)
    except (ValueError, SyntaxError, TypeError):
        return text
    return value
