"""forebay-ingest: the endpoint of one webhook source."""

import argparse
import sys
from importlib.metadata import version

from forebay.ending import end
from forebay.errors import SpecError
from forebay.process import main as run_part
from forebay.process import usage_error
from forebay.runtime import runtime
from forebay.telemetry import Log
from forebay_ingest.app import SETTINGS_FILE, Ingest

_HELP = f"""\
Takes the webhooks of one source: verifies each, stores it in RabbitMQ, and answers 2xx once the broker has confirmed it.

It has no options; a pod's volumes and environment say everything:
  FOREBAY_ROOT          folder with {SETTINGS_FILE} and secrets/ (default /etc/forebay)
  FOREBAY_LISTEN        HOST:PORT for webhooks (default 0.0.0.0:8080)
  FOREBAY_ADMIN_LISTEN  HOST:PORT for /healthz, /readyz, /metrics (default 0.0.0.0:9090)
  FOREBAY_REPLICA       name by which its outage buffer finds what it left before (default the host's name)
  FOREBAY_LOG_FORMAT    json | text (default json)
  FOREBAY_LOG_LEVEL     debug | info | warning | error (default info)

To run a source on this machine, with everything around it: forebay dev -f source.yaml
"""


def main() -> None:
    """Run until SIGTERM; exit 0 after a drain, 1 after a failure, 2 for settings that are wrong."""
    parser = argparse.ArgumentParser("forebay-ingest", description=_HELP, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--version", action="version", version=version("forebay-ingest"))
    parser.parse_args()
    try:
        place = runtime()
    except SpecError as error:
        sys.exit(usage_error(str(error)))
    log = Log({"part": "ingest"}, level=place.log_level, form=place.log_format)
    end(run_part(Ingest, place, log))


if __name__ == "__main__":
    main()
