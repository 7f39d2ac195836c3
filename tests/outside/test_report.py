"""The report of a fleet, in the browser of a reader: a real run against a real server, shown by Chromium."""

import re
import subprocess

import pytest
from test_outside import BIN, World

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--window-size=1000,2400",
    "--enable-logging=stderr",
]


class Browser:
    """Opens pages, each with a profile of its own."""

    def __init__(self, directory):
        self.directory, self.count = directory, 0

    def run(self, page, *flags):
        self.count += 1
        profile = f"--user-data-dir={self.directory / f'profile-{self.count}'}"
        command = ["chromium", *FLAGS, profile, *flags, page.as_uri()]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)

    def show(self, page):
        """The page as the browser understood it, and what it had to say of it."""
        ran = self.run(page, "--dump-dom")
        return ran.stdout, [line for line in ran.stderr.splitlines() if "CONSOLE" in line]

    def picture(self, page):
        """How many bytes a picture of the page takes: one of nothing takes few."""
        path = self.directory / f"picture-{self.count}.png"
        self.run(page, f"--screenshot={path}")
        return len(path.read_bytes())


@pytest.fixture
def browser(tmp_path):
    return Browser(tmp_path)


@pytest.fixture
def report(tmp_path):
    world = World(tmp_path)
    page = tmp_path / "report.html"
    flags = ["--devices", "40", "--users", "3", "--rate", "100", "--duration", "2s", "--html", page]
    try:
        server = ["--server", f"https://{world.address}"]
        fleet = [BIN / "fortigate", *server, "fleet", "--muster-data", world.data, *flags]
        ran = subprocess.run(fleet, check=True, capture_output=True, text=True, timeout=120)
        assert ran.stdout.endswith("Everything held.\n")
    finally:
        world.server.terminate()
        world.server.wait(30)
    return page


def plots(dom):
    """The points of every line, by the title of its plot."""
    found = {}
    for figure in re.findall(r"<figure>(.*?)</figure>", dom, re.S):
        title = re.search(r"<figcaption>(.*?)</figcaption>", figure).group(1)
        lines = re.findall(r'<polyline points="([^"]*)"', figure)
        found[title] = [[tuple(map(float, point.split(","))) for point in line.split()] for line in lines]
    return found


def test_a_report_is_shown_with_its_table_and_its_plots(report, browser):
    dom, complaints = browser.show(report)
    assert complaints == []
    assert "Everything held." in dom
    rows = re.findall(r"<tr><td>([^<]*)</td><td>(\d+)</td><td>(\d+)</td><td>(\d+)</td>", dom)
    counts = {name: tuple(map(int, numbers)) for name, *numbers in rows}
    assert counts["register"] == (40, 40, 0)
    assert counts["sync"] == (200, 200, 0)
    # Three VDOMs with a user each, when the box comes up and once more.
    assert counts["sync users"] == (240, 240, 0)
    found = plots(dom)
    assert list(found) == [
        "Latency by percentile",
        "Operations in each second",
        "Longest in each second",
        "Boxes with a connection",
    ]
    assert len(found["Latency by percentile"]) == len(counts)
    for title, lines in found.items():
        for line in lines:
            assert len(line) > 1, title
            assert all(0 <= x <= 860 and 0 <= y <= 300 for x, y in line), title


def test_a_report_fills_the_page(report, browser, tmp_path):
    empty = tmp_path / "empty.html"
    empty.write_text("<!DOCTYPE html><title>nothing</title>")
    assert browser.picture(report) > 5 * browser.picture(empty)


def test_what_a_page_complains_of_is_heard(browser, tmp_path):
    bad = tmp_path / "bad.html"
    bad.write_text("<!DOCTYPE html><title>bad</title><script>nobody.knows()</script>")
    _, complaints = browser.show(bad)
    assert len(complaints) == 1 and "nobody is not defined" in complaints[0]
