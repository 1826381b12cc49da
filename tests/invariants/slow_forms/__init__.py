"""Slow, obviously right forms of the invariants, to hold the monitors against.

A slow form is a function of a whole history (`tale.Tale`: all that was asked, told and shown, in one list). It is
written from the invariant's sentence and from `docs/exchange.md`, goes back to the first event for whatever it asks,
keeps nothing between two questions, and knows nothing of `Told`. It yields violations: the step, and the name of what
is wrong, which is the one that the monitor gives it; what differs otherwise is a finding, of one of the two.

`forms.SLOW_FORMS` says which form belongs to which entry. `tests/invariants/test_slow_forms_agree.py` runs both on
the same histories and compares step and name of everything found: on healthy histories of every workload, on
histories of each planted fault that the invariant must catch, and on healthy ones in which one event was left out,
told twice, moved or altered. Hand-made histories of margin and custody are read by both as well, next to what they
must find. To add one: write it in the file of its subject, and enter it there. Nine others, in
`counted`, also count what they check; `tests/invariants/test_fast_monitors_agree.py` compares these.
"""
