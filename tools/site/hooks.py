"""What MkDocs does besides: pages filled from the code, and files from outside docs/."""

import re
from pathlib import Path

import commands_page
import configuration_page
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]

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
_CELL = re.compile(r"<td.*?</td>", re.DOTALL)
_CODE = re.compile(r"(?<=<code>)[^<]+(?=</code>)")
# Where a name may be broken on a narrow screen: behind these, and before a full stop.
_BREAK = re.compile(r"(?<=[/_=:])(?=\w)|(?<=\w)(?=\.\w)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Has a server of the site built anew where the code changes that pages are made of."""
    config.watch.extend(str(ROOT / name) for name in ("symskip_jax", "configs", "tools/site"))
    return config


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


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Says where names in the cells of tables may be broken."""
    return _CELL.sub(
        lambda cell: _CODE.sub(lambda code: _BREAK.sub("<wbr>", code[0]), cell[0]), html
    )
