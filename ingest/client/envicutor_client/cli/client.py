"""Connection of commands to the HTTP server, and their messages if it refuses or does not answer."""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, NoReturn
from urllib.parse import urlsplit

import httpx
import typer
from pydantic import SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from envicutor_client import Client, RequestRefusedError, UnavailableError
from envicutor_client.calls import authorization
from envicutor_client.cli.output import USAGE, fail, print_note

NO_ANSWER = 7
RETRY_S = 3.0
"""Time after which a command gives up if the server does not answer; a person waits for it."""
UNREACHABLE = "`make up` or `envicutor up` starts it here; set ENVICUTOR_SERVER if it runs elsewhere"
CONFIG_FILE = Path(typer.get_app_dir("envicutor")) / "client.toml"


class ClientSettings(BaseSettings):
    """Server and API key of the commands and the Python client.

    The first source that has a value wins: the environment, `~/.config/envicutor/client.toml`, the default.
    """

    model_config = SettingsConfigDict(
        env_prefix="ENVICUTOR_",
        extra="ignore",
        frozen=True,
        toml_file=CONFIG_FILE,
        use_attribute_docstrings=True,
    )

    server: str = "http://127.0.0.1:8000"
    """URL of ingest. In `client.toml`: `server = "http://…"`."""
    key: SecretStr | None = None
    """API key, if the server needs one. In `client.toml`: `key = "…"`; only its owner may then be able to
    read the file (`chmod 600`)."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources of settings, the one with the highest priority first."""
        file = TomlConfigSettingsSource(settings_cls)
        if "key" in file.toml_data and CONFIG_FILE.stat().st_mode & 0o077:
            raise ValueError("other users may read this file, and it contains a key: `chmod 600` it")
        return init_settings, env_settings, dotenv_settings, file_secret_settings, file


Server = Annotated[
    str | None,
    typer.Option(help=f"URL of the server. Default: ENVICUTOR_SERVER, then `server` in {CONFIG_FILE}."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def target(server: str | None) -> tuple[str, str | None]:
    """Return the server's URL and API key. Exit with `USAGE` if the settings are wrong."""
    try:
        settings = ClientSettings()
    except ValidationError as error:
        fail("; ".join(map(_setting_error, error.errors())), USAGE)
    except (ValueError, OSError) as error:
        fail(f"{CONFIG_FILE}: {error}", USAGE)
    url = server or settings.server
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        fail(f"the server {url!r} is not a URL: expected one such as http://127.0.0.1:8000", USAGE)
    key = settings.key.get_secret_value() if settings.key else None
    try:
        authorization(key)
    except ValueError as error:
        fail(str(error), USAGE)
    return url, key


def _setting_error(details: Any) -> str:
    return f"{'.'.join(map(str, details['loc']))}: {details['msg'].removeprefix('Value error, ')}"


def needs_key() -> NoReturn:
    """Print how to give an API key, and exit with `USAGE`."""
    fail(
        f'the server requires an API key: set ENVICUTOR_KEY, or `key = "…"` in {CONFIG_FILE}; '
        "`envicutor keys create NAME` makes one",
        USAGE,
    )


def no_answer(why: str, error: BaseException | None) -> NoReturn:
    """Print `why`, and exit with `NO_ANSWER`. If `error` is a failed connection, add a hint."""
    fail(f"{why}\n{UNREACHABLE}" if isinstance(error, httpx.ConnectError) else why, NO_ANSWER)


@contextmanager
def client(server: str | None) -> Iterator[Client]:
    """Yield a client of the server. Exit with `USAGE` if it refuses, `NO_ANSWER` if it does not answer."""
    url, key = target(server)
    printed = set[str]()

    def report_retry(why: str) -> None:
        if why not in printed:
            printed.add(why)
            print_note(f"{why}; trying again")

    with Client(url, key, retry_s=RETRY_S, on_retry=report_retry) as client:
        try:
            yield client
        except RequestRefusedError as error:
            for wrong in error.errors:
                print_note(str(wrong))
            if error.status == HTTPStatus.UNAUTHORIZED and not key:
                needs_key()
            fail("the request was not accepted" if error.errors else str(error), USAGE)
        except (UnavailableError, TimeoutError) as error:
            no_answer(str(error), error.__cause__)
