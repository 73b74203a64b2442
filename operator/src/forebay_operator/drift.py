"""Does a live object still say everything that was applied? Pure.

The API server and others add to an object (defaults, status, sidecars' annotations), which is no drift; they also spell some
things their own way (quantities, what is empty). Whoever says "drift" where there is none costs one apply that changes nothing.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

# https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
_QUANTITY = re.compile(r"([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)([numkMGTPE]|[KMGTPE]i)?")
_SCALE = {
    "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "k": Decimal(10**3),
    "M": Decimal(10**6), "G": Decimal(10**9), "T": Decimal(10**12), "P": Decimal(10**15), "E": Decimal(10**18),
    "Ki": Decimal(2**10), "Mi": Decimal(2**20), "Gi": Decimal(2**30), "Ti": Decimal(2**40), "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
}  # fmt: skip

# What tells the elements of a list apart, if they have it.
_KEYS = ("name", "mountPath", "containerPort", "port", "topologyKey", "uid", "type")


def fingerprint(item: Mapping[str, Any]) -> str:
    """Of an object as it is wanted: what is equal has the same one."""
    text = json.dumps(item, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def says(live: Any, wanted: Any) -> bool:
    """Whether everything wanted stands in what is live."""
    if isinstance(wanted, Mapping):
        return isinstance(live or {}, Mapping) and all(says((live or {}).get(key), wanted[key]) for key in wanted)
    if isinstance(wanted, Sequence) and not isinstance(wanted, str):
        return isinstance(live or [], Sequence) and _lists(live or [], wanted)
    if live is None:
        return not wanted  # what is empty, zero or false is left out by the API server
    return bool(live == wanted) or _same_quantity(live, wanted)


def _lists(live: Sequence[Any], wanted: Sequence[Any]) -> bool:
    if len(live) == len(wanted):
        return all(says(one, other) for one, other in zip(live, wanted, strict=True))
    return len(live) > len(wanted) and all(any(_meant(x, item) and says(x, item) for x in live) for item in wanted)


def _meant(live: Any, wanted: Any) -> bool:
    if not isinstance(wanted, Mapping):
        return bool(live == wanted)
    return isinstance(live, Mapping) and all(live.get(key) == wanted[key] for key in _KEYS if key in wanted)


def _same_quantity(live: Any, wanted: Any) -> bool:
    one, other = _quantity(live), _quantity(wanted)
    return one is not None and one == other


def _quantity(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    match = _QUANTITY.fullmatch(str(value))
    if match is None or match[1].count(".") > 1 or match[1].strip("+-") == ".":
        return None
    return Decimal(match[1]) * _SCALE.get(match[2] or "", Decimal(1))
