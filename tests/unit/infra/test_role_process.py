from infra import role_process
from infra.commands import roles


def test_the_command_line_knows_every_role_before_its_module_is_imported() -> None:
    assert {role.__name__.replace("_", "-") for role in roles.ROLES} == role_process.ROLES
