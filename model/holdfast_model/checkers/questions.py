"""The questions that a proof asks a solver, each once: those that differ only by names have one answer.

The questions that decided something can be asked again of another solver, and written to files.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from holdfast_model.checkers.canonical import Written, written
from holdfast_model.checkers.second_opinion import Asked, Progress, opinion_on
from holdfast_model.checkers.smt import Answer, Reply, Smt
from holdfast_model.checkers.smtlib import STATUS, script
from holdfast_model.errors import HoldfastError
from holdfast_model.evidence import Obligation, SecondOpinion
from holdfast_model.spec.model import Model
from holdfast_model.spec.terms import Operand


@dataclass(slots=True, eq=False)
class Question:
    """Whether something satisfies all conditions, the answer, and the obligations that rest on it.

    An obligation is named by its invariant, property and action; a question without one is whether an action can be
    taken at all.
    """

    conditions: tuple[Operand, ...]
    answer: Answer
    decides: dict[tuple[str, str, str], None] = field(default_factory=dict)


class Questions:
    """Asks a solver, and remembers what it was asked."""

    def __init__(self, model: Model, *, resources: int) -> None:
        self._model = model
        self._smt = Smt(model.variables, model.spec.sizes)
        self._resources = resources
        self._asked: dict[Written, Question] = {}

    def ask(self, conditions: Sequence[Operand]) -> Question:
        """Whether some state and arguments satisfy all conditions."""
        key = written(conditions)
        question = self._asked.get(key)
        if question is None:
            answer = self._smt.query(conditions, resources=self._resources).answer
            question = self._asked[key] = Question(tuple(conditions), answer)
        return question

    def values(self, conditions: Sequence[Operand]) -> tuple[Question, Reply]:
        """As `ask`, with values that satisfy the conditions. They go by their names, so it is asked again."""
        reply = self._smt.query(conditions, resources=self._resources)
        question = self._asked.setdefault(written(conditions), Question(tuple(conditions), reply.answer))
        return question, reply

    @property
    def deciding(self) -> list[Question]:
        """The questions on which an obligation rests, in the order asked."""
        return [q for q in self._asked.values() if q.decides and q.answer is not Answer.UNKNOWN]

    def _script(self, question: Question, *, expected: Answer | None) -> str:
        return script(
            question.conditions,
            variables=self._model.variables,
            sizes=self._model.spec.sizes,
            expected=expected,
            comments=[
                f"{self._model.name}: {invariant} ({name}) under {action}".replace("\n", " ")
                for invariant, name, action in question.decides
            ],
        )

    def second_opinion(self, progress: Progress | None = None) -> SecondOpinion:
        """What cvc5 says to the questions that decided something; a contradiction is a bug of ours, and asserted."""
        asked = [Asked(self._script(q, expected=None), q.answer, tuple(q.decides)) for q in self.deciding]
        return opinion_on(asked, progress=progress)

    def export(self, folder: Path, obligations: Sequence[Obligation]) -> int:
        """Write each question that decided something as SMT-LIB 2, and `manifest.json`; how many there are.

        The manifest lists every obligation with its verdict and the files on which that rests, and every file with
        the answer that is expected. An obligation without files was settled without a solver.
        """
        files: dict[tuple[str, str, str], list[str]] = {}
        entries = []
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for old in sorted(folder.glob("*.smt2")):
                old.unlink()
            for number, question in enumerate(self.deciding, start=1):
                name = f"{number:04}.smt2"
                (folder / name).write_text(self._script(question, expected=question.answer), encoding="utf-8")
                entries.append({"file": name, "expected": STATUS[question.answer]})
                for decided in question.decides:
                    files.setdefault(decided, []).append(name)
            manifest = {
                "model": self._model.name,
                "questions": entries,
                "obligations": [
                    {
                        "invariant": o.invariant,
                        "property": o.property,
                        "action": o.action,
                        "verdict": str(o.verdict),
                        "settled_by": o.solver,
                        "files": files.get((o.invariant, o.property, o.action), []),
                    }
                    for o in obligations
                ],
            }
            (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise HoldfastError(f"{folder}: cannot be written: {error.strerror}") from error
        return len(entries)
