"""The command `envicutor`."""

import logging

import typer

from infra.commands import audit, dead_letters, dependencies, packages, producers, roles
from infra.commands.binary_cache_key import binary_cache_key
from infra.commands.doctor import doctor
from infra.commands.rebuild import rebuild
from infra.commands.submissions import cancel, list_submissions, show
from infra.commands.submit import submit
from infra.commands.top import top
from infra.commands.up import up
from infra.commands.watch import watch
from infra.settings import LocalSettings

app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, help="Remote code execution on Kafka."
)
for command in (up, doctor, submit, watch, show, cancel, top, rebuild, binary_cache_key):
    app.command()(command)
app.command("list")(list_submissions)
app.add_typer(audit.app, name="audit")
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(dependencies.app, name="dependencies")
app.add_typer(packages.app, name="packages")
app.add_typer(producers.app, name="producers")
app.add_typer(roles.app)


@app.callback()
def configure() -> None:
    """Runs other people's programs, each with its own dependencies."""
    logging.basicConfig(
        level=LocalSettings().log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    for library in ("aiokafka", "httpx"):
        logging.getLogger(library).setLevel(logging.WARNING)


if __name__ == "__main__":
    app()
