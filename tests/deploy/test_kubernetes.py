"""deploy/kubernetes, rendered and validated offline: the schemas, and that the parts fit each other and the code."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from typing import Any

import kubernetes_validate
import pytest
import yaml

from deepfake_detector.media.limits import VideoLimits
from deepfake_detector.serving import jobs_command
from deepfake_detector.serving.dispatcher import RESPONSE_TIMEOUT_S
from deepfake_detector.serving.options import PREFIX, ServingOptions, read_options
from deepfake_detector.serving.sandbox import JOB_BYTES
from deepfake_detector.serving.upload import MAX_UNFINISHED_BYTES, MIB, UPLOAD_TIMEOUT_S
from deepfake_detector.serving.worker_process import START_TIMEOUT_S
from tests.deploy.validators import DEPLOY, find_program, read_yaml, to_number

Manifests = list[dict[str, Any]]
BENTOML_S = 20
PROCESS_BYTES = 2**28
IMAGE_USER = 1034  # of BentoML's Dockerfile
SECRETS = {"token": "a-token-of-24-characters"}


def render(folder: str) -> Manifests:
    command = [find_program("kubectl"), "kustomize", str(DEPLOY / "kubernetes" / folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return list(yaml.safe_load_all(done.stdout))


@pytest.fixture(scope="module", params=["base", "production"])
def manifests(request: pytest.FixtureRequest) -> Manifests:
    return render(request.param)


@pytest.fixture(scope="module")
def production() -> Manifests:
    return render("production")


def of_kind(manifests: Manifests, kind: str) -> Manifests:
    return [manifest for manifest in manifests if manifest["kind"] == kind]


def deployment(manifests: Manifests) -> dict[str, Any]:
    (found,) = of_kind(manifests, "Deployment")
    return found


def pod(manifests: Manifests) -> dict[str, Any]:
    spec: dict[str, Any] = deployment(manifests)["spec"]["template"]["spec"]
    return spec


def container(manifests: Manifests) -> dict[str, Any]:
    (found,) = pod(manifests)["containers"]
    return dict(found)


def test_kubernetes_accepts_every_field(manifests: Manifests) -> None:
    for manifest in manifests:
        kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)


def test_the_validator_refuses_a_misspelt_field(production: Manifests) -> None:
    wrong = deployment(production) | {"spec": {**deployment(production)["spec"], "replica": 2}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, kubernetes_validate.latest_version(), strict=True)


def test_all_parts_are_there(production: Manifests) -> None:
    kinds = {manifest["kind"] for manifest in production}
    expected = {"Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy", "Namespace"}
    assert expected <= kinds
    namespaces = {m["metadata"].get("namespace") for m in production if m["kind"] != "Namespace"}
    assert namespaces == {of_kind(production, "Namespace")[0]["metadata"]["name"]}


def test_every_selector_finds_the_pods(manifests: Manifests) -> None:
    labels = deployment(manifests)["spec"]["template"]["metadata"]["labels"]
    selectors = [service["spec"]["selector"] for service in of_kind(manifests, "Service")]
    selectors += [deployment(manifests)["spec"]["selector"]["matchLabels"]]
    selectors += [each["spec"]["selector"]["matchLabels"] for each in of_kind(manifests, "PodDisruptionBudget")]
    selectors += [each["spec"]["podSelector"]["matchLabels"] for each in of_kind(manifests, "NetworkPolicy")]
    assert len(selectors) >= 5
    for selector in selectors:
        assert selector
        assert selector.items() <= labels.items()


def test_two_replicas_whose_number_has_one_owner() -> None:
    """A number in the Deployment would undo the autoscaler's work at each `kubectl apply`."""
    assert deployment(render("base"))["spec"]["replicas"] == 2
    production = render("production")
    (scaler,) = of_kind(production, "HorizontalPodAutoscaler")
    assert "replicas" not in deployment(production)["spec"]
    assert scaler["spec"]["minReplicas"] == 2
    target = scaler["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", deployment(production)["metadata"]["name"])
    assert scaler["spec"]["metrics"][0]["resource"]["name"] == "cpu"
    assert "cpu" in container(production)["resources"]["requests"]  # of which the autoscaler's target is a share


