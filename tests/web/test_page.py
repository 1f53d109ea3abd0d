"""The page as a person uses it."""

import base64
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from benchmarks.stack import Stack
from tests.live import Api

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAFElEQVR4nGM8EaXBgA0wYRUdtBIABvMBWmhZsysAAAAASUVORK5CYII="
)  # 8 by 8

expect.set_options(timeout=30_000)


async def choose(page: Page, model: str) -> None:
    await page.get_by_role("link", name=f"samovar/{model}", exact=True).click()
    await page.get_by_role("heading", name=f"samovar/{model}").wait_for()


async def run(page: Page) -> None:
    await page.get_by_role("button", name="Run").click()


async def test_a_token_opens_the_page_and_signing_out_closes_it(page: Page, stack: Stack):
    await expect(page.get_by_text("samovar", exact=True)).to_be_visible()
    await page.get_by_role("button", name="Sign out").click()
    await page.get_by_label("API token").fill("wrong")
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("alert")).to_have_text("This token is not valid, or has expired.")
    assert await page.context.cookies() == []
    await page.goto("/?model=samovar/count")
    await page.get_by_label("API token").fill(stack.token)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("heading", name="samovar/count")).to_be_visible()  # where the link had led


async def test_a_model_is_selected_and_run_with_a_form(page: Page):
    await expect(page.locator(".card")).not_to_have_count(0)
    await choose(page, "echo")
    await expect(page.get_by_label("Text")).to_be_empty()
    times = page.get_by_label("Times")
    await expect(times).to_have_value("1")
    await expect(times).to_have_attribute("max", "9")
    await expect(times).to_have_accessible_description("How often · 1 to 9")
    await page.get_by_label("Text").fill("tea")
    await times.fill("2")
    await page.get_by_label("Size").select_option("large")
    await run(page)
    await expect(page.locator("#output")).to_have_text("TEA TEA")
    await expect(page.locator("#status")).to_have_text("Succeeded")


async def test_text_appears_while_the_model_runs(page: Page, closed: str, gate: Callable[[], Path], api: Api):
    await choose(page, "parts")
    await page.get_by_label("Parts").fill('["one <b>bold</b>", " two"]')
    await page.get_by_label("Gate").fill(closed)
    await run(page)
    output = page.locator("#output")
    await expect(output).to_have_text("one <b>bold</b>")
    await expect(page.locator("#status")).to_have_text("Running")
    await expect(output).to_have_attribute("aria-busy", "true")
    prediction = await api.wait_until_at_gate(closed)
    assert prediction["source"] == "web"
    row = page.locator("#predictions tr").filter(has_text=prediction["id"])
    await expect(row.locator("span.status")).to_have_text("Running")
    gate()
    await expect(output).to_have_text("one <b>bold</b> two")
    await expect(page.locator("#status")).to_have_text("Succeeded")
    await expect(row.locator("span.status")).to_have_text("Succeeded")
    await expect(page.locator("#logs pre")).to_have_text("waiting at part 1\n")


async def test_a_run_continues_after_a_reload(page: Page, closed: str, gate: Callable[[], Path]):
    await choose(page, "parts")
    await page.get_by_label("Parts").fill('["one", " two"]')
    await page.get_by_label("Gate").fill(closed)
    await run(page)
    await expect(page.locator("#output")).to_have_text("one")
    await page.reload()
    await expect(page.locator("#output")).to_have_text("one")
    await expect(page.get_by_label("Gate")).to_have_value(closed)
    gate()
    await expect(page.locator("#output")).to_have_text("one two")


