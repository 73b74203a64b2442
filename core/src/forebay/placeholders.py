"""The placeholders that the path and the query of a destination's URL can hold: which there are, and where. Pure."""

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
KNOWN = "{path}, {eventType}, {id} and {header.NAME}, and {query} after the ?"
_NAMED = frozenset(("path", "query", "eventType", "id"))
_HEADER = re.compile(r"header\.([!#$%&'*+\-.^_`|~0-9A-Za-z]+)")
# What stands in a URL is read by everybody on its way.
_SECRET = frozenset(("authorization", "cookie", "proxy-authorization"))


def header_of(name: str) -> str | None:
    """The header that a placeholder's name stands for, None for another one."""
    match = _HEADER.fullmatch(name)
    return match[1] if match else None


def templated(url: str) -> bool:
    """Whether a URL has placeholders, or what somebody may have meant as one."""
    return "{" in url or "}" in url


def misplaced(url: str) -> Iterator[tuple[str, str]]:
    """What is wrong with the braces of a URL: each fault with what to do instead."""
    parts = urlsplit(PLACEHOLDER.sub(lambda match: f"{{{match[1].replace('?', '').replace('#', '')}}}", url))
    if "{" in parts.netloc or "}" in parts.netloc:
        yield (
            "the host can not depend on a webhook",
            "write the host out; placeholders stand in the path and in the query",
        )
    if "{" in PLACEHOLDER.sub("", url) or "}" in PLACEHOLDER.sub("", url):
        yield "a brace that belongs to no placeholder", "write %7B for { and %7D for }"
    for name in dict.fromkeys(PLACEHOLDER.findall(url)):
        header = header_of(name)
        if name not in _NAMED and header is None:
            yield f"{{{name}}} is no placeholder", f"there are {KNOWN}; a brace itself is %7B"
        elif header is not None and header.lower() in _SECRET:
            yield (
                f"{{{name}}} would show a secret to everybody on the way",
                "leave it out; the header itself is passed on",
            )
    if "{query}" in parts.path:
        yield "{query} stands in the path", "write it after the ?"
    if "{path}" in parts.query:
        yield "{path} stands in the query", "write it before the ?"
