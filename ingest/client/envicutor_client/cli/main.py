"""Entry point of the command `envicutor-client`."""

import typer

from envicutor_client.cli.languages import languages
from envicutor_client.cli.run import run
from envicutor_client.cli.submissions import cancel, list_submissions, show
from envicutor_client.cli.submit import submit
from envicutor_client.cli.watch import watch

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Run programs on a server of Envicutor. `envicutor` of a server has the same commands.",
)
app.command()(submit)
app.command()(run)
app.command()(watch)
app.command()(show)
app.command("list")(list_submissions)
app.command()(cancel)
app.command()(languages)
