"""Pages in a real browser: what scripts, keys and eyes do with them.

Chromium is taken from the system; playwright drives it, and axe looks for barriers.
"""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sae_cli.results.page import pictures
from sae_cli.results.page.write import write_page_of
from tests.results.page.made_runs import make_run, make_sweep

api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip(
    "axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed"
)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}
BARRIERS = {"serious", "critical"}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with api.sync_playwright() as playwright:
        # A container has no sandbox to give.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    run = make_run(folder / "run", ["model=sparse_kl", "penalty.weight=0.05"], epochs=8)
    sweep = make_sweep(folder / "sweep", 12, epochs=8)
    return {"run": write_page_of([run]), "sweep": write_page_of([sweep])}


class Opened:
    """A page that was opened, with what it said and asked for."""

    def __init__(self, browser: Any, file: Path, viewport: dict[str, int], scheme: str) -> None:
        context = browser.new_context(viewport=viewport, color_scheme=scheme)
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        self.page = context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(file.as_uri())
        self.page.wait_for_load_state("load")

    def check(self) -> None:
        """Check that nothing went wrong, and that nothing but the page itself was asked for."""
        assert self.said == []
        assert [url for url in self.asked if not url.startswith("data:")] == [self.page.url]

    def wait_until(self, condition: str) -> None:
        """Wait for a condition; the page lets nothing be evaluated in it again and again."""
        for _ in range(200):
            if self.page.evaluate(condition):
                return
            self.page.wait_for_timeout(50)
        raise AssertionError(f"never: {condition}")

    def rows(self) -> list[list[str]]:
        """The cells of the visible rows of the table."""
        script = """() => [...document.querySelectorAll("#runs tbody tr")]
            .filter((row) => !row.hidden)
            .map((row) => [...row.cells].map((cell) => cell.textContent.trim()))"""
        found: list[list[str]] = self.page.evaluate(script)
        return found

    def column(self, name: str) -> list[str]:
        """The cells of a column in visible rows."""
        names = [text.strip() for text in self.page.locator("#runs thead th").all_text_contents()]
        return [row[names.index(name)] for row in self.rows()]

    def tooltip(self, canvas: str) -> list[str]:
        """The title and the lines of a chart's tooltip, if it is shown."""
        script = """(id) => { const { tooltip } = Chart.getChart(document.getElementById(id));
            return tooltip.opacity ? [...tooltip.title, ...tooltip.beforeBody,
                ...tooltip.body.flatMap((part) => part.lines)] : []; }"""
        found: list[str] = self.page.evaluate(script, canvas)
        return found


@pytest.fixture
def sweep(browser: Any, files: dict[str, Path]) -> Iterator[Opened]:
    opened = Opened(browser, files["sweep"], DESKTOP, "light")
    yield opened
    opened.check()
    opened.page.context.close()


@pytest.mark.parametrize("name", ["run", "sweep"])
@pytest.mark.parametrize(
    ("viewport", "scheme"), [(DESKTOP, "light"), (DESKTOP, "dark"), (PHONE, "light")]
)
def test_no_error_no_request_no_barrier(
    name: str, viewport: dict[str, int], scheme: str, browser: Any, files: dict[str, Path]
) -> None:
    opened = Opened(browser, files[name], viewport, scheme)
    width = opened.page.evaluate("document.documentElement.scrollWidth")
    assert width <= viewport["width"]
    shown = opened.page.evaluate(
        "[...document.querySelectorAll('img')].every((one) => one.naturalWidth === 8)"
    )
    assert shown
    empty = opened.page.evaluate(
        """[...document.querySelectorAll("canvas")].filter((one) => !Chart.getChart(one)
            || !one.getContext("2d").getImageData(0, 0, one.width, one.height).data.some(Boolean))
            .length"""
    )
    assert empty == 0
    dark = opened.page.evaluate("getComputedStyle(document.body).backgroundColor") != (
        "rgb(255, 255, 255)"
    )
    assert dark == (scheme == "dark")
    opened.check()
    found = axe.Axe().run(opened.page).response["violations"]
    assert [one["id"] for one in found if one["impact"] in BARRIERS] == []
    opened.page.context.close()


def test_the_search_for_barriers_finds_one(browser: Any, files: dict[str, Path]) -> None:
    opened = Opened(browser, files["run"], DESKTOP, "light")
    opened.page.evaluate("document.querySelector('img').removeAttribute('alt')")
    found = axe.Axe().run(opened.page).response["violations"]
    assert [one["id"] for one in found if one["impact"] in BARRIERS] == ["image-alt"]
    opened.page.context.close()


