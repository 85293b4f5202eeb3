"""`envicutor languages`: languages that need neither packages nor commands of the request."""

import json

import typer

from envicutor_client.calls import dump
from envicutor_client.cli.client import AsJson, Server, client
from envicutor_client.cli.tables import plain_table, show_table


def languages(server: Server = None, as_json: AsJson = False) -> None:
    """List the languages for `run` and for the field `language` of requests.

    With --json, print one language per line, with its packages and commands.

    Exit codes: 0 ok, 7 no answer.
    """
    with client(server) as connected:
        known = connected.languages()
    if as_json:
        for language in known:
            typer.echo(json.dumps(dump(language), ensure_ascii=False))
        return
    table = plain_table()
    for column in ("name", "language", "file", "prebuilt"):
        table.add_column(column, overflow="fold")
    for language in known:
        prebuilt = "yes" if language.prebuilt else ""
        table.add_row(language.name, language.title, language.source_file, prebuilt)
    show_table(table)
