"""The page of metrics is what the parts register."""

import re

from tools import metrics_reference


def test_the_page_in_the_docs_is_that_of_the_parts() -> None:
    assert metrics_reference.FILE.read_text("utf-8") == metrics_reference.page(), "run `make reference`"


def test_names_follow_prometheus_conventions() -> None:
    names = re.findall(r"^\| `(\w+)` \| (\w+)", metrics_reference.page(), re.MULTILINE)
    assert names
    for name, kind in names:
        assert name.startswith("forebay_")
        assert name.endswith("_total") == (kind == "counter"), name
        assert kind != "histogram" or name.endswith("_seconds"), name
