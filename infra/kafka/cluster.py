"""Brokers of one machine: a single one, or several that replicate to each other."""

import json
from pathlib import Path

from infra.kafka.embedded import (
    HEAP_BYTES,
    Distribution,
    EmbeddedKafka,
    KafkaStartError,
    Quorum,
    new_cluster_id,
)
from infra.kafka.ports import choose_free_port
from infra.kafka.tls import Tls

_QUORUM = "kafka-quorum.json"


def local_brokers(
    data_dir: Path,
    distribution: Distribution,
    *,
    count: int,
    port: int,
    user: str | None,
    tls: Tls | None = None,
    heap_bytes: int = HEAP_BYTES,
    runs_on: bool = False,
) -> list[EmbeddedKafka]:
    """Return `count` brokers that keep their data below `data_dir`, without starting them.

    The first broker listens on `port`, the others on the ports after it; 0 chooses free ones. With `tls`
    these are the ports of a gateway, which the caller starts. `runs_on` is that of `EmbeddedKafka`.

    Raises:
        KafkaStartError: the data folder belongs to another number of brokers.
    """
    if count == 1 and not (data_dir / _QUORUM).exists():
        return [
            EmbeddedKafka(
                data_dir / "kafka",
                distribution,
                port=port,
                user=user,
                tls=tls,
                heap_bytes=heap_bytes,
                runs_on=runs_on,
                behind_gateway=tls is not None,
            )
        ]
    quorum = _quorum(data_dir, count)
    return [
        EmbeddedKafka(
            data_dir / f"kafka-{node_id}",
            distribution,
            port=port and port + node_id - 1,
            user=user,
            node_id=node_id,
            quorum=quorum,
            tls=tls,
            heap_bytes=heap_bytes,
            runs_on=runs_on,
            behind_gateway=tls is not None,
        )
        for node_id in quorum.controller_ports
    ]


def _quorum(data_dir: Path, count: int) -> Quorum:
    """Return cluster id and controller ports, which stay the same in every run on the same data.

    Raises:
        KafkaStartError: the data folder belongs to another number of brokers.
    """
    file = data_dir / _QUORUM
    if not file.exists():
        if (data_dir / "kafka").exists():
            raise KafkaStartError(_other_number(data_dir, 1, count))
        made = {"cluster_id": new_cluster_id(), "ports": [choose_free_port() for _ in range(count)]}
        file.write_text(json.dumps(made))
    kept = json.loads(file.read_text())
    if len(kept["ports"]) != count:
        raise KafkaStartError(_other_number(data_dir, len(kept["ports"]), count))
    return Quorum(kept["cluster_id"], dict(enumerate(kept["ports"], start=1)))


def _other_number(data_dir: Path, found: int, wanted: int) -> str:
    return f"{data_dir} holds the data of {found} broker(s), not of {wanted}: use another folder"
