"""The console command `nnrec`, and `python -m nnrec`."""

import sys
from pathlib import Path

from nnrec.commands import cli
from nnrec.core import calling
from nnrec.spark.__main__ import COMMANDS as SPARK


def main() -> None:
    """Hands over to the command that is named."""
    program = "python -m nnrec" if Path(sys.argv[0]).name == "__main__.py" else "nnrec"
    if program == "nnrec":
        sys.path.append(str(Path.cwd()))  # as `python -m` does: a model or reader of the user's may lie here
    calling.started_by(f"{program} {{}}")
    cli.main(cli.COMMANDS | {f"spark {name}": command for name, command in SPARK.items()}, program)


if __name__ == "__main__":
    main()
