"""The questions that a proof asks a solver, each once: those that differ only by names have one answer."""

from collections.abc import Sequence

from holdfast_model.checkers.canonical import Written, written
from holdfast_model.checkers.smt import Answer, Reply, Smt
from holdfast_model.spec.terms import Operand


class Questions:
    """Asks a solver, and remembers what it was asked."""

    def __init__(self, smt: Smt, *, resources: int) -> None:
        self._smt = smt
        self._resources = resources
        self._answers: dict[Written, Answer] = {}

    def ask(self, conditions: Sequence[Operand]) -> Answer:
        """Whether some state and arguments satisfy all conditions."""
        key = written(conditions)
        answer = self._answers.get(key)
        if answer is None:
            answer = self._answers[key] = self._smt.query(conditions, resources=self._resources).answer
        return answer

    def values(self, conditions: Sequence[Operand]) -> Reply:
        """As `ask`, with values that satisfy the conditions. They go by their names, so it is asked again."""
        reply = self._smt.query(conditions, resources=self._resources)
        self._answers[written(conditions)] = reply.answer
        return reply