def test_a_foreign_script_does_not_run(browser: Any, files: dict[str, Path]) -> None:
    """The policy of a page stops what escaping would have let through."""
    text = files["run"].read_text()
    file = files["run"].with_name("forged.html")
    forged = "<script>document.title = 'forged'</script><img src=x onerror='document.title = 1'>"
    file.write_text(text.replace("<main", f"{forged}<main"))
    opened = Opened(browser, file, DESKTOP, "light")
    assert "forged" not in opened.page.title() and opened.page.title().startswith("run")
    assert any("Content Security Policy" in line for line in opened.said)
    opened.page.context.close()


def test_pictures_outside_of_a_page_are_shown(
    browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "MOST_BYTES", 0)
    sweep = make_sweep(tmp_path / "a sweep: 50%, #1", 2)
    opened = Opened(browser, write_page_of([sweep]), DESKTOP, "light")
    opened.page.wait_for_load_state("networkidle")
    images = "[...document.querySelectorAll('#figures img')].map((one) => one.naturalWidth)"
    assert opened.page.evaluate(images) == [8, 8]
    assert opened.said == []
    assert len(opened.asked) == 3 and all(url.startswith("file:") for url in opened.asked)
    opened.page.context.close()


def test_heads_sort(sweep: Opened) -> None:
    fvu = [float(cell) for cell in sweep.column("val/fvu")]
    assert fvu == sorted(fvu)
    head = sweep.page.get_by_role("button", name="val/l0")
    for descending in (False, True):
        head.click()
        l0 = [float(cell) for cell in sweep.column("val/l0")]
        assert l0 == sorted(l0, reverse=descending)
    header = sweep.page.locator("th[aria-sort]")
    assert [header.count(), header.get_attribute("aria-sort")] == [1, "descending"]
    sweep.page.get_by_role("button", name="run", exact=True).click()
    assert sweep.column("run") == [str(number) for number in range(12)]


def test_words_and_bounds_filter(sweep: Opened) -> None:
    sweep.page.get_by_label("Filter").fill("SPARSE_L1 val/l0<30")
    sweep.wait_until("document.getElementById('count').textContent !== ''")
    assert set(sweep.column("model")) == {"sparse_l1"}
    assert all(float(cell) < 30 for cell in sweep.column("val/l0"))
    n = len(sweep.rows())
    assert 0 < n < 12
    assert sweep.page.locator("#count").text_content() == f"{n} of 12 runs"
    points = sweep.page.evaluate(
        """Chart.getChart("trade-off-chart").data.datasets.filter((set) => set.type !== "line")
            .flatMap((set) => set.data).length"""
    )
    assert points == n


def test_the_front_is_that_of_no_better_run(sweep: Opened) -> None:
    front = sweep.page.evaluate(
        """Chart.getChart("trade-off-chart").data.datasets.find((set) => set.type === "line").data
            .map(({ x, y }) => [x, y])"""
    )
    metrics = sweep.page.evaluate("data.runs.map((run) => run.metrics)")
    points = {(one["val/l0"], one["val/fvu"]) for one in metrics}
    best = {p for p in points if not any(q != p and q[0] <= p[0] and q[1] <= p[1] for q in points)}
    assert {tuple(point) for point in front} == best


def test_a_point_says_what_it_is(sweep: Opened) -> None:
    x, y = sweep.page.evaluate(
        """() => { const canvas = document.getElementById("trade-off-chart");
            canvas.scrollIntoView();
            const chart = Chart.getChart(canvas), box = canvas.getBoundingClientRect();
            const point = chart.getDatasetMeta(0).data[0];
            return [box.x + point.x, box.y + point.y]; }"""
    )
    sweep.page.mouse.move(x, y)
    sweep.wait_until('Chart.getChart("trade-off-chart").tooltip.opacity === 1')
    title, *lines = sweep.tooltip("trade-off-chart")
    assert re.fullmatch(r"\d+_model=.*", title)
    assert [line.partition("=")[0] for line in lines[:3]] == ["model", "penalty.weight", "seed"]
    assert [line.partition(":")[0] for line in lines[3:]] == ["val/l0", "val/fvu"]
    chosen = sweep.page.locator("tbody input:checked").count()
    sweep.page.mouse.click(x, y)
    assert sweep.page.locator("tbody input:checked").count() == chosen - 1


def test_all_of_it_with_the_keyboard(sweep: Opened) -> None:
    page = sweep.page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.get_by_role("button", name="val/l0").focus()
    page.keyboard.press("Enter")
    l0 = [float(cell) for cell in sweep.column("val/l0")]
    assert l0 == sorted(l0)
    page.locator("tbody input").last.focus()
    assert sweep.tooltip("trade-off-chart")
    figures = page.locator("#figures figure").count()
    page.keyboard.press("Space")
    assert page.locator("#figures figure").count() in (figures - 1, figures + 1)
    for canvas in ("trade-off-chart", "curves-chart"):
        page.locator(f"#{canvas}").focus()
        page.keyboard.press("ArrowRight")
        first = sweep.tooltip(canvas)
        page.keyboard.press("ArrowRight")
        second = sweep.tooltip(canvas)
        assert first and second and first != second
        assert second[0] in (page.locator("#spoken").text_content() or "")
    reached = set()
    page.keyboard.press("Home")
    page.evaluate("document.activeElement.blur()")
    for _ in range(80):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id"))
    assert {"filter", "x", "y", "colour", "metric", "picture"} <= reached


