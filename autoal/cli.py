"""The command line: parses, calls, prints. Bad input ends with exit code 2 and one line on stderr."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import warnings
from collections.abc import Sequence
from typing import NoReturn

import autoal

EXIT_FAULT = 1
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130
COMMANDS = {
    "run": "compare strategies on data sets: learning curves, statistics, pictures, a report",
    "compare": "the same, or statistics and a report over the results of earlier runs",
    "select": "say which samples of your own pool to label next",
    "pool": "write embeddings to disk so that they can be mapped, look at them, check them",
    "strategies": "what strategies there are and what each needs",
    "datasets": "what data sets there are and where they come from",
    "doctor": "what is installed, which backends are live, and why not",
}
EXAMPLES = """examples:
  autoal run --dataset digits --strategy autoal --strategy margin --strategy random --seeds 5 --out results/digits
  autoal run --dataset path/to/set.npz --out results/mine        (arrays x_train, y_train, x_test, y_test)
  autoal compare results/digits results/mine --out results/both
  autoal select --embeddings e.npy --labeled labeled.npy --labels y.npy -n 100 --out picks.csv
  autoal pool import e.parquet POOL && autoal select --embeddings POOL --strategy kcenter -n 100
"""


class UsageError(ValueError):
    """What argparse does not like about the arguments."""


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that raises instead of printing its usage and leaving."""

    def error(self, message: str) -> NoReturn:
        """Raises UsageError."""
        raise UsageError(f"{message} (see {self.prog} --help)")


def build_parser(command: str | None) -> Parser:
    """The parser; only the named command's module is imported, so that help does not wait for torch."""
    parser = Parser(
        prog="autoal",
        description="Says which samples to label next, and learns which query strategy fits the task.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"autoal {autoal.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)
    for name, summary in COMMANDS.items():
        sub = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        if name == command:
            module = importlib.import_module(f"autoal.commands.{name}")
            module.add_arguments(sub)
            sub.set_defaults(call=module.call)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line ``argv`` (default: the process's); gives the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    command = next((word for word in words if not word.startswith("-")), None)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = show_warning  # put back by the context
            arguments = build_parser(command).parse_args(words)
            arguments.call(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        hint = "; the same command goes on where it was" if command in ("run", "compare", "pool") else ""
        print(f"autoal: interrupted{hint}", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of stdout has gone: its business
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, TypeError, OSError, ImportError, MemoryError, RuntimeError) as error:
        if os.environ.get("AUTOAL_DEBUG"):
            raise
        print(f"autoal: {one_line(error)}", file=sys.stderr)
        return EXIT_FAULT if isinstance(error, RuntimeError) else EXIT_BAD_INPUT
    return 0


def show_warning(message: Warning | str, *_: object, **__: object) -> None:
    """A warning on one line of stderr, without the place in the code that it came from."""
    print(f"autoal: warning: {' '.join(str(message).split())}", file=sys.stderr)


def one_line(error: BaseException) -> str:
    """The error's message on one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, RuntimeError):  # of the machine (torch: out of memory, CUDA) or of this program
        return f"{text} (with AUTOAL_DEBUG=1 in the environment the place is shown)"
    return f"out of memory: {text}" if isinstance(error, MemoryError) else text


if __name__ == "__main__":
    sys.exit(main())
