"""Run the Python blocks of a Markdown file, top to bottom, in one namespace and an empty folder.

Usage: python tests/run_readme.py README.md. A block fenced as ```python runs; any other is text.
"""

import os
import re
import sys
import tempfile
import warnings
from pathlib import Path


def main(paths: list[str]) -> None:
    count = 0
    for name in paths:
        text = Path(name).read_text(encoding="utf-8")
        namespace: dict[str, object] = {"__name__": "__readme__"}
        here = os.getcwd()
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            try:
                for match in re.finditer(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
                    line = text[: match.start()].count("\n") + 2
                    code = compile("\n" * (line - 1) + match.group(1), name, "exec")
                    with warnings.catch_warnings():
                        warnings.simplefilter("error")
                        exec(code, namespace)
                    count += 1
            finally:
                os.chdir(here)
    if not count:
        sys.exit(f"{', '.join(paths)}: no ```python block was found, so nothing was checked")
    print(f"{count} blocks of {', '.join(paths)} ran")


if __name__ == "__main__":
    main(sys.argv[1:])
