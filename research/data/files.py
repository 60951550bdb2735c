"""Files of a data set: looked for first, downloaded and checked second, never half written."""

import hashlib
import http.client
import pathlib
import shutil
import sys
import urllib.error
import urllib.request

import tqdm

from research.atomic import replacing
from research.errors import UserError


def find(dir, name, filenames):
    """The first of `filenames` that is in `<dir>/<name>/` or else in `<dir>/`, as a Path; None if there is none."""
    top = pathlib.Path(dir).expanduser()
    paths = (folder / filename for folder in (top / name, top) for filename in filenames)
    return next((path for path in paths if path.exists()), None)


def fetch(dir, name, filename, url, checksum):
    """The Path of a file found in the folders of `find`, or downloaded to `<dir>/<name>/`.

    checksum: "md5:..." or "sha256:..." of a download; a file found is not held to it, since it may be re-packed.
    Raises UserError, with the address, the checksum and the folder, if there is no network or another file arrives.
    """
    if (found := find(dir, name, [filename])) is not None:
        return found
    path = pathlib.Path(dir).expanduser() / name / filename
    advice = f"put {url} ({checksum}) into {path.parent} yourself, or name the folder that holds it by data.dir."
    try:
        print(f"downloading {url} to {path.parent}", file=sys.stderr)
        with urllib.request.urlopen(url, timeout=20) as response:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as file:
                size = int(response.headers.get("Content-Length") or 0) or None
                with tqdm.tqdm.wrapattr(response, "read", size, desc=filename, disable=None) as body:
                    shutil.copyfileobj(body, file)
                file.flush()
                if (got := digest(file.name, checksum)) != checksum:
                    raise UserError(f"{url} arrived with the checksum {got}, not {checksum}; {advice}")
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        raise UserError(f"{filename} is not in {path.parent} and its download failed ({error}); {advice}") from error
    return path


def digest(path, checksum):
    """The checksum of a file by the algorithm that `checksum` starts with, in the same form."""
    algorithm = checksum.partition(":")[0]
    with open(path, "rb") as file:
        return f"{algorithm}:{hashlib.file_digest(file, algorithm).hexdigest()}"
