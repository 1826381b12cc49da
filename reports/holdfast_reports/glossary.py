"""The words of a report, explained for a reader who meets them for the first time."""

GLOSSARY: tuple[tuple[str, str], ...] = (
    (
        "Invariant",
        (
            "A sentence about an exchange that has to be true at all times, such as “a filled order never "
            "becomes open again”. Each has an id, such as FINAL-1."
        ),
    ),
    (
        "Held",
        (
            "Nothing contradicted the check, it was really exercised, and it finished. It speaks only within "
            "the bounds stated beside it."
        ),
    ),
    (
        "Violated",
        "At least one thing contradicted the check, and the report shows which.",
    ),
    (
        "Inconclusive",
        (
            "Neither held nor violated: a solver gave no answer, a search was stopped, or nothing happened that"
            " the check speaks of. It never counts as held."
        ),
    ),
    (
        "Not exercised",
        ("The invariant was checked zero times because nothing of its kind happened. Nothing is known about it."),
    ),
    (
        "Vacuous",
        "True only because there was nothing to check. It shows nothing and never counts as held.",
    ),
    (
        "Bound",
        "A limit within which a verdict holds, such as a number of accounts or of commands.",
    ),
    (
        "Counterexample",
        ("The shortest sequence found that shows a violation. It is a file that can be run again, step by step."),
    ),
    (
        "Command",
        "A request to the exchange: to place an order, to cancel it, to withdraw, to halt the market.",
    ),
    (
        "Sequence",
        "Commands and operations such as a crash or a restore, given to a fresh exchange one after another.",
    ),
    (
        "Model",
        ("A small formal description of an exchange, on which questions can be answered for all cases at once."),
    ),
    (
        "Obligation",
        (
            "One question to a solver: does this action keep this property, starting from any state that "
            "satisfies the invariants? A proof is complete when every obligation is proved."
        ),
    ),
    (
        "Contract",
        (
            "What a function promises: its postconditions hold of the result for every input that satisfies its "
            "preconditions. Unreachable means that no such input was found, so that nothing was checked."
        ),
    ),
    (
        "Auxiliary invariant",
        (
            "A property that a proof needs as a stepping stone. It is proved along with the others and claims "
            "nothing of its own."
        ),
    ),
    (
        "Counterexample to induction",
        (
            "A state and an action that lead to a broken property, as a refuted obligation shows them. Whether "
            "the state before can be reached at all is left open."
        ),
    ),
    (
        "Exploration",
        "A visit to every state that a model can reach within its bounds.",
    ),
    (
        "Collision probability",
        (
            "States are told apart by fingerprints. This bounds the chance that two different states shared "
            "one, so that one of them was never looked at."
        ),
    ),
    (
        "Goal",
        (
            "A situation worth testing, such as an order filled between a snapshot and a crash. The report "
            "counts how often the runs reached it."
        ),
    ),
    (
        "Planted fault",
        (
            "A defect put into the reference exchange on purpose. A check that misses it could miss the real "
            "thing too."
        ),
    ),
    (
        "Reference",
        "The small exchange that comes with Holdfast and serves as the standard of comparison.",
    ),
    (
        "Convention",
        ("A documented behaviour of the engine under test that differs from the reference for a legitimate reason."),
    ),
    (
        "Finding",
        "A difference from the reference that no convention explains.",
    ),
    (
        "Seed",
        ("The number from which all generated sequences follow: one seed gives the same sequences on any machine."),
    ),
    (
        "Profile",
        "A fixed amount of work, chosen by name: smoke, ci or nightly.",
    ),
)
