"""What the parts of the node are told: each one's configuration, with the reason for what is not the default."""

import json
from pathlib import Path
from typing import Any

NAME = "node"  # the node's, in Kubernetes
PAUSE = "forebay.test/pause:1"
DNS_IMAGE = "forebay.test/coredns:1"
SERVICES = "10.0.0.0/16"
PODS = "10.244.0.0/16"
DNS_ADDRESS = "10.0.0.10"
CONTAINERD = "/run/containerd/containerd.sock"

CONTAINERD_CONFIG = f"""\
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  # Where the machine lacks CAP_SYS_RESOURCE a pod's score can not be lowered, and the pod would not start.
  restrict_oom_score_adj = true
  # Of this machine's own, perhaps: not ours.
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/etc/cni/net.d"
"""

# In the place of whatever the machine has there: the folder is a layer above its own.
NETWORK = {
    "cniVersion": "0.4.0",
    "name": "pods",
    "plugins": [
        {
            "type": "bridge",
            "bridge": "cni0",
            "isGateway": True,
            "ipMasq": True,
            "hairpinMode": True,  # a pod reaches itself by its Service
            "ipam": {"type": "host-local", "ranges": [[{"subnet": PODS}]], "routes": [{"dst": "0.0.0.0/0"}]},
        },
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ],
}


def kubelet(*, cgroup: str, authority: Path, resolver: Path) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(authority)},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cgroup}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "clusterDNS": [DNS_ADDRESS],
        "clusterDomain": "cluster.local",
        "containerRuntimeEndpoint": f"unix://{CONTAINERD}",
        # The machine's own resolver is of no use: nothing beyond the machine can be reached.
        "resolvConf": str(resolver),
        # The machine's disk is not ours to judge, and an image that went could not be pulled again.
        "evictionHard": dict.fromkeys(("nodefs.available", "nodefs.inodesFree", "imagefs.available"), "0%"),
        "imageGCHighThresholdPercent": 100,
        "localStorageCapacityIsolation": False,
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
        "maxPods": 200,
        # What crashes, or is killed on purpose, begins again at once, not after minutes.
        "featureGates": {"KubeletCrashLoopBackOffMax": True},
        "crashLoopBackOff": {"maxContainerRestartPeriod": "1s"},
        "syncFrequency": "10s",  # a changed Secret reaches its pods within that
        "registerWithTaints": [],
    }


def proxy(*, kubeconfig: Path) -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        # In a table of its own. In iptables' kube-router accepts a pod's packets before they come to kube-proxy's rules, and a
        # Service that leads nowhere yet would swallow connections instead of refusing them.
        "mode": "nftables",
        "clusterCIDR": PODS,
        "hostnameOverride": NAME,
        # The table of connections is the whole machine's; it stays as it is.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
    }


def policies(*, kubeconfig: Path) -> list[str]:
    """Of kube-router that part alone which keeps NetworkPolicies."""
    return [
        f"--kubeconfig={kubeconfig}",
        f"--hostname-override={NAME}",
        f"--service-cluster-ip-range={SERVICES}",
        "--run-firewall=true",
        "--run-router=false",
        "--run-service-proxy=false",
        "--metrics-port=0",
    ]


def storage(folders: list[Path]) -> dict[str, Any]:
    """A volume for each folder, and the class by which a claim that names none gets one of them."""
    kind = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "folders", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "WaitForFirstConsumer",
    }
    return {"apiVersion": "v1", "kind": "List", "items": [kind, *(_volume(folder) for folder in folders)]}


def _volume(folder: Path) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"folder-{folder.name}"},
        "spec": {
            "storageClassName": "folders",
            "capacity": {"storage": "10Gi"},  # nobody counts
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": str(folder)},
        },
    }


def write(path: Path, content: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path
