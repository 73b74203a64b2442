"""A release's life on a real API server: installed, tested, upgraded, uninstalled. The operator's pod is a process under the
rights of its own account."""

import asyncio
import shutil
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import yaml
from tools.control_plane import ControlPlane

from tests.support.apiserver import Api, session
from tests.support.brokers import VirtualHost
from tests.support.helm import CHART, TREE, Helm
from tests.support.node import LocalNode, SourcePods, local_node
from tests.support.shell import Shell, blocks, told
from tests.support.waiting import eventually, so

pytestmark = pytest.mark.timeout(300)

RELEASE = ("forebay", "--namespace", "forebay-system", "--timeout=60s")
CRD = "crd/webhooksources.forebay.dev"
SOURCE = """
apiVersion: forebay.dev/v1alpha1
kind: WebhookSource
metadata: {name: github, namespace: default}
spec:
  ingest: {verification: {provider: GitHub, secretRefs: [{name: github-webhook, key: secret}]}}
  worker: {destination: {url: "http://orders.payments.svc/webhooks"}}
"""


async def _helm(helm: Helm, *arguments: str) -> str:
    """Beside the node, which has to run the pods that Helm waits for."""
    return await asyncio.to_thread(helm.run, *arguments)


async def test_a_release_is_installed_tested_upgraded_and_uninstalled(
    installer: Helm, cluster: ControlPlane, home: Api, chart_node: LocalNode, tmp_path: Path
) -> None:
    await _helm(installer, "install", *RELEASE, str(CHART), "--create-namespace", "--wait")
    assert "Phase:          Succeeded" in await _helm(installer, "test", *RELEASE)
    cluster.kubectl("apply", "-f", "-", stdin=SOURCE)
    await _says(cluster, "SecretMissing")

    (before,) = chart_node.of("operator")
    newer = _with_a_new_field(tmp_path)
    await _helm(installer, "upgrade", *RELEASE, str(newer), "--wait", "--set", "workers=3")
    assert "fromTheFuture" in cluster.kubectl("get", CRD, "-o", "yaml"), "the CRD was not upgraded"
    await eventually(so(lambda: before not in chart_node.of("operator")))
    (after,) = chart_node.of("operator")
    assert "--workers=16" in before.launch.argv
    assert "--workers=3" in after.launch.argv

    await _helm(installer, "rollback", *RELEASE, "--wait")
    assert "fromTheFuture" not in cluster.kubectl("get", CRD, "-o", "yaml"), "the former CRD is not back"
    await eventually(so(lambda: after not in chart_node.of("operator")))
    assert "--workers=16" in chart_node.of("operator")[0].launch.argv

    await _helm(installer, "uninstall", *RELEASE, "--wait")
    assert await home.find("Deployment", "forebay") is None
    assert "github" in cluster.kubectl("get", "whs"), "the sources went with the release"
    await _helm(installer, "install", *RELEASE, str(newer), "--wait")


async def test_the_commands_of_docs_install_and_docs_upgrade_do_as_they_say(
    installer: Helm,
    binary: Path,
    cluster: ControlPlane,
    chart_node: LocalNode,
    newest_broker: VirtualHost,
    tmp_path: Path,
) -> None:
    """The very commands; only the addresses are those of the test's own broker."""
    await newest_broker.management.put(
        f"users/{newest_broker.username}", {"password": newest_broker.password, "tags": "administrator"}
    )
    given = {"RABBITMQ": newest_broker.uri, "MANAGEMENT": newest_broker.server.management_url}
    first, *commands = blocks(TREE / "docs" / "install.md")[0]
    assert first.startswith("export RABBITMQ=")
    async with session(cluster) as opened, AsyncExitStack() as stack:
        place = Api(opened, cluster.url, "default")
        await stack.enter_async_context(local_node(place, SourcePods(place, tmp_path / "node")))
        shell = Shell(cluster.programs.kubectl, cluster.kubeconfig, binary, tmp_path, given)
        said = await asyncio.to_thread(shell.run, "\n".join(commands))
        for further in blocks(TREE / "docs" / "upgrade.md"):
            await asyncio.to_thread(shell.run, "\n".join(further))
    for operator in chart_node.of("operator"):
        assert "may not" not in operator.launch.log.read_text(), "the chart's rules are too few"
    shown, promised = said.splitlines()[-2:], told(TREE / "docs" / "install.md")
    assert [line.split()[:-1] for line in shown] == [line.split()[:-1] for line in promised]  # but for the age


async def _says(cluster: ControlPlane, reason: str) -> None:
    said = ["nothing"]

    async def holds() -> bool:
        said[0] = cluster.kubectl("get", "whs", "github", "-o", "jsonpath={.status.conditions}")
        return reason in said[0]

    try:
        await eventually(holds, within_s=20, every_s=0.5)
    except TimeoutError:
        raise AssertionError(f"the source never said {reason}, but {said[0]}") from None


def _with_a_new_field(folder: Path) -> Path:
    """The chart of a later release."""
    newer = folder / "newer-chart"
    shutil.copytree(CHART, newer)
    (file,) = (newer / "files" / "crds").iterdir()
    crd = yaml.safe_load(file.read_text("utf-8"))
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    spec["properties"]["fromTheFuture"] = {"type": "string"}
    file.write_text(yaml.safe_dump(crd, sort_keys=False), "utf-8")
    return newer
