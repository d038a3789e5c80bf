"""The command line: `pellucid COMMAND ...`."""

from pellucid.cli.application import main

__all__ = ["main"]
