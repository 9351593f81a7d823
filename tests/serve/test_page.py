"""The web page in a real browser, against the real served application."""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

FOLDER = Path(__file__).parents[2] / "serve" / "page"
CHROMIUM = shutil.which("chromium")
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
browses = pytest.mark.skipif(CHROMIUM is None, reason="no browser: install Debian's chromium")
NAMES = ("a.png", "a2.png", "b.png")
Open = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # Only as long as this file: its loop would be in the way of others.
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser: Browser, server: httpx.Client) -> Iterator[Open]:
    """Opens the page, in a profile of its own; fails the test for an error in its scripts or a request elsewhere."""
    wrong: list[str] = []
    contexts = []

    def watch(page: Page) -> None:
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: wrong.append(request.url) if _leaves(request.url, server) else None)

    def opened(viewport: dict[str, int] = DESKTOP, **how: object) -> Page:
        contexts.append(
            browser.new_context(viewport=viewport, permissions=["clipboard-read", "clipboard-write"], **how)
        )
        page = contexts[-1].new_page()
        page.set_default_timeout(30_000)
        watch(page)
        page.goto(f"{server.base_url}/")
        expect(page.locator("#examples button")).to_have_count(4)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not wrong


def _leaves(url: str, server: httpx.Client) -> bool:
    return not url.startswith((str(server.base_url), "blob:", "data:"))


def give(page: Page, parts: dict[str, bytes], names: tuple[str, ...] = NAMES) -> None:
    """Choose the three pictures, under these names."""
    for (part, data), name in zip(parts.items(), names, strict=True):
        chosen = {"name": name, "mimeType": "image/png", "buffer": data}
        page.locator(f'[data-part="{part}"] input').set_input_files(chosen)


def choose(page: Page, **fields: str) -> None:
    """Fill in settings; few steps, as the tests' server would take them."""
    page.locator("#settings").evaluate("details => details.open = true")
    for name, value in {"steps": "3", "preview_steps": "1", **fields}.items():
        page.locator(f'[name="{name}"]').fill(value)


def paint(page: Page, candidates: int = 1) -> bytes:
    """Press the button and wait for the answer: its bytes."""
    press_paint(page, candidates)
    return painted(page)


def press_paint(page: Page, candidates: int) -> None:
    page.locator(f'#candidates-wanted label:has([value="{candidates}"])').click()
    page.get_by_role("button", name="Paint B′").click()


def painted(page: Page) -> bytes:
    """The answer as the page hands it out, once it is there."""
    expect(page.locator("#answer")).to_have_attribute("data-state", "done", timeout=60_000)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    return download.value.path().read_bytes()


def answered(server: httpx.Client, parts: dict[str, bytes], **fields: str) -> bytes:
    """What the interface answers to the same request."""
    files = {name: (name, data) for name, data in parts.items()}
    reply = server.post("/v1/analogies", files=files, data=fields, headers={"Accept": "image/png"})
    assert reply.status_code == 200, reply.text
    return reply.content


@browses
def test_candidates_come_in_verdicts_fall_and_the_winner_is_finished(open_page, server, parts):
    page = open_page()
    give(page, parts)
    choose(page, seed="5")
    image = paint(page, candidates=4)
    assert image == answered(server, parts, candidates="4", seed="5", steps="3", preview_steps="1")
    expect(page.locator("#candidates img")).to_have_count(4)
    expect(page.locator("#verdicts li")).to_have_count(3)
    expect(page.locator("#candidates .best")).to_have_count(1)
    expect(page.locator("#candidates .out")).to_have_count(3)
    winner = page.locator("#candidates .best").inner_text()
    assert f"Seed {winner.split()[-1]}" in page.locator("#trace").inner_text().replace("\n", " ")


@browses
def test_pictures_can_be_dropped_together_and_pasted(open_page, server, parts):
    page = open_page()
    choose(page)
    carried = page.evaluate_handle(
        """parts => parts.reduce((carried, part, i) => {
            carried.items.add(new File([new Uint8Array(part)], `${i}.png`, { type: "image/png" }));
            return carried;
        }, new DataTransfer())""",
        [list(data) for data in list(parts.values())[:2]],
    )
    page.locator('[data-part="example_source"]').dispatch_event("drop", {"dataTransfer": carried})
    expect(page.locator(".tile.filled")).to_have_count(2)
    page.evaluate(
        """part => {
            const clipboardData = new DataTransfer();
            clipboardData.items.add(new File([new Uint8Array(part)], "b.png", { type: "image/png" }));
            document.dispatchEvent(new ClipboardEvent("paste", { clipboardData }));
        }""",
        list(parts["query"]),
    )
    plain = paint(page)
    assert plain == answered(server, parts, steps="3")
    choose(page, example_guidance="2")
    assert paint(page) == answered(server, parts, steps="3", example_guidance="2") != plain


