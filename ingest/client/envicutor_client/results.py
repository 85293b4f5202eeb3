"""Results of programs: what they printed, how they ended, their output files."""

import base64
import html
from dataclasses import dataclass
from functools import cached_property

from envicutor_client.content import decoded, readable
from envicutor_client.models import Answer, StageResult


@dataclass(frozen=True)
class OutputImage:
    """An output file that is an image; notebooks display it."""

    name: str
    media_type: str
    data: bytes

    def _repr_png_(self) -> bytes | None:
        return self.data if self.media_type == "image/png" else None

    def _repr_html_(self) -> str:
        # The programs of an image in `src` do not run, such as those of SVG.
        content = base64.b64encode(self.data).decode()
        source = f"data:{self.media_type};base64,{content}"
        return f'<img alt="{html.escape(self.name)}" src="{html.escape(source)}">'


@dataclass(frozen=True, repr=False)
class RunResult:
    """Result of a program that ran once; `answer.run` has those of further test cases."""

    answer: Answer
    """Answer of the server, with the results of all stages."""

    @property
    def id(self) -> str:
        """Id of the submission."""
        return self.answer.id

    @property
    def ok(self) -> bool:
        """Whether the outcome is `ok`: every test case is accepted."""
        return self.answer.outcome == "ok"

    @property
    def verdict(self) -> str:
        """Verdict of the first test case that is not accepted, or `accepted`.

        If none ran, it is the outcome, such as `compile_failed`, or the status of a submission without one.
        """
        verdicts = [run.verdict for run in self.answer.run if run.verdict is not None]
        refused = (verdict for verdict in verdicts if verdict != "accepted")
        return next(refused, None) or next(iter(verdicts), None) or self.answer.outcome or self.answer.status

    @property
    def stdout(self) -> str:
        """Standard output of the program, or of the compiler if the program did not run."""
        return readable(self._stage.stdout, self._stage.encoding) if self._stage else ""

    @property
    def stderr(self) -> str:
        """Standard error of the program, or of the compiler if the program did not run.

        If neither ran, it is the explanation.
        """
        return readable(self._stage.stderr, self._stage.encoding) if self._stage else self.explanation

    @property
    def exit_code(self) -> int | None:
        """Exit code of the program, or of the compiler if the program did not run; None after a signal."""
        return self._stage.exit_code if self._stage else None

    @property
    def explanation(self) -> str:
        """Reason why nothing ran, such as a package that does not exist; else empty."""
        answer = self.answer
        installed = answer.dependencies
        texts = [answer.error, *map(str, answer.errors)]
        texts += [installed.explanation, installed.log] if installed and installed.explanation else []
        return "\n".join(filter(None, texts))

    @cached_property
    def files(self) -> dict[str, bytes]:
        """Contents of the output files by name, without those that were too large."""
        return {
            file.name: decoded(file.content, "base64")
            for run in self.answer.run[:1]
            for file in run.outputs
            if file.content is not None
        }

    @property
    def images(self) -> list[OutputImage]:
        """Output files that are images."""
        types = {file.name: file.media_type for run in self.answer.run[:1] for file in run.outputs}
        return [
            OutputImage(name, types[name], data)
            for name, data in self.files.items()
            if types[name].startswith("image/")
        ]

    @property
    def _stage(self) -> StageResult | None:
        return self.answer.run[0] if self.answer.run else self.answer.compile

    def __repr__(self) -> str:
        """Return verdict and exit code, and what was printed."""
        shown = f"{self.verdict}, exit code {self.exit_code}, stdout={self.stdout!r}, stderr={self.stderr!r}"
        return f"<RunResult {shown}{', files=' if self.files else ''}{', '.join(self.files)}>"

    def _repr_html_(self) -> str:
        texts = [("stdout", self.stdout), ("stderr", self.stderr)]
        printed = "".join(f'<pre class="{name}">{html.escape(text)}</pre>' for name, text in texts if text)
        ended = "" if self.ok else f"<p>{html.escape(self.verdict)}</p>"
        return printed + "".join(image._repr_html_() for image in self.images) + ended
