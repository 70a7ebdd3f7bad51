"""Visits every page of the built site in Chromium: ``python docs/check.py build/site``.

Every page and link reached from the first; no error on the console, no request beyond the site, no
broken image and none without alternative text, formulas rendered, nothing wider than a phone,
readable in the dark, and a search that finds methods by name. Pictures of the main pages are left
beside the site, to be looked at.
"""

from __future__ import annotations

import argparse
import functools
import http.server
import shutil
import sys
import threading
from collections import deque
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin

from playwright.sync_api import Page, sync_playwright

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
MAIN = (
    "index.html",
    "choosing.html",
    "comparison.html",
    "methods/index.html",
    "methods/skmm.html",
    "api/selection.html",
    "notebooks/index.html",
    "notebooks/03_moment_matching.html",
    "how-to/reading-the-study.html",
)
SEARCHES = {
    "k_medoids": "methods/k_medoids.html",
    "facility location": "methods/facility_location.html",
    "typiclust": "methods/typiclust.html",
}

_SEEN = """async () => {
  if (window.MathJax && MathJax.startup) await MathJax.startup.promise;
  document.querySelectorAll('img[loading=lazy]').forEach(i => i.loading = 'eager');
  const images = [...document.querySelectorAll('main img')];
  await Promise.all(images.map(i => i.decode().catch(() => null)));
  const math = [...document.querySelectorAll('.math.notranslate')];
  return {
    broken: images.filter(i => !i.naturalWidth).map(i => i.src),
    mute: images.filter(i => !(i.alt || '').trim() || /\\.(png|svg)$/.test(i.alt)).map(i => i.src),
    raw: math.filter(e => !e.querySelector('mjx-container')).map(e => e.textContent.slice(0, 60)),
    wrong: [...document.querySelectorAll('mjx-merror')].map(e => e.textContent.slice(0, 60)),
    formulas: math.length,
    images: images.length,
    links: [...document.querySelectorAll('a[href]')].map(a => a.href),
    ids: [...document.querySelectorAll('[id]')].map(e => e.id),
  };
}"""
_WIDE = """() => {
  const limit = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= limit) return [];
  const inside = e => e.closest('table, pre, mjx-container, .output_area, dialog, .search-button');
  return [...document.querySelectorAll('main *')]
    .filter(e => e.getBoundingClientRect().right > limit + 1 && !inside(e.parentElement))
    .slice(0, 3).map(e => `${e.tagName}.${e.className}`)
    .concat(`page of ${document.documentElement.scrollWidth} px`);
}"""
_CONTRAST = """() => {
  const parts = text => text.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const light = ([r, g, b]) => {
    const f = v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    return 0.2126 * f(r) + 0.7152 * f(g) + 0.0722 * f(b);
  };
  const back = light(parts(getComputedStyle(document.body).backgroundColor));
  const ink = light(parts(getComputedStyle(document.querySelector('main p')).color));
  return {back, ratio: (Math.max(back, ink) + 0.05) / (Math.min(back, ink) + 0.05)};
}"""


