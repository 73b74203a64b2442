"""forebay resume: the other direction of pause, and kept with it."""

from forebay_cli.commands.pause import resume as command

__all__ = ["command"]
