"""How sure it is what is said of a provider."""

from enum import StrEnum


class Confidence(StrEnum):
    """Where it was read."""

    PUBLISHED = "published"  # in the provider's documentation or in a library of its own
    REPORTED = "reported"  # in what others wrote to receive its webhooks
