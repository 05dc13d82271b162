"""Where a process spends its time, by py-spy."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from benchmarks.figure import Share
from benchmarks.stores import Options

SAMPLING = ("--format", "raw", "--function", "--threads", "--rate", "250", "--nonblocking")
"""Were the process stopped for each sample, threads that wait would look busy."""

LONGEST = 10
START_WITHIN = 0.5

Work = Callable[[], object]


def profile(options: Options, pid: int, name: str, work: Work) -> list[Share]:
    """Where the process spends its time while ``work`` runs. Where no profile is wanted nothing runs.

    Raises:
        LookupError: there is no py-spy.
        RuntimeError: it could not look inside; the text is its own.
    """
    if options.profile is None:
        return []
    options.profile.mkdir(parents=True, exist_ok=True)
    output = options.profile / f"{name}_{options.database}.txt"
    output.unlink(missing_ok=True)
    sampler = subprocess.Popen(
        [find_sampler(), "record", *SAMPLING, "-o", str(output), "-p", str(pid)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        time.sleep(START_WITHIN)
        work()
    finally:
        sampler.send_signal(signal.SIGINT)
        _, told = sampler.communicate(timeout=60)
    if not output.exists():
        raise RuntimeError(f"py-spy: {told.strip()}")
    return largest_shares(output)


def find_sampler() -> str:
    """The program.

    Raises:
        LookupError: there is none.
    """
    places = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    found = shutil.which("py-spy", path=os.pathsep.join(places))
    if found is None:
        raise LookupError("there is no py-spy: it is in the dependency group benchmarks")
    return found


def largest_shares(samples: Path) -> list[Share]:
    """The functions in which most samples were taken, in py-spy's raw format: one stack a line, its count last."""
    own: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for line in samples.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        _thread, *functions = stack.split(";")
        if functions and count.isdecimal():  # the last line may be cut short
            own[functions[-1]] += int(count)
            total.update(dict.fromkeys(functions, int(count)))
    samples_in_all = own.total()
    return [
        Share(name, count / samples_in_all, total[name] / samples_in_all) for name, count in own.most_common(LONGEST)
    ]
