"""From nothing to the first webhook, as somebody does it who reads docs/install.md; then a source with a destination."""

import pytest

from tests.cluster.cluster import Cluster, until
from tests.cluster.conftest import INSTALL
from tests.cluster.tenant import SOURCE, Tenant
from tests.support.shell import told

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


def test_the_commands_of_docs_install_end_as_the_page_says(installed: str) -> None:
    if not installed:
        pytest.skip("Forebay was there already")
    shown = installed.splitlines()[-2:]
    assert [line.split()[:-1] for line in shown] == [line.split()[:-1] for line in told(INSTALL)]  # but for the age


def test_the_release_says_that_it_is_well(cluster: Cluster, installed: str) -> None:
    said = cluster.helm.run("test", "forebay", "--namespace", "forebay-system", "--timeout=60s")
    assert "Phase:          Succeeded" in said


def test_a_signed_webhook_goes_through_the_service_to_a_service(someone: Tenant) -> None:
    someone.apply()
    someone.wait_ready()
    someone.load(rate=50)
    until(lambda: someone.ledger["sent"] >= 250, "250 webhooks are sent")
    account = someone.account()
    assert account["acked"] == account["sent"] >= 250, account
    assert account["lost"] == account["left_in_queues"] == 0, account
    assert account["delivered"] + account["dead_lettered"] == account["acked"], account
    assert account["dead_lettered"] >= 1, "the destination refuses one in 200 for good"
    assert SOURCE in someone.kubectl("get", "whs")
