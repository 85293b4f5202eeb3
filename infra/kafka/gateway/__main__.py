"""Entry point of the gateway's process, `python -m infra.kafka.gateway`. `envicutor up --secure` runs it."""

import logging
import os

import uvloop

from infra.kafka.gateway.server import Gateway
from infra.kafka.gateway.settings import GatewayAddresses, GatewaySettings

if __name__ == "__main__":
    logging.basicConfig(
        level=os.environ.get("ENVICUTOR_LOG_LEVEL", "INFO"),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    uvloop.run(Gateway(GatewaySettings(), GatewayAddresses()).run())
