"""Facts of every kind, as clients, workers, builders and health checkers could write them.

Few attempts, workers and contents, so that facts meet; every text that JSON can carry.
"""

from hypothesis import strategies as st

from topics.dependencies import facts as dependencies
from topics.dependencies.artifacts import Artifact
from topics.request.cases import TestCase
from topics.request.errors import FieldError
from topics.request.files import File
from topics.request.limits import DependenciesLimits, Limits, RunLimits
from topics.request.model import Dependencies, SubmissionRequest
from topics.submissions import facts as submissions
from topics.submissions.stage import CompileStage, DependenciesStage, RunStage

text = st.text(max_size=5)
seconds = st.floats(0, 1000)
attempts = st.integers(1, 4)
workers = st.sampled_from(["v", "w"])
allowed = st.integers(1, 4)

sets_of_dependencies = st.builds(Dependencies, packages=st.just(("bash",))) | st.builds(
    Dependencies,
    nix=st.text(min_size=1, max_size=5),
    pypi=st.sampled_from([(), ("a==1.0",)]),
    npm=st.sampled_from([(), ("b@1.0.0",)]),
)
programs = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=5) | st.just(
    ("a", "")
)
requests = st.builds(
    SubmissionRequest,
    files=st.lists(st.builds(File, name=st.just("main.py"), content=text), max_size=1).map(tuple),
    dependencies=st.none() | sets_of_dependencies,
    compile=st.none() | programs,
    run=programs,
    env=st.dictionaries(st.just("NAME"), st.just("value")),
    test_cases=st.lists(st.builds(TestCase, input=text, expected_output=st.none() | text), max_size=2).map(
        tuple
    ),
    callback_url=st.none() | st.just("https://hooks.example.org/a"),
    limits=st.just(Limits()) | st.builds(Limits, run=st.builds(RunLimits, wall_time_s=st.floats(0.1, 60))),
)

signals = st.none() | st.just("SIGKILL")
codes = st.none() | st.integers(0, 255)
stages = st.builds(
    CompileStage,
    stdout=text,
    stderr=text,
    exit_code=codes,
    signal=signals,
    wall_time_s=seconds,
    cached=st.booleans(),
)
run_stages = st.builds(
    RunStage,
    stdout=text,
    exit_code=codes,
    passed=st.none() | st.booleans(),
    verdict=st.none() | st.sampled_from(["accepted", "not_run"]),
    score=st.none() | st.floats(0, 1e9),
)
dependencies_stages = st.builds(
    DependenciesStage, id=text, cached=st.booleans(), explanation=st.none() | text
)

requested = st.builds(
    submissions.Requested,
    request=requests,
    content_hash=st.sampled_from(["one", "two"]),
    dependencies_id=text,
    package_set=text,
    allowed_attempts=allowed,
    allowed_host_faults=allowed,
    owner=st.none() | st.just("owner"),
    source=st.sampled_from(["http", "kafka"]),
    reply_topic=st.none() | st.sampled_from(["replies.a", "replies.b"]),
)
finished = st.builds(
    submissions.Finished,
    attempt=attempts,
    worker=workers,
    outcome=st.sampled_from(["ok", "run_failed", "internal_error"]),
    dependencies=st.none() | dependencies_stages,
    compile=st.none() | stages,
    run=st.lists(run_stages, max_size=2).map(tuple),
    error=st.none() | text,
)
of_submissions: st.SearchStrategy[submissions.SubmissionFact] = st.one_of(
    requested,
    st.builds(submissions.Started, attempt=attempts, worker=workers),
    st.builds(
        submissions.DependenciesInstalled, attempt=attempts, worker=workers, dependencies=dependencies_stages
    ),
    st.builds(submissions.Compiled, attempt=attempts, worker=workers, compile=stages),
    finished,
    st.builds(
        submissions.HandedBack, attempt=attempts, worker=workers, reason=text, host_fault=st.booleans()
    ),
    st.builds(submissions.LeaseExpired, attempt=attempts, checker=text),
    st.builds(submissions.Cancelled, reason=text),
    st.builds(
        submissions.Rejected,
        errors=st.lists(st.builds(FieldError, field=text, message=text), max_size=2).map(tuple),
    ),
)

installed = st.builds(
    dependencies.Installed,
    attempt=attempts,
    builder=workers,
    host=workers,
    store_path=text,
    variables=st.dictionaries(text, text, max_size=1),
    packages=st.lists(text, max_size=2).map(tuple),
    size_bytes=st.integers(0, 2**40),
    wall_time_s=seconds,
    published=st.booleans(),
    resolution=st.lists(
        st.builds(Artifact, registry=st.just("npm"), name=text, version=text, url=text, hash=text), max_size=2
    ).map(tuple),
)
failed = st.builds(
    dependencies.Failed,
    attempt=attempts,
    builder=workers,
    fault=st.sampled_from(["theirs", "limit", "ours"]),
    explanation=text,
    log=text,
    wall_time_s=seconds,
    expires_s=st.floats(0, 10),
)
of_dependencies: st.SearchStrategy[dependencies.DependenciesFact] = st.one_of(
    st.builds(
        dependencies.Requested,
        dependencies=sets_of_dependencies,
        package_set=text,
        system=text,
        limits=st.just(DependenciesLimits()),
        allowed_attempts=allowed,
        allowed_host_faults=allowed,
    ),
    st.builds(dependencies.Started, attempt=attempts, builder=workers, waiting=st.booleans()),
    installed,
    failed,
    st.builds(
        dependencies.HandedBack, attempt=attempts, builder=workers, reason=text, host_fault=st.booleans()
    ),
    st.builds(dependencies.LeaseExpired, attempt=attempts, checker=text),
    st.builds(dependencies.Evicted, generation=st.integers(1, 3), host=workers),
    st.builds(dependencies.Lost, generation=st.integers(1, 3), host=workers, reason=text),
)
