from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.kafka.properties import broker_properties, container_properties, render


def properties(port: int = 1, controller_port: int = 2) -> dict[str, str]:
    return broker_properties(log_dir=Path("/data/log"), port=port, controller_ports={1: controller_port})


@given(port=st.integers(1, 65_535), controller_port=st.integers(1, 65_535))
def test_listens_on_loopback_only(port: int, controller_port: int) -> None:
    listeners = properties(port, controller_port)["listeners"]
    assert listeners == f"CLIENTS://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}"


def test_container_differs_only_in_where_things_are() -> None:
    embedded, container = properties(), container_properties()
    different = {name for name in embedded | container if embedded.get(name) != container.get(name)}
    assert different == {
        "listeners",
        "advertised.listeners",
        "inter.broker.listener.name",
        "controller.quorum.voters",
        "log.dirs",
    }


def test_sweep_of_transactions_is_longer_than_the_brokers_session() -> None:
    """Else a transaction that was open at a kill would hang for ever."""
    sweep = int(properties()["transaction.abort.timed.out.transaction.cleanup.interval.ms"])
    assert sweep > int(properties()["broker.session.timeout.ms"])


def test_one_node_needs_one_replica_of_everything() -> None:
    replicas = {
        name: value
        for name, value in properties().items()
        if name.endswith((".replication.factor", ".min.isr"))
    }
    assert len(replicas) == 4
    assert set(replicas.values()) == {"1"}


def test_three_nodes_replicate_and_one_may_be_away() -> None:
    ports = {1: 11, 2: 12, 3: 13}
    second = broker_properties(log_dir=Path("/data/log"), port=5, controller_ports=ports, node_id=2)
    assert second["listeners"] == "CLIENTS://127.0.0.1:5,CONTROLLER://127.0.0.1:12"
    assert second["controller.quorum.voters"] == "1@127.0.0.1:11,2@127.0.0.1:12,3@127.0.0.1:13"
    factors = {value for name, value in second.items() if name.endswith("replication.factor")}
    in_sync = {value for name, value in second.items() if name.endswith(("min.isr", "min.insync.replicas"))}
    assert (factors, in_sync) == ({"3"}, {"2"})


def test_rendered_as_java_reads_it() -> None:
    assert render({"a.b": "c=d:e", "f": ""}) == "a.b=c=d:e\nf=\n"


@pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\\b"])
def test_what_java_would_read_differently_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match=r"log\.dirs"):
        render({"log.dirs": value})