async def test_an_error_is_shown_at_its_field(page: Page):
    await choose(page, "echo")
    await page.get_by_label("Times").fill("12")
    await run(page)
    text, times = page.get_by_label("Text"), page.get_by_label("Times")
    await expect(text).to_have_accessible_description("What to say · at most 100,000 characters This is required.")
    await expect(times).to_have_attribute("aria-invalid", "true")
    await expect(page.locator(".error").filter(has_text="Must be less than or equal to 9")).to_be_visible()
    await expect(text).to_be_focused()
    await text.fill("tea")
    await times.fill("3")
    await run(page)
    await expect(page.locator("#output")).to_have_text("tea tea tea")
    await expect(page.locator("[aria-invalid]")).to_have_count(0)


async def test_a_run_is_canceled(page: Page, closed: str):
    await choose(page, "gated")
    await page.get_by_label("Gate").fill(closed)
    await run(page)
    await expect(page.locator("#status")).to_have_text("Running")
    await page.get_by_role("button", name="Cancel").click()
    await expect(page.locator("#status")).to_have_text("Canceled")
    await expect(page.get_by_role("button", name="Cancel")).to_be_hidden()


async def test_a_failure_shows_its_reason_and_keeps_the_output(page: Page):
    await choose(page, "parts")
    await page.get_by_label("Parts").fill('["one"]')
    await page.get_by_label("Fail").check()
    await run(page)
    await expect(page.locator("#failure")).to_contain_text("no more parts")
    await expect(page.locator("#status")).to_have_text("Failed")
    await expect(page.locator("#output")).to_have_text("one")


async def test_outputs_are_escaped(page: Page):
    await choose(page, "values")
    evil = '<img src=x onerror="document.title=1"><script>document.title=1</script>'
    await page.get_by_label("Value").fill('{"a": "<b>", "list": [1.5, null]}')
    await run(page)
    await expect(page.locator("#output pre")).to_contain_text('"a": "<b>"')
    await page.get_by_label("Value").fill(f'["{evil.replace(chr(34), chr(39))}", "javascript:alert(1)"]')
    await run(page)
    await expect(page.locator("#output")).to_contain_text("onerror")
    await expect(page.locator("#output").locator("img, script, a, b")).to_have_count(0)
    await expect(page).to_have_title("samovar/values · Samovar")


async def test_a_prediction_of_another_client_is_in_the_list(page: Page, api: Api):
    prediction = await api.run("echo", {"text": "elsewhere"})
    await page.goto("/")
    row = page.locator("#predictions tr").filter(has_text=prediction["id"])
    await expect(row.locator("td")).to_contain_text([prediction["id"], "samovar/echo", "api", "Succeeded"])
    await row.get_by_role("link").click()
    await expect(page.locator("#output")).to_have_text("elsewhere")
    await expect(page.get_by_label("Text")).to_have_value("elsewhere")


async def test_the_list_updates_by_itself(page: Page, api: Api, closed: str, gate: Callable[[], Path]):
    if (await api.http.head("/v1/predictions/events")).status_code == 404:
        pytest.skip("this gateway does not tell of changes to the list")
    await expect(page.locator("#live")).to_have_text("Live")
    prediction: dict[str, Any] = await api.create("gated", {"gate": closed})
    row = page.locator("#predictions tr").filter(has_text=prediction["id"])
    await expect(row.locator("span.status")).to_have_text("Running")
    gate()
    await expect(row.locator("span.status")).to_have_text("Succeeded")
    assert await row.locator("..").locator("tr").first.get_attribute("data-id") == prediction["id"]


async def test_images_are_shown_and_files_are_uploaded(page: Page, tmp_path: Path):
    picture = tmp_path / "in.png"
    picture.write_bytes(PNG)
    await choose(page, "upscale")
    await expect(page.locator(".chooser").first).to_be_enabled()
    await page.locator(".chooser").first.set_input_files(picture)
    await expect(page.locator(".field").first.locator("input[type=text]")).to_have_value(re.compile("/v1/files/"))
    await run(page)
    image = page.locator("#output img")
    await expect(image).to_be_visible(timeout=200_000)
    await page.wait_for_function("document.querySelector('#output img').naturalWidth > 8")
