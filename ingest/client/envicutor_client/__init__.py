"""Client of Envicutor over HTTP, which runs programs of other people in sandboxes.

from envicutor_client import Client

with Client("http://127.0.0.1:8000") as client:
    print(client.run("print(6 * 7)").stdout)

`AsyncClient` has the same methods for asyncio. `envicutor_client.models` has the models of requests and
answers.
"""

from envicutor_client.asynchronous import AsyncClient
from envicutor_client.errors import ClientError, NoSuchLanguageError, RequestRefusedError, UnavailableError
from envicutor_client.events import StreamEvent
from envicutor_client.live import PrintedOutput
from envicutor_client.models import Answer, Language, SubmissionRequest
from envicutor_client.programs import ProgramOptions
from envicutor_client.results import OutputImage, RunResult
from envicutor_client.synchronous import Client

__all__ = [
    "Answer",
    "AsyncClient",
    "Client",
    "ClientError",
    "Language",
    "NoSuchLanguageError",
    "OutputImage",
    "PrintedOutput",
    "ProgramOptions",
    "RequestRefusedError",
    "RunResult",
    "StreamEvent",
    "SubmissionRequest",
    "UnavailableError",
]
