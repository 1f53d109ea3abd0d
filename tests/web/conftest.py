"""A real browser, and the live stack that it opens."""

import os
import shutil
from collections.abc import AsyncGenerator
from typing import Final

import pytest
from playwright.async_api import Browser, Page, async_playwright

from benchmarks.stack import Stack
from tests.live import TIMEOUT, api, closed, gate, stack

__all__ = ["api", "closed", "gate", "stack"]

CHROMIUM: Final = "SAMOVAR_TEST_CHROMIUM"
OPTIONS: Final = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="session")
async def chromium() -> AsyncGenerator[Browser]:
    path = os.environ.get(CHROMIUM) or shutil.which("chromium")
    if path is None:
        pytest.skip(f"there is no chromium: install it, or name it in {CHROMIUM}")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=OPTIONS)
        yield browser
        await browser.close()


@pytest.fixture
async def page(chromium: Browser, stack: Stack) -> AsyncGenerator[Page]:
    """Yield a signed-in page in a window of its own; fail if one of its scripts has failed."""
    failures: list[str] = []
    context = await chromium.new_context(base_url=stack.url)
    context.set_default_timeout(TIMEOUT * 1000)
    page = await context.new_page()
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.on("console", lambda message: failures.append(message.text) if "Security Policy" in message.text else None)
    await page.goto("/")
    await page.get_by_label("API token").fill(stack.token)
    await page.get_by_role("button", name="Sign in").click()
    await page.get_by_role("heading", name="Models").wait_for()
    yield page
    await context.close()
    assert failures == []
