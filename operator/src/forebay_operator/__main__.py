"""forebay-operator: makes each WebhookSource an endpoint, queues, workers and alerts, and keeps it so."""

import functools
import sys
from pathlib import Path

from forebay.process import main as run_part
from forebay.runtime import Runtime
from forebay.telemetry import Log
from forebay_operator.app import Operator
from forebay_operator.options import options


def main() -> None:
    """Run until SIGTERM; exit 0 after it, 1 after a failure or a lost lease, 2 for flags that are wrong."""
    chosen = options(sys.argv[1:])
    runtime = Runtime(
        root=Path(),
        admin_listen=chosen.admin_address,
        log_format=chosen.log_format,
        log_level=chosen.log_level,
    )
    log = Log({"part": "operator"}, level=chosen.log_level, form=chosen.log_format)
    sys.exit(run_part(functools.partial(Operator, chosen), runtime, log))


if __name__ == "__main__":
    main()
