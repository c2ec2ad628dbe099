"""The names and ports of docker/docker-compose.yml, checked where there is no Docker too."""

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped,unused-ignore]

FILE = Path(__file__).parents[1] / "docker" / "docker-compose.yml"


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded = yaml.safe_load(FILE.read_text())
    assert isinstance(loaded, dict)
    return loaded


def test_containers_have_the_documented_names(compose: dict[str, Any]) -> None:
    assert {name: service["container_name"] for name, service in compose["services"].items()} == {
        "broker": "datagen-broker",
        "postgres": "datagen-postgres",
        "schema-registry": "datagen-schema-registry",
    }


@pytest.mark.parametrize(
    ("service", "port"), [("broker", 9092), ("postgres", 5432), ("schema-registry", 8081)]
)
def test_ports_are_published_on_loopback_only(
    compose: dict[str, Any], service: str, port: int
) -> None:
    assert compose["services"][service]["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert "network_mode" not in compose["services"][service]


def test_volumes_are_named_after_the_folder(compose: dict[str, Any]) -> None:
    # Compose names a volume PROJECT_NAME, and the project after the file's folder.
    project = compose.get("name", FILE.parent.name)
    names = {(volume or {}).get("name", f"{project}_{key}") for key, volume in _volumes(compose)}
    assert names == {"docker_broker-data", "docker_postgres-data"}


def test_data_is_kept_in_the_volumes(compose: dict[str, Any]) -> None:
    broker, postgres = compose["services"]["broker"], compose["services"]["postgres"]
    assert broker["volumes"] == [f"broker-data:{broker['environment']['KAFKA_LOG_DIRS']}"]
    assert postgres["volumes"] == ["postgres-data:/var/lib/postgresql/data"]


def test_postgres_has_the_documented_database_and_user(compose: dict[str, Any]) -> None:
    assert compose["services"]["postgres"]["environment"] == {
        "POSTGRES_DB": "datagen",
        "POSTGRES_USER": "postgres",
        "POSTGRES_PASSWORD": "postgres",
    }


def test_kafka_listeners_fit_together(compose: dict[str, Any]) -> None:
    settings = compose["services"]["broker"]["environment"]
    listeners = _addresses(settings["KAFKA_LISTENERS"])
    advertised = _addresses(settings["KAFKA_ADVERTISED_LISTENERS"])
    protocols = dict(
        pair.split(":") for pair in settings["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(",")
    )
    controller = settings["KAFKA_CONTROLLER_LISTENER_NAMES"]
    assert listeners.keys() == protocols.keys() == advertised.keys() | {controller}
    assert advertised["HOST"] == "127.0.0.1:9092"
    assert settings["KAFKA_CONTROLLER_QUORUM_VOTERS"] == f"1@{listeners[controller]}"
    registry = compose["services"]["schema-registry"]["environment"]
    store = registry["SCHEMA_REGISTRY_KAFKASTORE_BOOTSTRAP_SERVERS"]
    assert store == advertised[settings["KAFKA_INTER_BROKER_LISTENER_NAME"]]


def test_cluster_id_is_a_kafka_uuid(compose: dict[str, Any]) -> None:
    text = compose["services"]["broker"]["environment"]["CLUSTER_ID"]
    assert len(base64.urlsafe_b64decode(f"{text}==")) == 16


def test_every_service_has_a_health_check_and_a_pinned_image(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        assert service["healthcheck"]["test"][0] == "CMD"
        _, _, tag = service["image"].partition(":")
        assert tag[:1].isdigit()


def _volumes(compose: dict[str, Any]) -> list[tuple[str, dict[str, str] | None]]:
    return list(compose["volumes"].items())


def _addresses(listeners: str) -> dict[str, str]:
    return dict(part.split("://") for part in listeners.split(","))