@browses
def test_everything_is_reached_and_done_by_keyboard(open_page):
    page = open_page()
    choose(page)
    page.locator("#settings").evaluate("details => details.open = false")
    page.locator("h1").click()

    def tab_to(target: str) -> None:
        for _ in range(40):
            page.keyboard.press("Tab")
            if page.evaluate("target => document.activeElement.matches(target)", target):
                return
        raise AssertionError(f"{target} is not reached by the Tab key")

    tab_to('[data-part="query"] input')
    tab_to('[name="candidates"]')
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("document.activeElement.value") == "2"
    tab_to("#examples button")
    page.keyboard.press("Enter")
    expect(page.locator(".tile.filled")).to_have_count(3)
    page.locator("h1").click()
    tab_to("#paint")
    page.keyboard.press("Enter")
    painted(page)
    tab_to("#slider")
    before = page.locator("#slider").get_attribute("aria-valuetext")
    page.keyboard.press("ArrowRight")
    assert page.locator("#slider").get_attribute("aria-valuetext") != before
    tab_to("#continue")
    page.keyboard.press("Space")
    expect(page.locator('[data-part="query"] .what')).to_have_text("painted.png")


@browses
@pytest.mark.parametrize("shipped", [True, False])
def test_copied_command_paints_the_same_picture(open_page, parts, tmp_path, shipped):
    page = open_page()
    if shipped:
        page.get_by_role("button", name="Light").click()
        expect(page.locator(".tile.filled")).to_have_count(3)
    else:
        names = ("a.png", "a, 2.png", "it's \\b;1.png")
        give(page, parts, names)
        for data, name in zip(parts.values(), names, strict=True):
            (tmp_path / name).write_bytes(data)
    choose(page)
    image = paint(page, candidates=2)
    page.get_by_role("button", name="As curl").click()
    page.get_by_role("button", name="Copy", exact=True).click()
    expect(page.get_by_role("status")).to_have_text("Copied.")
    command = page.evaluate("navigator.clipboard.readText()")
    done = subprocess.run(["bash", "-euc", command], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "answer.png").read_bytes() == image


@browses
def test_page_fits_a_phone_in_every_state(open_page, parts):
    page = open_page(PHONE, has_touch=True, is_mobile=True)
    wide = "document.documentElement.scrollWidth"
    assert page.evaluate(wide) == PHONE["width"]
    give(page, parts)
    choose(page)
    paint(page, candidates=4)
    page.get_by_role("button", name="As curl").tap()
    assert page.evaluate(wide) == PHONE["width"]
    low = """[...document.querySelectorAll("button, .button, select, fieldset span, summary")]
        .filter(e => e.checkVisibility() && e.getBoundingClientRect().height < 24).map(e => e.outerHTML)"""
    assert page.evaluate(low) == []


@browses
def test_output_becomes_the_next_source(open_page, server, parts):
    page = open_page()
    give(page, parts)
    choose(page)
    first = paint(page)
    page.get_by_role("button", name="Use as B").click()
    second = paint(page)
    assert second == answered(server, {**parts, "query": first}, steps="3") != first


@browses
def test_history_outlives_a_reload_and_brings_a_question_back(open_page, parts):
    page = open_page()
    give(page, parts)
    choose(page, seed="1")
    first = paint(page)
    choose(page, seed="2")
    assert paint(page, candidates=2) != first
    page.reload()
    entries = page.get_by_role("button", name="Back to b.png")
    expect(entries).to_have_count(2)
    entries.last.click()
    assert painted(page) == first
    assert page.locator('[name="seed"]').input_value() == "1"
    expect(page.locator('[name="candidates"]:checked')).to_have_value("1")
    page.get_by_role("button", name="Forget these").click()
    expect(entries).to_have_count(0)


