"""What MkDocs does besides: pages filled from the code, and files from outside docs/."""

import re
from pathlib import Path
from typing import Any

import commands_page
import configuration_page
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]

# Pages that may not be written yet: the navigation names them where they are.
OPTIONAL = ("looking.md",)

# In a page: <!-- made of the code: NAME -->
_MARK = re.compile(r"<!-- made of the code: (\w+) -->")
_MAKERS = {
    "commands": commands_page.commands,
    "exit_statuses": commands_page.exit_statuses,
    "fields": configuration_page.fields,
    "files": configuration_page.files,
}
# A link from docs/ to a file elsewhere in the repository, as the repository's own pages follow it.
_OUTSIDE = re.compile(r"\]\(\.\./([^)#]+)\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Leaves pages out of the navigation that are not there yet."""
    config.nav = _without_missing(config.nav, Path(config.docs_dir))
    config.watch.extend(str(ROOT / name) for name in ("symskip_jax", "configs", "tools/site"))
    return config


def _without_missing(nav: Any, folder: Path) -> Any:
    if isinstance(nav, list):
        return [it for it in (_without_missing(entry, folder) for entry in nav) if it]
    if isinstance(nav, dict):
        kept = {title: _without_missing(entry, folder) for title, entry in nav.items()}
        return {title: entry for title, entry in kept.items() if entry}
    return None if nav in OPTIONAL and not (folder / nav).exists() else nav


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the files outside docs/ that its pages link to."""
    for page in files.documentation_pages():
        for name in _OUTSIDE.findall(page.content_string):
            if (ROOT / name).is_file() and files.get_file_from_path(name) is None:
                files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Fills in what is made of the code, and points links at where the site has the files."""
    filled = _MARK.sub(lambda found: _MAKERS[found[1]](), markdown)
    return _OUTSIDE.sub(
        lambda found: f"]({found[1]})" if files.get_file_from_path(found[1]) else found[0], filled
    )