def test_the_table_is_copied(sweep: Opened) -> None:
    texts = {}
    for name in ("Copy as Markdown", "LaTeX", "CSV"):
        sweep.page.get_by_role("button", name=name).click()
        area = sweep.page.locator("#copied textarea")
        sweep.wait_until("document.querySelector('#copied output').textContent !== ''")
        texts[name] = area.input_value()
        assert sweep.page.evaluate("navigator.clipboard.readText()") == texts[name]
        sweep.page.get_by_role("button", name="Close").click()
    rows = list(csv.reader(io.StringIO(texts["CSV"])))
    assert len(rows) == 13 and {len(row) for row in rows} == {len(rows[0])}
    assert rows[1][0].startswith("0_model=")
    markdown = texts["Copy as Markdown"].splitlines()
    assert len(markdown) == 14 and markdown[1].count("---") == len(rows[0])
    assert "sparse\\_l1" in texts["LaTeX"] and texts["LaTeX"].count("\\\\\n") == 13


def test_choices_change_what_is_beside(sweep: Opened) -> None:
    page = sweep.page
    assert page.locator("#figures img").count() == 3
    page.locator("#picture").select_option("atoms")
    names = [one.get_attribute("alt") or "" for one in page.locator("#figures img").all()]
    assert all(name.startswith("atoms of ") for name in names)
    for _ in range(3):
        page.locator("tbody input:checked").first.click()
    page.locator("tbody input").first.check()
    page.locator("tbody input").last.check()
    assert page.locator("#figures img").count() == 2
    settings = page.locator("#differences tbody th").all_text_contents()
    assert "penalty.weight" in settings
    page.get_by_label("chosen runs only").check()
    assert page.evaluate('Chart.getChart("curves-chart").data.datasets.length') == 2
    page.locator("#metric").select_option("val/l0")
    assert page.evaluate('Chart.getChart("curves-chart").options.scales.y.title.text') == "val/l0"


def test_values_before_training_do_not_flatten_a_curve(sweep: Opened) -> None:
    def top(before: float) -> Any:
        points = f"[{{x: 0, y: {before}}}, {{x: 1, y: 2}}, {{x: NaN, y: NaN}}, {{x: 2, y: 1}}]"
        return sweep.page.evaluate(f"ceiling([{{data: {points}}}])")

    assert (top(9), top(3)) == (2, None)


def test_the_curves_of_a_run_with_the_keyboard(browser: Any, files: dict[str, Path]) -> None:
    opened = Opened(browser, files["run"], DESKTOP, "light")
    opened.page.locator("canvas").first.focus()
    opened.page.keyboard.press("ArrowRight")
    assert "epoch 1" in (opened.page.locator("#spoken").text_content() or "")
    opened.check()
    opened.page.context.close()


@pytest.mark.slow
def test_how_long_pages_take_to_open(browser: Any, files: dict[str, Path], tmp_path: Path) -> None:
    """The seconds are printed (``-s``) and judged by people: a test measures no time."""
    many = make_sweep(tmp_path / "many", 500, epochs=50, picture_bytes=30_000)
    for name, file in (("12 jobs", files["sweep"]), ("500 runs", write_page_of([many]))):
        opened = Opened(browser, file, DESKTOP, "light")
        seconds = opened.page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
        size = file.stat().st_size / 1e6
        print(f"{name}: {size:.1f} MB, open after {seconds / 1e3:.2f} s")
        opened.check()
        opened.page.context.close()


def test_counts_that_are_all_zero_lie_on_the_axis(browser: Any, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", ["model=sparse_kl"])
    metrics = run / "metrics.jsonl"
    lines = [json.loads(line) for line in metrics.read_text().splitlines()]
    for line in lines:
        line |= {"val/dead_latents": 0, "val/mean_activity": -0.5}
    metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    opened = Opened(browser, write_page_of([run]), DESKTOP, "light")
    script = """() => Object.fromEntries(
        [...document.querySelectorAll("canvas[data-chart]")].map((canvas) => {
            const { min, max } = Chart.getChart(canvas).scales.y;
            return [data.charts[canvas.dataset.chart].name, [min, max]];
        }))"""
    limits = opened.page.evaluate(script)
    assert limits["dead_latents"] == [0, 1]
    # What can be negative keeps its axis.
    assert limits["mean_activity"][0] < -0.4
    opened.check()
    opened.page.context.close()