@browses
def test_refusal_is_told_in_the_servers_words_where_it_belongs(open_page, parts, picture):
    page = open_page()
    give(page, {**parts, "query": picture(0, 400, 300)})
    choose(page)
    press_paint(page, 1)
    expect(page.get_by_role("alert")).to_contain_text("too large: 400x300")
    expect(page.locator('[data-part="query"]')).to_have_class(re.compile("wrong"))
    give(page, parts)
    page.get_by_role("button", name="Try again").click()
    painted(page)
    choose(page, preview_steps="3")
    page.get_by_role("button", name="Another seed").click()
    painted(page)  # with one candidate nothing is previewed
    press_paint(page, 2)
    expect(page.get_by_role("alert")).to_contain_text("preview_steps: 3 is not below the 3 steps")
    expect(page.locator('[name="preview_steps"]')).to_be_focused()


@browses
def test_what_is_missing_or_no_picture_is_told(open_page):
    page = open_page()
    page.get_by_role("button", name="Paint B′").click()
    expect(page.get_by_role("status")).to_have_text("Still missing: A and A′ and B.")
    tile = page.locator('[data-part="query"] input')
    tile.set_input_files({"name": "notes.txt", "mimeType": "text/plain", "buffer": b"hello"})
    expect(page.get_by_role("status")).to_have_text("notes.txt is not a PNG, JPEG or WebP picture.")
    tile.set_input_files({"name": "torn.png", "mimeType": "image/png", "buffer": b"\x89PNG\r\n\x1a\n"})
    expect(page.get_by_role("status")).to_have_text("torn.png cannot be read as a picture.")
    expect(page.locator(".tile.filled")).to_have_count(0)


@browses
def test_stop_ends_the_edit_and_the_next_one_runs(open_page, parts):
    page = open_page()
    give(page, parts)
    choose(page, steps="100", preview_steps="99")
    press_paint(page, 8)
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("status")).to_have_text("Stopped.")
    choose(page)
    paint(page)


@browses
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_from_their_ground(open_page, scheme):
    page = open_page(color_scheme=scheme)
    colours = page.evaluate(
        """names => Object.fromEntries(names.map(name => {
            const probe = document.body.appendChild(document.createElement("i"));
            probe.style.color = `var(--${name})`;
            return [name, getComputedStyle(probe).color.match(/\\d+/g).map(Number)];
        }))""",
        ["ink", "quiet", "accent", "on-accent", "bad", "edge", "paper", "card", "well"],
    )
    for ground in ("paper", "card", "well"):
        for word in ("ink", "quiet", "accent", "bad"):
            assert contrast(colours[word], colours[ground]) >= 4.5, (word, ground)
        assert contrast(colours["edge"], colours[ground]) >= 3, ground
    assert contrast(colours["on-accent"], colours["accent"]) >= 4.5


def contrast(one: list[int], other: list[int]) -> float:
    """WCAG's contrast of two colours, 1 to 21."""
    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def luminance(colour: list[int]) -> float:
    channels = [c / 255 for c in colour[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@browses
def test_everything_that_can_be_used_has_a_name(open_page, parts):
    page = open_page()
    give(page, parts)
    choose(page)
    paint(page, candidates=2)
    session = page.context.new_cdp_session(page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    focusable = [
        node
        for node in nodes
        if any(p["name"] == "focusable" and p["value"]["value"] for p in node.get("properties", []))
    ]
    nameless = [node["role"]["value"] for node in focusable if not node.get("name", {}).get("value")]
    assert len(focusable) > 20
    assert set(nameless) <= {"RootWebArea"}


def test_page_is_served_with_a_policy_that_lets_nothing_in_from_elsewhere(server):
    answer = server.get("/")
    policy = answer.headers["content-security-policy"]
    assert answer.headers["content-type"].startswith("text/html") and "default-src 'none'" in policy
    sources = {word for part in policy.split(";") for word in part.split()[1:]}
    assert sources == {"'none'", "'self'", "blob:", "data:"}
    assert server.get("/page/page.js").headers["content-type"].startswith("text/javascript")
    assert server.get("/page/nothing.js").json()["error"]["code"] == "not_found"
    assert server.get("/page/../app.py").status_code == 404


def test_parts_of_the_page_name_no_other_host():
    for path in FOLDER.rglob("*.*"):
        if path.suffix in (".html", ".css", ".js", ".json"):
            assert not re.search(r"https?://|//\w+\.", path.read_text()), path.name
