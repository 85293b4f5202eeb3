"""What the stages of a worker may have together."""

import pytest
from pydantic import ValidationError

from processors.sandbox import SandboxError, Sandboxes, SandboxSettings, inherited
from processors.sandbox.cgroups import share


def test_each_box_can_have_as_many_processes_as_any_limit_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    assert SandboxSettings(boxes=3).total_processes == 3 * 512
    monkeypatch.setenv("ENVICUTOR_CEILINGS", '{"run": {"processes": 600, "open_files": 9000}}')
    assert SandboxSettings(boxes=3).total_processes == 3 * 600
    assert inherited.needed()["NOFILE"] == 9000


@pytest.mark.parametrize(("cpus", "boxes"), [(1, 64), (32, 64), (33, 66), (128, 256)])
def test_each_cpu_has_a_box_for_a_program_and_one_for_its_checker(
    cpus: int, boxes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(share, "processors", lambda: cpus)
    settings = SandboxSettings()
    assert settings.boxes == boxes
    settings.check_slots(cpus)


def test_slots_without_two_boxes_are_refused() -> None:
    sandboxes = Sandboxes(SandboxSettings(boxes=5))
    sandboxes.check_slots(2)
    with pytest.raises(SandboxError, match=r"3 slots need 6 boxes, .* set ENVICUTOR_SANDBOX_BOXES to 6"):
        sandboxes.check_slots(3)


def test_fewer_for_all_together_are_refused() -> None:
    with pytest.raises(
        ValidationError, match="total_processes must be at least 1536: 512 in each of 3 boxes"
    ):
        SandboxSettings(boxes=3, total_processes=1535)


def test_user_ids_of_all_places_exist() -> None:
    highest = 2**32 - 2
    assert SandboxSettings(boxes=2, first_uid=highest - 511).first_uid == highest - 511
    with pytest.raises(ValidationError, match=f"first_uid must be at most {highest - 511}"):
        SandboxSettings(boxes=2, first_uid=highest - 510)
