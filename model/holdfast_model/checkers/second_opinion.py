"""The same questions, as SMT-LIB 2 text, to cvc5: a solver of another make (the optional extra `second-opinion`)."""

from holdfast_model.checkers.smt import Answer
from holdfast_model.errors import HoldfastError

SECOND_SOLVER = "cvc5"
"""The second solver, as evidence names it; its version belongs to the environment."""

QUESTION_RESOURCES = 2_000_000
"""The limit of one question in cvc5's resource units: some ten seconds, where most questions need milliseconds."""

_ANSWERS = {"sat": Answer.SATISFIABLE, "unsat": Answer.UNSATISFIABLE}


def answer_by_cvc5(text: str, *, resources: int = QUESTION_RESOURCES) -> Answer:
    """What cvc5 answers to a script; HoldfastError where it is not installed.

    The limit is in cvc5's own deterministic units, so that an answer is the same on every machine.
    """
    try:
        import cvc5  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise HoldfastError(
            "a second opinion needs cvc5, which is not installed; expected: pip install 'holdfast[second-opinion]'"
        ) from error
    solver = cvc5.Solver(cvc5.TermManager())
    solver.setOption("rlimit", str(resources))
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
    return _ANSWERS.get(said, Answer.UNKNOWN)
