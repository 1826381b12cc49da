"""The same questions, as SMT-LIB 2 text, to cvc5: a solver of another make (the optional extra `second-opinion`).

Both limits are in cvc5's own deterministic units of work: of one question, and of all questions of a proof, which are
asked in the order of their length as long as some are left. So what it concludes, and what not, is the same on every
machine and for any number of processes.
"""

import multiprocessing
import os
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from holdfast_model.checkers.smt import SOLVER, Answer
from holdfast_model.errors import HoldfastError
from holdfast_model.evidence import Bound, OpenQuestion, SecondOpinion

SECOND_SOLVER = "cvc5"
"""The second solver, as evidence names it; its version belongs to the environment."""

QUESTION_RESOURCES = 500_000
"""The limit of one question in cvc5's resource units: a few seconds, where most questions need milliseconds."""

PROOF_RESOURCES = 30_000_000
"""No further question of a proof is asked once so many units are spent on it: a few minutes of processor time."""

ALONE_MAX = 2_000_000
"""Up to so many characters of questions are answered without further processes, whose start would take longer."""

AHEAD = 16
"""So many questions are given to the processes at once."""

_ANSWERS = {"sat": Answer.SATISFIABLE, "unsat": Answer.UNSATISFIABLE}

Progress = Callable[[int, int, str], None]
"""Called before some of the questions with (questions done, questions in all, what is done)."""

Decided = tuple[str, str, str]
"""An obligation: its invariant, property and action."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as text, what the first solver answered, and the obligations that rest on it."""

    text: str
    answer: Answer
    decides: tuple[Decided, ...]


def answer_by_cvc5(text: str, *, resources: int = QUESTION_RESOURCES) -> Answer:
    """What cvc5 answers to a script within so many units; HoldfastError where it is not installed."""
    return _answered(text, resources=resources)[0]


def _answered(text: str, *, resources: int) -> tuple[Answer, int]:
    """The answer, and the units that were spent on it."""
    try:
        import cvc5  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise HoldfastError(
            "a second opinion needs cvc5, which is not installed; expected: pip install 'holdfast[second-opinion]'"
        ) from error
    solver = cvc5.Solver(cvc5.TermManager())
    solver.setOption("rlimit", str(resources))
    solver.setOption("arrays-exp", "true")  # or it reads no table that has one number everywhere
    parser = cvc5.InputParser(solver)
    parser.setStringInput(cvc5.InputLanguage.SMT_LIB_2_6, text, "question")
    symbols = parser.getSymbolManager()
    said = ""
    while True:
        command = parser.nextCommand()
        if command.isNull():
            break
        said += str(command.invoke(solver, symbols))
    said = said.strip()
    assert said in _ANSWERS or said.startswith("unknown"), f"cvc5 was expected to answer a question, and said: {said}"
    spent = int(dict(solver.getStatistics())["resource::resourceUnitsUsed"]["value"])
    return _ANSWERS.get(said, Answer.UNKNOWN), spent


def opinion_on(
    questions: Sequence[Asked],
    *,
    question_resources: int | None = None,
    proof_resources: int | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> SecondOpinion:
    """What cvc5 says to the questions that decided something, short ones first.

    A contradiction is a bug of ours, and asserted. What it does not conclude is listed by obligation, with a reason.
    """
    of_question, of_proof = question_resources or QUESTION_RESOURCES, proof_resources or PROOF_RESOURCES
    ordered = sorted(questions, key=lambda question: len(question.text))
    answers = _answers(ordered, of_question, _workers(ordered) if workers is None else workers, progress)
    agreed = spent = 0
    still_open: dict[OpenQuestion, None] = {}
    for question in ordered:
        if spent >= of_proof:
            still_open |= _open(question, f"not asked: {of_proof:,} units were spent on shorter questions")
            continue
        answer, units = next(answers)
        spent += units
        if answer is Answer.UNKNOWN:
            still_open |= _open(question, f"no answer within {of_question:,} units")
            continue
        assert answer is question.answer, (
            f"{SOLVER} says {question.answer}, {SECOND_SOLVER} says {answer}: {', '.join(map(str, question.decides))}"
        )
        agreed += 1
    answers.close()
    return SecondOpinion(
        solver=SECOND_SOLVER,
        asked=len(ordered),
        agreed=agreed,
        not_concluded=tuple(still_open),
        bounds=(
            Bound(name=f"{SECOND_SOLVER} on one question", value=f"{of_question:,} of its units of work"),
            Bound(
                name=f"{SECOND_SOLVER} on a model's questions",
                value=f"short ones first, until {of_proof:,} of its units of work are spent",
            ),
        ),
    )


def _open(question: Asked, reason: str) -> dict[OpenQuestion, None]:
    """What is not concluded with a question, by obligation."""
    return {
        OpenQuestion(invariant=invariant, property=name, action=action, reason=reason): None
        for invariant, name, action in question.decides
    }


def _workers(questions: Sequence[Asked]) -> int:
    """How many processes answer: one where there is little to do, or where this process is one of several already."""
    if multiprocessing.parent_process() is not None or sum(len(q.text) for q in questions) <= ALONE_MAX:
        return 1
    return os.cpu_count() or 1


def _answers(
    questions: Sequence[Asked], resources: int, workers: int, progress: Progress | None
) -> Generator[tuple[Answer, int], None, None]:
    """The answer to each question and what it took, in order, a few ahead of what is taken of them."""
    ask = partial(_answered, resources=resources)
    # A fresh interpreter for each: solvers and the terms of one process are not shared with another.
    context = multiprocessing.get_context("spawn")
    with ExitStack() as stack:
        answer = stack.enter_context(ProcessPoolExecutor(workers, mp_context=context)).map if workers > 1 else map
        for start in range(0, len(questions), AHEAD):
            if progress is not None:
                progress(start, len(questions), f"asking {SECOND_SOLVER} as well")
            yield from answer(ask, [question.text for question in questions[start : start + AHEAD]])