def test_the_pod_is_confined_as_the_restricted_profile_asks(manifests: Manifests) -> None:
    context, own = pod(manifests)["securityContext"], container(manifests)["securityContext"]
    assert (context["runAsNonRoot"], context["runAsUser"]) == (True, IMAGE_USER)
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert own == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    assert pod(manifests)["automountServiceAccountToken"] is False
    # A Service named deepfake-serve-... would give the pod variables that the service refuses.
    assert pod(manifests)["enableServiceLinks"] is False
    (mount,), (volume,) = container(manifests)["volumeMounts"], pod(manifests)["volumes"]
    assert (mount["name"], mount["mountPath"]) == (volume["name"], "/tmp")


def value_of(variable: Mapping[str, Any], limits: Mapping[str, str]) -> str:
    """What the kubelet would set."""
    if "value" in variable:
        return str(variable["value"])
    source = variable["valueFrom"]
    if "resourceFieldRef" in source:
        return limits[source["resourceFieldRef"]["resource"].removeprefix("limits.")]
    return SECRETS[source["secretKeyRef"]["key"]]


def served_options(manifests: Manifests) -> ServingOptions:
    limits = container(manifests)["resources"]["limits"]
    values = {variable["name"]: value_of(variable, limits) for variable in container(manifests)["env"]}
    assert values["BENTOML_HOME"].startswith("/tmp/")  # the image's own is read-only
    return read_options({name: value for name, value in values.items() if name.startswith(PREFIX)})


def test_the_service_accepts_its_settings_and_asks_for_a_token(manifests: Manifests) -> None:
    options = served_options(manifests)
    assert options.token is not None
    assert options.token.get_secret_value() == SECRETS["token"]
    assert options.workers == 2
    assert options.hosts == ("*",)  # Prometheus asks by address
    assert options.client_connections == options.connections  # all come from one proxy


def test_the_limits_hold_hostile_files(manifests: Manifests) -> None:
    options, limits = served_options(manifests), container(manifests)["resources"]["limits"]
    assert to_number(limits["memory"]) >= options.workers * JOB_BYTES + PROCESS_BYTES * (
        options.workers + options.spares + 1
    )
    uploads = MAX_UNFINISHED_BYTES + VideoLimits().max_bytes * options.queue // 4  # a video takes four slots
    folder = to_number(pod(manifests)["volumes"][0]["emptyDir"]["sizeLimit"])
    assert uploads < folder < to_number(limits["ephemeral-storage"])


