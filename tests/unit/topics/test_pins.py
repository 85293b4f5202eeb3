import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from topics.dependencies import dependencies_id
from topics.request.errors import InvalidRequestError
from topics.request.limits import MiB
from topics.request.model import Dependencies
from topics.request.parsing import field_errors, parse_request
from topics.request.pins import is_pin
from topics.submissions.acceptance import SYSTEM, as_before, make_requested, to_resolve, with_pins
from topics.submissions.state import Submission

PYPI = ["requests==2.32.5", "Flask-SQLAlchemy==3.1.1", "uvicorn[standard]==0.30", "a.b_c==1!2.0rc1+cpu.1"]
NPM = ["lodash@4.17.21", "@types/node@20.0.0", "JSONStream@1.3.5", "a@1.0.0-rc.1+b.2"]


def id_of(pypi: list[str], npm: list[str]) -> str:
    return dependencies_id(Dependencies(pypi=tuple(pypi), npm=tuple(npm)), "pin", SYSTEM)


@given(st.lists(st.sampled_from(PYPI), min_size=1), st.lists(st.sampled_from(NPM)), st.randoms())
def test_equal_sets_are_one_environment(pypi: list[str], npm: list[str], random: object) -> None:
    shuffled = [*reversed(pypi), *pypi]
    spelt = [pin.split("==")[0].upper().replace("-", "__") + "==" + pin.split("==")[1] for pin in shuffled]
    assert id_of(pypi, npm) == id_of(spelt, [*npm, *reversed(npm)])


@given(st.sets(st.sampled_from(PYPI)), st.sets(st.sampled_from(NPM)), st.sets(st.sampled_from(PYPI)))
def test_other_sets_are_another(one: set[str], npm: set[str], other: set[str]) -> None:
    assume(npm or (one and other))
    assert (id_of(list(one), list(npm)) == id_of(list(other), list(npm))) == (one == other)


def test_extras_count_and_are_joined() -> None:
    both = id_of(["a[x]==1.0", "A[Y]==1.0"], [])
    assert both == id_of(["a[y,x]==1.0"], []) != id_of(["a[x]==1.0"], [])
    assert id_of(["a==1.0"], []) == dependencies_id(
        Dependencies(packages=(), pypi=("a==1.0",)), "pin", "x86_64-linux"
    )


def test_what_stands_for_one_environment_is_kept_in_one_spelling() -> None:
    asked = Dependencies(packages=("bash",), pypi=("B_b==1.0", "a==v2"), npm=("b@1.0.0", "a@1.0.0"))
    assert (asked.pypi, asked.npm) == (("a==2", "b-b==1.0"), ("a@1.0.0", "b@1.0.0"))
    assert Dependencies.model_validate_json(asked.model_dump_json()) == asked
    assert "pypi" not in Dependencies(packages=("bash",)).model_dump()


def test_a_version_may_be_left_open_in_a_request_only_once() -> None:
    asked = Dependencies(pypi=("Pandas", "a == 1.0", "b[Y,x] >= 2 , < 3"))
    assert asked.pypi == ("pandas", "a==1.0", "b[x,y]<3,>=2")
    assert [is_pin(name) for name in asked.pypi] == [False, True, False]
    for twice in (("a", "a==1.0"), ("a>=1", "A<2")):
        with pytest.raises(ValidationError, match=r"a is given as .* give one of them"):
            Dependencies(pypi=twice)
    with pytest.raises(ValidationError, match="21 packages have no version, and 20 may"):
        Dependencies(pypi=tuple(f"a{number}" for number in range(21)))


@pytest.mark.parametrize(
    ("field", "pin"),
    [
        *(
            ("pypi", pin)
            for pin in (
                "requests==",
                "-r==1.0",
                "--index-url=x==1.0",
                "x @ https://127.0.0.1/x.whl",
                "../x==1.0",
                "x==1.0 --hash=sha256:0",
                "x==1.0; python_version<'3'",
                "x[]==1.0",
                "x==1.0\n--pre",
                "é==1.0",
                "==1.0",
            )
        ),
        *(
            ("npm", pin)
            for pin in (
                "lodash",
                "lodash@4",
                "lodash@^4.0.0",
                "lodash@latest",
                "-g@1.0.0",
                "--registry@1.0.0",
                "@scope@1.0.0",
                "@../x@1.0.0",
                "x@https://127.0.0.1/x.tgz",
                "x@npm:y@1.0.0",
                "x@file:../y",
                "x@01.0.0",
                "x@1.0.0\n",
                "_x@1.0.0",
                ".x@1.0.0",
            )
        ),
    ],
)
def test_anything_but_a_name_and_a_version_is_refused(field: str, pin: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Dependencies.model_validate({field: (pin,)})
    (error,) = field_errors(refused.value)
    assert error.field == field
    assert "write NAME" in error.message


def test_one_name_has_one_version() -> None:
    with pytest.raises(ValidationError, match=r"a is given as a==1\.0 and as a==2\.0: give one of them"):
        Dependencies(pypi=("a==1.0", "A==2.0"))
    with pytest.raises(ValidationError, match="give packages or nix, or packages of pypi or npm"):
        Dependencies()
    with pytest.raises(ValidationError, match="give either packages or nix"):
        Dependencies(packages=(), nix="[ ]", pypi=("a==1.0",))


def test_pins_that_were_found_are_part_of_the_identity_and_not_of_the_content() -> None:
    raw = b'{"run": "true", "dependencies": {"pypi": ["b>=1", "A"]}}'
    asked = make_requested(*parse_request(raw, MiB), "pin", source="http")
    assert to_resolve(asked) == ("b>=1", "a")
    resolved = with_pins(asked, ["b==1.5", "a==2"])
    assert resolved.request.environment.pypi == ("a==2", "b==1.5")
    assert to_resolve(resolved) == ()
    assert resolved.content_hash == asked.content_hash
    assert resolved.dependencies_id == id_of(["a==2", "b==1.5"], [])
    with pytest.raises(InvalidRequestError, match=r"dependencies\.pypi\.1: why"):
        with_pins(asked, ["b==1.5", ValueError("why")])

    earlier = Submission(
        id="x",
        status="finished",
        created_at="",
        content_hash=asked.content_hash,
        request=resolved.request,
        dependencies_id=resolved.dependencies_id,
        package_set="pin",
    )
    assert as_before(asked, earlier) == resolved
    assert as_before(asked, earlier.replace(content_hash="other")) is None
    assert as_before(asked, earlier.replace(owner="other")) is None
    assert as_before(asked, None) is None
