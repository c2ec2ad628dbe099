"""docker/kubernetes/load-shards.yaml: its very command line, and what its pods may do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from command import DATAGEN, run
from datagen.cli.loading import load
from datagen.loader import shard

if TYPE_CHECKING:
    from own_topics import OwnTopics

FILE = Path(__file__).parents[1] / "docker/kubernetes/load-shards.yaml"


def job() -> dict[str, Any]:
    found = [one for one in yaml.safe_load_all(FILE.read_text("utf-8")) if one["kind"] == "Job"]
    spec: dict[str, Any] = found[0]["spec"]
    return spec


def pod() -> dict[str, Any]:
    spec: dict[str, Any] = job()["template"]["spec"]
    return spec


def container() -> dict[str, Any]:
    (only,) = pod()["containers"]
    found: dict[str, Any] = only
    return found


def environment(index: int) -> dict[str, str]:
    """What a pod of the job finds in its environment, without the secret."""
    said = {one["name"]: one["value"] for one in container()["env"]}
    return {**said, "JOB_COMPLETION_INDEX": str(index)}


def words(index: int, folder: Path) -> list[str]:
    """The arguments of datagen in the pod of an index, as its shell makes them."""
    script = folder / "datagen"
    script.write_text(
        f"#!{sys.executable}\nimport json, os, sys\nprint(json.dumps([os.getpid(), *sys.argv[1:]]))\n"
    )
    script.chmod(0o755)
    spec = container()
    process = subprocess.Popen(
        [*spec["command"], *spec["args"]],
        env={"PATH": f"{folder}:{os.environ['PATH']}", **environment(index)},
        stdout=subprocess.PIPE,
        text=True,
    )
    out, _ = process.communicate(timeout=30)
    pid, *found = json.loads(out)
    arguments = [str(word) for word in found]
    # It has the place of the shell, and so hears what the pod is told.
    assert pid == process.pid
    return arguments


def test_every_shard_is_loaded_once(tmp_path: Path) -> None:
    spec = job()
    assert spec["completionMode"] == "Indexed"
    customers: list[int] = []
    receipts = set()
    for index in range(spec["completions"]):
        command, *options = words(index, tmp_path)
        assert command == "load"
        context = load.make_context("load", options)
        number, of = context.params["shard"]
        assert of == spec["completions"]
        customers += shard(range(context.params["customers"]), number, of)
        receipts.add(context.params["receipt"])
        assert not context.params["truncate"]
    assert customers == [*range(context.params["customers"])]
    assert len(receipts) == spec["completions"]
    mounts = {one["mountPath"] for one in container()["volumeMounts"]}
    assert {str(path.parent) for path in receipts} <= mounts


def test_a_pod_has_no_rights_and_no_secret_in_the_file() -> None:
    spec, only = pod(), container()
    assert spec["securityContext"]["runAsNonRoot"] is True
    # The user of the image.
    image = (FILE.parents[1] / "Dockerfile").read_text("utf-8")
    assert f"--uid {spec['securityContext']['runAsUser']} datagen" in image
    rights = only["securityContext"]
    assert rights["readOnlyRootFilesystem"] is True
    assert rights["allowPrivilegeEscalation"] is False
    assert rights["capabilities"] == {"drop": ["ALL"]}
    assert spec["automountServiceAccountToken"] is False
    assert not [one for one in only["env"] if "@" in one["value"]]
    assert only["envFrom"] == [{"secretRef": {"name": "datagen"}}]
    volumes = {one["name"] for one in spec["volumes"]}
    assert {one["name"] for one in only["volumeMounts"]} == volumes


def test_what_cannot_be_mended_is_not_begun_again() -> None:
    (exits, disruption) = job()["podFailurePolicy"]["rules"]
    assert exits["onExitCodes"]["containerName"] == container()["name"]
    # Options, configuration, refused data; 5 and 6, 130 and 143 are begun again.
    assert (exits["action"], exits["onExitCodes"]["values"]) == ("FailIndex", [2, 3, 4])
    assert disruption["action"] == "Ignore"
    # Kubernetes takes such a policy only with this.
    assert pod()["restartPolicy"] == "Never"


@pytest.mark.parametrize("index", [0, 7])
def test_its_command_loads_a_shard(
    index: int, pg_dsn: str, clean_kafka: OwnTopics, tmp_path: Path
) -> None:
    command = words(index, tmp_path)
    # As it is written, with fewer customers and the brokers of a test.
    fewer = {"1000000": "40", "3": "1"}
    command = [fewer.get(word, word) for word in command]
    command = [word.replace("/receipts/", f"{tmp_path}/") for word in command]
    variables = environment(index) | {
        "DATAGEN_POSTGRES_URL": pg_dsn,
        "DATAGEN_KAFKA_BOOTSTRAP": clean_kafka.bootstrap,
        "DATAGEN_TOPIC_PREFIX": clean_kafka.prefix,
    }
    variables.pop("DATAGEN_SCHEMA_REGISTRY")
    outcome = run(*DATAGEN, *command, "--no-avro", timeout=60, **variables)
    assert outcome.code == 0, str(outcome)
    says = json.loads((tmp_path / f"shard-{index + 1}.json").read_text("utf-8"))
    assert (says["plan"]["from_customer"], says["plan"]["customers"]) == (5 * index, 5 * index + 5)
