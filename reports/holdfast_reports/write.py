"""Writes a report: the page, JUnit XML, JSON, and the digests of all of them and of the counterexamples."""

from pathlib import Path

from holdfast_model.findings import Report
from holdfast_reports.dossier import dossier
from holdfast_reports.junit import junit
from holdfast_reports.page import page
from holdfast_reports.store import REPORT_FILE, AnyResult, encode, writable, write_atomically
from holdfast_reports.sums import SUMS_FILE, digest, digest_of, format_sums

PAGE_FILE = "report.html"
JUNIT_FILE = "junit.xml"
UNFINISHED_FILE = "unfinished.json"
"""What a run that is not over has finished: a report in the form of `report.json`, replaced as it grows."""
WRITTEN = (PAGE_FILE, JUNIT_FILE, REPORT_FILE, SUMS_FILE, UNFINISHED_FILE)
"""All files of a report but its counterexamples."""


def render(report: Report[AnyResult], out: Path) -> tuple[Path, ...]:
    """Write `report.html`, `junit.xml`, `report.json` and `SHA256SUMS` into the folder, and return their paths.

    The counterexample files that the report names are to stand there already: their digests go into the page and
    into `SHA256SUMS`. Each file is written whole or not at all; the same report and counterexamples give the same
    bytes. Raises `HoldfastError`, which names the file, where one cannot be written.
    """
    files = rendered(report, out)
    for name, data in files.items():
        write_atomically(out / name, data)
    return tuple(out / name for name in files)


def rendered(report: Report[AnyResult], folder: Path) -> dict[str, bytes]:
    """The content of each file of the report by its name, given the counterexamples in the folder."""
    report = writable(report)
    evidence = dossier(report)
    document = encode(report)
    sums = {name: found for name in evidence.files if (found := digest_of(folder, name)) is not None}
    sums[REPORT_FILE] = digest(document)
    html = page(evidence, sums)
    xml = junit(evidence)
    everything = sums | {PAGE_FILE: digest(html), JUNIT_FILE: digest(xml)}
    return {
        REPORT_FILE: document,
        JUNIT_FILE: xml,
        PAGE_FILE: html,
        SUMS_FILE: format_sums(everything),
    }
