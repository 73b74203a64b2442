"""forebay-worker: delivers the webhooks of one queue of one source."""

import argparse
import sys
from importlib.metadata import version

from forebay.ending import end
from forebay.errors import SpecError
from forebay.process import main as run_part
from forebay.process import usage_error
from forebay.runtime import runtime
from forebay.telemetry import Log
from forebay_worker.app import SETTINGS_FILE, Worker

_HELP = f"""\
Takes the webhooks of one queue from RabbitMQ and delivers each, to an HTTP destination or to a Python function. What
is not delivered is tried again later by way of the broker's delay tiers, and ends in the dead letters if nothing helps.

It has no options; a pod's volumes and environment say everything:
  FOREBAY_ROOT          folder with {SETTINGS_FILE} and secrets/ (default /etc/forebay)
  FOREBAY_ADMIN_LISTEN  HOST:PORT for /healthz, /readyz, /metrics (default 0.0.0.0:9090)
  FOREBAY_LOG_FORMAT    json | text (default json)
  FOREBAY_LOG_LEVEL     debug | info | warning | error (default info; debug also tells of deliveries that succeed)

SIGTERM: takes no more, finishes what is in flight, gives back the rest, exits 0.

A Python function is found where the worker starts, or among what is installed:
  from forebay_worker import Webhook, Retry, Drop, DeadLetter
  async def handle(webhook: Webhook) -> None: ...

To run a source on this machine, with everything around it: forebay dev -f source.yaml
"""


def main() -> None:
    """Run until SIGTERM; exit 0 after a drain, 1 after a failure, 2 for settings that are wrong."""
    parser = argparse.ArgumentParser("forebay-worker", description=_HELP, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--version", action="version", version=version("forebay-worker"))
    parser.parse_args()
    try:
        place = runtime()
    except SpecError as error:
        sys.exit(usage_error(str(error)))
    log = Log({"part": "worker"}, level=place.log_level, form=place.log_format)
    end(run_part(Worker, place, log))


if __name__ == "__main__":
    main()
