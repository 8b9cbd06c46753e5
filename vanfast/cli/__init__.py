"""The command line `vanfast`: picks a subcommand, loads its module alone, and turns errors into one line.

A subcommand is a module with `configure(parser)`, which adds its arguments, and `run(arguments) -> int | None`,
its exit code. Exit codes: 0 done, 1 something outside failed, 2 wrong arguments, 130 interrupted.
"""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from argparse import Namespace
from collections.abc import Callable, Sequence

from vanfast.cli.parser import Parser, plain_warning

COMMANDS = {
    "train": "train a network on a spin system",
    "fit": "fit a network to configurations by maximum likelihood",
    "sample": "draw samples from a trained network into a file",
    "evaluate": "observables of a trained network, with errors, beside exact values",
    "overlaps": "overlaps of samples with each other, and with the patterns of a Hopfield model",
    "exact": "exact and mean-field values of a spin system",
    "mcmc": "Monte Carlo: configurations and observables of a spin system",
    "inverse": "couplings from samples or from magnetisations and correlations",
    "couplings": "couplings that an SK network has learnt in its first layer",
    "info": "version, instruction sets, threads and backends",
    "reproduce": "experiments of the papers: data and figures",
    "demo": "the whole way in three minutes: train, sample, compare with the exact solution",
    "bench": "measure sampling speed against its rivals",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line `argv` (default: the process's own); returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = Parser(prog="vanfast", description="Fast exact sampling from autoregressive networks.")
    parser.add_argument("--version", action="store_true", help="print the version and leave")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)
    chosen = next((word for word in words if not word.startswith("-")), None)
    for name, summary in COMMANDS.items():
        sub = commands.add_parser(name, help=summary, description=summary)
        sub.add_argument("--traceback", action="store_true", help="show where an error comes from")
        if name == chosen:
            module = f"vanfast.cli.{name}"
            try:
                command = importlib.import_module(module)
            except ModuleNotFoundError as error:
                if error.name != module:
                    raise
                print(f"vanfast {name}: not part of this installation", file=sys.stderr)
                return 1
            command.configure(sub)
    try:
        arguments = parser.parse_args(words)
    except SystemExit as leaving:  # argparse has said what it had to
        return int(leaving.code or 0)
    if arguments.version:
        from vanfast import __version__

        print(__version__)
        return 0
    if arguments.command is None:
        parser.print_help()
        return 2
    with warnings.catch_warnings():
        warnings.showwarning = plain_warning(arguments.command)
        return _guarded(arguments.command, command.run, arguments)


def _guarded(name: str, run: Callable[[Namespace], int | None], arguments: Namespace) -> int:
    """Runs a subcommand; every foreseeable error becomes one line on standard error."""
    from vanfast.errors import BackendUnavailable, MissingDependency

    try:
        return int(run(arguments) or 0)
    except KeyboardInterrupt as stopped:
        code, message = 128 + getattr(stopped, "signum", 2), str(stopped) or "interrupted"
    except BrokenPipeError:
        # The reader of our output has left: nothing to say, and nobody to say it to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, TypeError, FileNotFoundError, FileExistsError, BackendUnavailable) as error:
        if arguments.traceback:
            raise
        code, message = 2, str(error)
    except (OSError, MissingDependency, ArithmeticError, MemoryError, RuntimeError) as error:
        # torch reports a lack of memory as a RuntimeError; other ones are ours to find
        if arguments.traceback or (isinstance(error, RuntimeError) and "allocate memory" not in str(error)):
            raise
        code, message = 1, str(error) or type(error).__name__
    print(f"vanfast {name}: {' '.join(message.split())}", file=sys.stderr)
    return code
