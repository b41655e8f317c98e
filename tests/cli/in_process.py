"""The command line called in the process of the tests."""

import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from io import StringIO
from types import SimpleNamespace

from operando.cli.console import options
from operando.cli.main import main


def operando(*arguments, cwd):
    """Call the command in this process; a process of its own costs two seconds to start."""
    out, err = StringIO(), StringIO()
    old = sys.argv, options.verbose
    sys.argv = ["operando", *map(str, arguments)]
    try:
        with chdir(cwd), redirect_stdout(out), redirect_stderr(err):
            try:
                main()
                code = 0
            except SystemExit as stop:
                code = int(stop.code or 0)
    finally:
        sys.argv, options.verbose = old
    return SimpleNamespace(returncode=code, stdout=out.getvalue(), stderr=err.getvalue())
