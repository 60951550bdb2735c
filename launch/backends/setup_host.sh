#!/usr/bin/env bash
# Makes the Python environment of one host from the files beside this code; run again it changes nothing.
#
#   setup_host.sh [--accelerator=tpu|cuda|cpu] [--venv=DIR] [--bucket=gs://BUCKET[/FOLDER] --mount=DIR]
#
# The accelerator is found out by default. PYTHON chooses an interpreter. With --bucket, the bucket is mounted as well.
# Ends with 2 and one sentence where something is missing.
set -euo pipefail

fail() {
  echo "error: $*" >&2
  exit 2
}

code=$(cd "$(dirname "$0")/../.." && pwd)
accelerator="" venv=venv bucket="" mount=""
for argument in "$@"; do
  case $argument in
    --accelerator=*) accelerator=${argument#*=} ;;
    --venv=*) venv=${argument#*=} ;;
    --bucket=*) bucket=${argument#*=} ;;
    --mount=*) mount=${argument#*=} ;;
    *) fail "'$argument' is not known; it takes --accelerator, --venv, --bucket and --mount, each with =VALUE." ;;
  esac
done

if [ -z "$accelerator" ]; then
  accelerator=cpu
  if command -v nvidia-smi > /dev/null; then accelerator=cuda; fi
  if [ -e /dev/accel0 ] || [ -e /dev/vfio/0 ]; then accelerator=tpu; fi
fi
case $accelerator in
  tpu | cuda | cpu) ;;
  *) fail "--accelerator=$accelerator must be tpu, cuda or cpu." ;;
esac

# The newest interpreter that constraints were measured with, else any that is new enough.
version() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2> /dev/null; }
python=""
for candidate in ${PYTHON:-python3.12 "$HOME/.local/bin/python3.12" python3.11 "$HOME/.local/bin/python3.11" python3}; do
  found=$(version "$candidate") || continue
  if [ "${found%%.*}" -gt 3 ] || { [ "${found%%.*}" -eq 3 ] && [ "${found#*.}" -ge 11 ]; }; then
    python=$candidate
    break
  fi
done
if [ -z "$python" ]; then
  fail "Python 3.11 or newer is needed and ${PYTHON:-python3} is $(version "${PYTHON:-python3}" || echo absent);" \
    "'pip install --user uv && ~/.local/bin/uv python install 3.12' gets one, or name another by PYTHON."
fi

for file in requirements.txt pyproject.toml; do
  [ -f "$code/$file" ] || fail "there is no $file in $code; submit from a checkout, not from an installed package."
done
constraints=$code/constraints-$found.txt
packages=(-r "$code/requirements.txt")
if [ -f "$constraints" ]; then packages+=(-c "$constraints"); else constraints=/dev/null; fi

# The stamp's name tells what the environment was made of.
stamp=$venv/made-$(cat "$code/requirements.txt" "$code/pyproject.toml" "$constraints" <(echo "$found $accelerator") | cksum | tr ' ' -)
if [ ! -f "$stamp" ]; then
  "$python" -m venv --clear "$venv" ||
    fail "$python cannot make an environment; on Debian or Ubuntu 'sudo apt-get install python$found-venv' mends that."
  if [ "$accelerator" != cpu ]; then
    extra=$("$venv/bin/python" -c "import sys, tomllib
print(*tomllib.load(open(sys.argv[1], 'rb'))['project']['optional-dependencies'][sys.argv[2]])" "$code/pyproject.toml" "$accelerator")
    read -ra extra <<< "$extra"
    packages+=("${extra[@]}")
  fi
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "${packages[@]}" ||
    fail "pip could not install the packages and says why above; mend that and run the same command again."
  touch "$stamp"
fi

if [ -n "$bucket" ]; then
  [ -n "$mount" ] || fail "--bucket=$bucket needs --mount=DIR."
  mkdir -p "$mount"
  if ! mountpoint -q "$mount"; then
    command -v gcsfuse > /dev/null || fail "gcsfuse is not on PATH; install the package gcsfuse of Google Cloud."
    path=${bucket#gs://}
    only=()
    case $path in */*) only=(--only-dir "${path#*/}") ;; esac
    # Hosts must see each other's folders at once, and a checkpoint's folder is renamed when it is whole.
    gcsfuse --implicit-dirs --metadata-cache-ttl-secs=0 --metadata-cache-negative-ttl-secs=0 \
      --rename-dir-limit=100000 "${only[@]}" "${path%%/*}" "$mount" ||
      fail "gcsfuse could not mount $bucket and says why above."
  fi
fi
echo "ready: $("$venv/bin/python" --version), $accelerator${bucket:+, $bucket at $mount}"
