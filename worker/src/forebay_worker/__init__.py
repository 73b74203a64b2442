"""Forebay's worker. What a Python handler needs is exported here; everything else is the program `forebay-worker`."""

from forebay_worker.api import DeadLetter, Drop, Headers, Retry, Webhook

__all__ = ["DeadLetter", "Drop", "Headers", "Retry", "Webhook"]
