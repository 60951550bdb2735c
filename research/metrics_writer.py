"""Where a run's numbers go: metrics.jsonl (the truth), timing.jsonl, tensorboard, and a line for who is watching."""

import json
import sys
import time

import tensorboardX
import tqdm

from research.atomic import replacing
from research.errors import UserError

SECONDS_BETWEEN_LINES = 10.0


class MetricsWriter:
    """Writes from process 0 only; lines of metrics.jsonl past `step` are cut, so that a resumed run repeats them."""

    def __init__(self, workdir, step, num_steps, active=True):
        self.active, self.num_steps = active, num_steps
        self.started, self.first, self.spoke, self.said = time.monotonic(), None, 0.0, None
        self.loss, self.bar = "", None
        if not active:
            return
        self.files = {name: _truncated(workdir / f"{name}.jsonl", step) for name in ("metrics", "timing")}
        self.board = tensorboardX.SummaryWriter(str(workdir / "tensorboard"), purge_step=step + 1, flush_secs=30)

    def write(self, step, metrics):
        """Records the numbers of one step; they must not depend on the clock."""
        if not (self.active and metrics):
            return
        self._append("metrics", {"step": step, **metrics})
        for name, value in metrics.items():
            self.board.add_scalar(name, value, step)
        seconds, rate = time.monotonic() - self.started, self._rate(step)
        self._append("timing", {"step": step, "seconds": seconds, "steps_per_second": rate})
        self.loss = next(
            (f"{name} {metrics[name]:.4g}" for name in ("eval/loss", "loss") if name in metrics), self.loss
        )

    def progress(self, step):
        """Moves the bar on a terminal; elsewhere prints a line now and then, and one at the end."""
        now = time.monotonic()
        if self.first is None:
            self.first = step, now  # the rate leaves the first step out: it compiles
        if self.active and self.bar is None and sys.stderr.isatty():
            self.bar = tqdm.tqdm(total=self.num_steps, initial=step, unit="step", dynamic_ncols=True)
        if self.bar is not None:
            self.bar.set_postfix_str(self.loss, refresh=False)
            self.bar.update(step - self.bar.n)
        elif self.active and (now - self.spoke > SECONDS_BETWEEN_LINES or step == self.num_steps != self.said):
            rate = self._rate(step)
            left = f"  {rate:.1f} steps/s  {(self.num_steps - step) / rate:.0f} s left" if rate else ""
            self.say(f"step {step}/{self.num_steps}  {self.loss}{left}")
            self.spoke, self.said = now, step

    def say(self, line):
        """Prints one line for the person watching, without tearing the bar."""
        if self.active:
            tqdm.tqdm.write(line, file=sys.stderr)

    def close(self):
        if self.active:
            for file in self.files.values():
                file.close()
            self.board.close()
            if self.bar is not None:
                self.bar.close()

    def _rate(self, step):
        step_first, time_first = self.first or (step, 0.0)
        return (step - step_first) / max(time.monotonic() - time_first, 1e-9)

    def _append(self, name, record):
        file = self.files[name]
        try:
            file.write(json.dumps(record) + "\n")
            file.flush()
        except OSError as error:
            raise UserError(f"cannot write {file.name}: {error.strerror}; the last checkpoint is whole.") from error


def read(path):
    """The records of a .jsonl file as a list of dicts; a last line cut short by a kill is left out."""
    lines = path.read_text().splitlines() if path.exists() else []
    records = []
    for line in lines:
        try:
            records.append(json.loads(line))
        except ValueError:
            break
    return records


def _truncated(path, step):
    kept = [record for record in read(path) if record["step"] <= step]
    with replacing(path) as file:
        file.write("".join(json.dumps(record) + "\n" for record in kept).encode())
    return path.open("a")
