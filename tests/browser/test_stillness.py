"""Nothing on a live page is torn down and built again: no flicker, whatever is drawn once a second."""

from __future__ import annotations

import pytest
from playwright.sync_api import BrowserContext

from tests.browser.conftest import LiveWard, open_page

pytestmark = [pytest.mark.broker, pytest.mark.browser]

WATCH = """() => {
  window.removed = [];
  const dt = (function find(node) {
    for (const each of node.querySelectorAll('*')) {
      if (each.shadowRoot) { const found = each.shadowRoot.querySelector('.dt'); if (found) return found; }
    }
  })(document);
  const count = (node) => {
    if (node.nodeType !== 1) return;
    for (const each of [node, ...node.querySelectorAll('canvas, svg, table')]) {
      if (['CANVAS', 'SVG', 'TABLE'].includes(each.tagName.toUpperCase()))
        window.removed.push(each.className || each.tagName);
      if (each.shadowRoot) window.removed.push('a whole view');
    }
  };
  const watch = new MutationObserver((changes) => {
    for (const change of changes) change.removedNodes.forEach(count);
  });
  watch.observe(document.body, { childList: true, subtree: true });
  watch.observe(dt.getRootNode(), { childList: true, subtree: true });
  window.canvases = [...dt.querySelectorAll('canvas')];
  window.runs = 0;
  new MutationObserver(() => { window.runs += 1; })
    .observe(dt, { childList: true, subtree: true, characterData: true });
}"""


def test_no_chart_is_torn_down_in_thirty_seconds(context: BrowserContext, live_ward: LiveWard) -> None:
    pages = ("ward", "patient", "system", "commands", "alerts")
    tabs = [open_page(context, live_ward.url, page) for page in pages]
    for tab in tabs:
        tab.wait_for_timeout(1000)
        tab.evaluate(WATCH)
    tabs[0].wait_for_timeout(30_000)
    for page, tab in zip(pages, tabs, strict=True):
        assert tab.evaluate("window.removed") == [], page
        assert tab.evaluate("window.canvases.every((each) => each.isConnected)"), page
        assert tab.evaluate("window.runs") >= 10, f"{page} did not change at all in 30 s"
