"""A file gets to its place whole, or not at all."""

import contextlib
import os
import pathlib
import uuid


@contextlib.contextmanager
def replacing(path):
    """A binary file under a temporary name beside `path`, moved to `path` when the block ends without an error."""
    path = pathlib.Path(path)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with temporary.open("wb") as file:
            yield file
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
