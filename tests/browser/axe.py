"""What axe finds wrong with a page for readers with disabilities."""

import html
import importlib.resources
import json
import re
from pathlib import Path

from test_report_browser import browse

_ASKED = """
axe.run(document, {resultTypes: ['violations']}).then(r => {
  const found = document.createElement('pre');
  found.id = 'axe-found';
  found.textContent = JSON.stringify(
    r.violations.map(v => [v.id, v.help, v.nodes.map(n => n.html.slice(0, 200))]));
  document.body.appendChild(found);
});
"""


def violations(page: Path, folder: Path, *flags: str) -> list[list]:
    """Rule, meaning and elements of each violation, in a copy of the page that may run scripts."""
    script = (importlib.resources.files("axe_core_python") / "axe.min.js").read_text("utf-8")
    script = script.replace("</script", "<\\/script")
    policy = r'<meta http-equiv="Content-Security-Policy"[^>]*>'
    free = re.sub(policy, "", page.read_text("utf-8"))
    end = free.rindex("</body>")
    copy = folder / f"axe-{page.name}"
    scripts = f"<script>{script}</script><script>{_ASKED}</script>"
    copy.write_text(f"{free[:end]}{scripts}{free[end:]}", encoding="utf-8")
    document = browse(copy, folder, "--dump-dom", "--virtual-time-budget=60000", *flags)
    found = re.search(r'<pre id="axe-found">(.*?)</pre>', document, re.S)
    assert found is not None, "axe did not finish"
    return json.loads(html.unescape(found.group(1)))
