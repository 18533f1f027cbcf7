"""The page of the explorer in a real browser, headless: what a person sees and clicks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

import dynlib
from dynlib.session.lineage import digest_of

BROWSER = os.environ.get("DYNLIB_TEST_BROWSER", "chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip
MODEL = "builtin://ode/van_der_pol"
LIT = """(id) => {
    const canvas = document.getElementById(id);
    const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    let found = 0;
    for (let k = 0; k < data.length; k += 4) {
        const colour = data.slice(k, k + 3);
        if (Math.max(...colour) - Math.min(...colour) > 80) found++;
    }
    return found;
}"""
"""How many pixels of a canvas are of a strong colour: those of curves."""

pytestmark = pytest.mark.skipif(BROWSER == "none", reason="DYNLIB_TEST_BROWSER=none says that there is no browser")


@pytest.fixture(name="page")
def _page() -> Iterator[Page]:
    chromium = shutil.which(BROWSER)
    if chromium is None:
        pytest.skip(f"no {BROWSER}, and none could be installed; DYNLIB_TEST_BROWSER may name another")
    command = [sys.executable, "-m", "dynlib.cli.main", "explore", MODEL, "--no-browser", "--no-jit", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = ""
        while "}" not in said:
            said += process.stdout.readline()
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
                page = browser.new_page(viewport={"width": 1280, "height": 800}, color_scheme="light")
                problems: list[str] = []
                page.on("pageerror", lambda problem: problems.append(str(problem)))
                page.goto(json.loads(said)["address"])
                expect(page.locator("#model")).to_have_text("van_der_pol")
                yield page
                browser.close()
                assert problems == []
        finally:
            process.terminate()


def step(page: Page) -> int:
    return int(page.locator("#clock").inner_text().rpartition(" ")[2])


def value(page: Page, name: str, text: str) -> None:
    page.get_by_label(f"value of {name}").fill(text)
    page.get_by_label(f"value of {name}").press("Enter")


def test_a_study_is_made_by_clicking(page: Page, tmp_path: Path) -> None:
    run, message = page.locator("#run"), page.locator("#message")
    assert page.evaluate(LIT, "series") == 0
    run.click()  # the clock goes on until the pause, and not after it
    expect(run).to_have_text("Pause")
    page.wait_for_function("() => parseInt(document.getElementById('clock').textContent.split('step ')[1]) > 100")
    run.click()
    expect(run).to_have_text("Run")
    stood = step(page)
    assert page.evaluate(LIT, "series") > 100
    assert page.evaluate(LIT, "phase") > 100

    page.locator("#name").fill("here")
    page.locator("#snapshot").click()
    expect(page.locator(".tree .here")).to_contain_text("here")
    page.locator("#name").fill("here")
    page.locator("#snapshot").click()
    expect(message).to_contain_text("exists already")

    page.get_by_label("mu", exact=True).fill("0.5")  # the slider itself
    expect(page.get_by_label("value of mu")).to_have_value("0.5")
    expect(page.locator(".tree .here")).to_contain_text("set mu: 1 → 0.5")
    value(page, "mu", "viel")
    expect(message).to_have_text("parameter 'mu' must be a number, not 'viel'")
    expect(page.get_by_label("value of mu")).to_have_value("0.5")

    page.locator("#until").fill("60")
    page.locator("#speed").fill("1000")
    page.locator("#speed").press("Enter")
    run.click()
    expect(page.locator("#clock")).to_contain_text("t = 60 ")
    expect(run).to_have_text("Run")
    with page.expect_download() as file:
        page.locator("#file").click()
    file.value.save_as(tmp_path / "seen.npz")
    with page.expect_download() as file:
        page.locator("#script").click()
    script = Path(file.value.path()).read_text("utf-8").partition("\nif __name__")[0]
    (tmp_path / "explored.py").write_text(script + "\nsim.export_snapshot('again.npz')\n", "utf-8")
    subprocess.run([sys.executable, "explored.py"], cwd=tmp_path, check=True, timeout=300)
    again, seen = (dynlib.open_snapshot(tmp_path / f"{name}.npz", jit=False).state for name in ("again", "seen"))
    assert digest_of(again) == digest_of(seen)

    page.locator("#branch").click()  # the present is kept, and another way can be taken
    expect(page.get_by_label("value of mu")).to_have_value("1")
    assert step(page) == stood
    value(page, "mu", "3")
    expect(page.locator(".tree .here")).to_contain_text("set mu: 1 → 3")
    page.get_by_role("button", name="t = 60").click()
    expect(page.get_by_label("value of mu")).to_have_value("0.5")
    expect(page.locator("#clock")).to_contain_text("t = 60 ")
    page.locator("#reset").click()
    expect(page.locator("#clock")).to_contain_text("t = 0 ")


def test_axes_variables_and_colours_can_be_chosen(page: Page) -> None:
    page.locator("#speed").fill("1000")
    page.locator("#speed").press("Enter")
    page.locator("#until").fill("20")
    page.locator("#run").click()
    expect(page.locator("#clock")).to_contain_text("t = 20 ")
    page.locator("#across").select_option("t")
    page.locator("#up").select_option("x")
    page.wait_for_function(f"() => ({LIT})('phase') > 100")
    for box in page.locator("#variables input").all():
        box.uncheck()
    page.wait_for_function(f"() => ({LIT})('series') === 0")
    page.locator("#theme").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.locator("#variables input").first.check()
    page.wait_for_function(f"() => ({LIT})('series') > 100")
