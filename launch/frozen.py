"""A config that was resolved at submission: --config=launch/frozen.py:FILE.json."""

import json

from ml_collections import config_dict


def get_config(path):
    """The locked config in a JSON file, as `research.workdir.freeze` wrote it."""
    with open(path) as file:
        return config_dict.ConfigDict(_tuples(json.load(file))).lock()


def _tuples(value):
    """JSON's value with tuples for lists, as configs have them."""
    if isinstance(value, dict):
        return {name: _tuples(x) for name, x in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
