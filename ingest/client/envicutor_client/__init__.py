"""Clients of Envicutor over HTTP, which need only httpx, pydantic and `topics`.

with Client("http://127.0.0.1:8000") as client:
    for event in client.events(client.submit({"run": "echo hello"}).id):
        print(event.name, event.data)

`AsyncClient` has the same methods for asyncio.
"""

from envicutor_client.asynchronous import AsyncClient
from envicutor_client.calls import LONGEST_WAIT_S
from envicutor_client.errors import ClientError, RequestRefusedError, UnavailableError
from envicutor_client.events import StreamEvent
from envicutor_client.synchronous import Client

__all__ = [
    "LONGEST_WAIT_S",
    "AsyncClient",
    "Client",
    "ClientError",
    "RequestRefusedError",
    "StreamEvent",
    "UnavailableError",
]
