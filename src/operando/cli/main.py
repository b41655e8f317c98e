"""``operando``: one grammar for everything, a recipe and a run."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Annotated

import typer

import operando
from operando.cli import check, convert, demo, estimate, info, label, new, report, run
from operando.cli.console import complain, options
from operando.core.errors import OperandoError

app = typer.Typer(
    name="operando",
    help="Where the lithium is in a working battery, where it went, and where it will grow next.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with 'operando demo', then 'operando new cell-ct run.yaml'.",
)
for verb in (demo, info, convert, new, check, estimate, run, report):
    app.command(name=verb.__name__.rpartition(".")[2])(verb.command)
app.add_typer(label.app, name="label")


def _version(show: bool) -> None:
    if show:
        print(f"operando {operando.__version__}")
        raise typer.Exit()


@app.callback()
def _everywhere(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    options.verbose = options.verbose or verbose


_VERBOSE = ("-v", "--verbose")


def main() -> None:
    """Entry point: exit 0 done, 1 failed, 2 bad usage; no traceback for a user's mistake unless -v."""
    # Anywhere on the line, since nobody remembers whether it goes before the verb or after.
    words = sys.argv[1:]
    options.verbose = any(word in _VERBOSE for word in words)
    try:
        app(args=[word for word in words if word not in _VERBOSE])
    except OperandoError as error:
        if options.verbose:
            traceback.print_exc()
        complain(str(error))
        sys.exit(1)
    except KeyboardInterrupt:
        complain("stopped. Finished steps are kept: repeat the command to go on.")
        sys.exit(130)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            # The reader of our output went away (`| head`); that is no fault.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(0)
        _unexpected(error)
    except Exception as error:
        _unexpected(error)


def _unexpected(error: Exception) -> None:
    if options.verbose:
        traceback.print_exc()
    complain(f"stopped by an unexpected {type(error).__name__}: {error}. Add -v to see where.")
    sys.exit(1)


if __name__ == "__main__":
    main()