def test_a_pod_gets_the_time_that_it_needs_to_start_and_to_end(manifests: Manifests) -> None:
    startup = container(manifests)["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] > START_TIMEOUT_S
    sleep_s = container(manifests)["lifecycle"]["preStop"]["sleep"]["seconds"]
    readiness = container(manifests)["readinessProbe"]
    assert sleep_s >= readiness["periodSeconds"] * readiness["failureThreshold"]
    in_flight_s = UPLOAD_TIMEOUT_S + RESPONSE_TIMEOUT_S + BENTOML_S
    assert pod(manifests)["terminationGracePeriodSeconds"] >= max(240, sleep_s + in_flight_s)
    assert container(manifests)["livenessProbe"]["httpGet"]["path"] == "/livez"  # a full queue restarts no pod
    assert deployment(manifests)["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def matches(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    return selector is None or selector.get("matchLabels", {}).items() <= labels.items()


def may_reach(policy: Mapping[str, Any], namespace: str, labels: Mapping[str, str], port: int, protocol: str) -> bool:
    """Whether the policy lets our pods open a connection to a pod in another namespace."""
    names = {"kubernetes.io/metadata.name": namespace}
    for rule in policy["spec"]["egress"]:
        open_ports = {(each["port"], each["protocol"]) for each in rule["ports"]}
        for peer in rule["to"]:
            selected = "namespaceSelector" in peer and matches(peer["namespaceSelector"], names)
            if selected and matches(peer.get("podSelector"), labels) and (port, protocol) in open_ports:
                return True
    return False


def test_pods_reach_name_servers_and_nothing_else(manifests: Manifests) -> None:
    (policy,) = of_kind(manifests, "NetworkPolicy")
    assert set(policy["spec"]["policyTypes"]) == {"Ingress", "Egress"}
    dns = {"k8s-app": "kube-dns"}  # all that these pods are known to carry, with CoreDNS too
    assert may_reach(policy, "kube-system", dns, 53, "UDP")
    assert may_reach(policy, "kube-system", dns, 53, "TCP")
    assert not may_reach(policy, "kube-system", dns, 443, "TCP")
    assert not may_reach(policy, "kube-system", {"k8s-app": "other"}, 53, "UDP")
    assert not may_reach(policy, "default", {}, 443, "TCP")
    assert not any("ipBlock" in peer for rule in policy["spec"]["egress"] for peer in rule["to"])


def test_clients_reach_the_port_of_the_service_only(manifests: Manifests) -> None:
    (policy,) = of_kind(manifests, "NetworkPolicy")
    (rule,) = policy["spec"]["ingress"]
    (port,) = container(manifests)["ports"]
    assert rule["ports"] == [{"port": port["containerPort"], "protocol": "TCP"}]
    for service in of_kind(manifests, "Service"):
        assert [each["targetPort"] for each in service["spec"]["ports"]] == [port["name"]]


def test_the_model_is_chosen_by_tag(production: Manifests) -> None:
    settings = read_yaml(DEPLOY / "kubernetes" / "production" / "kustomization.yaml")
    (image,) = settings["images"]
    assert container(production)["image"] == f"{image['newName']}:{image['newTag']}"
    assert image["newTag"] != "latest"


def test_prometheus_asks_each_pod(production: Manifests) -> None:
    job = read_yaml(DEPLOY / "prometheus" / "kubernetes.yml")["scrape_configs"][0]
    (target,) = job["dns_sd_configs"]
    (headless,) = [s for s in of_kind(production, "Service") if s["spec"].get("clusterIP") == "None"]
    name = f"{headless['metadata']['name']}.{headless['metadata']['namespace']}.svc.cluster.local"
    assert (target["names"], target["port"]) == ([name], headless["spec"]["ports"][0]["port"])
    assert headless["spec"]["publishNotReadyAddresses"] is True  # else DeepfakeNotReady would see no pod


@pytest.fixture(scope="module")
def with_jobs(tmp_path_factory: pytest.TempPathFactory) -> Manifests:
    """The overlay, with its line on jobs as the guide has it changed."""
    copy = tmp_path_factory.mktemp("deploy") / "kubernetes"
    shutil.copytree(DEPLOY / "kubernetes", copy)
    settings = copy / "production" / "kustomization.yaml"
    before = settings.read_text(encoding="utf-8")
    settings.write_text(before.replace("# components: [../jobs]", "components: [../jobs]"), encoding="utf-8")
    assert settings.read_text(encoding="utf-8") != before
    return render(str(copy / "production"))


def named(manifests: Manifests, kind: str, name: str) -> dict[str, Any]:
    (found,) = (each for each in of_kind(manifests, kind) if each["metadata"]["name"] == name)
    return found


def pod_of(manifests: Manifests, name: str) -> dict[str, Any]:
    spec: dict[str, Any] = named(manifests, "Deployment", name)["spec"]["template"]["spec"]
    return spec


def labels_of(manifests: Manifests, name: str) -> dict[str, str]:
    deployment = named(manifests, "Deployment", name)["spec"]
    labels: dict[str, str] = deployment["template"]["metadata"]["labels"]
    assert deployment["selector"]["matchLabels"].items() <= labels.items()
    return labels


def test_kubernetes_accepts_the_component_for_jobs(with_jobs: Manifests) -> None:
    for manifest in with_jobs:
        kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)
    assert {each["metadata"].get("namespace") for each in with_jobs if each["kind"] != "Namespace"} == {
        "deepfake-detector"
    }


def opens(manifests: Manifests, source: str, target: str, port: int) -> bool:
    """Whether the policies let the pods of one Deployment reach a port of another's, in the same namespace."""
    policy_out, policy_in = (named(manifests, "NetworkPolicy", name)["spec"] for name in (source, target))
    allowed = []
    for rules, key, labels in ((policy_out.get("egress"), "to", target), (policy_in.get("ingress"), "from", source)):
        peers = [
            peer for rule in rules or [] if {"port": port, "protocol": "TCP"} in rule["ports"] for peer in rule[key]
        ]
        own = [peer for peer in peers if "namespaceSelector" not in peer]
        allowed.append(any(matches(peer["podSelector"], labels_of(manifests, labels)) for peer in own))
    return all(allowed)


def test_pods_that_analyse_videos_reach_redis_and_nothing_else(with_jobs: Manifests) -> None:
    for name in ("deepfake-jobs", "deepfake-redis", "deepfake-detector"):
        policy = named(with_jobs, "NetworkPolicy", name)["spec"]
        assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
        assert policy["podSelector"]["matchLabels"].items() <= labels_of(with_jobs, name).items()
    assert opens(with_jobs, "deepfake-jobs", "deepfake-redis", 6379)
    assert opens(with_jobs, "deepfake-detector", "deepfake-redis", 6379)
    assert not opens(with_jobs, "deepfake-jobs", "deepfake-detector", 3000)
    worker, redis = (named(with_jobs, "NetworkPolicy", f"deepfake-{name}")["spec"] for name in ("jobs", "redis"))
    assert len(worker["egress"]) == 2  # names, and Redis
    assert may_reach({"spec": {"egress": worker["egress"][:1]}}, "kube-system", {"k8s-app": "kube-dns"}, 53, "UDP")
    assert not worker.get("ingress")
    assert not redis.get("egress")
    (service,) = [s for s in of_kind(with_jobs, "Service") if s["metadata"]["name"] == "deepfake-redis"]
    assert service["spec"]["selector"].items() <= labels_of(with_jobs, "deepfake-redis").items()


def test_the_pods_for_jobs_are_confined_and_fit_the_settings(with_jobs: Manifests) -> None:
    values = []
    for name in ("deepfake-jobs", "deepfake-redis", "deepfake-detector"):
        context, (own,) = pod_of(with_jobs, name)["securityContext"], pod_of(with_jobs, name)["containers"]
        assert (context["runAsNonRoot"], context["seccompProfile"]["type"]) == (True, "RuntimeDefault")
        assert own["securityContext"] == {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        }  # fmt: skip
        names = [each["name"] for each in own["env"]]
        if "DEEPFAKE_SERVE_REDIS" in names:  # Kubernetes fills in variables that stand before it
            assert names.index("REDIS_PASSWORD") < names.index("DEEPFAKE_SERVE_REDIS")
            values.append(own["env"][names.index("DEEPFAKE_SERVE_REDIS")]["value"])
    assert values == ["redis://:$(REDIS_PASSWORD)@deepfake-redis:6379/0"] * 2
    options = ServingOptions(redis=values[0])
    (worker,), (redis,) = (pod_of(with_jobs, f"deepfake-{name}")["containers"] for name in ("jobs", "redis"))
    assert worker["image"] == pod_of(with_jobs, "deepfake-detector")["containers"][0]["image"]
    assert worker["args"][:3] == ["python", "-m", jobs_command.__name__]
    maximum = 2560 * MIB
    assert "--maxmemory 2560mb" in redis["args"][0]
    assert options.job_store_mib * MIB < maximum < to_number(redis["resources"]["limits"]["memory"])
    assert to_number(worker["resources"]["limits"]["memory"]) >= JOB_BYTES + 2 * PROCESS_BYTES
    folder = to_number(pod_of(with_jobs, "deepfake-jobs")["volumes"][0]["emptyDir"]["sizeLimit"])
    assert options.job_upload_mib * MIB < folder < to_number(worker["resources"]["limits"]["ephemeral-storage"])
    startup = worker["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] > START_TIMEOUT_S
