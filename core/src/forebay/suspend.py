"""What of a source may rest: the values of spec.suspend, for whoever can do without the whole model."""

from typing import Literal, TypeAlias

Suspend: TypeAlias = Literal["None", "Ingest", "Workers", "All"]
