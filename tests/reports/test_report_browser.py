"""The page in a real browser: on a phone, in the dark, on paper; skipped where there is no Chromium."""

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from holdfast_model.findings import Report
from holdfast_reports import AnyResult, load

Reports = dict[str, Callable[[], Report[AnyResult]]]
Folder = Callable[[Report[AnyResult]], Path]

Scheme = Literal["light", "dark"]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

SAMPLE = Path(__file__).parents[2] / "reports" / "sample" / "report.json"

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield running
        running.close()


def opened(browser: Browser, out: Path, *, width: int, scheme: Scheme = "light") -> tuple[Page, list[str]]:
    """The page, and all that it asked the network for or complained of."""
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    noticed: list[str] = []
    page.on("console", lambda message: noticed.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: noticed.append(f"error: {error}"))
    page.on("request", lambda request: noticed.append(f"request: {request.url}"))
    page.goto((out / "report.html").as_uri())
    assert noticed.pop(0) == f"request: {(out / 'report.html').as_uri()}"
    return page, noticed


TOO_WIDE = """[...document.querySelectorAll('main *')]
    .filter(each => each.getBoundingClientRect().right > innerWidth + 1)
    .map(each => each.outerHTML.slice(0, 80))"""


def test_a_whole_report_of_a_gate_fits_windows_of_every_width(folder: Folder, browser: Browser) -> None:
    page, _ = opened(browser, folder(load(SAMPLE)), width=1280)
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
    for width in (320, 360, 600, 703, 705, 800, 900, 959, 961, 1023, 1100, 1119, 1121, 1200, 1280, 1600):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate(TOO_WIDE) == [], width
        assert page.evaluate("document.documentElement.scrollWidth") == width
    page.close()


@pytest.mark.parametrize("kind", ["held gate", "violated gate", "diff"])
@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_fits_its_window_and_asks_for_nothing(
    kind: str, width: int, reports: Reports, folder: Folder, browser: Browser
) -> None:
    page, noticed = opened(browser, folder(reports[kind]()), width=width)
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate(TOO_WIDE) == []
    for link in page.locator("nav a").all():
        link.click()
        target = page.locator(link.get_attribute("href") or "")
        assert target.is_visible()
        box = target.bounding_box()
        assert box is not None
        assert box["y"] < 800, "the section came into the window"
    assert noticed == []
    page.close()


def test_the_keyboard_skips_to_the_report(reports: Reports, folder: Folder, browser: Browser) -> None:
    page, _ = opened(browser, folder(reports["held gate"]()), width=360)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.close()


CONTRAST = """() => {
  const light = ([r, g, b]) => [r, g, b].map(c => c / 255)
    .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const parse = text => text.match(/[\\d.]+/g).map(Number);
  const behind = element => {
    for (let each = element; each; each = each.parentElement) {
      const colour = parse(getComputedStyle(each).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour.slice(0, 3);
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const element of document.querySelectorAll('body *')) {
    if (![...element.childNodes].some(node => node.nodeType === 3 && node.data.trim())) continue;
    const style = getComputedStyle(element);
    const opacity = Number(style.opacity);
    const back = behind(element);
    const front = parse(style.color).slice(0, 3).map((c, i) => c * opacity + back[i] * (1 - opacity));
    const [high, low] = [light(front), light(back)].sort((a, b) => b - a);
    const ratio = (high + 0.05) / (low + 0.05);
    if (ratio < 4.5) poor.push(`${element.tagName}.${element.className}: ${ratio.toFixed(2)}`);
  }
  return [...new Set(poor)];
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", ["held gate", "violated gate", "inconclusive gate"])
def test_every_text_has_enough_contrast(
    kind: str,
    scheme: Scheme,
    reports: Reports,
    folder: Folder,
    browser: Browser,
) -> None:
    page, _ = opened(browser, folder(reports[kind]()), width=1280, scheme=scheme)
    assert page.evaluate(CONTRAST) == []
    page.close()


def test_hostile_text_does_not_widen_the_page_or_run(reports: Reports, folder: Folder, browser: Browser) -> None:
    import msgspec  # noqa: PLC0415 - only here

    from holdfast_model.findings import GateResult  # noqa: PLC0415 - only here

    report = reports["violated gate"]()
    assert isinstance(report.result, GateResult)
    text = "<script>document.title='owned'</script>" + "W" * 5_000
    run = msgspec.structs.replace(report.result.runs[1], name=text, sentence=text, reason=text)
    proof = msgspec.structs.replace(report.result.proofs[0], model="M" * 300)
    result = msgspec.structs.replace(
        report.result, engine=text, engine_version=text, runs=(report.result.runs[0], run), proofs=(proof,)
    )
    page, noticed = opened(browser, folder(msgspec.structs.replace(report, result=result)), width=360)
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert not page.title().startswith("owned")
    assert noticed == []
    page.set_viewport_size({"width": 1280, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") == 1280
    page.close()


def test_paper_has_every_section_and_what_is_folded_on_the_screen(
    reports: Reports, folder: Folder, browser: Browser
) -> None:
    page, _ = opened(browser, folder(reports["violated gate"]()), width=1280)
    page.emulate_media(media="print")
    headings = page.locator("main > section > h2")
    assert headings.count() == 1 + page.locator("nav a").count() == 14
    assert all(heading.is_visible() for heading in headings.all())
    assert page.get_by_text("The whole state before").is_visible()
    assert page.evaluate("document.querySelector('details > table').checkVisibility({contentVisibilityAuto: true})")
    printed = page.pdf(prefer_css_page_size=True, print_background=True, tagged=True, outline=True)
    assert printed.startswith(b"%PDF-")
    outline = {title.decode() for title in re.findall(rb"/Title \(([^)]*)\)", printed)}
    assert {link.strip() for link in page.locator("nav a").all_inner_texts()} <= outline
    boxes = {
        tuple(round(float(side)) for side in box.split()) for box in re.findall(rb"/MediaBox \[([^]]*)\]", printed)
    }
    assert boxes == {(0, 0, 595, 842)}, "A4"
    page.close()
