"""How commands find the server, and what they do where it refuses or does not answer."""

import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from infra.commands.output import fail, say
from ingest.client import Client, RefusedError, UnavailableError

USAGE = 2
NO_ANSWER = 7
CONFIG_FILE = Path(typer.get_app_dir("envicutor")) / "client.toml"


class ClientSettings(BaseSettings):
    """Where the commands find the system: of the environment, else of `client.toml`, else the default."""

    model_config = SettingsConfigDict(
        env_prefix="ENVICUTOR_", extra="ignore", frozen=True, toml_file=CONFIG_FILE
    )

    server: str = "http://127.0.0.1:8000"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The first one that knows wins."""
        file = TomlConfigSettingsSource(settings_cls)
        return init_settings, env_settings, dotenv_settings, file_secret_settings, file


Server = Annotated[
    str | None,
    typer.Option(help=f"Where ingest listens; else ENVICUTOR_SERVER, else `server` in {CONFIG_FILE}."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@contextmanager
def client(server: str | None) -> Iterator[Client]:
    """A client; where there is no answer the command ends, with 2 or 7."""
    try:
        found = server or ClientSettings().server
    except (tomllib.TOMLDecodeError, ValueError) as error:
        fail(f"{CONFIG_FILE}: {error}", USAGE)
    with Client(found) as client:
        try:
            yield client
        except RefusedError as error:
            for wrong in error.errors:
                say(f"{wrong.field}: {wrong.message}" if wrong.field else wrong.message)
            fail("the request was not accepted" if error.errors else str(error), USAGE)
        except (UnavailableError, TimeoutError) as error:
            fail(str(error), NO_ANSWER)
