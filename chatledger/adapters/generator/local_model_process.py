"""The program of the local model's process: llama.cpp's server, for as long as the process that began it lives.

Its argument is the model's file, the first line of its standard input the key that it asks everybody for. It writes
one line, its address, as soon as it can be asked. It ends with its standard input, which the kernel closes when the
other process ends, even by ``kill -9``.
"""

import os
import signal
import sys

import xllamacpp

_SLOTS = 4
_TOKENS_PER_SLOT = 2_048
_MOST_THREADS = 4
_NICENESS = 10
_ERRORS_ONLY = 1


def main() -> None:
    """Serve until standard input ends."""
    # A terminal and a service manager signal all processes at once; the server still ends its answers, and then this.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.nice(_NICENESS)
    key = sys.stdin.readline().strip()
    try:
        server = xllamacpp.Server(_parameters(sys.argv[1], key))
    except RuntimeError as error:
        sys.exit(f"the local model does not start: {error}")
    print(server.listening_address, flush=True)  # noqa: T201 - this is how it says where it is
    _fall_silent()
    sys.stdin.read()
    os._exit(0)  # the server's own end would wait for its answers


def _parameters(model: str, key: str) -> xllamacpp.CommonParams:
    parameters = xllamacpp.CommonParams()
    parameters.model.path = model
    parameters.model_alias = {"local"}
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.api_keys = [key]
    parameters.n_parallel = _SLOTS
    parameters.n_ctx = _SLOTS * _TOKENS_PER_SLOT
    # One core is left to the server, which has its streams to feed.
    threads = max(1, min(_MOST_THREADS, (os.cpu_count() or 1) - 1))
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = threads
    parameters.cache_ram_mib = 0  # else it keeps gigabytes of earlier prompts
    parameters.warmup = False
    parameters.ui = False
    parameters.offline = True
    parameters.verbosity = _ERRORS_ONLY
    return parameters


def _fall_silent() -> None:
    """What llama.cpp says while it starts belongs in the server's log; what it says of a question may quote it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.dup2(nowhere, sys.stderr.fileno())


if __name__ == "__main__":
    main()
