"""What every command line shares: flags, one sentence for a mistake, and exit codes that a launcher can tell apart."""

import ctypes
import os
import signal
import sys

import jax
from absl import app, flags, logging
from ml_collections import config_flags

from research import sweep, uri
from research.errors import UserError
from research.interrupts import Preempted

# Also 0: finished; 1: a defect, with its traceback; 130: Ctrl-C, saved.
EXIT_MISTAKE, EXIT_PREEMPTED = 2, 75
LAUNCHER = "LAUNCHER_PID"  # in the environment of a process that is to end with its launcher
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def config_flag():
    """--config=FILE.py[:ARG] and --config.FIELD=VALUE."""
    return config_flags.DEFINE_config_file("config", None, "the experiment: configs/NAME.py or configs/NAME.py:tiny")


def workdir_flag(description="folder of the run, or its URI; a run that was stopped goes on where it left off"):
    """--workdir=DIR."""
    return flags.DEFINE_string("workdir", None, description)


def features_flag(default, description):
    """--features=URI."""
    return flags.DEFINE_string("features", default, f"URI of an exported function, for the FID{description}")


def run(main, required=()):
    """Parses the flags and calls main(); a UserError ends with its sentence and status 2."""
    follow_launcher()
    signal.signal(signal.SIGTERM, _end)
    sys.unraisablehook = _quiet
    sys.argv = _joined(sys.argv)
    for name in required:  # defined here for the command: its --help shows them too
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flags.FLAGS[name])
    try:
        app.run(lambda _: _guarded(main, required), flags_parser=_parse)
    except KeyboardInterrupt:
        sys.exit(130)


def follow_launcher():
    """Asks Linux for a SIGTERM when the launcher of this process ends, also by a SIGKILL that it cannot pass on.

    Otherwise its trials would go on, and the same command again would train them a second time beside themselves.
    """
    launcher = os.environ.pop(LAUNCHER, None)
    if launcher and sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != int(launcher):  # it ended before this one could ask
            sys.exit(EXIT_PREEMPTED)


def _end(number, _):
    """What SIGTERM does where nobody catches it to save first: every command goes on from what it has written."""
    signal.signal(number, signal.SIG_DFL)  # a second one acts at once
    print("stopped by SIGTERM; the same command goes on from what is written.", file=sys.stderr)
    sys.exit(EXIT_PREEMPTED)


def _joined(argv):
    """Arguments with --config FILE as one word, in which the others look for it."""
    i = argv.index("--config") if "--config" in argv[:-1] else None
    return argv if i is None else [*argv[:i], f"--config={argv[i + 1]}", *argv[i + 2 :]]


def _quiet(unraisable):
    """Leaves out what tensorstore's threads print of a failed write whose event loop is gone: a sentence says it."""
    if str(unraisable.exc_value) != "Event loop is closed":
        sys.__unraisablehook__(unraisable)


def fail(sentence):
    """Ends the process with one sentence on stderr."""
    print(f"error: {sentence}", file=sys.stderr, flush=True)
    sys.stdout.flush()
    os._exit(EXIT_MISTAKE)  # at once: threads of a failed write would print their tracebacks below the sentence


def _guarded(main, required):
    logging.set_verbosity(logging.FATAL)  # orbax reports every phase of a save, and errors that end up in ours
    for name in required:
        if flags.FLAGS[name].value is None:
            fail(f"--{name} is missing; see --help.")
    if jax.config.jax_enable_x64:
        fail("JAX_ENABLE_X64 is on; what needs 64 bits here asks for them by itself, and all else has 32: unset it.")
    try:
        main()
    except UserError as error:
        fail(" ".join(str(error).split()))
    except Preempted as stop:
        print(f"{stop}; the same command goes on from there.", file=sys.stderr)
        sys.exit(130 if stop.signal == signal.SIGINT else EXIT_PREEMPTED)
    except OSError as error:
        fail(f"{error.strerror or error}: {error.filename or 'a file of the run'}; mend that and run again.")


def _parse(argv):
    """The positional arguments left after the flags; a wrong flag or config field is one sentence."""
    try:
        rest = flags.FLAGS(argv)
        if "config" in flags.FLAGS and flags.FLAGS["config"].present:
            sweep.load_module(_config_file(argv))  # config_flags would complain at the first use only
    except Exception as error:
        if isinstance(error, flags.Error | AttributeError | KeyError | TypeError | ValueError | OSError | UserError):
            _explain(argv, error)
        raise
    if len(rest) > 1:
        fail(f"'{rest[1]}' is not a flag; flags start with --, see --help.")
    return rest


def _explain(argv, error):
    """Names the config field that a command line got wrong, else repeats the parser's own words."""
    overrides = [a.removeprefix("--config.").partition("=") for a in argv if a.startswith("--config.")]
    try:
        if any(a.startswith("--config=") for a in argv):
            module = sweep.load_module(_config_file(argv))
            if not hasattr(module, "get_config"):
                fail(f"{_config_file(argv)} is no experiment: it has no get_config.")
            config = module.get_config(_config_file(argv, arg=True))
            for field, _, value in overrides:
                sweep.check(config, field)
                if f"--config.{field}={value}" in str(error):
                    kind = type(sweep.flatten(config.to_dict())[field]).__name__
                    fail(f"config field '{field}' takes a {kind}, not '{value}'.")
        elif overrides:
            fail("--config=configs/NAME.py must come with --config.FIELD=VALUE.")
    except (UserError, ValueError) as mistake:  # a config says by a ValueError which variants it has
        fail(str(mistake))
    if isinstance(error, flags.Error):
        fail(f"{str(error).splitlines()[0]}; see --help.")


def _config_file(argv, arg=False):
    """The path given by --config, or what stands behind its colon."""
    spec = next((a.partition("=")[2] for a in argv if a.startswith("--config=")), "")
    return spec.partition(":")[2 if arg else 0]


def config_file():
    """The file given by --config, without its argument."""
    return _config_file(sys.argv)


def positive(value, name):
    """`value`, or a UserError where it is below 1."""
    if value < 1:
        raise UserError(f"--{name} is {value}; it must be at least 1.")
    return value


def path(value):
    """A pathlib.Path with ~ expanded. Raises UserError for a URI of anything but a file here."""
    if (found := uri.local(value)) is None:
        raise UserError(f"{value} is no path on this machine; copy it here and name the copy.")
    return found
