"""`envicutor up`: a whole system on this machine, in the foreground."""

import asyncio
import os
import signal
import sys
from typing import Annotated

import typer
from confluent_kafka import KafkaException

from infra.commands.known_settings import check_settings, misspelt
from infra.commands.output import USAGE, fail, print_note, reason
from infra.kafka.embedded import KafkaStartError
from infra.kafka.install import KafkaInstallError
from infra.local import LocalCluster, NotRootError, PortTakenError
from infra.package_sets import EnvironmentsFileError
from infra.service_user import ServiceUserError
from infra.settings import LocalSettings
from nix.errors import CacheError
from topics.kafka.admin import TopicMismatchError


def up(
    workers: Annotated[int | None, typer.Option(help="Number of workers.", min=1)] = None,
    cache_builders: Annotated[int | None, typer.Option(help="Number of cache builders.", min=1)] = None,
    store_processors: Annotated[
        int | None, typer.Option(help="Number of processors of each store.", min=1)
    ] = None,
    health_checkers: Annotated[
        int | None, typer.Option(help="Number of processes with health checkers.", min=1)
    ] = None,
    brokers: Annotated[
        int | None, typer.Option(help="Number of brokers; the first start on a data folder fixes it.", min=1)
    ] = None,
    secure: Annotated[
        bool | None, typer.Option("--secure", help="Kafka with TLS, users and rights.", show_default=False)
    ] = None,
) -> None:
    """Start Kafka and the processes of all roles. Stop them on Ctrl-C or SIGTERM.

    Data are kept between runs in ENVICUTOR_DATA_DIR (/var/lib/envicutor). With --secure, its folder `secrets`
    has the passwords, and operator.env for the commands.

    Exit codes: 0 stopped, 1 a part cannot start, 2 a setting is wrong, or the HTTP port is in use.
    """
    given = {
        "workers": workers,
        "cache_builders": cache_builders,
        "store_processors": store_processors,
        "health_checkers": health_checkers,
        "brokers": brokers,
        "secure": secure,
    }
    for warning in misspelt(os.environ):
        print_note(warning)
    check_settings()
    settings = LocalSettings().model_copy(
        update={name: value for name, value in given.items() if value is not None}
    )
    try:
        asyncio.run(_until_stopped(LocalCluster(settings, print_note)))
    except (PortTakenError, ServiceUserError) as error:
        fail(str(error), USAGE)
    except (
        NotRootError,
        KafkaStartError,
        KafkaInstallError,
        CacheError,
        EnvironmentsFileError,
        TopicMismatchError,
        OSError,
    ) as error:
        fail(reason(error), 1)
    except KafkaException as error:
        fail(f"the broker failed a request: {reason(error)}", 1)


async def _until_stopped(cluster: LocalCluster) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    starting = asyncio.create_task(cluster.start())
    stopping = asyncio.create_task(stopped.wait())
    try:
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not stopped.is_set():
            await starting
            kafka = cluster.client_bootstrap_servers
            print_note(
                f"ready: HTTP on {cluster.url} (documentation at /docs), Kafka on {kafka}; Ctrl-C stops"
            )
            if cluster.requires_keys:
                print_note("HTTP requires API keys: `envicutor keys create NAME` creates one")
        await stopping
    finally:
        was_starting = not starting.done()
        starting.cancel()
        await cluster.stop()
        if (
            was_starting
        ):  # a thread of the start may still wait for the stopped broker, and would block the exit
            sys.stdout.flush()
            os._exit(0)