class Visit:
    """What has been seen of a site, and what was wrong.

    Args:
        page: of a browser.
        home: address of the site, with a slash at its end.
        folder: where its files lie.
    """

    def __init__(self, page: Page, home: str, folder: Path):
        self.page, self.home, self.folder = page, home, folder
        self.problems: list[str] = []
        self.counts = {"pages": 0, "links": 0, "images": 0, "formulas": 0}
        self._ids: dict[str, set[str]] = {}
        self._anchors: list[tuple[str, str, str]] = []
        self._at = ""
        page.on("console", lambda note: note.type == "error" and self._note("console", note.text))
        page.on("pageerror", lambda error: self._note("script", str(error)))
        page.on("requestfailed", lambda request: self._note("request failed", request.url))
        page.route(lambda url: not url.startswith(home), self._outside)

    def all_pages(self) -> None:
        """Visits every page that links lead to, from the first on."""
        waiting, known = deque(["index.html"]), {"index.html"}
        while waiting:
            name = waiting.popleft()
            for found in self._look(name):
                if found not in known:
                    known.add(found)
                    waiting.append(found)
        for where, name, anchor in self._anchors:
            if anchor not in self._ids.get(name, ()):
                self.problems.append(f"{where}: no anchor {anchor!r} in {name}")
        made = {path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*.html")}
        lost = {name for name in made - known if not name.startswith(("_static/", "search", "gen"))}
        self.problems += [f"no link leads to {name}" for name in sorted(lost)]

    def searches(self) -> None:
        """Searches for methods by name."""
        for words, wanted in SEARCHES.items():
            self._at = f"search for {words!r}"
            self.page.goto(f"{self.home}search.html?q={words.replace(' ', '+')}")
            try:
                self.page.wait_for_selector(
                    f"#search-results a[href*='{wanted}'], main a[href*='{wanted}']", timeout=20_000
                )
            except Exception as error:  # whatever the browser says, it was not found
                self._note("not found", str(error).splitlines()[0])
            # The summaries of what was found are still being fetched: to leave would cut them off.
            self.page.wait_for_load_state("networkidle")

    def dark(self) -> None:
        """Looks whether text is readable in the dark."""
        self.page.goto(self.home + "index.html")
        self._theme("dark")
        self._at = "index.html in the dark"
        seen = self.page.evaluate(_CONTRAST)
        if seen["back"] > 0.1 or seen["ratio"] < 4.5:
            self._note("contrast", str(seen))

    def pictures(self, folder: Path) -> None:
        """Leaves a picture of each main page: desktop, phone, dark."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in MAIN:
            self._at = name
            self.page.goto(self.home + name)
            self.page.evaluate(_SEEN)
            stem = name.removesuffix(".html").replace("/", "-")
            for kind, size, theme in (
                ("desktop", DESKTOP, "light"),
                ("phone", PHONE, "light"),
                ("dark", DESKTOP, "dark"),
            ):
                self.page.set_viewport_size(size)
                self._theme(theme)
                self.page.wait_for_timeout(500)  # colours fade over
                self.page.screenshot(path=folder / f"{stem}-{kind}.png")

    def _look(self, name: str) -> list[str]:
        """Looks at one page, wide and narrow; returns the pages that it links to."""
        self._at = name
        self.page.set_viewport_size(DESKTOP)
        answer = self.page.goto(self.home + name)
        if answer is None or answer.status != 200:
            self._note("answer", str(answer and answer.status))
            return []
        seen = self.page.evaluate(_SEEN)
        self._ids[name] = set(seen["ids"])
        for kind in ("broken", "mute", "raw", "wrong"):
            for what in seen[kind]:
                self._note(
                    {"mute": "no alternative text", "raw": "no formula"}.get(kind, kind), what
                )
        self.page.set_viewport_size(PHONE)
        for what in self.page.evaluate(_WIDE):
            self._note("wider than a phone", what)
        self.counts["pages"] += 1
        self.counts["images"] += seen["images"]
        self.counts["formulas"] += seen["formulas"]
        return list(self._pages(name, seen["links"]))

    def _pages(self, name: str, links: list[str]):
        for link in dict.fromkeys(links):
            address, anchor = urldefrag(urljoin(self.home + name, link))
            if not address.startswith(self.home):
                continue
            self.counts["links"] += 1
            path = unquote(address.removeprefix(self.home)).partition("?")[0] or "index.html"
            if not (self.folder / path).is_file():
                self._note("link to nothing", link)
            elif path.endswith(".html"):
                if anchor:
                    self._anchors.append((name, path, unquote(anchor)))
                yield path

    def _theme(self, name: str) -> None:
        self.page.evaluate(
            "name => { document.documentElement.dataset.theme = name;"
            " document.documentElement.dataset.mode = name }",
            name,
        )

    def _outside(self, route) -> None:
        self._note("beyond the site", route.request.url)
        route.abort()

    def _note(self, kind: str, text: str) -> None:
        self.problems.append(f"{self._at}: {kind}: {text}")


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files without a word."""

    def log_message(self, *_) -> None:
        """Says nothing."""


def main() -> int:
    """Runs from the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("site", type=Path)
    parser.add_argument("--pictures", type=Path, default=Path("build/site-pictures"))
    options = parser.parse_args()
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        print("make site-check needs Chromium: apt-get install chromium, or your system's package")
        return 2
    folder = options.site.resolve()
    handler = functools.partial(Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = chromium.new_page()
        page.set_default_timeout(120_000)
        visit = Visit(page, f"http://127.0.0.1:{server.server_port}/", folder)
        visit.all_pages()
        visit.searches()
        visit.dark()
        visit.pictures(options.pictures)
        chromium.close()
    server.shutdown()
    print(*visit.problems, sep="\n")
    print(", ".join(f"{number} {name}" for name, number in visit.counts.items()), end="; ")
    print(f"{len(visit.problems)} problems; pictures in {options.pictures}")
    return 1 if visit.problems else 0


if __name__ == "__main__":
    sys.exit(main())
